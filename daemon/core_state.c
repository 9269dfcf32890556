/* core_state.c - joint state in: is it new, finite, possible?  Then the observation. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"

enum { REJECTED_STOP = 3, JUMP_TICKS_MAX = 16, STATE_LATE_TICKS = 2 };

/* The model sees floats: what overflows one is as good as infinite. */
static bool finite_float(double v)
{
    return isfinite((float)v);
}

/* A quaternion that is one, up to rounding. */
static bool unit(const double *q)
{
    return fabs(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3] - 1) <= 1e-2;
}

/* S4, S5 of the fault model: why this state cannot be believed, or 0. */
static uint32_t implausible(const struct core *c, const struct joint_state *s)
{
    const struct robot_config *cfg = c->config;

    for (int j = 0; j < cfg->nj; j++)
        if (!finite_float(s->position[j]) || !finite_float(s->velocity[j]) || !finite_float(s->applied_effort[j]))
            return FAULT_STATE_NONFINITE;
    for (int j = 0; j < cfg->nj; j++) /* what nobody looks at may be anything */
        if (cfg->joint[j].effort_error > 0 && !finite_float(s->effort[j]))
            return FAULT_STATE_NONFINITE;
    for (int k = 0; k < cfg->nextra; k++)
        if (!finite_float(s->extra[k]))
            return FAULT_STATE_NONFINITE;

    for (int i = 0; i < cfg->nx; i++)
        if (cfg->observation[i].measure >= MEASURE_HEADING && !unit(&s->extra[cfg->observation[i].joint]))
            return FAULT_STATE_RANGE;

    for (int j = 0; j < cfg->nj; j++) {
        const struct joint_config *joint = &cfg->joint[j];
        double                     range = joint->position_max - joint->position_min;

        if (!(fabs(s->velocity[j]) <= joint->velocity) || !(fabs(s->applied_effort[j]) <= 2 * joint->effort + 1))
            return FAULT_STATE_RANGE;
        /* A whole range beyond its end is no overshoot but nonsense; nearer, the position gate judges. */
        if (!core_inside(joint, s->position[j], range))
            return FAULT_STATE_RANGE;
    }

    /* An announced reset may jump; so may the first state of a session. */
    if (!c->have_state || s->ready_count != c->state.ready_count)
        return 0;
    double ticks = (double)(s->seq - c->state.seq);
    for (int j = 0; j < cfg->nj; j++) {
        double reach = 1.5 * cfg->joint[j].velocity * c->tick_s * (ticks < JUMP_TICKS_MAX ? ticks : JUMP_TICKS_MAX);

        if (!(fabs(s->position[j] - c->state.position[j]) <= reach))
            return FAULT_STATE_JUMP;
    }
    return 0;
}

/* Ticks as the planner counts them. */
static uint64_t tick_of(const struct core *c)
{
    return c->config->pace == PACE_STATE ? c->state.seq : c->tick;
}

void core_step_begins(struct core *c)
{
    c->step_start.known = true;
    c->step_start.at    = tick_of(c);
    memcpy(c->step_start.position, c->state.position, sizeof c->step_start.position);
    memcpy(c->step_start.extra, c->state.extra, sizeof c->step_start.extra);
}

/* Of what was at `from` when the planner step began and is at `to` now. */
static double average_velocity(const struct core *c, double from, double to)
{
    double ticks = (double)(tick_of(c) - c->step_start.at);

    return c->step_start.known && ticks > 0 ? (to - from) / (ticks * c->tick_s) : 0;
}

/* Yaw of q (w, x, y, z); the turn nearest to `before`, so that it never jumps by 2 pi. */
static double heading(const double *q, double before)
{
    double raw = atan2(2 * (q[0] * q[3] + q[1] * q[2]), q[0] * q[0] + q[1] * q[1] - q[2] * q[2] - q[3] * q[3]);

    return raw + 2 * M_PI * round((before - raw) / (2 * M_PI));
}

/* The world's up direction in the body's frame: the last row of q's rotation matrix. */
static double up(const double *q, enum measure m)
{
    double n = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];

    switch (m) {
    case MEASURE_UP_X: return 2 * (q[1] * q[3] - q[0] * q[2]) / n;
    case MEASURE_UP_Y: return 2 * (q[2] * q[3] + q[0] * q[1]) / n;
    default: return (q[0] * q[0] - q[1] * q[1] - q[2] * q[2] + q[3] * q[3]) / n;
    }
}

