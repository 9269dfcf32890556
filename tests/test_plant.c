/* test_plant.c - the simulated robot: its model, and which command acts on which part of which interval.
 * The judge is MuJoCo itself, stepped here by hand. */
#include <mujoco/mujoco.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "firmware-bridge/plant.h"
#include "tests/test.h"

static const char cartpole[] = "robots/cartpole/model.xml";
static char       why[600];

static struct sim *open_cartpole(double timestep, uint64_t seed)
{
    struct sim *s =
        sim_open(&(struct sim_options){ .model = cartpole, .timestep = timestep, .seed = seed }, why, sizeof why);

    EXPECT(s != NULL);
    return s;
}

static const char *write_model(const char *body)
{
    static char path[300];
    FILE       *f;

    snprintf(path, sizeof path, "%s/model.xml", test_dir());
    f = fopen(path, "w");
    fprintf(f, "<mujoco>%s</mujoco>", body);
    fclose(f);
    return path;
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

TEST(the_cart_pole_has_the_published_masses_and_tip)
{
    struct sim    *s = open_cartpole(0, 1);
    const mjModel *m = sim_model(s);
    mjData        *d = mj_makeData(m);
    struct rng     r;
    int            tip = mj_name2id(m, mjOBJ_SITE, "tip");

    EXPECT_NEAR(m->body_mass[mj_name2id(m, mjOBJ_BODY, "cart")], 10.472, 5e-4);
    EXPECT_NEAR(m->body_mass[mj_name2id(m, mjOBJ_BODY, "pole")], 5.019, 5e-4);
    EXPECT(m->opt.timestep == 0.02 && m->opt.integrator == mjINT_RK4 && (m->opt.disableflags & mjDSBL_CONTACT));
    EXPECT(tip >= 0);
    rng_seed(&r, 1);
    for (int i = 0; i < 20; i++) {
        double x = d->qpos[0] = 2 * rng_normal(&r), q = d->qpos[1] = 3 * rng_normal(&r);

        mj_forward(m, d);
        EXPECT_NEAR(d->site_xpos[3 * tip], x - 0.6 * sin(q), 1e-12);
        EXPECT_NEAR(d->site_xpos[3 * tip + 2], -0.6 * cos(q), 1e-12);
    }
    mj_deleteData(d);
    sim_close(s);
}

/* ---- the reacher ----------------------------------------------------------------------------------------------- */

static struct sim *open_reacher(uint64_t seed)
{
    struct sim *s = sim_open(
        &(struct sim_options){ .model  = "robots/reacher/model.xml",
                               .joints = "shoulder_pan,shoulder_lift,upper_arm_roll,elbow_flex,forearm_roll,wrist_flex,"
                                         "wrist_roll",
                               .extra  = "goal_x,goal_y,goal_z",
                               .seed   = seed },
        why, sizeof why);

    EXPECT(s != NULL);
    return s;
}

/* Speed that a push of one step gives the cart, beyond what the rest of the world gives it, with so many times the mass. */
static double pushed(double factor)
{
    const double push[2][MAX_JOINTS] = { { 20 }, { 0 } };
    double       q[MAX_JOINTS], dq[MAX_JOINTS], q0[MAX_JOINTS], dq0[MAX_JOINTS], speed[2];

    for (int i = 0; i < 2; i++) {
        struct sim *s = open_cartpole(0, 1);

        sim_reset(s, 1, 1);
        for (int k = 0; k < 10; k++)
            EXPECT(sim_step(s, push[0]));
        sim_measure(s, q0, dq0);
        sim_mass(s, 7);
        sim_mass(s, factor);
        sim_measure(s, q, dq);
        EXPECT(!memcmp(q, q0, 2 * sizeof *q) && !memcmp(dq, dq0, 2 * sizeof *dq));
        EXPECT(sim_step(s, push[i]));
        sim_measure(s, q, dq);
        speed[i] = dq[0];
        sim_close(s);
    }
    return speed[0] - speed[1];
}

TEST(a_robot_of_k_times_its_mass_answers_a_push_with_one_kth_and_goes_on_where_it_was)
{
    double once = pushed(1);

    EXPECT(once > 0.01);
    EXPECT_NEAR(pushed(0.5), 2 * once, 0.02 * once);
    EXPECT_NEAR(pushed(3), once / 3, 0.02 * once);
}

/* The hand as the paper's reward has it: along one axis from joint to joint, each flex bending the axis about what the
 * roll before it has turned.  True for flexes of 0 and below, which is their range. */
static void published_hand(const double *q, double ee[3])
{
    double       c1 = cos(q[0]), s1 = sin(q[0]), c2 = cos(q[1]), s2 = sin(q[1]);
    double       axis[3] = { c2 * c1, c2 * s1, -s2 }, perp[3] = { -s1, c1, 0 };
    const double length[2] = { 0.321, 0.16828 };

    ee[0] = 0.1 * c1 + 0.4 * c1 * c2;
    ee[1] = 0.1 * s1 + 0.4 * s1 * c2 - 0.188;
    ee[2] = -0.4 * s2;
    for (int k = 0; k < 2; k++) {
        double roll = q[2 + 2 * k], hinge = q[3 + 2 * k], across[3], next[3], norm = 0;

        for (int i = 0; i < 3; i++)
            across[i] = axis[(i + 1) % 3] * perp[(i + 2) % 3] - axis[(i + 2) % 3] * perp[(i + 1) % 3];
        for (int i = 0; i < 3; i++)
            next[i] = cos(hinge) * axis[i] + sin(hinge) * (sin(roll) * perp[i] - cos(roll) * across[i]);
        for (int i = 0; i < 3; i++)
            perp[i] = next[(i + 1) % 3] * axis[(i + 2) % 3] - next[(i + 2) % 3] * axis[(i + 1) % 3];
        for (int i = 0; i < 3; i++)
            norm += perp[i] * perp[i];
        for (int i = 0; i < 3; i++) {
            perp[i] /= sqrt(norm);
            axis[i] = next[i];
            ee[i] += length[k] * axis[i];
        }
    }
}

TEST(the_reacher_s_hand_is_the_paper_s_and_the_task_s)
{
    static struct robot_config c;
    struct sim                *s = open_reacher(1);
    const mjModel             *m = sim_model(s);
    mjData                    *d = mj_makeData(m);
    struct rng                 r;
    int                        hand = mj_name2id(m, mjOBJ_SITE, "hand");

    EXPECT(config_load("robots/reacher/robot.yaml", &c, why, sizeof why) == 0);
    EXPECT(hand >= 0 && m->opt.gravity[2] == 0 && m->opt.timestep == 0.01 && m->opt.integrator == mjINT_RK4);
    rng_seed(&r, 4);
    for (int k = 0; k < 200; k++) {
        float  x[17] = { 0 };
        double p[3], published[3];

        for (int j = 0; j < 7; j++) {
            double low  = m->jnt_limited[j] ? m->jnt_range[2 * j] : -3,
                   high = m->jnt_limited[j] ? m->jnt_range[2 * j + 1] : 3;

            x[j]       = (float)(low + rng_uniform(&r) * (high - low));
            d->qpos[j] = (double)x[j];
        }
        mj_forward(m, d);
        published_hand(d->qpos, published);
        task_frame_position(&c.task, 0, x, p);
        for (int i = 0; i < 3; i++) {
            EXPECT_NEAR(d->site_xpos[3 * hand + i], published[i], 1e-9);
            EXPECT_NEAR(d->site_xpos[3 * hand + i], p[i], 1e-9);
        }
    }
    mj_deleteData(d);
    sim_close(s);
}

TEST(every_trial_of_the_reacher_has_a_goal_of_its_own_and_starts_straight_and_at_rest)
{
    static const double centre[3] = { 0, 0.25, 0 };
    struct sim         *s         = open_reacher(1);
    double              sum[3] = { 0 }, squares[3] = { 0 }, q[MAX_JOINTS], dq[MAX_JOINTS], goal[MAX_EXTRA];
    int                 n = 2000;

    for (int trial = 0; trial < n; trial++) {
        sim_reset(s, 1, (uint32_t)trial);
        sim_measure(s, q, dq);
        for (int j = 0; j < 7; j++)
            EXPECT(q[j] == 0 && dq[j] == 0);
        EXPECT(sim_measure_extra(s, goal) == 3);
        for (int i = 0; i < 3; i++) {
            sum[i] += goal[i] - centre[i];
            squares[i] += (goal[i] - centre[i]) * (goal[i] - centre[i]);
        }
    }
    for (int i = 0; i < 3; i++) {
        EXPECT_NEAR(sum[i] / n, 0, 5 * 0.1 / sqrt(n));
        EXPECT_NEAR(sqrt(squares[i] / n), 0.1, 5 * 0.1 / sqrt(2 * n));
    }
    sim_close(s);
}

TEST(extra_measurements_are_of_the_state_that_is_sent_not_of_the_one_before)
{
    struct sim_options o = { .extra = "at_z,speed,at_x" };
    struct hello       h = { 0 };
    double             q, dq, extra[MAX_EXTRA], tau = 0;

    o.model = write_model("<worldbody><body><joint name='a' type='slide' axis='1 0 0'/><geom size='.1'/>"
                          "<site name='tip' pos='2 0 3'/></body></worldbody>"
                          "<custom><numeric name='limber_reset_std' data='1'/></custom>"
                          "<sensor><framepos name='at' objtype='site' objname='tip'/><jointvel name='speed' joint='a'/>"
                          "</sensor>");

    struct sim *s = sim_open(&o, why, sizeof why);

    EXPECT(s != NULL);
    sim_describe(s, &h);
    EXPECT(h.nextra == 3 && strcmp(h.extra[0], "at_z") == 0 && strcmp(h.extra[2], "at_x") == 0);
    for (int i = 0; i < 20; i++) {
        sim_measure(s, &q, &dq);
        EXPECT(sim_measure_extra(s, extra) == 3);
        EXPECT_NEAR(extra[0], 3, 1e-12);
        EXPECT_NEAR(extra[1], dq, 1e-12);
        EXPECT_NEAR(extra[2], q + 2, 1e-12);
        EXPECT(sim_step(s, &tau));
    }
    sim_close(s);
    o.extra = "at_z,height";
    EXPECT(!sim_open(&o, why, sizeof why));
    EXPECT_STR(why, "no sensor \"height\"");
}

/* ---- what it says ---------------------------------------------------------------------------------------------- */

TEST(the_robot_side_says_what_the_model_is)
{
    struct sim  *s = open_cartpole(0, 1);
    struct hello h = { 0 };

    sim_describe(s, &h);
    EXPECT(h.simulated && h.nj == 2 && h.timeout_action == TIMEOUT_DAMP);
    EXPECT(strcmp(h.joint[0].name, "slider") == 0 && h.joint[0].type == JOINT_PRISMATIC && h.joint[0].actuated);
    EXPECT(h.joint[0].effort_max == 300 && h.joint[0].position_min == -2.5 && h.joint[0].position_max == 2.5);
    EXPECT(strcmp(h.joint[1].name, "hinge") == 0 && h.joint[1].type == JOINT_CONTINUOUS && !h.joint[1].actuated);
    EXPECT(h.joint[1].effort_max == 0 && isinf(h.joint[1].position_max) && isinf(h.joint[1].velocity_max));
    sim_close(s);
}

TEST(rate_and_velocity_limits_are_told_and_kept_in_the_order_of_the_joints)
{
    struct sim_options     o = { .model = cartpole, .joints = "hinge,slider", .effort_rate = "inf,1500", .velocity = "80.5,inf" };
    struct sim            *s = sim_open(&o, why, sizeof why);
    struct hello           h = { 0 };
    struct receiver_limits l;
    static const char *const wrong[] = { "", "1", "1,", "1,2,", "1,2,3", "0,1", "1,-1", "nan,1", "1;2", "1,x", "1, 2x" };

    EXPECT(s != NULL);
    sim_describe(s, &h);
    sim_limits(s, 100, &l);
    EXPECT(h.joint[0].effort_rate_max == 0 && h.joint[1].effort_rate_max == 1500);
    EXPECT(h.joint[0].velocity_max == 80.5 && isinf(h.joint[1].velocity_max));
    EXPECT(isinf(l.effort_rate[0]) && l.effort_rate[1] == 1500 && l.velocity_max[0] == 80.5 && isinf(l.velocity_max[1]));
    sim_close(s);
    o.joints = NULL, o.effort_rate = NULL, o.velocity = NULL;
    s        = sim_open(&o, why, sizeof why);
    sim_limits(s, 100, &l);
    EXPECT(isinf(l.effort_rate[0]) && isinf(l.effort_rate[1]) && isinf(l.velocity_max[0]) && isinf(l.velocity_max[1]));
    sim_close(s);
    for (size_t i = 0; i < 2 * sizeof wrong / sizeof *wrong; i++) {
        o.effort_rate = i % 2 ? NULL : wrong[i / 2];
        o.velocity    = i % 2 ? wrong[i / 2] : NULL;
        EXPECT(!sim_open(&o, why, sizeof why));
        EXPECT_STR(why, i % 2 ? "--velocity" : "--effort-rate");
        EXPECT_STR(why, "expected 2 numbers above 0, or inf");
    }
}

TEST(joints_can_be_chosen_and_reordered)
{
    struct sim_options o = { .model = cartpole, .joints = "hinge,slider", .seed = 3 };
    struct sim        *s = sim_open(&o, why, sizeof why), *t = open_cartpole(0, 3);
    double             q[2], dq[2], p[2], dp[2];
    struct hello       h = { 0 };

    sim_describe(s, &h);
    sim_measure(s, q, dq), sim_measure(t, p, dp);
    EXPECT(strcmp(h.joint[0].name, "hinge") == 0 && h.joint[1].effort_max == 300);
    EXPECT(q[0] == p[1] && q[1] == p[0] && dq[0] == dp[1] && dq[1] == dp[0]);
    sim_close(s), sim_close(t);
    o.joints = "slider,elbow";
    EXPECT(!sim_open(&o, why, sizeof why));
    EXPECT_STR(why, "no joint \"elbow\" in robots/cartpole/model.xml");
    o.joints = "slider,slider";
    EXPECT(!sim_open(&o, why, sizeof why));
    EXPECT_STR(why, "\"slider\" twice");
}

TEST(models_that_cannot_be_driven_are_refused_by_name)
{
    static const char *const bad[][2] = {
        { "<worldbody/>", "no hinge or slide joint" },
        { "<worldbody><body><joint type='hinge'/><geom size='.1'/></body></worldbody>", "joint 0 has the name \"\"" },
        { "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>"
          "<actuator><motor name='m' joint='a'/></actuator>",
          "motor \"m\" needs a gear other than 0 and a ctrlrange" },
        { "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>"
          "<actuator><position name='m' joint='a' kp='3' ctrllimited='true' ctrlrange='-1 1'/></actuator>",
          "actuator \"m\" is not a plain motor" },
        { "<custom><numeric name='limber_damp_kd' data='1 2 3'/></custom>"
          "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>",
          "limber_damp_kd has 3 values, expected 1 or 1" },
        { "<custom><numeric name='limber_reset_std' data='-1'/></custom>"
          "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>",
          "limber_reset_std holds -1" },
        { "<custom><numeric name='limber_reset_velocity_std' data='1 2'/></custom>"
          "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>",
          "limber_reset_velocity_std has 2 values, expected 1 or 1" },
        { "<custom><numeric name='limber_reset_uniform' data='-0.1'/></custom>"
          "<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>",
          "limber_reset_uniform holds -0.1" },
        { "<nonsense/>", "not a model MuJoCo can load" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sim_options o = { .model = write_model(bad[i][0]) };

        EXPECT(!sim_open(&o, why, sizeof why));
        EXPECT_STR(why, bad[i][1]);
        EXPECT_STR(why, o.model);
    }
    EXPECT(!sim_open(&(struct sim_options){ .model = "nowhere.xml" }, why, sizeof why));
    EXPECT_STR(why, "nowhere.xml: cannot be read: No such file");
}

TEST(without_a_damping_gain_the_timeout_action_is_off)
{
    struct sim_options o = {
        .model = write_model("<worldbody><body><joint name='a' type='hinge'/><geom size='.1'/></body></worldbody>")
    };
    struct sim  *s = sim_open(&o, why, sizeof why);
    struct hello h = { 0 };

    EXPECT(s != NULL);
    sim_describe(s, &h);
    EXPECT(h.timeout_action == TIMEOUT_OFF);
    sim_close(s);
}

TEST(a_period_must_be_a_whole_number_of_time_steps)
{
    struct sim *s = open_cartpole(0, 1), *fine = open_cartpole(0.002, 1);

    EXPECT(sim_substeps(s, 25, why, sizeof why) == 2 && sim_substeps(s, 50, why, sizeof why) == 1);
    EXPECT(sim_substeps(fine, 500, why, sizeof why) == 1 && sim_substeps(fine, 25, why, sizeof why) == 20);
    EXPECT(sim_substeps(s, 30, why, sizeof why) == 0);
    EXPECT_STR(why, "control_hz 30");
    EXPECT_STR(why, "time steps of 0.02 s");
    EXPECT(!sim_substeps(s, 500, why, sizeof why) && !sim_substeps(s, 0, why, sizeof why));
    EXPECT(!sim_substeps(s, (double)NAN, why, sizeof why) && !sim_substeps(s, -25, why, sizeof why));
    sim_close(s), sim_close(fine);
}

TEST(a_start_pose_depends_on_the_three_seeds_and_on_nothing_else)
{
    struct sim *s = open_cartpole(0, 5), *t = open_cartpole(0, 5), *u = open_cartpole(0, 6);
    double      a[4], b[4], zero[2]                                   = { 0 };

    for (int i = 0; i < 9; i++) /* s has a past, t has none */
        sim_step(s, zero);
    sim_reset(s, 1, 2), sim_reset(t, 1, 2);
    sim_measure(s, a, a + 2), sim_measure(t, b, b + 2);
    EXPECT(memcmp(a, b, sizeof a) == 0);
    sim_reset(t, 1, 3), sim_measure(t, b, b + 2);
    EXPECT(a[0] != b[0] && a[1] != b[1] && a[2] != b[2] && a[3] != b[3]);
    sim_reset(t, 2, 2), sim_measure(t, b, b + 2);
    EXPECT(a[0] != b[0]);
    sim_reset(u, 1, 2), sim_measure(u, b, b + 2);
    EXPECT(a[0] != b[0]);
    sim_close(s), sim_close(t), sim_close(u);
}

TEST(start_poses_are_normal_with_the_models_deviation)
{
    struct sim *s      = open_cartpole(0, 1);
    double      sum[4] = { 0 }, square[4] = { 0 }, x[4];
    enum { N = 4000 };

    for (uint32_t i = 0; i < N; i++) {
        sim_reset(s, 1, i);
        sim_measure(s, x, x + 2);
        for (int k = 0; k < 4; k++)
            sum[k] += x[k], square[k] += x[k] * x[k];
    }
    for (int k = 0; k < 4; k++) {
        EXPECT_NEAR(sum[k] / N, 0, 5 * 0.1 / sqrt(N));
        EXPECT_NEAR(sqrt(square[k] / N), 0.1, 5 * 0.1 / sqrt(2 * N));
    }
    sim_close(s);
}

/* ---- intervals ------------------------------------------------------------------------------------------------- */

static const uint64_t T0 = 1000 * NS_PER_MS, PERIOD = 40 * NS_PER_MS;

/* 25 Hz, 20 sub-steps of 2 ms, latch 5 ms, session 9. */
static struct sim *start(struct plant *p)
{
    struct sim    *s = open_cartpole(0.002, 1);
    struct welcome w = { .session = 9, .control_hz = 25, .latch_ms = 5, .simulated = true };

    plant_init(p, s, 120);
    EXPECT(plant_session(p, &w, why, sizeof why));
    return s;
}

static void command(struct plant *p, uint64_t seq, uint64_t state_seq, double force, uint64_t at_ns)
{
    struct joint_command c = { .session   = 9,
                               .seq       = seq,
                               .state_seq = state_seq,
                               .valid_ms  = 120,
                               .mode      = COMMAND_TORQUE,
                               .nj        = 2,
                               .torque    = { force, 0 } };

    plant_command(p, &c, at_ns);
}

/* What MuJoCo makes of `first` for n sub-steps and `then` for the rest of 20, from where s is. */
static void by_hand(const struct sim *s, double first, int n, double then, double *q)
{
    const mjModel *m = sim_model(s);
    mjData        *d = mj_makeData(m);

    sim_pose(s, d->qpos);
    sim_measure(s, q, d->qvel);
    for (int i = 0; i < 20; i++) {
        d->ctrl[0] = (i < n ? first : then) / 100;
        mj_step(m, d);
    }
    q[0] = d->qpos[0], q[1] = d->qpos[1];
    mj_deleteData(d);
}

TEST(a_command_within_the_latch_time_acts_on_the_whole_interval)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;
    double             want[2];

    plant_begin(&p, T0, T0 + 100000, 1);
    command(&p, 1, 1, 70, T0 + 5 * NS_PER_MS);
    by_hand(s, 70, 20, 0, want);
    EXPECT(plant_run(&p));
    plant_state(&p, &x);
    EXPECT(x.position[0] == want[0] && x.position[1] == want[1]);
    EXPECT(x.applied_held && x.applied_command_seq == 1 && x.applied_effort[0] == 70 && x.late_commands == 0);
    sim_close(s);
}

TEST(a_late_command_acts_from_the_next_sub_step_and_is_counted)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;
    double             want[2];

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 70, T0);
    plant_run(&p);
    plant_begin(&p, T0 + PERIOD, T0 + PERIOD, 2);
    command(&p, 2, 2, -50, T0 + PERIOD + 13 * NS_PER_MS); /* the boundary after it is at 14 ms: sub-step 7 */
    by_hand(s, 70, 7, -50, want);                         /* until then the previous command holds         */
    EXPECT(plant_run(&p));
    plant_state(&p, &x);
    EXPECT(x.position[0] == want[0] && x.position[1] == want[1]);
    EXPECT(!x.applied_held && x.applied_command_seq == 2 && x.late_commands == 1);
    EXPECT_NEAR(x.applied_effort[0], (7 * 70 - 13 * 50) / 20.0, 1e-12);
    sim_close(s);
}

