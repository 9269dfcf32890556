/* test_core_tick.c - the core tick by tick, number by number: sessions, states, arming, modes, what is sent.  Claims that changed
 * code would have survived without (`make mutate`); those of gates, scores and efforts are in test_core_claims.c. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/test.h"

static struct robot_config config;
static struct core         core;
static struct core_output  out;
static struct core_input   in = { .model_version = 1 };

/* ---- a new session ---- */

TEST(a_robot_side_that_has_only_just_come_back_cannot_be_armed_though_the_one_before_it_was_well)
{
    static struct joint_state state;
    int                       refused = 0;

    dst_config(&config);
    core_init(&core, &config, 0);
    core_ready(&core);
    state                 = (struct joint_state){ .session = 1, .nj = 2, .ready_trial = -1 };
    struct core_input all = {
        .now_ns = NS_PER_S, .state = &state, .state_new = true, .timing_clean = true, .host = ~0u, .aborted_trial = -1
    };
    for (int i = 0; i < 200 && core.mode == MODE_DISARMED; i++) {
        state.session = i < 100 ? 1 : 2;
        state.seq++;
        all.now_ns += core.tick_ns;
        all.op.kind = i >= 100 ? OP_ARM : OP_NONE;
        core_step(&core, &all, &out);
        refused += i >= 100 && core.mode == MODE_DISARMED;
    }
    EXPECT(core.mode == MODE_BASELINE && refused >= 25); /* a second */
}

/* ---- states ---- */

static struct joint_state told_state;

static void listening(void)
{
    core_init(&core, &config, 0);
    core_ready(&core);
    told_state = (struct joint_state){ .session = 7, .nj = 2, .ready_trial = -1, .extra = { 1 } };
    in         = (struct core_input){ .now_ns        = NS_PER_S,
                                      .state         = &told_state,
                                      .timing_clean  = true,
                                      .host          = ~0u,
                                      .model_version = 1,
                                      .aborted_trial = -1 };
}

/* Fault bits of a tick with a state that is `ticks` after the last one. */
static uint32_t told(uint64_t ticks)
{
    in.now_ns += core.tick_ns;
    in.state_new = ticks > 0;
    told_state.seq += ticks;
    core_step(&core, &in, &out);
    return out.record.faults;
}

TEST(a_joint_may_go_as_far_as_one_and_a_half_times_its_velocity_for_the_ticks_since_the_last_state_and_at_most_sixteen)
{
    static const struct {
        uint64_t ticks;
        double   reach;
    } c[] = { { 1, 4.8 }, { 5, 24 }, { 16, 76.8 }, { 17, 76.8 }, { 100, 76.8 } };

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        for (int side = -1; side <= 1; side += 2) {
            dst_config(&config);
            listening();
            told(1);
            told(1);
            told_state.position[1] = side * (c[i].reach + 0.01);
            EXPECT(told(c[i].ticks) & FAULT_STATE_JUMP);
            told_state.seq -= c[i].ticks;
            told_state.position[1] = side * (c[i].reach - 0.01);
            EXPECT(!(told(c[i].ticks) & FAULT_STATE_JUMP));
        }
    }
    dst_config(&config);
    listening();
    told_state.position[0] = -1.2;
    told(1);
    told_state.position[0] = 1.25;
    EXPECT(told(1) & FAULT_STATE_JUMP);
    told_state.position[0] = 1.15;
    EXPECT(!(told(2) & FAULT_STATE_JUMP));
}

TEST(a_quaternion_is_one_to_within_a_hundredth_wherever_it_is_looked_at)
{
    for (int i = 0; i < 2; i++) {
        for (int m = MEASURE_HEADING; m <= MEASURE_UP_Z; m++) {
            dst_config(&config);
            config.nextra         = 4;
            config.observation[i] = (struct observation_config){ .measure = (enum measure)m, .joint = 0 };
            listening();
            told_state.extra[0] = sqrt(1.009);
            EXPECT(!(told(1) & FAULT_STATE_RANGE));
            told_state.extra[0] = sqrt(1.011);
            EXPECT(told(1) & FAULT_STATE_RANGE);
        }
    }
}

