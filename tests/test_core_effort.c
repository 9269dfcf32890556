/* test_core_effort.c - F7, F9 and F10 by the tick: measured effort that is not the commanded one; a robot side that changes it; effort that stands at its limit,
 * goes from side to side, or does too much work.  The effort of every tick is chosen, in every mode that sends any. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/test.h"

static struct robot_config config;
static struct core         core;
static struct core_input   in;
static struct core_output  out;
static struct joint_state  state;

static const enum mode modes[] = { MODE_BASELINE, MODE_EXPLORE, MODE_ADVANCED };

enum { MODES = sizeof modes / sizeof *modes };

/* One tick, gap_s after the last, in which the joints want these efforts; the state is a new one, and says that the newest
 * command held and did what was asked. */
static void tick_after(double gap_s, double tau0, double tau1, enum operation_kind op)
{
    const double tau[] = { tau0, tau1 };

    in.now_ns += (uint64_t)llround(gap_s * 1e9);
    in.op        = (struct operation){ .kind = op };
    in.state_new = true;
    state.seq++;
    for (int j = 0; j < 2; j++) {
        config.joint[j].ngravity          = 1; /* of any pose alike: this is what the baseline wants */
        config.joint[j].gravity[0].effort = tau[j];
        core.action_effort[j]             = tau[j];
    }
    core_step(&core, &in, &out);
    state.applied_command_seq = out.command.seq;
    state.applied_held        = true;
    memcpy(state.applied_effort, out.command.torque, sizeof state.applied_effort);
    memcpy(state.effort, out.command.torque, sizeof state.effort);
}

static void tick(double tau)
{
    tick_after(core.tick_s, tau, 0, OP_NONE);
}

/* Armed, in this mode, with efforts up to 300 and 100; nothing was sent so far. */
static void armed(enum mode mode)
{
    core_init(&core, &config, 0);
    core_ready(&core);
    in = (struct core_input){
        .now_ns = NS_PER_S, .state = &state, .timing_clean = true, .host = ~0u, .aborted_trial = -1
    };
    state = (struct joint_state){ .session = 7, .nj = 2, .ready_trial = -1, .has_effort = true };
    for (int i = 0; i < 60; i++)
        tick(0);
    tick_after(core.tick_s, 0, 0, OP_ARM);
    EXPECT(core.mode == MODE_BASELINE);
    core.mode = mode;
}

/* What armed() arms: nothing is watched unless a test says so. */
static void plain(void)
{
    dst_config(&config);
    config.plan_every      = 100000; /* no boundary: what is wanted stays as it is */
    config.joint[1]        = config.joint[0];
    config.joint[1].effort = 100;
}

static bool stopped(enum stop_code code, uint32_t bit)
{
    return core.mode == MODE_STOPPING && core.stop == code && core.stop_latches && out.record.faults & bit &&
           out.command.mode == COMMAND_DAMP && !(fabs(out.command.torque[0]) > 0) && !(fabs(core.sent[0]) > 0);
}

static bool blamed(int joint, char what)
{
    return out.record.blame.joint == joint && out.record.blame.what == what;
}

/* ---- F9: at the limit ---- */

static void dwelling(enum mode mode, double threshold)
{
    plain();
    config.gates.limit_dwell = (struct gate_config){ .threshold = threshold };
    armed(mode);
}

/* Ticks from the first of these efforts until the robot stops; -1: not in 200. */
static int ticks_to_stop(double tau)
{
    for (int i = 0; i < 200; i++) {
        tick(tau);
        if (!mode_armed(core.mode))
            return i;
    }
    return -1;
}