TEST(damaged_messages_act_when_they_came_and_are_told_with_what_is_lost_and_changed_of_this_session)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;
    struct welcome     w = { .session = 8, .control_hz = 25, .latch_ms = 10, .simulated = true };

    plant_begin(&p, T0, T0, 1);
    command(&p, 3, 1, 1000, T0); /* two are missing; more than it gives */
    for (int i = 0; i < 3; i++)
        plant_damaged(&p, T0 + 13 * NS_PER_MS);
    EXPECT(plant_run(&p));
    plant_state(&p, &x);
    EXPECT(!x.applied_held && x.applied_command_seq == 0);
    EXPECT(x.applied_effort[0] > 50 && x.applied_effort[0] < p.receiver.limits.effort_max[0] * 8 / 20); /* for 7 sub-steps */
    EXPECT(x.damaged_commands == 3 && x.lost_commands == 2 && x.changed_commands == 1);
    EXPECT(plant_session(&p, &w, why, sizeof why));
    plant_state(&p, &x);
    EXPECT(x.damaged_commands == 0 && x.lost_commands == 0 && x.changed_commands == 0);
    sim_close(s);
}

TEST(a_command_after_the_last_sub_step_began_waits_for_the_next_interval)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 70, T0 + 39 * NS_PER_MS);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_command_seq == 0 && x.applied_effort[0] == 0 && x.late_commands == 0);
    plant_begin(&p, T0 + PERIOD, T0 + PERIOD, 2);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_command_seq == 1 && x.applied_effort[0] == 70 && x.late_commands == 1);
    EXPECT(!x.applied_held); /* it held throughout, but answers another state */
    sim_close(s);
}

