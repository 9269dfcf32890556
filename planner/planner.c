/* planner.c - see planner.h.  A planning step is: search_sample, rollout_evaluate, search_refit, publish; again. */
#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "planner/gradient.h"
#include "planner/rollout.h"
#include "planner/search.h"

enum { SEED_PROPOSALS = 5 }; /* parts of a planning step's seed: rollout.c, search.c */

struct planner {
    struct search    search;
    struct rollout   rollout;
    struct gradient  gradient; /* laid out for planners that want gradients */
    struct team     *team;
    struct plan      plan;    /* best so far                               */
    bool             planned; /* last_id is that of a plan                 */
    uint64_t         last_id;
    planner_propose *propose;
    void            *propose_ctx;
    float           *proposed; /* proposals x horizon x na                  */
};

const char *planner_config_error(const struct planner_config *c, const struct model_dims *d)
{
    if (!search_find(c->name))
        return "name: expected random, cem, icem, mppi, pddm, cmaes, gradient or cemgd";
    if (d->nx < 1 || d->nx > MAX_OBS || d->na < 1 || d->na > MAX_ACT)
        return "model: expected 1 .. 64 observations and 1 .. 32 actions";
    if (d->members < 1 || d->members > MAX_MEMBERS)
        return "model.members: expected 1 .. 16";
    if (d->layers < 1 || d->layers > MAX_LAYERS || d->hidden < 1 || d->hidden > MAX_HIDDEN)
        return "model: expected 1 .. 5 layers of 1 .. 512 units";
    if (c->horizon < 1 || c->horizon > MAX_HORIZON)
        return "horizon: expected 1 .. 64";
    if (c->population < 2 || c->population > MAX_POPULATION)
        return "population: expected 2 .. 4096";
    if (c->iterations < 1 || c->iterations > 1000)
        return "iterations: expected 1 .. 1000";
    if (c->propagation != PARTICLES_TSINF && c->propagation != PARTICLES_TS1 && c->propagation != PARTICLES_MEAN &&
        c->propagation != PARTICLES_MM && c->propagation != PARTICLES_DS)
        return "propagation: expected tsinf, ts1, mean, mm or ds";
    if (!(fabs(c->risk) <= 1e3))
        return "risk: expected -1000 to 1000";
    if (c->risk != 0 && c->propagation == PARTICLES_MM)
        return "risk: expected 0 with propagation mm, whose particles are drawn from one distribution";
    if (search_wants_gradient(c->name) && (c->propagation == PARTICLES_MM || c->propagation == PARTICLES_DS))
        return "propagation: expected tsinf, ts1 or mean with a planner that uses gradients";
    if (c->dtype != DTYPE_F32 && c->dtype != DTYPE_BF16)
        return "dtype: expected f32 or bf16";
    if (c->workers < 0 || c->workers > TEAM_MAX)
        return "workers: expected 1 .. 16";
    if (c->execute != EXECUTE_BEST && c->execute != EXECUTE_MEAN)
        return "execute: expected best or mean";
    if (c->particles < 1 || c->particles > MAX_PARTICLES || c->particles % d->members != 0)
        return "particles: expected a multiple of model.members, at most 128";
    return search_error(c, d->na);
}

const char *const *planner_names(void)
{
    return search_names();
}

static struct planner *layout(struct planner *probe, struct arena *a, const struct planner_config *c,
                              const struct model_dims *d)
{
    struct planner *p = ARENA_ARRAY(a, struct planner, 1);

    if (p)
        memset(p, 0, sizeof *p);
    else
        p = probe;
    p->team = p->rollout.team = team_layout(a, c->workers ? c->workers : 1);
    search_layout(&p->search, a, c, d->na);
    rollout_layout(&p->rollout, a, c, d);
    p->proposed = ARENA_ARRAY(a, float, c->proposals * c->horizon * d->na);
    if (search_wants_gradient(c->name))
        gradient_layout(&p->gradient, a, c, d);
    return p;
}

size_t planner_memsize(const struct planner_config *c, const struct model_dims *d)
{
    struct arena   a     = ARENA_PROBE;
    struct planner probe = { 0 };

    CHECK(planner_config_error(c, d) == NULL);
    layout(&probe, &a, c, d);
    return a.used;
}

struct planner *planner_init(struct arena *a, const struct planner_config *c, const struct model_dims *d,
                             const struct task *task, const struct action_bounds *bounds, const char *isa)
{
    const struct lanes_ops *ops = lanes_find(isa);

    CHECK(planner_config_error(c, d) == NULL);
    CHECK(ops && a->base && (uintptr_t)a->base % 64 == 0);
    CHECK(bounds->na == d->na);
    struct planner *p = layout(NULL, a, c, d);

    p->search.ops  = ops;
    p->rollout.ops = c->dtype == DTYPE_BF16 ? lanes_bf16(ops) : ops;
    p->rollout.task                = *task;
    search_init(&p->search, bounds);
    return p;
}