TEST(an_effort_at_its_limit_for_longer_than_the_gate_allows_is_a_stop_in_that_tick_in_every_mode_and_on_each_side)
{
    for (int m = 0; m < MODES; m++)
        for (int sign = -1; sign <= 1; sign += 2) {
            dwelling(modes[m], 0.5);
            EXPECT(ticks_to_stop(sign * 300) == 13); /* the first after 0.5 s of 25 Hz */
            EXPECT(stopped(STOP_LIMIT_DWELL, FAULT_LIMIT_DWELL) && blamed(0, 'd'));
            EXPECT_NEAR(out.record.blame.value, 0.52, 1e-9);
            EXPECT(out.record.blame.limit == 0.5 && !core.gate[GATE_LIMIT_DWELL].ok);
            EXPECT_NEAR(core.gate[GATE_LIMIT_DWELL].value, 0.52, 1e-9);
            tick(300);
            EXPECT(core.gate[GATE_LIMIT_DWELL].ok && !(core.watch.stood_s[0] > 0) && core.stop == STOP_LIMIT_DWELL);
        }
}

TEST(within_one_per_cent_is_at_the_limit_and_beyond_that_is_not)
{
    dwelling(MODE_ADVANCED, 0.5);
    EXPECT(ticks_to_stop(0.99 * 300) == 13);
    dwelling(MODE_ADVANCED, 0.5);
    EXPECT(ticks_to_stop(0.99 * 300 - 1e-9) == -1);
    dwelling(MODE_ADVANCED, 0.5);
    EXPECT(ticks_to_stop(1e9) == 13); /* what is sent counts, not what is wanted */
}

TEST(one_tick_away_from_the_limit_or_on_its_other_side_begins_anew)
{
    static const double other[] = { 200, -300 };

    for (int k = 0; k < 2; k++) {
        dwelling(MODE_ADVANCED, 0.5);
        for (int i = 0; i < 13; i++)
            tick(300);
        tick_after(0.02, other[k], 0, OP_NONE); /* early: exactly 0.5 s */
        EXPECT(core.mode == MODE_ADVANCED);
        EXPECT(ticks_to_stop(300) == 13);
    }
}

TEST(the_joint_that_stands_at_its_limit_longest_is_named)
{
    dwelling(MODE_ADVANCED, 0.5);
    for (int i = 0; i < 13; i++)
        tick_after(core.tick_s, i < 2 ? 0 : 300, -100, OP_NONE);
    tick_after(core.tick_s, 300, -100, OP_NONE);
    EXPECT(stopped(STOP_LIMIT_DWELL, FAULT_LIMIT_DWELL) && blamed(1, 'd'));
}

TEST(ticks_that_did_not_happen_and_states_that_did_not_come_count_as_time_at_the_limit)
{
    dwelling(MODE_ADVANCED, 0.5);
    for (int i = 0; i < 11; i++)
        tick(300); /* 0.4 s */
    tick_after(0.101, 0, 0, OP_NONE);
    EXPECT(stopped(STOP_LIMIT_DWELL, FAULT_LIMIT_DWELL)); /* although no more is wanted: it was too long */

    dwelling(MODE_ADVANCED, 0.5);
    for (int i = 0; i < 14; i++) {
        EXPECT(core.mode == MODE_ADVANCED);
        if (i % 3 == 2) {
            in.now_ns += core.tick_ns;
            in.state_new = false;
            core_step(&core, &in, &out); /* sends the same again */
        } else
            tick(300);
    }
    EXPECT(core.mode == MODE_STOPPING && core.stop == STOP_LIMIT_DWELL);
}

TEST(a_wish_that_is_no_number_does_not_hide_that_the_baseline_stands_at_the_limit)
{
    dwelling(MODE_ADVANCED, 0.5);
    tick(300);
    for (int i = 1; i < 13; i++) {
        in.now_ns += core.tick_ns, state.seq++;
        core.action_effort[0] = (double)NAN;
        core_step(&core, &in, &out);
        EXPECT(core.mode == MODE_ADVANCED && out.command.torque[0] >= 300);
    }
    EXPECT(ticks_to_stop((double)NAN) == 0); /* of the baseline as well: another stop, that of the filter */
    EXPECT(core.mode == MODE_FAULT && core.stop == STOP_EFFORT);
}

