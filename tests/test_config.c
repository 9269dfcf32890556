/* test_config.c - good files give the expected values; every bad one is refused with its line, key and reason. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "tests/test.h"

static struct robot_config c;
static char                why[1024];

static const char *source(const char *file)
{
    static char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/../%s", test_build_dir(), file);
    return path;
}

/* Whole file with zero at the end; the caller frees it. */
static char *slurp(const char *path)
{
    enum { MOST = 64 * 1024 };
    FILE  *f    = fopen(path, "re");
    char  *text = calloc(1, MOST);
    size_t n    = f && text ? fread(text, 1, MOST - 1, f) : 0;

    if (!n) {
        printf("cannot read %s\n", path);
        abort();
    }
    fclose(f);
    return text;
}

static void spill(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "we");

    if (!f || fwrite(text, 1, size, f) != size || fclose(f) != 0)
        abort();
}

static const char *in_dir(const char *name)
{
    static char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return path;
}

/* --- good files --- */

TEST(the_cartpole_file_says_what_the_paper_says)
{
    EXPECT(config_load(source("robots/cartpole/robot.yaml"), &c, why, sizeof why) == 0);
    EXPECT_STR(c.robot, "cartpole");
    EXPECT(c.hardware == HARDWARE_SIM && c.pace == PACE_STATE && c.lockstep && c.delay_steps == 1);
    EXPECT(c.control_hz == 25 && c.plan_every == 1 && c.latch_ms == 5);
    EXPECT(c.nj == 2 && c.joint[0].type == JOINT_PRISMATIC && c.joint[1].type == JOINT_CONTINUOUS);
    EXPECT(c.joint[0].actuated && !c.joint[1].actuated && c.joint[0].effort == 300 && c.joint[1].effort == 0);
    EXPECT(c.joint[0].position_min == -3 && isinf(c.joint[1].position_max) && c.joint[1].velocity == 80);
    EXPECT(c.na == 1 && c.action[0].joint == 0 && c.action[0].low == -3 && c.action[0].scale == 100);
    EXPECT(c.nx == 4 && c.observation[1].input == INPUT_ANGLE && c.observation[0].input == INPUT_IDENTITY);
    EXPECT_STR(c.observation[3].name, "hinge.velocity");
    EXPECT(c.model.nx == 4 && c.model.na == 1 && c.model.members == 5 && c.model.hidden == 128);
    EXPECT(c.model.input[1] == INPUT_ANGLE && c.model.input[0] == INPUT_IDENTITY);
    EXPECT_STR(c.planner.name, "icem");
    EXPECT(c.planner.init_std[0] == 0.5 && c.planner.noise_beta == 3 && c.planner.execute == EXECUTE_BEST);
    EXPECT(c.planner.decay == 1.25 && c.planner.keep == 0.3 && c.planner.alpha == 0.1 && c.planner_budget == 0.6);
    EXPECT(c.trainer.min_steps == 3000 && c.trainer.epochs == 50 && c.trainer.batch == 32);
    EXPECT(c.trainer.standardise_targets && !c.trainer.learned_bounds && c.trainer.warm_start && c.trainer.bootstrap);
    EXPECT(c.trainer.weight_decay[0] == 1e-4 && c.trainer.weight_decay[1] == 2.5e-4 &&
           c.trainer.weight_decay[2] == 2.5e-4 && c.trainer.weight_decay[3] == 5e-4);
    EXPECT(c.trainer.holdout == 0 && c.trainer.patience == 0 && c.trainer.train_members == 5);
    EXPECT(c.trainer.learning_rate_final == 1 && c.trainer.max_steps == 0 && c.trainer.input_noise == 0);
    EXPECT(c.trainer.recent == 0 && c.trainer.recent_trials == 1 && c.trainer.unroll == 1);
    EXPECT(c.trainer.reward_weight == 0 && c.trainer.spectral_norm == 0);
    EXPECT(c.gates.spread.calibrated && !c.gates.spread.off && c.gates.plan_age.threshold == 2 && !c.gates.position.off);
    EXPECT(c.gates.residual.calibrated && c.gates.drift.threshold == 5 && c.gates.interventions.threshold == 1);
    EXPECT(c.gates.limit_dwell.threshold == 0.8 && c.gates.oscillation.threshold == 15 && c.gates.energy.threshold == 1000);
    EXPECT_STR(c.gates.recoverable.off_reason, "the rail ends softly, and the swing-up needs all of it");
    EXPECT(c.exploration.kind == EXPLORE_UNIFORM && c.baseline == BASELINE_ZERO);
    EXPECT(c.trials.count == 15 && c.trials.steps == 200 && c.trials.next == NEXT_AUTO && c.trials.seed == 1);
    EXPECT(c.trials.random == 1 && c.aggregate);
    EXPECT(c.cores.control_priority == 80 && c.cores.io_priority == 75 && c.cores.planner_priority == 70);
    EXPECT(c.cores.planners == 1 && c.cores.planner[0] == 1 && c.planner.workers == 1);
    EXPECT(!c.endpoint[0] && !c.telemetry[0] && !c.paths.run[0] && !c.paths.store[0]);
    EXPECT(c.file[0] == '/');
    EXPECT_STR(c.sim.model, "robots/cartpole/model.xml");
    EXPECT_STR(c.task_file, "robots/cartpole/tasks/swingup.yaml");
}

TEST(the_swingup_task_scores_the_tip_and_the_effort)
{
    EXPECT(config_load(source("robots/cartpole/robot.yaml"), &c, why, sizeof why) == 0);
    const struct task_frame *tip = &c.task.frame[0];
    EXPECT(c.task.nframe == 1 && tip->nlink == 2 && tip->tip[2] == -0.6);
    EXPECT(tip->link[0].obs == 0 && tip->link[0].type == JOINT_PRISMATIC && tip->link[0].axis[0] == 1);
    EXPECT(tip->link[1].obs == 1 && tip->link[1].type == JOINT_CONTINUOUS && tip->link[1].axis[1] == 1);
    EXPECT(c.task.nterm == 2 && c.task.return_at == RETURN_AT_NEXT);
    EXPECT(c.task.term[0].kind == TERM_FRAME && c.task.term[0].form == FORM_EXP && c.task.term[0].width == 0.6);
    EXPECT(c.task.term[0].scale[1] == 0 && c.task.term[0].target[2] == 0.6 && c.task.term[0].weight == -1);
    EXPECT(c.task.term[1].kind == TERM_EFFORT && c.task.term[1].weight == 0.01);
}

TEST(timeouts_default_to_three_control_periods_or_the_fixed_figure)
{
    EXPECT(config_load(source("robots/cartpole/robot.yaml"), &c, why, sizeof why) == 0);
    EXPECT_NEAR(c.timeouts.state_stale_s, 0.12, 1e-12);
    EXPECT_NEAR(c.timeouts.command_valid_s, 0.12, 1e-12);
    EXPECT_NEAR(c.timeouts.robot_timeout_max_s, 0.12, 1e-12);
    EXPECT_NEAR(c.sim.command_timeout_ms, 120, 1e-9);
    EXPECT(config_load(source("robots/cartpole/robot-500hz.yaml"), &c, why, sizeof why) == 0);
    EXPECT_NEAR(c.timeouts.state_stale_s, 1, 1e-12); /* as written */
    EXPECT_NEAR(c.sim.command_timeout_ms, 1000, 1e-9);

    /* 500 Hz without the two lines that say otherwise: three periods would be 6 ms, the fixed figures count. */
    char *text = slurp(source("robots/cartpole/robot-500hz.yaml"));
    memcpy(strstr(text, "timeouts:"), "#", 1);
    memcpy(strstr(text, ", command_timeout_ms: 1000}"), "}                          ", 27);
    mkdir(in_dir("tasks"), 0700);
    char *task = slurp(source("robots/cartpole/tasks/swingup.yaml"));
    spill(in_dir("tasks/swingup.yaml"), task, strlen(task));
    spill(in_dir("robot.yaml"), text, strlen(text));
    EXPECT(config_load(in_dir("robot.yaml"), &c, why, sizeof why) == 0);
    free(task);
    free(text);
    EXPECT_NEAR(c.timeouts.state_stale_s, 0.015, 1e-12);
    EXPECT_NEAR(c.timeouts.command_valid_s, 0.020, 1e-12);
    EXPECT_NEAR(c.timeouts.robot_timeout_max_s, 0.100, 1e-12);
    EXPECT_NEAR(c.sim.command_timeout_ms, 20, 1e-9);
    EXPECT_NEAR(c.latch_ms, 1, 1e-9); /* half a period where 5 ms would not fit */
    EXPECT(c.sim.timestep == 0.002 && c.plan_every == 20);
}

TEST(the_papers_recipe_and_planner_bring_their_own_defaults)
{
    EXPECT(config_load(source("robots/cartpole/robot-paper.yaml"), &c, why, sizeof why) == 0);
    EXPECT_STR(c.planner.name, "cem");
    EXPECT(c.planner.execute == EXECUTE_MEAN && c.planner.epsilon == 0.001 && c.planner.particles == 20);
    EXPECT(c.trainer.epochs == 5 && c.trainer.min_steps == 0 && c.trainer.learned_bounds);
    EXPECT(!c.trainer.standardise_targets && c.delay_steps == 0);
    EXPECT(c.trainer.weight_decay[1] == 2.5e-4 && c.trainer.weight_decay[3] == 5e-4);
}

