/* test_core_edges.c - what the model (tests/spin) found about resets, and branches of the core that the simulation does not
 * come by: every operation in the wrong moment, and stops of rare causes. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/test.h"

struct bench {
    struct robot_config config;
    struct core         core;
    struct core_input   in;
    struct core_output  out;
    struct joint_state  state;
};

static void tick(struct bench *b, enum operation_kind op)
{
    b->in.now_ns += b->core.tick_ns;
    b->state.seq++;
    b->in.state     = &b->state;
    b->in.state_new = true;
    b->in.op        = (struct operation){ .kind = op };
    core_step(&b->core, &b->in, &b->out);
}

/* Armed in session 7. */
static void armed_as(struct bench *b, bool lockstep)
{
    memset(b, 0, sizeof *b);
    dst_config(&b->config);
    core_init(&b->core, &b->config, 0);
    core_ready(&b->core);
    b->in.now_ns        = NS_PER_S;
    b->in.host          = ~0u;
    b->in.timing_clean  = true;
    b->in.aborted_trial = -1;
    b->in.lockstep      = lockstep;
    b->state            = (struct joint_state){ .session = 7, .nj = b->config.nj, .ready_trial = -1 };
    for (int i = 0; i < 4 * (int)b->config.control_hz; i++)
        tick(b, OP_NONE);
    tick(b, OP_ARM);
    EXPECT(b->core.mode == MODE_BASELINE);
}

static void armed(struct bench *b)
{
    armed_as(b, false);
}

/* FAULT sends DAMP, and only IDLE ends the robot side's latch: a reset that waited for that would wait for ever. */
TEST(the_robot_sides_own_latch_does_not_forbid_the_reset_that_ends_it)
{
    static struct bench b;

    armed(&b);
    b.state.faults = ROBOT_FAULT_LATCHED; /* an e-stop came and went */
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_FAULT && b.out.command.mode == COMMAND_DAMP);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_DISARMED && b.out.command.mode == COMMAND_IDLE);

    armed(&b);
    b.state.faults = ROBOT_FAULT_LATCHED | ROBOT_FAULT_DIVERGED;
    tick(&b, OP_NONE);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_FAULT); /* any other fault does */
}

TEST(a_reset_does_not_clear_a_fault_that_came_up_in_the_same_tick)
{
    static struct bench b;

    armed(&b);
    b.state.session++; /* the robot side started anew while armed */
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_FAULT);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_DISARMED);
}

/* ---- operations in the wrong moment ---- */

static const struct notice *answer(const struct bench *b)
{
    for (int i = 0; i < b->out.nnotice; i++)
        if (b->out.notice[i].kind == NOTICE_ANSWER)
            return &b->out.notice[i];
    return NULL;
}

static void answers(struct bench *b, enum operation_kind op, bool ok, const char *text)
{
    tick(b, op);
    const struct notice *n = answer(b);

    EXPECT(n && n->ok == ok);
    EXPECT_STR(n ? n->text : "", text);
}

/* A trial of this kind asked for. */
static void asks(struct bench *b, enum trial_kind kind, bool ok, const char *text)
{
    b->in.now_ns += b->core.tick_ns;
    b->state.seq++;
    b->in.op = (struct operation){ .kind = OP_TRIAL_START, .trial = 1, .trial_kind = kind, .steps = 10 };
    core_step(&b->core, &b->in, &b->out);
    EXPECT(answer(b) && answer(b)->ok == ok);
    EXPECT_STR(answer(b) ? answer(b)->text : "", text);
}

TEST(an_operation_in_the_wrong_moment_is_refused_with_its_reason)
{
    static struct bench b;

    armed(&b);
    answers(&b, OP_ARM, false, "already armed");
    answers(&b, OP_RESET, false, "only a stopped robot");
    answers(&b, OP_TRIAL_STOP, false, "no trial is under way");
    answers(&b, OP_TRIAL_READY, false, "no trial waits for a start pose");
    answers(&b, OP_EXPIRED, false, "too late");
    answers(&b, OP_TASK, true, "task changed");
    asks(&b, TRIAL_PLANNED, false, "no model is loaded");
    b.config.exploration.kind = EXPLORE_NONE;
    asks(&b, TRIAL_RANDOM, false, "configures no exploration");
    b.config.exploration.kind = EXPLORE_UNIFORM;
    asks(&b, TRIAL_RANDOM, true, "trial started");
    EXPECT(b.out.has_trial_request && b.out.trial_request.kind == TRIAL_RESET);
    asks(&b, TRIAL_RANDOM, false, "a trial is under way");
    answers(&b, OP_TASK, false, "between trials");
    answers(&b, OP_TRIAL_READY, true, "ready");
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_EXPLORE);
    answers(&b, OP_TRIAL_STOP, true, "trial aborted");
    EXPECT(b.core.mode == MODE_BASELINE);
    answers(&b, OP_DISARM, true, "stopping");
    answers(&b, OP_STOP, true, "stopping"); /* outranks the disarm: it latches */
    EXPECT(b.core.stop_latches);
    answers(&b, OP_ARM, false, "only a disarmed robot");
    asks(&b, TRIAL_RANDOM, false, "arm the robot first");
    for (int i = 0; i < 100; i++)
        tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_DISARMED);
    answers(&b, OP_ARM, false, "not_latched");
    answers(&b, OP_STOP, true, "not armed");
}

