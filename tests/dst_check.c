/* dst_check.c - the invariants of safety.md 3.7 and the bounds of its 2, judged from outside: by ghosts that are kept from
 * what the world did, not from what the code under test says about itself. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "tests/dst_world.h"

void violated(struct world *w, const char *format, ...)
{
    if (w->r->violations++ == 0) {
        int     n = snprintf(w->r->first, sizeof w->r->first, "tick %llu, %s: ", (unsigned long long)w->tick,
                             mode_name(w->core.mode));
        va_list args;
        va_start(args, format);
        vsnprintf(w->r->first + n, sizeof w->r->first - (size_t)n, format, args);
        va_end(args);
        w->r->first_tick = w->tick;
    }
}

/* What any state must be to be believed; the jumps that are put in lead beyond 500. */
static bool plausible(const struct world *w, const struct joint_state *s)
{
    for (int j = 0; j < 2; j++) {
        const struct joint_config *joint = &w->o->config->joint[j];

        if (!isfinite(s->position[j]) || !isfinite(s->velocity[j]) || fabs(s->velocity[j]) > joint->velocity)
            return false;
    }
    return fabs(s->position[1]) < 500;
}

static void watch_states(struct world *w)
{
    const struct joint_state *s = &w->state, *before = &w->g_before;

    if (!w->state_new)
        return;
    bool good       = plausible(w, s);
    w->g_bad_states = good ? 0 : w->g_bad_states + 1;
    if (!good)
        return;
    w->g_last_good = w->tick;
    bool follows   = before->session == s->session && before->ready_count == s->ready_count;
    for (int j = 0; j < 2; j++) {
        bool still = follows && s->position[j] == before->position[j] &&
                     fabs(s->velocity[j]) > 0.011 * w->o->config->joint[j].velocity;
        w->g_still[j] = still ? w->g_still[j] + 1 : 0;
    }
    w->g_before = *s;
}

enum {
    HEALTHY_TICKS = 2000, /* of flight, before it can be known what is usual */
};

static bool bad_plan(const struct plan *p)
{
    return !(fabsf(p->action[0][0]) <= 3.1f) || !isfinite(p->spread);
}

/* Does this state say that the motor gave something else than the newest command, which was in force (F7)? */
static void watch_motor(struct world *w)
{
    const struct joint_command *c     = &w->out.command;
    double                      error = w->o->config->joint[0].effort_error;

    if (c->mode != COMMAND_TORQUE || !(error > 0))
        w->g_weak = 0;
    else if (w->state.session == c->session && w->state.applied_command_seq == c->seq)
        w->g_weak = fabs(w->state.effort[0] - c->torque[0]) > error ? w->g_weak + 1 : 0;
    else if (w->state.applied_command_seq)
        w->g_weak = 0; /* an older one: not known here */
}

static int sum(const int *of_ten)
{
    int n = 0;

    for (int i = 0; i < 10; i++)
        n += of_ten[i];
    return n;
}

/* Of the last good states, those that followed a tick in which the robot side clipped what was in force. */
static void watch_limits(struct world *w, bool good)
{
    if (w->out.command.mode != COMMAND_TORQUE)
        memset(w->g_clamped, 0, sizeof w->g_clamped);
    if (!good)
        return;
    memmove(w->g_clamped + 1, w->g_clamped, sizeof w->g_clamped - sizeof w->g_clamped[0]);
    w->g_clamped[0] = w->g_clamps;
    w->g_clamps     = false;
}

/* F2 and F10: damaged messages, and a robot side that changes what it is told. */
static void check_link(struct world *w)
{
    uint64_t told = w->core.count_fault[__builtin_ctz(FAULT_ROBOT_CLAMPED)];

    if (sum(w->g_states) >= 3 && w->g_states[0] && mode_armed(w->core.mode))
        violated(w, "armed after %d damaged messages of ten (F2)", sum(w->g_states));
    if (sum(w->g_clamped) >= 3 && mode_armed(w->core.mode))
        violated(w, "armed after %d states of ten that say that the robot side clipped (F10)", sum(w->g_clamped));
    if (told > w->g_told_clamped && !(w->o->faults.robot_clamps > 0))
        violated(w, "a robot side that keeps the same limits was said to clip (F10)");
    w->g_told_clamped = told;
}