/* The cart-pole's file with another planner section, in the test's directory. */
static int load_planner(const char *section)
{
    char *text = slurp(source("robots/cartpole/robot.yaml")), *task = slurp(source("robots/cartpole/tasks/swingup.yaml"));
    char *from = strstr(text, "planner:\n"), *to = strstr(text, "trainer:\n"), all[16 * 1024];

    snprintf(all, sizeof all, "%.*splanner: {%s}\n%s", (int)(from - text), text, section, to);
    mkdir(in_dir("tasks"), 0700);
    spill(in_dir("tasks/swingup.yaml"), task, strlen(task));
    spill(in_dir("robot.yaml"), all, strlen(all));
    free(text);
    free(task);
    return config_load(in_dir("robot.yaml"), &c, why, sizeof why);
}

TEST(stages_and_gates_that_nobody_gave_numbers_for_are_off_and_say_why)
{
    EXPECT(config_load(source("robots/cartpole/robot-500hz.yaml"), &c, why, sizeof why) == 0);
    EXPECT(c.filter.envelope.off && c.filter.thermal.off && c.filter.window.off && c.filter.power.off &&
           c.gates.recoverable.off);
    EXPECT_STR(c.filter.thermal.off_reason, "joints[].effort_continuous is not given");
    EXPECT(c.joint[0].effort_continuous == 0 && c.joint[0].heat_s == 0);
    EXPECT_STR(c.filter.window.off_reason, "joints[].effort_growth is not given");
    EXPECT_STR(c.gates.recoverable.off_reason, "joints[].brake is not given");
    EXPECT(c.gates.drift.off && c.gates.baseline.off && c.gates.interventions.off);
    EXPECT(c.gates.limit_dwell.off && c.gates.oscillation.off && c.gates.energy.off && !(c.joint[0].effort_error > 0));
    EXPECT_STR(c.gates.limit_dwell.off_reason, "gates.limit_dwell is not given");
    EXPECT_STR(c.gates.drift.off_reason, "gates.drift is not given");
    EXPECT(c.joint[0].effort_rate_down == c.joint[0].effort_rate);
}

TEST(spread_and_residual_can_find_their_thresholds_themselves)
{
    static const char *const set[] = { "gates.spread=auto", "gates.residual=auto",
                                       "filter.envelope={off: \"the rail's end is soft\"}",
                                       "filter.thermal={off: \"the motor is twice too large\"}" };
    struct config_changes    with  = { .set = set, .sets = 4, .task_copy = "x" };
    char                    *text, dropped[KEYS_SIZE];

    EXPECT(config_load_with(source("robots/cartpole/robot.yaml"), &with, &c, &text, dropped, why, sizeof why) == 0);
    EXPECT(c.gates.spread.calibrated && !c.gates.spread.off && c.gates.residual.calibrated);
    EXPECT_STR(c.filter.envelope.off_reason, "the rail's end is soft");
    EXPECT(c.filter.thermal.off);
    EXPECT_STR(c.filter.thermal.off_reason, "the motor is twice too large");
    free(text);
}

TEST(every_planner_runs_by_its_name_alone_and_takes_its_own_keys)
{
    const struct planner_config *p = &c.planner;

    for (const char *const *name = planner_names(); *name; name++) {
        char section[64];

        snprintf(section, sizeof section, "name: %s", *name);
        EXPECT(load_planner(section) == 0);
        EXPECT(planner_config_error(p, &c.model) == NULL);
        EXPECT(p->knots == 0 && p->repeat == 1 && p->proposals == 0 && p->dtype == DTYPE_F32 && !p->exact);
    }
    EXPECT(load_planner("name: mppi, lambda: 0.2, anneal: 0.9, execute: best, init_std: 0.3, knots: 5") == 0);
    EXPECT(p->lambda == 0.2 && p->anneal == 0.9 && p->execute == EXECUTE_BEST && p->init_std[0] == 0.3);
    EXPECT(p->knots == 5 && p->spline == SPLINE_LINEAR);
    EXPECT(load_planner("name: pddm, kappa: 3, smoothing: 0.5, iterations: 2, propagation: mm") == 0);
    EXPECT(p->kappa == 3 && p->smoothing == 0.5 && p->iterations == 2 && p->propagation == PARTICLES_MM);
    EXPECT(p->init_std[0] == 0.9); /* PDDM's own default */
    EXPECT(load_planner("name: cmaes, population: 20, propagation: ds") == 0);
    EXPECT(p->population == 20 && p->propagation == PARTICLES_DS);
    EXPECT(load_planner("name: gradient, learning_rate: 0.07") == 0 && p->learning_rate == 0.07);
    EXPECT(load_planner("name: cemgd, steps: 9, polish: 2, first_population: 3000, elites: 12, alpha: 0.2") == 0);
    EXPECT(p->steps == 9 && p->polish == 2 && p->first_population == 3000 && p->elites == 12 && p->alpha == 0.2);
    EXPECT(load_planner("name: cemgd, propagation: mm") < 0);
    EXPECT_STR(why, "planner.propagation: value \"mm\": expected tsinf, ts1 or mean with a planner that uses gradients");
    EXPECT(load_planner("name: cemgd, polish: 11") < 0);
    EXPECT_STR(why, "planner.polish");
}

TEST(every_key_that_a_file_gives_reaches_the_configuration)
{
    EXPECT(config_load(source("tests/configs/arm/robot.yaml"), &c, why, sizeof why) == 0);
    EXPECT(c.hardware == HARDWARE_REAL && c.pace == PACE_TIMER && !c.lockstep && c.plan_every == 10);
    EXPECT(c.latch_ms == 0.4 && c.joint[0].baseline_kp == 100 && c.joint[1].baseline_kd == 1.5);
    EXPECT(c.joint[0].position_min == -2.5 && c.joint[2].position_max == 0.4 && c.joint[0].effort_rate == 2000);
    EXPECT(c.nextra == 2 && c.action[0].joint == 1 && c.action[0].scale == -12 && c.action[1].low == -2);
    EXPECT(c.observation[4].measure == MEASURE_EXTRA && c.observation[4].joint == 1);
    EXPECT_STR(c.observation[4].name, "cup_tilt");
    EXPECT(c.observation[5].measure == MEASURE_EXTRA_VELOCITY && c.observation[5].joint == 0);
    EXPECT_STR(c.observation[5].name, "cup_height.average_velocity");
    EXPECT(c.baseline == BASELINE_HOLD && c.exploration.kind == EXPLORE_SMOOTH);
    EXPECT(c.exploration.amplitude == 0.15 && c.exploration.smoothness == 0.9);
    EXPECT(c.exploration.planned == 0.1 && c.exploration.planned_smoothness == 0.8 &&
           c.exploration.planned_trials == 12);
    EXPECT(c.planner.nrange == 1 && c.planner.range[0].obs == 2 && c.planner.range[0].low == -0.1f &&
           c.planner.range[0].high == 0.4f);
    for (int i = 0; i < c.nx; i++)
        EXPECT((c.planner.range[0].rate == i) ==
               (c.observation[i].measure == MEASURE_VELOCITY && c.observation[i].joint == c.observation[2].joint));
    EXPECT(c.trials.count == 7 && c.trials.steps == 60 && c.trials.next == NEXT_OPERATOR);
    EXPECT(c.trials.wait_for_model_s == 5 && c.trials.seed == 42);
    EXPECT(c.model.members == 3 && c.model.layers == 3 && c.model.hidden == 128);
    EXPECT(c.planner.horizon == 12 && c.planner.population == 96 && c.planner.iterations == 4);
    EXPECT(c.planner.elites == 8 && c.planner.particles == 6 && c.planner.propagation == PARTICLES_TS1);
    EXPECT(c.planner.execute == EXECUTE_MEAN && c.planner.alpha == 0.2 && c.planner.noise_beta == 2.5);
    EXPECT(c.planner.init_std[0] == 0.25 && c.planner.init_std[1] == 0.75 && c.planner_budget == 0.5);
    EXPECT(c.planner.decay == 1.5 && c.planner.keep == 0.4);
    EXPECT(c.planner.knots == 5 && c.planner.spline == SPLINE_CUBIC && c.planner.repeat == 2);
    EXPECT(c.planner.proposals == 7 && c.planner.dtype == DTYPE_BF16 && c.planner.exact);
    EXPECT(c.trainer.learning_rate == 7.5e-4 && c.trainer.batch == 64 && c.trainer.epochs == 8);
    EXPECT(c.trainer.min_steps == 100 && !c.trainer.warm_start && !c.trainer.bootstrap);
    EXPECT(c.trainer.standardise_targets && !c.trainer.learned_bounds && c.trainer.weight_decay[3] == 0.004);
    EXPECT(c.trainer.holdout == 0.15 && c.trainer.patience == 4 && c.trainer.improvement == 0.02);
    EXPECT(c.trainer.train_members == 5 && c.trainer.learning_rate_final == 0.1 && c.trainer.max_steps == 5000);
    EXPECT(c.trainer.nll_beta == 0.5 && c.trainer.input_noise == 0.01 && c.trainer.recent == 0.25 &&
           c.trainer.recent_trials == 3);
    EXPECT(c.trainer.unroll == 6 && c.trainer.unroll_grow == 2 && c.trainer.unroll_weight == 20);
    EXPECT(c.trainer.reward_weight == 0.5 && c.trainer.spectral_norm == 3);
    EXPECT(c.gates.plan_age.threshold == 1.5 && c.gates.spread.threshold == 4 && c.gates.residual.threshold == 5.5);
    EXPECT(c.gates.position.off && c.gates.min_transitions == 300 && c.gates.promote_s == 1.5);
    EXPECT(c.gates.drift.threshold == 6 && c.gates.baseline.threshold == 40 && !c.gates.recoverable.off);
    EXPECT(!c.filter.envelope.off && !c.filter.thermal.off && !c.filter.window.off && !c.filter.power.off);
    EXPECT(c.joint[0].effort_continuous == 15 && c.joint[0].heat_s == 60 && c.joint[1].effort_continuous == 0);
    EXPECT(c.joint[0].effort_rate_down == 4000 && c.joint[0].effort_growth == 20 && c.joint[0].power == 60);
    EXPECT(c.joint[0].effort_error == 3 && c.gates.limit_dwell.off && c.gates.oscillation.threshold == 7.5 && c.gates.energy.threshold == 900);
    EXPECT_STR(c.gates.limit_dwell.off_reason, "it may lean");
    EXPECT(c.joint[0].brake == 15 && c.joint[1].effort_rate_down == 600 && c.joint[0].ngravity == 2);
    EXPECT(c.joint[0].gravity[0].effort == 9 && c.joint[0].gravity[0].n == 1 && c.joint[0].gravity[0].joint[0] == 0);
    EXPECT(c.joint[0].gravity[1].offset == 0.3 && c.joint[0].gravity[1].n == 2 && c.joint[0].gravity[1].joint[1] == 1);
    EXPECT(c.timeouts.state_stale_s == 0.02 && c.timeouts.command_valid_s == 0.03 &&
           c.timeouts.robot_timeout_max_s == 0.05 && c.timeouts.stop_ramp_s == 0.2 && c.timeouts.stop_cap_s == 0.4 &&
           c.timeouts.reset_s == 60 && c.timeouts.robot_action == TIMEOUT_BRAKE);
    EXPECT(config_timeout_action(&c, 0) == TIMEOUT_BRAKE && config_timeout_action(&c, 1) == TIMEOUT_DAMP);
    EXPECT(c.cores.planners == 1 && c.cores.planner[0] == -1 && c.cores.control == 0 && c.cores.control_priority == 85);
    EXPECT(c.cores.io_priority == 76 && c.cores.planner_priority == 66 && c.cores.zmq_priority == 65 &&
           c.cores.sim_priority == 55);
    EXPECT_STR(c.paths.run, "tests/configs/arm/run");
    EXPECT(strcmp(c.paths.store, "/var/lib/limber/arm/experience.db") == 0);
    EXPECT_STR(c.endpoint, "ipc:///run/limber/arm/robot.sock");
    EXPECT_STR(c.telemetry, "ipc:///run/limber/arm/telemetry.sock");
    EXPECT(c.sim.timestep == 0.001 && c.sim.command_timeout_ms == 25);
    EXPECT_STR(c.sim.model, "tests/configs/arm/arm.xml");
}