TEST(a_heading_begins_where_it_is_seen_and_goes_on_through_any_number_of_turns)
{
    dst_config(&config);
    config.nextra         = 4;
    config.observation[0] = (struct observation_config){ .measure = MEASURE_HEADING, .joint = 0 };
    listening();
    for (double yaw = -3; yaw < 30; yaw += 1.5) {
        told_state.extra[0] = cos(yaw / 2);
        told_state.extra[3] = sin(yaw / 2);
        EXPECT(told(1) == 0);
        EXPECT_NEAR(core.x[0], yaw, 1e-5);
    }
}

TEST(a_measured_effort_that_is_no_number_is_no_state_however_little_it_may_differ)
{
    dst_config(&config);
    config.joint[0].effort_error = 0.5;
    listening();
    told_state.has_effort = true;
    told_state.effort[0]  = (double)NAN;
    EXPECT(told(1) & FAULT_STATE_NONFINITE);
}

TEST(nothing_of_a_session_goes_on_into_the_next)
{
    dst_config(&config);
    for (int lockstep = 0; lockstep < 2; lockstep++) {
        listening();
        for (int i = 0; i < 80; i++)
            told(1);
        told_state.position[0] = (double)NAN; /* two are rejected */
        told(1);
        told_state.estop  = true;
        told_state.faults = 5;
        told(1);
        core.live.open = true;
        EXPECT(core.rejected == 2 && core.missing == 2 && core.estop && core.robot_faults == 5 && core.command_seq > 1);
        EXPECT(core.phase_step > 0 && core.fresh_bits[0] && core.fresh_bits[1] && core.answered_seq > 0);
        told_state.session++; /* of which no state has come yet */
        core.phase_origin = 9;
        in.lockstep       = lockstep;
        told(0);
        EXPECT(!core.have_state && core.rejected == 0 && core.missing == 1 && core.session_ns == in.now_ns);
        EXPECT(core.command_seq == 1 && out.command.seq == 1 && core.answered_seq == 0);
        EXPECT(core.fresh_bits[0] == 0 && core.fresh_bits[1] == 0 && !core.live.open);
        EXPECT(core.phase_origin == 0 && core.phase_step == 0 && core.delay == !lockstep);
        EXPECT(!core.estop && !core.robot_fault && core.robot_faults == 0);
    }
}

/* Does it hold that states come, where these of the last 128 ticks brought none (-1: no more), at so many ticks a second? */
static bool fresh(double hz, const int *missed)
{
    dst_config(&config);
    config.control_hz = hz;
    listening();
    core.have_state    = true;
    core.session       = 7;
    core.fresh_bits[0] = core.fresh_bits[1] = ~0ull;
    for (; *missed >= 0; missed++)
        core.fresh_bits[*missed / 64] &= ~(1ull << *missed % 64);
    core.now_ns = NS_PER_S;
    core_prearm(&core, &in);
    return core.prearm_since_ns[PREARM_STATE_FRESH] != 0;
}

#define MISSED(...) ((const int[]){ __VA_ARGS__, -1 })

TEST(ninety_five_of_a_hundred_ticks_must_have_brought_a_state_or_of_those_of_a_second)
{
    EXPECT(fresh(25, MISSED(3, 26, 27, 28)) && !fresh(25, MISSED(3, 25)) && !fresh(25, MISSED(24, 25)));
    EXPECT(fresh(63, MISSED(1, 2, 63, 64, 65, 66)) && !fresh(63, MISSED(1, 2, 3, 63)));
    EXPECT(fresh(64, MISSED(1, 2, 64, 65, 66)) && !fresh(64, MISSED(1, 2, 3, 64)));
    for (double hz = 99; hz <= 1000; hz += hz < 101 ? 1 : 899) {
        EXPECT(fresh(hz, MISSED(1, 63, 64, 65, 99, 100, 101, 127)));
        EXPECT(!fresh(hz, MISSED(1, 63, 64, 65, 66, 99)) && !fresh(hz, MISSED(0, 1, 2, 3, 4, 63)));
        EXPECT(!fresh(hz, MISSED(64, 65, 66, 67, 98, 99)) && fresh(hz, MISSED(1, 2, 3, 4, 5)));
    }
}

