/* plan_kit.h - a planner with everything it needs, for test_rollout.c and test_planner.c; and the plain-loop truth. */
#ifndef TESTS_PLAN_KIT_H
#define TESTS_PLAN_KIT_H

#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "planner/lanes.h"
#include "planner/planner.h"

enum { CANARY = 64 };

struct kit {
    struct model_dims     d;
    struct ensemble       e;
    struct planner_config c;
    struct task           t;
    struct action_bounds  b;
    uint8_t              *memory;
    size_t                size;
    struct planner       *p;
};

static inline double kit_between(struct rng *r, double low, double high)
{
    return low + rng_uniform(r) * (high - low);
}

static inline int kit_pick(struct rng *r, int low, int high)
{
    return low + (int)rng_below(r, (uint32_t)(high - low + 1));
}

/* Small and plausible; tests change what they are about, before kit_model and kit_open. */
static inline void kit_defaults(struct kit *k, int nx, int na)
{
    *k   = (struct kit){ .d = { .nx = nx, .na = na, .members = 3, .layers = 2, .hidden = 20 } };
    k->c = (struct planner_config){ .name          = "icem",
                                    .horizon       = 6,
                                    .population    = 40,
                                    .iterations    = 3,
                                    .elites        = 8,
                                    .particles     = 3,
                                    .exact         = true,
                                    .alpha         = 0.1,
                                    .noise_beta    = 2,
                                    .decay         = 1.25,
                                    .keep          = 0.3,
                                    .epsilon       = 0.001,
                                    .lambda        = 0.0005,
                                    .kappa         = 2000,
                                    .smoothing     = 0.9,
                                    .anneal        = 0.5,
                                    .learning_rate = 0.2,
                                    .steps         = 10,
                                    .polish        = 3 };
    for (int j = 0; j < MAX_ACT; j++)
        k->c.init_std[j] = 0.5;
    k->b.na = na;
    for (int j = 0; j < na; j++) {
        k->b.low[j]  = -1;
        k->b.high[j] = 1;
    }
    k->t.nterm   = 2;
    k->t.term[0] = (struct task_term){ .kind = TERM_OBSERVATION, .weight = 1, .n = 1, .scale = { 1 } };
    k->t.term[1] = (struct task_term){ .kind = TERM_EFFORT, .weight = 0.01 };
}

/* Random weights, normaliser and bounds. */
static inline void kit_model(struct kit *k, uint64_t seed)
{
    struct rng r;

    CHECK(ensemble_alloc(&k->e, &k->d) == 0);
    ensemble_init(&k->e, seed);
    k->e.version = seed + 1;
    rng_seed(&r, seed);
    for (int i = 0; i < ensemble_nin(&k->d); i++) {
        k->e.in_mean[i] = (float)kit_between(&r, -2, 2);
        k->e.in_std[i]  = (float)kit_between(&r, 0.5, 3);
    }
    for (int i = 0; i < k->d.nx; i++) {
        k->e.out_mean[i]   = (float)kit_between(&r, -0.1, 0.1);
        k->e.out_std[i]    = (float)kit_between(&r, 0.05, 0.5);
        k->e.max_logvar[i] = (float)kit_between(&r, -2, 0.5);
        k->e.min_logvar[i] = (float)kit_between(&r, -10, -5);
    }
    size_t n = (size_t)k->d.members * ensemble_params(&k->d);
    for (size_t i = 0; i < n; i++) /* biases are 0 else */
        k->e.weights[i] += (float)kit_between(&r, -0.1, 0.1);
}