TEST(the_compiled_ceiling_is_a_limit_as_well)
{
    plain();
    config.gates.limit_dwell    = (struct gate_config){ .threshold = 0.5 };
    config.joint[0].effort      = 2 * FILTER_EFFORT_CEILING;
    config.joint[0].effort_rate = config.joint[0].effort_rate_down = 1e9;
    armed(MODE_ADVANCED);
    EXPECT(ticks_to_stop(1.5 * FILTER_EFFORT_CEILING) == 13);
}

TEST(a_joint_without_a_motor_does_not_stand_at_its_limit_of_nothing)
{
    plain();
    config.gates.limit_dwell = (struct gate_config){ .threshold = 0.5 };
    config.joint[1].actuated = false;
    config.joint[1].effort   = 0;
    armed(MODE_ADVANCED);
    EXPECT(ticks_to_stop(10) == -1 && core.gate[GATE_LIMIT_DWELL].ok);
}

/* The operator's ramp begins at the limit; what he stops does not need another reason. */
TEST(no_torque_ends_the_dwell_and_a_stop_that_is_under_way_keeps_its_name)
{
    dwelling(MODE_ADVANCED, 0.1);
    for (int i = 0; i < 3; i++)
        tick(300);
    tick_after(core.tick_s, 300, 0, OP_DISARM); /* stood for 0.12 s */
    EXPECT(core.mode == MODE_STOPPING && core.stop == STOP_DISARM && !core.gate[GATE_LIMIT_DWELL].ok);
    EXPECT(out.command.mode == COMMAND_TORQUE && !(out.record.faults & FAULT_LIMIT_DWELL));
    for (int i = 0; i < 25; i++)
        tick(300);
    EXPECT(core.mode == MODE_DISARMED && !core.latched);
    tick_after(core.tick_s, 0, 0, OP_ARM);
    for (int i = 0; i < 3; i++)
        tick(300);
    EXPECT(core.mode == MODE_BASELINE);
    tick(300);
    EXPECT(core.mode == MODE_STOPPING);
}

/* ---- F9: from side to side ---- */

static void oscillating(enum mode mode, double threshold)
{
    plain();
    config.gates.oscillation = (struct gate_config){ .threshold = threshold };
    armed(mode);
}

/* Ticks of +tau, -tau, ... until the robot stops; -1: not in 200. */
static int reversing_to_stop(double tau, int every)
{
    for (int i = 0; i < 200; i++) {
        tick(i / every % 2 ? -tau : tau);
        if (!mode_armed(core.mode))
            return i;
    }
    return -1;
}

TEST(efforts_that_go_from_side_to_side_too_often_are_a_stop_and_the_one_too_many_is_not_sent)
{
    for (int m = 0; m < MODES; m++) {
        if (modes[m] == MODE_EXPLORE)
            continue;
        for (int sign = -1; sign <= 1; sign += 2) {
            oscillating(modes[m], 5);
            EXPECT(reversing_to_stop(sign * 150, 1) == 6); /* 1 + 0.96 + ... + 0.96^5 = 5.43 */
            EXPECT(stopped(STOP_OSCILLATION, FAULT_OSCILLATION) && blamed(0, 'o'));
            EXPECT_NEAR(out.record.blame.value, (1 - pow(0.96, 6)) / 0.04, 1e-9);
            EXPECT(out.record.blame.limit == 5);
            tick(0);
            EXPECT(core.gate[GATE_OSCILLATION].ok && !(core.watch.reversals[0] > 0));
        }
    }
}

TEST(reversals_that_are_seldom_enough_or_do_not_go_beyond_half_the_limit_are_none_of_its_business)
{
    oscillating(MODE_ADVANCED, 5);
    EXPECT(reversing_to_stop(150 - 1e-9, 1) == -1);
    oscillating(MODE_ADVANCED, 5);
    EXPECT(reversing_to_stop(300, 6) == -1); /* 4.2 a second, 4.6 right after one */
    oscillating(MODE_ADVANCED, 5);
    EXPECT(reversing_to_stop(300, 5) > 25); /* 5 a second, 5.4 after one: once the mean has settled */
    oscillating(MODE_ADVANCED, 5);
    EXPECT(ticks_to_stop(300) == -1);
}