TEST(a_task_file_gives_links_axes_and_terms)
{
    EXPECT(config_load(source("tests/configs/arm/robot.yaml"), &c, why, sizeof why) == 0);
    const struct task_frame *hand = &c.task.frame[1];
    EXPECT(c.task.return_at == RETURN_AT_CURRENT && c.task.nframe == 2 && hand->nlink == 3);
    EXPECT(c.task.frame[0].link[0].obs == -1 && c.task.frame[0].link[0].offset[2] == 1);
    EXPECT(hand->link[0].obs == 2 && hand->link[0].axis[2] == 1); /* made a unit vector */
    EXPECT(hand->link[1].obs == 0 && hand->link[1].type == JOINT_REVOLUTE && hand->link[1].offset[2] == 0.3);
    EXPECT_NEAR(hand->link[1].axis[1], 0.6, 1e-15);
    EXPECT_NEAR(hand->link[1].axis[2], 0.8, 1e-15);
    EXPECT(hand->link[2].obs == -1 && hand->tip[0] == 0.1);
    const struct task_term *t = c.task.term;
    EXPECT(c.task.nterm == 5 && t[0].kind == TERM_OBSERVATION && t[0].n == 2 && t[0].index[0] == 4 &&
           t[0].index[1] == 1);
    EXPECT(t[0].target[1] == 0.5 && t[0].scale[0] == 2 && t[0].form == FORM_EXP && t[0].width == 0.1);
    EXPECT(t[1].index[0] == 3 && t[1].target[0] == 0 && t[1].scale[0] == 1 && t[1].form == FORM_SQUARED);
    EXPECT(t[2].kind == TERM_FRAME && t[2].frame == 1 && t[2].scale[2] == 1 && t[2].weight == 1.5);
    EXPECT(t[3].kind == TERM_EFFORT && t[3].form == FORM_ABS);
    EXPECT(t[4].form == FORM_LINEAR && t[4].target_observed && t[4].target_obs[0] == 4 && t[4].index[0] == 2);
}

TEST(a_task_file_gives_paths_and_ends)
{
    static const char text[] =
        "name: lap\n"
        "ends:\n  - {observation: slider.position, high: 2}\n"
        "terms:\n"
        "  - {name: near, kind: path, observations: [slider.position, hinge.position], form: abs, weight: 1,\n"
        "     waypoints: [[0, 0], [3, 4], [3, 6]]}\n"
        "  - {name: fast, kind: progress, observations: [hinge.position, slider.position], weight: -2,\n"
        "     waypoints: [[0, 0], [1, 0]]}\n"
        "  - {name: alive, kind: alive, weight: -1}\n";
    struct task t;

    EXPECT(config_load(source("robots/cartpole/robot.yaml"), &c, why, sizeof why) == 0);
    spill(in_dir("lap.yaml"), text, strlen(text));
    EXPECT(config_task(in_dir("lap.yaml"), &c, &t, why, sizeof why) == 0);
    EXPECT(t.nterm == 3 && t.nend == 1 && t.end[0].obs == 0 && t.end[0].high == 2 && isinf(t.end[0].low));
    EXPECT(t.term[0].kind == TERM_PATH && t.term[0].form == FORM_ABS && t.term[0].path.n == 3);
    EXPECT(t.term[0].index[0] == 0 && t.term[0].index[1] == 1 && t.term[1].index[0] == 1);
    EXPECT(t.term[0].path.length[0] == 5 && t.term[0].path.start[1] == 5 && t.term[0].path.along[1][1] == 1);
    EXPECT(t.term[1].kind == TERM_PROGRESS && t.term[2].kind == TERM_ALIVE);
}

TEST(the_reacher_is_the_paper_s_with_a_goal_that_is_observed)
{
    EXPECT(config_load(source("robots/reacher/robot.yaml"), &c, why, sizeof why) == 0);
    EXPECT(c.nx == 17 && c.na == 7 && c.nextra == 3 && c.control_hz == 50 && c.trials.steps == 150);
    EXPECT(strcmp(c.observation[7].name, "goal_x") == 0 &&
           strcmp(c.observation[10].name, "shoulder_pan.velocity") == 0);
    EXPECT(c.action[6].low == -20 && c.action[6].high == 20 && c.task.return_at == RETURN_AT_NEXT);
    EXPECT(c.task.nterm == 2 && c.task.term[0].target_observed && c.task.term[0].weight == 1 &&
           c.task.term[1].weight == 0.01);
    for (int i = 0; i < 3; i++)
        EXPECT(c.task.term[0].target_obs[i] == 7 + i && c.task.term[0].target[i] == 0);
}

/* --- bad files: a good one with one edit --- */

struct edit {
    const char *find, *put; /* first occurrence */
    const char *line;       /* in the edited file, the message names the line with this; NULL: where `put` begins */
    const char *key;        /* as in the message */
    const char *part;       /* of the message    */
};

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (const char *p = text; p < at; p++)
        line += *p == '\n';
    return line;
}

static char *edited(const char *good, const struct edit *e)
{
    const char *at = strstr(good, e->find);

    if (!at) {
        printf("the good file has no \"%s\"\n", e->find);
        abort();
    }
    char *text = NULL;
    if (asprintf(&text, "%.*s%s%s", (int)(at - good), good, e->put, at + strlen(e->find)) < 0)
        abort();
    return text;
}

TEST(a_peak_effort_is_accepted_where_its_limit_falls_no_faster_than_effort_may_or_does_not_fall_at_all)
{
    static const struct edit ok[] = {
        { .find = "effort: 300", .put = "effort_continuous: 100\n    heat_s: 1.642\n    effort: 300" },
        { .find = "effort: 300", .put = "effort_continuous: 300\n    heat_s: 0.001\n    effort: 300" },
    };
    char *text = slurp(source("robots/cartpole/robot.yaml")), *task = slurp(source("robots/cartpole/tasks/swingup.yaml"));

    mkdir(in_dir("tasks"), 0700);
    spill(in_dir("tasks/swingup.yaml"), task, strlen(task));
    for (int i = 0; i < 2; i++) {
        char *with = edited(text, &ok[i]);

        spill(in_dir("robot.yaml"), with, strlen(with));
        EXPECT(config_load(in_dir("robot.yaml"), &c, why, sizeof why) == 0);
        EXPECT(c.joint[0].effort_continuous == (i ? 300 : 100) && c.joint[0].heat_s == (i ? 0.001 : 1.642));
        EXPECT(!c.filter.thermal.off);
        free(with);
    }
    free(text);
    free(task);
}

/* `robot` is loaded; the edit goes to `bad`, which is that file or its task. */
static void expect_refused(const char *good, const char *bad, const char *robot, const struct edit *e)
{
    char *text = edited(good, e), head[PATH_SIZE + 200];

    spill(bad, text, strlen(text));
    const char *at = e->line ? strstr(text, e->line) : text + (strstr(good, e->find) - good);
    snprintf(head, sizeof head, "%s:%d: %s", bad, at ? line_of(text, at) : -1, e->key);

    why[0]       = 0;
    int  before  = test_failures;
    bool refused = config_load(robot, &c, why, sizeof why) < 0;
    EXPECT(refused);
    EXPECT(strncmp(why, head, strlen(head)) == 0);
    EXPECT_STR(why, e->part);
    EXPECT(!strchr(why, '\n'));
    if (test_failures > before)
        printf("  edit \"%s\" -> \"%s\"\n  want %s ... %s\n  got  %s\n", e->find, e->put, head, e->part, why);
    free(text);
}

