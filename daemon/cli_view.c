/* cli_view.c - see cli_view.h. */
#include "daemon/cli_view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli_json.h"

enum { SPARK_MAX = 512 };

/* A number with `places` digits and its unit, or "-"; lives until the end of the calling block. */
struct figure {
    char text[40];
};

static struct figure figure(double x, int places, const char *unit)
{
    struct figure f;

    if (isfinite(x))
        snprintf(f.text, sizeof f.text, "%.*f%s", places, x, unit);
    else
        snprintf(f.text, sizeof f.text, "-");
    return f;
}
#define NUM(path, places, unit) (figure(js_num(status, path), places, unit).text)

/* 93784 -> "1 d 2 h", 184 -> "3:04" */
static struct figure duration(double s)
{
    struct figure f;
    long          t = s >= 0 && s < 1e12 ? (long)s : -1;

    if (t < 0)
        snprintf(f.text, sizeof f.text, "-");
    else if (t >= 86400)
        snprintf(f.text, sizeof f.text, "%ld d %ld h", t / 86400, t / 3600 % 24);
    else if (t >= 3600)
        snprintf(f.text, sizeof f.text, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(f.text, sizeof f.text, "%ld:%02ld", t / 60, t % 60);
    return f;
}

/* Zero is good news, everything else is not. */
static const char *zero_mark(const json_t *status, const char *path)
{
    double x = js_num(status, path);

    return !isfinite(x) ? PLAIN : x == 0 ? GOOD : BAD;
}

static const char *mode_mark(const char *mode, bool latched)
{
    if (latched || !strcmp(mode, "FAULT") || !strcmp(mode, "STOPPING"))
        return BAD;
    if (!strcmp(mode, "ADVANCED"))
        return GOOD;
    return !strcmp(mode, "DISARMED") ? BOLD : WARN;
}

/* --- parts ---------------------------------------------------------------------------------------------------- */

static void part_head(struct screen *s, const json_t *status)
{
    const char *mode    = js_str(status, "mode", "-");
    bool        latched = js_true(status, "latched");

    screen_line(s, BOLD "limber" PLAIN " %s  %s%s%s  %s%s%s\t" DIM "up %s  %s" PLAIN, js_str(status, "robot", "-"),
                mode_mark(mode, latched), mode, PLAIN, latched ? BAD : "",
                latched ? "latched: limber reset" : js_str(status, "hardware", "-"), PLAIN,
                duration(js_num(status, "uptime_s")).text, js_str(status, "version", ""));
}

static int returns(const json_t *status, double *v, int max)
{
    const json_t *history = js_at(status, "trials.history");
    size_t        n = json_array_size(history), first = n > (size_t)max ? n - (size_t)max : 0;
    int           count = 0;

    for (size_t i = first; i < n; i++) {
        const json_t *t = json_array_get(history, i);

        if (!strcmp(js_str(t, "kind", ""), "planned"))
            v[count++] = strcmp(js_str(t, "status", ""), "finished") ? (double)NAN : js_num(t, "return");
    }
    return count;
}

static void part_trial(struct screen *s, const json_t *status)
{
    char   progress[128], curve[4 * SPARK_MAX];
    double v[SPARK_MAX];
    double step = js_num(status, "trials.step"), steps = js_num(status, "trials.steps");
    int    room = s->width > 70 ? s->width - 50 : 20;

    bar(progress, sizeof progress, step / steps, room < 30 ? room : 30);
    screen_line(s, "trial     " BOLD "%ld" PLAIN " of %s  %s  %s%s  step %ld/%ld  %s", js_int(status, "trials.number"),
                NUM("trials.count", 0, ""), js_str(status, "trials.kind", "-"), js_str(status, "trials.phase", "-"),
                js_true(status, "trials.finished") ? ", all done" : "", js_int(status, "trials.step"),
                js_int(status, "trials.steps"), progress);
    spark(curve, sizeof curve, v, returns(status, v, SPARK_MAX), s->width > 60 ? s->width - 40 : 20);
    screen_line(s, "return    " BOLD "%s" PLAIN "  best %s  %s%s", NUM("trials.return", 1, ""),
                NUM("trials.best", 1, ""), GOOD, curve);
}

static void part_model(struct screen *s, const json_t *status)
{
    const char *trainer = js_str(status, "model.trainer", "-");
    double      train_s = js_num(status, "model.train_s");
    char        progress[128];

    bar(progress, sizeof progress, js_num(status, "model.progress"), 10);
    screen_line(s, "model     version %ld  prequential error %s  trainer %s%s" PLAIN "%s%s%s%s",
                js_int(status, "model.version"), NUM("model.prequential_rmse", 3, ""),
                strcmp(trainer, "dead") ? PLAIN : BAD, trainer, strcmp(trainer, "training") ? "" : " ",
                strcmp(trainer, "training") ? "" : progress, train_s > 0 ? "  last fit " : "",
                train_s > 0 ? figure(train_s, 1, " s").text : "");
}

static void part_planner(struct screen *s, const json_t *status)
{
    screen_line(s, "planner   %s %s  p50 %s  p99 %s  max %s of %s  late %s%ld%s  iterations %ld x %ld",
                js_str(status, "planner.name", "-"), js_str(status, "planner.isa", ""), NUM("planner.ms.p50", 2, ""),
                NUM("planner.ms.p99", 2, ""), NUM("planner.ms.max", 2, ""), NUM("planner.budget_ms", 1, " ms"),
                zero_mark(status, "planner.late"), js_int(status, "planner.late"), PLAIN,
                js_int(status, "planner.iterations"), js_int(status, "planner.candidates"));
}

static void part_control(struct screen *s, const json_t *status)
{
    screen_line(s, "control   %s Hz  ticks %ld  misses %s%ld%s  plans cut %ld  loop p99 %s  wake p99 %s",
                NUM("control.hz", 0, ""), js_int(status, "control.ticks"), zero_mark(status, "control.misses"),
                js_int(status, "control.misses"), PLAIN, js_int(status, "planner.cut"),
                NUM("control.loop_us.p99", 0, " us"), NUM("control.wake_us.p99", 0, " us"));
}

static void part_link(struct screen *s, const json_t *status)
{
    const char *trouble = js_str(status, "link.trouble", "");

    if (!js_true(status, "link.connected")) {
        screen_wrap(s, 10, "link      " WARN "no robot side" PLAIN "%s%s", trouble[0] ? "; last: " : "", trouble);
        return;
    }
    screen_line(s, "link      %s%s  state %s old  good %s  late commands %s%ld%s  missing %ld",
                js_true(status, "link.simulated") ? "simulated" : "real",
                js_true(status, "link.lockstep") ? ", lockstep" : ", real time", NUM("link.state_age_ms", 0, " ms"),
                figure(100 * js_num(status, "link.success"), 0, " %").text, zero_mark(status, "link.late_commands"),
                js_int(status, "link.late_commands"), PLAIN, js_int(status, "link.missing"));
    if (trouble[0])
        screen_wrap(s, 10, "          " WARN "%s", trouble);
}

static void part_events(struct screen *s, const json_t *status, size_t most)
{
    const json_t *events = js_at(status, "events");
    size_t        n = json_array_size(events), first = n > most ? n - most : 0;

    for (size_t i = first; i < n; i++)
        screen_line(s, DIM "%s%s", i == first ? "events    " : "          ",
                    js_str(json_array_get(events, i), "text", ""));
}

static void part_gates(struct screen *s, const json_t *status)
{
    const json_t *gates = js_at(status, "gates");
    char          line[1024];
    size_t        used = 0;

    line[0] = 0;
    for (size_t i = 0; i < json_array_size(gates) && used < sizeof line; i++) {
        const json_t *g    = json_array_get(gates, i);
        bool          off  = json_is_string(js_at(g, "off"));
        const char   *sign = off ? DIM "off " : js_true(g, "ok") ? GOOD "✓ " PLAIN : BAD "✗ " PLAIN;

        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s%s" PLAIN, i ? "  " : "", sign,
                                 js_str(g, "name", "-"));
    }
    if (used)
        screen_wrap(s, 10, "gates     %s", line);
}