TEST(after_a_stall_a_command_in_time_overtakes_a_late_one_and_nothing_latches)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 70, T0);
    plant_run(&p);
    plant_begin(&p, T0 + PERIOD, T0 + PERIOD, 2);
    command(&p, 2, 2, -50, T0 + PERIOD + 90 * NS_PER_MS); /* the process stood still: beyond the next interval, too */
    plant_run(&p);
    plant_begin(&p, T0 + 2 * PERIOD, T0 + PERIOD + 100 * NS_PER_MS, 3); /* scheduled before that command came */
    command(&p, 3, 3, 30, T0 + PERIOD + 101 * NS_PER_MS);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_held && x.applied_command_seq == 3 && x.applied_effort[0] == 30);
    EXPECT(x.faults == 0);
    sim_close(s);
}

TEST(of_two_commands_in_time_the_newer_acts)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 70, T0 + 1 * NS_PER_MS);
    command(&p, 2, 1, 30, T0 + 2 * NS_PER_MS);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_held && x.applied_command_seq == 2 && x.applied_effort[0] == 30);
    sim_close(s);
}

TEST(an_interval_without_a_command_is_not_held)
{
    struct plant         p;
    struct sim          *s    = start(&p);
    struct joint_command idle = { .session = 9, .seq = 1, .state_seq = 1, .valid_ms = 120, .mode = COMMAND_IDLE };
    struct joint_state   x;

    plant_begin(&p, T0, T0, 1);
    plant_command(&p, &idle, T0);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(!x.applied_held && x.applied_command_seq == 0 && x.applied_effort[0] == 0);
    sim_close(s);
}

