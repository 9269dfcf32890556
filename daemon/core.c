/* core.c - the step itself; modes, stops, operations, the command. */
#include "daemon/core.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"

enum { LATE_MAX = 3,                   /* of a hundred ticks                              */
       TELL_S   = 10 };                /* between two notices of the same fault bit       */
static const double LATE_TICKS    = 1.5;  /* between the beginnings of two: the second is late */
static const double POSTURE_SPEED = 0.05; /* of the velocity limit                         */

struct stop_text core_stop_text(enum stop_code c)
{
    static const struct stop_text text[STOP_CODES] = {
        [STOP_NONE]           = { "none", "nothing stopped the robot", "" },
        [STOP_OPERATOR]       = { "operator", "the operator stopped the robot", "limber reset, then arm again" },
        [STOP_DISARM]         = { "disarm", "the operator disarmed the robot", "arm again when ready" },
        [STOP_SHUTDOWN]       = { "shutdown", "the daemon is ending", "start it again" },
        [STOP_STATE_STALE]    = { "state_stale", "no good joint state came in time",
                                  "look at the robot side and its link (limber status, link), then limber reset" },
        [STOP_STATE_REJECTED] = { "state_rejected", "three joint states in a row were not finite or not possible",
                                  "look at sensors and velocity limits (limber status, link.rejected), then limber reset" },
        [STOP_POSITION]       = { "position_limit", "a joint went beyond its position limit and margin",
                                  "move it back by hand or widen the limit in robot.yaml, then limber reset" },
        [STOP_ESTOP]          = { "estop", "the emergency stop is pressed", "release it when it is safe, then limber reset" },
        [STOP_ROBOT_FAULT]    = { "robot_fault", "the robot side reports a fault",
                                  "look at the robot side's log, clear the fault there, then limber reset" },
        [STOP_SESSION]        = { "session", "the robot side restarted while armed",
                                  "find out why it restarted, then limber reset and arm again" },
        [STOP_EFFORT]         = { "effort", "the baseline controller's effort was not a number",
                                  "check gains and joint states; report this, it should not happen" },
        [STOP_GATES]          = { "gates", "five gate trips within a minute",
                                  "the model does not fit the robot: look at limber status, gates; retrain, then limber reset" },
        [STOP_STALL]          = { "host_stall", "this machine did not run the control thread for too long",
                                  "look at the machine's load and limber doctor, then limber reset" },
        [STOP_SYSCALL]        = { "syscall", "a real-time thread made a system call that is not on its list, and was refused it",
                                  "limber status, realtime.syscalls, and the log name thread and call; report this, it should not "
                                  "happen; start limberd again" },
        [STOP_SENSOR]         = { "sensor", "a joint's position or velocity stood still for fifty ticks while the other said that it moves",
                                  "look at that joint's encoder and its cable, then limber reset" },
        [STOP_TRACK_ERROR]    = { "track_error", "a joint's measured effort was not the commanded one for ten states",
                                  "limber why names the joint: look at its motor, drive and current sensor, or widen effort_error "
                                  "in robot.yaml, then limber reset" },
        [STOP_LIMIT_DWELL]    = { "limit_dwell", "a joint's effort stood at its limit for longer than gates.limit_dwell",
                                  "limber why names the joint: see whether it is blocked, look at the task's costs, or raise "
                                  "gates.limit_dwell, then limber reset" },
        [STOP_OSCILLATION]    = { "oscillation", "a joint's effort went from one side to the other more often than gates.oscillation",
                                  "limber why names the joint: look at the baseline's gains and the task's costs, or raise "
                                  "gates.oscillation, then limber reset" },
        [STOP_ENERGY]         = { "energy", "efforts put more energy into the robot within about a second than gates.energy",
                                  "limber why names the joint that got most: look at the task's costs and the baseline's gains, "
                                  "or raise gates.energy, then limber reset" },
        [STOP_LINK_DAMAGED]   = { "link_damaged", "three of the robot side's last ten messages came damaged",
                                  "look at the cable, and at what passes messages on between robot side and limberd (limber "
                                  "status, link.counts.crc and link.trouble), then limber reset" },
        [STOP_ROBOT_CLAMPED]  = { "robot_clamped", "the robot side clipped what it was commanded by its own limit of effort or its rate",
                                  "make effort and effort_rate of robot.yaml and of the robot side agree, then limber reset" },
    };
    return text[c];
}

