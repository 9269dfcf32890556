/* The gates one by one: thresholds that calibrate themselves, drift, braking distance, the baseline within reach, trips. */
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

/* A core that is driving a planned trial, hanging at rest, with a plan that fits. */
static void driving(void)
{
    memset(&out, 0, sizeof out);
    dst_driving(&core, &config);
}

static bool judged(enum gate g)
{
    uint32_t fault = 0;

    core_gates_judge(&core, &in, 0, &fault);
    return core.gate[g].ok || core.gate[g].off;
}

/* One planner step with this spread and this error of the prediction made a step ago. */
static uint32_t step(double spread, double error)
{
    uint32_t fault = 0;

    core.plan.spread  = spread;
    core.predicted_id = core.step_id;
    for (int i = 0; i < 4; i++) {
        core.x[i]             = (float)error;
        core.predicted[i]     = 0;
        core.predicted_std[i] = core.target_std[i] = 1;
    }
    core_gates_judge(&core, &in, 0, &fault);
    return fault;
}

static void calibrating(void)
{
    dst_config(&config);
    config.gates.spread = config.gates.residual = (struct gate_config){ .calibrated = true };
    config.gates.drift                          = (struct gate_config){ .threshold = 5 };
    driving();
}

TEST(a_gate_that_calibrates_itself_waits_for_999_scores_of_finished_trials)
{
    calibrating();
    for (int i = 0; i < 998; i++) {
        EXPECT(step(0.1, 0.2) == 0);
        if (i % 100 == 99)
            core_gates_trial(&core);
    }
    core_gates_trial(&core);
    EXPECT(!(scores_threshold(&core.scores[SCORE_SPREAD]) < (double)INFINITY));
    EXPECT(step(0.3, 0.2) == 0); /* the last one it takes, but its trial is not over */
    EXPECT(step(5, 0.2) == 0 && core.gate[GATE_SPREAD].off);
    driving();
    for (int i = 0; i < 999; i++)
        step(i == 500 ? 0.3 : 0.1, 0.2);
    core_gates_trial(&core);
    EXPECT_NEAR(scores_threshold(&core.scores[SCORE_SPREAD]), 3 * 0.3, 1e-12);
    EXPECT(step(0.899, 0.2) == 0 && !core.gate[GATE_SPREAD].off);
    EXPECT(step(0.901, 0.2) == FAULT_UNCERTAIN);
    EXPECT(step(0.1, 0.61) == FAULT_MISPREDICTED);
    for (int i = 0; i < 2000; i++) { /* what was long ago does not count any more */
        step(0.2, 0.2);
        if (i % 100 == 99)
            core_gates_trial(&core);
    }
    EXPECT_NEAR(scores_threshold(&core.scores[SCORE_SPREAD]), 3 * 0.2, 1e-12);
}

TEST(a_core_that_is_told_of_earlier_trials_judges_as_the_one_that_lived_through_them)
{
    static struct core before;
    struct score_sum   trial[12][SCORE_KINDS];

    calibrating();
    for (int i = 0; i < 12; i++) { /* some are so short that they are taken together */
        for (int n = 0; n < (i % 3 ? 10 : 400); n++)
            step(0.1 + 0.01 * ((7 * n + i) % 13), 0.2 + 0.01 * ((5 * n + i) % 11));
        for (int k = 0; k < SCORE_KINDS; k++)
            trial[i][k] = core.scores[k].live;
        core_gates_trial(&core);
    }
    before = core;
    driving();
    EXPECT(!(scores_threshold(&core.scores[SCORE_SPREAD]) < (double)INFINITY));
    for (int i = 0; i < 12; i++)
        core_remember(&core, trial[i]);
    for (int k = 0; k < SCORE_KINDS; k++) {
        EXPECT(scores_threshold(&core.scores[k]) < (double)INFINITY);
        EXPECT(!memcmp(&core.scores[k], &before.scores[k], sizeof core.scores[k]));
    }
}

TEST(what_cannot_be_the_scores_of_a_trial_is_not_remembered)
{
    static const struct score_sum bad[] = { { 0, 1, 1 }, { -5, 1, 1 }, { 1 << 21, 1, 1 }, { 999, (double)NAN, 1 }, { 999, 1, (double)INFINITY } };
    static const struct core      none;

    calibrating();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        core_remember(&core, (struct score_sum[SCORE_KINDS]){ bad[i], bad[i], bad[i] });
    EXPECT(!memcmp(core.scores, none.scores, sizeof none.scores));
}