TEST(a_trial_that_does_not_get_its_start_pose_is_given_up)
{
    static struct bench b;

    armed(&b);
    b.config.exploration.kind = EXPLORE_UNIFORM;
    asks(&b, TRIAL_RANDOM, true, "trial started");
    for (int i = 0; i < (int)(b.config.timeouts.reset_s * b.config.control_hz) + 3; i++)
        tick(&b, OP_NONE);
    EXPECT(b.core.trial_phase == TRIAL_IDLE && b.core.mode == MODE_BASELINE);

    asks(&b, TRIAL_RANDOM, true, "trial started");
    b.in.aborted_trial = 1; /* the robot side cannot */
    tick(&b, OP_NONE);
    EXPECT(b.core.trial_phase == TRIAL_IDLE && b.core.mode == MODE_BASELINE);
}

/* ---- ways to stop ---- */

TEST(what_an_operator_asks_for_ramps_down_and_only_a_stop_waits_for_a_reset)
{
    static const struct {
        enum operation_kind op;
        enum stop_code      stop;
        bool                latches;
    } row[] = { { OP_STOP, STOP_OPERATOR, true }, { OP_DISARM, STOP_DISARM, false }, { OP_SHUTDOWN, STOP_SHUTDOWN, false } };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static struct bench b;

        armed(&b);
        tick(&b, row[i].op);
        EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == row[i].stop && b.out.command.mode == COMMAND_TORQUE);
        for (int k = 0; k < (int)(b.config.timeouts.stop_cap_s * b.config.control_hz) + 2; k++)
            tick(&b, OP_NONE);
        EXPECT(b.core.mode == MODE_DISARMED && b.core.latched == row[i].latches);
        EXPECT(b.out.command.mode == (row[i].latches ? COMMAND_DAMP : COMMAND_IDLE));
    }
}

TEST(the_first_reason_to_stop_stays_unless_a_later_one_latches)
{
    static struct bench b;

    armed(&b);
    tick(&b, OP_SHUTDOWN);
    core_mode(&b.core, &b.out, EVENT_STOP, STOP_DISARM);
    EXPECT(b.core.stop == STOP_SHUTDOWN && !b.core.stop_latches);
    core_mode(&b.core, &b.out, EVENT_STOP, STOP_POSITION);
    EXPECT(b.core.stop == STOP_POSITION && b.core.stop_latches);
    core_mode(&b.core, &b.out, EVENT_STOP, STOP_OPERATOR);
    EXPECT(b.core.stop == STOP_POSITION);
}