const char *prearm_name(enum prearm p)
{
    static const char *const name[PREARM_COUNT] = {
        "session",  "state_fresh",   "no_faults",      "estop_clear",
        "inside",   "slow",          "not_latched",    "timing_clean",
        "sensors",  "baseline",      "effort_measured", "gravity",
        "timeout_action", "realtime", "memory_locked", "store_writable",
        "model_or_exploration", "syscalls", "numeric_env", "clock"
    };
    return name[p];
}

struct notice *core_notice(struct core *c, struct core_output *out, enum notice_kind kind)
{
    CHECK(out->nnotice < NOTICE_MAX);
    struct notice *n = &out->notice[out->nnotice++];

    memset(n, 0, sizeof *n);
    n->kind   = kind;
    n->tick   = c->tick;
    n->now_ns = c->now_ns;
    return n;
}

static bool latches(enum stop_code why)
{
    return why != STOP_DISARM && why != STOP_SHUTDOWN;
}

/* An operator's wish: what is sent ramps down. */
static bool ramps(enum stop_code why)
{
    return why == STOP_OPERATOR || !latches(why);
}

static void stop_begins(struct core *c, enum stop_code why)
{
    c->stop         = why;
    c->stop_tick    = c->tick;
    c->stop_ns      = c->now_ns;
    c->stop_trial   = c->trial;
    c->stop_step    = c->step;
    c->stop_latches = latches(why);
}

/* An event for the mode table; `why` is kept where it leads to a stop or a fault. */
void core_mode(struct core *c, struct core_output *out, enum mode_event e, enum stop_code why)
{
    enum mode from = c->mode, to = mode_next(from, e);

    /* A reason that latches outranks the disarm that is under way, and trouble ends any ramp. */
    bool worse = from == MODE_STOPPING && e == EVENT_STOP &&
                 ((latches(why) && !c->stop_latches) || (!ramps(why) && ramps(c->stop)));

    if (to == from && !worse)
        return;
    c->mode = to;
    if (to == MODE_STOPPING || to == MODE_FAULT)
        stop_begins(c, why);
    if (to != from && (to == MODE_STOPPING || to == MODE_FAULT)) {
        c->stopping_ns = c->now_ns;
        memcpy(c->stop_effort, c->sent, sizeof c->stop_effort);
    }
    if (to == MODE_FAULT || (from == MODE_STOPPING && to != from))
        c->latched = c->stop_latches;
    if (from == MODE_FAULT)
        c->latched = false;
    if (to == MODE_BASELINE) {
        memcpy(c->hold, c->state.position, sizeof c->hold);
        memset(c->action_effort, 0, sizeof c->action_effort);
    }
    if (!mode_armed(to)) {
        c->good_s    = 0;
        c->have_plan = false;
    }
    struct notice *n = core_notice(c, out, NOTICE_MODE);
    n->from          = from;
    n->to            = to;
    n->stop          = why;
    n->trial         = c->trial;
    n->step          = c->step;
}

/* The filter's way to say that a joint has no such limit. */
static double or_none(double limit)
{
    return limit > 0 ? limit : (double)INFINITY;
}

void core_init(struct core *c, const struct robot_config *config, uint64_t transitions)
{
    memset(c, 0, sizeof *c);
    c->config      = config;
    c->tick_s      = 1 / config->control_hz;
    c->tick_ns     = (uint64_t)llround(c->tick_s * 1e9);
    c->transitions = transitions;
    c->need_s      = config->gates.promote_s;
    c->delay       = 1;
    /* Three ticks, or longer where the configured time is longer than that (design: durations, not tick counts). */
    c->stale_ticks = (int)lround(config->timeouts.state_stale_s * config->control_hz);
    c->stale_ticks = c->stale_ticks > 3 ? c->stale_ticks : 3;
    c->limits.nj   = config->nj;
    for (int j = 0; j < config->nj; j++) {
        c->limits.actuated[j] = config->joint[j].actuated;
        c->limits.effort[j]   = config->joint[j].effort;
        c->limits.up[j]       = config->joint[j].effort_rate * c->tick_s;
        c->limits.down[j]     = config->joint[j].effort_rate_down * c->tick_s;
        c->limits.low[j]      = config->joint[j].position_min;
        c->limits.high[j]     = config->joint[j].position_max;
        c->limits.brake[j]    = or_none(config->joint[j].brake);
        c->limits.growth[j]   = or_none(config->joint[j].effort_growth);
        c->limits.power[j]    = or_none(config->joint[j].power);
        c->limits.continuous[j] = or_none(config->joint[j].effort_continuous);
        c->limits.keep[j]     = exp(-c->tick_s / or_none(config->joint[j].heat_s));
    }
    c->limits.tick_s = c->tick_s;
    c->nend = config->task.nend;
    memcpy(c->end, config->task.end, sizeof c->end);
    core_gates_init(c);
}