static void expect_all_refused(const char *base, const struct edit *edits, size_t n, bool task)
{
    char *robot_text, *task_text, robot[PATH_SIZE], task_file[PATH_SIZE];
    bool  arm = strcmp(base, "arm") == 0;

    robot_text = slurp(source(arm ? "tests/configs/arm/robot.yaml" : "robots/cartpole/robot.yaml"));
    task_text  = slurp(source(arm ? "tests/configs/arm/task.yaml" : "robots/cartpole/tasks/swingup.yaml"));
    snprintf(robot, sizeof robot, "%s", in_dir("robot.yaml"));
    snprintf(task_file, sizeof task_file, "%s", in_dir("tasks"));
    mkdir(task_file, 0700);
    snprintf(task_file, sizeof task_file, "%s", in_dir(arm ? "task.yaml" : "tasks/swingup.yaml"));
    spill(robot, robot_text, strlen(robot_text));
    spill(task_file, task_text, strlen(task_text));
    EXPECT(config_load(robot, &c, why, sizeof why) == 0);
    for (size_t i = 0; i < n; i++)
        expect_refused(task ? task_text : robot_text, task ? task_file : robot, robot, &edits[i]);
    free(robot_text);
    free(task_text);
}

#define ALL_REFUSED(base, edits, task) expect_all_refused(base, edits, sizeof(edits) / sizeof(edits)[0], task)

/* clang-format off */
TEST(the_planner_may_have_several_cores)
{
    char *text = slurp(source("robots/cartpole/robot.yaml")), *task = slurp(source("robots/cartpole/tasks/swingup.yaml"));
    char *many = edited(text, &(struct edit){ .find = "planner: 1}", .put = "planner: [0, -1, -1]}" }), robot[PATH_SIZE];

    snprintf(robot, sizeof robot, "%s", in_dir("robot.yaml"));
    mkdir(in_dir("tasks"), 0700);
    spill(in_dir("tasks/swingup.yaml"), task, strlen(task));
    spill(robot, many, strlen(many));
    EXPECT(config_load(robot, &c, why, sizeof why) == 0);
    EXPECT(c.cores.planners == 3 && c.planner.workers == 3);
    EXPECT(c.cores.planner[0] == 0 && c.cores.planner[1] == -1 && c.cores.planner[2] == -1);
    free(many);
    free(task);
    free(text);
}

static const struct edit shapes[] = {
    { "effort: 300",           "efort: 300",             NULL, "joints[0].efort: unknown key", "did you mean \"effort\"?" },
    { "pace: state",           "colour: red",            NULL, "colour: unknown key", "expected one of: robot, hardware, rates" },
    { "plan_every: 1",         "plan_evry: 1",           NULL, "rates.plan_evry: unknown key", "did you mean \"plan_every\"?" },
    { "pace: state",           "robot: again",           NULL, "robot: given twice", "line 2 has it already" },
    { "velocity: 40",          "effort: 3\n    velocity: 40", "effort: 300", "joints[0].effort: given twice", "expected it once" },
    { "hardware: sim",         "",                       "robot: cartpole", "hardware: missing:", "no default" },
    { "    velocity: 40\n",    "",                       "- name: slider", "joints[0].velocity: missing:", "no default" },
    { "  steps: 200",          "",                       "trials:", "trials.steps: missing:", "no default" },
    { "baseline: {kind: zero}", "",                      "robot: cartpole", "baseline: missing:", "no default" },
    { "  position: 0.1",       "",                       "gates:", "gates.position: missing:", "no default" },
    { "robot: cartpole",       "robot: [cartpole]",      NULL, "robot: value \"[cartpole]\":", "expected a text" },
    { "robot: cartpole",       "robot:",                 NULL, "robot: value \"\":", "expected a text" },
    { "baseline: {kind: zero}", "baseline: zero",        NULL, "baseline: value \"zero\":", "expected a map" },
    { "position: [-3.0, 3.0]", "position: 3.0",          NULL, "joints[0].position: value \"3.0\":", "expected a list" },
    { "position: [-3.0, 3.0]", "position: [-3, 0, 3]",   NULL, "joints[0].position: value \"[-3, 0, 3]\":", "expected 2 entries, got 3" },
    { "position: [-3.0, 3.0]", "position: [-3, [3]]",    NULL, "joints[0].position[1]:", "not a list" },
    { "control_hz: 25",        "control_hz: {a: 1}",     NULL, "rates.control_hz:", "not a map" },
    { "hardware: sim",         "hardware: simulated",    NULL, "hardware: value \"simulated\":", "expected sim | real" },
    { "type: prismatic",       "type: linear",           NULL, "joints[0].type: value \"linear\":", "revolute | continuous | prismatic" },
    { "actuated: true",        "actuated: yes",          NULL, "joints[0].actuated: value \"yes\":", "expected true | false" },
    { "lockstep: true",        "lockstep: 1",            NULL, "lockstep: value \"1\":", "expected true | false" },
    { "command_mode: torque",  "command_mode: position", NULL, "command_mode: value \"position\":", "expected torque" },
    { "{kind: zero}",          "{kind: off}",            NULL, "baseline.kind: value \"off\":", "zero | damp | hold" },
    { "pace: state",           "pace: &p state",         NULL, "anchor \"p\"", "expected a plain value" },
    { "pace: state",           "pace: *p",               NULL, "alias \"*p\"", "expected the value itself" },
    { "pace: state",           "pace: !!str state",      NULL, "tag ", "expected a plain value" },
    { "pace: state",           "pace: state\n---\na: b", "---", "a second document", "expected one" },
    { "pace: state",           "? [a, b] : c",           NULL, "a list or map as a key", "expected a name" },
    { "pace: state",           "pace: [state",           "lockstep", "not YAML", "" },
    { "pace: state",           "\tpace: state",          NULL, "not YAML", "" },
    { "pace: state",           "pace: \"a\\0b\"",        NULL, "a text with a zero byte", "" },
    { "pace: state",           "pace: \"a\\nb\"",        NULL, "pace: value \"a b\":", "timer | state" },
    { "pace: state",           "pace: \xff\xfe",         NULL, "not YAML", "UTF-8" },
    { "pace: state",           "pace: [[[[[[[[[[[[[[[]]]]]]]]]]]]]]]", NULL, "nested deeper", "" },
};

static const struct edit numbers[] = {
    { "control_hz: 25",        "control_hz: 25 Hz",      NULL, "rates.control_hz: value \"25 Hz\": write the bare number", "in Hz" },
    { "effort: 300",           "effort: 300N",           NULL, "joints[0].effort: value \"300N\": write the bare number", "N m (N if prismatic)" },
    { "amplitude: 1.0",        "amplitude: 100%",        NULL, "exploration.amplitude: value \"100%\": write the bare number", "from" },
    { "wait_for_model_s: 20",  "wait_for_model_s: 20s",  NULL, "trials.wait_for_model_s: value \"20s\": write the bare number", "in s" },
    { "velocity: 40",          "velocity: .nan",         NULL, "joints[0].velocity: value \".nan\":", "expected a number in rad/s" },
    { "velocity: 40",          "velocity: nan",          NULL, "joints[0].velocity: value \"nan\":", "expected a number" },
    { "velocity: 40",          "velocity: .inf",         NULL, "joints[0].velocity: value \".inf\":", "expected a number" },
    { "velocity: 40",          "velocity: 1e999",        NULL, "joints[0].velocity: value \"1e999\":", "to 1000" },
    { "velocity: 40",          "velocity: 0",            NULL, "joints[0].velocity: value \"0\":", "from 0.001" },
    { "velocity: 40",          "velocity: -40",          NULL, "joints[0].velocity: value \"-40\":", "from 0.001" },
    { "velocity: 40",          "velocity: 0x28",         NULL, "joints[0].velocity: value \"0x28\":", "expected a number" },
    { "velocity: 40",          "velocity: \"40\"",       NULL, "joints[0].velocity: value \"40\":", "expected a number" },
    { "velocity: 40",          "velocity: 4,5",          NULL, "joints[0].velocity: value \"4,5\":", "expected a number" },
    { "velocity: 40",          "velocity: 1_000",        NULL, "joints[0].velocity: value \"1_000\":", "expected a number" },
    { "velocity: 40",          "velocity:",              NULL, "joints[0].velocity: value \"\":", "expected a number" },
    { "effort: 300",           "effort: 100001",         NULL, "joints[0].effort: value \"100001\":", "to 100000" },
    { "effort: 300",           "effort: 0",              NULL, "joints[0].effort: value \"0\":", "from" },
    { "effort_rate: 15000",    "effort_rate: 1e9",       NULL, "joints[0].effort_rate: value \"1e9\":", "to 100000000" },
    { "plan_every: 1",         "plan_every: 1.5",        NULL, "rates.plan_every: value \"1.5\":", "a whole number of control ticks" },
    { "plan_every: 1",         "plan_every: 0",          NULL, "rates.plan_every: value \"0\":", "from 1" },
    { "plan_every: 1",         "plan_every: 010",        NULL, "rates.plan_every: value \"010\":", "without leading zeros" },
    { "plan_every: 1",         "plan_every: 1e2",        NULL, "rates.plan_every: value \"1e2\":", "a whole number" },
    { "control_hz: 25",        "control_hz: 0",          NULL, "rates.control_hz: value \"0\":", "from 5 to 2000" },
    { "seed: 1",               "seed: -1",               NULL, "trials.seed: value \"-1\":", "from 0" },
    { "steps: 200",            "steps: 0",               NULL, "trials.steps: value \"0\":", "from 1" },
    { "members: 5",            "members: 17",            NULL, "model.members: value \"17\":", "to 16" },
    { "hidden: 128",            "hidden: 513",            NULL, "model.hidden: value \"513\":", "to 512" },
    { "horizon: 20",           "horizon: 65",            NULL, "planner.horizon: value \"65\":", "to 64" },
    { "budget: 0.6",           "budget: 1",              NULL, "planner.budget: value \"1\":", "to 0.95" },
    { "plan_age: 2 ",          "plan_age: 2.5 ",         NULL, "gates.plan_age: value \"2.5\":", "to 2" },
    { "plan_age: 2 ",          "plan_age: 0 ",           NULL, "gates.plan_age: value \"0\":", "from" },
    { "init_std: 0.5",         "init_std: 0",            NULL, "planner.init_std: value \"0\":", "from" },
    { "amplitude: 1.0",        "amplitude: 1.01",        NULL, "exploration.amplitude: value \"1.01\":", "to 1" },
    { "cores: {",              "cores: {control_priority: 99, ", NULL, "cores.control_priority: value \"99\":", "from 1 to 98" },
};

