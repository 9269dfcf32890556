/* config_task.c - a task file: frames to follow, the terms of the cost, and what ends a trial. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_parts.h"

static int task_link(struct document *d, const struct robot_config *c, const struct yaml_link *y, int f, int l,
                     struct task_link *out)
{
    const double *axis = y->axis;

    out->obs = -1;
    if (y->offset)
        memcpy(out->offset, y->offset, sizeof out->offset);
    if (!y->joint) {
        if (axis)
            return document_fail(d, document_key(d, "frames[%d].links[%d].axis", f, l),
                                 "expected only on a link with a joint; this one is fixed");
        return 0;
    }
    const char *key = document_key(d, "frames[%d].links[%d].joint", f, l);
    int         j   = config_joint(c, y->joint);
    char        name[2 * NAME_SIZE + 16];

    if (j < 0) {
        char names[400];
        config_joint_names(c, names, sizeof names);
        return document_fail(d, key, "expected one of the joints: %s", names);
    }
    snprintf(name, sizeof name, "%s.position", c->joint[j].name);
    if ((out->obs = config_observation(c, name)) < 0)
        return document_fail(d, key, "expected a joint whose position is among robot.yaml's observation");
    out->type = c->joint[j].type;
    key       = document_key(d, "frames[%d].links[%d].axis", f, l);
    if (!axis)
        return document_fail(d, key, "expected [x, y, z], the axis that the joint slides along or turns about");
    double length = sqrt(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]);
    if (!(length > 1e-9))
        return document_fail(d, key, "expected an axis that is not zero");
    for (int i = 0; i < 3; i++)
        out->axis[i] = axis[i] / length;
    return 0;
}

static int frames(struct document *d, const struct yaml_task *y, const struct robot_config *c, struct task *t)
{
    for (unsigned f = 0; f < y->frames_count; f++) {
        const struct yaml_frame *from = &y->frames[f];
        struct task_frame       *to   = &t->frame[f];
        const char              *key  = document_key(d, "frames[%u].name", f);

        if (schema_name(d, document_at(d, key)) < 0)
            return -1;
        for (unsigned k = 0; k < f; k++)
            if (strcmp(t->frame[k].name, from->name) == 0)
                return document_fail(d, key, "expected a name of its own; frames[%u] has this one", k);
        snprintf(to->name, sizeof to->name, "%s", from->name);
        if (from->tip)
            memcpy(to->tip, from->tip, sizeof to->tip);
        for (unsigned l = 0; l < from->links_count; l++, to->nlink++)
            if (task_link(d, c, &from->links[l], (int)f, (int)l, &to->link[l]) < 0)
                return -1;
        t->nframe++;
    }
    return 0;
}

/* A key that this kind of term does not know is refused: it would have no effect. */
static int refuse(struct document *d, int i, const char *key, const char *where)
{
    key = document_key(d, "terms[%d].%s", i, key);
    return document_at(d, key) ? document_fail(d, key, "expected only on %s", where) : 0;
}

/* target and scale: n entries each, or missing: 0 and 1. */
static int term_points(struct document *d, const struct yaml_term *y, int i, int n, struct task_term *out)
{
    if (y->target && (int)y->target_count != n)
        return document_fail(d, document_key(d, "terms[%d].target", i), "expected %d entries, got %u", n,
                             y->target_count);
    if (y->scale && (int)y->scale_count != n)
        return document_fail(d, document_key(d, "terms[%d].scale", i), "expected %d entries, got %u", n,
                             y->scale_count);
    bool any = false;
    for (int k = 0; k < n; k++) {
        out->target[k] = y->target ? y->target[k] : 0;
        out->scale[k]  = y->scale ? y->scale[k] : 1;
        any |= out->scale[k] != 0;
    }
    if (!any)
        return document_fail(d, document_key(d, "terms[%d].scale", i), "expected at least one entry other than 0");
    return 0;
}

/* Index of the observation that the list entry `key` names, or -1 with the reason. */
static int observation_at(struct document *d, const struct robot_config *c, const char *key, const char *name)
{
    int  at = config_observation(c, name);
    char names[600];

    if (at >= 0)
        return at;
    config_observation_names(c, names, sizeof names);
    return document_fail(d, key, "expected one of: %s", names);
}