TEST(what_trips_cannot_make_itself_the_rule_at_once)
{
    calibrating();
    for (int i = 0; i < 999; i++)
        step(0.1, 0.2);
    core_gates_trial(&core);
    for (int i = 0; i < 999; i++)
        step(100, 0.2);
    core_gates_trial(&core);
    EXPECT_NEAR(scores_threshold(&core.scores[SCORE_SPREAD]), 3 * (3 * 0.1), 1e-12);
}

/* Conformal prediction promises 99.9 % on average over calibrations, whatever the distribution. */
TEST(calibration_bounds_999_of_1000_exchangeable_scores_and_the_gate_lets_more_pass)
{
    struct rng r;
    int        trips = 0, beyond = 0, n = 0;

    rng_seed(&r, 3);
    for (int k = 0; k < 40; k++) {
        calibrating();
        config.gates.residual.off = true;
        for (int i = 0; i < 999; i++)
            step(exp(rng_normal(&r)), 0.2);
        core_gates_trial(&core);
        for (int i = 0; i < 5000; i++, n++) {
            double value = exp(rng_normal(&r));

            beyond += value > scores_threshold(&core.scores[SCORE_SPREAD]) / SCORES_SLACK;
            trips += (step(value, 0.2) & FAULT_UNCERTAIN) != 0;
        }
    }
    EXPECT(beyond <= n / 1000 * 3 / 2 && beyond > n / 2000);
    EXPECT(trips < beyond / 5 && trips > 0);
}

TEST(errors_of_four_times_the_usual_are_drift_within_ten_steps_and_of_less_than_three_never)
{
    int steps = 0;

    calibrating();
    config.gates.residual.off = true;
    for (int i = 0; i < 999; i++)
        step(0.1, 0.2);
    core_gates_trial(&core);
    for (int i = 0; i < 1000; i++)
        EXPECT(step(0.1, 0.59) == 0);
    while (steps < 100 && !(step(0.1, 0.8) & FAULT_DRIFT))
        steps++;
    EXPECT(steps > 2 && steps < 10);
}

TEST(one_error_is_no_drift_however_large_and_one_that_is_no_number_counts_like_it)
{
    struct score_log log   = { 0 };
    double           drift = 0;

    EXPECT(scores_drift(&log, 7, 1e9) == 0); /* nothing is known to be usual */
    for (int i = 0; i < SCORES_CALIBRATED; i++)
        scores_add(&log, 0.2);
    scores_close(&log);
    drift = scores_drift(&log, drift, 1e9);
    EXPECT(drift == 1);
    drift = scores_drift(&log, drift, (double)NAN);
    EXPECT(drift == 2);
    EXPECT_NEAR(scores_drift(&log, drift, 0.2), 0, 1e-9); /* one as usual takes back two */
}

/* The same error, by a model that had said how unsure it was. */
TEST(what_the_nets_said_they_did_not_know_is_no_drift)
{
    uint32_t fault = 0;

    calibrating();
    config.gates.residual.off = true;
    for (int i = 0; i < 999; i++)
        step(0.1, 0.2);
    core_gates_trial(&core);
    for (int k = 0; k < 4; k++) {
        core.x[k]             = 20;
        core.predicted_std[k] = 100;
    }
    for (int i = 0; i < 100; i++) {
        core.predicted_id = core.step_id;
        fault             = 0;
        core_gates_judge(&core, &in, 0, &fault);
        EXPECT(!(fault & FAULT_DRIFT));
    }
}

/* Ticks of driving until the gate trips, where every `every`th tick's effort is cut; -1: not in 1000. */
static int ticks_to_trip(int every)
{
    dst_config(&config);
    config.gates.interventions = (struct gate_config){ .threshold = 5 };
    driving();
    for (int i = 0; i < 1000; i++) {
        core_gates_filtered(&core, every && i % every == 0);
        if (!judged(GATE_INTERVENTIONS))
            return i;
    }
    return -1;
}

TEST(a_plan_that_the_filter_has_to_cut_more_often_than_allowed_is_not_flown)
{
    EXPECT(ticks_to_trip(0) == -1);
    EXPECT(ticks_to_trip(6) == -1); /* of 25 a second: 4.2 */
    EXPECT(ticks_to_trip(4) > 25);  /* 6.25 */
    EXPECT(ticks_to_trip(1) > 3 && ticks_to_trip(1) < 10);
    core.mode = MODE_BASELINE;
    core_gates_filtered(&core, true); /* the change over to the baseline is nobody's fault */
    EXPECT(core.interventions == 0);
    config.gates.interventions.off = true;
    driving();
    core.interventions = 1e9;
    EXPECT(judged(GATE_INTERVENTIONS));
}

TEST(a_spread_or_error_that_is_no_number_trips_even_where_its_gate_is_off)
{
    dst_config(&config);
    driving();
    EXPECT(core.config->gates.spread.off && step(0.1, 0.1) == 0);
    EXPECT(step((double)NAN, 0.1) == FAULT_UNCERTAIN);
    EXPECT(step(0.1, (double)NAN) == FAULT_MISPREDICTED);
}

