/* train.c - mini-batch training of the ensemble: what is done in which order; the arithmetic is in kernels.c.
 *
 * For one member and one batch of n rows, with h_0 the standardised input:
 *
 *     forward    z_l = W_l h_l + b_l ,  h_{l+1} = swish(z_l)  (the last layer has no swish)
 *     backward   dz_{l-1} = W_l' dz_l .* swish'(z_{l-1}) ,  dW_l = dz_l h_l' ,  db_l = sum of dz_l
 *
 * Members take turns within a step, so that one member's weights stay in cache from their first use to the last.  A
 * layer's weights are updated as soon as its own gradient and that of its input are there. */
#include "models/train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/rt/arena.h"
#include "models/kernels.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define BOUNDS_PULL 0.01f /* weight of the learned bounds in the loss, PETS code */
#define STD_MIN     1e-12 /* a component that varies less counts as constant, PETS code */

enum { FIT_SEED = 2, PROGRESS_STEPS = 50 };

struct trainer {
    struct train_config   c;
    const struct kernels *k;
    struct ensemble       e;                      /* bounds, normaliser; its weights are only a copy on the way   */
    size_t                params;                 /* of one member, as the kernels lay them out                   */
    size_t                offset[MAX_LAYERS + 1]; /* of a layer in them                                           */
    uint64_t              seed;
    uint64_t              fits;   /* so far                                                       */
    long                  adam_t; /* steps since the moments were cleared                         */
    void                 *memory; /* the arrays below, up to vmin                                 */
    size_t                memory_size;

    float *w, *m, *v;                 /* members x params: weights, Adam's moments of them            */
    float *h[MAX_LAYERS + 1];         /* tiles: input of layer l                                      */
    float *slope[MAX_LAYERS];         /* tiles: swish'                                                */
    float *out;                       /* tiles: mean, raw log-variance                                */
    float *target;                    /* tiles                                                        */
    float *dz[2];                     /* tiles: gradient by a layer's z, and by the one's before it   */
    float *scratch;                   /* of the kernels                                               */
    float *dmax, *dmin;               /* nx: gradient by the bounds                                   */
    float *mmax, *vmax, *mmin, *vmin; /* nx: their moments                                            */

    int    capacity;   /* rows of the arrays below                                 */
    float *in_all;     /* n x nin, standardised                                    */
    float *target_all; /* n x nx, standardised                                     */
    int   *order;      /* members x n: rows in the order of this epoch             */
};

static int tiles(const struct trainer *t, int n)
{
    return (n + t->k->tile - 1) / t->k->tile;
}

static void layout(struct trainer *t, struct arena *a)
{
    const struct model_dims *d    = &t->e.dims;
    size_t                   rows = (size_t)tiles(t, t->c.batch) * (size_t)t->k->tile, nx = (size_t)d->nx;
    size_t                   hidden = rows * kernels_wide(d->hidden), out = rows * kernels_wide(2 * d->nx);
    size_t                   weights = (size_t)d->members * t->params;

    t->w    = ARENA_ARRAY(a, float, weights);
    t->m    = ARENA_ARRAY(a, float, weights);
    t->v    = ARENA_ARRAY(a, float, weights);
    t->h[0] = ARENA_ARRAY(a, float, rows *kernels_wide(ensemble_nin(d)));
    for (int l = 0; l < d->layers; l++) {
        t->h[l + 1] = ARENA_ARRAY(a, float, hidden);
        t->slope[l] = ARENA_ARRAY(a, float, hidden);
    }
    t->out     = ARENA_ARRAY(a, float, out);
    t->target  = ARENA_ARRAY(a, float, rows *kernels_wide(d->nx));
    t->dz[0]   = ARENA_ARRAY(a, float, hidden > out ? hidden : out);
    t->dz[1]   = ARENA_ARRAY(a, float, hidden > out ? hidden : out);
    t->scratch = ARENA_ARRAY(a, float, kernels_scratch(t->c.batch));
    t->dmax    = ARENA_ARRAY(a, float, nx);
    t->dmin    = ARENA_ARRAY(a, float, nx);
    t->mmax    = ARENA_ARRAY(a, float, nx);
    t->vmax    = ARENA_ARRAY(a, float, nx);
    t->mmin    = ARENA_ARRAY(a, float, nx);
    t->vmin    = ARENA_ARRAY(a, float, nx);
}