TEST(the_way_from_side_to_side_may_take_time_and_counts_once)
{
    static const double way[] = { 200, 0, -100, -200, -150, -100, 100, 160 };

    oscillating(MODE_ADVANCED, 1.5);
    for (int i = 0; i < 7; i++)
        tick(way[i]);
    EXPECT_NEAR(core.watch.reversals[0], pow(0.96, 3), 1e-9);
    tick(way[7]);
    EXPECT(stopped(STOP_OSCILLATION, FAULT_OSCILLATION));
}

TEST(exploration_may_reverse_as_it_likes_and_leaves_no_trace)
{
    oscillating(MODE_EXPLORE, 5);
    EXPECT(reversing_to_stop(300, 1) == -1 && core.gate[GATE_OSCILLATION].ok);
    core.mode = MODE_BASELINE;
    EXPECT(reversing_to_stop(300, 1) == 5); /* the first is one already, from the last side of before */
}

TEST(the_joint_that_reverses_most_is_named)
{
    oscillating(MODE_ADVANCED, 5);
    for (int i = 0; mode_armed(core.mode) && i < 50; i++)
        tick_after(core.tick_s, i % 4 < 2 ? 300 : -300, i % 2 ? 60 : -60, OP_NONE);
    EXPECT(stopped(STOP_OSCILLATION, FAULT_OSCILLATION) && blamed(1, 'o'));
}

TEST(time_without_ticks_fades_reversals_like_time_with_them)
{
    oscillating(MODE_ADVANCED, 5);
    for (int i = 0; i < 6; i++)
        tick(i % 2 ? -300 : 300);
    double before = core.watch.reversals[0];
    tick_after(0.1, -300, 0, OP_NONE);
    EXPECT_NEAR(core.watch.reversals[0], 0.9 * before, 1e-9);
    in.lockstep = true; /* simulated time may jump */
    tick_after(1.5, -300, 0, OP_NONE);
    EXPECT(core.mode == MODE_ADVANCED || core.stop == STOP_STATE_STALE);
    EXPECT(!(core.watch.reversals[0] > 0));
}

/* ---- F9: energy ---- */

/* Joints move at these velocities from now on; nothing was sent so far. */
static void moving(enum mode mode, double threshold, double v0, double v1)
{
    plain();
    config.gates.energy = (struct gate_config){ .threshold = threshold };
    armed(mode);
    state.velocity[0] = v0;
    state.velocity[1] = v1;
    tick(0);
}

/* Forty ticks of this effort, and no stop: fifty with these numbers would be a stuck sensor. */
static bool may_last(double tau)
{
    for (int i = 0; i < 40; i++)
        tick(tau);
    return mode_armed(core.mode);
}

/* What a constant power has done after n ticks, J. */
static double done_after(double power, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum = sum * (1 - core.tick_s) + power * core.tick_s;
    return sum;
}

TEST(efforts_that_do_too_much_work_are_a_stop_in_every_mode_and_the_one_too_many_is_not_sent)
{
    for (int m = 0; m < MODES; m++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            moving(modes[m], 200, sign * 1.5, 0); /* 300 W: 12 J a tick, less what fades */
            EXPECT(ticks_to_stop(sign * 200) == 27);
            EXPECT(done_after(300, 26) <= 200 && done_after(300, 27) > 200);
            EXPECT(stopped(STOP_ENERGY, FAULT_ENERGY) && blamed(0, 'w'));
            EXPECT_NEAR(out.record.blame.value, done_after(300, 27), 1e-9);
            EXPECT(out.record.blame.limit == 200 && core.count_fault[27] == 1);
            tick(0);
            EXPECT(core.gate[GATE_ENERGY].ok && !(core.watch.work[0] > 0));
        }
    }
}