static const struct edit robots[] = {
    { "robot: cartpole",       "robot: ../etc",          NULL, "robot: value \"../etc\":", "letters, digits" },
    { "name: hinge",           "name: slider",           NULL, "joints[1].name: value \"slider\":", "joints[0] has this one" },
    { "name: hinge",           "name: hin.ge",           NULL, "joints[1].name: value \"hin.ge\":", "letters, digits" },
    { "position: [-3.0, 3.0]", "position: [3, -3]",      NULL, "joints[0].position: value \"[3, -3]\":", "low < high" },
    { "position: [-3.0, 3.0]", "position: [1, 1]",       NULL, "joints[0].position: value \"[1, 1]\":", "low < high" },
    { "    position: [-3.0, 3.0]", "   ",                "- name: slider", "joints[0].position: missing:", "[low, high] in m" },
    { "type: prismatic",       "type: continuous",       "position: [-3.0", "joints[0].position:", "no position limits on a continuous joint" },
    { "type: continuous",      "type: revolute",         "- name: hinge", "joints[1].position: missing:", "[low, high] in rad" },
    { "    effort: 300\n",     "",                       "- name: slider", "joints[0].effort: missing:", "no default" },
    { "effort_rate: 15000",    "",                       "- name: slider", "joints[0].effort_rate: missing:", "no default" },
    { "velocity: 80",          "velocity: 80\n    effort: 3", "    effort: 3\n", "joints[1].effort: value \"3\":", "only on actuated joints" },
    { "actuated: true",        "actuated: false",        "effort: 300", "joints[0].effort:", "only on actuated joints" },
    { "actuated: false",       "actuated: true\n    effort: 1\n    effort_rate: 9", "action:", "action:", "an entry for the actuated joint hinge" },
    { "{joint: slider, low",   "{joint: hinge, low",     NULL, "action[0].joint: value \"hinge\":", "expected an actuated joint" },
    { "{joint: slider, low",   "{joint: cart, low",      NULL, "action[0].joint: value \"cart\":", "one of the joints: slider, hinge" },
    { "observation:",          "  - {joint: slider, low: -1, high: 1, scale: 1}\nobservation:", NULL, "action[1].joint: value \"slider\":", "each joint once" },
    { "low: -3",               "low: 3",                 NULL, "action[0].low: value \"3\":", "low < high" },
    { "scale: 100",            "scale: 100.1",           NULL, "action[0].scale: value \"100.1\":", "within the joint's effort 300" },
    { "scale: 100",            "scale: -101",            NULL, "action[0].scale: value \"-101\":", "within the joint's effort 300" },
    { "scale: 100",            "scale: 0",               NULL, "action[0].scale: value \"0\":", "other than 0" },
    { "low: -3, high: 3,",     "low: -4, high: 3,",      NULL, "action[0].scale: value \"100\":", "got 400" },
    { "{joint: hinge, measure: velocity}", "{joint: pole, measure: velocity}", NULL, "observation[3].joint: value \"pole\":", "slider, hinge" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge}", NULL, "observation[3].measure: missing:", "position | velocity" },
    { "{joint: hinge, measure: velocity}", "{measure: velocity}", NULL, "observation[3].joint: missing:", "a joint, or extra" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: heading}", NULL, "observation[3].measure:", "average_velocity" },
    { "{joint: hinge, measure: velocity}", "{quaternion: base, measure: up_x}", NULL, "observation[3].quaternion:", "_w, _x, _y and _z" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: velocity, predict: both}", "predict: both", "observation[3].predict:", "change | absolute" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: velocity, range: [2, 2]}", "range: [2, 2]", "observation[3].range:", "low < high" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: velocity, range: [-1]}", "range: [-1]", "observation[3].range:", "2" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: velocity, range: [-1, 1e9]}", "1e9", "observation[3].range[1]:", "1000000" },
    { "  members: 5", "  planar: [slider.position, hinge.position]\n  members: 5", "planar", "model.planar:", "3" },
    { "  members: 5", "  planar: [slider.position, hinge.velocity, nowhere]\n  members: 5", "planar", "model.planar[2]:", "one of the observations" },
    { "  members: 5", "  planar: [slider.position, hinge.velocity, slider.position]\n  members: 5", "planar", "model.planar[2]:", "three different" },
    { "{joint: hinge, measure: velocity}", "{joint: slider, measure: velocity}", NULL, "observation[3]:", "each measurement once" },
    { "{joint: hinge, measure: velocity}", "{joint: hinge, measure: velocity, input: angle}", NULL, "observation[3].input: value \"angle\":", "only for the position" },
    { "{joint: slider, measure: position}", "{joint: slider, measure: position, input: angle}", NULL, "observation[0].input: value \"angle\":", "continuous or revolute" },
    { "{joint: hinge, measure: velocity}", "{extra: tilt}", NULL, "observation[3].extra: value \"tilt\":", "names under extra" },
    { "pace: state",           "pace: timer",            NULL, "pace: value \"timer\":", "lockstep: true" },
    { "hardware: sim",         "hardware: real",         "lockstep: true", "lockstep: value \"true\":", "expected false with hardware: real" },
    { "lockstep: true",        "lockstep: false\n\nrates_: 1", "rates_", "rates_: unknown key", "did you mean \"rates\"?" },
    { "plan_every: 1",         "plan_every: 1\n  latch_ms: 40", "  latch_ms", "rates.latch_ms: value \"40\":", "less than a control period, 40 ms" },
    { "plan_every: 1",         "plan_every: 1\n  delay_steps: 2", "  delay_steps", "rates.delay_steps: value \"2\":", "from 0 to 1" },
    { "{kind: zero}",          "{kind: damp}",           "- name: slider", "joints[0].baseline_kd: missing:", "for baseline damp" },
    { "effort: 300",           "baseline_kp: 5\n    effort: 300", "baseline_kp: 5", "joints[0].baseline_kp: value \"5\":", "only with baseline: {kind: hold}" },
    { "effort: 300",           "brake: 5\n    effort: 300", "    brake: 5", "joints[0].brake: value \"5\":", "baseline: {kind: zero} does not" },
    { "effort: 300",           "effort_rate_down: 14999\n    effort: 300", "    effort_rate_down", "joints[0].effort_rate_down: value \"14999\":", "at least effort_rate (15000)" },
    { "effort: 300",           "effort_growth: 0\n    effort: 300", "    effort_growth", "joints[0].effort_growth: value \"0\":", "within 250 ms" },
    { "effort: 300",           "effort_continuous: 100\n    effort: 300", "- name: slider", "joints[0].heat_s: missing:", "needs both effort_continuous and heat_s" },
    { "effort: 300",           "heat_s: 30\n    effort: 300", "- name: slider", "joints[0].effort_continuous: missing:", "needs both effort_continuous and heat_s" },
    { "effort: 300",           "effort_continuous: 0\n    effort: 300", "    effort_continuous", "joints[0].effort_continuous: value \"0\":", "in N m (N if prismatic) from" },
    { "effort: 300",           "effort_continuous: 301\n    heat_s: 30\n    effort: 300", "    effort_continuous", "joints[0].effort_continuous: value \"301\":", "at most effort (300)" },
    { "effort: 300",           "effort_continuous: 100\n    heat_s: -1\n    effort: 300", "    heat_s", "joints[0].heat_s: value \"-1\":", "in s from" },
    { "effort: 300",           "effort_continuous: 100\n    heat_s: 1.63\n    effort: 300", "    heat_s", "joints[0].heat_s: value \"1.63\":", "at least 1.642:" },
    { "effort_rate: 15000",    "effort_continuous: 100\n    heat_s: 8.1\n    effort_rate: 1000", "    heat_s", "joints[0].heat_s: value \"8.1\":", "at least 8.208: at effort (300) joint slider would get too hot before effort_rate_down, or a control period, has brought it to effort_continuous (100)" },
    { "velocity: 80",          "velocity: 80\n    effort_continuous: 5\n    heat_s: 9", "    effort_continuous: 5", "joints[1].effort_continuous: value \"5\":", "only on actuated joints" },
    { "velocity: 80",          "velocity: 80\n    heat_s: 9", "    heat_s: 9", "joints[1].heat_s: value \"9\":", "only on actuated joints" },
    { "gates:",                "filter: {thermal: 0.9}\ngates:", "filter:", "filter.thermal: value \"0.9\":", "its limits are joints[].effort_continuous" },
    { "velocity: 80",          "velocity: 80\n    power: 5", "    power: 5", "joints[1].power: value \"5\":", "only on actuated joints" },
    { "effort: 300",           "baseline_position: 0\n    effort: 300", "    baseline_position", "joints[0].baseline_position: value \"0\":", "only with baseline: {kind: posture}" },
    { "effort: 300",           "effort_error: 300\n    effort: 300", "    effort_error", "joints[0].effort_error: value \"300\":", "less than effort (300): a motor that gives nothing at all would pass" },
    { "velocity: 80",          "velocity: 80\n    effort_error: 5", "    effort_error", "joints[1].effort_error: value \"5\":", "only on actuated joints" },
    { "oscillation: 15 ",      "oscillation: 0 ",        "  oscillation", "gates.oscillation: value \"0\":", "reversals a second from 0.1" },
    { "velocity: 40",          "resolution: 0\n    velocity: 40", "    resolution", "joints[0].resolution: value \"0\":", "rad (m if prismatic) from 1e-12" },
    { "energy: 1000 ",         "energy: 0 ",             "  energy", "gates.energy: value \"0\":", "in J from 1e-06" },
    { "limit_dwell: 0.8 ",     "limit_dwell: 0 ",        "  limit_dwell", "gates.limit_dwell: value \"0\":", "in s from 0.001" },
    { "limit_dwell: 0.8 ",     "limit_dwell: {off: \"\"} ", "  limit_dwell", "gates.limit_dwell.off: value \"\":", "expected the reason" },
    { "gates:",                "filter: {window: {off: \"\"}}\ngates:", "filter:", "filter.window.off: value \"\":", "expected the reason" },
    { "gates:",                "filter: {power: 5}\ngates:", "filter:", "filter.power: value \"5\":", "its limits are joints[].power" },
    { "drift: 5 ",             "drift: auto ",           "  drift", "gates.drift: value \"auto\":", "a number" },
    { "recoverable: {off: \"the rail ends softly, and the swing-up needs all of it\"}", "recoverable: 3", "  recoverable", "gates.recoverable: value \"3\":", "its limits are joints[].brake" },
    { "exploration: {kind: uniform, amplitude: 1.0, smoothness: 0}\n\ntrials:", "trials:\n  random: 2", "  random: 2", "trials.random: value \"2\":", "only with exploration" },
    { "next: auto",            "next: operator\n  random: 2", "  random: 2", "trials.random: value \"2\":", "only with trials.next: auto" },
    { "count: 15",             "random: 0",              NULL, "trials.random: value \"0\":", "from 1 to 1000" },
    { "smoothness: 0}",        "smoothness: 0, planned: 0.3}", NULL, "exploration.planned_trials: missing:", "faded" },
    { "smoothness: 0}",        "smoothness: 0, planned_trials: 3}", NULL, "exploration.planned_trials: value \"3\":", "only with planned" },
    { "smoothness: 0}",        "smoothness: 0, planned_smoothness: 0.5}", NULL, "exploration.planned_smoothness: value \"0.5\":", "only with planned" },
    { "smoothness: 0}",        "smoothness: 0, planned: 1.5, planned_trials: 3}", NULL, "exploration.planned: value \"1.5\":", "to 1" },
    { "smoothness: 0}",        "smoothness: 0.5}",       NULL, "exploration.smoothness: value \"0.5\":", "expected 0 with kind: uniform" },
    { "{kind: uniform, amplitude: 1.0, smoothness: 0}", "{kind: smooth, amplitude: 1.0}", NULL, "exploration.smoothness: missing:", "low-pass" },
    { "{kind: uniform, amplitude: 1.0, smoothness: 0}", "{kind: uniform}", NULL, "exploration.amplitude: missing:", "no default" },
    { "name: icem",            "name: oracle",           NULL, "planner.name: value \"oracle\":", "random | cem | icem | mppi | pddm | cmaes | gradient | cemgd" },
    { "name: icem",            "name: cem",              "init_std: 0.5", "planner.init_std: value \"0.5\":", "only with planner icem, mppi, pddm, cmaes, gradient or cemgd; cem does not use it" },
    { "name: icem",            "name: mppi",             "elites: 10", "planner.elites: value \"10\":", "only with planner cem, icem or cemgd; mppi does not use it" },
    { "elites: 10",            "lambda: 0.1",            NULL, "planner.lambda: value \"0.1\":", "only with planner mppi; icem does not use it" },
    { "elites: 10",            "steps: 10",              NULL, "planner.steps: value \"10\":", "only with planner cemgd" },
    { "elites: 10",            "spline: cubic",          NULL, "planner.spline: value \"cubic\":", "only with planner.knots" },
    { "elites: 10",            "spline: quintic",        NULL, "planner.spline: value \"quintic\":", "zero | linear | cubic" },
    { "elites: 10",            "knots: 21",              NULL, "planner.knots: value \"21\":", "at most the horizon" },
    { "elites: 10",            "repeat: 21",             NULL, "planner.repeat: value \"21\":", "1 .. horizon" },
    { "elites: 10",            "proposals: 128",         NULL, "planner.proposals: value \"128\":", "less than the population" },
    { "elites: 10",            "dtype: f16",             NULL, "planner.dtype: value \"f16\":", "f32 | bf16" },
    { "elites: 10",            "activation: relu",       NULL, "planner.activation: value \"relu\":", "fast | exact" },
    { "propagation: tsinf",    "propagation: mixture",   NULL, "planner.propagation: value \"mixture\":", "tsinf | ts1 | mean | mm | ds" },
    { "elites: 10",            "elites: 65",            NULL, "planner.elites: value \"65\":", "elites (65) <= population (64)" },
    { "elites: 10",            "elites: 33",             NULL, "planner.elites: value \"33\":", "at most half the population" },
    { "elites: 10",            "epsilon: 0.1",           NULL, "planner.epsilon: value \"0.1\":", "only with planner cem" },
    { "particles: 5",          "particles: 7",           NULL, "planner.particles: value \"7\":", "multiple of model.members (5)" },
    { "init_std: 0.5",         "init_std: [0.5, 0.5]",   NULL, "planner.init_std: value \"[0.5, 0.5]\":", "a list of 1" },
    { "recipe: steps",         "recipe: quick",          NULL, "trainer.recipe: value \"quick\":", "steps | paper" },
    { "recipe: steps",         "weight_decay: [0.1, 0.1]", NULL, "trainer.weight_decay: value \"[0.1, 0.1]\":", "expected 4 numbers" },
    { "recipe: steps",         "holdout: 0.6",           NULL, "trainer.holdout: value \"0.6\":", "to 0.5" },
    { "recipe: steps",         "patience: 5",            NULL, "trainer.patience: value \"5\":", "only with trainer.holdout above 0" },
    { "recipe: steps",         "improvement: 0.1",       NULL, "trainer.improvement: value \"0.1\":", "only with trainer.patience above 0" },
    { "recipe: steps",         "train_members: 7",       NULL, "trainer.train_members: value \"7\":", "only with trainer.holdout above 0" },
    { "recipe: steps",         "train_members: 4\n  holdout: 0.1", NULL, "trainer.train_members: value \"4\":", "at least model.members (5)" },
    { "recipe: steps",         "max_steps: 2999",        NULL, "trainer.max_steps: value \"2999\":", "at least trainer.min_steps (3000)" },
    { "recipe: steps",         "learning_rate_final: 2", NULL, "trainer.learning_rate_final: value \"2\":", "from 0 to 1" },
    { "recipe: steps",         "nll_beta: 2",           NULL, "trainer.nll_beta: value \"2\":", "from 0 to 1" },
    { "recipe: steps",         "input_noise: 1.5",       NULL, "trainer.input_noise: value \"1.5\":", "from 0 to 1" },
    { "recipe: steps",         "recent_trials: 2",       NULL, "trainer.recent_trials: value \"2\":", "only with trainer.recent above 0" },
    { "recipe: steps",         "recent: 1.1",            NULL, "trainer.recent: value \"1.1\":", "from 0 to 1" },
    { "recipe: steps",         "unroll_grow: 2",         NULL, "trainer.unroll_grow: value \"2\":", "only with trainer.unroll above 1" },
    { "recipe: steps",         "unroll_weight: 2",       NULL, "trainer.unroll_weight: value \"2\":", "only with trainer.unroll above 1" },
    { "recipe: steps",         "unroll: 33",             NULL, "trainer.unroll: value \"33\":", "from 1 to 32" },
    { "recipe: steps",         "reward_weight: -1",      NULL, "trainer.reward_weight: value \"-1\":", "from 0" },
    { "recipe: steps",         "spectral_norm: 0",       NULL, "trainer.spectral_norm: value \"0\":", "from 0.1" },
    { "recipe: steps",         "train_members: 17",      NULL, "trainer.train_members: value \"17\":", "to 16" },
    { "plan_age: 2 ",          "plan_age: {off: \"no\"} ", NULL, "gates.plan_age.off: value \"no\":", "can never be off" },
    { "residual: auto", "residual: {off: \" \"}", NULL, "gates.residual.off: value \" \":", "expected the reason" },
    { "residual: auto", "residual: {off: true}", NULL, "gates.residual.off: value \"true\":", "expected the reason" },
    { "residual: auto", "residual: off", NULL, "gates.residual: value \"off\":", "expected a number" },
    { "residual: auto", "residual: {of: \"x\"}", NULL, "gates.residual:", "a threshold or {off: \"reason\"}" },
    { "control: 1",            "control: 1000",          NULL, "cores.control: value \"1000\":", "as this machine has " },
    { "control: 1",            "control: -2",            NULL, "cores.control: value \"-2\":", "-1: any" },
    { "planner: 1}",           "planner: []}",           NULL, "cores.planner: value \"\":", "1 to 16 cores, got 0" },
    { "planner: 1}",           "planner: {}}",           NULL, "cores.planner:", "not a map" },
    { "planner: 1}",           "planner: [0, x]}",       NULL, "cores.planner[1]: value \"x\":", "a core's number, -1: any" },
    { "planner: 1}",           "planner: [0, 1000]}",    NULL, "cores.planner[1]: value \"1000\":", "as this machine has " },
    { "planner: 1}",           "planner: [0, -1, 0]}",   NULL, "cores.planner[2]: value \"0\":", "each core once" },
    { "cores: {",              "cores: {planner_priority: 80, ", NULL, "cores.planner_priority: value \"80\":", "control (80) above planner (80)" },
    { "cores: {",              "cores: {io_priority: 81, ", NULL, "cores.io_priority: value \"81\":", "control (80) above io (81)" },
    { "cores: {",              "timeouts: {state_stale_s: 0.08}\ncores: {", NULL, "timeouts.state_stale_s: value \"0.08\":", "more than two control periods, 80 ms" },
    { "cores: {",              "timeouts: {command_valid_s: 0.02}\ncores: {", NULL, "timeouts.command_valid_s: value \"0.02\":", "more than two control periods" },
    { "cores: {",              "timeouts: {state_stale_s: 0}\ncores: {", NULL, "timeouts.state_stale_s: value \"0\":", "from" },
    { "cores: {",              "timeouts: {stop_cap_s: 0.2}\ncores: {", NULL, "timeouts.stop_cap_s: value \"0.2\":", ">= stop_ramp_s (0.3)" },
    { "cores: {",              "sim: {command_timeout_ms: 130}\ncores: {", NULL, "sim.command_timeout_ms: value \"130\":", "within robot_timeout_max_s (120 ms)" },
    { "cores: {",              "sim: {command_timeout_ms: 70}\ncores: {", NULL, "sim.command_timeout_ms: value \"70\":", "more than two control periods" },
    { "cores: {",              "sim: {timestep: 0.015}\ncores: {", NULL, "sim.timestep: value \"0.015\":", "whole fraction of the control period, 0.04 s" },
    { "cores: {",              "endpoint: tcp://*:5555\ncores: {", NULL, "endpoint: value \"tcp://*:5555\":", "refused without CURVE" },
    { "cores: {",              "curve: {key: k, clients: c}\nendpoint: tcp://*:0\ncores: {", "endpoint: tcp", "endpoint: value \"tcp://*:0\":", "PORT from 1 to 65535" },
    { "cores: {",              "curve: {key: k}\ncores: {", "curve: {", "curve.clients:", "no default" },
    { "cores: {",              "telemetry: udp://x\ncores: {", NULL, "telemetry: value \"udp://x\":", "expected ipc://PATH" },
    { "cores: {",              "endpoint: ipc://a\ntelemetry: ipc://a\ncores: {", "telemetry: ipc", "telemetry: value \"ipc://a\":", "another socket" },
    { "tasks/swingup.yaml",    "tasks/nothing.yaml",     NULL, "task: value \"tasks/nothing.yaml\":", "cannot read" },
};

