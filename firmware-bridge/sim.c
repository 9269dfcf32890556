/* sim.c - see sim.h.
 *
 * MuJoCo calls mju_user_error for errors and must not be returned to, and exits without a handler.  Ours jumps back to
 * the call that was being made; outside such a call an error is a bug. */
#include "firmware-bridge/sim.h"

#include <errno.h>
#include <math.h>
#include <mujoco/mujoco.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rt/check.h"
#include "daemon/rt/explain.h"
#include "daemon/rt/rng.h"

struct noise {
    double *std, *half_width; /* nv: of its normal and its uniform part */
};

struct sim {
    mjModel     *model;
    mjData      *data;
    int          nj;
    int          joint[MAX_JOINTS];    /* MuJoCo's joint          */
    int          actuator[MAX_JOINTS]; /* its motor, -1: none     */
    double       gear[MAX_JOINTS];     /* effort = gear * ctrl    */
    double       effort_max[MAX_JOINTS];
    double       effort_rate[MAX_JOINTS];
    double       velocity_max[MAX_JOINTS];
    double       damp_kd[MAX_JOINTS];
    bool         damps;                       /* limber_damp_kd is there */
    struct noise noise_q, noise_dq;           /* at a reset              */
    double      *kept_qpos, *kept_warm_start; /* nq, nv: for refresh_sensors */
    int          nextra;
    int          extra[MAX_EXTRA]; /* index into sensordata   */
    char         extra_name[MAX_EXTRA][NAME_SIZE];
    double       mass; /* of every body, times the model's */
    uint64_t     seed, request_seed;
    uint32_t     trial;
    char         trouble[240];
};

/* ---- errors ---------------------------------------------------------------------------------------------------- */

struct guard {
    jmp_buf back;
    char    text[200];
};
static _Thread_local struct guard *guard; /* of the call being made; MuJoCo's handlers take no argument */

static void on_error(const char *text)
{
    NEED(guard);
    snprintf(guard->text, sizeof guard->text, "%s", text);
    longjmp(guard->back, 1);
}

/* Warnings are counted in mjData, where sim_step looks; without a handler MuJoCo would write a file for each. */
static void on_warning(const char *text)
{
    (void)text;
}

/* ---- reading the model ----------------------------------------------------------------------------------------- */

static const char *joint_name(const mjModel *m, int j)
{
    return m->names + m->name_jntadr[j];
}

static bool is_scalar(const mjModel *m, int j)
{
    return m->jnt_type[j] == mjJNT_HINGE || m->jnt_type[j] == mjJNT_SLIDE;
}

static bool add_joint(struct sim *s, const char *file, int j, char *why, size_t size)
{
    const mjModel *m = s->model;

    if (!is_scalar(m, j))
        return explain(why, size, "%s: joint \"%s\" is a ball or free joint, expected a hinge or a slide", file,
                       joint_name(m, j));
    if (s->nj == MAX_JOINTS)
        return explain(why, size, "%s: more than %d joints; choose some with --joints a,b", file, MAX_JOINTS);
    if (!joint_name(m, j)[0] || strlen(joint_name(m, j)) >= NAME_SIZE)
        return explain(why, size, "%s: joint %d has the name \"%s\", expected 1 to %d characters", file, j,
                       joint_name(m, j), NAME_SIZE - 1);
    for (int i = 0; i < s->nj; i++)
        if (s->joint[i] == j)
            return explain(why, size, "--joints: \"%s\" twice", joint_name(m, j));
    s->actuator[s->nj] = -1;
    s->joint[s->nj++]  = j;
    return true;
}

/* Takes the first name of "a,b" at *at. */
static bool take_name(const char *flag, const char **at, char name[NAME_SIZE], char *why, size_t size)
{
    size_t n = strcspn(*at, ",");

    if (n == 0 || n >= NAME_SIZE)
        return explain(why, size, "--%s: a name of %zu characters at \"%s\", expected names separated by commas", flag,
                       n, *at);
    memcpy(name, *at, n);
    name[n] = 0;
    *at += n + ((*at)[n] == ',');
    return true;
}

static bool choose_joints(struct sim *s, const struct sim_options *o, char *why, size_t size)
{
    const char *at = o->joints;
    char        name[NAME_SIZE];

    while (*at) {
        if (!take_name("joints", &at, name, why, size))
            return false;
        int j = mj_name2id(s->model, mjOBJ_JOINT, name);
        if (j < 0)
            return explain(why, size, "--joints: no joint \"%s\" in %s", name, o->model);
        if (!add_joint(s, o->model, j, why, size))
            return false;
    }
    return true;
}

