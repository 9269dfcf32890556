/* bench_model_trust.c - see bench_model_trust.h. */
#include "daemon/bench_model_trust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench_trained.h"
#include "daemon/rt/check.h"

#define LOG_2PI 1.8378770664093453

static const float FAR = 1e9f; /* a state this large is lost */

/* ---- rows ---- */

static void *grow(void *p, int rows, size_t size)
{
    p = realloc(p, (size_t)rows * size);
    CHECK(p);
    return p;
}

void trust_rows_add(struct trust_rows *r, const float *x, const float *a, const float *y, int64_t trial, uint32_t step)
{
    size_t nx = (size_t)r->nx * sizeof *x, na = (size_t)r->na * sizeof *a, at = (size_t)r->n;

    if (r->n == r->room) {
        r->room  = r->room ? 2 * r->room : 1024;
        r->x     = grow(r->x, r->room, nx);
        r->a     = grow(r->a, r->room, na);
        r->y     = grow(r->y, r->room, nx);
        r->trial = grow(r->trial, r->room, sizeof *r->trial);
        r->step  = grow(r->step, r->room, sizeof *r->step);
    }
    memcpy(r->x + at * (size_t)r->nx, x, nx);
    memcpy(r->a + at * (size_t)r->na, a, na);
    memcpy(r->y + at * (size_t)r->nx, y, nx);
    r->trial[at] = trial;
    r->step[at]  = step;
    r->n++;
}

void trust_rows_free(struct trust_rows *r)
{
    free(r->x);
    free(r->a);
    free(r->y);
    free(r->trial);
    free(r->step);
    memset(r, 0, sizeof *r);
}

bool trust_rows_follow(const struct trust_rows *r, int i)
{
    return i + 1 < r->n && r->trial[i + 1] == r->trial[i] && r->step[i + 1] == r->step[i] + 1;
}

/* ---- the model ---- */

void trust_predict(const struct ensemble *e, int member, const float *x, const float *a, float *mean, float *var)
{
    ensemble_predict(e, member, x, a, mean, var);
}

void trust_target(const struct ensemble *e, const float *x, const float *y, float *target)
{
    ensemble_target(&e->dims, x, y, target);
}

void trust_next(const struct ensemble *e, int member, const float *x, const float *a, const float *z, float *next)
{
    float mean[MAX_OBS], var[MAX_OBS];

    trust_predict(e, member, x, a, mean, var);
    for (int k = 0; k < e->dims.nx; k++)
        mean[k] += sqrtf(var[k]) * z[k];
    ensemble_follow(&e->dims, x, mean, mean);
    memcpy(next, mean, sizeof *next * (size_t)e->dims.nx);
}

/* ---- yardsticks ---- */

/* Mean and std of column k of n rows that `get` yields one after the other would need two passes; Welford needs one. */
struct moments {
    double n, mean, square;
};

static void moments_add(struct moments *m, double v)
{
    double d = v - m->mean;

    m->n += 1;
    m->mean += d / m->n;
    m->square += d * (v - m->mean);
}

static float moments_std(const struct moments *m)
{
    return (float)sqrt(m->square / m->n);
}

static void reach(float v, bool first, float *low, float *high)
{
    *low  = first || v < *low ? v : *low;
    *high = first || v > *high ? v : *high;
}

void trust_scale(const struct ensemble *e, const struct trust_rows *seen, struct trust_scale *s)
{
    struct moments state[MAX_OBS] = { 0 }, target[MAX_OBS] = { 0 };
    int            nx = seen->nx, na = seen->na;

    CHECK(seen->n > 0);
    memset(s, 0, sizeof *s);
    for (int i = 0; i < seen->n; i++) {
        const float *x = seen->x + (size_t)i * (size_t)nx, *a = seen->a + (size_t)i * (size_t)na;
        float        t[MAX_OBS];

        trust_target(e, x, seen->y + (size_t)i * (size_t)nx, t);
        for (int k = 0; k < nx; k++) {
            moments_add(&state[k], (double)x[k]);
            moments_add(&target[k], (double)t[k]);
            reach(x[k], i == 0, &s->low[k], &s->high[k]);
        }
        for (int k = 0; k < na; k++)
            reach(a[k], i == 0, &s->a_low[k], &s->a_high[k]);
    }
    for (int k = 0; k < nx; k++) {
        s->state[k]    = moments_std(&state[k]);
        s->target[k]   = moments_std(&target[k]);
        s->constant[k] = !(s->target[k] > 1e-9f && s->state[k] > 1e-9f);
    }
}

/* ---- open loop ---- */

