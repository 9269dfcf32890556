/* The core under a virtual clock: determinism, trials, stops; then hostile weather. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/mode.h"
#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/test.h"

static struct robot_config config;

static struct dst_result run(struct dst_options o)
{
    struct dst_result r;

    dst_config(&config);
    o.config = &config;
    dst_run(&o, &r);
    if (r.violations)
        printf("    first of %llu violations: %s\n", (unsigned long long)r.violations, r.first);
    return r;
}

static const struct dst_faults weather = {
    .state_lost = 0.02, .state_late = 0.01, .state_nan = 0.002, .state_range = 0.002, .state_jump = 0.002,
    .command_lost = 0.02, .plan_lost = 0.02, .plan_nan = 0.005, .plan_wild = 0.005, .estop = 0.0005, .robot_fault = 0.0005,
    .restart = 0.0005, .stop = 0.002, .disarm = 0.002, .reset = 0.05, .arm = 0.05, .silence = 0.001,
};

TEST(same_seed_gives_identical_torque_bytes_over_100000_ticks)
{
    struct dst_options o = { .seed = 7, .ticks = 100000, .faults = weather, .operator_arms = true };
    struct dst_result  a = run(o), b = run(o);

    EXPECT(a.hash == b.hash);
    EXPECT(a.driven_ticks > 10000);
    o.seed = 8;
    EXPECT(run(o).hash != a.hash);
}

TEST(no_invariant_breaks_in_hostile_weather)
{
    struct dst_options o = { .ticks = 50000, .faults = weather, .operator_arms = true };

    for (o.seed = 100; o.seed < 106; o.seed++) {
        struct dst_result r = run(o);

        EXPECT(r.violations == 0);
        for (int m = MODE_DISARMED; m < MODE_COUNT; m++)
            EXPECT(r.mode_ticks[m] > 0); /* every mode was visited: the weather reaches all of the core */
    }
}

TEST(no_motor_s_effort_grows_faster_than_its_rate_in_hostile_weather)
{
    static const double rate[] = { 600, 1500, 4000 };
    struct dst_options  o      = { .ticks = 50000, .faults = weather, .operator_arms = true, .config = &config };

    o.faults.tick_late    = 0.01;
    o.faults.command_lost = 0.4; /* often enough in a row that the motor is damped meanwhile */
    for (size_t i = 0; i < sizeof rate / sizeof *rate; i++) {
        struct dst_result r;

        dst_config(&config);
        config.joint[0].effort_rate = config.joint[0].effort_rate_down = rate[i];
        o.seed                                                           = 200 + i;
        dst_run(&o, &r);
        if (r.violations)
            printf("    first of %llu violations: %s\n", (unsigned long long)r.violations, r.first);
        EXPECT(r.violations == 0 && r.driven_ticks > 10000 && r.advanced_ticks > 1000);
    }
}

TEST(no_invariant_breaks_by_the_clock_with_several_ticks_a_planner_step_either)
{
    struct dst_options o = { .ticks = 20000, .faults = weather, .operator_arms = true, .config = &config };
    struct dst_result  r;

    dst_config(&config);
    config.control_hz           = 200;
    config.plan_every           = 4;
    config.pace                 = PACE_TIMER;
    config.joint[0].effort_rate = config.joint[0].effort_rate_down = 20000; /* 100 N a tick: it binds */
    config.timeouts.state_stale_s = 0.015; /* three ticks */
    config.joint[0].velocity    = 400;
    config.joint[1].velocity    = 800;
    for (o.seed = 200; o.seed < 204; o.seed++) {
        dst_run(&o, &r);
        if (r.violations)
            printf("    first of %llu violations: %s\n", (unsigned long long)r.violations, r.first);
        EXPECT(r.violations == 0);
        EXPECT(r.driven_ticks > 1000);
    }
}

