/* why.c - see why.h.  Every value is looked up with a default: a recording is only a file. */
#include "daemon/why.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli_json.h"
#include "daemon/fault_names.h"

/* Two signs further apart than this are two stories, s. */
static const double SAME_STORY_S = 0.3;

/* ---- files ---- */

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

int why_list(const char *run_dir, int *number, int most)
{
    char           path[PATH_MAX];
    struct dirent *e;
    int            n = 0;

    snprintf(path, sizeof path, "%s/stops", run_dir);
    DIR *d = opendir(path);

    while (d && (e = readdir(d)) && n < most) {
        char *end;
        long  k = strtol(e->d_name, &end, 10);

        if (end != e->d_name && !strcmp(end, ".jsonl") && k > 0 && k < 1000000)
            number[n++] = (int)k;
    }
    if (d)
        closedir(d);
    qsort(number, (size_t)n, sizeof *number, ascending);
    return n;
}

static json_t *read_lines(FILE *f, const char *path, char *why, size_t why_size)
{
    json_t      *head, *ticks = json_array(), *tick;
    json_error_t error;
    int          c, line = 1;

    head = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error);
    if (!json_is_object(head) || js_int(head, "limber_stop") != 1) {
        snprintf(why, why_size, "%s:1: not a recording of a stop that this version reads", path);
        json_decref(head);
        json_decref(ticks);
        return NULL;
    }
    for (;;) {
        while ((c = getc(f)) == '\n' || c == ' ')
            line += c == '\n';
        if (c == EOF)
            break;
        ungetc(c, f);
        tick = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error);
        if (!json_is_object(tick)) {
            snprintf(why, why_size, "%s:%d: damaged (%.80s); what comes before it is told", path, line, error.text);
            json_decref(tick);
            break;
        }
        json_array_append_new(ticks, tick);
    }
    json_object_set_new(head, "ticks", ticks);
    return head;
}

json_t *why_load(const char *run_dir, int number, bool *none, char *why, size_t why_size)
{
    int  kept[1024], n = why_list(run_dir, kept, 1024);
    char path[PATH_MAX];

    *none  = false;
    why[0] = 0;
    if (!number && n)
        number = kept[n - 1];
    snprintf(path, sizeof path, "%s/stops/%03d.jsonl", run_dir, number);
    FILE *f = number ? fopen(path, "re") : NULL;

    if (!f) {
        *none = true;
        if (!number)
            snprintf(why, why_size, "nothing has stopped the robot so far: no recording in %s/stops", run_dir);
        else if (!n)
            snprintf(why, why_size, "there is no recording %d: none at all in %s/stops", number, run_dir);
        else
            snprintf(why, why_size, "there is no recording %d in %s/stops; those kept are %d to %d", number, run_dir, kept[0],
                     kept[n - 1]);
        return NULL;
    }
    json_t *head = read_lines(f, path, why, why_size);

    fclose(f);
    return head;
}

bool why_died(const char *run_dir, int *pid, char *mode, size_t mode_size)
{
    char  path[PATH_MAX], word[16] = "?";
    FILE *f;

    snprintf(path, sizeof path, "%s/stops/alive", run_dir);
    if (!(f = fopen(path, "re")))
        return false;
    *pid = 0;
    if (fscanf(f, "%d %15s", pid, word) < 1)
        *pid = 0;
    fclose(f);
    snprintf(mode, mode_size, "%s", word);
    return true;
}

/* ---- what a tick carries ---- */

static bool has(const json_t *tick, const char *list, const char *name)
{
    const json_t *l = json_object_get(tick, list);

    for (size_t i = 0; i < json_array_size(l); i++) {
        const char *s = json_string_value(json_array_get(l, i));

        if (s && !strcmp(s, name))
            return true;
    }
    return false;
}