TEST(a_plan_that_leads_where_no_brake_helps_is_not_flown)
{
    dst_config(&config);
    config.gates.recoverable.off = false;
    config.joint[0].brake        = 5; /* of +-3 m: from 2 m/s it takes 0.4 m, and 0.16 m of two ticks */
    driving();
    memset(core.plan.predicted_std, 0, sizeof core.plan.predicted_std);
    EXPECT(judged(GATE_RECOVERABLE));
    core.plan.predicted[0] = 2.4f;
    core.plan.predicted[2] = 2;
    EXPECT(judged(GATE_RECOVERABLE));
    core.plan.predicted[0] = 2.5f;
    EXPECT(!judged(GATE_RECOVERABLE));
    core.plan.predicted[2] = -2; /* on its way back */
    EXPECT(judged(GATE_RECOVERABLE));
    core.plan.predicted[0] = 2.4f;
    core.plan.predicted[2] = 2;
    for (int i = 0; i < 4; i++)
        core.plan.predicted_std[i] = 0.05f; /* the nets are not quite sure */
    EXPECT(!judged(GATE_RECOVERABLE));
    core.plan.predicted[0] = (float)NAN;
    EXPECT(!judged(GATE_RECOVERABLE));
    core.plan.predicted[0] = core.plan.predicted[2] = 0;
    core.state.position[0]                          = -2.9;
    core.state.velocity[0]                          = -3; /* now already */
    EXPECT(!judged(GATE_RECOVERABLE));
    config.joint[0].brake = 0;
    driving();
    core.plan.predicted[0] = 100;
    EXPECT(judged(GATE_RECOVERABLE)); /* nothing is known about its brakes */
}

TEST(the_baseline_must_be_a_number_and_within_reach)
{
    dst_config(&config);
    config.baseline             = BASELINE_DAMP;
    config.joint[0].baseline_kd = 100;
    config.joint[0].effort_rate = 500; /* 20 N a tick */
    driving();
    core.plan.action[0][0] = 2; /* 200 N: ten ticks from nothing */
    EXPECT(judged(GATE_BASELINE));
    config.gates.baseline = (struct gate_config){ .threshold = 9 };
    EXPECT(!judged(GATE_BASELINE));
    config.gates.baseline.threshold = 10;
    EXPECT(judged(GATE_BASELINE));
    config.gates.baseline.off = true;
    core.state.velocity[0]    = 3.1; /* 310 N, more than the joint may get */
    EXPECT(!judged(GATE_BASELINE));
}

TEST(every_trip_doubles_what_trust_costs_up_to_ten_seconds_and_good_time_wins_it_back)
{
    uint32_t fault = 0;

    dst_config(&config);
    driving();
    for (int i = 0; i < 8; i++) {
        double want = fmin(10, 0.2 * pow(2, i));

        EXPECT_NEAR(core.need_s, want, 1e-9);
        core.mode              = MODE_ADVANCED;
        core.trips             = 0;
        out.nnotice            = 0;
        core.plan.action[0][0] = (float)NAN;
        judged(GATE_FINITE);
        core_gates_trip(&core, &out, &fault);
        EXPECT(core.mode == MODE_BASELINE && core.trial_trips == i + 1);
    }
    for (int i = 0; i < 249; i++)
        core_gates_good(&core);
    EXPECT(core.need_s == 10);
    for (int i = 0; i < 2; i++)
        core_gates_good(&core);
    EXPECT(core.need_s == 5); /* ten seconds of 25 Hz */
    for (int i = 0; i < 2500; i++)
        core_gates_good(&core);
    EXPECT(core.need_s == config.gates.promote_s);
    core_gates_trial(&core);
    EXPECT(core.trial_trips == 0);
}

/* How often the model was called unfit after trips at these seconds. */
static int unfit_after(double s1, double s2, bool by_model)
{
    uint32_t fault = 0;
    int      n     = 0;

    dst_config(&config);
    driving();
    for (int i = 0; i < 2; i++) {
        core.mode              = MODE_ADVANCED;
        core.now_ns            = (uint64_t)((1000 + (i ? s2 : s1)) * 1e9);
        core.outside           = !by_model;
        core.plan.action[0][0] = by_model ? (float)NAN : 0;
        out.nnotice            = 0;
        fault                  = 0;
        core_gates_judge(&core, &in, 0, &fault);
        core_gates_trip(&core, &out, &fault);
        for (int k = 0; k < out.nnotice; k++)
            n += out.notice[k].kind == NOTICE_UNFIT && out.notice[k].model == 1;
    }
    return n;
}