int trust_roll(const struct ensemble *e, const float *x, const float *act, int steps, int particles, uint64_t seed,
               float *cloud)
{
    int nx = e->dims.nx, na = e->dims.na, lost = 0;

    for (int p = 0; p < particles; p++) {
        struct rng r;
        float      now[MAX_OBS], z[MAX_OBS];
        bool       gone = false;

        rng_seed(&r, rng_derive(seed, 1, (uint64_t)p));
        memcpy(now, x, sizeof *x * (size_t)nx);
        for (int h = 0; h < steps; h++) {
            for (int k = 0; k < nx; k++)
                z[k] = (float)rng_normal(&r);
            if (!gone)
                trust_next(e, p % e->dims.members, now, act + h * na, z, now);
            for (int k = 0; k < nx; k++) {
                if (!(fabsf(now[k]) <= FAR)) {
                    now[k] = now[k] < 0 ? -FAR : FAR;
                    gone   = true;
                }
                cloud[(h * nx + k) * particles + p] = now[k];
            }
        }
        lost += gone;
    }
    return lost;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

void trust_bands(float *v, int n, float *mean, float band[TRUST_BANDS])
{
    static const double q[TRUST_BANDS] = { 0.05, 0.25, 0.75, 0.95 };
    double              sum            = 0;

    qsort(v, (size_t)n, sizeof *v, by_value);
    for (int i = 0; i < n; i++)
        sum += (double)v[i];
    *mean = (float)(sum / n);
    for (int b = 0; b < TRUST_BANDS; b++) {
        double at = q[b] * (n + 1) - 1;
        int    i;

        at      = at < 0 ? 0 : at > n - 1 ? n - 1 : at;
        i       = (int)at < n - 1 ? (int)at : n - 1;
        band[b] = i + 1 < n ? v[i] + (float)(at - i) * (v[i + 1] - v[i]) : v[i];
    }
}

void trust_open_init(struct trust_open *o, int nx, int steps, int particles)
{
    size_t n = (size_t)(nx * steps);

    *o        = (struct trust_open){ .nx = nx, .steps = steps, .particles = particles };
    o->square = calloc(4 * n, sizeof *o->square);
    CHECK(o->square);
    o->still  = o->square + n;
    o->inside = o->still + n;
    o->width  = o->inside + n;
}

void trust_open_free(struct trust_open *o)
{
    free(o->square);
    memset(o, 0, sizeof *o);
}

void trust_open_add(struct trust_open *o, const float *start, float *cloud, const float *truth,
                    const struct trust_scale *s)
{
    for (int h = 0; h < o->steps; h++)
        for (int k = 0; k < o->nx; k++) {
            int    at = h * o->nx + k;
            float  mean, band[TRUST_BANDS];
            double std = (double)s->state[k], error, still;

            if (s->constant[k])
                continue;
            trust_bands(cloud + (size_t)at * (size_t)o->particles, o->particles, &mean, band);
            error = ((double)mean - (double)truth[at]) / std;
            still = ((double)start[k] - (double)truth[at]) / std;
            o->square[at] += error * error;
            o->still[at] += still * still;
            o->inside[at] += band[0] <= truth[at] && truth[at] <= band[TRUST_BANDS - 1];
            o->width[at] += ((double)band[TRUST_BANDS - 1] - (double)band[0]) / std;
        }
    o->windows++;
}

/* ---- calibration ---- */

double trust_level(int i)
{
    return (i + 1) / (TRUST_LEVELS + 1.0);
}

static void score(struct trust_calibration *c, double pit, double z, double nll)
{
    for (int i = 0; i < TRUST_LEVELS; i++)
        c->cover[i] += fabs(2 * pit - 1) <= trust_level(i);
    c->z_rms += z * z;
    c->beyond += fabs(z) > 2;
    c->nll += nll;
    c->n++;
}

static void add(struct trust_calibration *sum, const struct trust_calibration *c)
{
    for (int i = 0; i < TRUST_LEVELS; i++)
        sum->cover[i] += c->cover[i];
    sum->z_rms += c->z_rms;
    sum->beyond += c->beyond;
    sum->nll += c->nll;
    sum->n += c->n;
}

/* From sums to means. */
static void finish(struct trust_calibration *c)
{
    double n = (double)c->n;

    for (int i = 0; i < TRUST_LEVELS; i++) {
        c->cover[i] /= n; /* NaN of nothing */
        c->error += fabs(c->cover[i] - trust_level(i)) / TRUST_LEVELS;
    }
    c->z_rms = sqrt(c->z_rms / n);
    c->beyond /= n;
    c->nll /= n;
}

static double normal_cdf(double z)
{
    return 0.5 * erfc(-z * 0.7071067811865476);
}

/* One element of one transition: d[m] = target - mean and v[m] = variance of each member, in units of the target's std. */
static void score_element(const double *d, const double *v, int members, struct trust_calibration *together,
                          struct trust_calibration *alone)
{
    double pit = 0, mu = 0, square = 0, noise = 0, most = -(double)INFINITY, sum = 0;
    double log_p[MAX_MEMBERS];

    for (int m = 0; m < members; m++) {
        double z = d[m] / sqrt(v[m]), u = normal_cdf(z);

        log_p[m] = -0.5 * (z * z + log(v[m]) + LOG_2PI);
        score(alone, u, z, -log_p[m]);
        pit += u / members;
        mu += d[m] / members;
        square += d[m] * d[m] / members;
        noise += v[m] / members;
        most = log_p[m] > most ? log_p[m] : most;
    }
    for (int m = 0; m < members; m++)
        sum += exp(log_p[m] - most) / members;
    score(together, pit, mu / sqrt(noise + fmax(square - mu * mu, 0)), -most - log(sum));
}

void trust_calibrate(const struct ensemble *e, const struct trust_rows *r, const struct trust_scale *s,
                     struct trust_calibration *together, struct trust_calibration *alone)
{
    int nx = r->nx, members = e->dims.members;

    memset(together, 0, sizeof *together * (size_t)(nx + 1));
    memset(alone, 0, sizeof *alone * (size_t)(nx + 1));
    for (int i = 0; i < r->n; i++) {
        const float *x = r->x + (size_t)i * (size_t)nx, *a = r->a + (size_t)i * (size_t)r->na;
        float        target[MAX_OBS], mean[MAX_MEMBERS][MAX_OBS], var[MAX_MEMBERS][MAX_OBS];

        trust_target(e, x, r->y + (size_t)i * (size_t)nx, target);
        for (int m = 0; m < members; m++)
            trust_predict(e, m, x, a, mean[m], var[m]);
        for (int k = 0; k < nx; k++) {
            double d[MAX_MEMBERS], v[MAX_MEMBERS], std = (double)s->target[k];

            if (s->constant[k])
                continue;
            for (int m = 0; m < members; m++) {
                d[m] = ((double)target[k] - (double)mean[m][k]) / std;
                v[m] = (double)var[m][k] / (std * std);
            }
            score_element(d, v, members, &together[k], &alone[k]);
        }
    }
    for (int k = 0; k < nx; k++) {
        add(&together[nx], &together[k]);
        add(&alone[nx], &alone[k]);
        finish(&together[k]);
        finish(&alone[k]);
    }
    finish(&together[nx]);
    finish(&alone[nx]);
}

/* ---- spread ---- */

double trust_spread(const struct ensemble *e, const float *x, const float *a)
{
    int    nx = e->dims.nx, members = e->dims.members;
    double sum[MAX_OBS] = { 0 }, square[MAX_OBS] = { 0 }, spread = 0;
    float  mean[MAX_OBS], var[MAX_OBS], first[MAX_OBS];

    for (int m = 0; m < members; m++) {
        trust_predict(e, m, x, a, mean, var);
        for (int k = 0; k < nx; k++) {
            if (m == 0)
                first[k] = mean[k];
            double d = (double)mean[k] - (double)first[k]; /* from the first: large means would cancel */

            sum[k] += d / members;
            square[k] += d * d / members;
        }
    }
    for (int k = 0; k < nx; k++)
        spread += sqrt(fmax(square[k] - sum[k] * sum[k], 0)) / (double)e->out_std[k] / nx;
    return spread;
}

void trust_spread_rows(const struct ensemble *e, const struct trust_rows *r, int n, uint64_t seed, double *out)
{
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)trained_pick(i, n, r->n, seed + (uint64_t)i);

        out[i] = trust_spread(e, r->x + at * (size_t)r->nx, r->a + at * (size_t)r->na);
    }
}