/* Of joints with joints[].effort_continuous: 1 is as hot as that makes the motor. */
static void part_heat(struct screen *s, const json_t *status)
{
    char        line[1024];
    size_t      used = 0;
    const char *name;
    json_t     *heat;

    json_object_foreach((json_t *)js_at(status, "filter.heat"), name, heat)
    {
        double h = json_number_value(heat);

        if (used < sizeof line)
            used += (size_t)snprintf(line + used, sizeof line - used, "%s%s %s%.2f" PLAIN, used ? "  " : "", name,
                                     h > 0.8 ? WARN : "", h);
    }
    if (used)
        screen_wrap(s, 10, "heat      %s", line);
}

/* --- whole screens -------------------------------------------------------------------------------------------- */

int view_prearm(struct screen *s, const json_t *prearm)
{
    int failing = 0;

    for (size_t i = 0; i < json_array_size(prearm); i++) {
        const json_t *p  = json_array_get(prearm, i);
        bool          ok = js_true(p, "ok");

        failing += !ok;
        screen_wrap(s, 26, "  %s" PLAIN " %-21s %s", ok ? GOOD "✓" : BAD "✗", js_str(p, "name", "-"),
                    js_str(p, "detail", ""));
    }
    return failing;
}

void view_stop(struct screen *s, const json_t *status)
{
    const json_t *stop = js_at(status, "stop");

    if (!json_is_object(stop))
        return;
    screen_wrap(s, 10, BAD "stop      " BOLD "%s" PLAIN "%s %s", js_str(stop, "code", "-"), BAD ":" PLAIN,
                js_str(stop, "cause", "-"));
    screen_wrap(s, 10, "remedy    %s", js_str(stop, "remedy", "-"));
    screen_line(s, "where     trial %s, step %s, tick %s", figure(js_num(stop, "trial"), 0, "").text,
                figure(js_num(stop, "step"), 0, "").text, figure(js_num(stop, "tick"), 0, "").text);
}

