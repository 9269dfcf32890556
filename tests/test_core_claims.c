/* test_core_claims.c - claims about the core that changed code would have survived without (`make mutate`): of gates, scores
 * and efforts, number by number. */
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

/* A core that drives a planned trial, hanging at rest, with a plan that fits. */
static void driving(void)
{
    memset(&out, 0, sizeof out);
    dst_driving(&core, &config);
    core.trial = 3;
    core.step  = 21;
    for (int i = 0; i < 4; i++)
        core.target_std[i] = core.predicted_std[i] = 1;
}

static void plainly_driving(void)
{
    dst_config(&config);
    driving();
}

/* The gate's verdict about the plan of `index` steps ago, -1: there is none. */
static bool judged(enum gate g, int index)
{
    uint32_t fault = 0;

    core_gates_judge(&core, &in, index, &fault);
    return core.gate[g].ok || core.gate[g].off;
}

/* ---- scores ---- */

static void trial_of(struct score_log *log, int n, double worst)
{
    for (int i = 0; i < n; i++)
        scores_add(log, i ? 0.5 : worst);
    scores_close(log);
}

TEST(the_oldest_trial_that_is_kept_counts_where_the_newer_ones_are_not_enough)
{
    struct score_log log = { 0 };

    trial_of(&log, 32, 7);
    for (int i = 1; i < SCORE_TRIALS; i++)
        trial_of(&log, 32, 1);
    EXPECT_NEAR(scores_threshold(&log), 21, 1e-12); /* 31 trials of 32 have 992 */
    trial_of(&log, 32, 1);
    EXPECT_NEAR(scores_threshold(&log), 3, 1e-12);
}

TEST(trials_that_have_999_together_are_enough_and_older_ones_do_not_count)
{
    struct score_log log = { 0 };

    trial_of(&log, 40, 1);
    log.trial[SCORE_TRIALS - 1].worst = 5;
    trial_of(&log, 998, 1);
    EXPECT_NEAR(scores_threshold(&log), 15, 1e-12);
    EXPECT_NEAR(scores_usual(&log), (40 * 0.5 + 0.5 + 998 * 0.5 + 0.5) / 1038, 1e-12);
    scores_add(&log, 1);
    scores_close(&log);
    EXPECT_NEAR(scores_threshold(&log), 3, 1e-12);
    log = (struct score_log){ 0 };
    trial_of(&log, 40, 1);
    log.trial[SCORE_TRIALS - 1].worst = 5;
    trial_of(&log, 999, 1);
    EXPECT_NEAR(scores_threshold(&log), 3, 1e-12);
}

TEST(trials_of_less_than_32_scores_are_taken_together)
{
    struct score_log log = { 0 };

    trial_of(&log, 1, 1);
    trial_of(&log, 30, 1);
    EXPECT(log.trial[SCORE_TRIALS - 1].n == 31 && log.trial[SCORE_TRIALS - 2].n == 0);
    trial_of(&log, 1, 1);
    EXPECT(log.trial[SCORE_TRIALS - 1].n == 32 && log.trial[SCORE_TRIALS - 2].n == 0);
    trial_of(&log, 5, 1);
    EXPECT(log.trial[SCORE_TRIALS - 1].n == 5 && log.trial[SCORE_TRIALS - 2].n == 32);
}

TEST(an_error_counts_towards_drift_by_what_it_is_beyond_three_times_the_usual_and_at_most_by_one)
{
    struct score_log log = { 0 };

    for (int i = 0; i < 999; i++)
        scores_add(&log, 1);
    scores_close(&log);
    EXPECT_NEAR(scores_usual(&log), 1, 1e-12);
    EXPECT(scores_drift(&log, 0, 2) <= 0);
    EXPECT_NEAR(scores_drift(&log, 0, 3.25), 0.25, 1e-12);
    EXPECT_NEAR(scores_drift(&log, 2, 1), 0, 1e-12);
    EXPECT_NEAR(scores_drift(&log, 2, 2.5), 1.5, 1e-12);
    EXPECT_NEAR(scores_drift(&log, 2, 4.5), 3, 1e-12);
    EXPECT_NEAR(scores_drift(&log, 2, (double)NAN), 3, 1e-12);
}

