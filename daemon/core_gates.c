/* core_gates.c - the gates that decide whether a plan may move the robot: judged at every planner step, tripped, calibrated. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"

enum {
    TRIPS_FAULT    = 5,
    TRIPS_WINDOW_S = 60, /* a plan that trips whenever it may drive again comes back after 1, 2, 4, 8 s */
    NEED_MAX_S     = 10,
    CALM_S         = 10, /* good for so long: a trip counts half as much */
    UNFIT_S        = 60, /* a second trip against the same model within this: it should go */
    SHADOW_PLANS   = 50, /* planner steps, design: shadow run */
    TRIAL_SCORES_MAX = 1 << 20,
};

static const double RECOVERABLE_SD = 3; /* of how sure the nets are, added to where the plan leads */

const char *gate_name(enum gate g)
{
    static const char *const name[GATE_COUNT] = { "model",    "plan_age", "plan_finite", "shadow",      "spread",
                                                  "residual", "position", "drift",       "recoverable", "baseline",
                                                  "interventions", "limit_dwell", "oscillation", "energy" };
    return name[g];
}

const char *gate_unit(enum gate g)
{
    static const char *const unit[GATE_COUNT] = {
        "",       "planner steps", "",          "plans", "target std", "target std", "share of range", "usual errors",
        "joints", "control ticks", "per second", "s", "per second", "J"
    };
    return unit[g];
}

void core_gates_trial(struct core *c)
{
    for (int k = 0; k < SCORE_KINDS; k++)
        scores_close(&c->scores[k]);
    c->drift       = 0;
    c->trial_trips = 0;
}

/* A file is not believed everything. */
static bool sound(const struct score_sum *s)
{
    return s->n > 0 && s->n <= TRIAL_SCORES_MAX && isfinite(s->worst) && isfinite(s->sum);
}

void core_remember(struct core *c, const struct score_sum score[SCORE_KINDS])
{
    for (int k = 0; k < SCORE_KINDS; k++) {
        if (sound(&score[k]))
            c->scores[k].live = score[k];
        scores_close(&c->scores[k]);
    }
}

void core_gates_init(struct core *c)
{
    const struct robot_config *cfg = c->config;

    c->gate[GATE_PLAN_AGE].threshold      = cfg->gates.plan_age.threshold;
    c->gate[GATE_POSITION].threshold      = cfg->gates.position.threshold;
    c->gate[GATE_POSITION].off            = cfg->gates.position.off;
    c->gate[GATE_DRIFT].threshold         = cfg->gates.drift.threshold;
    c->gate[GATE_RECOVERABLE].off         = cfg->gates.recoverable.off;
    c->gate[GATE_SPREAD].threshold        = cfg->gates.spread.threshold;
    c->gate[GATE_RESIDUAL].threshold      = cfg->gates.residual.threshold;
    c->gate[GATE_BASELINE].threshold      = cfg->gates.baseline.threshold;
    c->gate[GATE_INTERVENTIONS].threshold = cfg->gates.interventions.threshold;
    c->gate[GATE_INTERVENTIONS].off       = cfg->gates.interventions.off;
    c->gate[GATE_LIMIT_DWELL]             = (struct core_gate){ .ok = true, .off = cfg->gates.limit_dwell.off,
                                                                .threshold = cfg->gates.limit_dwell.threshold };
    c->gate[GATE_OSCILLATION]             = (struct core_gate){ .ok = true, .off = cfg->gates.oscillation.off,
                                                                .threshold = cfg->gates.oscillation.threshold };
    c->gate[GATE_ENERGY]                  = (struct core_gate){ .ok = true, .off = cfg->gates.energy.off,
                                                                .threshold = cfg->gates.energy.threshold };
    for (int j = 0; j < cfg->nj; j++)
        c->obs_position[j] = c->obs_velocity[j] = -1;
    for (int i = 0; i < cfg->nx; i++) {
        if (cfg->observation[i].measure == MEASURE_POSITION)
            c->obs_position[cfg->observation[i].joint] = i;
        if (cfg->observation[i].measure == MEASURE_VELOCITY)
            c->obs_velocity[cfg->observation[i].joint] = i;
    }
}

/* ---- judging ---- */

static bool plan_fits(const struct core *c, const float *a)
{
    for (int i = 0; i < c->config->na; i++)
        if (!((double)a[i] >= c->config->action[i].low - 1e-5 && (double)a[i] <= c->config->action[i].high + 1e-5))
            return false;
    return true;
}

/* Root mean square of (x - predicted) / std: how wrong the executed plan's prediction was. */
static double prediction_error(const struct core *c, const float *std)
{
    double sum = 0;

    for (int i = 0; i < c->config->nx; i++) {
        double d = (double)(c->x[i] - c->predicted[i]) / (double)std[i];
        sum += d * d;
    }
    return sqrt(sum / c->config->nx);
}

