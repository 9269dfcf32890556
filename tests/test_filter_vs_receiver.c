/* test_filter_vs_receiver.c - the torque filter and the reference receiver, written apart, against each other: with the same
 * limits the receiver takes and applies, unchanged, all that the filter lets through, and what the receiver would have
 * changed or refused the filter has changed before.  Over the wire, for random robots, hostile wishes and whole cores. */
#include <float.h>
#include <string.h>

#include "daemon/core.h"
#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"
#include "tests/dst.h"
#include "tests/hostile.h"
#include "tests/test.h"
#include "transport/codec.h"

#define NONE ((double)INFINITY)

/* ---- random robots ---- */

/* From tiny to huge, with all bits of the mantissa. */
static double size(struct rng *r)
{
    return exp((rng_uniform(r) - 0.5) * 20);
}

static double maybe(struct rng *r, double limit)
{
    return rng_below(r, 2) ? limit : NONE;
}

static struct filter_limits random_limits(struct rng *r)
{
    struct filter_limits lim = { .nj = 1 + (int)rng_below(r, 4), .tick_s = 1 / (10 + 990 * rng_uniform(r)) };

    for (int j = 0; j < lim.nj; j++) {
        double effort   = size(r);
        lim.actuated[j] = rng_below(r, 4) != 0;
        lim.effort[j]   = effort;
        lim.up[j]       = effort * size(r) / 50;
        lim.down[j]     = lim.up[j] * (1 + (rng_below(r, 2) ? 3 * rng_uniform(r) : 0));
        lim.high[j]     = maybe(r, 1);
        lim.low[j]      = -lim.high[j];
        lim.brake[j]    = lim.high[j] < NONE ? maybe(r, size(r)) : NONE;
        lim.growth[j]   = maybe(r, effort * rng_uniform(r));
        lim.power[j]    = maybe(r, effort * size(r));
        lim.continuous[j] = maybe(r, effort * rng_uniform(r));
        lim.keep[j]     = exp(-1 / size(r));
    }
    return lim;
}

enum { TIMEOUT_TICKS = 5 };

/* The robot side of a filter: limits are the same, and it damps after five ticks of the daemon. */
static struct receiver receiver_of(const struct filter_limits *lim, bool rate, uint64_t now_ns)
{
    struct receiver        r;
    struct receiver_limits l = { .nj = lim->nj, .command_timeout_ms = 1e3 * TIMEOUT_TICKS * lim->tick_s };

    receiver_unlimited(&l);
    for (int j = 0; j < lim->nj; j++) {
        l.actuated[j]   = lim->actuated[j];
        l.effort_max[j] = lim->effort[j] < FILTER_EFFORT_CEILING ? lim->effort[j] : FILTER_EFFORT_CEILING;
        l.damp_kd[j]    = 1;
        if (rate && lim->actuated[j])
            l.effort_rate[j] = lim->up[j] / lim->tick_s;
    }
    receiver_init(&r, &l);
    receiver_session(&r, 1);
    receiver_state_sent(&r, 1, now_ns);
    return r;
}

/* ---- what the receiver makes of a command ---- */

struct applied {
    bool   taken;
    double tau[MAX_JOINTS];
    bool   changed; /* it has clipped or slowed, or refused a joint */
};

static uint64_t changes(const struct receiver *r)
{
    return r->count[RECEIVER_CLAMPED] + r->count[RECEIVER_UNACTUATED] + r->count[RECEIVER_SLOWED];
}

/* By wire to the receiver and to the motors. */
static struct applied applied(struct receiver *r, const struct joint_command *c, const double *q, const double *v,
                              uint64_t now_ns)
{
    static struct codec_scratch scratch;
    static uint8_t              bytes[CODEC_MAX_BYTES];
    struct message              m      = { .kind = MESSAGE_COMMAND, .command = *c }, got;
    struct applied              a      = { 0 };
    uint64_t                    before = changes(r);

    EXPECT(codec_unpack(FROM_LIMBER, bytes, codec_pack(&m, bytes), &scratch, &got, NULL, 0) == CODEC_OK);
    a.taken = receiver_command(r, &got.command, now_ns);
    receiver_effort(r, q, v, now_ns, a.tau);
    a.changed = changes(r) != before;
    return a;
}

