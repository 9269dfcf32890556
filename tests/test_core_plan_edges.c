/* test_core_plan_edges.c - which plan drives, which is asked for and when; READY, exploration and transitions at their edges. */
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

/* ---- which plan drives ---- */

/* At the boundary of step 10 of a planned trial that a plan drives; plans of this life begin with step 5. */
static void driving(void)
{
    dst_config(&config);
    core_init(&core, &config, 100000);
    core_ready(&core);
    memset(&out, 0, sizeof out);
    in                = (struct core_input){ .model_version = 1, .aborted_trial = -1 };
    core.mode         = MODE_ADVANCED;
    core.trial_phase  = TRIAL_RUNNING;
    core.trial_kind   = TRIAL_PLANNED;
    core.shadow_model = 1;
    core.shadow_plans = 50;
    core.step_id      = 10;
    core.plan_from_id = 5;
    core.boundary     = true;
    core.have_plan    = true;
    core.now_ns       = 1000 * NS_PER_S;
    core.plan         = (struct plan){ .id = 10, .model_version = 1, .horizon = 5, .na = 1, .iterations = 1 };
    for (int i = 0; i < MAX_OBS; i++)
        core.plan.out_std[i] = 1;
    for (int h = 0; h < 5; h++)
        core.plan.action[h][0] = (float)(0.1 * (h + 1));
}

/* Index into the plan that drove this step, -1: none did and the baseline took over. */
static int drove(void)
{
    uint32_t fault = core_playback(&core, &in, &out);

    if (core.mode != MODE_ADVANCED) {
        EXPECT(core.mode == MODE_BASELINE && fault & FAULT_PLAN_LATE);
        return -1;
    }
    int index = (int)lround(core.action_effort[0] / 10) - 1;
    EXPECT(!!(fault & FAULT_PLAN_LATE) == (index != 0));
    return index;
}

TEST(a_plan_drives_the_steps_it_was_made_for_and_none_before_or_beyond_them)
{
    driving();
    EXPECT(drove() == 0 && core.predicted_id == 11);
    driving();
    core.plan.id = 8; /* as old as the gate allows */
    EXPECT(drove() == 2 && core.predicted_id == 0);
    driving();
    core.plan.id = 7;
    EXPECT(drove() == -1);
    driving();
    core.plan.id = 8, core.plan.horizon = 3;
    EXPECT(drove() == 2);
    driving();
    core.plan.id = 8, core.plan.horizon = 2;
    EXPECT(drove() == -1);
    driving();
    core.plan.id = 11;
    EXPECT(drove() == -1);
}

TEST(no_plan_of_another_life_and_none_that_nothing_was_searched_for_drives)
{
    driving();
    core.have_plan = false;
    EXPECT(drove() == -1);
    driving();
    core.plan.iterations = 0;
    EXPECT(drove() == -1);
    driving();
    core.plan.id = 8, core.plan_from_id = 8;
    EXPECT(drove() == 2);
    driving();
    core.plan.id = 8, core.plan_from_id = 9;
    EXPECT(drove() == -1);
}

TEST(a_plan_from_outside_is_taken_if_it_belongs_to_this_life_and_has_a_length_that_can_be)
{
    static struct plan given;
    static const struct {
        uint64_t id;
        int      horizon;
        bool     taken;
    } row[] = {
        { 5, 1, true }, { 4, 1, false }, { 5, 0, false }, { 10, MAX_HORIZON, true }, { 10, MAX_HORIZON + 1, false }
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        driving();
        core.delay = 1;
        given      = core.plan;
        given.id = row[i].id, given.horizon = row[i].horizon, given.seed = 4711;
        in.plan = &given;
        core_playback(&core, &in, &out);
        EXPECT((core.plan.seed == 4711) == row[i].taken);
    }
    driving();
    in.plan = NULL;
    EXPECT(drove() == 0);
}

TEST(good_gates_promote_a_planned_trial_that_runs_and_nothing_else)
{
    for (int k = 0; k < 16; k++) {
        bool running = k & 1, planned = k & 2, baseline = k & 4, long_enough = k & 8;

        driving();
        core.mode        = baseline ? MODE_BASELINE : MODE_ADVANCED;
        core.trial_phase = running ? TRIAL_RUNNING : TRIAL_RESETTING;
        core.trial_kind  = planned ? TRIAL_PLANNED : TRIAL_RANDOM;
        core.good_s      = long_enough ? core.need_s : -1;
        core_playback(&core, &in, &out);
        EXPECT(core.mode == (baseline && !(running && planned && long_enough) ? MODE_BASELINE : MODE_ADVANCED));
    }
}

/* ---- lockstep: the plan is waited for ---- */

static struct plan         answer;
static struct plan_request asked;
static int                 times;

static const struct plan *solve(void *ctx, const struct plan_request *req)
{
    asked = *req;
    times++;
    answer = (struct plan){ .id = req->id, .model_version = 1, .horizon = 3, .na = 1, .iterations = 1 };
    return ctx ? &answer : NULL;
}

static void tick(enum operation_kind op)
{
    in.now_ns += core.tick_ns;
    state.seq++;
    in.state_new = true;
    in.op        = (struct operation){ .kind = op, .trial = 1, .trial_kind = TRIAL_RANDOM, .steps = 20 };
    core_step(&core, &in, &out);
}

