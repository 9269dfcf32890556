/* lanes.c - rolling candidates through the ensemble and summing their cost, a tile at a time (lanes.h).
 *
 * Compiled once per instruction set with -DISA=... (kernel.h).  Runs on the planner's threads: no memory, no system
 * calls. */
#include "planner/kernel.h"

INLINE void roll(const struct lanes_job *job, const int bt)
{
    int nx = job->net->dims.nx, na = job->net->dims.na;
    vf  cost[BT];

    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++)
            v_store(job->x + i * TILE + j * LANES, v_set(job->start[i]));
    for (int j = 0; j < bt; j++)
        cost[j] = v_set(0);

    for (int h = 0; h < job->horizon; h++) {
        const float *act = job->act + h * na * TILE;

        model_step(job, job->member[h], act, job->z ? job->z + h * nx : NULL, bt);
        if (job->task)
            for (int j = 0; j < bt; j++)
                cost[j] += step_cost(job->task, job->x + j * LANES, act + j * LANES, na);
    }
    if (!job->task)
        return;

    /* A diverged state must not hide behind a bounded cost: 0 times infinity or NaN is NaN. */
    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++)
            cost[j] += v_load(job->x + i * TILE + j * LANES) * 0.0f;
    for (int j = 0; j < bt; j++)
        v_store(job->cost + j * LANES, cost[j]);
}

static void rollout(const struct lanes_job *job)
{
    if (job->rows <= LANES)
        roll(job, 1); /* half a tile: the last of a population */
    else
        roll(job, BT);
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
    .isa     = TEXT(ISA),
    .lanes   = LANES,
    .tile    = TILE,
    .panel   = PANEL,
    .rollout = rollout,
    .normal  = normal,
    .combine = combine,
    .exp     = map_exp,
    .swish   = map_swish,
    .log     = map_log,
    .sincos  = map_sincos,
};