static struct joint_command torque(int nj, uint64_t seq, const double *effort)
{
    struct joint_command c = {
        .session = 1, .seq = seq, .state_seq = 1, .valid_ms = 1e6, .mode = COMMAND_TORQUE, .nj = nj
    };

    memcpy(c.torque, effort, sizeof *effort * (size_t)nj);
    return c;
}

/* One step of rate between what the motors got: away from zero by `up`, towards it by `down`. */
static bool step_allowed(const struct filter_limits *lim, int j, double last, double now)
{
    double eps  = 4 * DBL_EPSILON * (fabs(last) + fabs(now));
    bool   same = last * now >= 0;

    if (fabs(now) > (same ? fabs(last) : 0) + lim->up[j] + eps)
        return false;
    return (same && fabs(now) >= fabs(last)) || fabs(now - last) <= lim->down[j] + eps;
}

struct talks {
    long refused, changed, differs, fast; /* of what the filter let through: must be 0 */
    long unseen;                          /* what the receiver would have changed and the filter did not: must be 0 */
    long hostile, limits;                 /* wishes that the receiver would have changed; ticks at a limit */
};

/* One robot, some hundred ticks with stops between, commands up to four ticks late; want, filter, wire, receiver.  What the
 * receiver makes of wishes that no filter saw, it is asked without its rate: that depends on what was applied before. */
static void one_robot(struct rng *r, struct talks *t)
{
    struct filter_limits lim    = random_limits(r);
    struct filter_window w      = { 0 };
    uint64_t             now_ns = NS_PER_S;
    struct receiver      motors = receiver_of(&lim, true, now_ns), judge = receiver_of(&lim, false, now_ns);
    uint64_t             tick_ns = (uint64_t)(1e9 * lim.tick_s), at_ns = now_ns, late_ns = 0;
    double               sent[MAX_JOINTS] = { 0 }, last[MAX_JOINTS] = { 0 };

    for (uint64_t seq = 1; seq <= 300; seq++) {
        double want[MAX_JOINTS] = { 0 }, base[MAX_JOINTS] = { 0 }, q[MAX_JOINTS] = { 0 }, v[MAX_JOINTS] = { 0 };

        now_ns += tick_ns;
        if (rng_below(r, 8) == 0)
            late_ns = rng_below(r, 2) ? 0 : (uint64_t)((TIMEOUT_TICKS - 1) * (double)tick_ns * rng_uniform(r));
        at_ns = now_ns + late_ns > at_ns ? now_ns + late_ns : at_ns;
        receiver_state_sent(&motors, seq, now_ns);
        receiver_state_sent(&judge, seq, now_ns);
        for (int j = 0; j < lim.nj; j++) {
            want[j] = hostile(r, lim.effort[j], 10 * lim.effort[j]);
            base[j] = rng_below(r, 8) ? lim.effort[j] * rng_normal(r) : hostile(r, lim.effort[j], 10 * lim.effort[j]);
            q[j]    = 2 * rng_uniform(r) - 1;
            v[j]    = rng_below(r, 4) ? rng_normal(r) : hostile(r, 1, 10);
        }
        struct joint_command c = torque(lim.nj, seq, want);
        c.state_seq            = seq;
        struct applied raw     = applied(&judge, &c, q, v, now_ns);
        if (rng_below(r, 40) == 0) { /* a stop: damping, a pause, and armed anew with nothing */
            c.mode = COMMAND_DAMP;
            memset(c.torque, 0, sizeof c.torque);
            applied(&motors, &c, q, v, at_ns);
            memset(sent, 0, sizeof sent);
            memset(last, 0, sizeof last);
            filter_sent(&lim, &w, sent);
            continue;
        }
        uint32_t bits = filter_effort(&lim, &w, &(struct filter_input){ want, base, sent, q, v }, sent);
        filter_sent(&lim, &w, sent);
        memcpy(c.torque, sent, sizeof *sent * (size_t)lim.nj);
        struct applied a       = applied(&motors, &c, q, v, at_ns);
        bool           differs = false, at_limit = false;
        for (int j = 0; j < lim.nj; j++) {
            differs |= want[j] != sent[j];
            at_limit |= lim.actuated[j] && fabs(sent[j]) == lim.effort[j];
            t->differs += a.tau[j] != sent[j];
            t->fast += lim.actuated[j] && !(bits & FILTER_DAMP) && !step_allowed(&lim, j, last[j], a.tau[j]);
        }
        memcpy(last, a.tau, sizeof last);
        t->refused += !a.taken;
        t->changed += a.changed;
        t->hostile += raw.changed || !raw.taken;
        t->unseen += (raw.changed || !raw.taken) && !differs;
        t->limits += at_limit;
    }
}

