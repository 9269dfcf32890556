/* ensemble.c - the ensemble in plain loops. */
#include "models/ensemble.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"

#define LOG_2PI 1.8378770664093453

enum { WIDEST = MAX_HIDDEN > MAX_IN ? MAX_HIDDEN : MAX_IN };
_Static_assert(WIDEST >= 2 * MAX_OBS, "the output fits too");

/* Both halves of a displacement or none, and a heading that is neither. */
static bool planar_in_range(const struct model_dims *d)
{
    int ahead = 0, aside = 0;

    for (int i = 0; i < d->nx; i++) {
        ahead += d->target[i] == TARGET_AHEAD;
        aside += d->target[i] == TARGET_ASIDE;
    }
    if (ahead == 0 && aside == 0)
        return d->heading == 0;
    return ahead == 1 && aside == 1 && d->heading < d->nx && d->target[d->heading] <= TARGET_ABSOLUTE;
}

static bool dims_in_range(const struct model_dims *d)
{
    if (d->nx < 1 || d->nx > MAX_OBS || d->na < 1 || d->na > MAX_ACT)
        return false;
    if (d->members < 1 || d->members > MAX_MEMBERS || d->layers < 1 || d->layers > MAX_LAYERS)
        return false;
    if (d->hidden < 1 || d->hidden > MAX_HIDDEN)
        return false;
    for (int i = 0; i < d->nx; i++)
        if (d->input[i] > INPUT_NONE || d->target[i] > TARGET_ASIDE)
            return false;
    return planar_in_range(d);
}

bool model_dims_equal(const struct model_dims *a, const struct model_dims *b)
{
    if (a->nx != b->nx || a->na != b->na || a->members != b->members || a->layers != b->layers ||
        a->hidden != b->hidden || a->heading != b->heading)
        return false;
    return memcmp(a->input, b->input, (size_t)a->nx) == 0 && memcmp(a->target, b->target, (size_t)a->nx) == 0;
}

int ensemble_nin(const struct model_dims *d)
{
    int n = d->na;

    for (int i = 0; i < d->nx; i++)
        n += d->input[i] == INPUT_ANGLE ? 2 : d->input[i] == INPUT_IDENTITY;
    return n;
}

void ensemble_layer(const struct model_dims *d, int l, int *in, int *out)
{
    CHECK(l >= 0 && l <= d->layers);
    *in  = l == 0 ? ensemble_nin(d) : d->hidden;
    *out = l == d->layers ? 2 * d->nx : d->hidden;
}

size_t ensemble_params(const struct model_dims *d)
{
    size_t n = 0;

    for (int l = 0; l <= d->layers; l++) {
        int in, out;

        ensemble_layer(d, l, &in, &out);
        n += (size_t)out * (size_t)in + (size_t)out;
    }
    return n;
}

void ensemble_features(const struct model_dims *d, const float *x, const float *a, float *in)
{
    for (int i = 0; i < d->nx; i++) {
        if (d->input[i] == INPUT_ANGLE) {
            *in++ = sinf(x[i]);
            *in++ = cosf(x[i]);
        } else if (d->input[i] == INPUT_IDENTITY) {
            *in++ = x[i];
        }
    }
    memcpy(in, a, (size_t)d->na * sizeof *a);
}

int ensemble_planar(const struct model_dims *d, enum target_kind kind)
{
    for (int i = 0; i < d->nx; i++)
        if (d->target[i] == kind)
            return i;
    return -1;
}

void ensemble_target(const struct model_dims *d, const float *x, const float *y, float *t)
{
    int ahead = ensemble_planar(d, TARGET_AHEAD), aside = ensemble_planar(d, TARGET_ASIDE);

    for (int i = 0; i < d->nx; i++)
        t[i] = d->target[i] == TARGET_ABSOLUTE ? y[i] : y[i] - x[i];
    if (ahead >= 0) {
        float s = sinf(x[d->heading]), c = cosf(x[d->heading]), dx = t[ahead], dy = t[aside];

        t[ahead] = c * dx + s * dy;
        t[aside] = c * dy - s * dx;
    }
}

void ensemble_follow(const struct model_dims *d, const float *x, const float *t, float *y)
{
    int ahead = ensemble_planar(d, TARGET_AHEAD), aside = ensemble_planar(d, TARGET_ASIDE);

    if (ahead >= 0) {
        float s = sinf(x[d->heading]), c = cosf(x[d->heading]), forward = t[ahead], sideways = t[aside];

        y[ahead] = x[ahead] + (c * forward - s * sideways);
        y[aside] = x[aside] + (s * forward + c * sideways);
    }
    for (int i = 0; i < d->nx; i++)
        if (d->target[i] <= TARGET_ABSOLUTE)
            y[i] = d->target[i] == TARGET_ABSOLUTE ? t[i] : x[i] + t[i];
}

static void normaliser_identity(struct ensemble *e)
{
    for (int i = 0; i < MAX_IN; i++) {
        e->in_mean[i] = 0;
        e->in_std[i]  = 1;
    }
    for (int i = 0; i < MAX_OBS; i++) {
        e->out_mean[i]   = 0;
        e->out_std[i]    = 1;
        e->max_logvar[i] = 0.5f; /* PETS code */
        e->min_logvar[i] = -10;
    }
}

int ensemble_alloc(struct ensemble *e, const struct model_dims *d)
{
    if (!dims_in_range(d))
        return -EINVAL;
    memset(e, 0, sizeof *e);
    e->dims = *d;
    normaliser_identity(e);
    e->weights = calloc((size_t)d->members * ensemble_params(d), sizeof *e->weights);
    return e->weights ? 0 : -ENOMEM;
}