/* Between the kernels' layout of all members (packed) and that of ensemble.h (plain). */
static void pack(const struct trainer *t, const float *plain, float *packed)
{
    for (int m = 0; m < t->e.dims.members; m++, packed += t->params)
        for (int l = 0, in, out; l <= t->e.dims.layers; l++) {
            float *w = packed + t->offset[l];

            ensemble_layer(&t->e.dims, l, &in, &out);
            for (int o = 0; o < out; o++)
                for (int i = 0; i < in; i++)
                    w[kernels_at(t->k, in, o, i)] = *plain++;
            memcpy(w + kernels_weights(in, out), plain, (size_t)out * sizeof *w);
            plain += out;
        }
}

static void unpack(const struct trainer *t, const float *packed, float *plain)
{
    for (int m = 0; m < t->e.dims.members; m++, packed += t->params)
        for (int l = 0, in, out; l <= t->e.dims.layers; l++) {
            const float *w = packed + t->offset[l];

            ensemble_layer(&t->e.dims, l, &in, &out);
            for (int o = 0; o < out; o++)
                for (int i = 0; i < in; i++)
                    *plain++ = w[kernels_at(t->k, in, o, i)];
            memcpy(plain, w + kernels_weights(in, out), (size_t)out * sizeof *w);
            plain += out;
        }
}

static void clear_moments(struct trainer *t)
{
    size_t nx = (size_t)t->e.dims.nx, n = (size_t)t->e.dims.members * t->params;

    memset(t->m, 0, n * sizeof *t->m);
    memset(t->v, 0, n * sizeof *t->v);
    memset(t->mmax, 0, nx * sizeof *t->mmax);
    memset(t->vmax, 0, nx * sizeof *t->vmax);
    memset(t->mmin, 0, nx * sizeof *t->mmin);
    memset(t->vmin, 0, nx * sizeof *t->vmin);
    t->adam_t = 0;
}

static void fresh_weights(struct trainer *t, uint64_t seed)
{
    ensemble_init(&t->e, seed);
    pack(t, t->e.weights, t->w);
}

struct trainer *trainer_new(const struct model_dims *d, const struct train_config *c, uint64_t seed)
{
    return trainer_new_on(NULL, d, c, seed);
}

struct trainer *trainer_new_on(const char *isa, const struct model_dims *d, const struct train_config *c, uint64_t seed)
{
    struct trainer *t = calloc(1, sizeof *t);
    struct arena    a = ARENA_PROBE;

    if (!t || c->batch < 1 || !(t->k = kernels_find(isa)) || ensemble_alloc(&t->e, d) != 0) {
        free(t);
        return NULL;
    }
    t->c    = *c;
    t->seed = seed;
    for (int l = 0, in, out; l <= d->layers; l++) {
        ensemble_layer(d, l, &in, &out);
        t->offset[l] = t->params;
        t->params += kernels_params(in, out);
    }
    layout(t, &a);
    t->memory_size = (a.used + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
    t->memory      = aligned_alloc(HUGE_PAGE, t->memory_size);
    if (!t->memory) {
        trainer_free(t);
        return NULL;
    }
    (void)madvise(t->memory, t->memory_size, MADV_HUGEPAGE); /* or looking up pages takes a third of the time */
    memset(t->memory, 0, t->memory_size);
    a = (struct arena){ .base = t->memory, .size = t->memory_size };
    layout(t, &a);
    fresh_weights(t, seed);
    return t;
}

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    ensemble_free(&t->e);
    free(t->memory);
    free(t->in_all);
    free(t->target_all);
    free(t->order);
    free(t);
}