void check_input(struct world *w, const struct core_input *in)
{
    bool good = w->state_new && plausible(w, &w->state);

    watch_states(w);
    watch_limits(w, good);
    if (good)
        watch_motor(w);
    if (in->plan && bad_plan(in->plan))
        w->g_bad_plan += good;
    else
        w->g_bad_plan = 0;
    memmove(w->g_late, w->g_late + 1, sizeof w->g_late - sizeof w->g_late[0]);
    w->g_late[99] = w->g_gap > 1;
    w->g_healthy += !w->plant.changed && w->core.mode == MODE_ADVANCED;
    if (w->plant.changed && w->core.mode == MODE_ADVANCED && w->g_healthy >= HEALTHY_TICKS)
        w->g_heavy_tick += good;
    else
        w->g_heavy_tick = w->g_heavy_before = 0;
}

/* Faults by their bounds, in ticks of this core. */
static void check_reactions(struct world *w)
{
    const struct robot_config *cfg   = w->o->config;
    enum mode                  m     = w->core.mode;
    int                        still = w->g_still[0] > w->g_still[1] ? w->g_still[0] : w->g_still[1];
    uint64_t                   late  = 0;

    for (int i = 0; i < 100; i++)
        late += w->g_late[i];
    if (w->refused && mode_armed(m))
        violated(w, "armed although a system call was refused");
    if (w->g_bad_states >= 1 && m == MODE_ADVANCED)
        violated(w, "a plan drives on an implausible state (S4, S5)");
    if (w->g_bad_states >= 3 && mode_armed(m))
        violated(w, "armed after %d implausible states in a row (S4, S5)", w->g_bad_states);
    if (still >= 10 && (m == MODE_ADVANCED || m == MODE_EXPLORE))
        violated(w, "a plan drives on a sensor that has stood still for %d states (S8)", still);
    if (still >= 50 && mode_armed(m))
        violated(w, "armed on a sensor that has stood still for %d states (S8)", still);
    if (w->g_bad_plan >= cfg->plan_every && m == MODE_ADVANCED)
        violated(w, "a bad plan drives (M3)");
    if (m == MODE_ADVANCED && w->tick - w->g_plan_tick > 4 * (uint64_t)cfg->plan_every && w->state_new)
        violated(w, "a plan drives %llu ticks after it came (M1)", (unsigned long long)(w->tick - w->g_plan_tick));
    if (m == MODE_ADVANCED && w->model == w->g_unfit)
        violated(w, "a model drives that was called unfit (M4)");
    if ((double)w->g_gap / cfg->control_hz > cfg->timeouts.state_stale_s * 1.001 && mode_armed(w->g_mode) &&
        mode_armed(m))
        violated(w, "armed after %llu ticks that did not happen (M2)", (unsigned long long)w->g_gap);
    if (cfg->hardware == HARDWARE_REAL && late >= 3 && m == MODE_ADVANCED)
        violated(w, "a plan drives with %llu late ticks of a hundred (M2)", (unsigned long long)late);
}

/* What commands did to the cart by what was measured: e times the gate's threshold within a second is more than its sum that
 * fades over about one lets pass (F9). */
static void check_work(struct world *w, bool torque)
{
    const struct robot_config *cfg  = w->o->config;
    uint64_t                   gap  = w->g_work[0].ns ? w->now_ns - w->g_work[0].ns : 0;
    double                     done = fmax(0, w->g_command * w->core.state.velocity[0]) * (double)gap * 1e-9, sum = done;

    for (int i = 0; i < DST_WORKS && w->now_ns - w->g_work[i].ns < NS_PER_S; i++)
        sum += w->g_work[i].joule;
    if (mode_armed(w->core.mode) && !cfg->gates.energy.off && sum > 2.8 * cfg->gates.energy.threshold)
        violated(w, "armed after %.4g J within a second (F9)", sum);
    memmove(w->g_work + 1, w->g_work, sizeof w->g_work - sizeof w->g_work[0]);
    w->g_work[0].ns    = w->now_ns;
    w->g_work[0].joule = done;
    w->g_command       = torque ? w->out.command.torque[0] : 0;
    if (!torque)
        memset(w->g_work, 0, sizeof w->g_work);
}

