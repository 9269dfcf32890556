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
#include "models/train_parts.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define BOUNDS_PULL 0.01f /* weight of the learned bounds in the loss, PETS code */

enum { FIT_SEED = 2, LOAD_SEED = 4, POWER_SEED = 5, PROGRESS_STEPS = 50 };
enum { MAX_WIDTH = (MAX_HIDDEN > MAX_IN ? MAX_HIDDEN : MAX_IN) + KERNELS_LANES };
_Static_assert(MAX_IN >= 2 * MAX_OBS, "a layer's output fits too");

/* Arrays of the multi-step loss, for batches of so many rows. */
static void layout_unroll(struct trainer *t, struct arena *a, size_t rows)
{
    const struct model_dims *d   = &t->e.dims;
    size_t                   all = rows * (size_t)t->c.unroll, states = (size_t)t->c.batch * (size_t)d->nx,
           in = kernels_wide(ensemble_nin(d));

    for (int l = 0; l <= d->layers; l++)
        t->dzs[l] = ARENA_ARRAY(a, float, all *kernels_wide(l < d->layers ? d->hidden : 2 * d->nx));
    t->state = ARENA_ARRAY(a, float, states *(size_t)t->c.unroll);
    t->pull  = ARENA_ARRAY(a, float, states *(size_t)t->c.unroll);
    t->carry = ARENA_ARRAY(a, float, states);
    t->dh    = ARENA_ARRAY(a, float, rows *in);
    t->ones  = ARENA_ARRAY(a, float, rows *in);
}

static void fill_ones(struct trainer *t)
{
    size_t n = (size_t)trainer_tiles(t, t->c.batch) * (size_t)t->k->tile * kernels_wide(ensemble_nin(&t->e.dims));

    for (size_t i = 0; i < n; i++)
        t->ones[i] = 1;
}

static size_t power_size(const struct model_dims *d)
{
    size_t hidden = kernels_wide(d->hidden), out = kernels_wide(2 * d->nx);

    return (size_t)(d->members * (d->layers + 1)) * (hidden > out ? hidden : out);
}

static void layout(struct trainer *t, struct arena *a)
{
    const struct model_dims *d    = &t->e.dims;
    size_t                   rows = (size_t)trainer_tiles(t, t->c.batch) * (size_t)t->k->tile, nx = (size_t)d->nx;
    size_t                   hidden = rows * kernels_wide(d->hidden), out = rows * kernels_wide(2 * d->nx);
    size_t weights = (size_t)d->members * t->params, steps = t->c.unroll > 1 ? (size_t)t->c.unroll : 1;

    t->w    = ARENA_ARRAY(a, float, weights);
    t->m    = ARENA_ARRAY(a, float, weights);
    t->v    = ARENA_ARRAY(a, float, weights);
    t->best = ARENA_ARRAY(a, float, t->c.holdout > 0 ? weights : 0);
    t->h[0] = ARENA_ARRAY(a, float, steps *rows *kernels_wide(ensemble_nin(d)));
    for (int l = 0; l < d->layers; l++) {
        t->h[l + 1] = ARENA_ARRAY(a, float, steps *hidden);
        t->slope[l] = ARENA_ARRAY(a, float, steps *hidden);
    }
    t->out     = ARENA_ARRAY(a, float, out);
    t->target  = ARENA_ARRAY(a, float, rows *kernels_wide(d->nx));
    t->dz[0]   = ARENA_ARRAY(a, float, hidden > out ? hidden : out);
    t->dz[1]   = ARENA_ARRAY(a, float, hidden > out ? hidden : out);
    t->batch   = ARENA_ARRAY(a, int, t->c.batch);
    t->scratch = ARENA_ARRAY(a, float, kernels_scratch((int)(steps * rows)));
    t->dmax    = ARENA_ARRAY(a, float, nx);
    t->dmin    = ARENA_ARRAY(a, float, nx);
    t->mmax    = ARENA_ARRAY(a, float, nx);
    t->vmax    = ARENA_ARRAY(a, float, nx);
    t->mmin    = ARENA_ARRAY(a, float, nx);
    t->vmin    = ARENA_ARRAY(a, float, nx);
    t->power   = ARENA_ARRAY(a, float, t->c.spectral_norm > 0 ? power_size(d) : 0);
    if (t->c.unroll > 1)
        layout_unroll(t, a, rows);
}