void core_ready(struct core *c)
{
    c->mode = mode_next(c->mode, EVENT_READY);
}

/* ---- operations ---- */

static const char *arm_refused(const struct core *c)
{
    if (mode_armed(c->mode))
        return "already armed";
    if (c->mode != MODE_DISARMED)
        return "only a disarmed robot can be armed";
    for (int p = 0; p < PREARM_COUNT; p++)
        if (!(c->prearm & 1u << p))
            return prearm_name((enum prearm)p);
    return NULL;
}

static const char *reset_refused(const struct core *c)
{
    if (c->mode == MODE_FAULT && c->estop)
        return "the emergency stop is still pressed";
    /* Its latch is what the reset is to end: IDLE does, and FAULT sends none. */
    if (c->mode == MODE_FAULT && c->robot_faults & ~(uint32_t)ROBOT_FAULT_LATCHED)
        return "the robot side still reports a fault";
    if (c->mode == MODE_FAULT && c->stop_tick == c->tick)
        return "a fault has only just come up; look at it first";
    if (c->mode != MODE_FAULT && c->mode != MODE_DISARMED)
        return "only a stopped robot can be reset";
    return NULL;
}

static const char *trial_refused(const struct core *c, const struct core_input *in)
{
    if (c->mode != MODE_BASELINE)
        return "arm the robot first; a trial starts from BASELINE";
    if (c->trial_phase != TRIAL_IDLE)
        return "a trial is under way";
    if (in->op.trial_kind == TRIAL_PLANNED && !in->model_version)
        return "no model is loaded; run the exploration trial first";
    if (in->op.trial_kind == TRIAL_RANDOM && c->config->exploration.kind == EXPLORE_NONE)
        return "robot.yaml configures no exploration";
    return NULL;
}

static void trial_start(struct core *c, const struct core_input *in, struct core_output *out)
{
    c->trial          = in->op.trial;
    c->trial_kind     = in->op.trial_kind;
    c->trial_steps    = in->op.steps;
    c->trial_seed     = in->op.seed;
    c->trial_phase    = TRIAL_RESETTING;
    c->trial_ns       = c->now_ns;
    c->step           = 0;
    c->operator_ready = false;
    c->ready_before   = c->state.ready_count;
    core_trial_request(c, out, TRIAL_RESET);
}

/* A verb each: what it did in `done`, or the reason why it did nothing. */

static const char *operate_arm(struct core *c, struct core_output *out, const char **done)
{
    const char *refused = arm_refused(c);

    if (refused)
        return refused;
    core_mode(c, out, EVENT_ARM, STOP_NONE);
    memset(c->sent, 0, sizeof c->sent);
    *done = "armed into BASELINE";
    return NULL;
}

/* A disarm or shutdown that is under way stays what it is; the operator's stop latches. */
static const char *operate_stop(struct core *c, enum stop_code why, struct core_output *out, const char **done)
{
    bool stops = mode_armed(c->mode) || (c->mode == MODE_STOPPING && why == STOP_OPERATOR);

    if (stops)
        core_mode(c, out, EVENT_STOP, why);
    *done = stops ? "stopping" : "not armed";
    return NULL;
}

static const char *operate_reset(struct core *c, struct core_output *out, const char **done)
{
    const char *refused = reset_refused(c);

    if (refused)
        return refused;
    core_mode(c, out, EVENT_RESET, STOP_NONE);
    c->latched     = false;
    c->trips       = 0;
    c->unfit_model = 0;
    *done          = "reset; disarmed";
    return NULL;
}