TEST(noise_on_planned_actions_changes_what_is_done_and_breaks_no_invariant)
{
    struct dst_options o = { .seed = 1, .ticks = 5000, .operator_arms = true, .config = &config };
    struct dst_result  without, with, faded;

    dst_config(&config);
    config.aggregate = true;
    dst_run(&o, &without);
    config.exploration.planned        = 0.8;
    config.exploration.planned_trials = 1000;
    dst_run(&o, &with);
    EXPECT(with.violations == 0 && with.advanced_ticks > 2000 && with.hash != without.hash);
    config.aggregate = false; /* nothing is learned: no reason to */
    dst_run(&o, &faded);
    EXPECT(faded.hash == without.hash);
    config.aggregate = true;
    o.faults         = weather;
    o.ticks          = 20000;
    dst_run(&o, &with);
    EXPECT(with.violations == 0);
}

/* Noise is uniform within its share of the range at first, in proportion less in later trials, and gone when it should be. */
TEST(noise_on_planned_actions_fades_trial_by_trial_and_never_leaves_the_bounds)
{
    static struct core core;
    double             largest[13] = { 0 };

    dst_config(&config);
    config.aggregate                  = true;
    config.exploration.planned        = 0.5;
    config.exploration.planned_trials = 10;
    const struct action_config *a     = &config.action[0];

    core_init(&core, &config, 0);
    for (core.trial = 1; core.trial <= 12; core.trial++)
        for (core.step = 0; core.step < 500; core.step++) {
            core.action_effort[a->joint] = a->scale * (a->low + a->high) / 2;
            bool   noisy                 = core_explore_planned(&core);
            double off =
                fabs(core.action_effort[a->joint] / a->scale - (a->low + a->high) / 2) / ((a->high - a->low) / 2);

            EXPECT(noisy == (core.trial <= 10));
            largest[core.trial]          = fmax(largest[core.trial], off);
            core.action_effort[a->joint] = a->scale * a->high; /* at the bound already */
            core_explore_planned(&core);
            EXPECT(core.action_effort[a->joint] / a->scale <= a->high &&
                   core.action_effort[a->joint] / a->scale >= a->low);
        }
    for (int trial = 1; trial <= 12; trial++) {
        double most = trial > 10 ? 0 : 0.5 * (1 - (trial - 1) / 10.0);

        EXPECT(largest[trial] <= most + 1e-9 && largest[trial] >= 0.95 * most);
    }
    config.exploration.planned = 0;
    core.trial                 = 1;
    EXPECT(!core_explore_planned(&core));
}

TEST(in_good_weather_trials_run_and_every_step_is_stored)
{
    struct dst_result r = run((struct dst_options){ .seed = 1, .ticks = 5000, .operator_arms = true });

    EXPECT(r.violations == 0);
    EXPECT(r.trials > 50);
    EXPECT(r.transitions == r.trials * 50 || r.transitions - r.trials * 50 < 50);
    EXPECT(r.advanced_ticks > 2000);
    EXPECT(r.effort_max > 100); /* the planner and exploration really drive */
}

TEST(a_task_ends_its_trials_where_the_state_leaves_its_bounds_and_every_step_until_then_is_stored)
{
    struct dst_options o = { .seed = 1, .ticks = 5000, .operator_arms = true, .config = &config };
    struct dst_result  r;

    dst_config(&config);
    config.task.nend   = 2;
    config.task.end[0] = (struct task_end){ .obs = 0, .low = -0.4, .high = 0.4 };
    config.task.end[1] = (struct task_end){ .obs = 1, .low = (double)-INFINITY, .high = 1.5 };
    dst_run(&o, &r);
    EXPECT(r.violations == 0);
    EXPECT(r.ended > 50 && r.trials >= r.ended);
    EXPECT(r.steps < r.trials * 25);
    EXPECT(r.transitions >= r.steps && r.transitions - r.steps < 50);
    o.faults = weather;
    dst_run(&o, &r);
    EXPECT(r.violations == 0 && r.ended > 0);
}