static double at(const json_t *tick, const char *list, size_t j)
{
    const json_t *v = json_array_get(json_object_get(tick, list), j);

    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* The joint that is furthest beyond its position limits, -1: none is beyond. */
static int beyond(const json_t *joints, const json_t *tick, double *q, double *limit)
{
    double most = 0;
    int    who  = -1;

    for (size_t j = 0; j < json_array_size(joints); j++) {
        const json_t *joint = json_array_get(joints, j);
        double        low = js_num(joint, "min"), high = js_num(joint, "max"), x = at(tick, "position", j);
        double        over = x > high ? x - high : x < low ? low - x : 0;

        if (over > most) {
            most   = over;
            who    = (int)j;
            *q     = x;
            *limit = x > high ? high : low;
        }
    }
    return who;
}

static const char *joint_name(const json_t *joints, long j, const char **unit)
{
    const json_t *joint = json_array_get(joints, (size_t)j);

    *unit = js_str(joint, "unit", "");
    return js_str(joint, "name", "?");
}

static const char *words_of(const char *fault)
{
    for (int i = 0; i < fault_text_count; i++)
        if (!strcmp(fault_texts[i].name, fault))
            return fault_texts[i].words;
    for (int i = 0; i < filter_text_count; i++)
        if (!strcmp(filter_texts[i].name, fault))
            return filter_texts[i].words;
    return fault;
}

/* "hinge's velocity was 31.2 rad/s, at most 20 is possible", of a rejected state; empty where there was none. */
static void rejected_words(const json_t *joints, const json_t *tick, char *out, size_t n)
{
    const json_t *r     = json_object_get(tick, "rejected");
    const char   *what  = js_str(r, "what", "?"), *unit, *name;
    const json_t *value = json_object_get(r, "value");
    long          j     = js_int(r, "joint");
    double        limit = js_num(r, "limit");
    char          number[40];

    out[0] = 0;
    if (!r)
        return;
    if (j < 0) {
        snprintf(out, n, "an extra measurement was not possible");
        return;
    }
    name = joint_name(joints, j, &unit);
    if (json_is_string(value))
        snprintf(number, sizeof number, "%s", json_string_value(value));
    else
        snprintf(number, sizeof number, "%.4g", json_number_value(value));
    if (!isfinite(limit))
        snprintf(out, n, "%s's %s was %s", name, what, number);
    else if (has(tick, "faults", "state_jump"))
        snprintf(out, n, "%s's %s went from %.4g to %s %s in one state", name, what, limit, number, unit);
    else
        snprintf(out, n, "%s's %s was %s, the limit is %.4g", name, what, number, limit);
}

/* "slider's measured effort was 90 at a command of 300", of what core_effort.c says; empty where it says nothing. */
static void blamed_words(const json_t *joints, const json_t *tick, char *out, size_t n)
{
    const json_t *b    = json_object_get(tick, "blamed"), *is = json_object_get(b, "value");
    const char   *what = js_str(b, "what", ""), *unit, *name = joint_name(joints, js_int(b, "joint"), &unit);
    double        value = json_number_value(is), limit = js_num(b, "limit");
    char          number[40];

    out[0] = 0;
    snprintf(number, sizeof number, "%.4g", value);
    if (!strcmp(what, "effort"))
        snprintf(out, n, "%s's was %s, commanded was %.4g", name, json_is_string(is) ? json_string_value(is) : number, limit);
    else if (!strcmp(what, "dwell_s"))
        snprintf(out, n, "%s's for %.3g s, at most %.3g", name, value, limit);
    else if (!strcmp(what, "reversals"))
        snprintf(out, n, "%s's %.3g times a second, at most %.3g", name, value, limit);
    else if (!strcmp(what, "energy"))
        snprintf(out, n, "%.3g J, at most %.3g; most through %s", value, limit, name);
}

/* ---- the first sign ---- */

/* Which fault bits tell of a stop's beginning. */
static const struct {
    const char *code, *sign[5];
} signs[] = {
    { "state_stale", { "state_missing", "state_nonfinite", "state_range", "state_jump" } },
    { "state_rejected", { "state_nonfinite", "state_range", "state_jump" } },
    { "estop", { "estop" } },
    { "robot_fault", { "robot" } },
    { "session", { "session", "state_missing" } },
    { "effort", { "effort" } },
    { "gates", { "plan_late", "plan_bad", "gates" } },
    { "host_stall", { "stall" } },
    { "track_error", { "track_error" } },
    { "limit_dwell", { "limit_dwell" } },
    { "oscillation", { "oscillation" } },
    { "energy", { "energy" } },
    { "link_damaged", { "link_damaged", "state_missing" } },
    { "robot_clamped", { "robot_clamped" } },
};

static const char *sign_in(const char *code, const json_t *tick)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        for (int k = 0; !strcmp(signs[i].code, code) && k < 5 && signs[i].sign[k]; k++)
            if (has(tick, "faults", signs[i].sign[k]))
                return signs[i].sign[k];
    return NULL;
}

