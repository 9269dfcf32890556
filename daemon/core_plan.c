/* core_plan.c - playing the plan back, and the gates that decide whether it may move the robot. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"

enum {
    TRIPS_FAULT    = 5,
    TRIPS_WINDOW_S = 10,
    NEED_MAX_S     = 10,
    SHADOW_PLANS   = 50, /* planner steps, design: shadow run */
};

const char *gate_name(enum gate g)
{
    static const char *const name[GATE_COUNT] = { "model",  "plan_age", "plan_finite", "shadow",
                                                  "spread", "residual", "position" };
    return name[g];
}

const char *gate_unit(enum gate g)
{
    static const char *const unit[GATE_COUNT] = {
        "", "planner steps", "", "plans", "target std", "target std", "share of range"
    };
    return unit[g];
}

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

static bool plan_fits(const struct core *c, const float *a)
{
    for (int i = 0; i < c->config->na; i++)
        if (!((double)a[i] >= c->config->action[i].low - 1e-5 && (double)a[i] <= c->config->action[i].high + 1e-5))
            return false;
    return true;
}

/* Root mean square of (x - predicted) / std: how wrong the executed plan's prediction was. */
static double residual(const struct core *c)
{
    double sum = 0;

    for (int i = 0; i < c->config->nx; i++) {
        double d = (double)(c->x[i] - c->predicted[i]) / (double)c->predicted_std[i];
        sum += d * d;
    }
    return sqrt(sum / c->config->nx);
}

static void gate_set(struct core *c, enum gate g, bool ok, double value)
{
    c->gate[g].ok    = ok;
    c->gate[g].value = value;
}

/* A new model plans in the shadow of the baseline first: every plan must be finite and fit, or it starts again. */
static void shadow_watch(struct core *c, uint64_t model, int index, bool fits)
{
    if (c->shadow_model != model) {
        c->shadow_model = model;
        c->shadow_plans = 0;
    }
    if (index >= 0 && !fits)
        c->shadow_plans = 0;
    else if (index >= 0 && c->plan.model_version == model && c->shadow_plans < SHADOW_PLANS)
        c->shadow_plans++;
}

/* Judges this boundary.  Calibrated gates only count until there is enough experience. */
static void gates_judge(struct core *c, const struct core_input *in, int index, uint32_t *fault)
{
    const struct robot_config *cfg        = c->config;
    bool                       calibrated = c->transitions >= (uint64_t)cfg->gates.min_transitions;
    double                     age        = index >= 0 ? (double)index : (double)INFINITY;
    double                     spread     = index >= 0 ? c->plan.spread : 0;
    double                     error      = c->predicted_id == c->step_id ? residual(c) : 0;
    bool                       fits       = index >= 0 && plan_fits(c, c->plan.action[index]);

    gate_set(c, GATE_MODEL, in->model_version != 0, (double)in->model_version);
    gate_set(c, GATE_PLAN_AGE, age <= cfg->gates.plan_age.threshold, age);
    gate_set(c, GATE_FINITE, fits, fits);
    shadow_watch(c, in->model_version, index, fits);
    gate_set(c, GATE_SHADOW, c->shadow_plans >= SHADOW_PLANS, c->shadow_plans);
    gate_set(c, GATE_SPREAD, spread <= cfg->gates.spread.threshold, spread);
    gate_set(c, GATE_RESIDUAL, error <= cfg->gates.residual.threshold, error);
    gate_set(c, GATE_POSITION, !c->outside, c->outside);
    c->gate[GATE_SPREAD].off   = cfg->gates.spread.off || !calibrated;
    c->gate[GATE_RESIDUAL].off = cfg->gates.residual.off || !calibrated;
    if (index >= 0 && !fits)
        *fault |= FAULT_PLAN_BAD;
}

/* Counts trips (an edge while in ADVANCED), demotes, and faults after too many. */
static void gates_trip(struct core *c, struct core_output *out, uint32_t *fault)
{
    for (int g = 0; g < GATE_COUNT; g++) {
        if (c->gate[g].ok || c->gate[g].off)
            continue;
        c->gate[g].trips++;
        struct notice *n = core_notice(c, out, NOTICE_GATE);
        n->gate          = (enum gate)g;
        n->trial         = c->trial;
        n->step          = c->step;
    }
    c->need_s = c->need_s * 2 < NEED_MAX_S ? c->need_s * 2 : NEED_MAX_S;
    core_mode(c, out, EVENT_DEMOTE, STOP_NONE);
    if (c->trips == TRIPS_FAULT)
        memmove(c->trip_ns, c->trip_ns + 1, sizeof c->trip_ns - sizeof c->trip_ns[0]);
    else
        c->trips++;
    c->trip_ns[c->trips - 1] = c->now_ns;
    if (c->trips == TRIPS_FAULT && c->now_ns - c->trip_ns[0] <= TRIPS_WINDOW_S * NS_PER_S)
        *fault |= FAULT_GATES;
}

static bool gates_ok(const struct core *c)
{
    for (int g = 0; g < GATE_COUNT; g++)
        if (!c->gate[g].ok && !c->gate[g].off)
            return false;
    return true;
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
    gates_judge(c, in, index, &fault);
    c->predicted_id = 0;
    if (c->mode == MODE_ADVANCED && index != 0) {
        fault |= FAULT_PLAN_LATE;
        c->count_plan_late++;
    }
    if (!gates_ok(c)) {
        c->good_s = 0;
        if (c->mode == MODE_ADVANCED)
            gates_trip(c, out, &fault);
        return fault;
    }
    c->good_s += core_planner_step_s(c);
    if (c->mode == MODE_BASELINE && c->trial_phase == TRIAL_RUNNING && c->trial_kind == TRIAL_PLANNED &&
        c->good_s >= c->need_s)
        core_mode(c, out, EVENT_PROMOTE, STOP_NONE);
    if (c->mode == MODE_ADVANCED) {
        for (int i = 0; i < cfg->na; i++)
            c->action_effort[cfg->action[i].joint] = cfg->action[i].scale * (double)c->plan.action[index][i];
        if (!core_explore_planned(c) && index == 0) {
            c->predicted_id = c->step_id + 1;
            memcpy(c->predicted, c->plan.predicted, sizeof c->predicted);
            memcpy(c->predicted_std, c->plan.out_std, sizeof c->predicted_std);
        }
    }
    return fault;
}