/* target_obs: n names, or missing. */
static int term_goal(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c, int n,
                     struct task_term *out)
{
    if (y->target_obs && (int)y->target_obs_count != n)
        return document_fail(d, document_key(d, "terms[%d].target_obs", i), "expected %d entries, got %u", n,
                             y->target_obs_count);
    out->target_observed = y->target_obs != NULL;
    for (unsigned k = 0; k < y->target_obs_count; k++) {
        const char *key = document_key(d, "terms[%d].target_obs[%u]", i, k);

        if ((out->target_obs[k] = observation_at(d, c, key, y->target_obs[k])) < 0)
            return -1;
        if (out->kind == TERM_OBSERVATION && out->target_obs[k] == out->index[k])
            return document_fail(d, key, "expected another observation than the one that is compared with it");
    }
    return 0;
}

static int term_frame(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c,
                      const struct task *t, struct task_term *out)
{
    const char *key = document_key(d, "terms[%d].frame", i);

    if (!y->frame)
        return document_fail(d, key, "expected the name of one of the frames");
    for (out->frame = 0; out->frame < t->nframe; out->frame++)
        if (strcmp(t->frame[out->frame].name, y->frame) == 0)
            break;
    if (out->frame == t->nframe)
        return document_fail(d, key, "expected the name of one of the frames");
    if (refuse(d, i, "observations", "terms of kind observation, path and progress") < 0)
        return -1;
    return term_goal(d, y, i, c, 3, out) < 0 ? -1 : term_points(d, y, i, 3, out);
}

/* The observations that the term names, each once. */
static int term_index(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c,
                      struct task_term *out)
{
    if (!y->observations)
        return document_fail(d, document_key(d, "terms[%d].observations", i), "expected a list of observations");
    for (unsigned k = 0; k < y->observations_count; k++) {
        const char *key = document_key(d, "terms[%d].observations[%u]", i, k);
        int         at  = observation_at(d, c, key, y->observations[k]);
        if (at < 0)
            return -1;
        for (int other = 0; other < out->n; other++)
            if (out->index[other] == at)
                return document_fail(d, key, "expected each observation once");
        out->index[out->n++] = at;
    }
    return 0;
}

static int term_observation(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c,
                            struct task_term *out)
{
    if (refuse(d, i, "frame", "terms of kind frame") < 0 || term_index(d, y, i, c, out) < 0)
        return -1;
    return term_goal(d, y, i, c, out->n, out) < 0 ? -1 : term_points(d, y, i, out->n, out);
}

/* Keys of terms that compare something with targets. */
static int refuse_targets(struct document *d, int i)
{
    static const char *const key[] = { "target_obs", "target", "scale" };

    if (refuse(d, i, "frame", "terms of kind frame") < 0)
        return -1;
    for (size_t k = 0; k < sizeof key / sizeof *key; k++)
        if (refuse(d, i, key[k], "terms of kind frame and observation") < 0)
            return -1;
    return 0;
}

static int term_effort(struct document *d, int i)
{
    return refuse_targets(d, i) < 0 ? -1 : refuse(d, i, "observations", "terms of kind observation, path and progress");
}

static int term_path(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c,
                     struct task_term *out)
{
    struct task_path *p = &out->path;

    if (refuse_targets(d, i) < 0 || term_index(d, y, i, c, out) < 0)
        return -1;
    if (out->n != 2)
        return document_fail(d, document_key(d, "terms[%d].observations", i), "expected two, [x, y], got %d", out->n);
    if (!y->waypoints)
        return document_fail(d, document_key(d, "terms[%d].waypoints", i), "expected a list of [x, y], in m");
    p->n = (int)y->waypoints_count;
    memcpy(p->point, y->waypoints, (size_t)p->n * sizeof *p->point);
    for (int k = 1; k < p->n; k++)
        if (!(hypot(p->point[k][0] - p->point[k - 1][0], p->point[k][1] - p->point[k - 1][1]) > 1e-6))
            return document_fail(d, document_key(d, "terms[%d].waypoints[%d]", i, k),
                                 "expected another point than the one before");
    task_path_lay(p);
    return 0;
}

/* What a form means to each kind of term; without one it is squared. */
static int term_form(struct document *d, const struct yaml_term *y, int i, struct task_term *out)
{
    const char *key = document_key(d, "terms[%d].form", i);

    out->form  = (enum term_form)or_int(y->form, FORM_SQUARED);
    out->width = or_float(y->width, 0);
    if (y->form && (out->kind == TERM_PROGRESS || out->kind == TERM_ALIVE))
        return document_fail(d, key, "expected none: terms of kind progress and alive are linear");
    if (out->form == FORM_LINEAR && (out->kind == TERM_EFFORT || out->kind == TERM_PATH))
        return document_fail(d, key, "expected squared, exp or abs; linear is for kind observation and frame");
    if (out->form == FORM_EXP && !y->width)
        return document_fail(d, document_key(d, "terms[%d].width", i), "expected the width of form: exp");
    if (out->form != FORM_EXP && y->width)
        return document_fail(d, document_key(d, "terms[%d].width", i), "expected only with form: exp");
    return 0;
}