/* first: nothing of what was observed before goes on. */
static void observe(struct core *c, bool first)
{
    const struct robot_config *cfg = c->config;

    if (first)
        c->step_start.known = false;
    for (int i = 0; i < cfg->nx; i++) {
        const struct observation_config *o = &cfg->observation[i];
        int                              j = o->joint;
        switch (o->measure) {
        case MEASURE_AVERAGE_VELOCITY:
            c->x[i] = (float)average_velocity(c, c->step_start.position[j], c->state.position[j]);
            break;
        case MEASURE_EXTRA_VELOCITY:
            c->x[i] = (float)average_velocity(c, c->step_start.extra[j], c->state.extra[j]);
            break;
        case MEASURE_HEADING: c->x[i] = (float)heading(&c->state.extra[j], first ? 0 : (double)c->x[i]); break;
        case MEASURE_UP_X:
        case MEASURE_UP_Y:
        case MEASURE_UP_Z: c->x[i] = (float)up(&c->state.extra[j], o->measure); break;
        case MEASURE_POSITION: c->x[i] = (float)c->state.position[j]; break;
        case MEASURE_VELOCITY: c->x[i] = (float)c->state.velocity[j]; break;
        case MEASURE_EXTRA: c->x[i] = (float)c->state.extra[j]; break;
        }
    }
}

static void new_session(struct core *c, uint64_t session, bool lockstep)
{
    c->session       = session;
    c->delay         = lockstep ? 0 : 1; /* against the clock a plan always takes a step */
    c->session_ns    = c->now_ns;
    c->have_state    = false;
    c->missing       = 0;
    c->rejected      = 0;
    c->command_seq   = 0;
    c->answered_seq  = 0;
    c->fresh_bits[0] = c->fresh_bits[1] = 0;
    c->live.open                        = false;
    c->phase_origin                     = 0;
    c->phase_step                       = 0;
    c->estop                            = false;
    c->robot_fault                      = false;
    c->robot_faults                     = 0;
    memset(c->sent, 0, sizeof c->sent);
}

static bool outside(const struct core *c, double margin)
{
    for (int j = 0; j < c->config->nj; j++) {
        const struct joint_config *joint = &c->config->joint[j];
        double                     slack = margin * (joint->position_max - joint->position_min);

        if (!core_inside(joint, c->state.position[j], slack))
            return true;
    }
    return false;
}

/* Share of good states over the last `ticks` (<= 100). */
static double success(const struct core *c, int ticks)
{
    int low  = ticks < 64 ? ticks : 64;
    int high = ticks - low;
    int good = __builtin_popcountll(low == 64 ? c->fresh_bits[0] : c->fresh_bits[0] & ((1ull << low) - 1));

    if (high)
        good += __builtin_popcountll(c->fresh_bits[1] & ((1ull << high) - 1));
    return (double)good / ticks;
}

static int success_window(const struct core *c)
{
    return c->config->control_hz < 100 ? (int)c->config->control_hz + 1 : 100;
}

/* What a state says about e-stop and robot: heeded even where the numbers beside it cannot be believed.  Fault bits. */
static uint32_t heed(struct core *c, const struct core_input *in)
{
    if (in->state_new) {
        c->estop        = in->state->estop;
        c->robot_fault  = in->state->faults != 0;
        c->robot_faults = in->state->faults;
    }
    return ((in->state_new && c->estop) || in->estop_seen ? FAULT_ESTOP : 0) |
           ((in->state_new && c->robot_fault) || in->fault_seen ? FAULT_ROBOT : 0);
}