TEST(a_request_announces_the_seed_of_the_next_but_where_a_trial_begins_or_ends)
{
    struct dst_result r = run((struct dst_options){ .seed = 1, .ticks = 5000, .operator_arms = true });

    EXPECT(r.requests > 2000);
    EXPECT(r.requests - r.foretold <= 2 * (r.trials + 1));
    EXPECT(r.foretold > r.requests / 10 * 9);
}

TEST(nothing_moves_without_an_operator_who_arms)
{
    struct dst_faults f = weather;

    f.arm               = 0;
    struct dst_result r = run((struct dst_options){ .seed = 3, .ticks = 20000, .faults = f });
    EXPECT(r.armed_ticks == 0 && r.driven_ticks == 0);
}

TEST(silence_ends_torque_within_three_ticks)
{
    for (uint64_t at = 500; at < 540; at++) {
        struct dst_result r =
            run((struct dst_options){ .seed = at, .ticks = 600, .operator_arms = true, .silent_from = at });
        EXPECT(r.silent_to_damp <= 2); /* torque in the two ticks that are forgiven, none in the third */
        EXPECT(r.violations == 0);
    }
}

TEST(a_stop_latches_and_nothing_rearms_by_itself)
{
    struct dst_result r = run((struct dst_options){ .seed = 5, .ticks = 3000, .operator_arms = true, .stop_at = 400 });

    EXPECT(r.armed_ticks > 300 && r.armed_ticks < 400);
    EXPECT(r.mode_ticks[MODE_DISARMED] > 2500);

    struct dst_faults arms = { .arm = 0.2 }; /* arming again and again does not help without a reset */
    struct dst_result s =
        run((struct dst_options){ .seed = 5, .ticks = 3000, .operator_arms = true, .stop_at = 400, .faults = arms });
    EXPECT(s.armed_ticks < 400);
}

TEST(an_emergency_stop_faults_and_stays)
{
    struct dst_result r = run((struct dst_options){ .seed = 5, .ticks = 3000, .operator_arms = true, .estop_at = 400 });

    EXPECT(r.violations == 0);
    EXPECT(r.mode_ticks[MODE_FAULT] == 3000 - 399);
}

TEST(bad_plans_cost_the_plan_its_place_not_the_robot_its_safety)
{
    struct dst_faults f = { .plan_nan = 0.005, .plan_wild = 0.005, .plan_lost = 0.05, .reset = 0.05, .arm = 0.05 };
    struct dst_result r = run((struct dst_options){ .seed = 9, .ticks = 20000, .operator_arms = true, .faults = f });

    EXPECT(r.violations == 0);
    EXPECT(r.advanced_ticks > 1000); /* it gets its place back, again and again ... */
    EXPECT(r.mode_ticks[MODE_BASELINE] > r.advanced_ticks / 10);
}

TEST(a_model_with_bad_plans_among_fifty_never_drives)
{
    struct dst_faults f = { .plan_nan = 0.2 };
    struct dst_result r = run((struct dst_options){ .seed = 9, .ticks = 20000, .operator_arms = true, .faults = f });

    EXPECT(r.violations == 0 && r.trials > 50);
    EXPECT(r.advanced_ticks == 0);
}

/* ---- the mode table ---- */

TEST(only_reset_leaves_fault_and_only_into_disarmed)
{
    for (int e = 0; e < EVENT_COUNT; e++)
        EXPECT(mode_next(MODE_FAULT, (enum mode_event)e) == (e == EVENT_RESET ? MODE_DISARMED : MODE_FAULT));
}

TEST(every_way_into_an_armed_mode_begins_with_arming_into_baseline)
{
    for (int m = 0; m < MODE_COUNT; m++)
        for (int e = 0; e < EVENT_COUNT; e++) {
            enum mode to = mode_next((enum mode)m, (enum mode_event)e);

            if (mode_armed(to) && !mode_armed((enum mode)m))
                EXPECT(m == MODE_DISARMED && e == EVENT_ARM && to == MODE_BASELINE);
            if ((to == MODE_ADVANCED || to == MODE_EXPLORE) && (int)to != m)
                EXPECT(m == MODE_BASELINE);
            if (e == EVENT_FAULT)
                EXPECT(to == MODE_FAULT);
        }
}

