/* lanes.c - rolling candidates through the ensemble and summing their cost, a tile at a time (lanes.h).
 *
 * Compiled once per instruction set with -DISA=... (kernel.h).  Runs on the planner's threads: no memory, no system
 * calls. */
#include "planner/kernel.h"

INLINE void begin(const struct lanes_job *job, const float *start, float *x, const int bt)
{
    for (int i = 0; i < job->net->dims.nx; i++)
        for (int j = 0; j < bt; j++)
            v_store(x + i * TILE + j * LANES, v_set(start[i]));
}

/* What the rows of a tile have cost, and where a task can end (task.h): the share of their particles that it has not ended
 * for, 0 or 1 but for moment matching, whose particles lose their pasts; and those of this step that stayed inside. */
struct account {
    vf cost[BT], alive[BT], stayed[BT];
};

INLINE void open_account(struct account *a, const int bt)
{
    for (int j = 0; j < bt; j++) {
        a->cost[j] = a->stayed[j] = v_set(0);
        a->alive[j]               = v_set(1);
    }
}

/* Adds one step's cost of states x. */
INLINE void add_cost(const struct lanes_job *job, int h, const float *x, struct account *a, const int bt)
{
    const struct task *t    = job->task;
    int                na   = job->net->dims.na;
    const float       *act  = job->act + h * na * TILE;
    bool               last = h + 1 == job->horizon;

    for (int j = 0; j < bt && t; j++) {
        vf cost = step_cost(t, x + j * LANES, act + j * LANES, na);

        vi in = ~(vi){ 0 };

        if (t->nend)
            in = inside(t, x + j * LANES);
        if (last || t->nend) {
            vf value = potential(t, x + j * LANES);
            cost += v_select(last ? ~(vi){ 0 } : ~in, value, v_set(0));
        }
        if (t->nend) {
            cost = v_select(a->alive[j] > 0, cost * a->alive[j], v_set(0));
            a->stayed[j] += v_select(in, v_set(1), v_set(0));
        }
        a->cost[j] += cost;
    }
    tick(job, PHASE_COST);
}

/* The step is over for all of n particles. */
INLINE void close_step(const struct lanes_job *job, int n, struct account *a, const int bt)
{
    for (int j = 0; j < bt && job->task && job->task->nend; j++) {
        a->alive[j] *= a->stayed[j] / (float)n;
        a->stayed[j] = v_set(0);
    }
}

/* What diverged must not hide behind a bounded cost or a saturated unit: 0 times infinity or NaN is NaN. */
INLINE void add_nan(const float *value, int n, vf *cost, const int bt)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < bt; j++)
            cost[j] += v_load(value + i * TILE + j * LANES) * 0.0f;
}

INLINE void finish(const struct lanes_job *job, const vf *cost, float scale, const int bt)
{
    if (job->task)
        for (int j = 0; j < bt; j++)
            v_store(job->cost + j * LANES, cost[j] * scale);
    tick(job, PHASE_COST);
}

INLINE void roll(const struct lanes_job *job, const int bt)
{
    int            nx = job->net->dims.nx;
    struct account account;

    begin(job, job->start, job->x, bt);
    open_account(&account, bt);
    for (int h = 0; h < job->horizon; h++) {
        model_step(job, job->member[h], 0, h, job->x, bt);
        add_cost(job, h, job->x, &account, bt);
        close_step(job, 1, &account, bt);
    }
    add_nan(job->x, nx, account.cost, bt);
    add_nan(job->act, job->horizon * job->net->dims.na, account.cost, bt);
    finish(job, account.cost, 1, bt);
}

/* All particles' states drawn anew from the Gaussian with their mean and variance (PETS code, propagation MM). */
INLINE void match(const struct lanes_job *job, int h, const int bt)
{
    int          nx = job->net->dims.nx, n = job->particles;
    const float *z = job->z + (n * job->horizon + h) * nx;
    float        share = 1.0f / (float)n;

    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++) {
            float *x = job->x + i * TILE + j * LANES;
            vf     sum = v_set(0), square = v_set(0);

            for (int p = 0; p < n; p++)
                sum += v_load(x + p * nx * TILE) - v_load(x); /* from the first: large states would cancel */
            vf mean = v_load(x) + sum * share;
            for (int p = 0; p < n; p++) {
                vf d = v_load(x + p * nx * TILE) - mean;
                square += d * d;
            }
            vf sigma = v_sqrt(square * share);
            for (int p = 0; p < n; p++)
                v_store(x + p * nx * TILE, mean + sigma * z[p * job->horizon * nx + i]);
        }
    for (int p = 0; p < n; p++)
        hold(job, job->x + p * nx * TILE, bt);
    tick(job, PHASE_HEAD);
}

INLINE void roll_mm(const struct lanes_job *job, const int bt)
{
    int            nx = job->net->dims.nx, n = job->particles, members = job->net->dims.members;
    struct account account;

    for (int p = 0; p < n; p++)
        begin(job, job->start + p % members * nx, job->x + p * nx * TILE, bt);
    open_account(&account, bt);
    for (int h = 0; h < job->horizon; h++) {
        for (int p = 0; p < n; p++)
            model_step(job, job->member[p * job->horizon + h], p, h, job->x + p * nx * TILE, bt);
        match(job, h, bt);
        for (int p = 0; p < n; p++)
            add_cost(job, h, job->x + p * nx * TILE, &account, bt);
        close_step(job, n, &account, bt);
    }
    add_nan(job->x, n * nx, account.cost, bt);
    add_nan(job->act, job->horizon * job->net->dims.na, account.cost, bt);
    finish(job, account.cost, 1.0f / (float)n, bt);
}