/* All but version and weights. */
static void copy_rest(struct ensemble *to, const struct ensemble *from)
{
    struct ensemble keep = *to;

    CHECK(model_dims_equal(&to->dims, &from->dims));
    *to         = *from;
    to->version = keep.version;
    to->weights = keep.weights;
}

void trainer_load(struct trainer *t, const struct ensemble *e)
{
    copy_rest(&t->e, e);
    pack(t, e->weights, t->w);
    clear_moments(t);
}

void trainer_export(const struct trainer *t, struct ensemble *e)
{
    copy_rest(e, &t->e);
    unpack(t, t->w, e->weights);
}

/* ---- data ---- */

static bool data_finite(const struct train_data *data, const struct model_dims *d)
{
    size_t n = (size_t)data->n;

    for (size_t i = 0; i < n * (size_t)d->nx; i++)
        if (!isfinite(data->x[i]) || !isfinite(data->y[i]))
            return false;
    for (size_t i = 0; i < n * (size_t)d->na; i++)
        if (!isfinite(data->a[i]))
            return false;
    return true;
}

static bool reserve(struct trainer *t, int n)
{
    size_t rows = (size_t)n + (size_t)n / 2;

    if (n <= t->capacity)
        return true;
    free(t->in_all);
    free(t->target_all);
    free(t->order);
    t->capacity   = 0;
    t->in_all     = malloc(rows * (size_t)ensemble_nin(&t->e.dims) * sizeof *t->in_all);
    t->target_all = malloc(rows * (size_t)t->e.dims.nx * sizeof *t->target_all);
    t->order      = malloc(rows * (size_t)t->e.dims.members * sizeof *t->order);
    if (!t->in_all || !t->target_all || !t->order)
        return false;
    t->capacity = (int)rows;
    return true;
}

/* Mean and std of each column of v (n x width). */
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
        std[k]  = q < STD_MIN ? 1 : (float)q;
    }
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

/* Inputs and targets of all data, and the normaliser that goes with them. */
static void prepare(struct trainer *t, const struct train_data *data)
{
    struct ensemble *e  = &t->e;
    int              nx = e->dims.nx, nin = ensemble_nin(&e->dims);

    differences(t, data, t->in_all, t->target_all);
    column_stats(t->in_all, data->n, nin, e->in_mean, e->in_std);
    column_stats(t->target_all, data->n, nx, e->out_mean, e->out_std);
    for (int k = 0; k < nx && !t->c.standardise_targets; k++) {
        e->out_mean[k] = 0;
        e->out_std[k]  = 1;
    }
    for (int k = 0; k < nx && !t->c.learned_bounds; k++) {
        e->max_logvar[k] = 0.5f; /* the start values of PETS, kept: learned ones run away over days */
        e->min_logvar[k] = -10;
    }
    standardise(t->in_all, data->n, nin, e->in_mean, e->in_std);
    standardise(t->target_all, data->n, nx, e->out_mean, e->out_std);
}

static void shuffle(int *order, int n, struct rng *r)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(r, (uint32_t)i + 1), o = order[i];

        order[i] = order[j];
        order[j] = o;
    }
}

/* ---- one batch ---- */

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

static void gather(struct trainer *t, const int *rows, int n)
{
    spread(t, t->in_all, ensemble_nin(&t->e.dims), rows, n, t->h[0]);
    spread(t, t->target_all, t->e.dims.nx, rows, n, t->target);
}

/* Forward, loss, backward and Adam's step for one member and the n rows gathered; with grad (params) the weights stay
 * and it receives their gradient.  Returns the loss. */