TEST(a_power_whose_sum_stays_within_the_gate_may_last_and_braking_neither_counts_nor_gives_back)
{
    moving(MODE_ADVANCED, done_after(300, 39) + 1e-9, 1.5, 0);
    EXPECT(may_last(200)); /* 480 J, of which so much is left */
    moving(MODE_ADVANCED, done_after(300, 39) - 1e-9, 1.5, 0);
    EXPECT(!may_last(200) && core.stop == STOP_ENERGY);
    moving(MODE_ADVANCED, 1e-6, -1.5, 0);
    EXPECT(may_last(200));
    moving(MODE_ADVANCED, 1e6, 1.5, 0);
    tick(200);
    tick(-200); /* 200 was in force until now */
    EXPECT_NEAR(core.watch.work[0], 12, 1e-9);
    tick(-200);
    EXPECT_NEAR(core.watch.work[0], 12 * 0.96, 1e-9);
}

TEST(the_work_of_all_joints_counts_together_and_the_one_that_did_most_is_named)
{
    moving(MODE_ADVANCED, 100, 0.4, 5);
    for (int i = 0; mode_armed(core.mode) && i < 50; i++)
        tick_after(core.tick_s, 200, 60, OP_NONE); /* 80 W and 300 W */
    EXPECT(stopped(STOP_ENERGY, FAULT_ENERGY) && blamed(1, 'w'));
    EXPECT_NEAR(out.record.blame.value, done_after(380, 8), 1e-9);
    EXPECT(done_after(380, 7) <= 100 && done_after(380, 8) > 100);
}

TEST(time_without_ticks_counts_as_work_of_the_effort_that_was_in_force)
{
    moving(MODE_ADVANCED, 1e6, 1.5, 0);
    tick(200);
    tick_after(0.1, 0, 0, OP_NONE);
    EXPECT_NEAR(core.watch.work[0], 30, 1e-6);
    moving(MODE_ADVANCED, 29.9, 1.5, 0);
    tick(200);
    tick_after(0.1, 0, 0, OP_NONE);
    EXPECT(stopped(STOP_ENERGY, FAULT_ENERGY));
}

TEST(gates_of_effort_that_are_off_stop_nothing_and_both_at_once_are_told_by_the_first)
{
    plain();
    armed(MODE_ADVANCED);
    EXPECT(core.gate[GATE_LIMIT_DWELL].off && core.gate[GATE_OSCILLATION].off && core.gate[GATE_ENERGY].off);
    EXPECT(ticks_to_stop(300) == -1 && reversing_to_stop(300, 1) == -1);
    EXPECT(core.count_fault[25] == 0 && core.count_fault[26] == 0);

    plain();
    config.gates.limit_dwell = (struct gate_config){ .threshold = 0.03 };
    config.gates.oscillation = (struct gate_config){ .threshold = 0.9 };
    armed(MODE_ADVANCED);
    EXPECT(reversing_to_stop(300, 1) == 1);
    EXPECT(stopped(STOP_LIMIT_DWELL, FAULT_LIMIT_DWELL) && out.record.faults & FAULT_OSCILLATION && blamed(0, 'd'));
}

/* ---- F7 ---- */

static void tracking(enum mode mode)
{
    plain();
    config.joint[0].effort_error = 10;
    armed(mode);
}

/* One tick at 100 whose state says that the last one's effort was off by so much. */
static void off_by(double error)
{
    state.effort[0] += error;
    tick(100);
}

/* The state that off_by() sends is the n-th of these that makes the robot stop; -1: none of 100. */
static int off_to_stop(double error)
{
    for (int i = 1; i <= 100; i++) {
        off_by(error);
        if (!mode_armed(core.mode))
            return i;
    }
    return -1;
}

TEST(ten_states_in_a_row_with_another_effort_than_commanded_are_a_stop_in_every_mode_and_on_each_side)
{
    for (int m = 0; m < MODES; m++)
        for (int sign = -1; sign <= 1; sign += 2) {
            tracking(modes[m]);
            tick(100);
            EXPECT(off_to_stop(sign * 10.001) == 10);
            EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR) && blamed(0, 't'));
            EXPECT_NEAR(out.record.blame.value, 100 + sign * 10.001, 1e-9);
            EXPECT(out.record.blame.limit == 100 && core.count_fault[24] == 1);
        }
}

