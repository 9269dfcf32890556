/* config_body.c - what the robot is: joints, measurements, actions, and how it is excited and held. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_parts.h"

int config_joint(const struct robot_config *c, const char *name)
{
    for (int j = 0; j < c->nj; j++)
        if (strcmp(c->joint[j].name, name) == 0)
            return j;
    return -1;
}

int config_observation(const struct robot_config *c, const char *name)
{
    for (int i = 0; i < c->nx; i++)
        if (strcmp(c->observation[i].name, name) == 0)
            return i;
    return -1;
}

void config_joint_names(const struct robot_config *c, char *out, size_t size)
{
    size_t used = 0;

    for (int j = 0; j < c->nj && used < size; j++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", j ? ", " : "", c->joint[j].name);
}

void config_observation_names(const struct robot_config *c, char *out, size_t size)
{
    size_t used = 0;

    for (int i = 0; i < c->nx && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", c->observation[i].name);
}

static int find_joint(struct document *d, const struct robot_config *c, const char *key, const char *name)
{
    char names[400];
    int  j = config_joint(c, name);

    if (j >= 0)
        return j;
    config_joint_names(c, names, sizeof names);
    return document_fail(d, key, "expected one of the joints: %s", names);
}

static int joint_position(struct document *d, const struct yaml_joint *y, int j, struct joint_config *out)
{
    const char *key = document_key(d, "joints[%d].position", j);

    if (out->type == JOINT_CONTINUOUS) {
        out->position_min = -(double)INFINITY;
        out->position_max = (double)INFINITY;
        if (y->position)
            return document_fail(d, key,
                                 "expected no position limits on a continuous joint; one with limits is revolute");
        return 0;
    }
    if (!y->position)
        return document_fail(d, key, "expected [low, high] in %s; only a continuous joint has no limits",
                             out->type == JOINT_PRISMATIC ? "m" : "rad");
    out->position_min = y->position[0];
    out->position_max = y->position[1];
    if (!(out->position_min < out->position_max))
        return document_fail(d, key, "expected [low, high] with low < high");
    return 0;
}

static int joint_effort(struct document *d, const struct yaml_joint *y, int j, struct joint_config *out)
{
    const struct {
        const char   *key;
        const double *value;
    } part[] = { { "effort", y->effort },
                 { "effort_rate", y->effort_rate },
                 { "effort_rate_down", y->effort_rate_down },
                 { "effort_growth", y->effort_growth },
                 { "power", y->power },
                 { "effort_error", y->effort_error },
                 { "brake", y->brake },
                 { "effort_continuous", y->effort_continuous },
                 { "heat_s", y->heat_s },
                 { "baseline_position", y->baseline_position },
                 { "baseline_kp", y->baseline_kp },
                 { "baseline_kd", y->baseline_kd } };

    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        if (!out->actuated && part[i].value)
            return document_fail(d, document_key(d, "joints[%d].%s", j, part[i].key),
                                 "expected only on actuated joints");
        if (out->actuated && i < 2 && !part[i].value)
            return document_fail(d, document_key(d, "joints[%d].%s", j, part[i].key),
                                 "expected the most that joint %s may get; it has no default", out->name);
    }
    out->effort           = or_float(y->effort, 0);
    out->effort_rate      = or_float(y->effort_rate, 0);
    out->effort_rate_down = or_float(y->effort_rate_down, out->effort_rate);
    out->effort_growth    = or_float(y->effort_growth, 0);
    out->power            = or_float(y->power, 0);
    out->effort_error     = or_float(y->effort_error, 0);
    out->brake            = or_float(y->brake, 0);
    out->baseline_kp      = or_float(y->baseline_kp, 0);
    out->baseline_kd      = or_float(y->baseline_kd, 0);
    out->baseline_position = or_float(y->baseline_position, 0);
    out->timeout_action    = y->timeout_action ? (enum timeout_action) * y->timeout_action : (enum timeout_action)0;
    if (!out->actuated && y->timeout_action)
        return document_fail(d, document_key(d, "joints[%d].timeout_action", j), "expected only on actuated joints");
    if (!out->actuated && y->gravity_count)
        return document_fail(d, document_key(d, "joints[%d].gravity", j), "expected only on actuated joints");
    if (out->effort_rate_down < out->effort_rate)
        return document_fail(d, document_key(d, "joints[%d].effort_rate_down", j),
                             "expected at least effort_rate (%g): effort must not go slower than it comes",
                             out->effort_rate);
    if (out->effort_error > 0 && !(out->effort_error < out->effort))
        return document_fail(d, document_key(d, "joints[%d].effort_error", j),
                             "expected less than effort (%g): a motor that gives nothing at all would pass", out->effort);
    if (out->brake > 0 && out->type == JOINT_CONTINUOUS)
        return document_fail(d, document_key(d, "joints[%d].brake", j),
                             "expected only on joints with position limits; this one has nothing to brake before");
    return 0;
}

/* The limit must not fall faster than effort may, nor all the way within a tick: then the heat never exceeds 1 (filter.h, the
 * bound; 1 - keep < tick_s / heat_s). */
