/* core_plan.c - playing the plan back; what the planner is asked. */
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"

/* What the planner is asked at this boundary.  Delayed: for the next step, rolled forward under what was just sent. */
void core_plan_request(struct core *c, struct plan_request *req, bool delayed)
{
    const struct robot_config *cfg     = c->config;
    bool                       running = c->trial_phase == TRIAL_RUNNING;

    memset(req, 0, sizeof *req);
    req->id           = c->step_id + delayed;
    req->trial        = running ? c->trial : UINT32_MAX;
    req->step         = c->step + delayed;
    req->seed         = running ? rng_derive(c->trial_seed, c->trial, req->step)
                                : rng_derive(cfg->trials.seed, UINT32_MAX, req->id);
    req->next_seed    = running ? rng_derive(c->trial_seed, c->trial, req->step + 1)
                                : rng_derive(cfg->trials.seed, UINT32_MAX, req->id + 1);
    req->deadline_ns  = delayed ? c->now_ns + (uint64_t)(cfg->planner_budget * core_planner_step_s(c) * 1e9) : UINT64_MAX;
    req->reset        = c->reset_planner;
    req->life         = c->plan_from_id;
    req->delayed      = delayed;
    req->requested_ns = c->now_ns;
    memcpy(req->x, c->x, sizeof req->x);
    core_action_of(c, c->sent, req->pending);
    c->reset_planner = false;
}

/* Index into the newest plan for this step, or -1: none usable. */
static int plan_index(const struct core *c)
{
    if (!c->have_plan || c->plan.id < c->plan_from_id || c->plan.id > c->step_id || c->plan.iterations < 1)
        return -1;
    uint64_t age = c->step_id - c->plan.id;
    return age < (uint64_t)c->plan.horizon ? (int)age : -1;
}

static void take_plan(struct core *c, const struct plan *plan)
{
    if (!plan || plan->id < c->plan_from_id || plan->horizon < 1 || plan->horizon > MAX_HORIZON)
        return;
    c->plan      = *plan;
    c->have_plan = true;
}

/* At a boundary: newest plan, gates, promotion or demotion, the action of this step.  Returns fault bits. */
uint32_t core_playback(struct core *c, const struct core_input *in, struct core_output *out)
{
    const struct robot_config *cfg   = c->config;
    uint32_t                   fault = 0;

    if (!c->boundary || !mode_armed(c->mode))
        return 0;
    if (c->delay == 0 && in->model_version && c->mode != MODE_EXPLORE) {
        struct plan_request req;

        core_plan_request(c, &req, false);
        take_plan(c, in->solve(in->solve_ctx, &req));
    } else if (c->delay > 0) {
        take_plan(c, in->plan);
    }
    if (c->mode == MODE_EXPLORE) {
        core_explore(c);
        return 0;
    }

    /* The first steps after an announced reset have no plan yet: neither good nor bad. */
    if (c->step_id < c->plan_from_id)
        return 0;
    int index = plan_index(c);
    core_gates_judge(c, in, index, &fault);
    c->predicted_id = 0;
    if (c->mode == MODE_ADVANCED && index != 0) {
        fault |= FAULT_PLAN_LATE;
        c->count_plan_late++;
    }
    if (!core_gates_ok(c)) {
        c->good_s = 0;
        if (c->mode == MODE_ADVANCED)
            core_gates_trip(c, out, &fault);
        return fault;
    }
    core_gates_good(c);
    if (c->mode == MODE_BASELINE && c->trial_phase == TRIAL_RUNNING && c->trial_kind == TRIAL_PLANNED &&
        c->good_s >= c->need_s)
        core_mode(c, out, EVENT_PROMOTE, STOP_NONE);
    if (c->mode == MODE_ADVANCED) {
        for (int i = 0; i < cfg->na; i++)
            c->action_effort[cfg->action[i].joint] = cfg->action[i].scale * (double)c->plan.action[index][i];
        if (!core_explore_planned(c) && index == 0) {
            c->predicted_id = c->step_id + 1;
            memcpy(c->predicted, c->plan.predicted, sizeof c->predicted);
            memcpy(c->predicted_std, c->plan.predicted_std, sizeof c->predicted_std);
            memcpy(c->target_std, c->plan.out_std, sizeof c->target_std);
        }
    }
    return fault;
}
