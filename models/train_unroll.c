/* train_unroll.c - the multi-step loss: a net predicts on from its own predictions and learns through all of them.
 *
 * From a row's x_t a net goes K steps with the actions that were really taken, on its mean alone:
 *
 *     x^_{t+k+1} = ensemble_follow(x^_{t+k}, out_mean + out_std .* mu(features(x^_{t+k}), a_{t+k})) ,   x^_t = x_t
 *     L = L_NLL(first step) + w / (n nx K)  sum over rows, k = 1 .. K and observations of  ((x^_{t+k} - x_{t+k}) / std)^2
 *
 * (CMU 10-703, model-based RL; Oh et al. 2015, arXiv 1507.08750, raise K in phases).  Where a row's trial ends earlier,
 * or a row held out is met, the sum does too.  Backward, with g_k the gradient by x^_{t+k}: for a change, the net's output
 * gets out_std .* g_{k+1}, and g_k = own error + g_{k+1} + (gradient by the net's inputs, through features and normaliser);
 * for a value that is predicted itself, g_{k+1} ends there; a displacement in the plane is turned by the heading.
 *
 * Every step has its own tiles, one step behind the other, so that the weights' gradient is one product over all. */
#include <string.h>

#include "models/train_parts.h"

/* Steps of this batch: as many as wanted, if any row goes so far. */
static int longest(const struct trainer *t, const int *rows, int n)
{
    int steps = 1;

    for (int b = 0; b < n; b++)
        steps = t->reach[rows[b]] > steps ? t->reach[rows[b]] : steps;
    return steps < t->unroll ? steps : t->unroll;
}

/* Value 0 of row b of step k in an array of tiles; the next ones are a tile's width apart. */
static float *lane(const struct trainer *t, float *tiles, int width, int some, int k, int b)
{
    int tile = t->k->tile;

    return tiles + (size_t)(k * some + b / tile) * kernels_wide(width) * (size_t)tile + b % tile;
}

/* The net's state before step k = 1 .. of row b, and after it. */
static float *state(const struct trainer *t, int k, int b)
{
    return t->state + ((size_t)(k - 1) * (size_t)t->c.batch + (size_t)b) * (size_t)t->e.dims.nx;
}

/* The state before step k, which is what happened where k = 0. */
static const float *before(const struct trainer *t, const int *rows, int k, int b)
{
    return k ? state(t, k, b) : t->data->x + (size_t)rows[b] * (size_t)t->e.dims.nx;
}

/* Inputs of step k >= 1. */
static void imagine(struct trainer *t, const int *rows, int n, int some, int k)
{
    const struct ensemble *e   = &t->e;
    int                    nin = ensemble_nin(&e->dims), tile = t->k->tile;

    for (int b = 0; b < n; b++) {
        float  in[MAX_IN] = { 0 }, *to = lane(t, t->h[0], nin, some, k, b);
        size_t row = (size_t)rows[b] + (size_t)k;

        if (t->reach[rows[b]] > k) {
            ensemble_features(&e->dims, state(t, k, b), t->data->a + row * (size_t)e->dims.na, in);
            for (int i = 0; i < nin; i++)
                in[i] = (in[i] - e->in_mean[i]) / e->in_std[i];
        }
        for (int i = 0; i < nin; i++, to += tile)
            *to = in[i];
    }
}

/* The states after step k from the net's output, and the gradient of their own error.  Returns the sum of squares. */
static double compare(struct trainer *t, const int *rows, int n, int k, float share)
{
    const struct ensemble *e    = &t->e;
    int                    tile = t->k->tile;
    size_t                 nx   = (size_t)e->dims.nx;
    double                 sum  = 0;

    for (int b = 0; b < n; b++) {
        size_t       row = (size_t)rows[b] + (size_t)k;
        const float *mu = lane(t, t->out, 2 * e->dims.nx, 0, 0, b), *want = t->data->y + row * nx;
        float       *to = state(t, k + 1, b), *pull = t->pull + (to - t->state), target[MAX_OBS];

        if (t->reach[rows[b]] <= k)
            continue;
        for (size_t j = 0; j < nx; j++)
            target[j] = e->out_mean[j] + e->out_std[j] * mu[j * (size_t)tile];
        ensemble_follow(&e->dims, before(t, rows, k, b), target, to);
        for (size_t j = 0; j < nx; j++) {
            float error = (to[j] - want[j]) / t->target_std[j];

            pull[j] = share * 2 * error / t->target_std[j];
            sum += (double)(error * error);
        }
    }
    return sum;
}