/* Between the kernels' layout of one member (packed) and that of ensemble.h (plain). */
static void pack(const struct trainer *t, const float *plain, float *packed)
{
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

/* The first n members. */
static void pack_members(struct trainer *t, const float *plain, int n)
{
    for (int m = 0; m < n; m++)
        pack(t, plain + (size_t)m * ensemble_params(&t->e.dims), t->w + (size_t)m * t->params);
}

/* Anywhere, for all layers: what is not along their largest singular vector fades. */
static void restart_power(struct trainer *t)
{
    struct rng r;

    rng_seed(&r, rng_derive(t->seed, POWER_SEED, 0));
    for (size_t i = 0; i < power_size(&t->e.dims); i++)
        t->power[i] = (float)rng_normal(&r);
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
    if (t->c.spectral_norm > 0)
        restart_power(t);
}

static void forget_scores(struct trainer *t)
{
    for (int m = 0; m < t->e.dims.members; m++)
        t->score[m] = t->mark[m] = (double)INFINITY;
}

static void fresh_weights(struct trainer *t, uint64_t seed)
{
    ensemble_init(&t->e, seed);
    pack_members(t, t->e.weights, t->e.dims.members);
    forget_scores(t);
}

struct trainer *trainer_new(const struct model_dims *d, const struct train_config *c, uint64_t seed)
{
    return trainer_new_on(NULL, d, c, seed);
}

struct trainer *trainer_new_on(const char *isa, const struct model_dims *d, const struct train_config *c, uint64_t seed)
{
    struct trainer   *t    = calloc(1, sizeof *t);
    struct model_dims dims = *d;
    struct arena      a    = ARENA_PROBE;

    if (c->train_members > d->members)
        dims.members = c->train_members;
    if (!t || c->batch < 1 || !(c->holdout >= 0 && c->holdout <= 0.5) || !(t->k = kernels_find(isa)) ||
        ensemble_alloc(&t->e, &dims) != 0) {
        free(t);
        return NULL;
    }
    t->c         = *c;
    t->seed      = seed;
    t->published = *d;
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
    if (t->c.unroll > 1)
        fill_ones(t);
    fresh_weights(t, seed);
    clear_moments(t);
    return t;
}

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    ensemble_free(&t->e);
    free(t->memory);
    trainer_data_free(t);
    free(t);
}

/* All but version, weights and how many there are of them. */
static void copy_rest(struct ensemble *to, const struct ensemble *from)
{
    struct ensemble keep = *to;

    *to         = *from;
    to->dims    = keep.dims;
    to->version = keep.version;
    to->weights = keep.weights;
}

void trainer_load(struct trainer *t, const struct ensemble *e)
{
    CHECK(model_dims_equal(&t->published, &e->dims));
    fresh_weights(t, rng_derive(t->seed, LOAD_SEED, t->fits)); /* for the nets that were not published */
    copy_rest(&t->e, e);
    memcpy(t->target_std, e->out_std, sizeof t->target_std);
    pack_members(t, e->weights, e->dims.members);
    for (int m = 0; m < e->dims.members; m++)
        t->score[m] = 0;
    clear_moments(t);
}

/* Whether member m is one of the best by score, of equal ones the first. */
static bool elite(const struct trainer *t, int m)
{
    int better = 0;

    for (int i = 0; i < t->e.dims.members; i++)
        better += t->score[i] < t->score[m] || (t->score[i] == t->score[m] && i < m);
    return better < t->published.members;
}

void trainer_export(const struct trainer *t, struct ensemble *e)
{
    float *plain = e->weights;

    CHECK(model_dims_equal(&t->published, &e->dims));
    copy_rest(e, &t->e);
    for (int m = 0; m < t->e.dims.members; m++)
        if (elite(t, m)) {
            unpack(t, t->w + (size_t)m * t->params, plain);
            plain += ensemble_params(&e->dims);
        }
}

/* ---- one batch ---- */

void trainer_forward(struct trainer *t, int member, int at, int some)
{
    const float *w      = t->w + (size_t)member * t->params;
    int          layers = t->e.dims.layers;
    size_t       first  = (size_t)at * (size_t)t->k->tile;

    for (int l = 0, in, out; l <= layers; l++) {
        ensemble_layer(&t->e.dims, l, &in, &out);
        size_t to = first * kernels_wide(out);

        t->k->forward(some, in, out, w + t->offset[l], t->h[l] + first * kernels_wide(in),
                      l < layers ? t->h[l + 1] + to : t->out, l < layers ? t->slope[l] + to : NULL);
    }
}

