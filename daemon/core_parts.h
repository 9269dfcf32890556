/* core_parts.h - what the files of the core share, and its tests; nobody else includes it.
 *
 *     core.c          the step itself, modes, stops, operations, command
 *     core_state.c    joint state in: plausibility, observation, pre-arm checks
 *     core_blame.c    what is wrong with a rejected state, for people
 *     core_trial.c    trials, exploration, transitions
 *     core_sensors.c  sensors that stand still
 *     core_effort.c   efforts that are not what was commanded, or cannot be meant
 *     core_plan.c     plan playback, requests to the planner
 *     core_gates.c    the gates: judged, tripped
 *     core_scores.c   what they are calibrated by */
#ifndef DAEMON_CORE_PARTS_H
#define DAEMON_CORE_PARTS_H

#include "daemon/core.h"

/* core.c */
struct notice *core_notice(struct core *c, struct core_output *out, enum notice_kind kind);
void           core_mode(struct core *c, struct core_output *out, enum mode_event e, enum stop_code why);

/* core_state.c */
uint32_t core_estimate(struct core *c, const struct core_input *in);
void     core_prearm(struct core *c, const struct core_input *in);
void     core_step_begins(struct core *c); /* at a boundary, after everything that looks back */
bool     core_slow(const struct core *c);

/* core_sensors.c: after a good state took the place of `before`, or (restart) has nothing before it.  Fault bits. */
void     core_sensors(struct core *c, const struct joint_state *before, bool restart);
uint32_t core_sensors_fault(const struct core *c);

/* core_effort.c: after a good state took the place of `before`; what is about to be sent, gap_s after what was before; after c->sent was.  Fault bits. */
uint32_t core_effort_measured(struct core *c, const struct joint_state *before);
uint32_t core_effort_sending(struct core *c, const double *effort, double gap_s);
void     core_effort_sent(struct core *c, bool torque);

/* core_blame.c: `fault` is why it was rejected. */
void core_blame_state(struct core *c, const struct joint_state *s, uint32_t fault);

/* core_trial.c */
void core_trial_advance(struct core *c, const struct core_input *in, struct core_output *out);
void core_trial_abort(struct core *c, struct core_output *out, const char *reason);
void core_trial_request(struct core *c, struct core_output *out, enum trial_request_kind kind);
void core_explore(struct core *c);

/* Noise on a planned action, while exploration.planned has not faded; within the action's bounds.  True: there was some, so
 * the plan's prediction is of another action. */
bool core_explore_planned(struct core *c);
void core_live_open(struct core *c);

/* core_plan.c */
uint32_t core_playback(struct core *c, const struct core_input *in, struct core_output *out);
void     core_plan_request(struct core *c, struct plan_request *req, bool delayed);

/* core_gates.c */
void core_gates_init(struct core *c);

/* Judges this boundary; index: into the newest plan, -1: none usable.  Sets fault bits. */
void core_gates_judge(struct core *c, const struct core_input *in, int index, uint32_t *fault);

/* Good or off, all of them. */
bool core_gates_ok(const struct core *c);

/* They are: towards promotion, and back from what trips have cost. */
void core_gates_good(struct core *c);

/* One was not while its plan drove: counted, told, demoted; a fault after too many. */
void core_gates_trip(struct core *c, struct core_output *out, uint32_t *fault);

/* A trial begins or is over: its scores are from now on what others are judged by. */
void core_gates_trial(struct core *c);

/* Every tick: whether the filter had to change what was wanted. */
void core_gates_filtered(struct core *c, bool changed);

/* core.c */
void core_baseline_effort(const struct core *c, double *tau);
bool core_baseline_holds(const struct core *c, const double *tau);

/* q within the joint's limits and `slack` beyond them; NaN is not.  A continuous joint has no limits. */
static inline bool core_inside(const struct joint_config *joint, double q, double slack)
{
    return joint->type == JOINT_CONTINUOUS || (q >= joint->position_min - slack && q <= joint->position_max + slack);
}

static inline double core_planner_step_s(const struct core *c)
{
    return c->tick_s * c->config->plan_every;
}

/* The action vector that efforts amount to. */
static inline void core_action_of(const struct core *c, const double *effort, float *a)
{
    for (int i = 0; i < c->config->na; i++)
        a[i] = (float)(effort[c->config->action[i].joint] / c->config->action[i].scale);
}

#endif