static const struct edit arms[] = {
    { "next: operator",        "next: auto",             NULL, "trials.next: value \"auto\":", "expected operator with hardware: real" },
    { "delay_steps: 1",        "delay_steps: 0",         NULL, "rates.delay_steps: value \"0\":", "needs lockstep: true" },
    { "baseline_kp: 20,",      "baseline_kp: 0,",        NULL, "joints[1].baseline_kp: value \"0\":", "above 0 for baseline hold" },
    { "robot_action: brake, ", "",                       NULL, "timeouts.robot_action: missing:", "damp | hold | brake | off: what the robot side does when commands stop, as gravity loads its joints by joints[].gravity" },
    { "robot_action: brake, ", "",                       NULL, "timeouts.robot_action: missing:", "or joints[0].timeout_action for joint shoulder" },
    { "robot_action: brake",   "robot_action: fall",     NULL, "timeouts.robot_action: value \"fall\":", "damp" },
    { "timeout_action: damp",  "timeout_action: drop",   NULL, "joints[1].timeout_action: value \"drop\":", "damp" },
    { "actuated: false,",      "actuated: false, timeout_action: off,", NULL, "joints[2].timeout_action: value \"off\":", "only on actuated joints" },
    { "{kind: hold}",          "{kind: posture}",        "name: shoulder", "joints[0].baseline_position: missing:", "position in the posture" },
    { "{kind: hold}",          "{kind: hold, gravity: robot}", "     gravity:", "joints[0].gravity:", "compensated twice" },
    { "joints: [shoulder, wrist]", "joints: [lift]",     NULL, "joints[0].gravity[1].joints[0]: value \"lift\":", "slides" },
    { "joints: [shoulder, wrist]", "joints: [elbow]",    NULL, "joints[0].gravity[1].joints[0]: value \"elbow\":", "one of the joints" },
    { "effort_rate: 600,",     "effort_rate: 600, brake: 3,", NULL, "joints[1].brake: value \"3\":", "nothing to brake before" },
    { "position: {off: \"stiff end stops\"}", "position: 0.04", "velocity: 3", "joints[0].velocity: value \"3\":", "goes 0.21" },
    { "  drift: 6",            "  drift: 6\n  recoverable: {off: \"no\"}", "  recoverable", "gates.recoverable:", "as joints[].brake is given" },
    { "gates:\n",              "filter: {thermal: {off: \"no\"}}\ngates:\n", "filter:", "filter.thermal:", "as joints[].effort_continuous is given" },
    { "init_std: [0.25, 0.75]", "init_std: [0.25]",      NULL, "planner.init_std: value \"[0.25]\":", "a list of 2" },
    { "init_std: [0.25, 0.75]", "init_std: [0.25, -1]",  NULL, "planner.init_std[1]: value \"-1\":", "from" },
    { "[cup_height, cup_tilt]", "[cup_tilt, cup_tilt]",  NULL, "extra[1]: value \"cup_tilt\":", "extra[0] has this one" },
    { "{extra: cup_tilt}",     "{extra: cup_tilt, joint: wrist}", NULL, "observation[4].extra:", "extra alone" },
    { "{extra: cup_tilt}",     "{extra: cup_tilt, measure: velocity}", NULL, "observation[4].measure:", "average_velocity, or no measure" },
    { "recipe: paper",         "recipe: paper\n  weight_decay: []", "  weight_decay: [0", "trainer.weight_decay: given twice", "" },
};