/* Index into sensordata of "NAME", or of "NAME_x" where the sensor has several numbers; -1: none. */
static int find_measurement(const mjModel *m, const char *name)
{
    size_t length = strlen(name);

    for (int i = 0; i < m->nsensor; i++) {
        const char *sensor = m->names + m->name_sensoradr[i], *part = NULL;
        size_t      n = strlen(sensor);

        if (n == 0 || strncmp(sensor, name, n) != 0)
            continue;
        if (m->sensor_dim[i] == 1 && length == n)
            return m->sensor_adr[i];
        if (m->sensor_dim[i] == 3 || m->sensor_dim[i] == 4)
            part = m->sensor_dim[i] == 3 ? "xyz" : "wxyz";
        if (part && length == n + 2 && name[n] == '_' && strchr(part, name[n + 1]))
            return m->sensor_adr[i] + (int)(strchr(part, name[n + 1]) - part);
    }
    return -1;
}

static bool choose_extra(struct sim *s, const struct sim_options *o, char *why, size_t size)
{
    const char *at = o->extra;

    while (*at) {
        char *name = s->extra_name[s->nextra];

        if (s->nextra == MAX_EXTRA)
            return explain(why, size, "--extra: more than %d names", MAX_EXTRA);
        if (!take_name("extra", &at, name, why, size))
            return false;
        s->extra[s->nextra] = find_measurement(s->model, name);
        if (s->extra[s->nextra++] < 0)
            return explain(why, size,
                           "--extra: no sensor \"%s\" in %s; one of three or four numbers gives NAME_x, NAME_y, ...",
                           name, o->model);
    }
    return true;
}

static bool add_motor(struct sim *s, const char *file, int a, char *why, size_t size)
{
    const mjModel *m    = s->model;
    const char    *name = m->names + m->name_actuatoradr[a];
    int            i    = 0;

    while (i < s->nj && s->joint[i] != m->actuator_trnid[2 * a])
        i++;
    if (i == s->nj && m->actuator_trntype[a] == mjTRN_JOINT)
        return true; /* of a joint that was left out */
    if (m->actuator_trntype[a] != mjTRN_JOINT || m->actuator_dyntype[a] != mjDYN_NONE ||
        m->actuator_gaintype[a] != mjGAIN_FIXED || m->actuator_biastype[a] != mjBIAS_NONE)
        return explain(why, size, "%s: actuator \"%s\" is not a plain motor on a joint, expected <motor joint=.../>",
                       file, name);
    if (s->actuator[i] >= 0)
        return explain(why, size, "%s: joint \"%s\" has two motors, expected one", file, joint_name(m, s->joint[i]));
    double gear = m->actuator_gear[6 * a] * m->actuator_gainprm[mjNGAIN * a];
    double low = m->actuator_ctrlrange[2 * a], high = m->actuator_ctrlrange[2 * a + 1];
    if (!m->actuator_ctrllimited[a] || !(low < 0 && high > 0) || !(gear != 0))
        return explain(why, size,
                       "%s: motor \"%s\" needs a gear other than 0 and a ctrlrange around 0: it is the effort limit",
                       file, name);
    s->actuator[i]   = a;
    s->gear[i]       = gear;
    s->effort_max[i] = fabs(gear) * (high < -low ? high : -low);
    return true;
}

/* A number of <custom>: one value for all n, or n of them; *there says whether it is there at all. */
static bool read_numeric(const struct sim *s, const char *file, const char *name, int n, double *out, bool *there,
                         char *why, size_t size)
{
    const mjModel *m  = s->model;
    int            id = mj_name2id(m, mjOBJ_NUMERIC, name);

    *there = id >= 0;
    if (!*there)
        return true;
    if (m->numeric_size[id] != 1 && m->numeric_size[id] != n)
        return explain(why, size, "%s: %s has %d values, expected 1 or %d", file, name, m->numeric_size[id], n);
    for (int i = 0; i < n; i++) {
        out[i] = m->numeric_data[m->numeric_adr[id] + (m->numeric_size[id] == 1 ? 0 : i)];
        if (!(out[i] >= 0 && isfinite(out[i])))
            return explain(why, size, "%s: %s holds %g, expected 0 or more", file, name, out[i]);
    }
    return true;
}

/* "x,y": a number above 0, or inf, for each joint; NULL: inf for all. */
static bool read_limits(const struct sim *s, const char *flag, const char *text, double *out, char *why, size_t size)
{
    for (int i = 0; i < MAX_JOINTS; i++)
        out[i] = HUGE_VAL;
    for (int i = 0; text && i < s->nj; i++) {
        char *end;

        out[i] = strtod(text, &end);
        if (end == text || !(out[i] > 0) || *end != (i + 1 < s->nj ? ',' : 0))
            return explain(why, size, "--%s: \"%s\" for joint \"%s\", expected %d numbers above 0, or inf, separated by commas",
                           flag, text, joint_name(s->model, s->joint[i]), s->nj);
        text = end + 1;
    }
    return true;
}

