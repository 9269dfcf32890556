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