TEST(a_trial_of_one_score_or_of_a_million_is_remembered_and_a_longer_one_is_not)
{
    struct score_sum s[SCORE_KINDS];

    for (int n = 1; n <= 1 << 20; n += (1 << 20) - 1) {
        plainly_driving();
        for (int k = 0; k < SCORE_KINDS; k++)
            s[k] = (struct score_sum){ .n = n, .worst = 1, .sum = 1 };
        core_remember(&core, s);
        EXPECT(core.scores[SCORE_KINDS - 1].trial[SCORE_TRIALS - 1].n == n);
    }
    plainly_driving();
    for (int k = 0; k < SCORE_KINDS; k++)
        s[k].n = (1 << 20) + 1;
    core_remember(&core, s);
    EXPECT(core.scores[0].trial[SCORE_TRIALS - 1].n == 0);
}

/* ---- what gates judge ---- */

TEST(fifty_plans_of_this_model_in_a_row_that_fit_are_a_shadow_run_and_no_fewer)
{
    plainly_driving();
    in.model_version = core.plan.model_version = 2;
    for (int i = 1; i <= 49; i++)
        EXPECT(!judged(GATE_SHADOW, 0) && core.shadow_plans == i);
    EXPECT(!judged(GATE_SHADOW, -1) && core.shadow_plans == 49); /* no plan, no step */
    core.plan.model_version = 1;
    EXPECT(!judged(GATE_SHADOW, 0) && core.shadow_plans == 49); /* another one's */
    core.plan.model_version = 2;
    for (int i = 0; i < 3; i++)
        EXPECT(judged(GATE_SHADOW, 0) && core.shadow_plans == 50);
    core.plan.action[0][0] = 4;
    EXPECT(!judged(GATE_SHADOW, 0) && core.shadow_plans == 0);
    core.plan.action[0][0] = 0;
    EXPECT(!judged(GATE_SHADOW, 0) && core.shadow_plans == 1);
    core.shadow_plans = 50;
    in.model_version  = 3; /* whose plans have not come yet */
    EXPECT(!judged(GATE_SHADOW, 0) && core.shadow_plans == 0);
    in.model_version = 1;
}

TEST(an_action_fits_up_to_rounding_on_each_side_and_only_the_robots_own_are_looked_at)
{
    static const struct {
        float action;
        bool  fits;
    } c[] = { { 3.000008f, true }, { 3.00002f, false }, { -3.000008f, true }, { -3.00002f, false } };

    plainly_driving();
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        core.plan.action[0][0] = c[i].action;
        EXPECT(judged(GATE_FINITE, 0) == c[i].fits);
        EXPECT_NEAR(core.gate[GATE_FINITE].value, c[i].fits, 0);
    }
    core.plan.action[0][0] = 0;
    core.plan.action[0][1] = 1e9f;
    EXPECT(judged(GATE_FINITE, 0));
}

TEST(an_error_is_the_root_mean_square_over_all_observations_in_units_of_their_spread)
{
    for (int i = 0; i < 4; i++) {
        plainly_driving();
        core.predicted_id  = core.step_id;
        core.x[i]          = 3;
        core.predicted[i]  = 1;
        core.target_std[i] = 2;
        EXPECT(judged(GATE_RESIDUAL, 0));
        EXPECT_NEAR(core.gate[GATE_RESIDUAL].value, 0.5, 1e-12);
    }
    core.predicted_id = 0; /* nothing was predicted of this step, or planned for it: nothing is wrong */
    EXPECT(judged(GATE_RESIDUAL, -1));
    EXPECT_NEAR(core.gate[GATE_RESIDUAL].value, 0, 0);
    EXPECT_NEAR(core.gate[GATE_SPREAD].value, 0, 0);
    EXPECT_NEAR(core.drift, 0, 0);
}

/* Scores that a step adds, one digit a kind: spread, residual, surprise. */
static int scored(enum mode mode, enum trial_phase phase, int index, bool predicted, double spread, double error)
{
    plainly_driving();
    core.mode         = mode;
    core.trial_phase  = phase;
    core.predicted_id = predicted ? core.step_id : 0;
    core.plan.spread  = spread;
    core.x[0]         = (float)error;
    judged(GATE_MODEL, index);
    return 100 * core.scores[SCORE_SPREAD].live.n + 10 * core.scores[SCORE_RESIDUAL].live.n +
           core.scores[SCORE_SURPRISE].live.n;
}