/* Numbers of positions, and of velocities unless they have their own. */
static bool read_noise(const struct sim *s, const char *file, const char *name, const char *velocity_name, double **q,
                       double **dq, char *why, size_t size)
{
    size_t nv = (size_t)s->model->nv;
    bool   there;

    *q  = calloc(nv + 1, sizeof **q);
    *dq = calloc(nv + 1, sizeof **dq);
    NEED(*q && *dq);
    if (!read_numeric(s, file, name, (int)nv, *q, &there, why, size))
        return false;
    memcpy(*dq, *q, sizeof **q * nv);
    return read_numeric(s, file, velocity_name, (int)nv, *dq, &there, why, size);
}

static bool read_numbers(struct sim *s, const char *file, char *why, size_t size)
{
    return read_noise(s, file, "limber_reset_std", "limber_reset_velocity_std", &s->noise_q.std, &s->noise_dq.std, why,
                      size) &&
           read_noise(s, file, "limber_reset_uniform", "limber_reset_velocity_uniform", &s->noise_q.half_width,
                      &s->noise_dq.half_width, why, size) &&
           read_numeric(s, file, "limber_damp_kd", s->nj, s->damp_kd, &s->damps, why, size);
}

static bool read_model(struct sim *s, const struct sim_options *o, char *why, size_t size)
{
    const char *file      = o->model;
    char        text[300] = "";

    if (access(file, R_OK) != 0)
        return explain(why, size, "%s: cannot be read: %s", file, strerror(errno));
    s->model = mj_loadXML(file, NULL, text, sizeof text);
    if (!s->model) {
        for (char *at = text; *at; at++)
            *at = *at == '\n' ? ' ' : *at;
        return explain(why, size, "%s: not a model MuJoCo can load: %s", file, text);
    }
    if (o->timestep != 0)
        s->model->opt.timestep = o->timestep;
    if (!(s->model->opt.timestep > 0 && s->model->opt.timestep <= 1))
        return explain(why, size, "%s: timestep %g s, expected more than 0 and at most 1", file,
                       s->model->opt.timestep);
    for (int j = 0; j < s->model->njnt && !o->joints; j++)
        if (is_scalar(s->model, j) && !add_joint(s, file, j, why, size))
            return false;
    if (o->joints && !choose_joints(s, o, why, size))
        return false;
    if (s->nj == 0)
        return explain(why, size, "%s: no hinge or slide joint, expected at least one", file);
    for (int a = 0; a < s->model->nu; a++)
        if (!add_motor(s, file, a, why, size))
            return false;
    if (o->extra && !choose_extra(s, o, why, size))
        return false;
    if (!read_numbers(s, file, why, size))
        return false;
    if (!read_limits(s, "effort-rate", o->effort_rate, s->effort_rate, why, size) ||
        !read_limits(s, "velocity", o->velocity, s->velocity_max, why, size))
        return false;
    s->kept_qpos       = calloc((size_t)s->model->nq + 1, sizeof *s->kept_qpos);
    s->kept_warm_start = calloc((size_t)s->model->nv + 1, sizeof *s->kept_warm_start);
    NEED(s->kept_qpos && s->kept_warm_start);
    s->data = mj_makeData(s->model);
    return s->data || explain(why, size, "%s: not enough memory to simulate it", file);
}

static bool read_guarded(struct sim *s, const struct sim_options *o, char *why, size_t size)
{
    struct guard g;

    guard = &g;
    if (setjmp(g.back) != 0) {
        guard = NULL;
        return explain(why, size, "%s: MuJoCo gives up: %s", o->model, g.text);
    }
    bool ok = read_model(s, o, why, size);
    guard   = NULL;
    return ok;
}

struct sim *sim_open(const struct sim_options *o, char *why, size_t why_size)
{
    struct sim *s = calloc(1, sizeof *s);

    NEED(s);
    mju_user_error   = on_error;
    mju_user_warning = on_warning;
    s->seed          = o->seed;
    s->mass          = 1;
    if (!read_guarded(s, o, why, why_size)) {
        sim_close(s);
        return NULL;
    }
    sim_reset(s, 0, 0);
    return s;
}

