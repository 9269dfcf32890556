/* train_data.c - rows for training: the normaliser, who learns from which, and batches in the kernels' layout. */
#include <stdlib.h>
#include <string.h>

#include "models/train_parts.h"

#define STD_MIN 1e-12 /* a component that varies less counts as constant, PETS code */

bool trainer_data_good(const struct train_data *data, const struct model_dims *d)
{
    size_t n = (size_t)data->n;

    if (data->n < 2)
        return false;
    for (size_t i = 0; i < n * (size_t)d->nx; i++)
        if (!isfinite(data->x[i]) || !isfinite(data->y[i]))
            return false;
    for (size_t i = 0; i < n * (size_t)d->na; i++)
        if (!isfinite(data->a[i]))
            return false;
    return true;
}

void trainer_data_free(struct trainer *t)
{
    free(t->in_all);
    free(t->target_all);
    free(t->rows);
    free(t->reach);
    free(t->order);
    free(t->recent);
}

bool trainer_reserve(struct trainer *t, int n)
{
    size_t rows = (size_t)n + (size_t)n / 2;

    if (n <= t->capacity)
        return true;
    trainer_data_free(t);
    t->capacity   = 0;
    t->in_all     = malloc(rows * (size_t)ensemble_nin(&t->e.dims) * sizeof *t->in_all);
    t->target_all = malloc(rows * (size_t)t->e.dims.nx * sizeof *t->target_all);
    t->rows       = malloc(rows * sizeof *t->rows);
    t->reach      = malloc(rows * sizeof *t->reach);
    t->order      = malloc(rows * (size_t)t->e.dims.members * sizeof *t->order);
    t->recent     = malloc((t->c.recent > 0 ? rows * (size_t)t->e.dims.members : 1) * sizeof *t->recent);
    if (!t->in_all || !t->target_all || !t->rows || !t->reach || !t->order || !t->recent)
        return false;
    t->capacity = (int)rows;
    return true;
}

/* ---- normaliser ---- */

/* Mean and std of each column of v (n x width); std 0: constant. */
static void column_stats(const float *v, int n, int width, float *mean, float *std)
{
    for (int k = 0; k < width; k++) {
        double s = 0, q = 0;

        for (int i = 0; i < n; i++)
            s += (double)v[(size_t)i * (size_t)width + (size_t)k];
        s /= n;
        for (int i = 0; i < n; i++) {
            double e = (double)v[(size_t)i * (size_t)width + (size_t)k] - s;

            q += e * e;
        }
        q       = sqrt(q / n);
        mean[k] = (float)s;
        std[k]  = q < STD_MIN ? 0 : (float)q;
    }
}

static void one_for_zero(float *std, int n)
{
    for (int k = 0; k < n; k++)
        std[k] = std[k] == 0 ? 1 : std[k];
}

static void standardise(float *v, int n, int width, const float *mean, const float *std)
{
    for (int i = 0; i < n; i++, v += width)
        for (int k = 0; k < width; k++)
            v[k] = (v[k] - mean[k]) / std[k];
}

static void differences(const struct trainer *t, const struct train_data *data, float *in, float *target)
{
    const struct model_dims *d   = &t->e.dims;
    size_t                   nin = (size_t)ensemble_nin(d), nx = (size_t)d->nx, na = (size_t)d->na;

    for (size_t i = 0; i < (size_t)data->n; i++) {
        ensemble_features(d, data->x + i * nx, data->a + i * na, in + i * nin);
        ensemble_target(d, data->x + i * nx, data->y + i * nx, target + i * nx);
    }
}

static void renew_normaliser(struct trainer *t, int n)
{
    struct ensemble *e  = &t->e;
    int              nx = e->dims.nx, nin = ensemble_nin(&e->dims);

    column_stats(t->in_all, n, nin, e->in_mean, e->in_std);
    column_stats(t->target_all, n, nx, e->out_mean, e->out_std);
    for (int i = 0; i < nin; i++)
        t->noise[i] = e->in_std[i] == 0 ? 0 : (float)t->c.input_noise;
    one_for_zero(e->in_std, nin);
    one_for_zero(e->out_std, nx);
    memcpy(t->target_std, e->out_std, sizeof t->target_std);
    for (int k = 0; k < nx && !t->c.standardise_targets; k++) {
        e->out_mean[k] = 0;
        e->out_std[k]  = 1;
    }
    for (int k = 0; k < nx && !t->c.learned_bounds; k++) {
        e->max_logvar[k] = 0.5f; /* the start values of PETS, kept: learned ones run away over days */
        e->min_logvar[k] = -10;
    }
}

/* Weights of squared errors from the cost's slopes; ahead and aside share theirs, as they point everywhere. */
static void weigh_by_cost(struct trainer *t, const float *slope2)
{
    const struct model_dims *d     = &t->e.dims;
    int                      ahead = ensemble_planar(d, TARGET_AHEAD), aside = ensemble_planar(d, TARGET_ASIDE);
    double                   sum = 0;

    memset(t->reward, 0, sizeof t->reward);
    for (int k = 0; k < d->nx && slope2 && t->c.reward_weight > 0; k++) {
        float mean = ahead >= 0 && (k == ahead || k == aside) ? 0.5f * (slope2[ahead] + slope2[aside]) : slope2[k];

        t->reward[k] = mean * t->target_std[k] * t->target_std[k];
        sum += (double)t->reward[k];
    }
    for (int k = 0; k < d->nx; k++) {
        float  unit  = t->e.out_std[k] / t->target_std[k]; /* errors are in units of the net's outputs */
        double share = sum > 0 && isfinite(sum) ? (double)t->reward[k] * d->nx / sum : 0;

        t->reward[k] = (float)(t->c.reward_weight * share) * unit * unit;
    }
}

