/* pack.c - choosing the instruction set, and the packed layout of a model (lanes.h).  Not in the loop. */
#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "planner/lanes.h"

#if defined(__x86_64__)
static const struct lanes_ops *const all_ops[] = { &lanes_ops_avx512, &lanes_ops_avx2, &lanes_ops_portable };
static const char *const             all_isas[] = { "avx512", "avx2", "portable", NULL };
#elif defined(__aarch64__)
static const struct lanes_ops *const all_ops[] = { &lanes_ops_neon, &lanes_ops_portable };
static const char *const             all_isas[] = { "neon", "portable", NULL };
#else
static const struct lanes_ops *const all_ops[] = { &lanes_ops_portable };
static const char *const             all_isas[] = { "portable", NULL };
#endif

/* How many of the above this CPU cannot run: always the first. */
static int beyond(void)
{
#if defined(__x86_64__)
    bool avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");

    return avx512 ? 0 : avx2 ? 1 : 2;
#else
    return 0; /* every aarch64 has NEON */
#endif
}

const char *const *lanes_isas(void)
{
    return all_isas + beyond();
}

const struct lanes_ops *lanes_find(const char *isa)
{
    int i = beyond();

    while (isa && all_isas[i] && strcmp(all_isas[i], isa) != 0)
        i++;
    return all_isas[i] ? all_ops[i] : NULL;
}

const struct lanes_ops *lanes_bf16(const struct lanes_ops *ops)
{
#if defined(__x86_64__)
    if (ops == &lanes_ops_avx512 && __builtin_cpu_supports("avx512bf16"))
        return &lanes_ops_avx512bf16;
#endif
    return ops;
}

float lanes_round(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    if (x == x)
        u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &u, sizeof x);
    return x;
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
    int width = ensemble_nin(d) + 1; /* bf16 goes in pairs */

    for (int l = 0; l <= d->layers; l++) {
        int in, out;

        ensemble_layer(d, l, &in, &out);
        if (padded(out) > width)
            width = padded(out);
    }
    return width;
}

/* One layer: W (out x in) and b, into biases and panels, with everything folded in that lanes.h names.  pair: NULL, or
 * the same in pairs. */
static void pack_layer(const struct lanes_ops *ops, const struct ensemble *e, int l, const float *W, bool bf16, float *to,
                       float *pair)
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
            float  f = (float)(l == 0 ? v / (double)e->in_std[k] : v);

            panel[k * ops->panel + i % ops->panel] = bf16 ? lanes_round(f) : f;
        }
    }
    if (!pair)
        return;
    memcpy(pair, to, (size_t)padded(out) * sizeof *to);
    uint16_t *half = (uint16_t *)(void *)(pair + padded(out));
    for (int i = 0; i < padded(out); i += ops->panel)
        for (int k = 0; k < in + in % 2; k++)
            for (int j = 0; j < ops->panel; j++) {
                uint32_t u = 0;

                if (k < in)
                    memcpy(&u, &w[i * in + k * ops->panel + j], sizeof u);
                half[2 * (i * ((in + 1) / 2) + k / 2 * ops->panel + j) + k % 2] = (uint16_t)(u >> 16);
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
        n->var_min[i]  = (float)fmax(var * exp((double)e->min_logvar[i]), 0x1p-100); /* v_sigma_fast */
        n->var_span[i] = (float)(var * exp((double)e->max_logvar[i]));
    }
    for (int m = 0; m < e->dims.members; m++) {
        const float *W = e->weights + (size_t)m * ensemble_params(&e->dims);

        for (int l = 0; l <= e->dims.layers; l++) {
            int in, out;

            ensemble_layer(&e->dims, l, &in, &out);
            pack_layer(ops, e, l, W, n->bf16, n->layer[m][l], n->bf16 && ops->pairs ? n->pair[m][l] : NULL);
            W += (size_t)out * (size_t)(in + 1);
        }
    }
}