/* What is commanded: for how long at one end of the limit, and how often to and fro (F9). */
static void check_watch(struct world *w, bool torque)
{
    const struct robot_config *cfg = w->o->config;
    double                     tau = torque ? w->out.command.torque[0] : 0, limit = cfg->joint[0].effort;
    int                        end = tau >= 0.99 * limit ? 1 : tau <= -0.99 * limit ? -1 : 0, side = tau > 0 ? 1 : -1;

    if (mode_armed(w->core.mode) && w->g_end && !cfg->gates.limit_dwell.off &&
        (double)(w->now_ns - w->g_end_ns) * 1e-9 > cfg->gates.limit_dwell.threshold + 1e-6)
        violated(w, "armed after %.2f s at the limit (F9)", (double)(w->now_ns - w->g_end_ns) * 1e-9);
    if (end != w->g_end)
        w->g_end_ns = w->now_ns;
    w->g_end = end;
    if (!torque || w->core.mode == MODE_EXPLORE) {
        memset(w->g_reversal_ns, 0, sizeof w->g_reversal_ns);
        w->g_side = torque ? w->g_side : 0;
    }
    if (!(fabs(tau) >= limit / 2))
        return;
    if (w->g_side * side < 0 && w->core.mode != MODE_EXPLORE) {
        memmove(w->g_reversal_ns + 1, w->g_reversal_ns, sizeof w->g_reversal_ns - sizeof w->g_reversal_ns[0]);
        w->g_reversal_ns[0] = w->now_ns;
        if (!cfg->gates.oscillation.off && w->now_ns - w->g_reversal_ns[DST_REVERSALS - 1] <= NS_PER_S)
            violated(w, "commanded to and fro %d times within a second (F9)", DST_REVERSALS);
    }
    w->g_side = side;
}

/* Counters never fall, and every change of mode is told (I11). */
static void check_told(struct world *w, enum mode before)
{
    uint64_t sum  = 0;
    int      told = 0;

    for (int i = 0; i < FAULT_COUNT; i++)
        sum += w->core.count_fault[i];
    for (int k = 0; k < FILTER_STAGES; k++)
        sum += w->core.count_filter[k];
    if (sum < w->g_counts)
        violated(w, "a counter fell (I11)");
    w->g_counts = sum;
    for (int i = 0; i < w->out.nnotice; i++)
        told += w->out.notice[i].kind == NOTICE_MODE;
    if (w->core.mode != before && !told)
        violated(w, "a change of mode was not told (I11)");
}

static void check_effort(struct world *w, int j, double effort)
{
    const struct joint_config *joint = &w->o->config->joint[j];
    double                     rate  = joint->effort_rate / w->o->config->control_hz;

    if (!isfinite(effort) || !(fabs(effort) <= joint->effort))
        violated(w, "effort %g beyond %g (I8)", effort, joint->effort);
    if (!(fabs(effort - (w->g_last_torque ? w->g_last_effort[j] : 0)) <= rate * (1 + 1e-12)))
        violated(w, "effort step beyond %g (I8)", rate);
    w->g_last_effort[j] = effort;
    w->r->effort_max    = fabs(effort) > w->r->effort_max ? fabs(effort) : w->r->effort_max;
}

/* The motor, as its data sheet has it: whatever was wanted, it gets no hotter than its continuous effort makes it. */
static void check_heat(struct world *w, int j, double effort)
{
    const struct joint_config *joint = &w->o->config->joint[j];

    if (!(joint->heat_s > 0))
        return;
    double end = effort / joint->effort_continuous * effort / joint->effort_continuous;
    w->g_heat[j] += (end - w->g_heat[j]) * (1 - exp(-1 / (joint->heat_s * w->o->config->control_hz)));
    if (!(w->g_heat[j] <= 1 + 1e-9))
        violated(w, "motor heated to %g (I8)", w->g_heat[j]);
}

/* A plan that drives on a changed plant: has a gate tripped in this tick, or does it go on? */
static void check_noticed(struct world *w)
{
    uint64_t n       = w->g_heavy_tick;
    bool     tripped = false;

    for (int i = 0; i < w->out.nnotice; i++)
        tripped |= w->out.notice[i].kind == NOTICE_GATE;
    if (n < 1 || n > DST_NOTICED || n == w->g_heavy_before)
        return;
    w->g_heavy_before = n;
    w->r->noticed[n] += tripped;
    w->r->unnoticed[n] += !tripped && w->core.mode == MODE_ADVANCED;
}