static float anywhere(struct rng *r, float low, float high, double wide)
{
    double middle = 0.5 * ((double)low + (double)high), half = 0.5 * ((double)high - (double)low);

    return (float)(middle + wide * half * (2 * rng_uniform(r) - 1));
}

void trust_spread_box(const struct ensemble *e, const struct trust_scale *s, double wide, int n, uint64_t seed,
                      double *out)
{
    struct rng r;

    rng_seed(&r, seed);
    for (int i = 0; i < n; i++) {
        float x[MAX_OBS], a[MAX_ACT];

        for (int k = 0; k < e->dims.nx; k++)
            x[k] = anywhere(&r, s->low[k], s->high[k], wide);
        for (int k = 0; k < e->dims.na; k++)
            a[k] = anywhere(&r, s->a_low[k], s->a_high[k], wide);
        out[i] = trust_spread(e, x, a);
    }
}

void trust_spread_pushed(const struct ensemble *e, const struct trust_rows *r, const struct trust_scale *s, int k,
                         double push, int n, uint64_t seed, double *out)
{
    int able[MAX_OBS], count = 0, nx = r->nx;

    for (int j = 0; j < nx; j++)
        if (k < 0 ? !s->constant[j] && e->dims.input[j] != INPUT_NONE : j == k)
            able[count++] = j;
    CHECK(count > 0);
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)trained_pick(i, n, r->n, seed + (uint64_t)i);
        int    j  = able[i / 2 % count];
        float  x[MAX_OBS];

        memcpy(x, r->x + at * (size_t)nx, sizeof *x * (size_t)nx);
        x[j] += (float)(i % 2 ? push : -push) * s->state[j];
        out[i] = trust_spread(e, x, r->a + at * (size_t)r->na);
    }
}

double trust_auc(const double *low, int nlow, const double *high, int nhigh)
{
    double above = 0;

    for (int i = 0; i < nlow; i++)
        for (int j = 0; j < nhigh; j++)
            above += high[j] > low[i] ? 1 : high[j] == low[i] ? 0.5 : 0;
    return above / ((double)nlow * nhigh);
}
