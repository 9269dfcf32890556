/* rollout.c - see rollout.h.  The arithmetic is in lanes.c; here is who meets whom: candidates, particles, members. */
#include "planner/rollout.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

enum { SEED_NOISE = 1, SEED_MEMBERS = 2 };

static int noise_size(const struct rollout *r)
{
    int n = r->particles * r->horizon * r->dims.nx;

    return (n + LANES_NORMALS - 1) / LANES_NORMALS * LANES_NORMALS;
}

void rollout_layout(struct rollout *r, struct arena *a, const struct planner_config *c, const struct model_dims *d)
{
    r->dims        = *d;
    r->horizon     = c->horizon;
    r->propagation = c->propagation;
    r->particles   = c->propagation == PARTICLES_MEAN ? d->members : c->particles;

    for (int s = 0; s < ROLLOUT_SLOTS; s++)
        for (int m = 0; m < d->members; m++) {
            float *w = ARENA_ARRAY(a, float, lanes_params(d));

            for (int l = 0; l <= d->layers; l++) {
                r->net[s].layer[m][l] = w;
                w                     = w ? w + lanes_layer_params(d, l) : NULL;
            }
        }
    r->member = ARENA_ARRAY(a, uint8_t, r->particles * r->horizon);
    r->z      = ARENA_ARRAY(a, float, noise_size(r));
    r->start  = ARENA_ARRAY(a, float, d->members * d->nx);
    r->act    = ARENA_ARRAY(a, float, r->horizon * d->na * LANES_TILE);
    r->x      = ARENA_ARRAY(a, float, d->nx *LANES_TILE);
    r->buf[0] = ARENA_ARRAY(a, float, lanes_width(d) * LANES_TILE);
    r->buf[1] = ARENA_ARRAY(a, float, lanes_width(d) * LANES_TILE);
    r->cost   = ARENA_ARRAY(a, float, LANES_TILE);
    r->sum    = ARENA_ARRAY(a, double, LANES_TILE);
}

void rollout_pack(struct rollout *r, int slot, const struct ensemble *e)
{
    const struct model_dims *d = &r->dims, *m = &e->dims;

    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS);
    CHECK(m->nx == d->nx && m->na == d->na && m->members == d->members && m->layers == d->layers &&
          m->hidden == d->hidden && !memcmp(m->input, d->input, (size_t)d->nx));
    lanes_pack(r->ops, e, &r->net[slot]);
}

/* The next state of one member by its mean, for one state and action (na); rows are all the same, one is read. */
static void mean_step(struct rollout *r, int slot, int member, const float *x, const float *action, float *next)
{
    uint8_t          who  = (uint8_t)member;
    int              tile = r->ops->tile;
    struct lanes_job job  = { .net     = &r->net[slot],
                              .horizon = 1,
                              .rows    = 1,
                              .member  = &who,
                              .start   = x,
                              .act     = r->act,
                              .x       = r->x,
                              .buf     = { r->buf[0], r->buf[1] } };

    for (int i = 0; i < r->dims.na; i++)
        for (int b = 0; b < tile; b++)
            r->act[i * tile + b] = action[i];
    r->ops->rollout(&job);
    for (int i = 0; i < r->dims.nx; i++)
        next[i] = r->x[i * tile];
}

/* TS1: at every step a fresh permutation of the particles among the members. */
static void assign_members(struct rollout *r, uint64_t seed)
{
    struct rng rng;

    rng_seed(&rng, rng_derive(seed, SEED_MEMBERS, 0));
    for (int h = 0; h < r->horizon; h++) {
        uint8_t who[MAX_PARTICLES];

        for (int p = 0; p < r->particles; p++)
            who[p] = (uint8_t)(p % r->dims.members);
        for (int p = r->particles - 1; p > 0 && r->propagation == PARTICLES_TS1; p--) {
            int     q   = (int)rng_below(&rng, (uint32_t)p + 1);
            uint8_t was = who[p];

            who[p] = who[q];
            who[q] = was;
        }
        for (int p = 0; p < r->particles; p++)
            r->member[p * r->horizon + h] = who[p];
    }
}

