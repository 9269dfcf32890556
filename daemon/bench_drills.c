/* bench_drills.c - see bench_drills.h. */
#include "daemon/bench_drills.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cli_http.h"
#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"

static const char *const names[DRILL_KINDS] = { "estop", "fault", "nan", "outside", "silence" };

/* A reaction may be so much later than due: what a robot side grants a daemon that is dead (docs/safety.md), two ticks more. */
static const double BOUND_MS = 20, BOUND_TICKS = 2;

static const double ARM_S = 30, NEVER_S = 1, ANSWER_S = 5;

/* ---- the robot's end ---- */

bool drills_open(struct drills *d, const char *run_dir)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    d->robot    = -1;
    d->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(d->path, sizeof d->path, "%s/drill.sock", run_dir);
    if (strlen(d->path) >= sizeof at.sun_path) {
        fprintf(stderr, "limber: %s is too long for a socket; choose a shorter --out\n", d->path);
        return false;
    }
    memcpy(at.sun_path, d->path, strlen(d->path) + 1);
    unlink(d->path);
    if (d->listener >= 0 && bind(d->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(d->listener, 1) == 0)
        return true;
    fprintf(stderr, "limber: no socket %s: %s\n", d->path, strerror(errno));
    return false;
}

void drills_close(struct drills *d)
{
    if (d->robot >= 0)
        close(d->robot);
    if (d->listener >= 0)
        close(d->listener);
    d->robot = d->listener = -1;
    unlink(d->path);
}

static bool readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) == 1;
}

bool drills_begin(struct drills *d, const struct session *s, double bound_ms)
{
    d->bound_ms = bound_ms > 0 ? bound_ms : BOUND_MS + 1e3 * BOUND_TICKS / s->config.control_hz;
    d->stale_ms = 1e3 * s->config.timeouts.state_stale_s;
    if (readable(d->listener, 2000))
        d->robot = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return d->robot >= 0;
}

/* ---- between drills ---- */

static bool posted(const struct session *s, const char *verb, json_t *body, char *why, size_t size)
{
    struct http_answer a;
    enum http_result   r    = http_post(s->run_dir, verb, body, &a);
    bool               good = r == HTTP_OK && a.status == 200 && js_true(a.json, "ok");

    if (!good)
        snprintf(why, size, "%s", r == HTTP_OK ? js_str(a.json, "error", "no reason given") : a.why);
    json_decref(a.json);
    json_decref(body);
    return good;
}

enum session_end drills_wait(struct session *s, struct terminal *t, double seconds)
{
    uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);

    for (uint64_t now = clock_now_ns(); now < until; now = clock_now_ns()) {
        if (terminal_wait(t, (double)(until - now) * 1e-9) == WAKE_INTERRUPT)
            return END_INTERRUPTED;
        if (child_ended(&s->daemon) || child_ended(&s->sim))
            return END_CHILD;
    }
    return END_NOT_YET;
}

enum session_end drills_arm(struct session *s, struct terminal *t)
{
    char             why[600] = "";
    uint64_t         begun    = clock_now_ns();
    enum session_end end      = END_NOT_YET;

    for (;;) {
        posted(s, "/reset", NULL, why, sizeof why);
        if (posted(s, "/arm", json_pack("{s:s, s:b}", "robot", s->config.robot, "yes", true), why, sizeof why))
            return END_NOT_YET;
        if ((end = drills_wait(s, t, 0.05)) != END_NOT_YET)
            return end;
        if ((double)(clock_now_ns() - begun) * 1e-9 > ARM_S) {
            snprintf(s->why, sizeof s->why, "not armed again within %.0f s of a drill: %.500s", ARM_S, why);
            return END_TROUBLE;
        }
    }
}

/* ---- one drill ---- */

static bool note(struct drill_found *f, struct drill_one one)
{
    if (f->n == f->room) {
        int               room = f->room ? 2 * f->room : 64;
        struct drill_one *more = realloc(f->one, (size_t)room * sizeof *more);

        if (!more)
            return false;
        f->one  = more;
        f->room = room;
    }
    f->one[f->n++] = one;
    return true;
}

/* The robot's answer.  1: noted, 0: it was not armed when the order came, -1: none that makes sense. */
static int take_answer(struct drills *d, enum drill_kind k, struct drill_found *f)
{
    char             line[100], name[16] = "", ms[32] = "";
    struct drill_one one = { .kind = k };
    ssize_t          n   = recv(d->robot, line, sizeof line - 1, 0);

    if (n <= 0)
        return -1;
    line[n] = 0;
    if (sscanf(line, "%15s %31s %ld", name, ms, &one.after) != 3 || strcmp(name, names[k]) != 0)
        return -1;
    if (strcmp(ms, "idle") == 0)
        return 0;
    one.ms = strcmp(ms, "never") == 0 ? (double)INFINITY : strtod(ms, NULL) - (k == DRILL_SILENCE ? d->stale_ms : 0);
    return note(f, one) ? 1 : -1;
}

