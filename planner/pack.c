/* pack.c - choosing the instruction set, and the packed layout of a model (lanes.h).  Not in the loop. */
#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "planner/lanes.h"

const struct lanes_ops *lanes_find(const char *isa)
{
    static const struct lanes_ops *const all[] = {
#if defined(__x86_64__)
        &lanes_ops_avx512,
        &lanes_ops_avx2,
#elif defined(__aarch64__)
        &lanes_ops_neon,
#endif
        &lanes_ops_portable,
    };
    int found = isa_find(isa);

    for (size_t i = 0; found >= 0 && i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->isa, isa_names()[found]))
            return all[i];
    return NULL;
}

const struct lanes_ops *lanes_bf16(const struct lanes_ops *ops)
{
#if defined(__x86_64__)
    if (ops == &lanes_ops_avx512 && isa_bf16())
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

float lanes_weight(const struct ensemble *e, int l, const float *W, int i, int k)
{
    int in, out, nx = e->dims.nx;

    ensemble_layer(&e->dims, l, &in, &out);
    bool   mean  = l == e->dims.layers && i < nx;
    double scale = mean ? (double)e->out_std[i] : 1;

    if (k == in) {
        double shift = l < e->dims.layers ? 0 : mean ? (double)e->out_mean[i] : -(double)e->max_logvar[i - nx];

        return (float)(scale * (double)W[(size_t)in * (size_t)out + (size_t)i] + shift);
    }
    double v = scale * (double)W[(size_t)i * (size_t)in + (size_t)k];

    return (float)(l == 0 ? v / (double)e->in_std[k] : v);
}

void lanes_variance(const struct ensemble *e, float *var_min, float *var_span)
{
    for (int i = 0; i < e->dims.nx; i++) {
        double var  = (double)e->out_std[i] * (double)e->out_std[i];
        var_min[i]  = (float)fmax(var * exp((double)e->min_logvar[i]), 0x1p-100); /* v_sigma_fast */
        var_span[i] = (float)(var * exp((double)e->max_logvar[i]));
    }
}

/* One layer: W (out x in) and b, into biases and panels, with everything folded in that lanes.h names.  pair: NULL, or
 * the same in pairs. */
static void pack_layer(const struct lanes_ops *ops, const struct ensemble *e, int l, const float *W, bool bf16, float *to,
                       float *pair)
{
    int in, out;

    ensemble_layer(&e->dims, l, &in, &out);
    float *w = to + padded(out);

    memset(to, 0, (size_t)padded(out) * (size_t)(in + 1) * sizeof *to);
    for (int i = 0; i < out; i++) {
        float *panel = w + (size_t)(i / ops->panel * ops->panel) * (size_t)in;

        to[i] = lanes_weight(e, l, W, i, in);
        for (int k = 0; k < in; k++) {
            float f = lanes_weight(e, l, W, i, k);

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
    n->ahead = ensemble_planar(&e->dims, TARGET_AHEAD);
    n->aside = ensemble_planar(&e->dims, TARGET_ASIDE);
    for (int i = 0; i < e->dims.nx; i++)
        n->carry[i] = e->dims.target[i] == TARGET_ABSOLUTE ? 0 : 1;
    lanes_variance(e, n->var_min, n->var_span);
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