static const struct edit tasks[] = {
    { "return_at: next",       "return_at: last",        NULL, "return_at: value \"last\":", "next | current" },
    { "name: swingup",         "nmae: swingup",          NULL, "nmae: unknown key", "did you mean \"name\"?" },
    { "{joint: hinge, axis",   "{joint: pole, axis",     NULL, "frames[0].links[1].joint: value \"pole\":", "slider, hinge" },
    { "[0, 1, 0]",             "[0, 0, 0]",              NULL, "frames[0].links[1].axis: value \"[0, 0, 0]\":", "not zero" },
    { "[0, 1, 0]",             "[0, 1]",                 NULL, "frames[0].links[1].axis: value \"[0, 1]\":", "expected 3 entries" },
    { ", axis: [0, 1, 0]",     "",                       "{joint: hinge", "frames[0].links[1].axis: missing:", "[x, y, z]" },
    { "joint: hinge, axis",    "axis",                   NULL, "frames[0].links[1].axis: value", "only on a link with a joint" },
    { "tip: [0, 0, -0.6]",     "tip: [0, 0, .inf]",      NULL, "frames[0].tip[2]: value \".inf\":", "in m" },
    { "frame: tip",            "frame: top",             NULL, "terms[0].frame: value \"top\":", "one of the frames" },
    { "kind: frame",           "kind: pose",             NULL, "terms[0].kind: value \"pose\":", "observation | frame | effort | path | progress | alive" },
    { "width: 0.6, ",          "",                       "- {name: height", "terms[0].width: missing:", "width of form: exp" },
    { "form: exp, ",           "",                       "- {name: height", "terms[0].width: value \"0.6\":", "only with form: exp" },
    { "width: 0.6",            "width: 0",               NULL, "terms[0].width: value \"0\":", "from" },
    { "weight: -1",            "weight: 0",              NULL, "terms[0].weight: value \"0\":", "other than 0" },
    { "scale: [1, 0, 1]",      "scale: [0, 0, 0]",       NULL, "terms[0].scale: value \"[0, 0, 0]\":", "at least one" },
    { "scale: [1, 0, 1]",      "scale: [1, 1]",          NULL, "terms[0].scale: value \"[1, 1]\":", "expected 3 entries" },
    { "target: [0, 0, 0.6]",   "target_obs: [hinge.position, hinge.position, goal]", NULL, "terms[0].target_obs[2]: value \"goal\":", "slider.position, hinge.position" },
    { "target: [0, 0, 0.6]",   "target_obs: [hinge.position]", NULL, "terms[0].target_obs: value", "expected 3 entries" },
    { "kind: effort",          "kind: effort, target_obs: [hinge.position, hinge.position, hinge.position]", NULL, "terms[1].target_obs:", "only on terms of kind frame and observation" },
    { "kind: effort",          "kind: observation, observations: [hinge.velocity], target_obs: [hinge.position, hinge.position]", NULL, "terms[1].target_obs:", "expected 1 entries" },
    { "kind: effort",          "kind: observation, observations: [hinge.velocity], target_obs: [hinge.velocity]", NULL, "terms[1].target_obs[0]:", "another observation" },
    { "kind: effort",          "kind: effort, form: linear", "form: linear", "terms[1].form: value \"linear\":", "squared, exp or abs; linear" },
    { "form: exp",             "form: cubic",            NULL, "terms[0].form: value \"cubic\":", "squared | exp | abs | linear" },
    { "kind: effort",          "kind: alive, form: exp, width: 1", "form: exp, width: 1", "terms[1].form: value \"exp\":", "expected none" },
    { "kind: effort",          "kind: alive, observations: [hinge.position]", NULL, "terms[1].observations:", "only on terms of kind observation, path and progress" },
    { "kind: effort",          "kind: effort, waypoints: [[0, 0], [1, 1]]", NULL, "terms[1].waypoints:", "only on terms of kind path and progress" },
    { "kind: effort",          "kind: path, waypoints: [[0, 0], [1, 1]], observations: [hinge.position]", NULL, "terms[1].observations:", "expected two, [x, y], got 1" },
    { "kind: effort",          "kind: path, observations: [slider.position, hinge.position]", NULL, "terms[1].waypoints: missing:", "a list of [x, y]" },
    { "kind: effort",          "kind: path, form: linear, observations: [slider.position, hinge.position], waypoints: [[0, 0], [1, 1]]", NULL, "terms[1].form:", "squared, exp or abs" },
    { "kind: effort",          "kind: progress, observations: [slider.position, hinge.position], waypoints: [[0, 0]]", NULL, "terms[1].waypoints:", "2 to 16 entries, got 1" },
    { "kind: effort",          "kind: progress, observations: [slider.position, hinge.position], waypoints: [[0, 0], [1]]", NULL, "terms[1].waypoints[1]:", "expected 2 entries" },
    { "kind: effort",          "kind: progress, observations: [slider.position, hinge.position], waypoints: [[0, 0], [1, x]]", NULL, "terms[1].waypoints[1][1]:", "in m" },
    { "kind: effort",          "kind: progress, observations: [slider.position, hinge.position], waypoints: [[0, 0], [1, 1], [1, 1]]", NULL, "terms[1].waypoints[2]:", "another point" },
    { "kind: effort",          "kind: path, target: [1, 2], observations: [slider.position, hinge.position], waypoints: [[0, 0], [1, 1]]", NULL, "terms[1].target:", "only on terms of kind frame and observation" },
    { "return_at: next",       "ends: [{observation: hinge, low: 0}]", NULL, "ends[0].observation: value \"hinge\":", "slider.position, hinge.position" },
    { "return_at: next",       "ends: [{observation: hinge.position}]", NULL, "ends[0].low: missing:", "low, high or both" },
    { "return_at: next",       "ends: [{observation: hinge.position, low: 1, high: 1}]", NULL, "ends[0].high: value \"1\":", "more than low, 1" },
    { "form: exp, width",      "form: abs, width",       "width", "terms[0].width: value \"0.6\":", "only with form: exp" },
    { "name: effort",          "name: height",           NULL, "terms[1].name: value \"height\":", "terms[0] has this one" },
    { "kind: effort",          "kind: effort, target: [1]", NULL, "terms[1].target: value \"[1]\":", "only on terms of kind frame and observation" },
    { "kind: effort",          "kind: observation",      NULL, "terms[1].observations: missing:", "a list of observations" },
    { "kind: effort",          "kind: observation, observations: [hinge]", NULL, "terms[1].observations[0]: value \"hinge\":", "slider.position, hinge.position" },
    { "kind: effort",          "kind: observation, observations: [hinge.velocity, hinge.velocity]", NULL, "terms[1].observations[1]:", "each observation once" },
    { "weight: 0.01",          "weight: 0.01 J",         NULL, "terms[1].weight: value \"0.01 J\": write the bare number", "" },
};
/* clang-format on */