/* ensemble_follow() backwards, from x to y: g, the gradient by y, becomes the one by x; dt: by the target. */
static void unfollow(const struct model_dims *d, const float *x, const float *y, float *g, float *dt)
{
    int ahead = ensemble_planar(d, TARGET_AHEAD), aside = ensemble_planar(d, TARGET_ASIDE);

    for (int j = 0; j < d->nx; j++) {
        dt[j] = g[j];
        if (d->target[j] == TARGET_ABSOLUTE)
            g[j] = 0;
    }
    if (ahead >= 0) {
        float s = sinf(x[d->heading]), c = cosf(x[d->heading]), gx = g[ahead], gy = g[aside];

        dt[ahead] = c * gx + s * gy;
        dt[aside] = c * gy - s * gx;
        g[d->heading] += gy * (y[ahead] - x[ahead]) - gx * (y[aside] - x[aside]);
    }
}

/* Gradient by the state after step k: adds its own error's, takes it to the net's output and the state before. */
static void pull_output(struct trainer *t, const int *rows, int n, int some, int k)
{
    int nx = t->e.dims.nx, tile = t->k->tile;

    for (int b = 0; b < n; b++) {
        const float *after = state(t, k + 1, b), *pull = t->pull + (after - t->state);
        float *g = t->carry + (size_t)b * (size_t)nx, *dmu = lane(t, t->dzs[t->e.dims.layers], 2 * nx, some, k, b);
        float  dt[MAX_OBS];

        if (t->reach[rows[b]] <= k)
            continue;
        for (int j = 0; j < nx; j++)
            g[j] += pull[j];
        unfollow(&t->e.dims, before(t, rows, k, b), after, g, dt);
        for (int j = 0; j < nx; j++, dmu += tile)
            *dmu += t->e.out_std[j] * dt[j];
    }
}

/* Adds to the gradient by the state before step k what comes through the net's inputs. */
static void pull_state(struct trainer *t, const int *rows, int n, int k)
{
    const struct ensemble *e    = &t->e;
    int                    tile = t->k->tile;

    for (int b = 0; b < n; b++) {
        const float *dh = lane(t, t->dh, ensemble_nin(&e->dims), 0, 0, b), *std = e->in_std;
        float       *g = t->carry + (size_t)b * (size_t)e->dims.nx;

        for (int j = 0; j < e->dims.nx && t->reach[rows[b]] > k; j++) {
            float x = state(t, k, b)[j];

            switch (e->dims.input[j]) {
            case INPUT_NONE: break;
            case INPUT_ANGLE:
                g[j] += dh[0] / std[0] * cosf(x) - dh[tile] / std[1] * sinf(x);
                dh += 2 * tile;
                std += 2;
                break;
            default:
                g[j] += dh[0] / std[0];
                dh += tile;
                std++;
            }
        }
    }
}

/* Through all layers of step k, down to the inputs where there is a step before. */
static void backward(struct trainer *t, const float *w, int some, int k)
{
    size_t first = (size_t)(k * some) * (size_t)t->k->tile;

    for (int l = t->e.dims.layers, in, out; l >= 0; l--) {
        ensemble_layer(&t->e.dims, l, &in, &out);
        const float *dz = t->dzs[l] + first * kernels_wide(out);

        if (l > 0)
            t->k->back_inputs(some, in, out, w + t->offset[l], dz, t->slope[l - 1] + first * kernels_wide(in),
                              t->dzs[l - 1] + first * kernels_wide(in));
        else if (k > 0)
            t->k->back_inputs(some, in, out, w + t->offset[l], dz, t->ones, t->dh);
    }
}

double trainer_unroll(struct trainer *t, int member, const int *rows, int n, float rate, float *grad)
{
    const struct model_dims *d    = &t->e.dims;
    const float             *w    = t->w + (size_t)member * t->params;
    int                      some = trainer_tiles(t, n), steps = longest(t, rows, n), tile = t->k->tile;
    float                    share   = (float)(t->c.unroll_weight / ((double)n * d->nx * t->unroll));
    double                   loss    = 0;
    size_t                   outputs = (size_t)(some * tile) * kernels_wide(2 * d->nx);

    memset(t->dzs[d->layers], 0, (size_t)steps * outputs * sizeof(float));
    memset(t->carry, 0, (size_t)n * (size_t)d->nx * sizeof *t->carry);
    for (int k = 0; k < steps; k++) {
        if (k > 0)
            imagine(t, rows, n, some, k);
        trainer_forward(t, member, k * some, some);
        if (k == 0)
            loss += trainer_first_loss(t, n, t->dzs[d->layers]);
        loss += (double)share * compare(t, rows, n, k, share);
    }
    for (int k = steps - 1; k >= 0; k--) {
        pull_output(t, rows, n, some, k);
        backward(t, w, some, k);
        if (k > 0)
            pull_state(t, rows, n, k);
    }
    for (int l = d->layers, in, out; l >= 0; l--) {
        struct kernels_update u = trainer_update(t, member, l, rate, grad);

        ensemble_layer(d, l, &in, &out);
        t->k->back_weights(steps * some * tile, in, out, t->h[l], t->dzs[l], &u, t->scratch);
    }
    return loss;
}