/* One hidden layer that is exactly linear, as swish(z) - swish(-z) = z:  x' = x + A x + B a, hardly any noise. */
static inline void kit_linear(struct kit *k, const double *A, const double *B)
{
    int nx = k->d.nx, na = k->d.na, in = nx + na, hidden = 2 * nx;

    k->d.layers = 1;
    k->d.hidden = hidden;
    CHECK(ensemble_alloc(&k->e, &k->d) == 0);
    for (int i = 0; i < nx; i++) {
        k->e.max_logvar[i] = -30;
        k->e.min_logvar[i] = -40;
    }
    for (int m = 0; m < k->d.members; m++) {
        float *W = k->e.weights + (size_t)m * ensemble_params(&k->d), *V = W + hidden * in + hidden;

        for (int i = 0; i < nx; i++) {
            for (int j = 0; j < in; j++) {
                double w = j < nx ? A[i * nx + j] : B[i * na + j - nx];

                W[2 * i * in + j]       = (float)w;
                W[(2 * i + 1) * in + j] = (float)-w;
            }
            V[i * hidden + 2 * i]     = 1;
            V[i * hidden + 2 * i + 1] = -1;
        }
    }
}

/* The planner gets exactly the bytes it asked for, with a canary behind them. */
static inline void kit_open(struct kit *k, const char *isa)
{
    k->size   = planner_memsize(&k->c, &k->d);
    k->memory = aligned_alloc(64, (k->size + CANARY + 63) / 64 * 64);
    CHECK(k->memory);
    memset(k->memory, 0xa5, k->size + CANARY);
    struct arena a = { .base = k->memory, .size = k->size };

    k->p = planner_init(&a, &k->c, &k->d, &k->t, &k->b, isa);
    CHECK(a.used == k->size);
    if (k->e.weights)
        planner_pack(k->p, 0, &k->e);
}

static inline void kit_close(struct kit *k)
{
    for (int i = 0; i < CANARY; i++)
        CHECK(k->memory[k->size + (size_t)i] == 0xa5);
    free(k->memory);
    k->memory = NULL;
}

/* kit_close and the model too. */
static inline void kit_free(struct kit *k)
{
    kit_close(k);
    ensemble_free(&k->e);
}

static inline struct plan_request kit_request(const struct kit *k, uint64_t id)
{
    struct plan_request q = { .id = id, .seed = 77 + id, .deadline_ns = UINT64_MAX, .reset = id == 0 };

    for (int i = 0; i < k->d.nx; i++)
        q.x[i] = 0.3f * (float)(i % 3) - 0.2f;
    return q;
}

/* ensemble_predict as bfloat16 has it: weights rounded with the normaliser folded in as the planner packs them, every
 * layer's inputs rounded; biases, sums and the head in double.  round: see lanes_round. */
static inline void kit_predict_bf16(const struct kit *k, int member, const float *x, const float *a, float round(float),
                                    float *mean, float *var)
{
    const struct ensemble *e = &k->e;
    const float           *w = e->weights + (size_t)member * ensemble_params(&k->d);
    float                  h[MAX_HIDDEN + MAX_IN];
    double                 z[MAX_HIDDEN + 2 * MAX_OBS];

    ensemble_features(&k->d, x, a, h);
    for (int i = 0; i < ensemble_nin(&k->d); i++)
        h[i] -= e->in_mean[i];
    for (int l = 0; l <= k->d.layers; l++) {
        int in, out;

        ensemble_layer(&k->d, l, &in, &out);
        for (int i = 0; i < out; i++) {
            double scale = l == k->d.layers && i < k->d.nx ? (double)e->out_std[i] : 1;

            z[i] = scale * (double)w[out * in + i];
            for (int j = 0; j < in; j++) {
                double v = scale * (double)w[i * in + j] / (l == 0 ? (double)e->in_std[j] : 1);
                z[i] += (double)round((float)v) * (double)round(h[j]);
            }
        }
        for (int i = 0; i < out && l < k->d.layers; i++)
            h[i] = (float)(z[i] / (1 + exp(-z[i])));
        w += out * (in + 1);
    }
    for (int i = 0; i < k->d.nx; i++) {
        double raw = (double)e->max_logvar[i] - z[k->d.nx + i], s = (double)e->out_std[i];
        double lv = (double)e->max_logvar[i] - log1p(exp(raw)), low = (double)e->min_logvar[i];

        mean[i] = (float)((double)e->out_mean[i] + z[i]);
        var[i]  = (float)(s * s * exp(low + log1p(exp(lv - low))));
    }
}

