/* test_robots.c - the robots of robots/: their models against published facts, against docs/robots.md, against themselves.
 * The judges are MuJoCo's compiled models, stepped by hand, and plain formulas. */
#include <mujoco/mjxmacro.h>
#include <mujoco/mujoco.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/rt/rng.h"
#include "firmware-bridge/sim.h"
#include "tests/test.h"

static const char *const robots[] = { "cartpole", "reacher", "pusher", "halfcheetah", "ant", "balance" };
static const char *const models[] = { "robots/cartpole/model.xml",      "robots/reacher/model.xml",
                                      "robots/pusher/model.xml",        "robots/halfcheetah/model.xml",
                                      "robots/ant/model.xml",           "robots/balance/model.xml",
                                      "robots/ant/model-styrofoam.xml", "robots/halfcheetah/model-slippery.xml" };
enum { N_ROBOTS = sizeof robots / sizeof robots[0], N_MODELS = sizeof models / sizeof models[0] };

static char why[600];

static mjModel *load(const char *path)
{
    mjModel *m = mj_loadXML(path, NULL, why, sizeof why);

    if (!m)
        printf("%s: %s\n", path, why);
    EXPECT(m != NULL);
    return m;
}

static const char *name_of(const mjModel *m, int address)
{
    return m->names + address;
}

static char *slurp(const char *path)
{
    FILE  *f    = fopen(path, "r");
    char  *text = calloc(1, 1 << 18);
    size_t n    = f ? fread(text, 1, (1 << 18) - 1, f) : 0;

    EXPECT(f != NULL && n > 0);
    if (f)
        fclose(f);
    return text;
}

/* Full torque one way or the other, a new draw for every motor. */
static void random_torque(const mjModel *m, mjData *d, struct rng *r)
{
    for (int a = 0; a < m->nu; a++)
        d->ctrl[a] = m->actuator_ctrlrange[2 * a + (rng_uniform(r) < 0.5 ? 0 : 1)];
}

/* ---- docs/robots.md -------------------------------------------------------------------------------------------- */

static const double *numeric(const mjModel *m, const char *name, int *n)
{
    int id = mj_name2id(m, mjOBJ_NUMERIC, name);

    *n = id < 0 ? 0 : m->numeric_size[id];
    return id < 0 ? NULL : m->numeric_data + m->numeric_adr[id];
}

/* "N 0.1", "U 0.05", "0": start noise of a degree of freedom. */
static void noise_text(const mjModel *m, int dof, bool velocity, char text[40])
{
    static const char *const names[2][2] = { { "limber_reset_velocity_std", "limber_reset_std" },
                                             { "limber_reset_velocity_uniform", "limber_reset_uniform" } };

    snprintf(text, 40, "0");
    for (int kind = 0; kind < 2; kind++) {
        int           n = 0;
        const double *x = velocity ? numeric(m, names[kind][0], &n) : NULL;

        if (!x)
            x = numeric(m, names[kind][1], &n);
        if (x && x[n == 1 ? 0 : dof] > 0)
            snprintf(text, 40, "%c %.5g", "NU"[kind], x[n == 1 ? 0 : dof]);
    }
}

static void joint_row(const mjModel *m, int j, FILE *f)
{
    static const char *const types[] = { "free", "ball", "slide", "hinge" };
    int                      dof = m->jnt_dofadr[j], a = 0;
    char                     range[60] = "", motor[60] = "", q[40], dq[40];

    while (a < m->nu && m->actuator_trnid[2 * a] != j)
        a++;
    if (m->jnt_limited[j])
        snprintf(range, sizeof range, "%.6g to %.6g", m->jnt_range[2 * j], m->jnt_range[2 * j + 1]);
    if (a < m->nu)
        snprintf(motor, sizeof motor, "%.5g x ±%.5g", m->actuator_gear[6 * a], m->actuator_ctrlrange[2 * a + 1]);
    noise_text(m, dof, false, q);
    noise_text(m, dof, true, dq);
    fprintf(f, "| %s | %s | %s | %s | %.5g | %.5g | %.5g | %s | %s |\n", name_of(m, m->name_jntadr[j]),
            types[m->jnt_type[j]], range, motor, m->dof_damping[dof], m->jnt_stiffness[j], m->dof_armature[dof], q, dq);
}