static bool joint_recoverable(const struct core *c, int j, double q, double v, double slack_q, double slack_v)
{
    const struct filter_limits *lim = &c->limits;

    return filter_can_stop(lim->high[j] - q - slack_q, v + slack_v, lim->brake[j], lim->tick_s) &&
           filter_can_stop(q - slack_q - lim->low[j], -v + slack_v, lim->brake[j], lim->tick_s);
}

/* Joints that could not brake before their limits: now, or where the plan leads at the end of its step by the nets' mean
 * and by as much as they may be wrong.  What is not observed goes on as it is. */
static int unrecoverable(const struct core *c, int index)
{
    double step_s = core_planner_step_s(c);
    int    bad    = 0;

    for (int j = 0; j < c->config->nj; j++) {
        if (c->limits.brake[j] >= (double)INFINITY)
            continue;
        int    iq = index == 0 ? c->obs_position[j] : -1, iv = index == 0 ? c->obs_velocity[j] : -1;
        double q = c->state.position[j], v = c->state.velocity[j];
        double next_v = iv >= 0 ? (double)c->plan.predicted[iv] : v;
        double next_q = iq >= 0 ? (double)c->plan.predicted[iq] : q + step_s * v;

        bad += !joint_recoverable(c, j, q, v, 0, 0) ||
               !joint_recoverable(c, j, next_q, next_v, iq >= 0 ? RECOVERABLE_SD * (double)c->plan.predicted_std[iq] : 0,
                                  iv >= 0 ? RECOVERABLE_SD * (double)c->plan.predicted_std[iv] : 0);
    }
    return bad;
}

/* Ticks that the filter would take from the planned effort to the baseline's, at the joint that is furthest; infinite
 * where the baseline's is not a number or beyond what can be held for good. */