static const char *operate_trial_start(struct core *c, const struct core_input *in, struct core_output *out,
                                       const char **done)
{
    const char *refused = trial_refused(c, in);

    if (refused)
        return refused;
    trial_start(c, in, out);
    *done = "trial started";
    return NULL;
}

static const char *operate_trial_stop(struct core *c, struct core_output *out, const char **done)
{
    if (c->trial_phase == TRIAL_IDLE)
        return "no trial is under way";
    core_trial_abort(c, out, "the operator ended it");
    *done = "trial aborted; the baseline holds";
    return NULL;
}

static const char *operate_trial_ready(struct core *c, const char **done)
{
    if (c->trial_phase != TRIAL_RESETTING)
        return "no trial waits for a start pose";
    c->operator_ready = true;
    *done             = "ready";
    return NULL;
}

static const char *operate_task(struct core *c, const struct operation *op, const char **done)
{
    if (c->trial_phase != TRIAL_IDLE)
        return "a trial is under way; a task changes between trials";
    c->nend = op->nend;
    memcpy(c->end, op->end, sizeof c->end);
    *done = "task changed";
    return NULL;
}

/* An operator's wish: done or refused in the tick that sees it. */
static void operate(struct core *c, const struct core_input *in, struct core_output *out)
{
    const char *refused = NULL, *done = "";

    switch (in->op.kind) {
    case OP_NONE: return;
    case OP_ARM: refused = operate_arm(c, out, &done); break;
    case OP_DISARM: refused = operate_stop(c, STOP_DISARM, out, &done); break;
    case OP_STOP: refused = operate_stop(c, STOP_OPERATOR, out, &done); break;
    case OP_SHUTDOWN: refused = operate_stop(c, STOP_SHUTDOWN, out, &done); break;
    case OP_RESET: refused = operate_reset(c, out, &done); break;
    case OP_TRIAL_START: refused = operate_trial_start(c, in, out, &done); break;
    case OP_TRIAL_STOP: refused = operate_trial_stop(c, out, &done); break;
    case OP_TRIAL_READY: refused = operate_trial_ready(c, &done); break;
    case OP_TASK: refused = operate_task(c, &in->op, &done); break;
    case OP_EXPIRED: refused = "too late: it waited longer than its sender did"; break;
    }
    struct notice *n = core_notice(c, out, NOTICE_ANSWER);
    n->id            = in->op.id;
    n->ok            = refused == NULL;
    snprintf(n->text, sizeof n->text, "%s", refused ? refused : done);
}

/* ---- stops and faults: worst first ---- */

static void supervise(struct core *c, uint32_t fault, struct core_output *out)
{
    static const struct {
        uint32_t        bit;
        enum mode_event event;
        enum stop_code  code;
    } rule[] = {
        { FAULT_ESTOP, EVENT_FAULT, STOP_ESTOP },
        { FAULT_ROBOT, EVENT_FAULT, STOP_ROBOT_FAULT },
        { FAULT_SESSION, EVENT_FAULT, STOP_SESSION },
        { FAULT_EFFORT, EVENT_FAULT, STOP_EFFORT },
        { FAULT_SYSCALL, EVENT_FAULT, STOP_SYSCALL },
        { FAULT_GATES, EVENT_FAULT, STOP_GATES },
        { FAULT_SENSOR, EVENT_FAULT, STOP_SENSOR },
        { FAULT_ROBOT_CLAMPED, EVENT_FAULT, STOP_ROBOT_CLAMPED },
        { FAULT_LINK_DAMAGED, EVENT_STOP, STOP_LINK_DAMAGED }, /* states got lost, too, but this says why */
        { FAULT_STATE_REJECTED, EVENT_STOP, STOP_STATE_REJECTED }, /* stale too, but this says why */
        { FAULT_STATE_STALE, EVENT_STOP, STOP_STATE_STALE },
        { FAULT_STALL, EVENT_STOP, STOP_STALL },
        { FAULT_POSITION, EVENT_STOP, STOP_POSITION },
        { FAULT_TRACK_ERROR, EVENT_STOP, STOP_TRACK_ERROR },
        { FAULT_LIMIT_DWELL, EVENT_STOP, STOP_LIMIT_DWELL },
        { FAULT_OSCILLATION, EVENT_STOP, STOP_OSCILLATION },
        { FAULT_ENERGY, EVENT_STOP, STOP_ENERGY },
    };

    if (!mode_armed(c->mode) && c->mode != MODE_STOPPING)
        return;
    for (unsigned i = 0; i < sizeof rule / sizeof *rule; i++) {
        if (fault & rule[i].bit) {
            core_mode(c, out, rule[i].event, rule[i].code);
            return;
        }
    }
    /* The first implausible state already costs the learned controller its place (S4); late ticks do (M2), but not a
     * simulated robot's: machines that simulate are shared. */
    uint32_t demotes = FAULT_STATE_NONFINITE | FAULT_STATE_RANGE | FAULT_STATE_JUMP | FAULT_SENSOR_STUCK |
                       (c->config->hardware == HARDWARE_REAL ? FAULT_TICKS_LATE : 0);

    if (!(fault & demotes))
        return;
    c->good_s = 0;
    if (c->mode == MODE_ADVANCED)
        core_mode(c, out, EVENT_DEMOTE, STOP_NONE);
    else if (c->mode == MODE_EXPLORE && fault & FAULT_SENSOR_STUCK) /* and there is nothing to learn from it */
        core_trial_abort(c, out, "a joint's sensor is stuck");
}