TEST(two_trips_of_one_model_within_a_minute_make_it_unfit)
{
    EXPECT(unfit_after(0, 59, true) == 1);
    core.plan.action[0][0] = 0; /* from then on it does not fly, however good it looks, until an operator says so */
    EXPECT(!judged(GATE_MODEL));
    core.unfit_model = 2;
    EXPECT(judged(GATE_MODEL));
    EXPECT(unfit_after(0, 61, true) == 0);
    EXPECT(unfit_after(0, 1, false) == 0); /* not its fault */
}

/* Until then nets know too little for their disagreement to mean anything. */
TEST(a_gate_of_the_model_only_counts_until_there_is_enough_experience)
{
    dst_config(&config);
    config.gates.spread          = (struct gate_config){ .threshold = 1 };
    config.gates.min_transitions = 200;
    driving();
    core.transitions = 199;
    EXPECT(step(2, 0.1) == 0 && !core.gate[GATE_SPREAD].ok);
    core.transitions = 200;
    EXPECT(step(2, 0.1) == FAULT_UNCERTAIN && step(1, 0.1) == 0);
}

/* The gates' verdict at this second, of a plan that is no number; whether it was one trip too many. */
static bool trips_at(double s)
{
    uint32_t fault = 0;

    core.mode              = MODE_ADVANCED;
    core.now_ns            = (uint64_t)((1000 + s) * 1e9);
    core.plan.action[0][0] = (float)NAN;
    out.nnotice            = 0;
    core_gates_judge(&core, &in, 0, &fault);
    core_gates_trip(&core, &out, &fault);
    return fault & FAULT_GATES;
}

TEST(five_trips_within_a_minute_are_a_fault_and_five_within_sixty_two_seconds_are_not)
{
    static const double slow[] = { 0, 15.5, 31, 46.5, 62, 77.5, 93 }, fast[] = { 120, 130, 137.4 };

    dst_config(&config);
    driving();
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++)
        EXPECT(!trips_at(slow[i]));
    for (int i = 0; i < 2; i++)
        EXPECT(!trips_at(fast[i]));
    EXPECT(trips_at(fast[2])); /* with those at 77.5 and 93 */
}

/* As often as what trust costs allows: it doubles, and the robot waits for it. */
TEST(a_plan_that_trips_whenever_it_may_drive_again_is_a_fault_in_the_end)
{
    double s = 0;
    int    trips = 1;

    dst_config(&config);
    config.gates.promote_s = 0.5;
    driving();
    for (; !trips_at(s) && trips < 20; trips++)
        s += core.need_s + 0.04;
    EXPECT(trips == 5);
}

/* A model that was handed over has to be watched first, whoever is to blame for the moment. */
TEST(another_model_while_its_forerunner_drives_costs_its_place_and_nothing_else)
{
    uint32_t fault = 0;

    dst_config(&config);
    driving();
    double need_s    = core.need_s;
    in.model_version = 2;
    out.nnotice      = 0;
    core_gates_judge(&core, &in, 0, &fault);
    EXPECT(!core.gate[GATE_SHADOW].ok && !core_gates_ok(&core));
    core_gates_trip(&core, &out, &fault);
    EXPECT(core.mode == MODE_BASELINE && !(core.need_s > need_s) && core.trial_trips == 0 && core.trips == 0 && !fault);
    EXPECT(core.gate[GATE_SHADOW].trips == 0 && out.nnotice == 1 && out.notice[0].kind == NOTICE_MODE);
    in.model_version = 1;
}

TEST(a_model_is_called_unfit_once_and_another_one_anew)
{
    int told = 0;

    dst_config(&config);
    driving();
    for (int i = 0; i < 6; i++) {
        core.plan.model_version = i < 4 ? 1 : 2;
        trips_at(i);
        for (int k = 0; k < out.nnotice; k++)
            told += out.notice[k].kind == NOTICE_UNFIT;
        EXPECT(told == (i < 1 ? 0 : i < 5 ? 1 : 2));
    }
}

TEST(trust_that_costs_longer_than_ten_seconds_anyway_gets_no_dearer)
{
    dst_config(&config);
    config.gates.promote_s = 20;
    driving();
    trips_at(0);
    EXPECT(core.need_s == 20);
}

TEST(every_gate_has_a_name_of_its_own_and_a_unit)
{
    for (int g = 0; g < GATE_COUNT; g++) {
        EXPECT(gate_name((enum gate)g) && gate_name((enum gate)g)[0] && gate_unit((enum gate)g));
        for (int h = 0; h < g; h++)
            EXPECT(strcmp(gate_name((enum gate)g), gate_name((enum gate)h)) != 0);
    }
}