/* x follows a target drawn from the Gaussian with the mean and variance of the members' mixture (PETS code, propagation
 * DS); the target is left where the first member's mean was. */
INLINE void pool(const struct lanes_job *job, const int bt)
{
    int          nx = job->net->dims.nx, members = job->net->dims.members;
    float        share = 1.0f / (float)members;
    const float *var   = job->moment + members * nx * TILE;
    float       *t     = job->moment;

    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++) {
            int at = i * TILE + j * LANES;
            vf  sum = v_set(0), square = v_load(var + at);

            for (int m = 0; m < members; m++)
                sum += v_load(job->moment + m * nx * TILE + at);
            vf mean = sum * share;
            for (int m = 0; m < members; m++) {
                vf d = v_load(job->moment + m * nx * TILE + at) - mean;
                square += d * d;
            }
            vf sigma = v_sqrt(square * share);
            v_store(t + at, mean + sigma * v_load(job->noise + at));
        }
    next_means(job->net, t, job->x, bt);
    hold(job, job->x, bt);
    tick(job, PHASE_HEAD);
}

INLINE void roll_ds(const struct lanes_job *job, const int bt)
{
    int    nx = job->net->dims.nx, na = job->net->dims.na, members = job->net->dims.members;
    float *var = job->moment + members * nx * TILE;
    struct account account;

    begin(job, job->start, job->x, bt);
    open_account(&account, bt);
    for (int h = 0; h < job->horizon; h++) {
        for (int m = 0; m < members; m++) {
            const float *out  = net_outputs(job, m, job->x, job->act + h * na * TILE, 2 * nx, bt);
            float       *mean = job->moment + m * nx * TILE;

            for (int i = 0; i < nx; i++)
                for (int j = 0; j < bt; j++) {
                    int at = i * TILE + j * LANES;

                    v_store(mean + at, v_load(out + at));
                    v_store(var + at, (m ? v_load(var + at) : v_set(0)) + variance(job->net, out, i, j));
                }
        }
        spread_noise(job, 0, h, bt);
        pool(job, bt);
        add_cost(job, h, job->x, &account, bt);
        close_step(job, 1, &account, bt);
    }
    add_nan(job->x, nx, account.cost, bt);
    add_nan(job->act, job->horizon * na, account.cost, bt);
    finish(job, account.cost, 1, bt);
}

/* A tile's later vectors are left out where they hold no rows: the last of a population. */
#define BY_ROWS(function, job)   \
    do {                         \
        if ((job)->ticks)        \
            (job)->ticks[PLAN_PHASES] = ticks_now(); \
        if ((job)->rows <= LANES) \
            function(job, 1);    \
        else                     \
            function(job, BT);   \
    } while (0)

static void rollout(const struct lanes_job *job)
{
    BY_ROWS(roll, job);
}

static void rollout_mm(const struct lanes_job *job)
{
    BY_ROWS(roll_mm, job);
}

static void rollout_ds(const struct lanes_job *job)
{
    BY_ROWS(roll_ds, job);
}

static void normal(struct lanes_rng *r, int n, float *z)
{
    for (int i = 0; i < n; i += LANES_NORMALS)
        for (int l = 0; l < LANES_STREAMS; l += LANES) {
            vf a, b;

            v_normal(r, l, &a, &b);
            v_store(z + i + l, a);
            v_store(z + i + LANES_STREAMS + l, b);
        }
}

static void combine(int n, int stride, const float *columns, const float *w, float *y)
{
    for (int i = 0; i < stride; i += LANES) {
        vf sum = v_set(0);

        for (int k = 0; k < n; k++)
            sum += v_load(columns + k * stride + i) * w[k];
        v_store(y + i, sum);
    }
}

static void map_exp(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES)
        v_store(y + i, v_exp(v_load(x + i)));
}

static void map_swish(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES) {
        vf a = v_load(x + i), b = v_set(0.5f);

        v_swish2(&a, &b);
        v_store(y + i, a);
    }
}

static void map_swish_fast(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES) {
        vf a = v_load(x + i), b = v_set(0.5f);

        v_swish2_fast(&a, &b);
        v_store(y + i, a);
    }
}

static void map_sigma(int n, float low, float span, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES)
        v_store(y + i, v_sqrt(v_variance(v_load(x + i), low, span)));
}

static void map_sigma_fast(int n, float low, float span, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES)
        v_store(y + i, v_sigma_fast(v_load(x + i), low, span));
}

static void map_log(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES)
        v_store(y + i, v_log(v_load(x + i)));
}

static void map_sincos(int n, const float *x, float *s, float *c)
{
    for (int i = 0; i < n; i += LANES) {
        vf si, co;

        v_sincos(v_load(x + i), &si, &co);
        v_store(s + i, si);
        v_store(c + i, co);
    }
}

const struct lanes_ops JOIN(lanes_ops_, ISA) = {
#if defined(__AVX512BF16__)
    .isa   = "avx512",
    .pairs = true,
#else
    .isa = TEXT(ISA),
#endif
    .lanes      = LANES,
    .tile       = TILE,
    .panel      = PANEL,
    .rollout    = rollout,
    .rollout_mm = rollout_mm,
    .rollout_ds = rollout_ds,
    .normal     = normal,
    .combine    = combine,
    .exp        = map_exp,
    .swish      = map_swish,
    .swish_fast = map_swish_fast,
    .sigma      = map_sigma,
    .sigma_fast = map_sigma_fast,
    .log        = map_log,
    .sincos     = map_sincos,
};