void rollout_begin(struct rollout *r, int slot, const float *x, const float *pending, uint64_t seed)
{
    int              nx = r->dims.nx;
    struct lanes_rng rng;

    assign_members(r, seed);
    if (r->propagation != PARTICLES_MEAN) {
        lanes_seed(&rng, rng_derive(seed, SEED_NOISE, 0));
        r->ops->normal(&rng, noise_size(r), r->z);
    }
    for (int m = 0; m < r->dims.members; m++) {
        if (pending)
            mean_step(r, slot, m, x, pending, r->start + m * nx);
        else
            memcpy(r->start + m * nx, x, (size_t)nx * sizeof *x);
    }
    r->unit_ns = 0;
}

/* False when one more tile as long as the longest so far, and what follows an iteration (rollout_predict: one step by
 * every member), would end after the deadline. */
static bool time_left(struct rollout *r, uint64_t deadline_ns, uint64_t *last_ns)
{
    if (deadline_ns == UINT64_MAX)
        return true;
    uint64_t now = clock_now_ns();
    if (*last_ns && now - *last_ns > r->unit_ns)
        r->unit_ns = now - *last_ns;
    *last_ns      = now;
    uint64_t need = r->unit_ns + r->unit_ns * (uint64_t)r->dims.members / (uint64_t)r->horizon;
    return now < deadline_ns && need < deadline_ns - now;
}

int rollout_evaluate(struct rollout *r, int slot, int n, const float *act, float *cost, uint64_t deadline_ns)
{
    int      tile = r->ops->tile, na = r->dims.na, steps = r->horizon * na;
    uint64_t last_ns = 0;

    for (int c = 0; c < n; c += tile) {
        int rows = n - c < tile ? n - c : tile;

        /* Rows beyond the population repeat its last candidate. */
        for (int b = 0; b < tile; b++) {
            const float *from = act + (size_t)(c + (b < rows ? b : rows - 1)) * (size_t)steps;

            for (int i = 0; i < steps; i++)
                r->act[i * tile + b] = from[i];
            r->sum[b] = 0;
        }
        for (int p = 0; p < r->particles; p++) {
            struct lanes_job job = { .net     = &r->net[slot],
                                     .task    = &r->task,
                                     .horizon = r->horizon,
                                     .rows    = rows,
                                     .member  = r->member + p * r->horizon,
                                     .start   = r->start + p % r->dims.members * r->dims.nx,
                                     .act     = r->act,
                                     .z       = r->z + p * r->horizon * r->dims.nx,
                                     .x       = r->x,
                                     .buf     = { r->buf[0], r->buf[1] },
                                     .cost    = r->cost };

            if (r->propagation == PARTICLES_MEAN)
                job.z = NULL;
            if (!time_left(r, deadline_ns, &last_ns))
                return c;
            r->ops->rollout(&job);
            for (int b = 0; b < rows; b++)
                r->sum[b] += (double)r->cost[b];
        }
        for (int b = 0; b < rows; b++) {
            float mean = (float)(r->sum[b] / r->particles);

            /* Written so that NaN is the worst; minus infinity would be a reward without limit. */
            cost[c + b] = mean <= ROLLOUT_WORST && mean >= -FLT_MAX ? mean : ROLLOUT_WORST;
        }
    }
    return n;
}

void rollout_predict(struct rollout *r, int slot, const float *action, float *predicted, double *spread)
{
    int    nx = r->dims.nx, members = r->dims.members;
    double sum[MAX_OBS] = { 0 }, square[MAX_OBS] = { 0 }, first[MAX_OBS];
    float  next[MAX_OBS];

    for (int m = 0; m < members; m++) {
        mean_step(r, slot, m, r->start + m * nx, action, next);
        for (int i = 0; i < nx; i++) {
            if (m == 0)
                first[i] = (double)next[i];
            double d = (double)next[i] - first[i]; /* from the first: large states would cancel */

            sum[i] += d;
            square[i] += d * d;
        }
    }
    *spread = 0;
    for (int i = 0; i < nx; i++) {
        double mean = sum[i] / members, var = square[i] / members - mean * mean;

        predicted[i] = (float)(first[i] + mean);
        *spread += (var < 0 ? 0 : sqrt(var)) / (double)r->net[slot].out_std[i] / nx;
    }
}