TEST(a_flood_of_commands_keeps_the_newest)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;

    plant_begin(&p, T0, T0, 1);
    for (uint64_t i = 1; i <= 500; i++)
        command(&p, i, 1, (double)i / 10, T0 + 1000 * i);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_held && x.applied_command_seq == 500 && x.applied_effort[0] == 50);
    sim_close(s);
}

TEST(when_commands_stop_the_robot_damps_by_itself_and_says_so)
{
    struct plant       p;
    struct sim        *s = start(&p);
    struct joint_state x;
    double             fastest = 0;

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 300, T0);
    plant_run(&p);
    for (uint64_t k = 1; k < 100; k++) {
        plant_begin(&p, T0 + k * PERIOD, T0 + k * PERIOD, 0);
        plant_run(&p);
        plant_state(&p, &x);
        fastest = fmax(fastest, fabs(x.velocity[0]));
        if (k == 2)
            EXPECT(x.applied_effort[0] == 300); /* until 120 ms */
        if (k >= 3 && k <= 8)
            EXPECT(x.applied_effort[0] < 0 && x.velocity[0] > 0);
        EXPECT(((x.faults & ROBOT_FAULT_LATCHED) != 0) == (k >= 15)); /* 600 ms */
    }
    EXPECT(fastest > 1 && fabs(x.velocity[0]) < 0.02);
    sim_close(s);
}