TEST(the_receiver_applies_unchanged_whatever_the_filter_lets_through)
{
    int          robots = test_rounds(2000, 100000);
    struct talks t      = { 0 };
    struct rng   r;

    rng_seed(&r, 41);
    for (int i = 0; i < robots; i++)
        one_robot(&r, &t);
    EXPECT(t.refused == 0 && t.changed == 0 && t.differs == 0);
    EXPECT(t.fast == 0);
    EXPECT(t.unseen == 0);
    EXPECT(t.hostile > robots * 100 && t.limits > robots); /* it was hostile, and the limits were met */
    if (t.refused + t.changed + t.differs + t.fast + t.unseen)
        printf("    refused %ld, changed %ld, differs %ld, fast %ld, unseen %ld\n", t.refused, t.changed, t.differs,
               t.fast, t.unseen);
}

/* ---- whole cores: every mode, arming, stops, lost states, new sessions ---- */

enum { WINDOW = 64 }; /* ticks */

struct whole {
    struct rng           rng;
    struct robot_config  config;
    struct core          core;
    struct filter_limits lim;
    struct receiver      motors;
    struct joint_state   state;
    struct plan          plan;
    uint64_t             now_ns;
    double               last[MAX_JOINTS];
    int                  torque, advanced, explored, resumed;
    bool                 was_torque;
    bool                 lossy; /* commands get lost, and a reset forgets what was in force */
    int                  lost, slowed;
    double               grown[WINDOW][MAX_JOINTS]; /* of the last ticks, by what the motors got */
};

/* A robot whose plans, baseline and exploration want far more than its limits allow. */
static void random_robot(struct whole *w)
{
    struct robot_config *c = &w->config;
    struct rng          *r = &w->rng;

    dst_config(c);
    c->control_hz = 20 + 480 * rng_uniform(r);
    c->baseline   = (enum baseline_kind)(BASELINE_ZERO + rng_below(r, 4));
    double gain = rng_below(r, 2) ? 100 : 0; /* a plan flies only where the baseline asks for no more than the limits */
    for (int j = 0; j < c->nj; j++) {
        struct joint_config *joint = &c->joint[j];

        joint->velocity    = 1e4;
        joint->baseline_kd = gain * size(r);
        joint->baseline_kp = gain * size(r);
        if (!joint->actuated)
            continue;
        joint->effort           = size(r);
        joint->effort_rate      = joint->effort * c->control_hz * size(r) / 20;
        joint->effort_rate_down = joint->effort_rate * (1 + rng_uniform(r));
        joint->effort_growth    = rng_below(r, 2) ? joint->effort * rng_uniform(r) : 0;
        joint->power            = rng_below(r, 2) ? joint->effort * size(r) : 0;
        joint->brake            = rng_below(r, 2) ? size(r) : 0;
        joint->effort_continuous = rng_below(r, 2) ? joint->effort * rng_uniform(r) : 0;
        joint->heat_s           = joint->effort_continuous > 0 ? size(r) : 0;
    }
    c->action[0].scale        = c->joint[0].effort * (rng_below(r, 2) ? 3 : 0.2);
    c->gates.position.off     = true;
    c->gates.promote_s        = 2 / c->control_hz;
    c->timeouts.state_stale_s = 4 / c->control_hz;
    c->timeouts.stop_ramp_s   = 6 / c->control_hz;
    c->timeouts.stop_cap_s    = 9 / c->control_hz;
    w->lim                    = (struct filter_limits){ .nj = c->nj, .tick_s = 1 / c->control_hz };
    for (int j = 0; j < c->nj; j++) {
        w->lim.actuated[j] = c->joint[j].actuated;
        w->lim.effort[j]   = c->joint[j].effort;
        w->lim.up[j]       = c->joint[j].effort_rate / c->control_hz;
        w->lim.down[j]     = c->joint[j].effort_rate_down / c->control_hz;
    }
}