TEST(only_what_a_plan_did_in_a_trial_is_what_later_ones_are_judged_by)
{
    EXPECT(scored(MODE_ADVANCED, TRIAL_RUNNING, 0, true, 0.1, 0.1) == 111);
    EXPECT(scored(MODE_BASELINE, TRIAL_RUNNING, 0, true, 0.1, 0.1) == 0);
    EXPECT(scored(MODE_ADVANCED, TRIAL_RESETTING, 0, true, 0.1, 0.1) == 0);
    EXPECT(scored(MODE_ADVANCED, TRIAL_RUNNING, 1, true, 0.1, 0.1) == 11); /* its spread was of another step */
    EXPECT(scored(MODE_ADVANCED, TRIAL_RUNNING, 0, false, 0.1, 0.1) == 100);
    EXPECT(scored(MODE_ADVANCED, TRIAL_RUNNING, 0, true, (double)NAN, 0.1) == 11);
    EXPECT(scored(MODE_ADVANCED, TRIAL_RUNNING, 0, true, 0.1, (double)NAN) == 100);
}

TEST(a_value_as_large_as_its_threshold_is_good)
{
    plainly_driving();
    config.gates.interventions        = (struct gate_config){ .threshold = 5 };
    config.gates.drift                = (struct gate_config){ .threshold = 4 };
    core.gate[GATE_INTERVENTIONS].off = false;
    core.interventions                = 5;
    core.drift                        = 4;
    judged(GATE_DRIFT, 0);
    EXPECT(core.gate[GATE_INTERVENTIONS].ok && core.gate[GATE_DRIFT].ok && core.gate[GATE_DRIFT].off);
    core.interventions = 5.01;
    core.drift         = 4.01;
    judged(GATE_DRIFT, 0);
    EXPECT(!core.gate[GATE_INTERVENTIONS].ok && !core.gate[GATE_DRIFT].ok && core.gate[GATE_DRIFT].off);
    EXPECT_NEAR(core.gate[GATE_DRIFT].value, 4.01, 1e-12);
}

TEST(the_way_to_the_baseline_is_the_difference_of_the_two_efforts_in_ticks)
{
    dst_config(&config);
    config.baseline             = BASELINE_DAMP;
    config.joint[0].baseline_kd = 100;
    config.joint[0].effort_rate = 500; /* 20 N a tick */
    driving();
    judged(GATE_BASELINE, 0);
    EXPECT_NEAR(core.gate[GATE_BASELINE].value, 0, 0);
    core.state.velocity[0] = 1;
    core.plan.action[0][0] = -1;
    judged(GATE_BASELINE, 0);
    EXPECT_NEAR(core.gate[GATE_BASELINE].value, 0, 1e-9);
    core.plan.action[0][0] = 1;
    judged(GATE_BASELINE, 0);
    EXPECT_NEAR(core.gate[GATE_BASELINE].value, 10, 1e-9);
}

TEST(what_was_wrong_before_the_gates_were_judged_stays_wrong)
{
    uint32_t fault = FAULT_TICK_LATE;

    plainly_driving();
    core_gates_judge(&core, &in, 0, &fault);
    EXPECT(fault == FAULT_TICK_LATE);
}

/* ---- where no brake helps ---- */

static void braking(int plan_every)
{
    dst_config(&config);
    config.gates.recoverable.off = false;
    config.joint[0].brake        = 5;
    config.plan_every            = plan_every;
    driving();
    memset(core.plan.predicted_std, 0, sizeof core.plan.predicted_std);
}

/* By where the plan leads, and how sure the nets are. */
static bool leads_to(float q, float sd_q, float sd_v)
{
    braking(1);
    core.plan.predicted[0]     = q;
    core.plan.predicted_std[0] = sd_q;
    core.plan.predicted_std[2] = sd_v;
    bool good                  = judged(GATE_RECOVERABLE, 0);
    EXPECT_NEAR(core.gate[GATE_RECOVERABLE].value, good ? 0 : 1, 0);
    return good;
}

