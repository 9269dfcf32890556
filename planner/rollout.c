/* rollout.c - see rollout.h.  The arithmetic is in lanes.c; here is who meets whom: candidates, particles, members. */
#include "planner/rollout.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"

enum {
    SEED_NOISE   = 1,
    SEED_MEMBERS = 2,
};

static const double LEAST_STD = 1e-3; /* of out_std: what a prediction may claim to be sure of */

static int noise_size(const struct rollout *r)
{
    int n = r->particles * r->horizon * r->dims.nx * (r->propagation == PARTICLES_MM ? 2 : 1);

    return (n + LANES_NORMALS - 1) / LANES_NORMALS * LANES_NORMALS;
}

static void layout_scratch(const struct rollout *r, struct arena *a, struct rollout_scratch *s)
{
    int states  = r->propagation == PARTICLES_MM ? r->particles : 1;
    int moments = r->propagation == PARTICLES_DS ? r->dims.members + 1 : 0;

    s->act    = ARENA_ARRAY(a, float, r->horizon * r->dims.na * LANES_TILE);
    s->x      = ARENA_ARRAY(a, float, states * r->dims.nx * LANES_TILE);
    s->noise  = ARENA_ARRAY(a, float, r->dims.nx * LANES_TILE);
    s->moment = ARENA_ARRAY(a, float, moments * r->dims.nx * LANES_TILE);
    s->buf[0] = ARENA_ARRAY(a, float, lanes_width(&r->dims) * LANES_TILE);
    s->buf[1] = ARENA_ARRAY(a, float, lanes_width(&r->dims) * LANES_TILE);
    s->cost   = ARENA_ARRAY(a, float, LANES_TILE);
}

/* A packed member's layers, one after the other. */
static void layout_layers(const struct model_dims *d, struct arena *a, float **layer)
{
    float *w = ARENA_ARRAY(a, float, lanes_params(d));

    for (int l = 0; l <= d->layers; l++) {
        layer[l] = w;
        w        = w ? w + lanes_layer_params(d, l) : NULL;
    }
}

void rollout_layout(struct rollout *r, struct arena *a, const struct planner_config *c, const struct model_dims *d)
{
    r->dims        = *d;
    r->horizon     = c->horizon;
    r->propagation = c->propagation;
    r->particles   = c->propagation == PARTICLES_MEAN ? d->members : c->particles;
    r->risk        = c->risk;
    r->exact       = c->exact;
    r->nrange      = c->nrange;
    memcpy(r->range, c->range, sizeof r->range);
    r->workers     = c->workers > 0 ? c->workers : 1;
    r->most        = (c->population + LANES_TILE - 1) / LANES_TILE * LANES_TILE;

    for (int s = 0; s < ROLLOUT_SLOTS; s++) {
        r->net[s].bf16 = c->dtype == DTYPE_BF16;
        for (int m = 0; m < d->members; m++) {
            layout_layers(d, a, r->net[s].layer[m]);
            if (r->net[s].bf16)
                layout_layers(d, a, r->net[s].pair[m]);
        }
    }
    r->member = ARENA_ARRAY(a, uint8_t, r->particles * r->horizon);
    r->z      = ARENA_ARRAY(a, float, noise_size(r));
    r->start  = ARENA_ARRAY(a, float, d->members * d->nx);
    r->cost   = ARENA_ARRAY(a, float, r->particles * r->most);
    for (int w = 0; w < r->workers; w++)
        layout_scratch(r, a, &r->scratch[w]);
}

void rollout_pack(struct rollout *r, int slot, const struct ensemble *e)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && model_dims_equal(&e->dims, &r->dims));
    lanes_pack(r->ops, e, &r->net[slot]);
}

/* A job of any kind, but for who meets whom. */
static struct lanes_job job_of(struct rollout *r, int slot, struct rollout_scratch *s)
{
    return (struct lanes_job){
        .net       = &r->net[slot],
        .exact     = r->exact,
        .range     = r->range,
        .nrange    = r->nrange,
        .particles = r->particles,
        .act       = s->act,
        .x         = s->x,
        .noise     = s->noise,
        .moment    = s->moment,
        .buf       = { s->buf[0], s->buf[1] },
        .cost      = s->cost,
        .ticks     = r->timed ? s->ticks : NULL,
    };
}

/* The next state of one member for one state and action (na), as far from its mean as noise z (nx; NULL: none) says and held
 * in the first nrange ranges; rows are all the same, one is read. */