/* Takes the newest state if it is new and believable.  Returns fault bits. */
uint32_t core_estimate(struct core *c, const struct core_input *in)
{
    const struct joint_state *s     = in->state;
    uint32_t                  fault = 0, bad;

    c->good       = false;
    c->blame.what = 0;
    if (s && s->session != c->session) {
        if (c->session && (mode_armed(c->mode) || c->mode == MODE_STOPPING))
            fault |= FAULT_SESSION;
        new_session(c, s->session, in->lockstep);
    }
    if (!c->session)
        return fault;

    if (!in->state_new || in->state_age_s > STATE_LATE_TICKS * c->tick_s) { /* S2: too old to act on */
        fault |= FAULT_STATE_MISSING;
        c->count_late += in->state_new;
    } else if ((bad = implausible(c, s))) {
        fault |= bad;
        core_blame_state(c, s, bad);
        c->rejected++;
        c->count_nonfinite += bad == FAULT_STATE_NONFINITE;
        c->count_range += bad == FAULT_STATE_RANGE;
        c->count_jump += bad == FAULT_STATE_JUMP;
    } else {
        bool first = !c->have_state || s->ready_count != c->state.ready_count;

        if (s->ready_count != c->state.ready_count) /* a new start pose is a new pose to hold */
            memcpy(c->hold, s->position, sizeof c->hold);
        struct joint_state before = c->state;
        c->good       = true;
        c->state      = *s;
        c->state_ns   = c->now_ns;
        c->have_state = true;
        c->missing    = 0;
        c->rejected   = 0;
        observe(c, first);
        core_sensors(c, &before, first);
        fault |= core_effort_measured(c, &before);
    }
    fault |= core_sensors_fault(c);
    fault |= heed(c, in);
    if (!c->good) {
        c->missing++;
        c->count_missing++;
    }
    c->fresh_bits[1] = c->fresh_bits[1] << 1 | c->fresh_bits[0] >> 63;
    c->fresh_bits[0] = c->fresh_bits[0] << 1 | c->good;

    double age_s = c->have_state ? (double)(c->now_ns - c->state_ns) * 1e-9 : (double)INFINITY;
    if (c->missing >= c->stale_ticks || !(age_s <= c->config->timeouts.state_stale_s))
        fault |= FAULT_STATE_STALE;
    if (c->rejected >= REJECTED_STOP)
        fault |= FAULT_STATE_REJECTED;
    c->outside = c->have_state && outside(c, c->config->gates.position.threshold);
    if (c->outside && !c->config->gates.position.off)
        fault |= FAULT_POSITION;
    /* Nobody moves it and nobody saw it for long: it may be anywhere now, the next state is a first one. */
    if (fault & FAULT_STATE_STALE && !mode_armed(c->mode) && c->mode != MODE_STOPPING)
        c->have_state = false;
    return fault;
}

/* All joints slower than 1 % of their velocity limit. */
bool core_slow(const struct core *c)
{
    for (int j = 0; j < c->config->nj; j++)
        if (!(fabs(c->state.velocity[j]) <= 0.01 * c->config->joint[j].velocity))
            return false;
    return true;
}

/* The baseline could take over now: its effort is a number, and within what every joint may give and can hold for good. */
bool core_baseline_holds(const struct core *c, const double *tau)
{
    for (int j = 0; j < c->config->nj; j++) {
        double effort = c->limits.effort[j], continuous = c->limits.continuous[j];

        if (c->limits.actuated[j] && !(fabs(tau[j]) <= (effort < continuous ? effort : continuous)))
            return false;
    }
    return true;
}

/* Nobody can compare what is not measured. */
static bool effort_measured(const struct core *c)
{
    for (int j = 0; j < c->config->nj; j++)
        if (c->config->joint[j].effort_error > 0 && !c->state.has_effort)
            return false;
    return true;
}

void core_prearm(struct core *c, const struct core_input *in)
{
    double baseline[MAX_JOINTS];

    core_baseline_effort(c, baseline);
    bool ok[PREARM_CORE_COUNT] = {
        [PREARM_SESSION]     = c->session != 0,
        [PREARM_STATE_FRESH] = c->have_state && c->missing < c->stale_ticks && success(c, success_window(c)) >= 0.95,
        [PREARM_NO_FAULTS]   = c->have_state && !c->robot_fault,
        [PREARM_ESTOP]       = c->have_state && !c->estop,
        [PREARM_INSIDE]      = c->have_state && !outside(c, 0),
        [PREARM_SLOW]        = c->have_state && core_slow(c),
        [PREARM_SENSORS]     = c->have_state && core_sensors_fault(c) == 0,
        [PREARM_BASELINE]    = c->have_state && core_baseline_holds(c, baseline),
        [PREARM_EFFORT]      = c->have_state && effort_measured(c),
        [PREARM_NOT_LATCHED] = !c->latched && c->mode != MODE_FAULT,
        /* A simulated robot may do without: what a virtual machine's host takes away cannot be armed against. */
        [PREARM_TIMING] = in->timing_clean || c->config->hardware == HARDWARE_SIM,
    };
    /* The main thread's word is some ticks old: what this tick knows counts. */
    uint32_t host = in->syscall_refused ? in->host & ~(1u << PREARM_SYSCALLS) : in->host;

    c->prearm = 0;
    for (int p = 0; p < PREARM_COUNT; p++) {
        bool holds = p < PREARM_CORE_COUNT ? ok[p] : host >> p & 1;

        if (!holds)
            c->prearm_since_ns[p] = 0;
        else if (!c->prearm_since_ns[p])
            c->prearm_since_ns[p] = c->now_ns;
        /* Not latched is an operator's doing, true at once; everything else must have held for a second. */
        if (holds && (p == PREARM_NOT_LATCHED || c->now_ns - c->prearm_since_ns[p] >= NS_PER_S))
            c->prearm |= 1u << p;
    }
}