TEST(stopping_never_returns_to_an_armed_mode)
{
    for (int e = 0; e < EVENT_COUNT; e++)
        EXPECT(!mode_armed(mode_next(MODE_STOPPING, (enum mode_event)e)));
}

/* ---- what is observed ---- */

/* A core that takes states one after the other, told as the robot side tells them. */
struct watch {
    struct core        core;
    struct joint_state s;
    uint64_t           now_ns;
};

static void watch_begin(struct watch *w, struct robot_config *c, int plan_every)
{
    dst_config(c);
    c->plan_every     = plan_every;
    c->nextra         = 4;
    c->observation[0] = (struct observation_config){ .measure = MEASURE_AVERAGE_VELOCITY, .joint = 0 };
    c->observation[1] = (struct observation_config){ .measure = MEASURE_HEADING, .joint = 0 };
    c->observation[2] = (struct observation_config){ .measure = MEASURE_UP_X, .joint = 0 };
    c->observation[3] = (struct observation_config){ .measure = MEASURE_UP_Z, .joint = 0 };
    memset(w, 0, sizeof *w);
    core_init(&w->core, c, 0);
    core_ready(&w->core);
    w->now_ns = 1000 * NS_PER_S;
    w->s      = (struct joint_state){ .session = 1, .nj = 2, .nextra = 4, .extra = { 1 }, .ready_trial = -1 };
}

/* One tick with the slider here and the body turned by yaw about z, then tilted by pitch about its own y. */
static void watch_tick(struct watch *w, double slider, double yaw, double pitch)
{
    static struct core_output out;

    w->s.seq++;
    w->s.position[0] = slider;
    w->s.extra[0]    = cos(yaw / 2) * cos(pitch / 2);
    w->s.extra[1]    = -sin(yaw / 2) * sin(pitch / 2);
    w->s.extra[2]    = cos(yaw / 2) * sin(pitch / 2);
    w->s.extra[3]    = sin(yaw / 2) * cos(pitch / 2);
    w->now_ns += 40 * NS_PER_MS;
    core_step(&w->core, &(struct core_input){ .now_ns = w->now_ns, .state = &w->s, .state_new = true, .aborted_trial = -1 }, &out);
}

TEST(average_velocity_is_the_way_since_the_planner_step_began_and_nothing_at_a_start)
{
    static struct watch w;

    watch_begin(&w, &config, 1);
    watch_tick(&w, 0.1, 0, 0);
    EXPECT(w.core.x[0] == 0);
    watch_tick(&w, 0.14, 0, 0);
    EXPECT_NEAR((double)w.core.x[0], 0.04 / 0.04, 1e-5);
    watch_tick(&w, 0.12, 0, 0);
    EXPECT_NEAR((double)w.core.x[0], -0.02 / 0.04, 1e-5);
    w.s.ready_count++; /* put back: where it was before is no way it went */
    watch_tick(&w, -1, 0, 0);
    EXPECT(w.core.x[0] == 0);
    w.s.seq++; /* a state lost: over both ticks */
    watch_tick(&w, -0.9, 0, 0);
    EXPECT_NEAR((double)w.core.x[0], 0.1 / 0.08, 1e-5);

    watch_begin(&w, &config, 3); /* steps of three ticks: seen from where the step began, also between */
    for (int i = 0; i < 7; i++)
        watch_tick(&w, 0.01 * i * i, 0, 0);
    EXPECT(w.core.boundary == (w.s.seq % 3 == 0));
    EXPECT_NEAR((double)w.core.x[0], 0.01 * (36 - 25) / 0.04, 1e-5);
}