/* Ticks without a state, so far apart. */
static uint32_t silent(int ticks, double gap_s)
{
    uint32_t fault = 0;

    dst_config(&config);
    listening();
    told(1);
    told(1);
    for (int i = 0; i < ticks; i++) {
        in.now_ns += (uint64_t)(gap_s * 1e9) - core.tick_ns;
        fault = told(0);
    }
    return fault;
}

TEST(a_state_is_stale_by_ticks_that_brought_none_and_by_time_that_passed_whichever_comes_first)
{
    EXPECT(!(silent(2, 0.04) & FAULT_STATE_STALE) && silent(3, 0.04) & FAULT_STATE_STALE);
    EXPECT(silent(3, 0.001) & FAULT_STATE_STALE);
    EXPECT(silent(1, 0.13) & FAULT_STATE_STALE && !(silent(1, 0.11) & FAULT_STATE_STALE));
}

TEST(what_was_not_seen_for_long_may_be_anywhere_unless_it_is_armed)
{
    for (int m = MODE_DISARMED; m <= MODE_FAULT; m++) {
        dst_config(&config);
        listening();
        told(1);
        told(1);
        for (int i = 0; i < 3; i++) {
            core.mode = (enum mode)m; /* a stop would end it */
            told(0);
        }
        core.mode              = (enum mode)m;
        told_state.position[1] = 1000;
        bool may               = m == MODE_DISARMED || m == MODE_FAULT;
        EXPECT(!(told(3) & FAULT_STATE_JUMP) == may);
    }
}

TEST(a_joint_outside_does_not_hide_an_emergency_stop_or_the_other_way_round)
{
    dst_config(&config);
    listening();
    told_state.position[0] = 4;
    told_state.estop       = true;
    EXPECT((told(1) & (FAULT_POSITION | FAULT_ESTOP)) == (FAULT_POSITION | FAULT_ESTOP));
}

/* ---- arming and modes ---- */

static void tick_op(enum operation_kind kind)
{
    in.op = (struct operation){ .kind = kind, .id = 77 };
    told(1);
    in.op.kind = OP_NONE;
}

/* The notice of this kind that the last tick gave. */
static const struct notice *noticed(enum notice_kind kind)
{
    for (int i = 0; i < out.nnotice; i++)
        if (out.notice[i].kind == kind)
            return &out.notice[i];
    return NULL;
}

/* Makes one pre-arm check of the core fail. */
static void spoil(int check)
{
    switch (check) {
    case PREARM_NO_FAULTS: told_state.faults = 2; break;
    case PREARM_ESTOP: told_state.estop = true; break;
    case PREARM_INSIDE: told_state.position[0] = 3.01; break;
    case PREARM_SLOW: told_state.velocity[1] = 0.0101 * 80; break;
    case PREARM_NOT_LATCHED: core.latched = true; break;
    case PREARM_TIMING: in.timing_clean = false; break;
    case PREARM_BASELINE: config.joint[0].gravity[0].effort = 301; break;
    case PREARM_EFFORT: told_state.has_effort = false; break;
    default: in.host &= ~(1u << check); break;
    }
}

static void ready_to_arm(void)
{
    dst_config(&config);
    config.hardware              = HARDWARE_REAL;
    config.joint[0].effort_error = 400;
    config.joint[0].ngravity     = 1; /* of any pose alike */
    listening();
    told_state.has_effort  = true;
    told_state.position[0] = 2.99;
    for (int i = 0; i < 60; i++)
        told(1);
    EXPECT(core.prearm == (1u << PREARM_COUNT) - 1);
}