static int joint_heat(struct document *d, const struct yaml_joint *y, int j, double tick_s, struct joint_config *out)
{
    out->effort_continuous = or_float(y->effort_continuous, 0);
    out->heat_s            = or_float(y->heat_s, 0);
    if (!y->effort_continuous != !y->heat_s)
        return document_fail(d, document_key(d, "joints[%d].%s", j, y->heat_s ? "effort_continuous" : "heat_s"),
                             "expected this key as well: the motor's heat needs both effort_continuous and heat_s");
    if (!y->heat_s)
        return 0;
    if (out->effort_continuous > out->effort)
        return document_fail(d, document_key(d, "joints[%d].effort_continuous", j), "expected at most effort (%g)",
                             out->effort);
    double peak = out->effort / out->effort_continuous, fall_s = (out->effort - out->effort_continuous) / out->effort_rate_down;
    double least = 5 * (peak * peak - 0.8) * (fall_s > tick_s ? fall_s : tick_s);

    if (out->effort > out->effort_continuous && out->heat_s < least)
        return document_fail(d, document_key(d, "joints[%d].heat_s", j),
                             "expected at least %.4g: at effort (%g) joint %s would get too hot before effort_rate_down, or a "
                             "control period, has brought it to effort_continuous (%g)",
                             1.001 * least, out->effort, out->name, out->effort_continuous); /* as printed it is enough */
    return 0;
}

static int joints(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    for (unsigned i = 0; i < y->joints_count; i++) {
        const struct yaml_joint *from = &y->joints[i];
        struct joint_config     *to   = &c->joint[i];
        const char              *key  = document_key(d, "joints[%u].name", i);

        if (schema_name(d, document_at(d, key)) < 0)
            return -1;
        int twin = config_joint(c, from->name);
        if (twin >= 0)
            return document_fail(d, key, "expected a name of its own; joints[%d] has this one", twin);
        snprintf(to->name, sizeof to->name, "%s", from->name);
        to->type     = (enum joint_type) * from->type;
        to->actuated = *from->actuated;
        to->velocity = *from->velocity;
        if (joint_position(d, from, (int)i, to) < 0 || joint_effort(d, from, (int)i, to) < 0 ||
            joint_heat(d, from, (int)i, 1 / c->control_hz, to) < 0)
            return -1;
        to->resolution = or_float(from->resolution,
                                  (to->type == JOINT_PRISMATIC ? to->position_max - to->position_min : 2 * M_PI) / 4096);
        c->nj++;
    }
    return 0;
}

static int extras(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    for (unsigned i = 0; i < y->extra_count; i++) {
        const char *key = document_key(d, "extra[%u]", i);
        if (schema_name(d, document_at(d, key)) < 0)
            return -1;
        for (int k = 0; k < c->nextra; k++)
            if (strcmp(c->extra[k], y->extra[i]) == 0)
                return document_fail(d, key, "expected a name of its own; extra[%d] has this one", k);
        snprintf(c->extra[c->nextra++], NAME_SIZE, "%s", y->extra[i]);
    }
    return 0;
}