static inline void kit_predict(const struct kit *k, int member, const float *x, const float *a, float *mean, float *var)
{
    if (k->c.dtype == DTYPE_BF16)
        kit_predict_bf16(k, member, x, a, lanes_round, mean, var);
    else
        ensemble_predict(&k->e, member, x, a, mean, var);
}

/* Inputs and targets of every kind; where there is room, a displacement in the plane. */
static inline void kit_structure(struct model_dims *d, struct rng *r)
{
    for (int i = 0; i < d->nx; i++) {
        d->input[i]  = rng_below(r, 3) ? INPUT_IDENTITY : rng_below(r, 3) ? INPUT_ANGLE : INPUT_NONE;
        d->target[i] = rng_below(r, 4) ? TARGET_CHANGE : TARGET_ABSOLUTE;
    }
    if (d->nx < 3 || rng_below(r, 2))
        return;
    int ahead = kit_pick(r, 0, d->nx - 1), aside = (ahead + kit_pick(r, 1, d->nx - 1)) % d->nx, heading = 0;

    while (heading == ahead || heading == aside)
        heading++;
    d->target[ahead] = TARGET_AHEAD;
    d->target[aside] = TARGET_ASIDE;
    d->heading       = (uint8_t)heading;
}

/* State x held within its ranges; returns how far a value with a rate was from an end of its range, where the rate jumps. */
static inline double kit_hold(const struct kit *k, float *x)
{
    double margin = 1e9;

    for (int i = 0; i < k->c.nrange; i++) {
        const struct state_range *r   = &k->c.range[i];
        float                     was = x[r->obs], rate = r->rate < 0 ? 0 : x[r->rate];

        if (r->rate >= 0)
            margin = fmin(margin, fmin(fabs((double)(was - r->low)), fabs((double)(was - r->high))));
        x[r->obs] = was < r->low ? r->low : was > r->high ? r->high : was;
        if (r->rate >= 0 && ((was < r->low && rate < 0) || (was > r->high && rate > 0)))
            x[r->rate] = 0;
    }
    return margin;
}

/* The next states (particles x nx) of all particles under one action, by the noise and members of one step.  Returns
 * the least of kit_hold. */
static inline double kit_step(const struct kit *k, int P, int h, const float *a, float *x)
{
    const float   *z;
    const uint8_t *member;
    int            H = k->c.horizon, nx = k->d.nx, M = k->d.members;
    double         margin = 1e9;

    planner_noise(k->p, &z, &member);
    for (int p = 0; p < P; p++) {
        float  mean[MAX_OBS], var[MAX_OBS], *xp = x + p * nx;
        double m1[MAX_OBS] = { 0 }, m2[MAX_OBS] = { 0 };

        for (int m = 0; m < M && k->c.propagation == PARTICLES_DS; m++) {
            kit_predict(k, m, xp, a, mean, var);
            for (int i = 0; i < nx; i++) {
                m1[i] += (double)mean[i] / M;
                m2[i] += ((double)var[i] + (double)mean[i] * (double)mean[i]) / M;
            }
        }
        float t[MAX_OBS];

        kit_predict(k, member[p * H + h], xp, a, mean, var);
        for (int i = 0; i < nx; i++) {
            float noise = k->c.propagation == PARTICLES_MEAN ? 0 : z[(p * H + h) * nx + i];

            if (k->c.propagation == PARTICLES_DS) {
                mean[i] = (float)m1[i];
                var[i]  = (float)(m2[i] - m1[i] * m1[i]);
            }
            t[i] = mean[i] + sqrtf(var[i]) * noise;
        }
        ensemble_follow(&k->d, xp, t, xp);
        margin = fmin(margin, kit_hold(k, xp));
    }
    for (int i = 0; i < nx && k->c.propagation == PARTICLES_MM; i++) {
        double m1 = 0, m2 = 0;

        for (int p = 0; p < P; p++)
            m1 += (double)x[p * nx + i] / P;
        for (int p = 0; p < P; p++)
            m2 += ((double)x[p * nx + i] - m1) * ((double)x[p * nx + i] - m1) / P;
        for (int p = 0; p < P; p++)
            x[p * nx + i] = (float)(m1 + sqrt(m2) * (double)z[((P + p) * H + h) * nx + i]);
    }
    for (int p = 0; p < P && k->c.propagation == PARTICLES_MM; p++)
        margin = fmin(margin, kit_hold(k, x + p * nx));
    return margin;
}