TEST(an_effort_that_is_off_by_no_more_than_it_may_is_none_of_its_business)
{
    tracking(MODE_ADVANCED);
    tick(100);
    EXPECT(core.count_judged == 1);
    EXPECT(off_to_stop(10) == -1 && off_to_stop(-10) == -1);
    EXPECT(core.count_judged == 201);
    config.joint[0].effort_error = 0; /* nobody asked */
    EXPECT(off_to_stop(1e6) == -1);
}

TEST(one_state_that_agrees_begins_the_row_anew_and_one_that_tells_nothing_does_not)
{
    tracking(MODE_ADVANCED);
    tick(100);
    for (int i = 0; i < 9; i++)
        off_by(50);
    off_by(0);
    for (int i = 0; i < 9; i++)
        off_by(50);
    EXPECT(core.mode == MODE_ADVANCED && core.track.differ[0] == 9);
    state.applied_command_seq = 0; /* the robot side damps, or was moved */
    off_by(0);
    state.applied_command_seq -= 2; /* held up on its way */
    off_by(0);
    state.applied_command_seq += 1; /* nobody sent that */
    off_by(0);
    EXPECT(core.mode == MODE_ADVANCED && core.track.differ[0] == 9);
    off_by(50);
    EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR));
}

TEST(the_command_before_the_newest_is_judged_by_its_own_effort)
{
    tracking(MODE_ADVANCED);
    tick(100);
    tick(-200);
    for (int i = 0; i < 100; i++) { /* 100 and -200 by turns; the state left before the newest command acted */
        state.applied_command_seq--;
        state.effort[0] = i % 2 ? -200 : 100;
        tick(i % 2 ? -200 : 100);
    }
    EXPECT(core.mode == MODE_ADVANCED && core.track.differ[0] == 0);
    for (int i = 0; i < 10; i++) {
        EXPECT(core.mode == MODE_ADVANCED);
        state.applied_command_seq--;
        state.effort[0] = i % 2 ? 100 : -200; /* the newest one's */
        tick(i % 2 ? -200 : 100);
    }
    EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR));
}

TEST(an_interval_of_two_commands_must_have_an_effort_between_theirs)
{
    static const struct {
        double effort;
        bool   held, ok;
    } row[] = { { 0, false, true },     { -209, false, true }, { 109, false, true },
                { -211, false, false }, { 111, false, false }, { -50, true, false } };
    int started = 4; /* of a row that was under way: such a wide band ends none */

    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        tracking(MODE_ADVANCED);
        for (int i = 0; i < 12; i++) {
            tick(i % 2 ? -200 : 100);
            state.applied_held = row[k].held;
            state.effort[0]    = row[k].effort;
            if (i == 2 && row[k].ok)
                core.track.differ[0] = started;
        }
        EXPECT(mode_armed(core.mode) == row[k].ok);
        EXPECT(core.count_judged >= 9 && core.track.differ[0] == (row[k].ok ? started : 0));
    }
    tracking(MODE_ADVANCED); /* the first torque command after none has none to go with */
    EXPECT(core.track.n == 1);
    state.applied_held = false;
    tick(100);
    EXPECT(core.count_judged == 0);
}

/* A robot side that had nothing in force begins again at 0 and grows no faster than it may: that is no weak motor. */
TEST(after_a_moment_without_a_command_in_force_effort_may_take_the_time_it_needs_to_grow)
{
    int ticks;

    tracking(MODE_ADVANCED);
    core.limits.up[0] = 300 / 24.5; /* a whole second of 25 Hz */
    for (int i = 0; i < 5; i++)
        tick(100);
    EXPECT(core.count_judged >= 4);
    state.applied_command_seq = 0;
    tick(100);
    for (ticks = 0; ticks < 100 && mode_armed(core.mode); ticks++)
        off_by(-100);
    EXPECT(ticks == 24 + 10); /* then it is one */
    EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR) && blamed(0, 't'));
    tracking(MODE_ADVANCED);
    core.limits.up[0] = 1e-9; /* that is, never */
    state.applied_command_seq = 0;
    tick(100);
    EXPECT(off_to_stop(-100) == -1 && core.track.growing > 900000);
}