static double train_member(struct trainer *t, int member, int n, float rate, float *grad)
{
    const struct kernels    *k      = t->k;
    const struct ensemble   *e      = &t->e;
    const struct model_dims *d      = &e->dims;
    size_t                   params = (size_t)member * t->params;
    float                   *dz = t->dz[0], *before = t->dz[1];
    int                      layers = d->layers, some = tiles(t, n), in, out;

    for (int l = 0; l <= layers; l++) {
        ensemble_layer(d, l, &in, &out);
        k->forward(some, in, out, t->w + params + t->offset[l], t->h[l], l < layers ? t->h[l + 1] : t->out,
                   l < layers ? t->slope[l] : NULL);
    }
    double loss = k->nll(n, d->nx, t->out, t->target, e->max_logvar, e->min_logvar, dz, t->dmax, t->dmin);

    for (int l = layers; l >= 0; l--) {
        size_t                at = params + t->offset[l];
        struct kernels_update u  = { .w     = t->w + at,
                                     .m     = t->m + at,
                                     .v     = t->v + at,
                                     .grad  = grad ? grad + t->offset[l] : NULL,
                                     .decay = (float)t->c.weight_decay[l],
                                     .rate  = rate };

        ensemble_layer(d, l, &in, &out);
        if (l > 0)
            k->back_inputs(some, in, out, u.w, dz, t->slope[l - 1], before);
        k->back_weights(n, in, out, t->h[l], dz, &u, t->scratch);

        float *swap = dz;
        dz          = before;
        before      = swap;
    }
    return loss;
}

/* ---- one step, one training ---- */

static void clear_bounds_gradient(struct trainer *t)
{
    size_t nx = (size_t)t->e.dims.nx;

    memset(t->dmax, 0, nx * sizeof *t->dmax);
    memset(t->dmin, 0, nx * sizeof *t->dmin);
}

/* Rows from .. from + n of every member's order.  Returns the loss, mean over members. */
static double step(struct trainer *t, int total, int from, int n)
{
    struct ensemble *e    = &t->e;
    float            rate = (float)adam_rate(t->c.learning_rate, ++t->adam_t);
    double           loss = 0;

    clear_bounds_gradient(t);
    for (int m = 0; m < e->dims.members; m++) {
        gather(t, t->order + (size_t)m * (size_t)total + from, n);
        loss += train_member(t, m, n, rate, NULL);
    }
    if (t->c.learned_bounds) {
        size_t nx = (size_t)e->dims.nx;

        for (size_t k = 0; k < nx; k++) {
            t->dmax[k] += BOUNDS_PULL;
            t->dmin[k] -= BOUNDS_PULL;
        }
        t->k->adam(nx, e->max_logvar, t->mmax, t->vmax, t->dmax, 0, rate);
        t->k->adam(nx, e->min_logvar, t->mmin, t->vmin, t->dmin, 0, rate);
    }
    return loss / e->dims.members;
}

/* Moments that decay towards zero would otherwise stay denormal for good and slow every step down. */
static unsigned flush_denormals(void)
{
#ifdef __SSE__
    unsigned old = _mm_getcsr();

    _mm_setcsr(old | 0x8040); /* FTZ, DAZ */
    return old;
#else
    return 0;
#endif
}

static void restore_denormals(unsigned old)
{
#ifdef __SSE__
    _mm_setcsr(old);
#else
    (void)old;
#endif
}

static int run_epochs(struct trainer *t, int n, struct rng *r, bool (*progress)(void *, double), void *ctx,
                      double *loss)
{
    int per_epoch = (n + t->c.batch - 1) / t->c.batch, steps = 0;
    int wanted = (t->c.min_steps + per_epoch - 1) / per_epoch;
    int epochs = t->c.epochs > wanted ? t->c.epochs : wanted;

    *loss = (double)NAN;
    for (int ep = 0; ep < epochs; ep++) {
        double sum = 0;

        for (int m = 0; m < t->e.dims.members; m++)
            shuffle(t->order + (size_t)m * (size_t)n, n, r);
        for (int from = 0; from < n; from += t->c.batch) {
            int rows = n - from < t->c.batch ? n - from : t->c.batch;

            sum += step(t, n, from, rows) * rows / n;
            if (++steps % PROGRESS_STEPS == 0 && progress &&
                !progress(ctx, (double)steps / ((double)epochs * per_epoch)))
                return steps;
        }
        *loss = sum;
    }
    return steps;
}