static void next_state(struct whole *w, struct core_input *in)
{
    struct joint_state *s = &w->state;
    struct rng         *r = &w->rng;

    if (rng_below(r, 2000) == 0) { /* the robot side starts anew */
        s->session++;
        s->seq = 0;
        receiver_session(&w->motors, s->session);
        memset(w->last, 0, sizeof w->last);
    }
    s->seq++;
    bool armed = mode_armed(w->core.mode); /* else at rest, so that it can be armed again */
    for (int j = 0; j < s->nj; j++) {
        s->position[j] = armed ? 0.5 * rng_normal(r) : 0;
        s->velocity[j] = armed ? (rng_below(r, 3) ? 0.1 : 300) * rng_normal(r) : 0;
    }
    s->estop = armed && rng_below(r, 1500) == 0;
    receiver_state_sent(&w->motors, s->seq, w->now_ns);
    in->state     = s;
    in->state_new = !armed || rng_below(r, 12) != 0;
}

static void next_wish(struct whole *w, struct core_input *in)
{
    struct rng         *r = &w->rng;
    enum operation_kind k = OP_NONE;
    const struct plan  *p = &w->plan;

    switch (rng_below(r, 400)) {
    case 0: k = OP_STOP; break;
    case 1: k = OP_DISARM; break;
    case 2: k = OP_RESET; break;
    case 3: k = OP_TRIAL_STOP; break;
    default:
        if (w->core.latched)
            k = OP_RESET;
        else
            k = mode_armed(w->core.mode) ? (w->core.trial_phase == TRIAL_IDLE ? OP_TRIAL_START : OP_NONE) : OP_ARM;
    }
    in->op   = (struct operation){ .kind       = k,
                                   .id         = 1,
                                   .trial      = 1 + rng_below(r, 1000),
                                   .trial_kind = rng_below(r, 3) ? TRIAL_PLANNED : TRIAL_RANDOM,
                                   .steps      = 200,
                                   .seed       = rng_next(r) };
    in->plan = p->horizon ? p : NULL;
}

/* Bold plans within the action's bounds, which are far beyond the joint's limit; now and then one that is none. */
static void next_plan(struct whole *w, const struct core_output *out)
{
    const struct plan_request *q = &out->plan_request;

    if (!out->has_plan_request)
        return;
    w->plan = dst_plan(q);
    for (int i = 0; i < w->config.nx; i++)
        w->plan.out_std[i] = 1;
    for (int h = 0; h < 5; h++)
        w->plan.action[h][0] = rng_below(&w->rng, 3000) ? (float)(6 * rng_uniform(&w->rng) - 3) : (float)NAN;
}

static void count_ticks(struct whole *w, bool is_torque)
{
    w->torque += is_torque;
    w->advanced += is_torque && w->core.mode == MODE_ADVANCED;
    w->explored += is_torque && w->core.mode == MODE_EXPLORE;
    w->resumed += is_torque && !w->was_torque;
    w->was_torque = is_torque;
}

/* Stretches of up to WINDOW ticks that end now, in which a motor's effort grew by more than its rate lets it. */
static int too_fast(struct whole *w, const double *tau)
{
    int bad = 0;

    memmove(w->grown[1], w->grown[0], sizeof w->grown - sizeof w->grown[0]);
    for (int j = 0; j < w->lim.nj; j++) {
        double sum = 0, from = tau[j] * w->last[j] > 0 ? fabs(w->last[j]) : 0;

        w->grown[0][j] = fabs(tau[j]) > from ? fabs(tau[j]) - from : 0;
        for (int k = 0; k < WINDOW; k++) {
            sum += w->grown[k][j];
            bad += w->lim.actuated[j] && !(sum <= 1.0011 * w->lim.up[j] * (k + TIMEOUT_TICKS));
        }
        w->last[j] = tau[j];
    }
    return bad;
}

/* The robot side alone decides, and keeps its rate. */
static int lossy_tick(struct whole *w, const struct core_output *out)
{
    uint64_t before = w->motors.count[RECEIVER_SLOWED];
    double   tau[MAX_JOINTS];

    if (w->lost == 0 && rng_below(&w->rng, 20) == 0)
        w->lost = 1 + (int)rng_below(&w->rng, 2 * TIMEOUT_TICKS);
    if (out->has_trial_request && out->trial_request.kind == TRIAL_RESET)
        receiver_forget_command(&w->motors);
    if (w->lost > 0)
        w->lost--;
    else if (out->has_command)
        receiver_command(&w->motors, &out->command, w->now_ns);
    receiver_effort(&w->motors, w->state.position, w->state.velocity, w->now_ns, tau);
    if (w->motors.mode != RECEIVER_LIVE)
        memset(tau, 0, sizeof tau);
    w->slowed += w->motors.count[RECEIVER_SLOWED] != before;
    w->torque += w->motors.mode == RECEIVER_LIVE;
    /* They agree about limit and rate: that something got lost is no reason to say otherwise (F10). */
    return too_fast(w, tau) + (w->motors.count[RECEIVER_CHANGED] != 0);
}