TEST(a_hot_motor_stands_at_the_limit_that_its_heat_leaves_it)
{
    plain();
    config.gates.limit_dwell           = (struct gate_config){ .threshold = 0.5 };
    config.joint[0].effort_continuous = 120;
    config.joint[0].heat_s            = 1e6; /* hot from the start, and for as long as this takes */
    armed(MODE_ADVANCED);
    EXPECT(ticks_to_stop(300) == 13 && stopped(STOP_LIMIT_DWELL, FAULT_LIMIT_DWELL));
    armed(MODE_ADVANCED);
    EXPECT(ticks_to_stop(119) == 13);
    armed(MODE_ADVANCED);
    EXPECT(ticks_to_stop(118) == -1);
}

TEST(effort_that_is_not_measured_after_all_is_not_what_was_commanded)
{
    tracking(MODE_ADVANCED);
    tick(100);
    state.has_effort = false;
    EXPECT(off_to_stop(0) == 10 && core.stop == STOP_TRACK_ERROR && isnan(out.record.blame.value));
}

TEST(measured_effort_that_is_no_number_is_no_state_where_it_is_compared)
{
    static const double value[] = { (double)NAN, (double)INFINITY, (double)-INFINITY };

    for (int k = 0; k < 3; k++) {
        tracking(MODE_ADVANCED);
        tick(100);
        state.effort[0] = value[k];
        tick(100);
        EXPECT(out.record.faults & FAULT_STATE_NONFINITE && blamed(0, 'm') && core.mode == MODE_BASELINE);
        state.effort[1] = value[k]; /* which nobody looks at */
        tick(100);
        EXPECT(!(out.record.faults & FAULT_STATE_NONFINITE));
    }
}

TEST(each_joint_is_counted_by_itself_and_the_one_that_differs_longest_is_named)
{
    for (int longest = 0; longest < 2; longest++) {
        plain();
        config.joint[0].effort_error = config.joint[1].effort_error = 10;
        armed(MODE_ADVANCED);
        tick(100);
        for (int i = 0; i < 40; i++) {
            state.effort[i % 2] += 50;
            tick(100);
        }
        EXPECT(core.mode == MODE_ADVANCED);
        tick(100);
        for (int i = 0; i < 12 && mode_armed(core.mode); i++) {
            state.effort[!longest] += i > 2 ? 500 : 0;
            state.effort[longest] -= 50;
            tick(100);
        }
        EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR) && blamed(longest, 't'));
    }
}

TEST(without_torque_nothing_is_judged_and_the_row_does_not_outlive_a_stop)
{
    tracking(MODE_BASELINE);
    tick(100);
    for (int i = 0; i < 9; i++)
        off_by(50);
    EXPECT(core.track.differ[0] == 9);
    core_step(&core, &(struct core_input){ .now_ns = in.now_ns += core.tick_ns, .op = { .kind = OP_STOP } }, &out);
    for (int i = 0; i < 20; i++) { /* ramp, damping, disarmed */
        state.applied_command_seq = 0;
        off_by(50);
    }
    EXPECT(core.mode == MODE_DISARMED && core.stop == STOP_OPERATOR && core.track.n == 0 && core.track.differ[0] == 0);
    uint64_t judged = core.count_judged;
    EXPECT(off_to_stop(50) == 1 && core.mode == MODE_DISARMED && core.count_judged == judged);
}