static void one_step(struct rollout *r, int slot, int member, const float *x, const float *action, const float *z,
                     int nrange, float *next)
{
    struct rollout_scratch *s    = &r->scratch[0];
    uint8_t                 who  = (uint8_t)member;
    int                     tile = r->ops->tile;
    struct lanes_job        job  = job_of(r, slot, s);

    job.horizon = 1;
    job.rows    = 1;
    job.member  = &who;
    job.start   = x;
    job.z       = z;
    job.nrange  = nrange;
    job.ticks   = NULL;
    s->held     = -1;
    for (int i = 0; i < r->dims.na; i++)
        for (int b = 0; b < tile; b++)
            s->act[i * tile + b] = action[i];
    r->ops->rollout(&job);
    for (int i = 0; i < r->dims.nx; i++)
        next[i] = s->x[i * tile];
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

void rollout_prepare(struct rollout *r, uint64_t seed)
{
    struct lanes_rng rng;

    if (r->drawn && r->seed == seed)
        return;
    assign_members(r, seed);
    if (r->propagation != PARTICLES_MEAN) {
        lanes_seed(&rng, rng_derive(seed, SEED_NOISE, 0));
        r->ops->normal(&rng, noise_size(r), r->z);
    }
    r->drawn = true;
    r->seed  = seed;
}

void rollout_begin(struct rollout *r, int slot, const float *x, const float *pending, uint64_t seed)
{
    int nx = r->dims.nx;

    rollout_prepare(r, seed);
    for (int m = 0; m < r->dims.members; m++) {
        if (pending)
            one_step(r, slot, m, x, pending, NULL, r->nrange, r->start + m * nx);
        else
            memcpy(r->start + m * nx, x, (size_t)nx * sizeof *x);
    }
}

/* Who stands in the rows of a tile: candidates, and particles if they are not all one. */
struct rows {
    int     n; /* 1 .. tile */
    int     candidate[LANES_TILE];
    uint8_t particle[LANES_TILE];
};

/* Rows beyond the population repeat its last candidate. */
static void fill(struct rollout *r, struct rollout_scratch *s, const struct rows *who)
{
    int tile = r->ops->tile, steps = r->horizon * r->dims.na;

    for (int b = 0; b < tile; b++) {
        const float *from = r->candidates + (size_t)who->candidate[b] * (size_t)steps;

        for (int i = 0; i < steps; i++)
            s->act[i * tile + b] = from[i];
    }
}

/* Candidates of tile t, whole or the last. */
static void lay_tile(const struct rollout *r, int t, struct rows *who)
{
    int tile = r->ops->tile, first = t * tile;

    who->n = r->n - first < tile ? r->n - first : tile;
    for (int b = 0; b < tile; b++)
        who->candidate[b] = first + (b < who->n ? b : who->n - 1);
}

/* The rest of a population that fills no tile, with TS-infinity: particles that share a member share a tile, each row
 * with its own particle's noise.  Tiles of each member: */
static int rest_units(const struct rollout *r)
{
    int rows = (r->n - r->whole * r->ops->tile) * r->sets;

    return (rows + r->ops->tile - 1) / r->ops->tile;
}

static void lay_rest(const struct rollout *r, int member, int unit, struct rows *who)
{
    int tile = r->ops->tile, first = r->whole * tile, rest = r->n - first, rows = rest * r->sets - unit * tile;

    who->n = rows < tile ? rows : tile;
    for (int b = 0; b < tile; b++) {
        int i = unit * tile + (b < who->n ? b : who->n - 1);

        who->candidate[b] = first + i % rest;
        who->particle[b]  = (uint8_t)(member + i / rest * r->dims.members);
    }
}

/* One unit of the team's work. */
static void evaluate_unit(void *ctx, int worker, int unit)
{
    struct rollout         *r   = ctx;
    struct rollout_scratch *s   = &r->scratch[worker];
    struct lanes_job        job = job_of(r, r->slot, s);
    int                     t = unit / r->per_tile, p = unit % r->per_tile;
    bool                    packed = t >= r->whole && r->sets > 1;
    struct rows             who;

    if (packed) {
        int per = rest_units(r);

        unit -= r->whole * r->per_tile;
        p = unit / per;
        lay_rest(r, p, unit % per, &who);
    } else {
        lay_tile(r, t, &who);
    }
    if (packed || s->held != t)
        fill(r, s, &who);
    s->held = packed ? -1 : t;

    job.horizon  = r->horizon;
    job.task     = &r->task;
    job.rows     = who.n;
    job.member   = r->member + p * r->horizon;
    job.start    = r->start + (r->propagation == PARTICLES_MM ? 0 : p % r->dims.members * r->dims.nx);
    job.z        = r->propagation == PARTICLES_MEAN ? NULL : packed ? r->z : r->z + p * r->horizon * r->dims.nx;
    job.particle = packed ? who.particle : NULL;
    if (r->propagation == PARTICLES_MM)
        r->ops->rollout_mm(&job);
    else if (r->propagation == PARTICLES_DS)
        r->ops->rollout_ds(&job);
    else
        r->ops->rollout(&job);
    for (int b = 0; b < who.n; b++)
        r->cost[(packed ? who.particle[b] : p) * r->most + who.candidate[b]] = s->cost[b];
}

/* Standard deviation of n costs, the first at cost and `next` apart, about their mean. */
double rollout_deviation(const float *cost, int n, int next, double mean)
{
    double square = 0;

    for (int p = 0; p < n; p++) {
        double d = (double)cost[p * next] - mean;

        square += d * d;
    }
    return sqrt(square / n);
}

/* Mean over particles, and what risk adds to it, of the first n candidates. */
static void expect(const struct rollout *r, int n, float *cost)
{
    for (int c = 0; c < n; c++) {
        double sum = 0;

        for (int p = 0; p < r->per_tile; p++)
            sum += (double)r->cost[p * r->most + c];
        double mean = sum / r->per_tile;

        if (r->risk != 0)
            mean += r->risk * rollout_deviation(r->cost + c, r->per_tile, r->most, mean);
        float rated = (float)mean;

        /* Written so that NaN is the worst; minus infinity would be a reward without limit. */
        cost[c] = rated <= ROLLOUT_WORST && rated >= -FLT_MAX ? rated : ROLLOUT_WORST;
    }
}

/* rollout_evaluate for at most r->most candidates. */
static int evaluate(struct rollout *r, int n, const float *act, float *cost, uint64_t deadline_ns)
{
    int tile = r->ops->tile, members = r->dims.members;

    r->n          = n;
    r->candidates = act;
    r->per_tile   = r->propagation == PARTICLES_MM ? 1 : r->particles;
    r->whole      = n / tile;
    r->sets       = r->propagation == PARTICLES_TSINF ? r->particles / members : 1;
    for (int w = 0; w < r->workers; w++)
        r->scratch[w].held = -1;

    /* After the last unit comes rollout_predict: steps by every member. */
    int      rest = n % tile == 0 ? 0 : r->sets > 1 ? members * rest_units(r) : r->per_tile;
    int      units = r->whole * r->per_tile + rest;
    uint64_t reserve = r->unit_ns * (uint64_t)(members * ROLLOUT_PREDICT_STEPS) / (uint64_t)r->horizon;
    int      done    = team_run(r->team, evaluate_unit, r, units, deadline_ns, deadline_ns == UINT64_MAX ? 0 : reserve);

    if (deadline_ns != UINT64_MAX)
        r->unit_ns = team_unit_ns(r->team);
    done = done == units ? n : done / r->per_tile < r->whole ? done / r->per_tile * tile : r->whole * tile;
    expect(r, done, cost);
    return done;
}

int rollout_evaluate(struct rollout *r, int slot, int n, const float *act, float *cost, uint64_t deadline_ns)
{
    int done = 0, part, got;

    r->slot = slot;
    do {
        part = n - done < r->most ? n - done : r->most;
        got  = evaluate(r, part, act + (size_t)done * (size_t)(r->horizon * r->dims.na), cost + done, deadline_ns);
        done += got;
    } while (got == part && done < n);
    return done;
}

uint64_t rollout_rows(const struct rollout *r, int n)
{
    uint64_t rows = (uint64_t)n * (uint64_t)(r->particles * r->horizon);

    return r->propagation == PARTICLES_DS ? rows * (uint64_t)r->dims.members : rows;
}

void rollout_ticks(struct rollout *r, uint64_t *ticks)
{
    memset(ticks, 0, LANES_TICKS * sizeof *ticks);
    for (int w = 0; w < r->workers; w++) {
        for (int i = 0; i < LANES_TICKS; i++)
            ticks[i] += r->scratch[w].ticks[i];
        memset(r->scratch[w].ticks, 0, sizeof r->scratch[w].ticks);
    }
}

/* What one member says of the first action: its mean where it is held in ranges, and its noise, to which no range applies. */
static void member_predicts(struct rollout *r, int slot, int m, const float *action, float *mean, double *noise)
{
    static const float one[MAX_OBS] = { [0 ... MAX_OBS - 1] = 1 };
    const float       *start        = r->start + m * r->dims.nx;
    float              freely[MAX_OBS], above[MAX_OBS];

    one_step(r, slot, m, start, action, NULL, r->nrange, mean);
    if (r->nrange)
        one_step(r, slot, m, start, action, NULL, 0, freely);
    one_step(r, slot, m, start, action, one, 0, above);
    for (int i = 0; i < r->dims.nx; i++)
        noise[i] = (double)above[i] - (double)(r->nrange ? freely : mean)[i];
}

void rollout_predict(struct rollout *r, int slot, const float *action, struct expectation *p)
{
    int    nx = r->dims.nx, members = r->dims.members;
    double sum[MAX_OBS] = { 0 }, square[MAX_OBS] = { 0 }, variance[MAX_OBS] = { 0 }, first[MAX_OBS], noise[MAX_OBS];
    float  next[MAX_OBS];

    for (int m = 0; m < members; m++) {
        member_predicts(r, slot, m, action, next, noise);
        for (int i = 0; i < nx; i++) {
            if (m == 0)
                first[i] = (double)next[i];
            double d = (double)next[i] - first[i]; /* from the first: large states would cancel */

            sum[i] += d;
            square[i] += d * d;
            variance[i] += noise[i] * noise[i];
        }
    }
    p->spread = 0;
    for (int i = 0; i < nx; i++) {
        double mean = sum[i] / members, var = square[i] / members - mean * mean,
               out_std = (double)r->net[slot].out_std[i], std = sqrt((var < 0 ? 0 : var) + variance[i] / members);

        p->mean[i] = (float)(first[i] + mean);
        p->std[i]  = (float)(std < LEAST_STD * out_std ? LEAST_STD * out_std : std);
        p->spread += (var < 0 ? 0 : sqrt(var)) / out_std / nx;
    }
}
