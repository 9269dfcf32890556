/* core_trial.c - trials: IDLE -> RESETTING -> READY -> RUNNING (N planner steps, or until the task ends) -> IDLE;
 * exploration; and the transitions a trial leaves behind. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core_parts.h"

void core_trial_request(struct core *c, struct core_output *out, enum trial_request_kind kind)
{
    out->has_trial_request = true;
    out->trial_request     = (struct trial_request){
            .session = c->session, .trial = c->trial, .kind = kind, .seed = rng_derive(c->trial_seed, 0x7e5e7, c->trial)
    };
}

/* reason: why it was aborted, NULL: it is finished. */
static struct notice *trial_end(struct core *c, struct core_output *out, const char *reason)
{
    struct notice *n = core_notice(c, out, NOTICE_TRIAL_END);

    n->ok         = reason == NULL;
    n->trial      = c->trial;
    n->step       = c->step;
    n->trial_kind = c->trial_kind;
    n->trips      = c->trial_trips;
    for (int k = 0; k < SCORE_KINDS; k++)
        n->score[k] = c->scores[k].live;
    snprintf(n->text, sizeof n->text, "%s", reason ? reason : "");
    core_trial_request(c, out, TRIAL_END);
    c->trial_phase = TRIAL_IDLE;
    c->live.open   = false;
    if (c->mode == MODE_ADVANCED || c->mode == MODE_EXPLORE)
        core_mode(c, out, EVENT_DEMOTE, STOP_NONE);
    return n;
}

/* After all its steps, or where the last one left the bounds of the task. */
static void trial_finish(struct core *c, struct core_output *out)
{
    int end = task_ended(c->end, c->nend, c->x);

    if (end < 0 && c->step < (uint32_t)c->trial_steps)
        return;
    struct notice *n = trial_end(c, out, NULL);
    n->ended         = end + 1;
    n->value         = end >= 0 ? c->x[c->end[end].obs] : 0;
}

void core_trial_abort(struct core *c, struct core_output *out, const char *reason)
{
    if (c->trial_phase != TRIAL_IDLE)
        trial_end(c, out, reason);
}

/* A transition may start here: the state of this boundary is good and belongs to the running trial. */
void core_live_open(struct core *c)
{
    c->live.open       = c->trial_phase == TRIAL_RUNNING;
    c->live.held       = true;
    c->live.any        = false;
    c->live.phase      = c->phase;
    c->live.model      = c->mode == MODE_ADVANCED ? c->plan.model_version : 0;
    c->live.seed       = c->mode == MODE_ADVANCED ? c->plan.seed : c->trial_seed;
    c->live.iterations = c->mode == MODE_ADVANCED ? c->plan.iterations : 0;
    memcpy(c->live.x, c->x, sizeof c->live.x);
}

/* One command must hold throughout: every state of the step says so, answers the command that answered the state
 * before it, and reports the same effort.  With pace timer the two clocks differ and only the effort can be compared. */
static void live_follow(struct core *c, uint64_t answered_seq)
{
    const struct joint_state *s    = &c->state;
    bool                      same = s->applied_held && s->applied_command_seq != 0;

    if (c->config->pace == PACE_STATE)
        same = same && s->applied_command_seq == answered_seq;
    for (int j = 0; j < c->config->nj && same && c->live.any; j++)
        same = fabs(s->applied_effort[j] - c->live.effort[j]) <= 1e-9 + 1e-6 * c->config->joint[j].effort;
    if (!c->live.any)
        memcpy(c->live.effort, s->applied_effort, sizeof c->live.effort);
    c->live.any  = true;
    c->live.held = c->live.held && same;
}

static void live_close(struct core *c, struct core_output *out)
{
    if (!c->live.open || !c->live.held || c->phase != c->live.phase + (uint64_t)c->config->plan_every)
        return;
    struct transition *t = &out->transition;

    out->has_transition = true;
    t->trial            = c->trial;
    t->step             = c->step - 1;
    t->model_version    = c->live.model;
    t->seed             = c->live.seed;
    t->iterations       = c->live.iterations;
    memcpy(t->x, c->live.x, sizeof t->x);
    memcpy(t->y, c->x, sizeof t->y);
    core_action_of(c, c->live.effort, t->a);
    c->transitions++;
}