/* The squared errors by what they cost; adds their gradient to dz. */
static double reward_loss(const struct trainer *t, int n, float *dz)
{
    int    nx = t->e.dims.nx, tile = t->k->tile;
    float  share = 1 / (float)(n * nx);
    double sum   = 0;

    for (int b = 0; b < n; b++) {
        size_t       at = (size_t)(b / tile * tile), lane = (size_t)(b % tile), out = at * kernels_wide(2 * nx) + lane;
        const float *want = t->target + at * kernels_wide(nx) + lane;

        for (int k = 0; k < nx; k++, out += (size_t)tile, want += tile) {
            float error = t->out[out] - *want;

            sum += (double)(share * t->reward[k] * error * error);
            dz[out] += share * t->reward[k] * 2 * error;
        }
    }
    return sum;
}

double trainer_first_loss(struct trainer *t, int n, float *dz)
{
    const struct ensemble *e = &t->e;

    double loss = t->k->nll(n, e->dims.nx, t->out, t->target, e->max_logvar, e->min_logvar, (float)t->c.nll_beta, dz,
                            t->dmax, t->dmin);

    return loss + (t->c.reward_weight > 0 ? reward_loss(t, n, dz) : 0);
}

struct kernels_update trainer_update(const struct trainer *t, int member, int l, float rate, float *grad)
{
    size_t at = (size_t)member * t->params + t->offset[l];

    return (struct kernels_update){ .w     = t->w + at,
                                    .m     = t->m + at,
                                    .v     = t->v + at,
                                    .grad  = grad ? grad + t->offset[l] : NULL,
                                    .decay = (float)t->c.weight_decay[l],
                                    .rate  = rate };
}

/* Forward, loss, backward and Adam's step for one member and the n rows gathered; with grad (params) the weights stay
 * and it receives their gradient.  Returns the loss. */
static double train_member(struct trainer *t, int member, int n, float rate, float *grad)
{
    const struct kernels *k  = t->k;
    float                *dz = t->dz[0], *before = t->dz[1];
    int                   some = trainer_tiles(t, n);

    trainer_forward(t, member, 0, some);
    double loss = trainer_first_loss(t, n, dz);

    for (int l = t->e.dims.layers, in, out; l >= 0; l--) {
        struct kernels_update u = trainer_update(t, member, l, rate, grad);

        ensemble_layer(&t->e.dims, l, &in, &out);
        if (l > 0)
            k->back_inputs(some, in, out, u.w, dz, t->slope[l - 1], before);
        k->back_weights(n, in, out, t->h[l], dz, &u, t->scratch);

        float *swap = dz;
        dz          = before;
        before      = swap;
    }
    return loss;
}

/* One power iteration for a layer's largest singular value, from u (out, updated); what exceeds `most` is scaled down
 * to it (Miyato et al. 2018, arXiv 1802.05957, always divide by it instead). */
static void cap_layer(const struct kernels *k, int in, int out, float *w, float *u, float most)
{
    float  v[MAX_WIDTH] = { 0 }, s[MAX_WIDTH] = { 0 }, length = 0, sigma = 0;
    size_t deep = kernels_deep(in), lanes = (size_t)k->lanes, panels = ((size_t)out + lanes - 1) / lanes;

    for (size_t p = 0; p < panels; p++)
        for (size_t i = 0; i < deep; i++)
            for (size_t l = 0; l < lanes; l++)
                v[i] += w[(p * deep + i) * lanes + l] * u[p * lanes + l];
    for (size_t i = 0; i < deep; i++)
        length += v[i] * v[i];
    for (size_t p = 0; p < panels; p++)
        for (size_t i = 0; i < deep; i++)
            for (size_t l = 0; l < lanes; l++)
                s[p * lanes + l] += w[(p * deep + i) * lanes + l] * v[i];
    for (size_t o = 0; o < panels * lanes; o++)
        sigma += s[o] * s[o];
    length = sqrtf(length);
    sigma  = sqrtf(sigma) / length;
    if (!(length > 0 && sigma > 0)) /* no weights at all, or no numbers */
        return;
    for (size_t o = 0; o < panels * lanes; o++)
        u[o] = s[o] / (sigma * length);
    for (size_t i = 0; i < panels * deep * lanes && sigma > most; i++)
        w[i] *= most / sigma;
}