/* How far a state is from where its cost jumps: from the bounds of an end, or from being as near to another part of a path. */
static inline double kit_margin(const struct task *t, const float *x, bool last)
{
    double margin = 1e9;

    for (int i = 0; i < t->nend; i++)
        margin = fmin(margin, fmin(fabs((double)x[t->end[i].obs] - t->end[i].low),
                                   fabs((double)x[t->end[i].obs] - t->end[i].high)));
    for (int m = 0; m < t->nterm; m++) {
        const struct task_path *p = &t->term[m].path;
        double                  d[MAX_WAYPOINTS], s[MAX_WAYPOINTS];
        int                     best = 0;

        if (t->term[m].kind != TERM_PROGRESS || !(last || t->nend))
            continue;
        for (int i = 0; i + 1 < p->n; i++) {
            double rx    = (double)x[t->term[m].index[0]] - p->point[i][0];
            double ry    = (double)x[t->term[m].index[1]] - p->point[i][1];
            double along = rx * p->along[i][0] + ry * p->along[i][1];

            along = along < 0 ? 0 : along > p->length[i] ? p->length[i] : along;
            d[i]  = hypot(rx - along * p->along[i][0], ry - along * p->along[i][1]);
            s[i]  = p->start[i] + along;
            best  = d[i] < d[best] ? i : best;
        }
        for (int i = 0; i + 1 < p->n; i++)
            if (fabs(s[i] - s[best]) > 1e-4)
                margin = fmin(margin, d[i] - d[best]);
    }
    return margin;
}

/* Expected cost of one sequence by plain loops (ensemble_predict, task.c), with the noise the planner used last; each
 * member's state at the start: members x nx.  Not clamped.  *margin: see kit_margin, the least of all states. */
static inline double kit_truth_margin(const struct kit *k, const float *start, const float *action, double *margin)
{
    const float   *z;
    const uint8_t *member;
    int            P = planner_noise(k->p, &z, &member), nx = k->d.nx;
    bool           mm = k->c.propagation == PARTICLES_MM;
    double         sum[MAX_PARTICLES] = { 0 }, mean = 0, square = 0;
    double         alive[MAX_PARTICLES], left = 1; /* moment matching: the share of all that is left */
    float         *x = malloc((size_t)(P * nx) * sizeof *x);

    for (int p = 0; p < P; p++)
        memcpy(x + p * nx, start + p % k->d.members * nx, (size_t)nx * sizeof *x);
    for (int p = 0; p < P; p++)
        alive[p] = 1;
    *margin = 1e9;
    for (int h = 0; h < k->c.horizon; h++) {
        const float *a = action + h * k->d.na;
        double       stayed = 0;

        *margin = fmin(*margin, kit_step(k, P, h, a, x));
        for (int p = 0; p < P; p++) {
            bool   out  = task_ended(k->t.end, k->t.nend, x + p * nx) >= 0;
            double cost = task_obs_cost(&k->t, x + p * nx) + task_act_cost(&k->t, a, k->d.na);

            *margin = fmin(*margin, kit_margin(&k->t, x + p * nx, h + 1 == k->c.horizon));
            if (out || h + 1 == k->c.horizon)
                cost += task_potential(&k->t, x + p * nx);
            sum[p] += (mm ? left : alive[p]) * cost;
            alive[p] *= !out;
            stayed += !out;
        }
        left *= stayed / P;
    }
    free(x);
    for (int p = 0; p < P; p++)
        mean += sum[p] / P;
    for (int p = 0; p < P; p++)
        square += (sum[p] - mean) * (sum[p] - mean) / P;
    return mean + k->c.risk * sqrt(square);
}

static inline double kit_truth(const struct kit *k, const float *start, const float *action)
{
    double margin;

    return kit_truth_margin(k, start, action, &margin);
}

#endif