/* The first good state after READY: step 0. */
static void trial_begin(struct core *c, struct core_output *out)
{
    struct notice *n = core_notice(c, out, NOTICE_TRIAL_BEGIN);

    c->trial_phase     = TRIAL_RUNNING;
    c->step            = 0;
    c->phase_origin    = c->config->pace == PACE_STATE ? c->state.seq : c->tick;
    c->phase           = 0;
    c->phase_step      = 0;
    c->boundary        = true;
    c->reset_planner   = true;
    c->have_plan       = false;
    c->predicted_id    = 0;
    c->step_id++;
    c->plan_from_id = c->step_id + (uint64_t)c->delay;
    c->live.open    = false;
    core_gates_trial(c);
    memset(c->explore, 0, sizeof c->explore);
    memcpy(c->hold, c->state.position, sizeof c->hold);
    n->trial      = c->trial;
    n->trial_kind = c->trial_kind;
    if (c->trial_kind == TRIAL_RANDOM)
        core_mode(c, out, EVENT_EXPLORE, STOP_NONE);
}

/* READY was said for this trial, and after it was asked for: an earlier attempt had the same number. */
static bool announced(const struct core *c)
{
    return c->state.ready_trial == (int64_t)c->trial && c->state.ready_count != c->ready_before;
}

/* Where in the planner step are we?  Then the trial's own progress. */
void core_trial_advance(struct core *c, const struct core_input *in, struct core_output *out)
{
    c->boundary = false;
    if (c->trial_phase != TRIAL_IDLE && !mode_armed(c->mode)) {
        core_trial_abort(c, out, core_stop_text(c->stop).cause);
        return;
    }
    if (c->trial_phase != TRIAL_IDLE && in->aborted_trial == (int64_t)c->trial)
        core_trial_abort(c, out, "the robot side aborted it");
    if (c->trial_phase == TRIAL_RESETTING) {
        if ((double)(c->now_ns - c->trial_ns) * 1e-9 > c->config->timeouts.reset_s)
            core_trial_abort(c, out, "the robot side did not reach its start pose in time");
        else if (c->good && (c->operator_ready || announced(c))) {
            trial_begin(c, out);
            return;
        }
    }
    if (!c->good)
        return;
    c->phase = (c->config->pace == PACE_STATE ? c->state.seq : c->tick) - c->phase_origin;
    if (c->live.open)
        live_follow(c, c->answered_seq);
    uint64_t step = c->phase / (uint64_t)c->config->plan_every;
    if (step == c->phase_step && c->step_id)
        return;
    c->boundary   = true;
    c->step_id   += step - c->phase_step ? step - c->phase_step : 1;
    c->phase_step = step;
    if (c->trial_phase == TRIAL_RUNNING) {
        c->step = (uint32_t)step;
        live_close(c, out);
        trial_finish(c, out);
    }
}

/* c->explore goes on: uniform through a first-order low-pass; bounded by amplitude, seeded by trial and step. */
static void explore_on(struct core *c, double amplitude, double keep)
{
    struct rng r;

    rng_seed(&r, rng_derive(c->trial_seed, c->trial, c->step));
    for (int i = 0; i < c->config->na; i++)
        c->explore[i] = keep * c->explore[i] + (1 - keep) * amplitude * (2 * rng_uniform(&r) - 1);
}

void core_explore(struct core *c)
{
    const struct robot_config *cfg = c->config;

    explore_on(c, cfg->exploration.amplitude,
               cfg->exploration.kind == EXPLORE_SMOOTH ? cfg->exploration.smoothness : 0);
    for (int i = 0; i < cfg->na; i++) {
        const struct action_config *a = &cfg->action[i];

        c->action_effort[a->joint] = a->scale * ((a->low + a->high) / 2 + c->explore[i] * (a->high - a->low) / 2);
    }
}

bool core_explore_planned(struct core *c)
{
    const struct robot_config *cfg  = c->config;
    double                     left = 1 - ((double)c->trial - 1) / cfg->exploration.planned_trials;

    if (!(cfg->exploration.planned > 0) || left <= 0 || !cfg->aggregate)
        return false;
    explore_on(c, cfg->exploration.planned * left, cfg->exploration.planned_smoothness);
    for (int i = 0; i < cfg->na; i++) {
        const struct action_config *a = &cfg->action[i];
        double act                    = c->action_effort[a->joint] / a->scale + c->explore[i] * (a->high - a->low) / 2;

        act                        = act < a->low ? a->low : act > a->high ? a->high : act;
        c->action_effort[a->joint] = a->scale * act;
    }
    return true;
}