void check_command(struct world *w, const struct core_input *in)
{
    const struct joint_command *c      = &w->out.command;
    bool                        torque = w->out.has_command && c->mode == COMMAND_TORQUE;

    if (in->op.kind == OP_ARM && w->core.mode == MODE_BASELINE && !w->g_armed)
        w->g_armed = true; /* the operator armed, and the core took it */
    if (w->core.trial_phase == TRIAL_RUNNING && w->reset_wanted)
        violated(w, "a trial runs before its reset is done");
    if (mode_armed(w->core.mode) && !w->g_armed)
        violated(w, "armed without an operator (I5, I9)");
    if (torque && !w->g_armed)
        violated(w, "torque without an operator (I5)");
    if (mode_armed(w->core.mode) && w->tick - w->g_last_good >= 3)
        violated(w, "armed on a state %llu ticks old (I4)", (unsigned long long)(w->tick - w->g_last_good));
    if (torque && w->state_new && w->state.estop)
        violated(w, "torque with the e-stop pressed (I1)");
    if (torque && w->state_new && w->state.faults)
        violated(w, "torque with a robot fault (I2)");
    if (torque && w->refused)
        violated(w, "torque although a system call was refused");
    const uint32_t trouble = FAULT_STATE_STALE | FAULT_STATE_REJECTED | FAULT_STALL | FAULT_POSITION | FAULT_TRACK_ERROR;
    w->g_trouble = (mode_armed(w->g_mode) || w->g_mode == MODE_STOPPING) && w->core.mode == MODE_STOPPING &&
                   (w->g_trouble || w->out.record.faults & trouble);
    if (torque && w->g_trouble)
        violated(w, "a ramp goes on after trouble (%s)", core_stop_text(w->core.stop).name);
    for (int j = 0; torque && j < 2; j++)
        check_effort(w, j, c->torque[j]);
    if (w->g_weak >= 10 && mode_armed(w->core.mode))
        violated(w, "armed after %d states with another effort than commanded (F7)", w->g_weak);
    check_watch(w, torque);
    check_work(w, torque);
    for (int j = 0; j < 2; j++)
        check_heat(w, j, torque ? c->torque[j] : 0);
    check_link(w);
    check_reactions(w);
    check_told(w, w->g_mode);
    w->g_mode        = w->core.mode;
    w->g_last_torque = torque;
    if (!mode_armed(w->core.mode) && w->core.mode != MODE_STOPPING)
        w->g_armed = false;
    if (torque && w->o->silent_from && w->tick >= w->o->silent_from)
        w->r->silent_to_damp = w->tick - w->o->silent_from + 1;
    check_noticed(w);
}

void check_motor(struct world *w, const double *tau)
{
    if (!isfinite(tau[0]) || !(fabs(tau[0]) <= 300) || tau[1] != 0)
        violated(w, "the motor got %g, %g", tau[0], tau[1]);
    if (sum(w->g_commands) >= 3 && tau[0] * w->plant.v[0] > 0)
        violated(w, "the motor is driven after %d damaged messages of ten (F2)", sum(w->g_commands));
    if (w->estop && tau[0] != 0)
        violated(w, "the motor was driven with the e-stop pressed");
    if (w->tick - w->g_command_tick > 3 && tau[0] * w->plant.v[0] > 0)
        violated(w, "the motor is driven %llu ticks after the last new command (I3, I12)",
                 (unsigned long long)(w->tick - w->g_command_tick));
}

/* What drives the motor grows by its rate for the time that passes and one command timeout, over every stretch of ticks,
 * and does not drive a joint on at its velocity limit. */
void check_growth(struct world *w, double tau)
{
    const struct joint_config *joint = &w->o->config->joint[0];
    double up     = joint->effort_rate * 1e-9 * (double)w->tick_ns, ticks = 0.12e9 / (double)w->tick_ns, sum = 0;
    double driven = w->receiver.mode == RECEIVER_LIVE ? tau : 0;
    double from   = driven * w->g_motor > 0 ? fabs(w->g_motor) : 0;

    memmove(w->g_grown + 1, w->g_grown, sizeof w->g_grown - sizeof w->g_grown[0]);
    w->g_grown[0] = fabs(driven) > from ? fabs(driven) - from : 0;
    w->g_motor    = driven;
    for (int k = 0; k < GROWTHS; k++)
        if (!((sum += w->g_grown[k]) <= 1.0011 * up * (k + ticks)))
            violated(w, "the motor's effort grew by %g in %d ticks (I8)", sum, k + 1);
    if (fabs(w->plant.v[0]) >= joint->velocity && driven * w->plant.v[0] > 0)
        violated(w, "the motor is driven on at %g, beyond %g", w->plant.v[0], joint->velocity);
}

/* A finished trial has all its steps, or the last of them left a bound of the task and none before did. */
void check_end(struct world *w, const struct notice *n)
{
    const struct task *t = &w->o->config->task;

    w->r->trials++;
    if (!n->ok)
        return;
    w->r->steps += n->step;
    w->r->ended += n->ended > 0;
    if (n->step < 1)
        violated(w, "a trial finished before its first step");
    if (!n->ended && (int)n->step < w->o->config->trials.steps) /* more where the last state was lost */
        violated(w, "a trial finished after %u steps", n->step);
    if (n->ended && (n->ended > t->nend ||
                     ((double)n->value >= t->end[n->ended - 1].low && (double)n->value <= t->end[n->ended - 1].high)))
        violated(w, "a trial ended by %g, which is inside", (double)n->value);
}