void planner_task(struct planner *p, const struct task *task)
{
    p->rollout.task = *task;
    p->planned      = false;
}

const char *planner_isa(const struct planner *p)
{
    return p->rollout.ops->isa;
}

const char *planner_dtype(const struct planner *p)
{
    return !p->rollout.net[0].bf16 ? "f32" : p->rollout.ops->pairs ? "bf16" : "bf16 emulated";
}

void planner_pack(struct planner *p, int slot, const struct ensemble *e)
{
    rollout_pack(&p->rollout, slot, e);
    if (search_wants_gradient(p->search.config.name))
        gradient_pack(&p->gradient, slot, e, p->rollout.ops);
}

void planner_prepare(struct planner *p, uint64_t seed)
{
    rollout_prepare(&p->rollout, seed);
    search_prepare(&p->search, seed);
}

void planner_proposer(struct planner *p, planner_propose *propose, void *ctx)
{
    p->propose     = propose;
    p->propose_ctx = ctx;
}

static void start_plan(struct planner *p, int slot, const struct plan_request *req)
{
    const struct planner_config *c = &p->search.config;

    memset(&p->plan, 0, sizeof p->plan);
    p->plan.id            = req->id;
    p->plan.trial         = req->trial;
    p->plan.step          = req->step;
    p->plan.seed          = req->seed;
    p->plan.model_version = p->rollout.net[slot].version;
    p->plan.horizon       = c->horizon;
    p->plan.na            = p->rollout.dims.na;
    p->plan.requested_ns  = req->requested_ns;
    p->plan.started_ns    = req->deadline_ns == UINT64_MAX ? req->requested_ns : clock_now_ns();
}

/* The executed sequence and what is expected of it, from the state of the search. */
static void fill_plan(struct planner *p, int slot, const struct plan_request *req)
{
    struct expectation expected = { 0 };
    double            cost;
    const float      *a = search_plan(&p->search, &cost);

    for (int h = 0; h < p->plan.horizon; h++)
        memcpy(p->plan.action[h], a + h * p->plan.na, (size_t)p->plan.na * sizeof *a);
    p->plan.cost = cost <= (double)ROLLOUT_WORST ? cost : (double)ROLLOUT_WORST;
    rollout_predict(&p->rollout, slot, a, &expected);
    p->plan.spread = expected.spread;
    memcpy(p->plan.predicted, expected.mean, sizeof p->plan.predicted);
    memcpy(p->plan.predicted_std, expected.std, sizeof p->plan.predicted_std);
    memcpy(p->plan.out_std, p->rollout.net[slot].out_std, sizeof p->plan.out_std);
    p->plan.finished_ns = req->deadline_ns == UINT64_MAX ? req->requested_ns : clock_now_ns();
}

/* A policy's candidates take the place of n drawn ones. */
static void propose(struct planner *p, const struct plan_request *req, int n)
{
    const struct planner_config *c = &p->search.config;

    if (!p->propose || c->proposals == 0)
        return;
    p->propose(p->propose_ctx, req->x, rng_derive(req->seed, SEED_PROPOSALS, 0), c->proposals, c->horizon, p->plan.na,
               p->proposed);
    search_propose(&p->search, n, c->proposals, p->proposed);
}

/* Rows of the nets that so many candidates took. */
static uint64_t net_rows(const struct planner *p, int candidates)
{
    uint64_t members = p->rollout.propagation == PARTICLES_DS ? (uint64_t)p->rollout.dims.members : 1;

    return (uint64_t)candidates * (uint64_t)p->rollout.particles * (uint64_t)p->rollout.horizon * members;
}

/* Costs of the first n candidates, with their gradients where the search wants them; returns how many were done. */
static int evaluate(struct planner *p, int slot, int n, uint64_t deadline_ns)
{
    struct search *s = &p->search;

    if (s->gradient)
        return gradient_evaluate(&p->gradient, &p->rollout, slot, n, s->act, s->cost, s->slope, deadline_ns);
    return rollout_evaluate(&p->rollout, slot, n, s->act, s->cost, deadline_ns);
}

/* One iteration; false if the deadline took it away. */
static bool iterate(struct planner *p, int slot, const struct plan_request *req, int it)
{
    struct search *s = &p->search;
    int            n = search_sample(s, it, req->seed);

    if (it == 0)
        propose(p, req, n);
    int done = evaluate(p, slot, n, req->deadline_ns);

    /* A later iteration counts whole or not at all: the plan depends on the number of iterations alone.  Of the first
     * whatever is there counts; a few candidates are better than none. */
    p->plan.cut = done < n;
    if (done < n && (it > 0 || done == 0))
        return false;
    bool settled = search_refit(s, it, done);

    p->plan.candidates += done;
    p->plan.rows += net_rows(p, done);
    p->plan.iterations = it + 1;
    p->plan.final      = p->plan.cut || settled || it + 1 == s->iterations;
    return true;
}