static double to_baseline(const struct core *c, int index)
{
    double tau[MAX_JOINTS], most = 0;

    core_baseline_effort(c, tau);
    if (!core_baseline_holds(c, tau))
        return (double)INFINITY;
    for (int i = 0; index >= 0 && i < c->config->na; i++) {
        const struct action_config *a = &c->config->action[i];
        double ticks = fabs(a->scale * (double)c->plan.action[index][i] - tau[a->joint]) / c->limits.up[a->joint];

        most = ticks <= most ? most : ticks;
    }
    return most;
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

/* A gate that is only counted until there is enough experience, and until it has calibrated itself where it does; what is
 * not a number is held against the model in any case. */
static void calibrated_gate(struct core *c, enum gate g, const struct gate_config *cfg, const struct score_log *log,
                            double value)
{
    c->gate[g].threshold = cfg->calibrated ? scores_threshold(log) : cfg->threshold;
    c->gate[g].off =
        (cfg->off || c->transitions < (uint64_t)c->config->gates.min_transitions || !isfinite(c->gate[g].threshold)) &&
        isfinite(value);
    gate_set(c, g, value <= c->gate[g].threshold, value);
}

static bool tripped(const struct core *c, enum gate g)
{
    return !c->gate[g].ok && !c->gate[g].off;
}

static void model_gates(struct core *c, int index)
{
    const struct robot_config *cfg       = c->config;
    double                     spread    = index >= 0 ? c->plan.spread : 0;
    bool                       predicted = c->predicted_id == c->step_id;
    double                     error     = predicted ? prediction_error(c, c->target_std) : 0;
    double                     surprise  = predicted ? prediction_error(c, c->predicted_std) : 0;
    bool                       driving   = c->mode == MODE_ADVANCED && c->trial_phase == TRIAL_RUNNING;

    calibrated_gate(c, GATE_SPREAD, &cfg->gates.spread, &c->scores[SCORE_SPREAD], spread);
    calibrated_gate(c, GATE_RESIDUAL, &cfg->gates.residual, &c->scores[SCORE_RESIDUAL], error);
    if (predicted)
        c->drift = scores_drift(&c->scores[SCORE_SURPRISE], c->drift, surprise);
    if (driving && index == 0 && isfinite(spread))
        scores_add(&c->scores[SCORE_SPREAD], spread);
    if (driving && predicted && isfinite(error))
        scores_add(&c->scores[SCORE_RESIDUAL], error);
    if (driving && predicted && isfinite(surprise))
        scores_add(&c->scores[SCORE_SURPRISE], surprise);
    c->gate[GATE_DRIFT].off = cfg->gates.drift.off || !(scores_usual(&c->scores[SCORE_SURPRISE]) > 0);
    gate_set(c, GATE_DRIFT, c->drift <= cfg->gates.drift.threshold, c->drift);
}

void core_gates_judge(struct core *c, const struct core_input *in, int index, uint32_t *fault)
{
    const struct robot_config *cfg = c->config;
    double                     age = index >= 0 ? (double)index : (double)INFINITY, ticks = to_baseline(c, index);
    bool                       fits = index >= 0 && plan_fits(c, c->plan.action[index]);
    int                        bad  = unrecoverable(c, index);

    /* An unfit model waits for another to take its place, or for an operator's reset. */
    gate_set(c, GATE_MODEL, in->model_version != 0 && in->model_version != c->unfit_model, (double)in->model_version);
    gate_set(c, GATE_PLAN_AGE, age <= cfg->gates.plan_age.threshold, age);
    gate_set(c, GATE_FINITE, fits, fits);
    shadow_watch(c, in->model_version, index, fits);
    gate_set(c, GATE_SHADOW, c->shadow_plans >= SHADOW_PLANS, c->shadow_plans);
    model_gates(c, index);
    gate_set(c, GATE_POSITION, !c->outside, c->outside);
    gate_set(c, GATE_RECOVERABLE, bad == 0, bad);
    c->gate[GATE_BASELINE].off = cfg->gates.baseline.off && isfinite(ticks);
    gate_set(c, GATE_BASELINE, ticks <= cfg->gates.baseline.threshold, ticks);
    gate_set(c, GATE_INTERVENTIONS, c->interventions <= cfg->gates.interventions.threshold, c->interventions);
    *fault |= (index >= 0 && !fits ? FAULT_PLAN_BAD : 0) | (tripped(c, GATE_SPREAD) ? FAULT_UNCERTAIN : 0) |
              (tripped(c, GATE_RESIDUAL) ? FAULT_MISPREDICTED : 0) | (tripped(c, GATE_DRIFT) ? FAULT_DRIFT : 0) |
              (tripped(c, GATE_RECOVERABLE) ? FAULT_UNRECOVERABLE : 0);
}

void core_gates_filtered(struct core *c, bool changed)
{
    c->interventions = c->mode == MODE_ADVANCED ? c->interventions * (1 - c->tick_s) + changed : 0;
}

bool core_gates_ok(const struct core *c)
{
    for (int g = 0; g < GATE_COUNT; g++)
        if (tripped(c, (enum gate)g))
            return false;
    return true;
}

void core_gates_good(struct core *c)
{
    c->good_s += core_planner_step_s(c);
    c->calm_s += core_planner_step_s(c);
    if (c->calm_s >= CALM_S) {
        c->calm_s = 0;
        c->need_s = c->need_s / 2 > c->config->gates.promote_s ? c->need_s / 2 : c->config->gates.promote_s;
    }
}

/* ---- trips ---- */

/* Trips that speak against the model: the second one within a minute is one too many. */
static void model_trip(struct core *c, struct core_output *out)
{
    uint64_t model = c->plan.model_version;
    bool     again = c->tripped_model == model && c->now_ns - c->model_trip_ns <= UNFIT_S * NS_PER_S;

    c->tripped_model = model;
    c->model_trip_ns = c->now_ns;
    if (!again || c->unfit_model == model)
        return;
    c->unfit_model   = model;
    struct notice *n = core_notice(c, out, NOTICE_UNFIT);
    n->model         = model;
    n->trial         = c->trial;
    n->step          = c->step;
}

void core_gates_trip(struct core *c, struct core_output *out, uint32_t *fault)
{
    double most_s = c->config->gates.promote_s > NEED_MAX_S ? c->config->gates.promote_s : NEED_MAX_S;
    bool   others = *fault & FAULT_PLAN_BAD;

    for (int g = 0; g < GATE_COUNT; g++)
        others |= g != GATE_SHADOW && tripped(c, (enum gate)g);
    if (tripped(c, GATE_SHADOW) && !others) { /* another model, which has to be watched first: nothing went wrong */
        core_mode(c, out, EVENT_DEMOTE, STOP_NONE);
        return;
    }
    for (int g = 0; g < GATE_COUNT; g++) {
        if (!tripped(c, (enum gate)g))
            continue;
        c->gate[g].trips++;
        struct notice *n = core_notice(c, out, NOTICE_GATE);
        n->gate          = (enum gate)g;
        n->trial         = c->trial;
        n->step          = c->step;
    }
    if (*fault & FAULT_PLAN_BAD || tripped(c, GATE_SPREAD) || tripped(c, GATE_RESIDUAL) || tripped(c, GATE_DRIFT))
        model_trip(c, out);
    c->trial_trips++;
    c->drift  = 0;
    c->calm_s = 0;
    c->need_s = c->need_s * 2 < most_s ? c->need_s * 2 : most_s;
    core_mode(c, out, EVENT_DEMOTE, STOP_NONE);
    if (c->trips == TRIPS_FAULT)
        memmove(c->trip_ns, c->trip_ns + 1, sizeof c->trip_ns - sizeof c->trip_ns[0]);
    else
        c->trips++;
    c->trip_ns[c->trips - 1] = c->now_ns;
    if (c->trips == TRIPS_FAULT && c->now_ns - c->trip_ns[0] <= TRIPS_WINDOW_S * NS_PER_S)
        *fault |= FAULT_GATES;
}