TEST(the_nets_may_be_wrong_by_three_standard_deviations_in_place_and_speed_at_each_end)
{
    for (int side = -1; side <= 1; side += 2) { /* 1 m before the end, at rest */
        EXPECT(leads_to(2.0f * (float)side, 0, 0));
        EXPECT(leads_to(2.0f * (float)side, 0.3f, 0) && !leads_to(2.0f * (float)side, 0.35f, 0));
        EXPECT(leads_to(2.0f * (float)side, 0, 0.85f) && !leads_to(2.0f * (float)side, 0, 1));
    }
}

TEST(what_is_not_observed_or_not_planned_for_goes_on_as_it_is)
{
    for (int observed = 0; observed < 2; observed++) {
        braking(10); /* 0.4 s a step */
        if (!observed)
            core.obs_position[0] = core.obs_velocity[0] = -1;
        int index              = observed; /* an older plan says nothing of this step's end */
        core.plan.predicted[0] = 100;
        core.state.position[0] = 2.5;
        EXPECT(judged(GATE_RECOVERABLE, index));
        core.state.position[0] = 1.9;
        core.state.velocity[0] = 2;
        EXPECT(!judged(GATE_RECOVERABLE, index)); /* it could brake now, not where it will be */
        core.state.velocity[0] = -2;
        EXPECT(judged(GATE_RECOVERABLE, index));
        core.state.position[0] = 2.95;
        core.state.velocity[0] = 0;
        EXPECT(judged(GATE_RECOVERABLE, index));
    }
}

TEST(whichever_place_an_observation_has_it_is_the_one_that_is_predicted)
{
    dst_config(&config);
    config.nx                    = 2;
    config.observation[0]        = (struct observation_config){ .measure = MEASURE_VELOCITY, .joint = 0 };
    config.observation[1]        = (struct observation_config){ .measure = MEASURE_POSITION, .joint = 0 };
    config.joint[0].brake        = 5;
    config.gates.recoverable.off = false;
    driving();
    EXPECT(core.obs_velocity[0] == 0 && core.obs_position[0] == 1 && core.obs_velocity[1] == -1 &&
           core.obs_position[1] == -1);
    core.plan.predicted_std[0] = core.plan.predicted_std[1] = 0;
    core.plan.predicted[1]                                  = 2;
    EXPECT(judged(GATE_RECOVERABLE, 0));
    core.plan.predicted[0] = 3.5f;
    EXPECT(!judged(GATE_RECOVERABLE, 0));
    core.plan.predicted[0]     = 0;
    core.plan.predicted_std[0] = 1;
    EXPECT(!judged(GATE_RECOVERABLE, 0));
    config.observation[0].joint = config.observation[1].joint = 1;
    driving();
    EXPECT(core.obs_velocity[0] == -1 && core.obs_position[0] == -1 && core.obs_velocity[1] == 0);
}

/* ---- trips ---- */

TEST(each_gate_that_trips_is_counted_and_told_by_its_own_name_with_trial_and_step)
{
    for (int g = 0; g < GATE_COUNT; g++) {
        uint32_t fault = FAULT_TICK_LATE;

        plainly_driving();
        for (int k = 0; k < GATE_COUNT; k++) {
            core.gate[k].off = false;
            core.gate[k].ok  = true;
        }
        EXPECT(core_gates_ok(&core));
        core.gate[g].ok = false;
        EXPECT(!core_gates_ok(&core));
        core_gates_trip(&core, &out, &fault);
        EXPECT(fault == FAULT_TICK_LATE);
        if (g == GATE_SHADOW) { /* another model is no trip */
            EXPECT(out.nnotice == 1 && out.notice[0].kind == NOTICE_MODE && core.gate[g].trips == 0);
            continue;
        }
        EXPECT(out.nnotice == 2 && out.notice[0].kind == NOTICE_GATE && (int)out.notice[0].gate == g);
        EXPECT(out.notice[0].trial == 3 && out.notice[0].step == 21 && out.notice[1].kind == NOTICE_MODE);
        for (int k = 0; k < GATE_COUNT; k++)
            EXPECT(core.gate[k].trips == (k == g));
        EXPECT(core.tripped_model == (g == GATE_SPREAD || g == GATE_RESIDUAL || g == GATE_DRIFT));
    }
}