void ensemble_free(struct ensemble *e)
{
    free(e->weights);
    e->weights = NULL;
}

/* Standard normal, drawn again beyond two std: what TensorFlow calls a truncated normal. */
static double truncated_normal(struct rng *r)
{
    double z;

    do
        z = rng_normal(r);
    while (fabs(z) > 2);
    return z;
}

void ensemble_init(struct ensemble *e, uint64_t seed)
{
    float *w = e->weights;

    normaliser_identity(e);
    for (int m = 0; m < e->dims.members; m++) {
        struct rng r;

        rng_seed(&r, rng_derive(seed, 1, (uint64_t)m));
        for (int l = 0; l <= e->dims.layers; l++) {
            int in, out;

            ensemble_layer(&e->dims, l, &in, &out);
            for (int i = 0; i < out * in; i++)
                *w++ = (float)(truncated_normal(&r) / (2 * sqrt(in)));
            for (int i = 0; i < out; i++)
                *w++ = 0;
        }
    }
}

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool all_positive(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(isfinite(v[i]) && v[i] > 0))
            return false;
    return true;
}

bool ensemble_finite(const struct ensemble *e)
{
    size_t nx = (size_t)e->dims.nx, nin = (size_t)ensemble_nin(&e->dims);

    return all_finite(e->in_mean, nin) && all_positive(e->in_std, nin) && all_finite(e->out_mean, nx) &&
           all_positive(e->out_std, nx) && all_finite(e->max_logvar, nx) && all_finite(e->min_logvar, nx) &&
           all_finite(e->weights, (size_t)e->dims.members * ensemble_params(&e->dims));
}

/* Eight sums at a time: rounds less than one sum would, and does not wait for each addition. */
static float dot(const float *w, const float *x, int n)
{
    float s[8] = { 0 };
    int   i    = 0;

    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            s[j] += w[i + j] * x[i + j];
    for (int j = 0; i + j < n; j++)
        s[j] += w[i + j] * x[i + j];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

static float softplus(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

void ensemble_predict(const struct ensemble *e, int member, const float *x, const float *a, float *mean, float *var)
{
    const struct model_dims *d = &e->dims;
    const float             *w = e->weights + (size_t)member * ensemble_params(d);
    float                    buf[2][WIDEST], *h = buf[0], *z = buf[1];
    int                      nin = ensemble_nin(d);

    CHECK(member >= 0 && member < d->members);
    ensemble_features(d, x, a, h);
    for (int i = 0; i < nin; i++)
        h[i] = (h[i] - e->in_mean[i]) / e->in_std[i];
    for (int l = 0; l <= d->layers; l++) {
        int in, out;

        ensemble_layer(d, l, &in, &out);
        const float *b = w + (size_t)out * (size_t)in;
        for (int i = 0; i < out; i++) {
            z[i] = dot(w + (size_t)i * (size_t)in, h, in) + b[i];
            if (l < d->layers)
                z[i] /= 1 + expf(-z[i]); /* swish; -z > 88 makes it 0 */
        }
        w        = b + out;
        float *t = h;
        h        = z;
        z        = t;
    }
    for (int k = 0; k < d->nx; k++) {
        float lv = e->max_logvar[k] - softplus(e->max_logvar[k] - h[d->nx + k]);

        lv      = e->min_logvar[k] + softplus(lv - e->min_logvar[k]);
        mean[k] = e->out_mean[k] + e->out_std[k] * h[k];
        var[k]  = e->out_std[k] * e->out_std[k] * expf(lv);
    }
}

void ensemble_score(const struct ensemble *e, int n, const float *x, const float *a, const float *y, const float *scale,
                    double *rmse, double *nll)
{
    int    nx = e->dims.nx, na = e->dims.na, members = e->dims.members;
    double se = 0, sum = 0;
    long   count = 0, every = 1 + (long)(ensemble_params(&e->dims) * (size_t)members * (size_t)n / SCORE_PRODUCTS);

    if (!scale)
        scale = e->out_std;
    for (long i = 0; i < n; i += every, x += every * nx, a += every * na, y += every * nx) {
        double mu[MAX_OBS] = { 0 }, square[MAX_OBS] = { 0 }, noise[MAX_OBS] = { 0 };
        float  target[MAX_OBS];

        ensemble_target(&e->dims, x, y, target);
        for (int m = 0; m < members; m++) {
            float mean[MAX_OBS], var[MAX_OBS];

            ensemble_predict(e, m, x, a, mean, var);
            for (int k = 0; k < nx; k++) {
                double s = (double)scale[k], d = ((double)target[k] - (double)mean[k]) / s;

                if (s == 0)
                    continue;
                se += d * d / members;
                mu[k] += d / members;
                square[k] += d * d / members;
                noise[k] += (double)var[k] / (s * s) / members;
            }
        }
        for (int k = 0; k < nx; k++) {
            double v = noise[k] + square[k] - mu[k] * mu[k]; /* their noise, and their disagreement */

            if (scale[k] == 0)
                continue;
            sum += 0.5 * (mu[k] * mu[k] / v + log(v) + LOG_2PI);
            count++;
        }
    }
    bool good = count > 0 && isfinite(se) && isfinite(sum);

    *rmse = good ? sqrt(se / (double)count) : (double)INFINITY;
    *nll  = good ? sum / (double)count : (double)INFINITY;
}