/* Of the last hundred ticks, this one included, how many came late? */
static uint32_t lateness(struct core *c, const struct core_input *in, double gap_s)
{
    bool late = !in->lockstep && gap_s > LATE_TICKS * c->tick_s;

    c->late_bits[1] = c->late_bits[1] << 1 | c->late_bits[0] >> 63;
    c->late_bits[0] = c->late_bits[0] << 1 | late;
    int n = __builtin_popcountll(c->late_bits[0]) + __builtin_popcountll(c->late_bits[1] & ((1ull << 36) - 1));
    return (late ? FAULT_TICK_LATE : 0) | (n >= LATE_MAX ? FAULT_TICKS_LATE : 0);
}

/* What the threads around the core know. */
static uint32_t told(const struct core *c, const struct core_input *in, double gap_s)
{
    bool stalled = gap_s > c->config->timeouts.state_stale_s && !in->lockstep;

    return (stalled || in->slept ? FAULT_STALL : 0) | /* the robot side has damped meanwhile */
           (in->syscall_refused ? FAULT_SYSCALL : 0) | (in->link_damaged ? FAULT_LINK_DAMAGED : 0);
}

/* Every fault is counted.  What stops nothing by itself is told when it comes up, but not again and again: the rest of it
 * waits for the next notice. */
static void faults_count(struct core *c, uint32_t fault, struct core_output *out)
{
    const uint32_t always = FAULT_SENSOR_STUCK | FAULT_TICKS_LATE;
    const uint32_t moving = FAULT_STATE_MISSING | FAULT_STATE_NONFINITE | FAULT_STATE_RANGE | FAULT_STATE_JUMP |
                            FAULT_PLAN_LATE | FAULT_PLAN_BAD | FAULT_TICK_LATE;
    const uint32_t tell = always | (mode_armed(c->mode) || c->mode == MODE_STOPPING ? moving : 0);

    for (int i = 0; i < FAULT_COUNT; i++) {
        bool set = fault >> i & 1;

        c->count_fault[i] += set;
        c->untold[i] = tell >> i & 1 ? c->untold[i] + set : 0;
        if (!c->untold[i] || !set || c->standing >> i & 1 ||
            (c->told_ns[i] && c->now_ns - c->told_ns[i] < TELL_S * NS_PER_S))
            continue;
        struct notice *n = core_notice(c, out, NOTICE_FAULT);
        n->fault         = i;
        n->count         = c->untold[i];
        n->trial         = c->trial;
        n->step          = c->step;
        c->untold[i]     = 0;
        c->told_ns[i]    = c->now_ns;
    }
    c->standing = fault;
}

static void stopping_end(struct core *c, uint32_t fault, struct core_output *out)
{
    double elapsed = (double)(c->now_ns - c->stopping_ns) * 1e-9;
    bool   still   = !(fault & FAULT_STATE_STALE) && elapsed >= c->config->timeouts.stop_ramp_s && core_slow(c);

    if (c->mode == MODE_STOPPING && (still || elapsed >= c->config->timeouts.stop_cap_s))
        core_mode(c, out, EVENT_STOPPED, c->stop);
}