/* The tick that began it: back from the stop, as long as signs follow each other closely. */
static const json_t *first_tick(const json_t *recording, const char *code, const char **name, int *count)
{
    const json_t *ticks = json_object_get(recording, "ticks"), *joints = json_object_get(recording, "joints"), *first = NULL;
    double        last_s = 0, q, limit;

    *count = 0;
    for (size_t i = json_array_size(ticks); i-- > 0;) {
        const json_t *tick = json_array_get(ticks, i);
        double        t    = js_num(tick, "t");
        const char   *sign = sign_in(code, tick);

        if (!strcmp(code, "position_limit") && beyond(joints, tick, &q, &limit) >= 0)
            sign = "position";
        if (last_s - t > SAME_STORY_S)
            break;
        if (!sign)
            continue;
        first  = tick;
        *name  = sign;
        last_s = t;
        ++*count;
    }
    return first;
}

/* The earliest gate trip of those that were counted together. */
static json_t *first_trip(const json_t *recording)
{
    const json_t *trips = json_object_get(recording, "trips"), *trip;

    for (size_t i = 0; i < json_array_size(trips); i++) {
        trip = json_array_get(trips, i);
        if (js_num(trip, "t") >= -10)
            return json_pack("{s:f, s:i, s:s, s:n, s:o}", "t", js_num(trip, "t"), "tick", (int)js_int(trip, "tick"), "what",
                             js_str(trip, "gate", "?"), "joint", "text",
                             json_sprintf("gate %s tripped at step %ld of trial %ld, the first of %zu shown",
                                          js_str(trip, "gate", "?"), js_int(trip, "step"), js_int(trip, "trial"),
                                          json_array_size(trips) - i));
    }
    return NULL;
}

static json_t *first_sign(const json_t *recording)
{
    const json_t *joints = json_object_get(recording, "joints");
    const char   *code = js_str(recording, "code", ""), *name = "", *unit = "", *joint = NULL;
    char          text[300], detail[200];
    double        q = (double)NAN, limit = (double)NAN;
    int           count;
    json_t       *trip = !strcmp(code, "gates") ? first_trip(recording) : NULL;

    if (trip)
        return trip;
    const json_t *tick = first_tick(recording, code, &name, &count);

    if (!tick)
        return NULL;
    rejected_words(joints, tick, detail, sizeof detail);
    long j = detail[0] ? js_int(tick, "rejected.joint") : -1;
    if (json_object_get(tick, "blamed")) {
        j = js_int(tick, "blamed.joint");
        blamed_words(joints, tick, detail, sizeof detail);
    }
    if (!strcmp(name, "position")) {
        j = beyond(joints, tick, &q, &limit);
        joint_name(joints, j, &unit);
        snprintf(detail, sizeof detail, "%s at %.4g %s, its limit is %.4g, moving at %.4g %s/s", joint_name(joints, j, &unit), q,
                 unit, limit, at(tick, "velocity", (size_t)j), unit);
    } else if (!strcmp(name, "state_missing")) {
        snprintf(detail, sizeof detail, "the last good one was number %ld", js_int(tick, "state_seq"));
    }
    if (j >= 0)
        joint = joint_name(joints, j, &unit);
    snprintf(text, sizeof text, "%s%s%s, in %d tick%s until the stop", words_of(name), detail[0] ? ": " : "", detail, count,
             count == 1 ? "" : "s");
    return json_pack("{s:f, s:i, s:s, s:s?, s:s}", "t", js_num(tick, "t"), "tick", (int)js_int(tick, "tick"), "what", name,
                     "joint", joint, "text", text);
}

/* ---- the timeline ---- */