TEST(a_trip_or_a_new_trial_forgets_the_drift_and_the_calm_before_it)
{
    uint32_t fault = 0;

    plainly_driving();
    core.drift = core.calm_s = 4;
    core_gates_trip(&core, &out, &fault);
    EXPECT(core.drift <= 0 && core.calm_s <= 0);
    core.drift = 4;
    core_gates_trial(&core);
    EXPECT(core.drift <= 0);
}

TEST(sixty_seconds_after_a_trip_another_one_still_makes_the_model_unfit_and_ten_after_four_the_fifth_is_a_fault)
{
    uint32_t fault = FAULT_PLAN_BAD;

    plainly_driving();
    for (int g = 0; g < GATE_COUNT; g++)
        core.gate[g].ok = true;
    core_gates_trip(&core, &out, &fault);
    core.now_ns += 60 * NS_PER_S;
    out.nnotice = 0;
    core.mode   = MODE_ADVANCED;
    core_gates_trip(&core, &out, &fault);
    EXPECT(core.unfit_model == 1 && out.nnotice == 2 && out.notice[0].kind == NOTICE_UNFIT);
    EXPECT(out.notice[0].trial == 3 && out.notice[0].step == 21);
    plainly_driving();
    for (int i = 0; i < 5; i++) {
        fault = FAULT_TICK_LATE;
        core_gates_trip(&core, &out, &fault);
        core.now_ns += i == 3 ? 10 * NS_PER_S : 0;
        out.nnotice = 0;
    }
    EXPECT(fault == (FAULT_TICK_LATE | FAULT_GATES));
}

TEST(ten_good_seconds_halve_what_trust_costs_down_to_what_it_cost_at_first)
{
    static const struct {
        double need_s, then_s;
    } c[] = { { 8, 4 }, { 0.5, 0.25 }, { 0.3, 0.2 } };

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        dst_config(&config);
        config.control_hz = 2;
        driving();
        core.need_s = c[i].need_s;
        for (int n = 0; n < 19; n++)
            core_gates_good(&core);
        EXPECT_NEAR(core.need_s, c[i].need_s, 0);
        core_gates_good(&core);
        EXPECT_NEAR(core.need_s, c[i].then_s, 1e-12);
        core.need_s = 8;
        for (int n = 0; n < 19; n++)
            core_gates_good(&core);
        EXPECT_NEAR(core.need_s, 8, 0);
    }
    uint32_t fault = 0;
    core.need_s    = 4;
    core_gates_trip(&core, &out, &fault);
    EXPECT_NEAR(core.need_s, 8, 1e-12);
}

TEST(gates_of_efforts_hold_until_an_effort_was_judged)
{
    dst_config(&config);
    config.gates.limit_dwell = config.gates.oscillation = config.gates.energy = (struct gate_config){ .threshold = 1 };
    driving();
    EXPECT(core.gate[GATE_LIMIT_DWELL].ok && core.gate[GATE_OSCILLATION].ok && core.gate[GATE_ENERGY].ok);
    EXPECT(!core.gate[GATE_LIMIT_DWELL].off && !core.gate[GATE_OSCILLATION].off && !core.gate[GATE_ENERGY].off);
}

/* ---- efforts ---- */

/* Two joints of 100 N, of which both act, over gap_s. */
static struct effort_worst watched(struct effort_watch *w, const double *effort, const double *velocity, double gap_s)
{
    static const struct filter_limits lim = { .nj         = 2,
                                              .actuated   = { true, true },
                                              .effort     = { 100, 100 },
                                              .continuous = { (double)INFINITY, (double)INFINITY } };
    static const struct filter_window window;
    const struct effort_tick          now = { .in_force = effort, .effort = effort, .velocity = velocity };

    return effort_watch(w, &lim, &window, &now, gap_s, true);
}