/* What docs/robots.md must say of a robot, to the letter. */
static void describe(const char *robot, FILE *f)
{
    char   path[100];
    double hz = 0, total = 0;

    snprintf(path, sizeof path, "robots/%s/robot.yaml", robot);
    char *yaml = slurp(path), *at = strstr(yaml, "control_hz:");
    EXPECT(at && sscanf(at, "control_hz: %lf", &hz) == 1);
    free(yaml);
    snprintf(path, sizeof path, "robots/%s/model.xml", robot);
    mjModel *m = load(path);
    fprintf(f,
            "| step | per control period | control | integrator | gravity | friction |\n|---|---|---|---|---|---|\n");
    fprintf(f, "| %.5g s | %.5g | %.5g Hz | %s | %.5g m/s² | ", m->opt.timestep, 1 / hz / m->opt.timestep, hz,
            m->opt.integrator == mjINT_RK4 ? "RK4" : "Euler", m->opt.gravity[2]);
    if (m->opt.disableflags & mjDSBL_CONTACT)
        fprintf(f, "no contacts |\n\n");
    else if (m->geom_condim[0] == 1)
        fprintf(f, "none |\n\n");
    else
        fprintf(f, "%.5g |\n\n", m->geom_friction[0]);
    fprintf(f, "| body | kg |\n|---|---|\n");
    for (int i = 1; i < m->nbody; i++) {
        fprintf(f, "| %s | %.5g |\n", name_of(m, m->name_bodyadr[i]), m->body_mass[i]);
        total += m->body_mass[i];
    }
    fprintf(f, "| total | %.5g |\n\n", total);
    fprintf(f, "| joint | type | range | motor | damping | stiffness | armature | start q | start dq |\n");
    fprintf(f, "|---|---|---|---|---|---|---|---|---|\n");
    for (int j = 0; j < m->njnt; j++)
        joint_row(m, j, f);
    mj_deleteModel(m);
}