/* Torque of an operator's ramp is for a robot that does what it should. */
TEST(trouble_ends_an_operators_ramp_in_that_tick_for_good_and_is_told)
{
    static const enum operation_kind ops[] = { OP_STOP, OP_DISARM, OP_SHUTDOWN };

    for (int i = 0; i < 3; i++) {
        for (int what = 0; what < 3; what++) {
            static struct bench b;

            armed(&b);
            tick(&b, ops[i]);
            EXPECT(b.core.mode == MODE_STOPPING && b.out.command.mode == COMMAND_TORQUE);
            uint64_t since = b.core.stopping_ns;
            b.in.slept     = what == 0;
            b.in.now_ns += what == 1 ? (uint64_t)(b.config.timeouts.state_stale_s * 1e9) : 0;
            b.state.ready_count += what == 2; /* an announced jump, so that only the limit speaks */
            b.state.position[0] = what == 2 ? b.config.joint[0].position_max + 1.5 : 0;
            tick(&b, OP_NONE);
            EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == (what == 2 ? STOP_POSITION : STOP_STALL));
            EXPECT(b.core.stop_latches && b.core.stop_tick == b.core.tick && b.core.stopping_ns == since);
            EXPECT(b.out.command.mode == COMMAND_DAMP && !(fabs(b.core.sent[0]) > 0));
            bool told = false;
            for (int k = 0; k < b.out.nnotice; k++)
                told |= b.out.notice[k].kind == NOTICE_MODE && b.out.notice[k].to == MODE_STOPPING &&
                        b.out.notice[k].stop == b.core.stop;
            EXPECT(told);
            b.in.slept          = false;
            b.state.position[0] = 0;
            b.state.ready_count += what == 2;
            for (int k = 0; k < 3; k++) { /* and the operator's wish does not bring it back */
                tick(&b, OP_STOP);
                EXPECT(b.out.command.mode == COMMAND_DAMP && b.core.stop != STOP_OPERATOR);
            }
            for (int k = 0; k < 30; k++)
                tick(&b, OP_NONE);
            EXPECT(b.core.mode == MODE_DISARMED && b.core.latched);
        }
    }
}

TEST(a_ramp_that_lost_its_states_does_not_go_on_when_they_come_back)
{
    static struct bench b;

    armed(&b);
    b.config.timeouts.stop_ramp_s = 0.4;
    tick(&b, OP_STOP);
    b.in.state_new = false;
    for (int k = 0; b.core.stop == STOP_OPERATOR && k < 10; k++) {
        b.in.now_ns += b.core.tick_ns;
        b.in.op.kind = OP_NONE;
        core_step(&b.core, &b.in, &b.out);
    }
    EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == STOP_STATE_STALE);
    tick(&b, OP_NONE);
    EXPECT(b.core.good && b.out.command.mode == COMMAND_DAMP);
}

TEST(a_machine_that_was_suspended_is_a_stall_although_its_clock_stood_still)
{
    for (int lockstep = 0; lockstep < 2; lockstep++) {
        static struct bench b;

        armed_as(&b, lockstep);
        b.in.slept = true;
        tick(&b, OP_NONE);
        EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == STOP_STALL && b.out.command.mode == COMMAND_DAMP);
    }
}

TEST(a_state_that_waited_for_more_than_two_ticks_is_none_but_its_emergency_stop_counts)
{
    static struct bench b;

    armed(&b);
    b.in.state_age_s = 2 * b.core.tick_s;
    tick(&b, OP_NONE);
    EXPECT(b.core.good && b.core.count_late == 0);
    b.in.state_age_s = 2.01 * b.core.tick_s;
    tick(&b, OP_NONE);
    EXPECT(!b.core.good && b.core.count_late == 1 && b.out.record.faults & FAULT_STATE_MISSING);
    b.state.estop = true;
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_FAULT && b.core.stop == STOP_ESTOP);

    armed(&b);
    b.in.state_age_s = 1;
    for (int i = 0; i < 3; i++)
        tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == STOP_STATE_STALE && b.core.count_late == 3);
}

/* The main thread's word on the check may be some ticks old. */
TEST(nobody_arms_in_the_tick_that_first_sees_a_refused_system_call)
{
    static struct bench b;

    armed(&b);
    tick(&b, OP_DISARM);
    for (int i = 0; i < 4 * (int)b.config.control_hz; i++)
        tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_DISARMED);
    b.in.syscall_refused = true;
    answers(&b, OP_ARM, false, "syscalls");
    EXPECT(b.core.mode == MODE_DISARMED && b.out.command.mode == COMMAND_IDLE);
}

static int told_of(const struct bench *b, uint32_t bit)
{
    for (int i = 0; i < b->out.nnotice; i++)
        if (b->out.notice[i].kind == NOTICE_FAULT && 1u << b->out.notice[i].fault == bit)
            return b->out.notice[i].count;
    return 0;
}

TEST(a_fault_that_stops_nothing_is_told_when_it_comes_up_and_the_rest_of_it_ten_seconds_later)
{
    static struct bench b;
    int                 told = 0, ticks = 0;

    armed(&b);
    for (int i = 0; i < 11 * (int)b.config.control_hz; i++) {
        b.in.state_age_s = i % 5 == 0 ? 1 : 0;
        tick(&b, OP_NONE);
        if (told_of(&b, FAULT_STATE_MISSING)) {
            ticks += told_of(&b, FAULT_STATE_MISSING);
            told++;
        }
    }
    EXPECT(b.core.mode == MODE_BASELINE);
    EXPECT(told == 2 && ticks == 51); /* the first, and fifty in ten seconds of 25 Hz */

    tick(&b, OP_DISARM);
    for (int i = 0; i < 20 * (int)b.config.control_hz; i++) { /* nobody is armed, nobody is told */
        b.in.state_age_s = i % 5 == 0 ? 1 : 0;
        tick(&b, OP_NONE);
        EXPECT(i < 15 || !told_of(&b, FAULT_STATE_MISSING));
    }
}