static int term(struct document *d, const struct yaml_term *y, int i, const struct robot_config *c, struct task *t)
{
    struct task_term *out = &t->term[i];
    const char       *key = document_key(d, "terms[%d].name", i);

    if (schema_name(d, document_at(d, key)) < 0)
        return -1;
    for (int k = 0; k < i; k++)
        if (strcmp(t->term[k].name, y->name) == 0)
            return document_fail(d, key, "expected a name of its own; terms[%d] has this one", k);
    snprintf(out->name, sizeof out->name, "%s", y->name);
    out->kind    = (enum term_kind) * y->kind;
    out->weight  = *y->weight;
    out->shaping = or_bool(y->shaping, false);
    if (out->weight == 0)
        return document_fail(d, document_key(d, "terms[%d].weight", i), "expected a weight other than 0");
    if (term_form(d, y, i, out) < 0)
        return -1;
    bool path = out->kind == TERM_PATH || out->kind == TERM_PROGRESS;
    if (!path && refuse(d, i, "waypoints", "terms of kind path and progress") < 0)
        return -1;
    switch (out->kind) {
    case TERM_FRAME: return term_frame(d, y, i, c, t, out);
    case TERM_OBSERVATION: return term_observation(d, y, i, c, out);
    case TERM_PATH:
    case TERM_PROGRESS: return term_path(d, y, i, c, out);
    case TERM_EFFORT:
    case TERM_ALIVE: return term_effort(d, i);
    }
    return 0;
}

static int ends(struct document *d, const struct yaml_task *y, const struct robot_config *c, struct task *t)
{
    for (unsigned i = 0; i < y->ends_count; i++, t->nend++) {
        const struct yaml_end *from = &y->ends[i];
        struct task_end       *to   = &t->end[i];
        const char            *key  = document_key(d, "ends[%u].observation", i);

        if ((to->obs = observation_at(d, c, key, from->observation)) < 0)
            return -1;
        to->low  = or_float(from->low, (double)-INFINITY);
        to->high = or_float(from->high, (double)INFINITY);
        if (!from->low && !from->high)
            return document_fail(d, document_key(d, "ends[%u].low", i), "expected low, high or both");
        if (!(to->low < to->high))
            return document_fail(d, document_key(d, "ends[%u].high", i), "expected more than low, %g", to->low);
    }
    return 0;
}

static int convert(struct document *d, const struct yaml_task *y, const struct robot_config *c, struct task *t)
{
    if (schema_name(d, document_at(d, "name")) < 0)
        return -1;
    snprintf(t->name, sizeof t->name, "%s", y->name);
    t->return_at = (enum return_at)or_int(y->return_at, RETURN_AT_NEXT);
    if (frames(d, y, c, t) < 0)
        return -1;
    for (unsigned i = 0; i < y->terms_count; i++, t->nterm++)
        if (term(d, &y->terms[i], (int)i, c, t) < 0)
            return -1;
    return ends(d, y, c, t);
}

static int read_task(const char *path, const struct robot_config *c, struct task *t, char *why, size_t why_size)
{
    struct document d;
    void           *y  = NULL;
    int             rc = document_read(&d, path, why, why_size);

    *t = (struct task){ 0 };
    if (rc == 0)
        rc = schema_load(&d, &task_schema, &y);
    if (rc == 0)
        rc = convert(&d, y, c, t);
    schema_free(&task_schema, y);
    document_free(&d);
    return rc;
}

int config_task(const char *path, const struct robot_config *c, struct task *t, char *why, size_t why_size)
{
    /* In de_DE strtod() reads 0.5 as 0; task files mean the same everywhere. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", NULL);
    if (!plain) {
        snprintf(why, why_size, "%s: no memory to read it; free some, then try again", path);
        return -1;
    }
    locale_t before = uselocale(plain);

    why[0] = 0;
    int rc = read_task(path, c, t, why, why_size);
    for (char *p = why; *p; p++) /* a value with a line break in it must not break the message */
        if ((unsigned char)*p < ' ')
            *p = ' ';
    uselocale(before);
    freelocale(plain);
    return rc;
}