TEST(average_velocity_of_an_extra_measurement_likewise)
{
    static struct watch w;

    watch_begin(&w, &config, 1);
    config.observation[3] = (struct observation_config){ .measure = MEASURE_EXTRA_VELOCITY, .joint = 3 };
    watch_tick(&w, 0, 0.5, 0);
    EXPECT(w.core.x[3] == 0);
    watch_tick(&w, 0, 0.9, 0);
    EXPECT_NEAR((double)w.core.x[3], (sin(0.45) - sin(0.25)) / 0.04, 1e-5);
    w.s.ready_count++; /* put back */
    watch_tick(&w, 0, 0, 0);
    EXPECT(w.core.x[3] == 0);
}

TEST(heading_goes_on_beyond_half_a_turn_and_up_is_seen_from_the_body)
{
    static struct watch w;
    const double        pi = 3.14159265358979;

    watch_begin(&w, &config, 1);
    for (int i = 0; i <= 100; i++)
        watch_tick(&w, 0, 0.08 * i, 0.3);
    EXPECT_NEAR((double)w.core.x[1], 8, 1e-5); /* more than a whole turn */
    EXPECT_NEAR((double)w.core.x[2], -sin(0.3), 1e-6);
    EXPECT_NEAR((double)w.core.x[3], cos(0.3), 1e-6);
    w.s.ready_count++;
    watch_tick(&w, 0, 8, 0);
    EXPECT_NEAR((double)w.core.x[1], 8 - 2 * pi, 1e-5);
}

TEST(a_quaternion_that_is_none_is_no_state)
{
    static struct watch       w;
    static struct core_output out;

    watch_begin(&w, &config, 1);
    watch_tick(&w, 0, 0.5, 0);
    w.s.seq++;
    memset(w.s.extra, 0, sizeof w.s.extra);
    w.now_ns += 40 * NS_PER_MS;
    core_step(&w.core, &(struct core_input){ .now_ns = w.now_ns, .state = &w.s, .state_new = true, .aborted_trial = -1 }, &out);
    EXPECT(w.core.count_range == 1 && !w.core.good);
    EXPECT_NEAR((double)w.core.x[1], 0.5, 1e-6); /* what was known is kept */
}

/* ---- late ticks, stuck sensors, trips ---- */

TEST(three_late_ticks_of_a_hundred_cost_a_real_robot_its_plan_and_a_simulated_one_nothing)
{
    struct dst_options o = { .seed = 4, .ticks = 20000, .operator_arms = true, .config = &config, .cheap = true,
                             .faults = { .tick_late = 0.04, .arm = 0.05, .reset = 0.05 } };
    struct dst_result  real, sim;

    dst_config(&config);
    config.timeouts.state_stale_s = 0.5; /* late, but not late enough to stop */
    dst_run(&o, &sim);
    config.hardware = HARDWARE_REAL;
    dst_run(&o, &real);
    EXPECT(sim.violations == 0 && real.violations == 0);
    EXPECT(real.fault[17] > 100 && real.fault[18] > 100);
    EXPECT(real.advanced_ticks > 100 && real.advanced_ticks < sim.advanced_ticks / 2);
}

/* States of a joint that goes on at 2 m/s: as told, with the position standing still from `from` on. */
static enum mode stuck_for(struct watch *w, int states)
{
    watch_begin(w, &config, 1);
    w->s.velocity[0] = 2;
    watch_tick(w, 0.5, 0, 0);
    w->core.mode        = MODE_EXPLORE; /* as a plan, but without one */
    w->core.trial_phase = TRIAL_RUNNING;
    w->core.trial_steps = 1000;
    for (int i = 0; i < states; i++)
        watch_tick(w, 0.5, 0, 0);
    EXPECT((w->core.trial_phase == TRIAL_RUNNING) == (w->core.mode == MODE_EXPLORE));
    return w->core.mode;
}