int trainer_fit(struct trainer *t, const struct train_data *data, bool (*progress)(void *ctx, double done), void *ctx,
                double *loss)
{
    double     ignored;
    struct rng r;

    if (data->n < 2 || !data_finite(data, &t->e.dims))
        return -EINVAL;
    if (!reserve(t, data->n))
        return -ENOMEM;
    t->fits++;
    rng_seed(&r, rng_derive(t->seed, FIT_SEED, t->fits));
    if (!t->c.warm_start) {
        fresh_weights(t, rng_next(&r));
        clear_moments(t);
    }
    prepare(t, data);
    for (int m = 0; m < t->e.dims.members; m++)
        for (int i = 0; i < data->n; i++)
            t->order[(size_t)m * (size_t)data->n + (size_t)i] =
                t->c.bootstrap ? (int)rng_below(&r, (uint32_t)data->n) : i;

    unsigned csr   = flush_denormals();
    int      steps = run_epochs(t, data->n, &r, progress, ctx, loss ? loss : &ignored);

    restore_denormals(csr);
    return steps;
}

double trainer_gradient(struct trainer *t, const struct train_data *data, float *dweights, float *dmax, float *dmin)
{
    struct ensemble *e  = &t->e;
    const size_t     nx = (size_t)e->dims.nx, members = (size_t)e->dims.members;
    int              n = data->n, nin = ensemble_nin(&e->dims);
    double           loss = 0;

    CHECK(n >= 1 && n <= t->c.batch);
    float *in = malloc((size_t)n * (size_t)nin * sizeof *in), *target = malloc((size_t)n * nx * sizeof *target);
    float *grad = calloc(members * t->params, sizeof *grad);
    int   *rows = malloc((size_t)n * sizeof *rows);

    CHECK(in && target && grad && rows);
    differences(t, data, in, target);
    standardise(in, n, nin, e->in_mean, e->in_std);
    standardise(target, n, e->dims.nx, e->out_mean, e->out_std);
    for (int i = 0; i < n; i++)
        rows[i] = i;
    spread(t, in, nin, rows, n, t->h[0]);
    spread(t, target, e->dims.nx, rows, n, t->target);

    clear_bounds_gradient(t);
    for (size_t m = 0; m < members; m++)
        loss += train_member(t, (int)m, n, 0, grad + m * t->params);
    unpack(t, grad, dweights);
    unpack(t, t->w, e->weights);
    for (size_t m = 0; m < members; m++) {
        const float *w = e->weights + m * ensemble_params(&e->dims);
        float       *g = dweights + m * ensemble_params(&e->dims);

        for (int l = 0, nw, out; l <= e->dims.layers; l++, w += out, g += out) {
            ensemble_layer(&e->dims, l, &nw, &out);
            for (nw *= out; nw > 0; nw--, w++, g++) {
                loss += 0.5 * t->c.weight_decay[l] * (double)*w * (double)*w;
                *g += (float)t->c.weight_decay[l] * *w;
            }
        }
    }
    for (size_t k = 0; k < nx && t->c.learned_bounds; k++) {
        loss += (double)(BOUNDS_PULL * (e->max_logvar[k] - e->min_logvar[k]));
        t->dmax[k] += BOUNDS_PULL;
        t->dmin[k] -= BOUNDS_PULL;
    }
    memcpy(dmax, t->dmax, nx * sizeof *dmax);
    memcpy(dmin, t->dmin, nx * sizeof *dmin);
    free(in);
    free(target);
    free(grad);
    free(rows);
    return loss;
}