void view_live(struct screen *s, const json_t *status)
{
    part_head(s, status);
    part_trial(s, status);
    part_model(s, status);
    part_planner(s, status);
    part_control(s, status);
    part_link(s, status);
    if (js_true(status, "latched"))
        view_stop(s, status);
    part_events(s, status, 3);
}

/* Are the real-time threads held to their lists of system calls? */
static void part_syscalls(struct screen *s, const json_t *status)
{
    const char *refused = js_str(status, "realtime.syscalls.refused", "");

    if (*refused)
        screen_line(s, "syscalls  " BAD "refused to thread %s", refused);
    else if (js_at(status, "realtime.syscalls"))
        screen_line(s, "syscalls  %s",
                    js_true(status, "realtime.syscalls.restricted") ? "real-time threads held to their lists" : WARN "not restricted");
}

void view_status(struct screen *s, const json_t *status)
{
    const json_t *warnings = js_at(status, "realtime.warnings");
    const json_t *prearm   = js_at(status, "prearm");
    int           failing  = 0;

    part_head(s, status);
    view_stop(s, status);
    part_trial(s, status);
    part_model(s, status);
    if (js_str(status, "model.last", "")[0])
        screen_wrap(s, 10, DIM "          %s", js_str(status, "model.last", ""));
    part_planner(s, status);
    part_control(s, status);
    part_link(s, status);
    part_gates(s, status);
    part_heat(s, status);
    screen_line(s, "memory    %s MB  page faults %ld since %s",
                figure(js_num(status, "memory.resident_kb") / 1024, 1, "").text, js_int(status, "control.page_faults"),
                js_str(status, "control.since", "start"));
    part_syscalls(s, status);
    for (size_t i = 0; i < json_array_size(warnings); i++)
        screen_wrap(s, 10, WARN "%s" PLAIN "%s", i ? "          " : "real time ",
                    json_string_value(json_array_get(warnings, i)) ?: "-");
    for (size_t i = 0; i < json_array_size(prearm); i++)
        failing += !js_true(json_array_get(prearm, i), "ok");
    if (!strcmp(js_str(status, "mode", ""), "DISARMED")) {
        screen_line(s, "pre-arm   %s%s", failing ? WARN : GOOD, failing ? "not ready to arm" : "ready to arm");
        view_prearm(s, prearm);
    }
    part_events(s, status, 4);
    screen_wrap(s, 10, DIM "run dir   %s  store %s", js_str(status, "run_dir", "-"), js_str(status, "store", "-"));
}

void view_trials(struct screen *s, const json_t *status)
{
    const json_t *history = js_at(status, "trials.history");
    double        best    = (double)NAN;

    screen_line(s, BOLD "%6s  %-8s %-9s %9s %9s %7s %11s", "trial", "kind", "status", "return", "best", "model",
                "error");
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *t   = json_array_get(history, i);
        double        ret = js_num(t, "return");
        bool counts       = !strcmp(js_str(t, "kind", ""), "planned") && !strcmp(js_str(t, "status", ""), "finished");
        bool record       = counts && (!isfinite(best) || ret > best);

        if (record)
            best = ret;
        screen_line(s, "%6ld  %-8s %-9s %s%9s" PLAIN " %9s %7ld %11s", js_int(t, "number"), js_str(t, "kind", "-"),
                    js_str(t, "status", "-"), record ? GOOD : PLAIN, figure(ret, 2, "").text, figure(best, 2, "").text,
                    js_int(t, "model"), figure(js_num(t, "prequential_rmse"), 4, "").text);
    }
}

void view_timing(struct screen *s, const json_t *status)
{
    part_planner(s, status);
    part_control(s, status);
}

void view_trial_line(struct screen *s, const json_t *status, const json_t *trial, double best)
{
    screen_line(s, "trial %3ld  %-8s %-9s return %8s  best %8s  model %ld  error %s  misses %ld  planner p99 %s",
                js_int(trial, "number"), js_str(trial, "kind", "-"), js_str(trial, "status", "-"),
                figure(js_num(trial, "return"), 2, "").text, figure(best, 2, "").text, js_int(trial, "model"),
                figure(js_num(trial, "prequential_rmse"), 4, "").text, js_int(status, "control.misses"),
                NUM("planner.ms.p99", 2, " ms"));
}

void view_heartbeat(struct screen *s, const json_t *status)
{
    screen_line(s, "  ... trial %ld %s step %ld/%ld  %s  model %ld  trainer %s  ticks %ld  misses %ld",
                js_int(status, "trials.number"), js_str(status, "trials.phase", "-"), js_int(status, "trials.step"),
                js_int(status, "trials.steps"), js_str(status, "mode", "-"), js_int(status, "model.version"),
                js_str(status, "model.trainer", "-"), js_int(status, "control.ticks"),
                js_int(status, "control.misses"));
}