/* "state_missing, rate": everything a tick carries. */
static void carried(const json_t *tick, char *out, size_t n)
{
    static const char *const lists[] = { "faults", "filter" };
    size_t                   used    = 0;

    out[0] = 0;
    for (int k = 0; k < 2; k++) {
        const json_t *l = json_object_get(tick, lists[k]);

        for (size_t i = 0; i < json_array_size(l) && used < n; i++) {
            const char *name = json_string_value(json_array_get(l, i));

            used += (size_t)snprintf(out + used, n - used, "%s%s", used ? "; " : "", words_of(name ? name : "?"));
        }
    }
}

static void add(json_t *timeline, double t, const char *text)
{
    json_array_append_new(timeline, json_sprintf("%+8.3f s  %s", t, text));
}

/* A run of ticks that carry the same. */
static void add_run(json_t *timeline, const json_t *joints, const json_t *first, int ticks, const char *what)
{
    char detail[200], text[700];

    rejected_words(joints, first, detail, sizeof detail);
    if (what[0] && !detail[0])
        blamed_words(joints, first, detail, sizeof detail);
    snprintf(text, sizeof text, "%s%s%s", what[0] ? what : "as it should be again", detail[0] ? ": " : "", detail);
    if (what[0])
        snprintf(text + strlen(text), sizeof text - strlen(text), " (%d tick%s)", ticks, ticks == 1 ? "" : "s");
    add(timeline, js_num(first, "t"), text);
}

static void add_joints(json_t *timeline, const json_t *joints, const json_t *tick)
{
    for (size_t j = 0; j < json_array_size(joints); j++) {
        const char *unit, *name = joint_name(joints, (long)j, &unit);
        char        text[300];

        snprintf(text, sizeof text, "%s: position %.4g %s, velocity %.4g %s/s, effort wanted %.4g, sent %.4g", name,
                 at(tick, "position", j), unit, at(tick, "velocity", j), unit, at(tick, "want", j), at(tick, "effort", j));
        add(timeline, js_num(tick, "t"), text);
    }
}

static void add_modes(json_t *timeline, const json_t *recording, double from, double to)
{
    const json_t *modes = json_object_get(recording, "modes"), *trips = json_object_get(recording, "trips");
    char          text[120];

    for (size_t i = 0; i < json_array_size(modes) + json_array_size(trips); i++) {
        bool          is_mode = i < json_array_size(modes);
        const json_t *m       = is_mode ? json_array_get(modes, i) : json_array_get(trips, i - json_array_size(modes));
        double        t       = js_num(m, "t");

        if (!(t >= from && t < to))
            continue;
        if (is_mode)
            snprintf(text, sizeof text, "mode %.20s -> %.20s", js_str(m, "from", "?"), js_str(m, "to", "?"));
        else
            snprintf(text, sizeof text, "gate %.40s tripped", js_str(m, "gate", "?"));
        add(timeline, t, text);
    }
}

void why_tell(json_t *recording)
{
    const json_t *ticks = json_object_get(recording, "ticks"), *joints = json_object_get(recording, "joints");
    json_t       *timeline = json_array(), *sign = first_sign(recording);
    const json_t *first = NULL;
    char          before[400] = "", now[400];
    int           run = 0;
    size_t        n   = json_array_size(ticks);
    double        told = -10; /* s: what happened earlier is no part of it */

    for (size_t i = 0; i < n; i++) {
        const json_t *tick = json_array_get(ticks, i);
        double        t    = js_num(tick, "t");

        carried(tick, now, sizeof now);
        if (i > 0 && !strcmp(now, before)) {
            run++;
            continue;
        }
        if (first && (before[0] || first != json_array_get(ticks, 0)))
            add_run(timeline, joints, first, run, before);
        add_modes(timeline, recording, told, t);
        told  = t;
        first = tick;
        run   = 1;
        snprintf(before, sizeof before, "%s", now);
    }
    if (first && before[0])
        add_run(timeline, joints, first, run, before);
    add_modes(timeline, recording, told, 1e9);
    if (n) /* as they moved before the stop took their effort away */
        add_joints(timeline, joints, json_array_get(ticks, n > 1 ? n - 2 : 0));
    json_object_set_new(recording, "first_sign", sign ? sign : json_null());
    json_object_set_new(recording, "timeline", timeline);
}