TEST(work_is_power_times_time_of_what_drives_and_what_is_a_second_old_is_forgotten)
{
    struct effort_watch w        = { 0 };
    const double        still[2] = { 0 }, force[2] = { 1, 1 }, v[2] = { 0.25, 0.5 }, back[2] = { -9, -9 };
    struct effort_worst a = watched(&w, still, still, 0.1);

    EXPECT(a.work <= 0 && a.dwell_s <= 0 && a.reversals <= 0 && a.work_joint == 0 && a.dwell_joint == 0);
    a = watched(&w, force, v, 0.5);
    EXPECT_NEAR(a.work, 0.375, 1e-12);
    EXPECT(a.work_joint == 1);
    a = watched(&w, force, back, 0.5); /* braking: half of it has faded */
    EXPECT_NEAR(a.work, 0.1875, 1e-12);
    a = watched(&w, force, back, 1.5);
    EXPECT_NEAR(a.work, 0, 0);
    w = (struct effort_watch){ .work = { 5, 3 } };
    a = watched(&w, force, back, 0.1);
    EXPECT(a.work_joint == 0);
}

TEST(of_two_joints_that_are_as_bad_the_first_is_named)
{
    struct effort_watch w    = { 0 };
    const double        v[2] = { 1, 1 }, up[2] = { 100, 100 }, down[2] = { -100, -100 };
    struct effort_worst a = watched(&w, up, v, 0.1);

    a = watched(&w, up, v, 0.1);
    EXPECT(a.dwell_joint == 0 && a.dwell_s > 0 && a.work_joint == 0 && a.work > 0);
    a = watched(&w, down, v, 0.1);
    EXPECT(a.reversals_joint == 0 && a.reversals > 0);
}

TEST(work_as_large_as_its_gate_allows_is_no_fault)
{
    const double effort[MAX_JOINTS] = { 0 };

    dst_config(&config);
    config.gates.energy = (struct gate_config){ .threshold = 3 };
    driving();
    core.sent[0]           = 3;
    core.state.velocity[0] = 1;
    EXPECT(core_effort_sending(&core, effort, 1) == 0 && core.gate[GATE_ENERGY].ok);
    core.sent[0] = 3.1;
    EXPECT(core_effort_sending(&core, effort, 1) == FAULT_ENERGY && !core.gate[GATE_ENERGY].ok);
}

/* States without a command in force before effort is judged again, and one with. */
static int growing(double effort_error, double effort_rate)
{
    dst_config(&config);
    config.joint[0].effort_error = effort_error;
    config.joint[0].effort_rate  = effort_rate;
    driving();
    EXPECT(core_effort_measured(&core, &core.state) == 0);
    return core.track.growing;
}

TEST(effort_is_judged_again_once_it_can_have_grown_to_its_limit)
{
    EXPECT(growing(10, 1500) == 6); /* 300 N by 60 a tick, and one more */
    EXPECT(growing(0.5, 1500) == 6);
    EXPECT(growing(10, 15000) == 1);
    EXPECT(growing(0, 1500) == 1); /* nobody compares it */
    EXPECT(growing(10, 1e-9) == 1000000);
}

/* The efforts commanded last, and what was measured of the interval of both; states in a row with another one. */
static int differing(double newest, double before, double measured)
{
    dst_config(&config);
    config.joint[0].effort_error = 0.5;
    driving();
    core.command_seq = core.state.applied_command_seq = 5;
    core.state.has_effort                             = true;
    core.state.effort[0]                              = measured;
    core.track.n                                      = TRACK_KEPT;
    core.track.commanded[0][0]                        = newest;
    core.track.commanded[1][0]                        = before;
    core.track.differ[0]                              = 9;
    uint32_t fault                                    = core_effort_measured(&core, &core.state);
    EXPECT(fault == (core.track.differ[0] >= 10 ? FAULT_TRACK_ERROR : 0));
    return core.track.differ[0];
}

TEST(an_effort_between_two_commands_agrees_and_tells_something_only_if_they_are_near)
{
    EXPECT(differing(1, 1.5, 1.2) == 0); /* as far apart as the error may be: it tells */
    EXPECT(differing(1, 1.6, 1.2) == 9);
    EXPECT(differing(1.6, 1, 1.2) == 9);
    EXPECT(differing(1, 2, 0.4) == 10);
    EXPECT(core.blame.joint == 0 && core.blame.what == 't');
    EXPECT_NEAR(core.blame.limit, 1, 0);
    EXPECT(differing(2, 1, 2.6) == 10);
    EXPECT_NEAR(core.blame.limit, 2, 0);
}

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
