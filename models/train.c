/* train.c - mini-batch training of the ensemble: matrix products by OpenBLAS, the rest in elementwise.c.
 *
 * For one member and one batch of n rows, with h_0 the standardised input:
 *
 *     forward    z_l = h_l W_l' ,  h_{l+1} = swish(z_l + b_l)  (the last layer has no swish)
 *     backward   dW_l = dz_l' h_l ,  db_l = sum of dz_l ,  dz_{l-1} = (dz_l W_l) swish'(z_{l-1} + b_{l-1})
 *
 * Members take turns within a step, so that one member's gradient is still in cache when Adam reads it. */
#include "models/train.h"

#include <cblas.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/arena.h"
#include "models/elementwise.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define BOUNDS_PULL 0.01f /* weight of the learned bounds in the loss, PETS code */
#define STD_MIN     1e-12 /* a component that varies less counts as constant, PETS code */

enum { FIT_SEED = 2, PROGRESS_STEPS = 50 };

struct trainer {
    struct train_config c;
    struct ensemble     e;      /* weights, bounds, normaliser                              */
    size_t              params; /* of one member                                            */
    uint64_t            seed;
    uint64_t            fits;   /* so far                                                   */
    long                adam_t; /* steps since the moments were cleared                     */
    void               *memory; /* the arrays below, up to dmin                             */
    size_t              memory_size;

    float *m, *v;                     /* members x params: Adam's moments of the weights          */
    float *grad;                      /* params: one member's gradient                            */
    float *h[MAX_LAYERS + 1];         /* batch x in of layer l: its input                         */
    float *slope[MAX_LAYERS];         /* batch x hidden: swish'                                   */
    float *out;                       /* batch x 2 nx: mean, raw log-variance                     */
    float *target;                    /* batch x nx                                               */
    float *dz[2];                     /* batch x widest: gradient by a layer's z, and by its input */
    float *dmax, *dmin;               /* nx: gradient by the bounds                               */
    float *mmax, *vmax, *mmin, *vmin; /* nx: their moments                                   */

    int    capacity;   /* rows of the arrays below                                 */
    float *in_all;     /* n x nin, standardised                                    */
    float *target_all; /* n x nx, standardised                                     */
    int   *order;      /* members x n: rows in the order of this epoch             */
};