static void cap_member(struct trainer *t, int member)
{
    const struct model_dims *d    = &t->e.dims;
    size_t                   each = power_size(d) / (size_t)(d->members * (d->layers + 1));

    for (int l = 0, in, out; l <= d->layers; l++) {
        ensemble_layer(d, l, &in, &out);
        cap_layer(t->k, in, out, t->w + (size_t)member * t->params + t->offset[l],
                  t->power + (size_t)(member * (d->layers + 1) + l) * each, (float)t->c.spectral_norm);
    }
}

/* The same by whichever loss is wanted. */
static double learn(struct trainer *t, int member, const int *rows, int n, float rate, float *grad)
{
    return t->c.unroll > 1 ? trainer_unroll(t, member, rows, n, rate, grad) : train_member(t, member, n, rate, grad);
}

/* ---- one step, one training ---- */

static void clear_bounds_gradient(struct trainer *t)
{
    size_t nx = (size_t)t->e.dims.nx;

    memset(t->dmax, 0, nx * sizeof *t->dmax);
    memset(t->dmin, 0, nx * sizeof *t->dmin);
}

/* Rows from .. from + n of every member's order; done: share of the training so far.  Returns the loss, mean over
 * members. */
static double step(struct trainer *t, int from, int n, double done)
{
    struct ensemble *e     = &t->e;
    double           share = 1 - (1 - t->c.learning_rate_final) * done;
    float            rate  = (float)adam_rate(t->c.learning_rate * share, ++t->adam_t);
    double           loss  = 0;

    clear_bounds_gradient(t);
    for (int m = 0; m < e->dims.members; m++) {
        const int *rows = trainer_draw(t, m, from, n);

        trainer_gather(t, rows, n);
        if (t->c.input_noise > 0)
            trainer_add_noise(t, n);
        loss += learn(t, m, rows, n, rate, NULL);
        if (t->c.spectral_norm > 0)
            cap_member(t, m);
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

/* ---- held-out rows ---- */

/* Mean squared error of one member's mean on the held-out rows, in units of the targets' std. */
static double held_out_error(struct trainer *t, int member)
{
    int    nx = t->e.dims.nx, tile = t->k->tile;
    double sum = 0;

    for (int from = 0, n; from < t->nheld; from += n) {
        n = t->nheld - from < t->c.batch ? t->nheld - from : t->c.batch;
        trainer_gather(t, t->rows + t->nkept + from, n);
        trainer_forward(t, member, 0, trainer_tiles(t, n));
        for (int b = 0; b < n; b++) {
            size_t       at = (size_t)(b / tile * tile), lane = (size_t)(b % tile);
            const float *mu   = t->out + at * kernels_wide(2 * nx) + lane;
            const float *want = t->target + at * kernels_wide(nx) + lane;

            for (int k = 0; k < nx; k++, mu += tile, want += tile) {
                double e = (double)((*mu - *want) * t->e.out_std[k] / t->target_std[k]);

                sum += e * e;
            }
        }
    }
    return sum / ((double)t->nheld * nx);
}

/* After an epoch: keeps the weights of every net that is better than ever.  false: enough epochs without improvement. */
static bool validate(struct trainer *t, int *waited)
{
    bool improved = false;

    for (int m = 0; m < t->e.dims.members; m++) {
        size_t at    = (size_t)m * t->params;
        double score = held_out_error(t, m);

        if (score < t->score[m]) {
            t->score[m] = score;
            memcpy(t->best + at, t->w + at, t->params * sizeof *t->w);
        }
        if (score < (1 - t->c.improvement) * t->mark[m]) {
            t->mark[m] = score;
            improved   = true;
        }
    }
    *waited = improved ? 0 : *waited + 1;
    return t->c.patience == 0 || *waited < t->c.patience;
}

/* A net without any score (NaN) keeps what it has, for the candidate to be refused. */
static void take_best(struct trainer *t)
{
    for (int m = 0; m < t->e.dims.members; m++)
        if (isfinite(t->score[m]))
            memcpy(t->w + (size_t)m * t->params, t->best + (size_t)m * t->params, t->params * sizeof *t->w);
}

/* ---- one training ---- */

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

/* Steps of a whole training. */
static int planned_steps(const struct trainer *t, int per_epoch)
{
    int wanted = (t->c.min_steps + per_epoch - 1) / per_epoch;
    int epochs = t->c.epochs > wanted ? t->c.epochs : wanted;

    return t->c.max_steps && t->c.max_steps < epochs * per_epoch ? t->c.max_steps : epochs * per_epoch;
}

/* Steps of the multi-step loss in an epoch, from 0. */
static int unrolled(const struct trainer *t, int epoch)
{
    int grown = t->c.unroll_grow ? 1 + epoch / t->c.unroll_grow : t->c.unroll;

    return grown < t->c.unroll ? grown : t->c.unroll;
}

static int run_epochs(struct trainer *t, bool (*progress)(void *, double), void *ctx, double *loss)
{
    int per_epoch = (t->nkept + t->c.batch - 1) / t->c.batch, total = planned_steps(t, per_epoch);
    int steps = 0, waited = 0;

    *loss = (double)NAN;
    for (int epoch = 0; steps < total; epoch++) {
        double sum = 0;
        int    from, rows;

        t->unroll = unrolled(t, epoch);
        trainer_shuffle(t);
        for (from = 0; from < t->nkept && steps < total; from += rows) {
            rows = t->nkept - from < t->c.batch ? t->nkept - from : t->c.batch;
            sum += step(t, from, rows, (double)steps / total) * rows;
            if (++steps % PROGRESS_STEPS == 0 && progress && !progress(ctx, (double)steps / total))
                return steps;
        }
        *loss = sum / from;
        if (t->nheld && !validate(t, &waited))
            break;
    }
    return steps;
}

int trainer_fit(struct trainer *t, const struct train_data *data, bool (*progress)(void *ctx, double done), void *ctx,
                double *loss)
{
    double ignored;

    if (!trainer_data_good(data, &t->e.dims))
        return -EINVAL;
    if (!trainer_reserve(t, data->n))
        return -ENOMEM;
    rng_seed(&t->rng, rng_derive(t->seed, FIT_SEED, ++t->fits));
    if (!t->c.warm_start) {
        fresh_weights(t, rng_next(&t->rng));
        clear_moments(t);
    }
    t->data = data;
    trainer_prepare(t, data, true);
    trainer_split(t, data);
    forget_scores(t);

    unsigned csr   = flush_denormals();
    int      steps = run_epochs(t, progress, ctx, loss ? loss : &ignored);

    restore_denormals(csr);
    if (t->nheld)
        take_best(t);
    return steps;
}

/* Adds the decay's part to the gradient of all members' weights; returns its part of the loss. */
static double add_decay(const struct trainer *t, float *dweights)
{
    size_t params = ensemble_params(&t->e.dims);
    double loss   = 0;

    for (int m = 0; m < t->e.dims.members; m++) {
        const float *w = t->e.weights + (size_t)m * params;
        float       *g = dweights + (size_t)m * params;

        for (int l = 0, nw, out; l <= t->e.dims.layers; l++, w += out, g += out) {
            ensemble_layer(&t->e.dims, l, &nw, &out);
            for (nw *= out; nw > 0; nw--, w++, g++) {
                loss += 0.5 * t->c.weight_decay[l] * (double)*w * (double)*w;
                *g += (float)t->c.weight_decay[l] * *w;
            }
        }
    }
    return loss;
}

double trainer_gradient(struct trainer *t, const struct train_data *data, float *dweights, float *dmax, float *dmin)
{
    struct ensemble *e  = &t->e;
    size_t           nx = (size_t)e->dims.nx, params = ensemble_params(&e->dims);
    float           *grad = calloc(t->params, sizeof *grad);
    double           loss = 0;

    CHECK(grad && data->n >= 1 && data->n <= t->c.batch && t->c.holdout == 0 && trainer_reserve(t, data->n));
    t->data   = data;
    t->unroll = t->c.unroll;
    trainer_prepare(t, data, false);
    trainer_split(t, data);
    clear_bounds_gradient(t);
    for (int m = 0; m < e->dims.members; m++) {
        trainer_gather(t, t->rows, data->n);
        loss += learn(t, m, t->rows, data->n, 0, grad);
        unpack(t, grad, dweights + (size_t)m * params);
        unpack(t, t->w + (size_t)m * t->params, e->weights + (size_t)m * params);
    }
    free(grad);
    loss += add_decay(t, dweights);
    for (size_t k = 0; k < nx && t->c.learned_bounds; k++) {
        loss += (double)(BOUNDS_PULL * (e->max_logvar[k] - e->min_logvar[k]));
        t->dmax[k] += BOUNDS_PULL;
        t->dmin[k] -= BOUNDS_PULL;
    }
    memcpy(dmax, t->dmax, nx * sizeof *dmax);
    memcpy(dmin, t->dmin, nx * sizeof *dmin);
    return loss;
}