TEST(files_of_the_wrong_shape_are_refused_with_line_and_key)
{
    ALL_REFUSED("cartpole", shapes, false);
}

TEST(numbers_with_units_out_of_range_or_not_decimal_are_refused)
{
    ALL_REFUSED("cartpole", numbers, false);
}

TEST(robots_that_contradict_themselves_are_refused)
{
    ALL_REFUSED("cartpole", robots, false);
}

TEST(real_robots_get_no_relaxations)
{
    ALL_REFUSED("arm", arms, false);
}

TEST(bad_tasks_are_refused_with_the_task_files_line)
{
    ALL_REFUSED("cartpole", tasks, true);
}

TEST(a_link_may_only_follow_a_joint_that_is_observed)
{
    const struct edit e    = { "  - {joint: lift, measure: position, range: [-0.1, 0.4]}\n", "", "{joint: lift",
                               "frames[1].links[0].joint", "observation" };
    char             *text = slurp(source("tests/configs/arm/robot.yaml"));
    char             *task = slurp(source("tests/configs/arm/task.yaml"));
    char             *bad  = edited(text, &e);

    spill(in_dir("robot.yaml"), bad, strlen(bad));
    spill(in_dir("task.yaml"), task, strlen(task));
    EXPECT(config_load(in_dir("robot.yaml"), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "task.yaml:9: frames[1].links[0].joint: value \"lift\": expected a joint whose position is among");
    free(text);
    free(task);
    free(bad);
}

TEST(missing_empty_and_huge_files_are_refused)
{
    EXPECT(config_load(in_dir("none.yaml"), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "none.yaml: cannot open: No such file");
    EXPECT(config_load(test_dir(), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "Is a directory");

    spill(in_dir("empty.yaml"), "", 0);
    EXPECT(config_load(in_dir("empty.yaml"), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "empty.yaml:1: expected a map");
    spill(in_dir("list.yaml"), "- a\n", 4);
    EXPECT(config_load(in_dir("list.yaml"), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "list.yaml:1: expected a map");

    enum { BIG = 300 * 1024 };
    char *spaces = malloc(BIG);
    if (!spaces)
        abort();
    memset(spaces, '\n', BIG);
    spill(in_dir("big.yaml"), spaces, BIG);
    free(spaces);
    EXPECT(config_load(in_dir("big.yaml"), &c, why, sizeof why) < 0);
    EXPECT_STR(why, "larger than");
}

TEST(a_file_cut_short_anywhere_never_crashes_and_never_loads_half)
{
    char  *text = slurp(source("tests/configs/arm/robot.yaml"));
    char  *task = slurp(source("tests/configs/arm/task.yaml"));
    size_t size = strlen(text);

    spill(in_dir("task.yaml"), task, strlen(task));
    for (size_t n = 0; n < size; n += 7) {
        spill(in_dir("robot.yaml"), text, n);
        int rc = config_load(in_dir("robot.yaml"), &c, why, sizeof why);
        EXPECT(rc == 0 || why[0]);
        if (rc == 0) /* nothing is gone but optional keys: the last required one is gates.position */
            EXPECT(strstr(text, "stiff end stops\"}") - text <= (long)n);
    }
    free(text);
    free(task);
}

/* One or a few bytes of a good file replaced: it loads or is refused in one line, and never crashes (run under asan). */
TEST(a_damaged_file_is_loaded_or_refused_in_one_line)
{
    char             *text    = slurp(source("tests/configs/arm/robot.yaml"));
    char             *task    = slurp(source("tests/configs/arm/task.yaml"));
    char             *bad     = malloc(strlen(text));
    size_t            size    = strlen(text);
    uint64_t          seed    = 1;
    static const char signs[] = ":{}[]-,#&*!|>'\"%@ \n0.9e";
    int               tries = getenv("LIMBER_SOAK") ? 50000 : 500, refused = 0;

    if (!bad)
        abort();
    spill(in_dir("task.yaml"), task, strlen(task));
    for (int i = 0; i < tries; i++) {
        memcpy(bad, text, size);
        for (int k = 0; k <= i % 3; k++) {
            seed                     = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
            bad[(seed >> 40) % size] = i % 2 ? (char)(seed >> 32) : signs[(seed >> 33) % (sizeof signs - 1)];
        }
        spill(in_dir("robot.yaml"), bad, size);
        if (config_load(in_dir("robot.yaml"), &c, why, sizeof why) == 0)
            continue;
        refused++;
        EXPECT(why[0] && !strchr(why, '\n'));
        EXPECT_STR(why, test_dir());
    }
    EXPECT(refused > tries / 4);
    free(text);
    free(task);
    free(bad);
}

TEST(a_short_buffer_for_the_message_is_never_overrun)
{
    char small[24];

    memset(small, 'x', sizeof small);
    EXPECT(config_load("/nonexistent/robot.yaml", &c, small, 16) < 0);
    EXPECT(memchr(small, 0, 16) && small[16] == 'x' && small[23] == 'x');
}

TEST(a_locale_with_decimal_commas_changes_nothing)
{
    char command[2 * PATH_SIZE];

    /* the test brings its own de_DE, as a machine need not have one */
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1", test_dir(),
             test_dir());
    EXPECT(system(command) == 0);
    setenv("LOCPATH", test_dir(), 1);
    EXPECT(setlocale(LC_ALL, "de_DE.UTF-8") != NULL);
    EXPECT(strtod("0,5", NULL) == 0.5); /* so the locale is really on */
    EXPECT(config_load(source("tests/configs/arm/robot.yaml"), &c, why, sizeof why) == 0);
    EXPECT(c.latch_ms == 0.4 && c.trainer.learning_rate == 7.5e-4 && c.planner.init_std[1] == 0.75);
    EXPECT(strtod("0,5", NULL) == 0.5); /* and the caller's locale is left alone */
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
}