int drills_one(struct drills *d, struct session *s, struct terminal *t, struct drill_found *f, enum session_end *end)
{
    enum drill_kind k       = (enum drill_kind)(f->next % DRILL_KINDS);
    double          seconds = NEVER_S + 1e-3 * (d->bound_ms + (k == DRILL_SILENCE ? d->stale_ms : 0));
    char            order[64];
    int             n = snprintf(order, sizeof order, "%s %.3f", names[k], seconds), got = -1;
    uint64_t        until = clock_now_ns() + (uint64_t)((seconds + ANSWER_S) * 1e9);

    *end = END_NOT_YET;
    if (send(d->robot, order, (size_t)n, MSG_NOSIGNAL) == n) {
        while (*end == END_NOT_YET && !readable(d->robot, 0) && clock_now_ns() < until)
            *end = drills_wait(s, t, 0.02);
        if (*end == END_NOT_YET)
            got = readable(d->robot, 0) ? take_answer(d, k, f) : -1;
    }
    if (got < 0 && *end == END_NOT_YET) {
        snprintf(s->why, sizeof s->why, "the simulated robot does not answer the order to have the fault %s", names[k]);
        *end = END_TROUBLE;
    }
    f->next += got == 1;
    return got == 1;
}

/* ---- the report ---- */

bool drill_missed(const struct drills *d, const struct drill_one *one)
{
    return !(one->ms <= d->bound_ms) || one->after > 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static const double      QUANTILE[]      = { 0.5, 0.99, 1 };
static const char *const QUANTILE_NAME[] = { "p50", "p99", "max" };
enum { QUANTILES = 3 };

/* Of the reactions from kind `from` to kind `to`. */
static json_t *quantiles(const struct drill_found *f, enum drill_kind from, enum drill_kind to)
{
    double *ms = calloc((size_t)f->n + 1, sizeof *ms);
    json_t *o  = json_object();
    int     n  = 0; /* a percentile of fewer than it needs is their maximum */

    for (int i = 0; ms && i < f->n; i++)
        if (f->one[i].kind >= from && f->one[i].kind <= to)
            ms[n++] = f->one[i].ms;
    if (n)
        qsort(ms, (size_t)n, sizeof *ms, by_size);
    for (int q = 0; q < QUANTILES; q++)
        json_object_set_new(o, QUANTILE_NAME[q], js_real(n ? ms[(int)ceil(QUANTILE[q] * n) - 1] : (double)NAN));
    free(ms);
    return o;
}

static json_t *ratios(const json_t *with, const json_t *quiet)
{
    json_t *o = json_object();

    for (int q = 0; q < QUANTILES; q++)
        json_object_set_new(o, QUANTILE_NAME[q],
                            js_real(js_num(with, QUANTILE_NAME[q]) / js_num(quiet, QUANTILE_NAME[q])));
    return o;
}

static json_t *kinds_json(const struct drills *d, const struct drill_found *f)
{
    json_t *o = json_object();

    for (int k = 0; k < DRILL_KINDS; k++) {
        int    count = 0, missed = 0;
        double worst = -(double)INFINITY;

        for (int i = 0; i < f->n; i++) {
            if ((int)f->one[i].kind != k)
                continue;
            count++;
            missed += drill_missed(d, &f->one[i]);
            worst = f->one[i].ms > worst ? f->one[i].ms : worst;
        }
        json_object_set_new(o, names[k],
                            json_pack("{s:i, s:i, s:o}", "count", count, "missed", missed, "max_ms", js_real(worst)));
    }
    return o;
}

json_t *drills_json(const struct drills *d, const struct drill_found *f, const json_t *quiet)
{
    int missed = 0, never = 0, after = 0;

    for (int i = 0; i < f->n; i++) {
        missed += drill_missed(d, &f->one[i]);
        never += !(f->one[i].ms < (double)INFINITY);
        after += f->one[i].after > 0;
    }
    json_t *o = json_pack("{s:i, s:i, s:i, s:i, s:o, s:o, s:o}", "count", f->n, "missed", missed, "never", never,
                          "torque_after", after, "told_ms", quantiles(f, DRILL_ESTOP, DRILL_OUTSIDE), "silence_ms",
                          quantiles(f, DRILL_SILENCE, DRILL_SILENCE), "kinds", kinds_json(d, f));
    json_object_set_new(o, "told_ratio", ratios(js_at(o, "told_ms"), js_at(quiet ? quiet : o, "told_ms")));
    json_object_set_new(o, "silence_ratio", ratios(js_at(o, "silence_ms"), js_at(quiet ? quiet : o, "silence_ms")));
    return o;
}

void drills_print(const char *with, const json_t *row)
{
    if (!row) {
        printf("%-13s %9s %6s  %-39s %-39s\n", "with", "reactions", "missed", "to what a state says p50 p99 max",
               "to silence p50 p99 max");
        return;
    }
    printf("%-13s %9ld %6ld ", with, js_int(row, "count"), js_int(row, "missed"));
    for (int part = 0; part < 2; part++) {
        const json_t *ms = js_at(row, part ? "silence_ms" : "told_ms"),
                     *r  = js_at(row, part ? "silence_ratio" : "told_ratio");

        for (int q = 0; q < QUANTILES; q++)
            printf(" %7.2f %5.2f", js_num(ms, QUANTILE_NAME[q]), js_num(r, QUANTILE_NAME[q]));
    }
    printf("\n");
}