TEST(a_reset_clears_the_command_in_force_and_what_was_applied)
{
    struct plant         p;
    struct sim          *s = start(&p);
    struct trial_request q = { .session = 9, .trial = 4, .kind = TRIAL_RESET, .seed = 8 };
    struct joint_state   x;
    double               want[2], dq[2];

    plant_begin(&p, T0, T0, 1);
    command(&p, 1, 1, 300, T0);
    plant_run(&p);
    plant_reset(&p, &q);
    sim_reset(s, 8, 4);
    sim_measure(s, want, dq);
    plant_state(&p, &x);
    EXPECT(x.position[0] == want[0] && x.velocity[1] == dq[1]);
    EXPECT(!x.applied_held && x.applied_command_seq == 0 && x.applied_effort[0] == 0);
    plant_begin(&p, T0 + PERIOD, T0 + PERIOD, 2);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT(x.applied_effort[0] == 0); /* the old trial's command does not reach into the new one */
    sim_close(s);
}

TEST(after_a_reset_effort_begins_again_from_nothing_and_grows_at_the_robots_rate)
{
    struct sim_options   o = { .model = cartpole, .timestep = 0.002, .seed = 1, .effort_rate = "1000,inf" };
    struct sim          *s = sim_open(&o, why, sizeof why);
    struct welcome       w = { .session = 9, .control_hz = 25, .latch_ms = 5, .simulated = true };
    struct trial_request q = { .session = 9, .trial = 4, .kind = TRIAL_RESET, .seed = 8 };
    struct plant         p;
    struct joint_state   x;

    EXPECT(s != NULL);
    plant_init(&p, s, 120);
    EXPECT(plant_session(&p, &w, why, sizeof why));
    for (uint64_t k = 0; k < 6; k++) { /* 40 N a period: as fast as it may be */
        plant_begin(&p, T0 + k * PERIOD, T0 + k * PERIOD, k + 1);
        command(&p, k + 1, k + 1, 40 * (double)(k + 1), T0 + k * PERIOD);
        plant_run(&p);
        plant_state(&p, &x);
        EXPECT(x.applied_effort[0] == 40 * (double)(k + 1));
    }
    plant_reset(&p, &q);
    plant_begin(&p, T0 + 6 * PERIOD, T0 + 6 * PERIOD, 7);
    command(&p, 7, 7, 280, T0 + 6 * PERIOD);
    plant_run(&p);
    plant_state(&p, &x);
    EXPECT_NEAR(x.applied_effort[0], 120 + 19, 0.5); /* what is held for 120 ms, and grows by 38 N until the last sub-step */
    EXPECT(p.receiver.count[RECEIVER_SLOWED] == 20);
    sim_close(s);
}