void planner_step(struct planner *p, int slot, const struct plan_request *req, planner_publish *publish, void *ctx,
                  struct plan *out)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && p->rollout.net[slot].nin > 0);
    uint64_t ahead = p->planned && req->id > p->last_id ? req->id - p->last_id : 1;
    int      shift = ahead < MAX_HORIZON ? (int)ahead : MAX_HORIZON;

    start_plan(p, slot, req);
    search_begin(&p->search, req->reset || !p->planned, shift, req->delayed ? req->pending : NULL);
    rollout_begin(&p->rollout, slot, req->x, req->delayed ? req->pending : NULL, req->seed);
    p->planned = true;
    p->last_id = req->id;

    for (int it = 0; !p->plan.final && iterate(p, slot, req, it); it++) {
        fill_plan(p, slot, req);
        if (publish)
            publish(ctx, &p->plan);
    }
    if (p->plan.iterations == 0)
        fill_plan(p, slot, req);
    p->plan.final = true;
    *out          = p->plan;
}

void planner_worker(struct planner *p, int worker)
{
    team_member(p->team, worker);
}

void planner_dismiss(struct planner *p)
{
    team_dismiss(p->team);
}

const char *planner_phase_name(enum plan_phase phase)
{
    static const char *const names[PLAN_PHASES] = { "noise",      "sample", "features", "layers",
                                                    "activation", "head",   "cost",     "refit" };

    return names[phase];
}

/* Seconds since *last, which becomes now. */
static double lap(uint64_t *last)
{
    uint64_t was = *last;

    *last = clock_now_ns();
    return (double)(*last - was) * 1e-9;
}

void planner_phases(struct planner *p, int slot, const struct plan_request *req, double seconds[PLAN_PHASES])
{
    struct rollout *r         = &p->rollout;
    struct search  *s         = &p->search;
    double          evaluated = 0, sum = 0;
    uint64_t        ticks[LANES_TICKS], last = clock_now_ns();
    bool            settled = false;

    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && r->net[slot].nin > 0);
    memset(seconds, 0, PLAN_PHASES * sizeof *seconds);
    rollout_ticks(r, ticks);
    r->timed = true;
    r->drawn = false;
    s->bank_its = 0;
    lap(&last);
    planner_prepare(p, req->seed);
    seconds[PHASE_NOISE] = lap(&last);
    search_begin(s, req->reset || !p->planned, 1, req->delayed ? req->pending : NULL);
    seconds[PHASE_SAMPLE] = lap(&last);
    rollout_begin(r, slot, req->x, req->delayed ? req->pending : NULL, req->seed);
    for (int it = 0; it < s->iterations && !settled; it++) {
        lap(&last);
        int n = search_sample(s, it, req->seed);
        seconds[PHASE_SAMPLE] += lap(&last);
        evaluate(p, slot, n, UINT64_MAX);
        evaluated += lap(&last);
        settled = search_refit(s, it, n);
        seconds[PHASE_REFIT] += lap(&last);
    }
    r->timed   = false;
    p->planned = true;

    /* The rollout's time is shared out by what its tiles counted. */
    rollout_ticks(r, ticks);
    for (int i = PHASE_FEATURES; i <= PHASE_COST; i++)
        sum += (double)ticks[i];
    for (int i = PHASE_FEATURES; i <= PHASE_COST && sum > 0; i++)
        seconds[i] = evaluated * (double)ticks[i] / sum;
}

void planner_evaluate(struct planner *p, int slot, const float *x, uint64_t seed, int n, const float *actions,
                      float *cost)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && p->rollout.net[slot].nin > 0);
    CHECK(n >= 0);
    rollout_begin(&p->rollout, slot, x, NULL, seed);
    rollout_evaluate(&p->rollout, slot, n, actions, cost, UINT64_MAX);
}

void planner_predict(struct planner *p, int slot, const float *x, const float *a, struct expectation *out)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && p->rollout.net[slot].nin > 0);
    rollout_begin(&p->rollout, slot, x, NULL, 0);
    rollout_predict(&p->rollout, slot, a, out);
}

void planner_gradient(struct planner *p, int slot, const float *x, uint64_t seed, int n, const float *actions, float *cost,
                      float *dact)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && p->rollout.net[slot].nin > 0);
    CHECK(search_wants_gradient(p->search.config.name));
    rollout_begin(&p->rollout, slot, x, NULL, seed);
    gradient_evaluate(&p->gradient, &p->rollout, slot, n, actions, cost, dact, UINT64_MAX);
}

int planner_noise(const struct planner *p, const float **z, const uint8_t **member)
{
    *z      = p->rollout.z;
    *member = p->rollout.member;
    return p->rollout.particles;
}