TEST(a_position_that_stands_still_under_a_velocity_ends_exploration_and_then_is_a_fault)
{
    static struct watch w;

    EXPECT(stuck_for(&w, 9) == MODE_EXPLORE);
    EXPECT(stuck_for(&w, 10) == MODE_BASELINE);
    EXPECT(stuck_for(&w, 49) == MODE_BASELINE);
    EXPECT(stuck_for(&w, 50) == MODE_FAULT && w.core.stop == STOP_SENSOR);
}

/* What an encoder says of a slow joint is the same for many states; what its velocity comes from is finer. */
TEST(a_slow_joint_between_two_steps_of_its_encoder_is_not_stuck_and_a_stuck_one_is_three_steps_later)
{
    static struct watch w;
    double              v = 0.5, x = 0;
    int                 most = 0, i;

    watch_begin(&w, &config, 1);
    config.joint[0].resolution = 0.9; /* 45 states a step at 0.02 m each: 1.25 % of 40 m/s */
    for (i = 0; i < 400; i++, x += v * 0.04) {
        w.s.velocity[0] = v + 0.001 * (i % 2);
        watch_tick(&w, 0.9 * floor(x / 0.9), 0, 0);
        most = w.core.stuck_ticks > most ? w.core.stuck_ticks : most;
    }
    EXPECT(most < 10);
    for (i = 0; i < 400 && w.core.stuck_ticks < 10; i++) {
        w.s.velocity[0] = v + 0.001 * (i % 2);
        watch_tick(&w, 0.9 * floor(x / 0.9), 0, 0);
    }
    EXPECT(i > 45 && i <= 2 * 45 + 2);
}

TEST(a_velocity_that_stands_still_is_stuck_only_where_the_positions_say_otherwise)
{
    static struct watch w;

    watch_begin(&w, &config, 1);
    w.s.velocity[0] = 2;
    for (int i = 0; i < 60; i++) /* as evenly as it says */
        watch_tick(&w, 0.08 * i, 0, 0);
    EXPECT(w.core.stuck_ticks < 10);
    watch_begin(&w, &config, 1);
    for (int i = 0; i < 60; i++) /* the slider (40 m/s at most) swings meanwhile: 5 % of that is 2 m/s */
        w.s.velocity[0] = 4, watch_tick(&w, 0.3 * sin(0.5 * i), 0, 0);
    EXPECT(w.core.stuck_ticks >= 50);
    watch_begin(&w, &config, 1);
    w.s.velocity[0] = 0;
    for (int i = 0; i < 60; i++) /* at rest */
        watch_tick(&w, 0.1, 0, 0);
    EXPECT(w.core.stuck_ticks == 0);
}

TEST(three_states_in_a_row_that_are_no_numbers_stop_the_robot_though_its_state_is_not_stale_yet)
{
    static struct watch w;

    watch_begin(&w, &config, 1);
    config.timeouts.state_stale_s = 1;
    core_init(&w.core, &config, 0);
    core_ready(&w.core);
    watch_tick(&w, 0, 0, 0);
    w.core.mode = MODE_BASELINE;
    for (int i = 0; i < 3; i++) {
        EXPECT(w.core.mode == MODE_BASELINE);
        watch_tick(&w, (double)NAN, 0, 0);
    }
    EXPECT(w.core.mode == MODE_STOPPING && w.core.stop == STOP_STATE_REJECTED);
}

