/* pack.c - choosing the instruction set, and the packed layout of a model (lanes.h).  Not in the loop. */
#include <string.h>

#include "daemon/rt/check.h"
#include "planner/lanes.h"

const char *const *lanes_isas(void)
{
    static const char *const all[] = { "avx512", "avx2", "portable", NULL };

#if defined(__x86_64__)
    bool avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");

    return avx512 ? all : avx2 ? all + 1 : all + 2;
#else
    return all + 2;
#endif
}

const struct lanes_ops *lanes_find(const char *isa)
{
    const char *const *can = lanes_isas();

    if (!isa)
        isa = can[0];
    while (*can && strcmp(*can, isa) != 0)
        can++;
    if (!*can)
        return NULL;
#if defined(__x86_64__)
    if (!strcmp(isa, "avx512"))
        return &lanes_ops_avx512;
    if (!strcmp(isa, "avx2"))
        return &lanes_ops_avx2;
#endif
    return &lanes_ops_portable;
}

void lanes_seed(struct lanes_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < LANES_STREAMS; l++)
            r->s[i][l] = (uint32_t)(rng_splitmix(&seed) >> 32);
}

static int padded(int out)
{
    return (out + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL;
}

size_t lanes_layer_params(const struct model_dims *d, int l)
{
    int in, out;

    ensemble_layer(d, l, &in, &out);
    return (size_t)padded(out) * (size_t)(in + 1);
}

size_t lanes_params(const struct model_dims *d)
{
    size_t n = 0;

    for (int l = 0; l <= d->layers; l++)
        n += lanes_layer_params(d, l);
    return n;
}

int lanes_width(const struct model_dims *d)
{
    int width = ensemble_nin(d);

    for (int l = 0; l <= d->layers; l++) {
        int in, out;

        ensemble_layer(d, l, &in, &out);
        if (padded(out) > width)
            width = padded(out);
    }
    return width;
}

/* One layer: W (out x in) and b, into biases and panels, with everything folded in that lanes.h names. */
static void pack_layer(const struct lanes_ops *ops, const struct ensemble *e, int l, const float *W, float *to)
{
    int nx = e->dims.nx, in, out;

    ensemble_layer(&e->dims, l, &in, &out);
    const float *b = W + (size_t)in * (size_t)out;
    float       *w = to + padded(out);

    memset(to, 0, (size_t)padded(out) * (size_t)(in + 1) * sizeof *to);
    for (int i = 0; i < out; i++) {
        bool   last  = l == e->dims.layers;
        double scale = last && i < nx ? (double)e->out_std[i] : 1;
        double shift = !last ? 0 : i < nx ? (double)e->out_mean[i] : -(double)e->max_logvar[i - nx];
        float *panel = w + (size_t)(i / ops->panel * ops->panel) * (size_t)in;

        to[i] = (float)(scale * (double)b[i] + shift);
        for (int k = 0; k < in; k++) {
            double v = scale * (double)W[(size_t)i * (size_t)in + (size_t)k];

            panel[k * ops->panel + i % ops->panel] = (float)(l == 0 ? v / (double)e->in_std[k] : v);
        }
    }
}

void lanes_pack(const struct lanes_ops *ops, const struct ensemble *e, struct lanes_net *n)
{
    n->dims    = e->dims;
    n->version = e->version;
    n->nin     = ensemble_nin(&e->dims);
    memcpy(n->in_mean, e->in_mean, sizeof n->in_mean);
    memcpy(n->out_std, e->out_std, sizeof n->out_std);
    for (int i = 0; i < e->dims.nx; i++) {
        double var     = (double)e->out_std[i] * (double)e->out_std[i];
        n->var_min[i]  = (float)(var * exp((double)e->min_logvar[i]));
        n->var_span[i] = (float)(var * exp((double)e->max_logvar[i]));
    }
    for (int m = 0; m < e->dims.members; m++) {
        const float *W = e->weights + (size_t)m * ensemble_params(&e->dims);

        for (int l = 0; l <= e->dims.layers; l++) {
            int in, out;

            ensemble_layer(&e->dims, l, &in, &out);
            pack_layer(ops, e, l, W, n->layer[m][l]);
            W += (size_t)out * (size_t)(in + 1);
        }
    }
}