/* ---- effort ---- */

/* What holds a joint where it is against gravity. */
static double gravity_effort(const struct core *c, int j)
{
    const struct joint_config *joint = &c->config->joint[j];
    double                     tau   = 0;

    for (int i = 0; i < joint->ngravity; i++) {
        const struct gravity_term *g     = &joint->gravity[i];
        double                     angle = g->offset;

        for (int k = 0; k < g->n; k++)
            angle += c->state.position[g->joint[k]];
        tau += g->effort * cos(angle);
    }
    return tau;
}

/* The verified controller: nothing, damping, holding the pose where it took over, or on its way from there to a posture. */
void core_baseline_effort(const struct core *c, double *tau)
{
    bool springs = c->mode == MODE_BASELINE && (c->config->baseline == BASELINE_HOLD || c->config->baseline == BASELINE_POSTURE);

    for (int j = 0; j < c->config->nj; j++) {
        const struct joint_config *joint = &c->config->joint[j];

        tau[j] = gravity_effort(c, j);
        if (c->config->baseline != BASELINE_ZERO)
            tau[j] -= joint->baseline_kd * c->state.velocity[j];
        if (springs) /* before it has taken over it holds what is there: nothing to pull at */
            tau[j] += joint->baseline_kp * (c->hold[j] - c->state.position[j]);
    }
}

/* Posture: the pose that is held goes there, by POSTURE_SPEED of each joint's velocity limit. */
static void posture_on(struct core *c)
{
    for (int j = 0; j < c->config->nj && c->config->baseline == BASELINE_POSTURE && c->mode == MODE_BASELINE; j++) {
        const struct joint_config *joint = &c->config->joint[j];
        double                     most = POSTURE_SPEED * joint->velocity * c->tick_s, way = joint->baseline_position - c->hold[j];

        c->hold[j] += way > most ? most : way < -most ? -most : way;
    }
}

/* What this mode wants: nj efforts.  Without a new state, what was sent last. */
static void wanted_effort(const struct core *c, const double *baseline, double *want)
{
    const double *from = c->mode == MODE_ADVANCED || c->mode == MODE_EXPLORE ? c->action_effort : baseline;
    double        ramp = 1;

    if (c->mode == MODE_STOPPING) {
        double elapsed = (double)(c->now_ns - c->stopping_ns) * 1e-9;
        ramp           = 1 - elapsed / c->config->timeouts.stop_ramp_s;
        ramp           = ramp > 0 ? ramp : 0;
        from           = c->stop_effort;
    } else if (!c->good) {
        from = c->sent;
    }
    for (int j = 0; j < c->config->nj; j++)
        want[j] = ramp * from[j];
}

static enum command_mode command_mode_of(const struct core *c, uint32_t fault)
{
    double stopping_s = (double)(c->now_ns - c->stopping_ns) * 1e-9;

    switch (c->mode) {
    case MODE_BASELINE:
    case MODE_EXPLORE:
    case MODE_ADVANCED: return COMMAND_TORQUE;
    case MODE_STOPPING:
        /* Only an operator's stop ramps down: on trouble the last effort may be what makes it worse, and no ramp is
         * computed from an old state.  The robot side brakes on its own sensors. */
        return fault & (FAULT_STATE_STALE | FAULT_STATE_REJECTED) || stopping_s >= c->config->timeouts.stop_ramp_s ||
                       !ramps(c->stop)
                   ? COMMAND_DAMP
                   : COMMAND_TORQUE;
    case MODE_FAULT: return COMMAND_DAMP;
    /* IDLE would end the robot side's own latch: that waits for the operator's reset as well. */
    default: return c->latched ? COMMAND_DAMP : COMMAND_IDLE;
    }
}

static void command_write(struct core *c, enum command_mode mode, const double *effort, struct core_output *out)
{
    struct joint_command *cmd = &out->command;

    if (!c->session)
        return;
    out->has_command = true;
    cmd->session     = c->session;
    cmd->seq         = ++c->command_seq;
    cmd->state_seq   = c->have_state ? c->state.seq : 0;
    cmd->valid_ms    = c->config->timeouts.command_valid_s * 1e3;
    cmd->mode        = mode;
    cmd->nj          = c->config->nj;
    memcpy(cmd->torque, effort, sizeof cmd->torque);
    if (c->good)
        c->answered_seq = cmd->seq;
}