static void armed_every(bool lockstep, int plan_every)
{
    dst_config(&config);
    config.plan_every = plan_every;
    core_init(&core, &config, 0);
    core_ready(&core);
    in    = (struct core_input){ .now_ns        = NS_PER_S,
                                 .host          = ~0u,
                                 .timing_clean  = true,
                                 .lockstep      = lockstep,
                                 .solve         = solve,
                                 .solve_ctx     = &answer,
                                 .state         = &state,
                                 .aborted_trial = -1 };
    state = (struct joint_state){ .session = 7, .nj = config.nj, .ready_trial = -1 };
    times = 0;
    for (int i = 0; i < 2 * (int)config.control_hz; i++)
        tick(OP_NONE);
    tick(OP_ARM);
    EXPECT(core.mode == MODE_BASELINE && times == 0);
}

static void armed(bool lockstep)
{
    armed_every(lockstep, 1);
}

TEST(in_lockstep_every_step_waits_for_its_own_plan_without_a_deadline)
{
    armed(true);
    tick(OP_NONE);
    EXPECT(times == 0); /* no model, nobody to ask */
    in.model_version = 1;
    for (int i = 0; i < 5; i++) {
        tick(OP_NONE);
        EXPECT(times == i + 1 && asked.id == core.step_id && !asked.delayed && asked.deadline_ns == UINT64_MAX);
        EXPECT(core.have_plan && core.plan.id == core.step_id && !out.has_plan_request);
    }
    in.solve_ctx = NULL; /* a planner that has none */
    tick(OP_NONE);
    EXPECT(times == 6 && core.plan.id + 1 == core.step_id && core.mode == MODE_BASELINE);
    armed_every(true, 4); /* and nobody is asked between steps */
    in.model_version = 1;
    for (int i = 0; i < 8; i++)
        tick(OP_NONE);
    EXPECT(times == 2);
}

TEST(in_lockstep_exploration_asks_for_no_plan)
{
    armed(true);
    in.model_version = 1;
    tick(OP_TRIAL_START);
    tick(OP_TRIAL_READY);
    tick(OP_NONE);
    times = 0;
    tick(OP_NONE);
    EXPECT(core.mode == MODE_EXPLORE && times == 0);
}

TEST(against_the_clock_the_plan_of_the_next_step_is_asked_for_within_its_budget)
{
    armed(false);
    EXPECT(!out.has_plan_request);
    in.model_version = 1;
    tick(OP_NONE);
    EXPECT(times == 0 && out.has_plan_request && out.plan_request.delayed && out.plan_request.id == core.step_id + 1);
    EXPECT(out.plan_request.deadline_ns == in.now_ns + (uint64_t)(0.6 * 0.04 * 1e9));
    armed_every(false, 4);
    in.model_version = 1;
    int requests     = 0;
    for (int i = 0; i < 8; i++) {
        tick(OP_NONE);
        requests += out.has_plan_request;
    }
    EXPECT(requests == 2);
}

/* ---- trials ---- */

TEST(ready_counts_for_the_trial_it_names_and_if_it_was_said_after_the_reset_was_asked_for)
{
    armed(false);
    state.ready_trial = 1, state.ready_count = 3; /* an earlier attempt of the same number */
    tick(OP_NONE);
    tick(OP_TRIAL_START);
    tick(OP_NONE);
    EXPECT(core.trial_phase == TRIAL_RESETTING);
    state.ready_trial = 2, state.ready_count = 4;
    tick(OP_NONE);
    EXPECT(core.trial_phase == TRIAL_RESETTING);
    state.ready_trial = 1, state.ready_count = 5;
    tick(OP_NONE);
    EXPECT(core.trial_phase == TRIAL_RUNNING && core.mode == MODE_EXPLORE);
}

/* Transitions of ten steps under states that say this of the command that held. */
static int stored(enum pace pace, bool held, bool names_it)
{
    int n = 0;

    armed(false);
    config.pace = pace;
    tick(OP_TRIAL_START);
    tick(OP_TRIAL_READY);
    tick(OP_NONE);
    for (int i = 0; i < 10; i++) {
        state.applied_held        = held;
        state.applied_command_seq = names_it ? core.answered_seq : 0;
        tick(OP_NONE);
        n += out.has_transition;
    }
    EXPECT(core.trial_phase == TRIAL_RUNNING);
    return n;
}

TEST(a_step_is_stored_only_if_the_robot_side_says_that_one_command_held_and_which)
{
    for (int k = 0; k < 4; k++) {
        bool held = k & 1, names_it = k & 2;

        EXPECT(stored(PACE_STATE, held, names_it) == (held && names_it ? 10 : 0));
        EXPECT(stored(PACE_TIMER, held, names_it) == (held && names_it ? 10 : 0));
    }
}

TEST(without_a_trial_there_is_none_to_abort)
{
    armed(false);
    memset(&out, 0, sizeof out);
    core_trial_abort(&core, &out, "none");
    EXPECT(out.nnotice == 0 && !out.has_trial_request && core.mode == MODE_BASELINE);
}

TEST(smooth_exploration_keeps_its_share_of_what_was_and_plain_one_nothing)
{
    static const double keep[] = { 0, 0.8 };

    for (int smooth = 0; smooth < 2; smooth++) {
        double was = 0, most = 0;

        armed(false);
        config.exploration.kind       = smooth ? EXPLORE_SMOOTH : EXPLORE_UNIFORM;
        config.exploration.smoothness = 0.8, config.exploration.amplitude = 0.5;
        core.trial_seed = 3;
        for (core.step = 0; core.step < 500; core.step++) {
            core_explore(&core);
            most = fmax(most, fabs(core.explore[0] - keep[smooth] * was));
            was  = core.explore[0];
            EXPECT_NEAR(core.action_effort[0], 100 * 3 * was, 1e-9); /* scale and half the range; its middle is 0 */
        }
        EXPECT(most <= 0.5 * (1 - keep[smooth]) && most > 0.98 * 0.5 * (1 - keep[smooth]));
    }
}