TEST(each_check_before_arming_forbids_it_alone_and_is_named)
{
    for (int check = PREARM_NO_FAULTS; check < PREARM_COUNT; check++) {
        ready_to_arm();
        if (check == PREARM_SENSORS)
            continue; /* a stuck sensor has tests of its own */
        spoil(check);
        tick_op(OP_ARM);
        const struct notice *n = noticed(NOTICE_ANSWER);
        EXPECT(core.mode == MODE_DISARMED && n && !n->ok && n->id == 77);
        EXPECT_STR(n ? n->text : "", prearm_name((enum prearm)check));
        EXPECT(core.prearm == (((1u << PREARM_COUNT) - 1) & ~(1u << check)));
    }
    dst_config(&config);
    listening();
    in.state = NULL;
    told(0);
    told(0);
    EXPECT((core.prearm & ((1u << PREARM_CORE_COUNT) - 1)) == (1u << PREARM_NOT_LATCHED)); /* nobody is there */
}

TEST(a_change_of_mode_is_told_with_its_tick_time_trial_step_and_reason)
{
    ready_to_arm();
    tick_op(OP_ARM);
    const struct notice *n = noticed(NOTICE_MODE);
    EXPECT(n && n->from == MODE_DISARMED && n->to == MODE_BASELINE && n->tick == core.tick && n->now_ns == in.now_ns);
    core.good_s      = 5;
    core.trial       = 4;
    core.step        = 9;
    told_state.estop = true;
    told(1);
    n = noticed(NOTICE_MODE);
    EXPECT(n && n->to == MODE_FAULT && n->stop == STOP_ESTOP && n->trial == 4 && n->step == 9 && n->tick == core.tick);
    EXPECT(core.latched && core.stop == STOP_ESTOP && core.stop_tick == core.tick && core.stop_ns == in.now_ns);
    EXPECT(core.stop_trial == 4 && core.stop_step == 9 && core.stopping_ns == in.now_ns && core.good_s <= 0);
    told_state.estop = false;
    told(1);
    tick_op(OP_RESET);
    EXPECT(core.mode == MODE_DISARMED && !core.latched && out.command.mode == COMMAND_IDLE);
}

TEST(a_stop_that_latches_is_latched_once_it_has_ended_and_a_disarm_is_not)
{
    for (int stop = 0; stop < 2; stop++) {
        ready_to_arm();
        tick_op(OP_ARM);
        tick_op(stop ? OP_STOP : OP_DISARM);
        EXPECT(core.mode == MODE_STOPPING && !core.latched && core.stop_latches == stop);
        for (int i = 0; i < 20; i++)
            told(1);
        EXPECT(core.mode == MODE_DISARMED && core.latched == stop);
        EXPECT(out.command.mode == (stop ? COMMAND_DAMP : COMMAND_IDLE));
    }
}

TEST(a_state_is_never_stale_after_fewer_than_three_ticks_and_after_as_many_as_make_the_time)
{
    static const struct {
        double stale_s;
        int    ticks;
    } c[] = { { 0.04, 3 }, { 0.08, 3 }, { 0.12, 3 }, { 0.16, 4 }, { 0.4, 10 } };

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        dst_config(&config);
        config.timeouts.state_stale_s = c[i].stale_s;
        listening();
        EXPECT(core.stale_ticks == c[i].ticks);
    }
}

TEST(another_task_brings_its_own_ends_and_is_refused_while_a_trial_is_under_way)
{
    ready_to_arm();
    for (int phase = TRIAL_IDLE; phase <= TRIAL_RUNNING; phase++) {
        core.nend        = 0;
        core.trial_phase = (enum trial_phase)phase;
        core.mode        = phase == TRIAL_IDLE ? MODE_DISARMED : MODE_BASELINE;
        in.op = (struct operation){ .kind = OP_TASK, .nend = 1, .end = { { .obs = 2, .low = -7, .high = 8 } } };
        told(1);
        EXPECT(noticed(NOTICE_ANSWER) && noticed(NOTICE_ANSWER)->ok == (phase == TRIAL_IDLE));
        EXPECT(core.nend == (phase == TRIAL_IDLE));
        EXPECT(core.end[0].obs == 2 && core.end[0].low <= -7 && core.end[0].high >= 8);
    }
    in.op.kind = OP_NONE;
}

/* ---- what is sent ---- */