void trainer_prepare(struct trainer *t, const struct train_data *data, bool renew)
{
    const struct ensemble *e = &t->e;

    differences(t, data, t->in_all, t->target_all);
    if (renew)
        renew_normaliser(t, data->n);
    weigh_by_cost(t, data->cost_slope2);
    standardise(t->in_all, data->n, ensemble_nin(&e->dims), e->in_mean, e->in_std);
    standardise(t->target_all, data->n, e->dims.nx, e->out_mean, e->out_std);
}

/* ---- who learns from which rows ---- */

static void shuffle(int *order, int n, struct rng *r)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(r, (uint32_t)i + 1), o = order[i];

        order[i] = order[j];
        order[j] = o;
    }
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* What each net learns from: to (members x n) becomes these rows, or as many drawn from them. */
static void deal(struct trainer *t, const int *rows, int n, int *to)
{
    for (int m = 0; m < t->e.dims.members; m++)
        for (int i = 0; i < n; i++)
            *to++ = rows[t->c.bootstrap ? (int)rng_below(&t->rng, (uint32_t)n) : i];
}

void train_runs(int n, const int64_t *trial, const uint32_t *step, int *run)
{
    for (int i = n - 1; i >= 0; i--) {
        bool next = i + 1 < n && trial[i + 1] == trial[i] && step[i + 1] == step[i] + 1;

        run[i] = next ? run[i + 1] + 1 : 0;
    }
}

/* Steps from each row up to the end of its run or to a row held out. */
static void find_reach(struct trainer *t, const struct train_data *data)
{
    for (int i = 0; i < data->n; i++)
        t->reach[i] = 1;
    for (int i = 0; i < t->nheld; i++)
        t->reach[t->rows[t->nkept + i]] = 0;
    for (int i = data->n - 2; i >= 0 && data->run; i--)
        if (t->reach[i] > 0 && data->run[i] > 0)
            t->reach[i] += t->reach[i + 1];
}

void trainer_split(struct trainer *t, const struct train_data *data)
{
    int n = data->n;

    for (int i = 0; i < n; i++)
        t->rows[i] = i;
    t->nheld = 0;
    if (t->c.holdout > 0) {
        t->nheld = (int)lround(t->c.holdout * n);
        t->nheld = t->nheld < 1 ? 1 : t->nheld; /* of at least 2, and at most half of them */
        shuffle(t->rows, n, &t->rng);
    }
    t->nkept = n - t->nheld;
    qsort(t->rows, (size_t)t->nkept, sizeof *t->rows, ascending);
    find_reach(t, data);
    deal(t, t->rows, t->nkept, t->order);

    t->nrecent = 0;
    if (t->c.recent > 0) {
        while (t->nrecent < t->nkept && t->rows[t->nkept - 1 - t->nrecent] >= n - data->nrecent)
            t->nrecent++;
        deal(t, t->rows + t->nkept - t->nrecent, t->nrecent, t->recent);
    }
}

void trainer_shuffle(struct trainer *t)
{
    for (int m = 0; m < t->e.dims.members; m++)
        shuffle(t->order + (size_t)m * (size_t)t->nkept, t->nkept, &t->rng);
}

/* ---- batches ---- */

const int *trainer_draw(struct trainer *t, int member, int from, int n)
{
    const int *order = t->order + (size_t)member * (size_t)t->nkept + from;
    const int *newer = t->recent + (size_t)member * (size_t)t->nrecent;

    if (t->nrecent == 0)
        return order;
    memcpy(t->batch, order, (size_t)n * sizeof *order);
    for (int i = 0; i < (int)lround(t->c.recent * n); i++)
        t->batch[i] = newer[rng_below(&t->rng, (uint32_t)t->nrecent)];
    return t->batch;
}

/* Rows of `from` (any number x width) side by side in tiles. */
static void spread(const struct trainer *t, const float *from, int width, const int *rows, int n, float *to)
{
    int    tile = t->k->tile;
    size_t next = kernels_wide(width) * (size_t)tile;

    for (int b = 0; b < n; b++) {
        const float *row = from + (size_t)rows[b] * (size_t)width;
        float       *at  = to + (size_t)(b / tile) * next + b % tile;

        for (int i = 0; i < width; i++, at += tile)
            *at = row[i];
    }
}

void trainer_gather(struct trainer *t, const int *rows, int n)
{
    spread(t, t->in_all, ensemble_nin(&t->e.dims), rows, n, t->h[0]);
    spread(t, t->target_all, t->e.dims.nx, rows, n, t->target);
}

void trainer_add_noise(struct trainer *t, int n)
{
    int    nin = ensemble_nin(&t->e.dims), tile = t->k->tile;
    size_t next = kernels_wide(nin) * (size_t)tile;

    for (int b = 0; b < n; b++) {
        float *at = t->h[0] + (size_t)(b / tile) * next + b % tile;

        for (int i = 0; i < nin; i++, at += tile)
            *at += t->noise[i] * (float)rng_normal(&t->rng);
    }
}