TEST(a_system_call_that_was_refused_is_a_fault)
{
    static struct bench b;

    armed(&b);
    b.in.syscall_refused = true;
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_FAULT && b.core.stop == STOP_SYSCALL && b.out.command.mode == COMMAND_DAMP);
}

/* ---- rare causes ---- */

TEST(a_gap_between_ticks_stops_although_the_state_is_new)
{
    static struct bench b;

    armed(&b);
    b.in.now_ns += (uint64_t)((b.config.timeouts.state_stale_s + 1) * 1e9);
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_STOPPING && b.core.stop == STOP_STALL && b.out.command.mode == COMMAND_DAMP);
}

TEST(in_lockstep_time_between_ticks_is_the_simulators_business)
{
    static struct bench b;

    armed_as(&b, true);
    b.in.now_ns += 3600 * NS_PER_S;
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_BASELINE && !(b.out.record.faults & (FAULT_STALL | FAULT_TICK_LATE)));
}

TEST(a_joint_beyond_its_limit_stops_unless_that_gate_is_off)
{
    for (int off = 0; off < 2; off++) {
        static struct bench b;

        armed(&b);
        b.config.gates.position.off = off;
        b.state.ready_count++; /* an announced jump, so that only the limit speaks */
        b.state.position[0] = b.config.joint[0].position_max + 1.5;
        tick(&b, OP_NONE);
        EXPECT(b.core.mode == (off ? MODE_BASELINE : MODE_STOPPING));
        EXPECT(off || b.core.stop == STOP_POSITION);
    }
}

TEST(a_baseline_that_is_no_number_faults_in_the_same_tick_and_sends_no_torque)
{
    static struct bench b;

    armed(&b);
    b.config.baseline             = BASELINE_HOLD;
    b.config.joint[0].baseline_kp = (double)NAN;
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_FAULT && b.core.stop == STOP_EFFORT);
    EXPECT(b.out.command.mode == COMMAND_DAMP && b.out.command.torque[0] == 0);
}

TEST(the_baseline_damps_and_holds_the_pose_it_was_given)
{
    static struct bench b;

    armed(&b);
    b.config.joint[0].baseline_kp = 10;
    b.config.joint[0].baseline_kd = 2;
    b.state.position[0] = 0.1, b.state.velocity[0] = 0.5;
    b.config.baseline = BASELINE_DAMP;
    tick(&b, OP_NONE);
    EXPECT_NEAR(b.out.command.torque[0], -2 * 0.5, 1e-12);
    b.config.baseline = BASELINE_HOLD;
    tick(&b, OP_NONE);
    EXPECT_NEAR(b.out.command.torque[0], -2 * 0.5 - 10 * 0.1, 1e-12);
}

TEST(posture_goes_down_as_slowly_as_up)
{
    for (int side = -1; side <= 1; side += 2) {
        static struct bench b;

        armed(&b);
        b.config.baseline                   = BASELINE_POSTURE;
        b.config.joint[0].baseline_position = side;
        double most                         = 0.05 * b.config.joint[0].velocity * b.core.tick_s;
        for (int k = 1; k <= 3; k++) {
            tick(&b, OP_NONE);
            EXPECT_NEAR(b.core.hold[0], side * k * most, 1e-12);
        }
        for (int k = 0; k < 100; k++)
            tick(&b, OP_NONE);
        EXPECT(b.core.hold[0] == side);
    }
}

static void tell_all(const void *one_more)
{
    static struct bench b;

    armed(&b);
    b.out.nnotice = 0;
    for (int i = 0; i < NOTICE_MAX + (one_more != NULL); i++)
        core_notice(&b.core, &b.out, NOTICE_MODE);
}

TEST(a_tick_with_more_to_tell_than_there_is_room_for_is_a_bug)
{
    EXPECT(!test_breaks(tell_all, NULL, ""));
    EXPECT(test_breaks(tell_all, "one more", "NOTICE_MAX"));
}