static void armed_at_100_newtons(void)
{
    ready_to_arm();
    tick_op(OP_ARM);
    config.joint[0].gravity[0].effort = 100;
    for (int i = 0; i < 5; i++)
        told(1);
    EXPECT(core.mode == MODE_BASELINE);
    EXPECT_NEAR(out.command.torque[0], 100, 1e-9);
}

TEST(an_operators_stop_ramps_down_from_what_was_sent_and_then_damps)
{
    armed_at_100_newtons();
    told_state.velocity[1]            = 1;    /* or it would end at the ramp's */
    config.joint[0].gravity[0].effort = -100; /* the baseline has nothing to say any more */
    tick_op(OP_STOP);
    for (int i = 0; i < 12; i++) {
        double elapsed = i * 0.04;

        EXPECT(core.mode == MODE_STOPPING && out.command.mode == (elapsed < 0.3 ? COMMAND_TORQUE : COMMAND_DAMP));
        EXPECT_NEAR(out.command.torque[0], elapsed < 0.3 ? 100 * (1 - elapsed / 0.3) : 0, 1e-6);
        told(1);
    }
}

TEST(no_ramp_is_computed_from_an_old_state)
{
    armed_at_100_newtons();
    tick_op(OP_STOP);
    for (int i = 1; i <= 3; i++) {
        told(0);
        EXPECT(core.mode == MODE_STOPPING && out.command.mode == (i < 3 ? COMMAND_TORQUE : COMMAND_DAMP));
    }
}

TEST(a_command_says_whom_it_is_for_what_it_answers_and_for_how_long_it_is_valid)
{
    armed_at_100_newtons();
    const struct joint_command *c = &out.command;

    uint64_t seq = c->seq;
    told(3);
    EXPECT(out.has_command && c->session == 7 && c->seq == seq + 1 && c->state_seq == told_state.seq && c->nj == 2);
    EXPECT_NEAR(c->valid_ms, 120, 1e-9);
    EXPECT(!(fabs(c->torque[1]) > 0) && !(fabs(c->torque[2]) > 0) && !(fabs(c->kd[0]) > 0));
}

TEST(the_record_of_a_tick_has_what_came_in_and_what_went_out)
{
    armed_at_100_newtons();
    const struct tick_record *r = &out.record;

    told_state.velocity[0] = -0.5;
    told_state.estop       = true;
    core.trial             = 4;
    told(1);
    EXPECT(r->tick == core.tick && r->now_ns == in.now_ns && r->mode == MODE_FAULT && r->faults & FAULT_ESTOP);
    EXPECT(r->state_seq == told_state.seq && r->command_seq == out.command.seq && r->nj == 2 && r->trial == 4);
    EXPECT_NEAR(r->position[0], 2.99, 0);
    EXPECT_NEAR(r->velocity[0], -0.5, 0);
    EXPECT_NEAR(r->want[0], 100, 1e-9);
    EXPECT_NEAR(r->effort[0], 0, 0);
}

TEST(a_check_before_arming_must_have_held_for_a_second_to_the_tick)
{
    dst_config(&config);
    listening();
    for (int i = 0; i <= 25; i++) {
        told(1);
        EXPECT((core.prearm >> PREARM_SLOW & 1) == (i == 25));
    }
    for (int i = 0; i < 44; i++)
        told(1);
    EXPECT(core.fresh_bits[0] == ~0ull && core.fresh_bits[1] == 63); /* seventy ticks */
}

TEST(the_baseline_takes_over_where_the_robot_is_and_forgets_what_a_plan_wanted)
{
    ready_to_arm();
    core.action_effort[0] = 50;
    tick_op(OP_ARM);
    EXPECT_NEAR(core.hold[0], 2.99, 0);
    EXPECT_NEAR(core.action_effort[0], 0, 0);
    told_state.position[0] = 2.9;
    told(1);
    tick_op(OP_STOP);
    EXPECT_NEAR(core.hold[0], 2.99, 0); /* nobody took over */
}