TEST(docs_robots_md_has_the_numbers_of_every_model)
{
    char *doc = slurp("docs/robots.md");

    for (int i = 0; i < N_ROBOTS; i++) {
        char   heading[60], *text = NULL;
        size_t size;
        FILE  *f = open_memstream(&text, &size);

        describe(robots[i], f);
        fclose(f);
        snprintf(heading, sizeof heading, "\n## %s\n", robots[i]);
        char *section = strstr(doc, heading);
        char *next    = section ? strstr(section + 1, "\n## ") : NULL;
        if (next)
            *next = 0;
        bool there = section && strstr(section, text);
        EXPECT(there);
        if (!there)
            printf("docs/robots.md, section %s, should have:\n%s", robots[i], text);
        if (next)
            *next = '\n';
        free(text);
    }
    free(doc);
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

TEST(every_robot_runs_under_random_torques_without_a_warning)
{
    struct rng r;

    rng_seed(&r, 1);
    for (int i = 0; i < N_MODELS; i++) {
        mjModel *m = load(models[i]);
        mjData  *d = mj_makeData(m);

        for (int k = 0; k < 1000; k++) {
            if (k % 5 == 0)
                random_torque(m, d, &r);
            mj_step(m, d);
        }
        for (int w = 0; w < mjNWARNING; w++)
            EXPECT(d->warning[w].number == 0);
        for (int k = 0; k < m->nq; k++)
            EXPECT(isfinite(d->qpos[k]));
        mj_deleteData(d);
        mj_deleteModel(m);
    }
}

TEST(every_robot_has_a_robot_yaml_that_loads)
{
    static struct robot_config c;
    char                       path[100];

    for (int i = 0; i < N_ROBOTS; i++) {
        snprintf(path, sizeof path, "robots/%s/robot.yaml", robots[i]);
        why[0] = 0;
        int rc = config_load(path, &c, why, sizeof why);
        EXPECT(rc == 0);
        if (rc != 0)
            printf("%s\n", why);
    }
}

/* Position limits, speeds and changes of torque are there for real robots; here they would only change the task. */
TEST(no_limit_of_a_robot_yaml_binds_under_random_torques)
{
    static struct robot_config c;
    struct rng                 r;
    char                       path[100];

    rng_seed(&r, 2);
    for (int i = 2; i < N_ROBOTS; i++) {
        snprintf(path, sizeof path, "robots/%s/robot.yaml", robots[i]);
        if (config_load(path, &c, why, sizeof why) != 0)
            continue; /* reported by the test before */
        mjModel *m = load(models[i]);
        mjData  *d = mj_makeData(m);

        for (int k = 0; k < 3000; k++) {
            if (k % 500 == 0)
                mj_resetData(m, d);
            if (k % 20 == 0)
                random_torque(m, d, &r);
            mj_step(m, d);
            for (int j = 0; j < c.nj; j++) {
                int    id = mj_name2id(m, mjOBJ_JOINT, c.joint[j].name);
                double q = d->qpos[m->jnt_qposadr[id]], dq = d->qvel[m->jnt_dofadr[id]];

                EXPECT(c.joint[j].type == JOINT_CONTINUOUS ||
                       (q > c.joint[j].position_min && q < c.joint[j].position_max));
                EXPECT(fabs(dq) < c.joint[j].velocity / 2);
            }
        }
        for (int j = 0; j < c.nj; j++)
            EXPECT(!c.joint[j].actuated || c.joint[j].effort_rate >= 2 * c.joint[j].effort * c.control_hz);
        mj_deleteData(d);
        mj_deleteModel(m);
    }
}

/* ---- surfaces -------------------------------------------------------------------------------------------------- */

static void expect_equal_but_for_friction(const mjModel *a, const mjModel *b)
{
#define X(name) EXPECT(a->name == b->name);
    MJMODEL_INTS
#undef X
    MJMODEL_POINTERS_PREAMBLE(a)
#define X(type, name, rows, columns)              \
    EXPECT(strcmp(#name, "geom_friction") == 0 || \
           memcmp(a->name, b->name, sizeof(type) * (size_t)a->rows * (size_t)(columns)) == 0);
    MJMODEL_POINTERS
#undef X
#define X(type, name) EXPECT(memcmp(&a->opt.name, &b->opt.name, sizeof a->opt.name) == 0);
    MJOPTION_SCALARS
#undef X
#define X(name, n) EXPECT(memcmp(a->opt.name, b->opt.name, sizeof a->opt.name) == 0);
    MJOPTION_VECTORS
#undef X
}

TEST(two_surfaces_of_a_robot_differ_in_friction_only)
{
    static const struct {
        const char *path[2];
        double      friction[2];
    } pairs[] = { { { "robots/halfcheetah/model.xml", "robots/halfcheetah/model-slippery.xml" }, { 0.4, 0.1 } },
                  { { "robots/ant/model.xml", "robots/ant/model-styrofoam.xml" }, { 1, 0.4 } } };

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        mjModel *m[2] = { load(pairs[i].path[0]), load(pairs[i].path[1]) };

        expect_equal_but_for_friction(m[0], m[1]);
        for (int g = 0; g < m[0]->ngeom; g++)
            for (int k = 0; k < 2; k++) {
                EXPECT(m[k]->geom_friction[3 * g] == pairs[i].friction[k]);
                EXPECT(m[k]->geom_friction[3 * g + 1] == m[0]->geom_friction[3 * g + 1]);
                EXPECT(m[k]->geom_friction[3 * g + 2] == m[0]->geom_friction[3 * g + 2]);
            }
        mj_deleteModel(m[0]);
        mj_deleteModel(m[1]);
    }
}

/* ---- pusher ---------------------------------------------------------------------------------------------------- */

static const char pusher_joints[] =
    "shoulder_pan,shoulder_lift,upper_arm_roll,elbow_flex,forearm_roll,wrist_flex,wrist_roll";

/* x <- R x about a coordinate axis */
static void turn(double x[3], int axis, double angle)
{
    int    i = (axis + 1) % 3, k = (axis + 2) % 3;
    double y = x[i], z = x[k];

    x[i] = cos(angle) * y - sin(angle) * z;
    x[k] = sin(angle) * y + cos(angle) * z;
}

/* The tip from the paper's link lengths and axes, from the gripper back to the shoulder. */
static void pusher_tip(const double *q, double x[3])
{
    static const int    axis[7]   = { 2, 1, 0, 1, 0, 1, 0 };
    static const double before[7] = { 0, 0.1, 0, 0.4, 0, 0.321, 0 };

    x[0] = 0.1, x[1] = x[2] = 0;
    for (int j = 6; j >= 0; j--) {
        turn(x, axis[j], q[j]);
        x[0] += before[j];
    }
    x[1] -= 0.6;
}

TEST(the_pusher_s_tip_is_where_the_paper_s_links_put_it)
{
    mjModel   *m   = load("robots/pusher/model.xml");
    mjData    *d   = mj_makeData(m);
    int        tip = mj_name2id(m, mjOBJ_SITE, "tip");
    double     x[3];
    struct rng r;

    mj_forward(m, d);
    EXPECT_NEAR(d->site_xpos[3 * tip], 0.921, 1e-12);
    EXPECT_NEAR(d->site_xpos[3 * tip + 1], -0.6, 1e-12);
    EXPECT_NEAR(d->site_xpos[3 * tip + 2], 0, 1e-12);
    rng_seed(&r, 3);
    for (int k = 0; k < 100; k++) {
        for (int j = 0; j < 7; j++)
            d->qpos[j] = 2 * rng_normal(&r);
        mj_forward(m, d);
        pusher_tip(d->qpos, x);
        for (int i = 0; i < 3; i++)
            EXPECT_NEAR(d->site_xpos[3 * tip + i], x[i], 1e-9);
    }
    mj_deleteData(d);
    mj_deleteModel(m);
}

TEST(the_pusher_starts_as_published)
{
    struct sim_options o      = { .model  = "robots/pusher/model.xml",
                                  .joints = pusher_joints,
                                  .extra  = "object_x,object_y,object_z,goal_x,goal_y,goal_z" };
    struct sim        *s      = sim_open(&o, why, sizeof why);
    double             sum[2] = { 0 }, square[2] = { 0 }, speed = 0, mean = 0, fastest = 0, q[7], dq[7], x[6];
    enum { N = 2000 };

    EXPECT(s != NULL);
    for (uint32_t trial = 0; trial < N; trial++) {
        sim_reset(s, 1, trial);
        sim_measure(s, q, dq);
        EXPECT(sim_measure_extra(s, x) == 6);
        for (int j = 0; j < 7; j++) {
            EXPECT(q[j] == 0);
            mean += dq[j], speed += dq[j] * dq[j], fastest = fmax(fastest, fabs(dq[j]));
        }
        for (int i = 0; i < 2; i++) {
            double off = x[i] - (i == 0 ? 0.6 : -0.3);

            sum[i] += off, square[i] += off * off;
        }
        EXPECT_NEAR(x[2], -0.275, 1e-12);
        EXPECT(x[3] == 0.45 && x[4] == -0.05 && x[5] == -0.323);
    }
    for (int i = 0; i < 2; i++) {
        EXPECT_NEAR(sum[i] / N, 0, 5 * 0.025 / sqrt(N));
        EXPECT_NEAR(sqrt(square[i] / N), 0.025, 5 * 0.025 / sqrt(2 * N));
    }
    EXPECT(fastest <= 0.005 && fastest > 0.00499);
    EXPECT_NEAR(mean / (7 * N), 0, 5 * 0.005 / sqrt(3 * 7 * N));
    EXPECT_NEAR(speed / (7 * N), 0.005 * 0.005 / 3, 2e-7);
    sim_close(s);
}

TEST(the_pusher_moves_the_object_by_touching_it)
{
    mjModel *m = load("robots/pusher/model.xml");
    mjData  *d = mj_makeData(m);

    for (int k = 0; k < 100; k++)
        mj_step(m, d);
    EXPECT(d->qpos[7] == 0 && d->qpos[8] == 0);
    mj_resetData(m, d);
    d->qpos[1] = 0.75, d->qpos[3] = -0.75; /* down, the last links level */
    for (int k = 0; k < 600 && d->qpos[7] == 0; k++) {
        d->ctrl[0] = 0.5; /* towards the object */
        d->ctrl[1] = -2 * (d->qpos[1] - 0.75) - d->qvel[1];
        d->ctrl[3] = -2 * (d->qpos[3] + 0.75) - d->qvel[3];
        mj_step(m, d);
    }
    EXPECT(d->qpos[7] > 0);
    mj_deleteData(d);
    mj_deleteModel(m);
}

TEST(the_pusher_s_task_pays_as_the_paper_s_environment)
{
    static struct robot_config c;
    static const double        goal[3] = { 0.45, -0.05, -0.323 };
    struct rng                 r;
    float                      x[25], a[7], next[25] = { 0 };

    EXPECT(config_load("robots/pusher/robot.yaml", &c, why, sizeof why) == 0);
    EXPECT(c.nx == 25 && c.na == 7); /* the paper's 20, and 5 speeds of what they are seen to do */
    rng_seed(&r, 9);
    for (int k = 0; k < 20; k++) {
        double near = 0, off = 0, effort = 0;

        for (int i = 0; i < 25; i++)
            x[i] = (float)rng_normal(&r);
        for (int i = 0; i < 3; i++) { /* tip in 14 to 16, object in 17 to 19 */
            near += fabs((double)x[14 + i] - (double)x[17 + i]);
            off += fabs((double)x[17 + i] - goal[i]);
        }
        for (int i = 0; i < 7; i++) {
            a[i] = (float)(4 * rng_uniform(&r) - 2);
            effort += (double)a[i] * (double)a[i];
        }
        EXPECT_NEAR(task_reward(&c.task, x, a, 7, next), -(0.5 * near + 1.25 * off + 0.1 * effort), 1e-5);
    }
}

/* ---- half-cheetah ---------------------------------------------------------------------------------------------- */

TEST(the_half_cheetah_weighs_14_kg_and_stands_on_its_feet)
{
    mjModel *m     = load("robots/halfcheetah/model.xml");
    mjData  *d     = mj_makeData(m);
    double   total = 0, feet = 0;

    for (int i = 1; i < m->nbody; i++)
        total += m->body_mass[i];
    EXPECT_NEAR(total, 14, 1e-9);
    for (int k = 0; k < 300; k++)
        mj_step(m, d);
    for (int i = 0; i < d->ncon; i++) {
        mjtNum force[6];

        mj_contactForce(m, d, i, force);
        feet += force[0];
        EXPECT(mj_name2id(m, mjOBJ_GEOM, "bfoot") == d->contact[i].geom2 ||
               mj_name2id(m, mjOBJ_GEOM, "ffoot") == d->contact[i].geom2);
    }
    EXPECT_NEAR(feet, 14 * 9.81, 1);
    EXPECT(fabs(d->qpos[2]) < 0.3);
    mj_deleteData(d);
    mj_deleteModel(m);
}

TEST(the_half_cheetah_s_task_pays_the_speed_of_the_step_just_made)
{
    static struct robot_config c;
    float                      x[18] = { 3 }, a[6] = { 1, -1, 0.5, 0, 0, 0 }, next[18] = { 7, 1, 1 };

    EXPECT(config_load("robots/halfcheetah/robot.yaml", &c, why, sizeof why) == 0);
    EXPECT(c.nx == 18 && c.na == 6);
    EXPECT_NEAR(task_reward(&c.task, x, a, 6, next), 7 - 0.1 * 2.25, 1e-5);
}

/* ---- ant ------------------------------------------------------------------------------------------------------- */

TEST(an_ankle_pushes_its_foot_down_and_a_hip_turns_to_the_left_on_every_leg_alike)
{
    static const char *const legs[] = { "fl", "bl", "br", "fr" };
    mjModel                 *m      = load("robots/ant/model.xml");
    mjData                  *d      = mj_makeData(m);
    char                     name[20];

    for (int leg = 0; leg < 4; leg++) {
        const double pi = acos(-1), side = pi / 4 + leg * pi / 2;

        mj_resetData(m, d);
        snprintf(name, sizeof name, "%s_hip", legs[leg]);
        d->qpos[m->jnt_qposadr[mj_name2id(m, mjOBJ_JOINT, name)]] = 0.3;
        snprintf(name, sizeof name, "%s_ankle", legs[leg]);
        d->qpos[m->jnt_qposadr[mj_name2id(m, mjOBJ_JOINT, name)]] = 0.2;
        mj_forward(m, d);
        snprintf(name, sizeof name, "%s_lower", legs[leg]);
        int           geom = m->body_geomadr[mj_name2id(m, mjOBJ_BODY, name)];
        const double *c = d->geom_xpos + 3 * geom, out = 0.2 * sqrt(2), half = 0.2 * sqrt(2), a = 50 * pi / 180 + 0.2;

        EXPECT_NEAR(c[2], 0.52 - half * sin(a), 1e-4);
        EXPECT_NEAR(c[0], out * cos(side) + (out + half * cos(a)) * cos(side + 0.3), 1e-4);
        EXPECT_NEAR(c[1], out * sin(side) + (out + half * cos(a)) * sin(side + 0.3), 1e-4);
    }
    mj_deleteData(d);
    mj_deleteModel(m);
}

TEST(random_torques_do_not_turn_the_ant_over)
{
    mjModel   *m = load("robots/ant/model.xml");
    mjData    *d = mj_makeData(m);
    struct rng r;
    double     lowest = 1;

    rng_seed(&r, 4);
    for (int k = 0, n = test_rounds(8, 400) * 1000; k < n; k++) {
        if (k % 1000 == 0)
            mj_resetData(m, d);
        if (k % 20 == 0)
            random_torque(m, d, &r);
        mj_step(m, d);
        lowest = fmin(lowest, d->xmat[9 + 8]); /* world's up along the base's z */
    }
    EXPECT(lowest > 0.8);
    mj_deleteData(d);
    mj_deleteModel(m);
}

/* Metres along x in 6 s of an open-loop trot: legs in diagonal pairs, hips and ankles along sines. */
static double trot(const char *path, double *lowest)
{
    const double pi = acos(-1);
    mjModel     *m  = load(path);
    mjData      *d  = mj_makeData(m);

    *lowest = 1;
    for (int k = 0; k < 600; k++) {
        for (int leg = 0; leg < 4 && k % 5 == 0; leg++) { /* fl, bl, br, fr */
            double phase = 2 * pi * 0.63 * k * m->opt.timestep + (leg % 2 ? pi : 0);

            d->ctrl[2 * leg]     = (leg < 2 ? -0.93 : 0.93) * sin(phase);
            d->ctrl[2 * leg + 1] = 0.86 * sin(phase + 4.22);
        }
        mj_step(m, d);
        *lowest = fmin(*lowest, d->xmat[9 + 8]);
    }
    double x = d->qpos[0];
    mj_deleteData(d);
    mj_deleteModel(m);
    return x;
}

TEST(a_trot_takes_the_ant_along_on_carpet_and_less_far_on_styrofoam)
{
    double up[2], carpet = trot("robots/ant/model.xml", &up[0]),
                  styrofoam = trot("robots/ant/model-styrofoam.xml", &up[1]);

    printf("     %.2f m on carpet, %.2f m on styrofoam in 6 s\n", carpet, styrofoam);
    EXPECT(carpet > 2 && styrofoam < 0.75 * carpet);
    EXPECT(up[0] > 0.9 && up[1] > 0.9);
}

/* ---- balance --------------------------------------------------------------------------------------------------- */

TEST(the_balancing_cart_accelerates_as_gym_s_equations_say)
{
    const double g = 9.8, mp = 0.1, total = 1.1, l = 0.5;
    mjModel     *m = load("robots/balance/model.xml");
    mjData      *d = mj_makeData(m);
    struct rng   r;

    EXPECT(m->opt.timestep == 0.02);
    rng_seed(&r, 5);
    for (int k = 0; k < 100; k++) {
        double q = d->qpos[1] = rng_normal(&r), w = d->qvel[1] = 3 * rng_normal(&r);
        double force = 20 * rng_uniform(&r) - 10;

        d->qpos[0] = rng_normal(&r), d->qvel[0] = rng_normal(&r);
        d->ctrl[0] = force / 10;
        mj_forward(m, d);
        double push  = (force + mp * l * w * w * sin(q)) / total;
        double alpha = (g * sin(q) - cos(q) * push) / (l * (4.0 / 3 - mp * cos(q) * cos(q) / total));

        EXPECT_NEAR(d->qacc[1], alpha, 1e-9 * (1 + fabs(alpha)));
        EXPECT_NEAR(d->qacc[0], push - mp * l * alpha * cos(q) / total, 1e-9 * (1 + fabs(push)));
    }
    mj_deleteData(d);
    mj_deleteModel(m);
}

TEST(the_balancing_cart_starts_uniformly_within_a_twentieth)
{
    struct sim *s = sim_open(&(struct sim_options){ .model = "robots/balance/model.xml" }, why, sizeof why);
    double      x[4], sum[4] = { 0 }, square[4] = { 0 }, most[4] = { 0 };
    enum { N = 4000 };

    EXPECT(s != NULL);
    for (uint32_t trial = 0; trial < N; trial++) {
        sim_reset(s, 1, trial);
        sim_measure(s, x, x + 2);
        for (int k = 0; k < 4; k++)
            sum[k] += x[k], square[k] += x[k] * x[k], most[k] = fmax(most[k], fabs(x[k]));
    }
    for (int k = 0; k < 4; k++) {
        EXPECT_NEAR(sum[k] / N, 0, 5 * 0.05 / sqrt(3.0 * N));
        EXPECT_NEAR(square[k] / N, 0.05 * 0.05 / 3, 6e-5);
        EXPECT(most[k] <= 0.05 && most[k] > 0.0499);
    }
    sim_close(s);
}

/* ---- measuring ------------------------------------------------------------------------------------------------- */

static struct sim *open_ant(const char *extra)
{
    struct sim *s =
        sim_open(&(struct sim_options){ .model = "robots/ant/model.xml", .extra = extra, .seed = 7 }, why, sizeof why);

    EXPECT(s != NULL);
    return s;
}

TEST(measuring_sensors_leaves_the_motion_as_it_is_to_the_bit)
{
    struct sim *blind = open_ant(NULL), *seeing = open_ant("base_vel_x,base_gyro_z");
    double      tau[8], a[15], b[15], extra[2];
    struct rng  r;

    rng_seed(&r, 6);
    for (int k = 0; k < 1000; k++) {
        for (int j = 0; j < 8 && k % 5 == 0; j++)
            tau[j] = 50 * rng_uniform(&r) - 25;
        EXPECT(sim_step(blind, tau) && sim_step(seeing, tau));
        EXPECT(sim_measure_extra(seeing, extra) == 2);
        sim_pose(blind, a);
        sim_pose(seeing, b);
        if (memcmp(a, b, sizeof a) != 0) {
            printf("step %d\n", k);
            EXPECT(!"the same pose");
            break;
        }
    }
    sim_close(blind);
    sim_close(seeing);
}

/* Along with position and velocity as they are now, not as they were one sub-step ago. */
TEST(sensors_belong_to_the_instant_of_the_positions)
{
    static const char extra[] = "base_pos_x,base_pos_y,base_pos_z,base_quat_w,base_quat_x,base_quat_y,base_quat_z,"
                                "base_vel_x,base_vel_y,base_vel_z,base_gyro_x,base_gyro_y,base_gyro_z";
    struct sim       *s       = open_ant(extra);
    const mjModel    *m       = sim_model(s);
    double            tau[8], pose[2][15], x[13], change[6];
    struct rng        r;

    rng_seed(&r, 8);
    EXPECT(sim_nq(s) == 15);
    for (int k = 0; k < 300; k++) {
        sim_pose(s, pose[0]);
        for (int j = 0; j < 8; j++)
            tau[j] = 50 * rng_uniform(&r) - 25;
        EXPECT(sim_step(s, tau));
        sim_pose(s, pose[1]);
        sim_measure_extra(s, x);
        for (int i = 0; i < 7; i++)
            EXPECT_NEAR(x[i], pose[1][i], 1e-12);
        /* An Euler step moves by the new velocity: world frame for the base's position, body frame for its turning. */
        double seen[3], world[3], conjugate[4], q[4];
        for (int i = 0; i < 3; i++)
            change[i] = (pose[1][i] - pose[0][i]) / m->opt.timestep;
        mju_rotVecQuat(world, x + 7, pose[1] + 3);
        mju_negQuat(conjugate, pose[0] + 3);
        mju_mulQuat(q, conjugate, pose[1] + 3);
        mju_quat2Vel(seen, q, m->opt.timestep);
        for (int i = 0; i < 3; i++) {
            EXPECT_NEAR(world[i], change[i], 1e-9);
            EXPECT_NEAR(x[10 + i], seen[i], 1e-9);
        }
    }
    sim_close(s);
}