static int actions(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    for (unsigned i = 0; i < y->action_count; i++) {
        const struct yaml_action *from = &y->action[i];
        struct action_config     *to   = &c->action[i];
        const char               *key  = document_key(d, "action[%u].joint", i);

        *to = (struct action_config){ .low = *from->low, .high = *from->high, .scale = *from->scale };
        if ((to->joint = find_joint(d, c, key, from->joint)) < 0)
            return -1;
        const struct joint_config *joint = &c->joint[to->joint];
        if (!joint->actuated)
            return document_fail(d, key, "expected an actuated joint; joints[%d] says actuated: false", to->joint);
        for (unsigned k = 0; k < i; k++)
            if (c->action[k].joint == to->joint)
                return document_fail(d, key, "expected each joint once; action[%u] moves it already", k);
        if (!(to->low < to->high))
            return document_fail(d, document_key(d, "action[%u].low", i), "expected low < high (%g)", to->high);
        if (to->scale == 0)
            return document_fail(d, document_key(d, "action[%u].scale", i), "expected a scale other than 0");
        double most = fmax(fabs(to->scale * to->low), fabs(to->scale * to->high));
        if (!(most <= joint->effort * (1 + 1e-12)))
            return document_fail(d, document_key(d, "action[%u].scale", i),
                                 "expected |scale x low| and |scale x high| within the joint's effort %g; got %g",
                                 joint->effort, most);
        c->na++;
    }
    for (int j = 0; j < c->nj; j++) {
        int found = !c->joint[j].actuated;
        for (int i = 0; i < c->na; i++)
            found |= c->action[i].joint == j;
        if (!found)
            return document_fail(d, "action",
                                 "expected an entry for the actuated joint %s (one that is never moved is "
                                 "actuated: false)",
                                 c->joint[j].name);
    }
    return 0;
}

static int extra_index(const struct robot_config *c, const char *name)
{
    for (int k = 0; k < c->nextra; k++)
        if (strcmp(c->extra[k], name) == 0)
            return k;
    return -1;
}

static int observation_extra(struct document *d, const struct yaml_observation *from, unsigned i,
                             const struct robot_config *c, struct observation_config *to)
{
    const char *key = document_key(d, "observation[%u].extra", i);

    if (from->joint || from->quaternion)
        return document_fail(d, key, "expected extra alone, or joint and measure, or quaternion and measure");
    if (from->measure && *from->measure != MEASURE_AVERAGE_VELOCITY)
        return document_fail(d, document_key(d, "observation[%u].measure", i),
                             "expected average_velocity, or no measure, with an extra");
    to->measure = from->measure ? MEASURE_EXTRA_VELOCITY : MEASURE_EXTRA;
    to->joint   = extra_index(c, from->extra);
    if (to->joint < 0)
        return document_fail(d, key, "expected one of the names under extra");
    if (to->input == INPUT_ANGLE)
        return document_fail(d, document_key(d, "observation[%u].input", i),
                             "expected identity | none; an extra measurement is not known to be an angle");
    snprintf(to->name, sizeof to->name, "%.*s%s", NAME_SIZE, from->extra, from->measure ? ".average_velocity" : "");
    return 0;
}

/* The four extras NAME_w, NAME_x, NAME_y, NAME_z, one after the other. */
static int observation_quaternion(struct document *d, const struct yaml_observation *from, unsigned i,
                                  const struct robot_config *c, struct observation_config *to)
{
    static const char *const measures[] = {
        [MEASURE_HEADING] = "heading", [MEASURE_UP_X] = "up_x", [MEASURE_UP_Y] = "up_y", [MEASURE_UP_Z] = "up_z"
    };

    const char *key = document_key(d, "observation[%u].quaternion", i);
    char        part[NAME_SIZE + 2];

    if (from->joint)
        return document_fail(d, key, "expected extra, or joint and measure, or quaternion and measure");
    for (int k = 0; k < 4; k++) {
        snprintf(part, sizeof part, "%.*s_%c", NAME_SIZE - 1, from->quaternion, "wxyz"[k]);
        if (k == 0)
            to->joint = extra_index(c, part);
        if (to->joint < 0 || extra_index(c, part) != to->joint + k)
            return document_fail(d, key,
                                 "expected a name whose _w, _x, _y and _z stand one after the other under extra");
    }
    key = document_key(d, "observation[%u].measure", i);
    if (!from->measure || *from->measure < MEASURE_HEADING)
        return document_fail(d, from->measure ? key : document_key(d, "observation[%u].quaternion", i),
                             "expected measure: heading | up_x | up_y | up_z with a quaternion");
    to->measure = (enum measure) * from->measure;
    if (to->input == INPUT_ANGLE && to->measure != MEASURE_HEADING)
        return document_fail(d, document_key(d, "observation[%u].input", i), "expected angle only for the heading");
    snprintf(to->name, sizeof to->name, "%.*s.%s", NAME_SIZE, from->quaternion, measures[to->measure]);
    return 0;
}