TEST(a_motor_that_fails_while_the_operators_ramp_runs_makes_it_a_stop_that_latches)
{
    tracking(MODE_BASELINE);
    tick(100);
    for (int i = 0; i < 8; i++)
        off_by(50);
    state.effort[0] += 50;
    tick_after(core.tick_s, 100, 0, OP_DISARM);
    EXPECT(core.mode == MODE_STOPPING && core.stop == STOP_DISARM && out.command.mode == COMMAND_TORQUE);
    off_by(50);
    EXPECT(stopped(STOP_TRACK_ERROR, FAULT_TRACK_ERROR));
}

TEST(who_wants_effort_compared_that_is_not_measured_cannot_arm)
{
    tracking(MODE_BASELINE);
    core.mode        = MODE_DISARMED;
    state.has_effort = false;
    tick_after(core.tick_s, 0, 0, OP_ARM);
    EXPECT(core.mode == MODE_DISARMED);
    EXPECT_STR(out.notice[0].text, "effort_measured");
    config.joint[0].effort_error = 0;
    for (int i = 0; i < 30; i++)
        tick(0);
    tick_after(core.tick_s, 0, 0, OP_ARM);
    EXPECT(core.mode == MODE_BASELINE);
}

/* ---- F10 ---- */

/* States of ten in which the robot side says that it changed one more command; '1': it does. */
static bool clamped_by(const char *states)
{
    for (; *states && mode_armed(core.mode); states++) {
        state.changed_commands += *states == '1';
        tick(50);
    }
    return core.mode == MODE_FAULT && core.stop == STOP_ROBOT_CLAMPED && out.record.faults & FAULT_ROBOT_CLAMPED &&
           out.command.mode == COMMAND_DAMP && !*states;
}

TEST(a_robot_side_that_changed_commands_in_three_of_its_last_ten_states_is_a_fault_in_every_mode)
{
    for (int m = 0; m < MODES; m++) {
        plain();
        armed(modes[m]);
        tick(50);
        EXPECT(clamped_by("111"));
        armed(modes[m]);
        tick(50);
        EXPECT(clamped_by("1000100001"));
        armed(modes[m]);
        tick(50);
        EXPECT(!clamped_by("10000100001000010000100001") && core.mode == modes[m]);
        EXPECT(clamped_by("1"));
    }
}

TEST(changes_of_before_of_another_session_or_of_states_that_did_not_come_newly_do_not_add_up)
{
    plain();
    armed(MODE_BASELINE);
    tick(50);
    state.changed_commands = 1000; /* in one state */
    for (int i = 0; i < 20; i++)
        tick(50);
    EXPECT(core.mode == MODE_BASELINE);
    state.changed_commands = 5; /* it counts anew */
    for (int i = 0; i < 20; i++)
        tick(50);
    EXPECT(core.mode == MODE_BASELINE && core.count_fault[__builtin_ctz(FAULT_ROBOT_CLAMPED)] == 0);
    EXPECT(!clamped_by("11"));
    for (int i = 0; i < 2; i++) { /* no state, the count of the last one again */
        in.state_new = false;
        core_step(&core, &in, &out);
    }
    EXPECT(mode_armed(core.mode));
    EXPECT(clamped_by("1"));
}

/* ---- F2 ---- */

TEST(a_link_that_damages_messages_is_a_stop_that_damps_at_once_and_latches_in_every_mode)
{
    for (int m = 0; m < MODES; m++) {
        plain();
        armed(modes[m]);
        tick(50);
        in.link_damaged = true;
        tick(50);
        in.link_damaged = false;
        EXPECT(stopped(STOP_LINK_DAMAGED, FAULT_LINK_DAMAGED));
        for (int i = 0; i < 50; i++)
            tick(0);
        EXPECT(core.mode == MODE_DISARMED && core.latched);
    }
    plain();
    armed(MODE_BASELINE);
    in.link_damaged = true, in.state_new = false;
    for (int i = 0; i < 3; i++) /* the states that were damaged are missing, too; the stop has the name of the cause */
        core_step(&core, &in, &out);
    EXPECT(core.stop == STOP_LINK_DAMAGED);
}