void sim_close(struct sim *s)
{
    if (s->data)
        mj_deleteData(s->data);
    if (s->model)
        mj_deleteModel(s->model);
    free(s->noise_q.std);
    free(s->noise_q.half_width);
    free(s->noise_dq.std);
    free(s->noise_dq.half_width);
    free(s->kept_qpos);
    free(s->kept_warm_start);
    free(s);
}

/* ---- what it is ------------------------------------------------------------------------------------------------ */

void sim_describe(const struct sim *s, struct hello *h)
{
    const mjModel *m = s->model;

    h->nj             = s->nj;
    h->timeout_action = s->damps ? TIMEOUT_DAMP : TIMEOUT_OFF;
    h->simulated      = true;
    h->nextra         = s->nextra;
    memcpy(h->extra, s->extra_name, sizeof h->extra);
    for (int i = 0; i < s->nj; i++) {
        int                j       = s->joint[i];
        bool               limited = m->jnt_limited[j];
        struct joint_info *out     = &h->joint[i];

        snprintf(out->name, sizeof out->name, "%s", joint_name(m, j));
        out->type     = m->jnt_type[j] == mjJNT_SLIDE ? JOINT_PRISMATIC : limited ? JOINT_REVOLUTE : JOINT_CONTINUOUS;
        out->actuated = s->actuator[i] >= 0;
        out->position_min = limited ? m->jnt_range[2 * j] : -HUGE_VAL;
        out->position_max = limited ? m->jnt_range[2 * j + 1] : HUGE_VAL;
        out->velocity_max    = s->velocity_max[i];
        out->effort_max      = s->effort_max[i];
        out->effort_rate_max = isinf(s->effort_rate[i]) ? 0 : s->effort_rate[i];
    }
}

void sim_limits(const struct sim *s, double command_timeout_ms, struct receiver_limits *l)
{
    memset(l, 0, sizeof *l);
    l->nj                 = s->nj;
    l->command_timeout_ms = command_timeout_ms;
    for (int i = 0; i < s->nj; i++) {
        l->actuated[i]     = s->actuator[i] >= 0;
        l->effort_max[i]   = s->effort_max[i];
        l->effort_rate[i]  = s->effort_rate[i];
        l->velocity_max[i] = s->velocity_max[i];
        l->damp_kd[i]      = s->damp_kd[i];
    }
}

double sim_timestep(const struct sim *s)
{
    return s->model->opt.timestep;
}

int sim_substeps(const struct sim *s, double control_hz, char *why, size_t why_size)
{
    double n = 1 / control_hz / s->model->opt.timestep;

    if (!(control_hz > 0 && n >= 1 - 1e-6 && n < 1e5 && fabs(n - round(n)) < 1e-6 * n)) {
        explain(why, why_size,
                "control_hz %g gives a period of %g s, expected a whole number of time steps of %g s; "
                "change control_hz or give --timestep",
                control_hz, 1 / control_hz, s->model->opt.timestep);
        return 0;
    }
    return (int)round(n);
}

/* ---- motion ---------------------------------------------------------------------------------------------------- */

/* Numbers that nobody asks for are not drawn, so that a model's start poses stay what they are. */
static double draw(const struct noise *noise, int i, struct rng *rng)
{
    double x = noise->std[i] * rng_normal(rng);

    return noise->half_width[i] > 0 ? x + noise->half_width[i] * (2 * rng_uniform(rng) - 1) : x;
}

static void reset(struct sim *s)
{
    const mjModel *m = s->model;
    struct rng     rng;

    mj_resetData(m, s->data);
    rng_seed(&rng, rng_derive(s->seed, s->request_seed, s->trial));
    for (int i = 0; i < m->nv; i++) /* noise on positions, in the space of velocities: quaternions stay unit */
        s->data->qvel[i] = draw(&s->noise_q, i, &rng);
    mj_integratePos(m, s->data->qpos, s->data->qvel, 1);
    for (int i = 0; i < m->nv; i++)
        s->data->qvel[i] = draw(&s->noise_dq, i, &rng);
    mj_forward(m, s->data);
}

void sim_reset(struct sim *s, uint64_t request_seed, uint32_t trial)
{
    struct guard g;

    s->request_seed = request_seed;
    s->trial        = trial;
    guard           = &g;
    if (setjmp(g.back) == 0)
        reset(s);
    else
        explain(s->trouble, sizeof s->trouble, "the start pose: %s", g.text);
    guard = NULL;
}