/* One tick; the number of disagreements. */
static int whole_tick(struct whole *w)
{
    static struct core_output out;
    struct core_input in  = { .host = UINT32_MAX, .timing_clean = true, .model_version = 1, .aborted_trial = -1 };
    int               bad = 0;

    w->now_ns += (uint64_t)(1e9 / w->config.control_hz);
    next_state(w, &in);
    next_wish(w, &in);
    in.now_ns = w->now_ns;
    core_step(&w->core, &in, &out);
    next_plan(w, &out);
    if (out.has_trial_request && out.trial_request.kind == TRIAL_RESET) {
        w->state.ready_trial = (int64_t)out.trial_request.trial;
        w->state.ready_count++;
    }
    receiver_estop(&w->motors, w->state.estop);
    if (w->lossy)
        return lossy_tick(w, &out);
    if (!out.has_command)
        return 0;
    bool           is_torque = out.command.mode == COMMAND_TORQUE;
    struct applied a         = applied(&w->motors, &out.command, w->state.position, w->state.velocity, w->now_ns);
    bool           live      = w->motors.mode == RECEIVER_LIVE;

    count_ticks(w, is_torque);
    bad += !a.taken;
    bad += w->motors.count[RECEIVER_CHANGED] != 0;
    bad += is_torque && !live && w->motors.mode != RECEIVER_LATCH;
    for (int j = 0; j < w->lim.nj; j++) {
        double got = is_torque && live ? a.tau[j] : 0;

        bad += is_torque && live && (a.changed || a.tau[j] != out.command.torque[j]);
        bad += is_torque && live && w->lim.actuated[j] && !step_allowed(&w->lim, j, w->last[j], got);
        w->last[j] = got;
    }
    return bad;
}

/* Some thousand ticks of a random robot. */
static int whole_run(struct whole *w, int i, bool lossy)
{
    int bad = 0;

    memset(w, 0, sizeof *w);
    rng_seed(&w->rng, 900 + (uint64_t)i);
    random_robot(w);
    w->lossy  = lossy;
    w->now_ns = 1000 * NS_PER_S;
    w->motors = receiver_of(&w->lim, true, w->now_ns);
    w->state  = (struct joint_state){ .session = 1, .nj = w->config.nj, .ready_trial = -1 };
    core_init(&w->core, &w->config, 0);
    core_ready(&w->core);
    for (int k = 0; k < 4000 && !bad; k++)
        if ((bad = whole_tick(w)))
            printf("    robot %d, tick %d, %s: %d disagreements\n", i, k, mode_name(w->core.mode), bad);
    return bad;
}

TEST(whatever_a_core_commands_in_any_mode_the_receiver_of_its_robot_applies_unchanged)
{
    static struct whole w;
    int                 robots = test_rounds(100, 3000), torque_ticks = 0, advanced = 0, explored = 0, resumed = 0;

    for (int i = 0; i < robots; i++) {
        EXPECT(whole_run(&w, i, false) == 0);
        torque_ticks += w.torque, advanced += w.advanced, explored += w.explored, resumed += w.resumed;
    }
    EXPECT(torque_ticks > robots * 1000);
    EXPECT(advanced > robots * 100 && explored > robots * 100 && resumed > robots * 5);
}

TEST(where_commands_get_lost_and_resets_forget_them_the_motors_effort_still_grows_no_faster_than_its_rate)
{
    static struct whole w;
    int                 robots = test_rounds(60, 2000), torque_ticks = 0, slowed = 0;

    for (int i = 0; i < robots; i++) {
        EXPECT(whole_run(&w, i, true) == 0);
        torque_ticks += w.torque, slowed += w.slowed;
    }
    EXPECT(torque_ticks > robots * 500 && slowed > robots * 5);
    if (!(torque_ticks > robots * 500 && slowed > robots * 5))
        printf("    %d ticks of torque, slowed in %d\n", torque_ticks, slowed);
}
