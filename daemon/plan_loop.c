/* plan_loop.c - waits for a request, plans with the newest model, publishes after every iteration; and the planner's
 * other threads, which only lend their cores. */
#include <math.h>

#include "daemon/loops.h"

static void publish(void *ctx, const struct plan *plan)
{
    struct shared *s = ctx;

    s->plan[s->plan_handoff.write] = *plan;
    handoff_publish(&s->plan_handoff);
}

static void figures(struct shared *s, const struct plan_request *req, const struct plan *plan)
{
    double   step_s = s->config->plan_every / s->config->control_hz;
    uint64_t due    = req->requested_ns + (uint64_t)(step_s * 1e9);

    hist_add(&s->plan_time, plan->finished_ns - plan->started_ns);
    atomic_fetch_add(&s->plans, 1);
    atomic_store(&s->plan_iterations, plan->iterations);
    atomic_store(&s->plan_candidates, plan->candidates);
    atomic_store(&s->plan_spread_micro, isfinite(plan->spread) ? (uint64_t)(fmin(plan->spread, 1e9) * 1e6) : UINT64_MAX);
    if (plan->cut)
        atomic_fetch_add(&s->plans_cut, 1);
    if (req->delayed && plan->finished_ns > due) {
        atomic_fetch_add(&s->plans_late, 1);
        atomic_store(&s->last_miss_ns, plan->finished_ns);
    }
}

void *plan_loop_run(void *arg)
{
    struct shared *s = arg;
    struct plan    plan; /* 8 KiB of stack, prefaulted */
    uint64_t       life = 0;
    uint32_t       seen = 0;

    rt_thread_begins(s, THREAD_PLANNER);
    while (!atomic_load(&s->stop_threads)) {
        bool fresh, unused, other;

        seen = rt_signal_count(&s->request_signal);
        uint32_t r = handoff_latest(&s->request_handoff, &fresh);
        if (!fresh) {
            rt_signal_wait(&s->request_signal, seen, clock_now_ns() + 100 * NS_PER_MS);
            continue;
        }
        if (!atomic_load(&s->model_version))
            continue;
        uint32_t                   slot = handoff_latest(&s->model_handoff, &unused);
        struct plan_request        ask  = s->request[r];
        const struct plan_request *req  = &ask;

        uint32_t task = handoff_latest(&s->task_handoff, &other);
        if (other)
            planner_task(s->planner, &s->task[task]);
        ask.reset = ask.reset || ask.life != life;
        life      = ask.life;

        uint64_t started = clock_now_ns();
        rt_body_begin();
        planner_step(s->planner, (int)slot, req, publish, s, &plan);
        plan.requested_ns = req->requested_ns;
        plan.started_ns   = started;
        plan.finished_ns  = clock_now_ns();
        publish(s, &plan);
        atomic_store_explicit(&s->planned_id, req->id, memory_order_release);
        rt_signal_raise(&s->plan_signal);
        figures(s, req, &plan);
        rt_thread_numeric(s, THREAD_PLANNER);
        if (!handoff_fresh(&s->request_handoff)) /* nobody waits: the next step's noise now */
            planner_prepare(s->planner, req->next_seed);
        rt_body_end();
    }
    return NULL;
}

void *plan_worker_run(void *arg)
{
    struct plan_worker *w = arg;

    rt_thread_begins(w->s, THREAD_PLANNER + w->worker);
    planner_worker(w->s->planner, w->worker);
    return NULL;
}