static int observation_joint(struct document *d, const struct yaml_observation *from, unsigned i,
                             const struct robot_config *c, struct observation_config *to)
{
    if (!from->joint)
        return document_fail(d, document_key(d, "observation[%u].joint", i),
                             "expected a joint, or extra: NAME, or quaternion: NAME");
    if (!from->measure || *from->measure > MEASURE_AVERAGE_VELOCITY)
        return document_fail(d, document_key(d, "observation[%u].measure", i),
                             "expected position | velocity | average_velocity");
    to->measure = (enum measure) * from->measure;
    to->joint   = find_joint(d, c, document_key(d, "observation[%u].joint", i), from->joint);
    if (to->joint < 0)
        return -1;
    if (to->input == INPUT_ANGLE && (to->measure != MEASURE_POSITION || c->joint[to->joint].type == JOINT_PRISMATIC))
        return document_fail(d, document_key(d, "observation[%u].input", i),
                             "expected angle only for the position of a continuous or revolute joint");
    snprintf(to->name, sizeof to->name, "%.*s.%s", NAME_SIZE, from->joint,
             to->measure == MEASURE_POSITION   ? "position"
             : to->measure == MEASURE_VELOCITY ? "velocity"
                                               : "average_velocity");
    return 0;
}

static int observation_range(struct document *d, const struct yaml_observation *from, unsigned i,
                             struct observation_config *to)
{
    if (!from->range)
        return 0;
    to->ranged = true;
    to->low    = from->range[0];
    to->high   = from->range[1];
    return to->low < to->high
               ? 0
               : document_fail(d, document_key(d, "observation[%u].range", i), "expected [low, high] with low < high");
}

static int observations(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    for (unsigned i = 0; i < y->observation_count; i++) {
        const struct yaml_observation *from = &y->observation[i];
        struct observation_config     *to   = &c->observation[i];

        to->input  = (uint8_t)or_int(from->input, INPUT_IDENTITY);
        to->target = (uint8_t)or_int(from->predict, TARGET_CHANGE);
        if ((from->extra        ? observation_extra(d, from, i, c, to)
             : from->quaternion ? observation_quaternion(d, from, i, c, to)
                                : observation_joint(d, from, i, c, to)) < 0)
            return -1;
        if (observation_range(d, from, i, to) < 0)
            return -1;
        int twin = config_observation(c, to->name);
        if (twin >= 0)
            return document_fail(d, document_key(d, "observation[%u]", i),
                                 "expected each measurement once; observation[%d] is %s already", twin, to->name);
        c->nx++;
    }
    return 0;
}

/* What this kind of baseline needs of a joint, and what would have no effect. */
static int baseline_joint(struct document *d, const struct yaml_joint *y, const struct robot_config *c, int j)
{
    static const char *const names[] = { [BASELINE_ZERO] = "zero", [BASELINE_DAMP] = "damp", [BASELINE_HOLD] = "hold",
                                         [BASELINE_POSTURE] = "posture" };
    const struct joint_config *joint   = &c->joint[j];
    const char                *kind    = names[c->baseline];
    bool                       springs = c->baseline == BASELINE_HOLD || c->baseline == BASELINE_POSTURE;

    if (c->baseline == BASELINE_ZERO && (joint->brake > 0 || y->gravity_count))
        return document_fail(d, document_key(d, "joints[%d].%s", j, joint->brake > 0 ? "brake" : "gravity"),
                             "expected only with a baseline that does something; baseline: {kind: zero} does not");
    if (c->baseline != BASELINE_ZERO && !(joint->baseline_kd > 0))
        return document_fail(d, document_key(d, "joints[%d].baseline_kd", j),
                             "expected a damping gain above 0 for baseline %s", kind);
    if (springs && !(joint->baseline_kp > 0))
        return document_fail(d, document_key(d, "joints[%d].baseline_kp", j),
                             "expected a stiffness above 0 for baseline %s", kind);
    if (!springs && joint->baseline_kp > 0)
        return document_fail(d, document_key(d, "joints[%d].baseline_kp", j),
                             "expected only with baseline: {kind: hold} or posture; it has no effect here");
    if ((c->baseline == BASELINE_POSTURE) != (y->baseline_position != NULL))
        return document_fail(d, document_key(d, "joints[%d].baseline_position", j),
                             c->baseline == BASELINE_POSTURE ? "expected the joint's position in the posture"
                                                             : "expected only with baseline: {kind: posture}");
    if (y->baseline_position && joint->type != JOINT_CONTINUOUS &&
        !(joint->baseline_position >= joint->position_min && joint->baseline_position <= joint->position_max))
        return document_fail(d, document_key(d, "joints[%d].baseline_position", j),
                             "expected a position within the joint's limits, %g to %g", joint->position_min,
                             joint->position_max);
    return 0;
}