static void layout(struct trainer *t, struct arena *a)
{
    const struct model_dims *d = &t->e.dims;
    size_t nx = (size_t)d->nx, batch = (size_t)t->c.batch, hidden = (size_t)d->hidden, nin = (size_t)ensemble_nin(d);
    size_t widest = hidden > 2 * nx ? hidden : 2 * nx;

    t->m    = ARENA_ARRAY(a, float, (size_t)d->members * t->params);
    t->v    = ARENA_ARRAY(a, float, (size_t)d->members * t->params);
    t->grad = ARENA_ARRAY(a, float, t->params);
    t->h[0] = ARENA_ARRAY(a, float, batch *nin);
    for (int l = 0; l < d->layers; l++) {
        t->h[l + 1] = ARENA_ARRAY(a, float, batch *hidden);
        t->slope[l] = ARENA_ARRAY(a, float, batch *hidden);
    }
    t->out    = ARENA_ARRAY(a, float, batch * 2 * nx);
    t->target = ARENA_ARRAY(a, float, batch *nx);
    t->dz[0]  = ARENA_ARRAY(a, float, batch *widest);
    t->dz[1]  = ARENA_ARRAY(a, float, batch *widest);
    t->dmax   = ARENA_ARRAY(a, float, nx);
    t->dmin   = ARENA_ARRAY(a, float, nx);
    t->mmax   = ARENA_ARRAY(a, float, nx);
    t->vmax   = ARENA_ARRAY(a, float, nx);
    t->mmin   = ARENA_ARRAY(a, float, nx);
    t->vmin   = ARENA_ARRAY(a, float, nx);
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

struct trainer *trainer_new(const struct model_dims *d, const struct train_config *c, uint64_t seed)
{
    struct trainer *t = calloc(1, sizeof *t);
    struct arena    a = ARENA_PROBE;

    if (!t || c->batch < 1 || ensemble_alloc(&t->e, d) != 0) {
        free(t);
        return NULL;
    }
    t->c      = *c;
    t->seed   = seed;
    t->params = ensemble_params(d);
    layout(t, &a);
    t->memory_size = (a.used + 63) & ~(size_t)63;
    t->memory      = aligned_alloc(64, t->memory_size);
    if (!t->memory) {
        trainer_free(t);
        return NULL;
    }
    memset(t->memory, 0, t->memory_size);
    a = (struct arena){ .base = t->memory, .size = t->memory_size };
    layout(t, &a);
    ensemble_init(&t->e, seed);
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

static void copy_model(struct ensemble *to, const struct ensemble *from)
{
    struct ensemble keep = *to;

    CHECK(model_dims_equal(&to->dims, &from->dims));
    *to         = *from;
    to->version = keep.version;
    to->weights = keep.weights;
    memcpy(to->weights, from->weights, (size_t)to->dims.members * ensemble_params(&to->dims) * sizeof *to->weights);
}

void trainer_load(struct trainer *t, const struct ensemble *e)
{
    copy_model(&t->e, e);
    clear_moments(t);
}

void trainer_export(const struct trainer *t, struct ensemble *e)
{
    copy_model(e, &t->e);
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

static void unpack(const struct trainer *t, const struct train_data *data, float *in, float *target)
{
    const struct model_dims *d   = &t->e.dims;
    size_t                   nin = (size_t)ensemble_nin(d), nx = (size_t)d->nx, na = (size_t)d->na;

    for (size_t i = 0; i < (size_t)data->n; i++) {
        ensemble_features(d, data->x + i * nx, data->a + i * na, in + i * nin);
        for (size_t k = 0; k < nx; k++)
            target[i * nx + k] = data->y[i * nx + k] - data->x[i * nx + k];
    }
}

/* Inputs and targets of all data, and the normaliser that goes with them. */
static void prepare(struct trainer *t, const struct train_data *data)
{
    struct ensemble *e  = &t->e;
    int              nx = e->dims.nx, nin = ensemble_nin(&e->dims);

    unpack(t, data, t->in_all, t->target_all);
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

static void gather(struct trainer *t, const int *rows, int n)
{
    size_t nin = (size_t)ensemble_nin(&t->e.dims), nx = (size_t)t->e.dims.nx;

    for (size_t i = 0; i < (size_t)n; i++) {
        memcpy(t->h[0] + i * nin, t->in_all + (size_t)rows[i] * nin, nin * sizeof(float));
        memcpy(t->target + i * nx, t->target_all + (size_t)rows[i] * nx, nx * sizeof(float));
    }
}

/* w: one member's parameters; walks to the end of them. */
static void forward(struct trainer *t, const float *w, int n)
{
    int layers = t->e.dims.layers;

    for (int l = 0; l <= layers; l++) {
        float *z = l < layers ? t->slope[l] : t->out;
        int    in, out;

        ensemble_layer(&t->e.dims, l, &in, &out);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1, t->h[l], in, w, in, 0, z, out);
        w += (size_t)out * (size_t)in;
        if (l < layers)
            elementwise_swish(n, out, w, z, t->h[l + 1]);
        else
            for (int i = 0; i < n; i++, z += out)
                for (int k = 0; k < out; k++)
                    z[k] += w[k];
        w += out;
    }
}

/* softplus(x), and its derivative the sigmoid */
static float softplus(float x, float *sigmoid)
{
    float e = expf(-fabsf(x));

    *sigmoid = (x > 0 ? 1 : e) / (1 + e);
    return (x > 0 ? x : 0) + log1pf(e);
}

/* Mean over n rows and nx of (mu - y)^2 exp(-lv) + lv; writes its gradient by the net's outputs to dout, and adds that by
 * the bounds to dmax, dmin. */
static double nll(struct trainer *t, int n, float *dout)
{
    const struct ensemble *e     = &t->e;
    int                    nx    = e->dims.nx;
    float                  share = 1 / (float)(n * nx);
    double                 sum   = 0;

    for (int i = 0; i < n; i++) {
        const float *out = t->out + 2 * nx * i, *y = t->target + nx * i;
        float       *d = dout + 2 * nx * i;

        for (int k = 0; k < nx; k++) {
            float s_max, s_min;
            float lv = e->max_logvar[k] - softplus(e->max_logvar[k] - out[nx + k], &s_max);

            lv = e->min_logvar[k] + softplus(lv - e->min_logvar[k], &s_min);

            float err = out[k] - y[k], precision = expf(-lv), dlv = share * (1 - err * err * precision);

            sum += (double)(err * err * precision + lv);
            d[k]      = share * 2 * err * precision;
            d[nx + k] = dlv * s_min * s_max;
            t->dmax[k] += dlv * s_min * (1 - s_max);
            t->dmin[k] += dlv * (1 - s_min);
        }
    }
    return sum * (double)share;
}

/* dz[0] holds the gradient by the outputs; grad receives that by w. */
static void backward(struct trainer *t, const float *w, int n, float *grad)
{
    float *dz = t->dz[0], *dh = t->dz[1];

    w += t->params;
    grad += t->params;
    for (int l = t->e.dims.layers; l >= 0; l--) {
        int in, out;

        ensemble_layer(&t->e.dims, l, &in, &out);
        size_t nw = (size_t)out * (size_t)in, nb = (size_t)out;

        w -= nw + nb;
        grad -= nw + nb;
        float *db = grad + nw;

        if (l == t->e.dims.layers)
            elementwise_sum_rows(n, out, dz, db);
        else
            elementwise_swish_back(n, out, t->slope[l], dz, db);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, n, 1, dz, out, t->h[l], in, 0, grad, in);
        if (l == 0)
            break;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, in, out, 1, dz, out, w, in, 0, dh, in);
        float *swap = dz;
        dz          = dh;
        dh          = swap;
    }
}

static double batch_gradient(struct trainer *t, const float *w, int n, float *grad)
{
    forward(t, w, n);
    double loss = nll(t, n, t->dz[0]);

    backward(t, w, n, grad);
    return loss;
}

/* ---- one step, one training ---- */

static void update_member(struct trainer *t, int member, float rate)
{
    size_t at = (size_t)member * t->params;
    float *g  = t->grad;

    for (int l = 0; l <= t->e.dims.layers; l++) {
        int in, out;

        ensemble_layer(&t->e.dims, l, &in, &out);
        size_t nw = (size_t)out * (size_t)in, nb = (size_t)out;

        elementwise_adam(nw, t->e.weights + at, t->m + at, t->v + at, g, (float)t->c.weight_decay[l], rate);
        at += nw;
        g += nw;
        elementwise_adam(nb, t->e.weights + at, t->m + at, t->v + at, g, 0, rate);
        at += nb;
        g += nb;
    }
}

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
        loss += batch_gradient(t, e->weights + (size_t)m * t->params, n, t->grad);
        update_member(t, m, rate);
    }
    if (t->c.learned_bounds) {
        size_t nx = (size_t)e->dims.nx;

        for (size_t k = 0; k < nx; k++) {
            t->dmax[k] += BOUNDS_PULL;
            t->dmin[k] -= BOUNDS_PULL;
        }
        elementwise_adam(nx, e->max_logvar, t->mmax, t->vmax, t->dmax, 0, rate);
        elementwise_adam(nx, e->min_logvar, t->mmin, t->vmin, t->dmin, 0, rate);
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
        ensemble_init(&t->e, rng_next(&r));
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
    const struct ensemble *e    = &t->e;
    size_t                 nx   = (size_t)e->dims.nx;
    double                 loss = 0;

    CHECK(data->n >= 1 && data->n <= t->c.batch);
    clear_bounds_gradient(t);
    for (int m = 0; m < e->dims.members; m++) {
        const float *w = e->weights + (size_t)m * t->params;
        float       *g = dweights + (size_t)m * t->params;

        unpack(t, data, t->h[0], t->target);
        standardise(t->h[0], data->n, ensemble_nin(&e->dims), e->in_mean, e->in_std);
        standardise(t->target, data->n, e->dims.nx, e->out_mean, e->out_std);
        loss += batch_gradient(t, w, data->n, g);
        for (int l = 0, in, out; l <= e->dims.layers; l++) {
            ensemble_layer(&e->dims, l, &in, &out);
            for (int i = 0; i < out * in; i++, w++, g++) {
                loss += 0.5 * t->c.weight_decay[l] * (double)*w * (double)*w;
                *g += (float)t->c.weight_decay[l] * *w;
            }
            w += out;
            g += out;
        }
    }
    for (size_t k = 0; k < nx && t->c.learned_bounds; k++) {
        loss += (double)(BOUNDS_PULL * (e->max_logvar[k] - e->min_logvar[k]));
        t->dmax[k] += BOUNDS_PULL;
        t->dmin[k] -= BOUNDS_PULL;
    }
    memcpy(dmax, t->dmax, nx * sizeof *dmax);
    memcpy(dmin, t->dmin, nx * sizeof *dmin);
    return loss;
}