static void record(const struct core *c, const struct core_input *in, uint32_t fault, uint32_t filter, const double *want,
                   struct core_output *out)
{
    struct tick_record *r = &out->record;

    r->tick            = c->tick;
    r->now_ns          = c->now_ns;
    r->mode            = c->mode;
    r->phase           = c->trial_phase;
    r->trial           = c->trial;
    r->step            = c->step;
    r->faults          = fault;
    r->filter          = filter;
    r->state_seq       = c->state.seq;
    r->command_seq     = c->command_seq;
    r->model_version   = c->mode == MODE_ADVANCED ? c->plan.model_version : in->model_version;
    r->plan_id         = c->plan.id;
    r->plan_seed       = c->plan.seed;
    r->plan_iterations = c->plan.iterations;
    r->nj              = c->config->nj;
    r->blame           = c->blame;
    memcpy(r->position, c->state.position, sizeof r->position);
    memcpy(r->velocity, c->state.velocity, sizeof r->velocity);
    memcpy(r->want, want, sizeof r->want);
    memcpy(r->effort, c->sent, sizeof r->effort);
}

static void output_clear(struct core_output *out)
{
    out->has_command = out->has_trial_request = out->has_plan_request = out->has_transition = false;
    out->nnotice                                                                            = 0;
    memset(&out->command, 0, sizeof out->command);
    memset(&out->record, 0, sizeof out->record);
    memset(&out->transition, 0, sizeof out->transition);
}

void core_step(struct core *c, const struct core_input *in, struct core_output *out)
{
    double   baseline[MAX_JOINTS] = { 0 }, want[MAX_JOINTS] = { 0 }, effort[MAX_JOINTS] = { 0 };
    uint32_t filter = 0;

    output_clear(out);
    c->tick++;
    double gap_s = c->now_ns ? (double)(in->now_ns - c->now_ns) * 1e-9 : 0;
    c->now_ns    = in->now_ns;

    if (gap_s > 0)
        filter_time(&c->limits, &c->window, c->sent, gap_s);
    uint32_t fault = core_estimate(c, in);  /* joint state in            */
    core_prearm(c, in);
    fault |= told(c, in, gap_s) | lateness(c, in, gap_s);
    supervise(c, fault, out);               /* stops and faults          */
    operate(c, in, out);                    /* the operator's wish       */
    core_trial_advance(c, in, out);         /* trial, transition         */
    if (c->boundary)
        core_step_begins(c);
    fault |= core_playback(c, in, out);     /* plan, gates               */
    supervise(c, fault & FAULT_GATES, out);

    posture_on(c);
    core_baseline_effort(c, baseline);
    wanted_effort(c, baseline, want);
    enum command_mode mode = command_mode_of(c, fault);
    if (mode == COMMAND_TORQUE)
        filter = filter_effort(&c->limits, &c->window,
                               &(struct filter_input){ want, baseline, c->sent, c->state.position, c->state.velocity },
                               effort); /* safety filter */
    /* Not even the baseline is a number; or what is to be sent cannot be meant. */
    uint32_t unsent = (filter & FILTER_DAMP ? FAULT_EFFORT : 0) | core_effort_sending(c, effort, gap_s);
    if (unsent) {
        fault |= unsent;
        supervise(c, unsent, out);
        mode = command_mode_of(c, fault);
        memset(effort, 0, sizeof effort);
    }
    for (int k = 0; k < FILTER_STAGES; k++)
        c->count_filter[k] += filter >> k & 1;
    core_gates_filtered(c, filter != 0);
    memcpy(c->sent, effort, sizeof c->sent);
    filter_sent(&c->limits, &c->window, c->sent);
    core_effort_sent(c, mode == COMMAND_TORQUE);
    command_write(c, mode, effort, out);    /* torque out                */

    if (c->boundary && mode_armed(c->mode)) {
        core_live_open(c);
        if (c->delay > 0 && in->model_version) {
            out->has_plan_request = true;   /* the next plan             */
            core_plan_request(c, &out->plan_request, true);
        }
    }
    stopping_end(c, fault, out);
    faults_count(c, fault, out);
    record(c, in, fault, filter, want, out); /* experience               */
}