static int gravity(struct document *d, const struct yaml_joint *y, struct robot_config *c, int j)
{
    struct joint_config *joint = &c->joint[j];

    if (y->gravity_count && c->gravity_by_robot)
        return document_fail(d, document_key(d, "joints[%d].gravity", j),
                             "expected nothing with baseline.gravity: robot; gravity would be compensated twice");
    for (unsigned i = 0; i < y->gravity_count; i++) {
        struct gravity_term *to = &joint->gravity[joint->ngravity++];

        *to = (struct gravity_term){ .effort = *y->gravity[i].effort, .offset = or_float(y->gravity[i].offset, 0) };
        for (unsigned k = 0; k < y->gravity[i].joints_count; k++) {
            const char *key = document_key(d, "joints[%d].gravity[%u].joints[%u]", j, i, k);
            int         of  = find_joint(d, c, key, y->gravity[i].joints[k]);

            if (of < 0)
                return -1;
            if (c->joint[of].type == JOINT_PRISMATIC)
                return document_fail(d, key, "expected joints that turn; %s slides", c->joint[of].name);
            to->joint[to->n++] = of;
        }
    }
    return 0;
}

static int baseline(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    c->baseline         = (enum baseline_kind) * y->baseline.kind;
    c->gravity_by_robot = y->baseline.gravity != NULL;
    for (int j = 0; j < c->nj; j++) {
        if (c->joint[j].actuated &&
            (baseline_joint(d, &y->joints[j], c, j) < 0 || gravity(d, &y->joints[j], c, j) < 0))
            return -1;
    }
    return 0;
}

static int exploration(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    if (!y->exploration.kind)
        return 0;
    c->exploration.kind       = (enum exploration_kind) * y->exploration.kind;
    c->exploration.amplitude  = *y->exploration.amplitude;
    c->exploration.smoothness = or_float(y->exploration.smoothness, 0);
    if (c->exploration.kind == EXPLORE_SMOOTH && !y->exploration.smoothness)
        return document_fail(d, "exploration.smoothness", "expected the low-pass coefficient of smooth exploration");
    if (c->exploration.kind == EXPLORE_SMOOTH && c->exploration.smoothness == 0)
        return document_fail(d, "exploration.smoothness", "expected more than 0; without smoothness it is uniform");
    if (c->exploration.kind == EXPLORE_UNIFORM && c->exploration.smoothness != 0)
        return document_fail(d, "exploration.smoothness", "expected 0 with kind: uniform; kind: smooth uses it");
    c->exploration.planned            = or_float(y->exploration.planned, 0);
    c->exploration.planned_smoothness = or_float(y->exploration.planned_smoothness, c->exploration.smoothness);
    c->exploration.planned_trials     = or_int(y->exploration.planned_trials, 1);
    if (c->exploration.planned > 0 && !y->exploration.planned_trials)
        return document_fail(d, "exploration.planned_trials",
                             "expected the trial by which the noise on planned actions has faded");
    if (c->exploration.planned == 0 && (y->exploration.planned_trials || y->exploration.planned_smoothness))
        return document_fail(d,
                             y->exploration.planned_trials ? "exploration.planned_trials"
                                                           : "exploration.planned_smoothness",
                             "expected only with planned above 0; it has no effect here");
    return 0;
}

int config_body(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    c->command_mode = (enum command_mode)or_int(y->command_mode, COMMAND_TORQUE);
    if (joints(d, y, c) < 0 || extras(d, y, c) < 0 || actions(d, y, c) < 0 || observations(d, y, c) < 0 ||
        baseline(d, y, c) < 0)
        return -1;
    return exploration(d, y, c);
}