TEST(a_reset_waits_for_the_e_stop_where_that_faulted_and_clears_trips_and_the_unfit_model)
{
    ready_to_arm();
    tick_op(OP_ARM);
    told_state.estop = true;
    told(1);
    tick_op(OP_RESET);
    EXPECT(core.mode == MODE_FAULT && noticed(NOTICE_ANSWER) && !noticed(NOTICE_ANSWER)->ok);
    EXPECT_STR(noticed(NOTICE_ANSWER)->text, "emergency stop");
    told_state.estop = false;
    tick_op(OP_RESET);
    EXPECT(core.mode == MODE_DISARMED);
    told_state.estop = true; /* and is in nobody's way where nothing stopped */
    core.trips       = 4;
    core.unfit_model = 1;
    tick_op(OP_RESET);
    EXPECT(noticed(NOTICE_ANSWER)->ok && core.trips == 0 && core.unfit_model == 0);
}

TEST(faults_that_come_up_in_one_tick_are_all_recorded_and_what_was_wrong_before_is_not_said_again)
{
    ready_to_arm();
    config.gates.limit_dwell = (struct gate_config){ .threshold = 0.05 };
    listening();
    told_state.has_effort = true;
    for (int i = 0; i < 60; i++)
        told(1);
    tick_op(OP_ARM);
    config.joint[0].gravity[0].effort = 300;
    told(1);
    in.now_ns += 30 * NS_PER_MS; /* late, and by then too long at the limit */
    uint32_t fault = told(1);
    EXPECT(fault & FAULT_TICK_LATE && fault & FAULT_LIMIT_DWELL && core.stop == STOP_LIMIT_DWELL);
    ready_to_arm();
    told_state.position[0] = (double)NAN;
    told_state.estop       = true;
    told(1);
    told(1);
    EXPECT((told(1) & (FAULT_STATE_REJECTED | FAULT_ESTOP)) == (FAULT_STATE_REJECTED | FAULT_ESTOP));
    EXPECT(out.record.blame.what == 'q');
    told_state.position[0] = 2.99;
    told(1);
    EXPECT(out.record.blame.what == 0);
}

TEST(a_plan_whose_effort_passes_the_filter_unchanged_does_not_count_as_cut_and_one_that_does_not_is_recorded)
{
    ready_to_arm();
    config.plan_every = 1 << 20; /* after a boundary or two what is wanted stays as it is */
    tick_op(OP_ARM);
    told(1);
    core.mode             = MODE_ADVANCED;
    core.plan.iterations  = 6;
    core.action_effort[0] = 10;
    told(1);
    EXPECT(core.interventions <= 0 && out.record.filter == 0 && out.record.plan_iterations == 6);
    core.action_effort[0] = 1000;
    told(1);
    EXPECT(core.interventions >= 1 && out.record.filter & FILTER_ABSOLUTE &&
           core.count_filter[1] + core.count_filter[2] > 0);
}

TEST(the_fifth_trip_within_ten_seconds_is_a_fault_in_its_own_tick)
{
    ready_to_arm();
    tick_op(OP_ARM);
    core.mode  = MODE_ADVANCED; /* without a plan */
    core.trips = 4;
    for (int i = 0; i < 4; i++)
        core.trip_ns[i] = in.now_ns;
    told(1);
    EXPECT(core.mode == MODE_FAULT && core.stop == STOP_GATES && out.command.mode == COMMAND_DAMP);
}

TEST(three_late_ticks_of_the_last_hundred_are_told_once)
{
    int ticks = 0, notices = 0;

    ready_to_arm();
    for (int i = 0; i < 300; i++) {
        in.now_ns += i < 3 ? 30 * NS_PER_MS : 0;
        ticks += (told(1) & FAULT_TICKS_LATE) != 0;
        notices += noticed(NOTICE_FAULT) && 1u << noticed(NOTICE_FAULT)->fault == FAULT_TICKS_LATE;
    }
    EXPECT(ticks == 98 && notices == 1); /* from the third on, while the first is among the last hundred */
}

TEST(a_core_knows_how_much_was_learned_before_it_started)
{
    dst_config(&config);
    core_init(&core, &config, 5);
    EXPECT(core.transitions == 5);
}