/* What follows from masses (mj_setConst) is worked out in the model's own pose: time, pose and motion are put back. */
static void scale_mass(struct sim *s, double by)
{
    mjModel *m = s->model;
    mjData  *d = s->data;
    size_t   nq = (size_t)m->nq, nv = (size_t)m->nv, na = (size_t)m->na;
    double  *kept = calloc(nq + nv + na, sizeof *kept), time = d->time;

    NEED(kept);
    memcpy(kept, d->qpos, nq * sizeof *kept);
    memcpy(kept + nq, d->qvel, nv * sizeof *kept);
    memcpy(kept + nq + nv, d->act, na * sizeof *kept);
    for (int i = 0; i < m->nbody; i++)
        m->body_mass[i] *= by;
    for (int i = 0; i < 3 * m->nbody; i++)
        m->body_inertia[i] *= by;
    mj_setConst(m, d);
    d->time = time;
    memcpy(d->qpos, kept, nq * sizeof *kept);
    memcpy(d->qvel, kept + nq, nv * sizeof *kept);
    memcpy(d->act, kept + nq + nv, na * sizeof *kept);
    mj_forward(m, d);
    free(kept);
}

void sim_mass(struct sim *s, double factor)
{
    struct guard g;

    CHECK(isfinite(factor) && factor > 0);
    if (!(factor < s->mass || factor > s->mass))
        return;
    guard = &g;
    if (setjmp(g.back) == 0)
        scale_mass(s, factor / s->mass);
    else
        explain(s->trouble, sizeof s->trouble, "another mass: %s", g.text);
    guard   = NULL;
    s->mass = factor;
}

void sim_measure(const struct sim *s, double *q, double *dq)
{
    for (int i = 0; i < s->nj; i++) {
        q[i]  = s->data->qpos[s->model->jnt_qposadr[s->joint[i]]];
        dq[i] = s->data->qvel[s->model->jnt_dofadr[s->joint[i]]];
    }
}

int sim_measure_extra(const struct sim *s, double *extra)
{
    for (int i = 0; i < s->nextra; i++)
        extra[i] = s->data->sensordata[s->extra[i]];
    return s->nextra;
}

/* MuJoCo resets the state by itself on bad numbers and only counts it. */
static bool healthy(struct sim *s)
{
    static const struct {
        int         warning;
        const char *what;
    } bad[] = { { mjWARN_BADQPOS, "position" },
                { mjWARN_BADQVEL, "velocity" },
                { mjWARN_BADQACC, "acceleration" },
                { mjWARN_BADCTRL, "control" } };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (s->data->warning[bad[i].warning].number != 0)
            return explain(s->trouble, sizeof s->trouble, "the simulation diverged: bad %s %d", bad[i].what,
                           s->data->warning[bad[i].warning].lastinfo);
    for (int i = 0; i < s->model->nv; i++) /* the step's own result is checked only by the next one */
        if (!isfinite(s->data->qvel[i]))
            return explain(s->trouble, sizeof s->trouble, "the simulation diverged: bad velocity %d", i);
    return true;
}

/* A step leaves the sensors as they were before it.  What this changes and the next step takes over are the solver's
 * first guess and the quaternions, which it normalises; with both put back the motion is the same to the bit as if nobody
 * had looked. */
static void refresh_sensors(struct sim *s)
{
    mjData *d  = s->data;
    size_t  nq = sizeof(double) * (size_t)s->model->nq, nv = sizeof(double) * (size_t)s->model->nv;

    memcpy(s->kept_qpos, d->qpos, nq);
    memcpy(s->kept_warm_start, d->qacc_warmstart, nv);
    mj_forward(s->model, d);
    memcpy(d->qpos, s->kept_qpos, nq);
    memcpy(d->qacc_warmstart, s->kept_warm_start, nv);
}

bool sim_step(struct sim *s, const double *tau)
{
    struct guard  g;
    volatile bool ok = false;

    for (int i = 0; i < s->nj; i++)
        if (s->actuator[i] >= 0)
            s->data->ctrl[s->actuator[i]] = tau[i] / s->gear[i];
    guard = &g;
    if (setjmp(g.back) == 0) {
        mj_step(s->model, s->data);
        bool good = healthy(s);
        if (good && s->nextra > 0)
            refresh_sensors(s);
        ok = good;
    } else {
        explain(s->trouble, sizeof s->trouble, "the simulation failed: %s", g.text);
    }
    guard = NULL;
    if (!ok)
        sim_reset(s, s->request_seed, s->trial);
    return ok;
}

const char *sim_trouble(const struct sim *s)
{
    return s->trouble;
}

int sim_nq(const struct sim *s)
{
    return s->model->nq;
}

void sim_pose(const struct sim *s, double *pose)
{
    memcpy(pose, s->data->qpos, sizeof(double) * (size_t)s->model->nq);
}

const struct mjModel_ *sim_model(const struct sim *s)
{
    return s->model;
}