TEST(stages_of_the_filter_that_a_robot_has_numbers_for_are_at_work_and_others_are_not)
{
    struct dst_options o = { .seed = 2, .ticks = 100000, .operator_arms = true, .config = &config, .cheap = true };
    struct dst_result  r;

    dst_config(&config);
    dst_run(&o, &r);
    EXPECT(r.filter[STAGE_ENVELOPE] + r.filter[STAGE_THERMAL] + r.filter[STAGE_WINDOW] + r.filter[STAGE_POWER] == 0);
    config.baseline               = BASELINE_DAMP;
    config.joint[0].baseline_kd   = 10;
    config.joint[0].brake         = 0.2;
    config.joint[0].position_max  = 0.1; /* its rail goes on */
    config.joint[0].effort_growth = 60;
    config.joint[0].power         = 5;
    config.gates.position.off     = true;
    o.faults                      = (struct dst_faults){ .arm = 0.05, .reset = 0.05, .state_lost = 0.05, .plan_lost = 0.05 };
    dst_run(&o, &r);
    EXPECT(r.violations == 0 && r.driven_ticks > 1000);
    EXPECT(r.filter[STAGE_ENVELOPE] > 10 && r.filter[STAGE_WINDOW] > 10 && r.filter[STAGE_POWER] > 10);
    EXPECT(r.effort_max > 60); /* the window moves on */
}

TEST(a_motor_that_plans_drive_at_its_peak_gets_no_hotter_than_its_continuous_effort_makes_it)
{
    struct dst_options o = { .seed = 3, .ticks = 100000, .operator_arms = true, .config = &config, .cheap = true };
    struct dst_result  r;

    dst_config(&config);
    config.joint[0].effort_continuous = 30;
    config.joint[0].heat_s            = 20; /* 5 (10^2 - 0.8) 0.04 s: as little as config_load() lets pass */
    o.faults = (struct dst_faults){ .arm = 0.05, .reset = 0.05, .state_lost = 0.05, .plan_lost = 0.05 };
    dst_run(&o, &r);
    EXPECT(r.violations == 0 && r.driven_ticks > 1000);
    EXPECT(r.filter[STAGE_THERMAL] > 100 && r.effort_max > 200);
}

/* ---- the baseline ---- */

TEST(the_baseline_compensates_gravity_as_robot_yaml_says_it_loads_the_joints)
{
    static struct core core;
    double             tau[MAX_JOINTS];

    dst_config(&config);
    config.baseline               = BASELINE_DAMP;
    config.joint[0].baseline_kd   = 2;
    config.joint[0].gravity[0]    = (struct gravity_term){ .effort = 10, .n = 1, .joint = { 0 } };
    config.joint[0].gravity[1]    = (struct gravity_term){ .effort = 4, .offset = 0.5, .n = 2, .joint = { 0, 1 } };
    config.joint[0].ngravity      = 2;
    core_init(&core, &config, 0);
    core.state.position[0] = 0.3;
    core.state.position[1] = -0.7;
    core.state.velocity[0] = 0.1;
    core_baseline_effort(&core, tau);
    EXPECT_NEAR(tau[0], 10 * cos(0.3) + 4 * cos(0.3 - 0.7 + 0.5) - 0.2, 1e-12);
    EXPECT(tau[1] == 0);
}

TEST(posture_takes_over_where_the_robot_is_and_goes_there_slowly)
{
    static struct watch w;
    double              last = 0, q = 0, v = 0, most = 0;

    watch_begin(&w, &config, 1);
    config.baseline                   = BASELINE_POSTURE;
    config.joint[0].baseline_kp       = 100;
    config.joint[0].baseline_kd       = 20;
    config.joint[0].baseline_position = 0.5;
    core_init(&w.core, &config, 0);
    core_ready(&w.core);
    for (int i = 0; i < 500; i++) { /* a mass of 1 kg; too light for a semi-implicit step of 40 ms, so ten of 4 ms */
        for (int k = 0; k < 10; k++) {
            v += 0.004 * (last - 2 * v);
            q += 0.004 * v;
        }
        w.s.velocity[0] = v;
        watch_tick(&w, q, 0, 0);
        if (i == 10) {
            w.core.mode = MODE_DISARMED;
            core_mode(&w.core, &(struct core_output){ 0 }, EVENT_ARM, STOP_NONE);
        }
        most = fmax(most, fabs(w.core.sent[0] - last));
        last = w.core.sent[0];
    }
    EXPECT_NEAR(q, 0.5, 0.01);
    EXPECT(most < 15); /* at once it would have been 50 N */
}