TEST(a_diverged_simulation_is_a_fault_and_a_fresh_start_never_the_end)
{
    struct sim_options o = { .model = write_model("<option timestep='0.02' integrator='Euler'/><worldbody><body>"
                                                  "<joint name='a' type='hinge' stiffness='1e9' ref='0'/>"
                                                  "<geom pos='.1 0 0' size='.1'/></body></worldbody>"
                                                  "<custom><numeric name='limber_reset_std' data='0.1'/></custom>") };
    struct sim        *s = sim_open(&o, why, sizeof why);
    struct welcome     w = { .session = 9, .control_hz = 25, .latch_ms = 5, .simulated = true };
    struct plant       p;
    struct joint_state x;
    int                diverged = 0, seen = 0;

    EXPECT(s != NULL);
    plant_init(&p, s, 120);
    EXPECT(plant_session(&p, &w, why, sizeof why));
    for (uint64_t k = 0; k < 200; k++) {
        plant_begin(&p, T0 + k * PERIOD, T0 + k * PERIOD, k + 1);
        diverged += !plant_run(&p);
        plant_state(&p, &x);
        seen += (x.faults & ROBOT_FAULT_DIVERGED) != 0;
        EXPECT(isfinite(x.position[0]) && isfinite(x.velocity[0]));
        EXPECT(!(x.faults & ROBOT_FAULT_DIVERGED) || !x.applied_held);
    }
    EXPECT(diverged > 0 && seen >= 25);
    EXPECT_STR(sim_trouble(s), "diverged");
    sim_close(s);
}

TEST(a_welcome_that_does_not_fit_is_refused)
{
    struct sim    *s = open_cartpole(0, 1);
    struct plant   p;
    struct welcome w = { .session = 9, .control_hz = 33, .latch_ms = 5 };

    plant_init(&p, s, 120);
    EXPECT(!plant_session(&p, &w, why, sizeof why));
    EXPECT_STR(why, "control_hz 33");
    w.control_hz = 25, w.latch_ms = (double)NAN;
    EXPECT(!plant_session(&p, &w, why, sizeof why));
    EXPECT_STR(why, "welcome.latch_ms");
    sim_close(s);
}
