/* bench_learn_seed.c - one seed: its directory, what an earlier bench left there, its run, its report. */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/run_dir.h"

static const double GOING_S = 10; /* the daemon of a bench that was killed needs a moment to end */

static const char *in_dir(const struct learn_seed *s, const char *name, char out[PATH_SIZE + 32])
{
    snprintf(out, PATH_SIZE + 32, "%s/%s", s->dir, name);
    return out;
}

/* --- files --- */

static int write_text(const struct learn_seed *s, const char *name, const char *text)
{
    char  path[PATH_SIZE + 32];
    FILE *f = fopen(in_dir(s, name, path), "we");

    if (f && fputs(text, f) >= 0 && fclose(f) == 0)
        return EXIT_OK;
    fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
    return EXIT_CANTCREATE;
}

static char *read_text(const struct learn_seed *s, const char *name)
{
    char    path[PATH_SIZE + 32], *text = NULL;
    size_t  room = 0;
    FILE   *f    = fopen(in_dir(s, name, path), "re");
    ssize_t n    = f ? getdelim(&text, &room, 0, f) : -1;

    if (f)
        fclose(f);
    if (n >= 0)
        return text;
    free(text);
    return NULL;
}

static int make_dirs(const char *path)
{
    char part[PATH_SIZE];

    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(part, 0755);
            *p = '/';
        }
    if (mkdir(part, 0750) == 0 || errno == EEXIST)
        return EXIT_OK;
    fprintf(stderr, "limber: cannot make %s: %s\n", path, strerror(errno));
    return EXIT_CANTCREATE;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* Only what a bench has made. */
static int start_over(const struct learn_seed *s)
{
    char path[PATH_SIZE + 32];

    if (access(in_dir(s, "task.yaml", path), F_OK) != 0)
        return EXIT_OK;
    if (nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0)
        return EXIT_OK;
    fprintf(stderr, "limber: cannot remove %s: %s\n", s->dir, strerror(errno));
    return EXIT_CANTCREATE;
}

/* --- is it the same experiment? --- */

/* The next line of *at and its length; NULL at the end. */
static const char *line_of(const char **at, size_t *n)
{
    const char *line = *at;

    if (!*line)
        return NULL;
    *n  = strcspn(line, "\n");
    *at = line + *n + (line[*n] == '\n');
    return line;
}

/* In lockstep it does not matter which core computes: `cores` and what is indented below it is passed over. */
static const char *line_that_counts(const char **at, size_t *n, bool lockstep, bool *inside)
{
    const char *line;

    while ((line = line_of(at, n))) {
        *inside = lockstep && (!strncmp(line, "cores:", 6) || (*inside && line[0] == ' '));
        if (!*inside)
            break;
    }
    return line;
}

static bool same_text(const char *a, const char *b, bool lockstep, char *first, size_t size)
{
    bool        in_a = false, in_b = false;
    size_t      n = 0, m = 0;
    const char *x, *y;

    do {
        x = line_that_counts(&a, &n, lockstep, &in_a);
        y = line_that_counts(&b, &m, lockstep, &in_b);
    } while (x && y && n == m && !memcmp(x, y, n));
    snprintf(first, size, "has \"%.*s\", now it is \"%.*s\"", x ? (int)n : 0, x ? x : "", y ? (int)m : 0, y ? y : "");
    return !x && !y;
}

static int same_experiment(const struct learn *l, const struct learn_seed *s)
{
    const char *name[] = { "robot.yaml", "task.yaml" }, *now[] = { l->text[0], l->task_text };
    char        what[400];

    for (int i = 0; i < 2; i++) {
        char *before = read_text(s, name[i]);

        if (before && !same_text(before, now[i], l->mode[0] == 'l', what, sizeof what)) {
            fprintf(stderr,
                    "limber %s: %s was begun with another configuration: its %s %s.  --fresh starts all seeds again, "
                    "--name "
                    "LABEL keeps both\n",
                    l->verb, s->dir, name[i], what);
            free(before);
            return EXIT_CONFIG;
        }
        free(before);
    }
    return EXIT_OK;
}

/* --- what a curve says --- */

/* What follows from the returns alone. */
static json_t *curve_json(const struct learn *l, const struct learn_seed *s)
{
    const struct curve *c       = s->curve;
    json_t             *returns = json_array(), *best = json_array(), *windows = json_array(), *r;
    char                key[48];

    for (int i = 0; i < c->n; i++) {
        json_array_append_new(returns, js_real(c->ret[i]));
        json_array_append_new(best, js_real(curve_best(c, i)));
        json_array_append_new(windows, js_real(curve_window(c, l->goals.window, i)));
    }
    r = json_pack("{s:I, s:o, s:o, s:o, s:o}", "seed", (json_int_t)s->seed, "random_return", js_real(c->random),
                  "returns", returns, "running_max", best, "window_mean", windows);
    for (int i = 0; i < l->goals.levels; i++) {
        int trial = curve_first(c, l->goals.level[i]);

        snprintf(key, sizeof key, "first_trial_ge_%g", l->goals.level[i]);
        json_object_set_new(r, key, trial ? json_integer(trial) : json_null());
    }
    snprintf(key, sizeof key, "last%d_mean", l->goals.window);
    json_object_set_new(r, key, js_real(curve_last_mean(c, l->goals.window)));
    json_object_set_new(r, "last_mean", js_real(curve_last_mean(c, l->goals.window)));
    return r;
}

/* --- opening --- */

static void curve_of_report(const json_t *r, struct curve *c)
{
    const json_t *returns = js_at(r, "returns");

    c->random = js_num(r, "random_return");
    for (size_t i = 0; i < json_array_size(returns) && c->n < CURVE_MAX; i++)
        c->ret[c->n++] = js_num(json_array_get(returns, i), "");
}

/* A finished report is taken as it is, unless more trials are wanted now; goals.json may have changed since. */
static void take_report(struct learn *l, struct learn_seed *s)
{
    char    path[PATH_SIZE + 32];
    json_t *r = json_load_file(in_dir(s, "report.json", path), 0, NULL);

    if (r && (long)json_array_size(js_at(r, "returns")) >= l->trials && !js_str(r, "stopped", NULL)) {
        s->report = r;
        s->done   = true;
        curve_of_report(r, s->curve);
        json_object_update_new(r, curve_json(l, s));
        snprintf(l->isa, sizeof l->isa, "%s", js_str(r, "isa", ""));
    } else {
        json_decref(r);
    }
}

int seed_open(struct learn *l, struct learn_seed *s)
{
    struct learn_facts f;
    char               store[PATH_SIZE + 32], why[700];
    int                rc = EXIT_OK;

    snprintf(s->dir, sizeof s->dir, "%s/seed-%ld", l->base, s->seed);
    s->curve = calloc(1, sizeof *s->curve);
    if (!s->curve)
        return EXIT_OSERR;
    s->curve->random = (double)NAN;
    snprintf(s->curve->label, sizeof s->curve->label, "seed %ld", s->seed);
    if (l->fresh)
        rc = start_over(s);
    if (rc == EXIT_OK)
        rc = same_experiment(l, s);
    if (rc != EXIT_OK)
        return rc;
    take_report(l, s);
    if (!s->done && access(in_dir(s, "experience.db", store), R_OK) == 0 &&
        learn_store(store, &l->goals, s->curve, &f, why, sizeof why) == 0) {
        s->before  = f.trials;
        s->resumed = f.trials > 0 || isfinite(s->curve->random);
    }
    return EXIT_OK;
}

int seed_start(struct learn *l, struct learn_seed *s, int slot)
{
    int rc = make_dirs(s->dir);

    if (rc == EXIT_OK)
        rc = write_text(s, "task.yaml", l->task_text);
    if (rc == EXIT_OK)
        rc = write_text(s, "robot.yaml", l->text[slot]);
    if (rc != EXIT_OK)
        return rc;
    char config[PATH_SIZE + 32];

    in_dir(s, "robot.yaml", config);
    for (uint64_t start = clock_now_ns(); run_dir_alive(s->dir) && 1e-9 * (double)(clock_now_ns() - start) < GOING_S;)
        clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
    s->session = malloc(sizeof *s->session);
    if (!s->session)
        return EXIT_OSERR;
    s->slot       = slot;
    s->started_ns = clock_now_ns();
    rc            = session_start(s->session, &(struct session_options){ .config   = config,
                                                                         .run_dir  = s->dir,
                                                                         .seed     = s->seed,
                                                                         .trials   = l->trials,
                                                                         .lockstep = l->lockstep,
                                                                         .ordinary = l->jobs > 1 });
    if (rc != EXIT_OK) {
        free(s->session);
        s->session = NULL;
    }
    return rc;
}

/* --- ending --- */

/* Without a store, the status document has the newest trials. */
static void curve_from_history(const json_t *status, struct curve *c)
{
    const json_t *history = js_at(status, "trials.history");

    c->n      = 0;
    c->random = (double)NAN;
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *t   = json_array_get(history, i);
        double        ret = js_num(t, "return");

        if (strcmp(js_str(t, "status", ""), "finished") != 0 || !isfinite(ret))
            continue;
        if (strcmp(js_str(t, "kind", ""), "random") != 0 && c->n < CURVE_MAX)
            c->ret[c->n++] = ret;
        else if (!isfinite(c->random))
            c->random = ret;
    }
}

static json_t *percentiles(const json_t *status)
{
    static const char *const keys[] = { "p50", "p99", "p999", "max" };

    json_t *p = json_object();

    for (int i = 0; i < 4; i++)
        json_object_set_new(p, keys[i], js_real(js_num(js_at(status, "planner.ms"), keys[i])));
    return p;
}

static json_t *models_json(const json_t *status, const struct learn_facts *f)
{
    long published = f->published >= 0 ? f->published : js_int(status, "model.published");
    long refused   = f->refused >= 0 ? f->refused : js_int(status, "model.refused");
    long back      = f->rolled_back >= 0 ? f->rolled_back : js_int(status, "model.rolled_back");

    return json_pack("{s:I, s:I, s:I}", "published", (json_int_t)published, "refused", (json_int_t)refused,
                     "rolled_back", (json_int_t)back);
}

static void add_posture(json_t *r, const struct learn *l, const struct learn_facts *f)
{
    if (l->goals.posture[0] && isfinite(f->beyond))
        json_object_set_new(r, "posture",
                            json_pack("{s:f, s:s}", "beyond", f->beyond, "verdict",
                                      f->beyond > 0.5 ? "flipped" : "on_feet"));
}

static json_t *make_report(const struct learn *l, const struct learn_seed *s, const struct learn_facts *f)
{
    const json_t *st = s->session->status;
    json_t       *r  = curve_json(l, s);
    char          store[PATH_SIZE + 32];

    json_object_set_new(r, "ticks", json_integer(js_int(st, "control.ticks")));
    json_object_set_new(r, "misses", json_integer(js_int(st, "control.misses")));
    json_object_set_new(r, "planner_ms", percentiles(st));
    json_object_set_new(r, "planner",
                        json_pack("{s:o, s:o, s:I, s:I}", "iterations", js_real(js_num(st, "planner.iterations")),
                                  "iterations_mean", js_real(f->iterations), "cut",
                                  (json_int_t)js_int(st, "planner.cut"), "late",
                                  (json_int_t)js_int(st, "planner.late")));
    json_object_set_new(r, "trainer_s_mean",
                        js_real(isfinite(f->train_s_mean) ? f->train_s_mean : js_num(st, "model.train_s")));
    json_object_set_new(r, "trainer_s_total", js_real(f->train_s_total));
    json_object_set_new(r, "models", models_json(st, f));
    json_object_set_new(r, "aborted_trials", json_integer(f->aborted));
    json_object_set_new(r, "missing_steps", json_integer(f->missing));
    json_object_set_new(r, "gate_trips", learn_trips(in_dir(s, "experience.db", store)));
    add_posture(r, l, f);
    json_object_set_new(r, "resumed", json_boolean(s->resumed));
    json_object_set_new(r, "seconds", js_real(s->seconds));
    json_object_set_new(r, "commit", l->commit[0] ? json_string(l->commit) : json_null());
    json_object_set_new(r, "isa", json_string(js_str(st, "planner.isa", "")));
    return r;
}

static const char *why_stopped(const struct session *s, enum session_end end)
{
    return end == END_STOPPED    ? js_str(s->status, "stop.cause", "a latched stop")
           : end == END_CHILD    ? "a program ended by itself"
           : end == END_DISARMED ? "disarmed by someone else"
                                 : s->why;
}

int seed_finish(struct learn *l, struct learn_seed *s, enum session_end end)
{
    struct learn_facts f;
    char               store[PATH_SIZE + 32], path[PATH_SIZE + 32], why[700];
    bool               armed = s->session->phase == PHASE_ARMED;
    int                rc    = session_finish(s->session, end);

    s->seconds = 1e-9 * (double)(clock_now_ns() - s->started_ns);
    if (learn_store(in_dir(s, "experience.db", store), &l->goals, s->curve, &f, why, sizeof why) != 0)
        curve_from_history(s->session->status, s->curve);
    if (end != END_INTERRUPTED && armed) {
        s->report  = make_report(l, s, &f);
        s->done    = rc == EXIT_OK;
        s->stopped = !s->done;
        snprintf(l->isa, sizeof l->isa, "%s", js_str(s->report, "isa", ""));
        l->mode = js_true(s->session->status, "link.lockstep") ? "lockstep" : "real-time";
        if (s->stopped)
            json_object_set_new(s->report, "stopped", json_string(why_stopped(s->session, end)));
        if (json_dump_file(s->report, in_dir(s, "report.json", path), JSON_INDENT(2) | JSON_REAL_PRECISION(8)) != 0)
            fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
    }
    session_free(s->session);
    free(s->session);
    s->session = NULL;
    return rc;
}

void seed_close(struct learn_seed *s)
{
    free(s->curve);
    json_decref(s->report);
}

/* --- printing --- */

enum { ROW = 15 };

static void print_rows(FILE *f, const char *name, const json_t *values)
{
    for (size_t i = 0; i < json_array_size(values); i++) {
        double v = js_num(json_array_get(values, i), "");

        if (i % ROW == 0)
            fprintf(f, "%s  %-12s", i ? "\n" : "", i ? "" : name);
        if (isfinite(v))
            fprintf(f, " %7.1f", v);
        else
            fprintf(f, " %7s", "-");
    }
    fprintf(f, "\n");
}

static void print_trips(FILE *f, const json_t *trips)
{
    long all = 0;

    if (!json_is_array(trips))
        return;
    fprintf(f, "  gate trips:");
    for (size_t i = 0; i < json_array_size(trips); i++) {
        long n = js_int(json_array_get(trips, i), "");

        if (n > 0)
            fprintf(f, "%s %ld in trial %zu", all ? "," : "", n, i + 1);
        all += n > 0 ? n : 0;
    }
    fprintf(f, "%s\n", all ? "" : " none");
}

void seed_print(const struct learn *l, const struct learn_seed *s)
{
    const json_t *r = s->report;
    FILE         *f = l->say;

    fprintf(f, "seed %ld (%.0f s%s%s)  random %.1f  last %d %.1f\n", s->seed, js_num(r, "seconds"),
            js_true(r, "resumed") ? ", resumed" : "", js_str(r, "stopped", NULL) ? ", STOPPED EARLY" : "",
            s->curve->random, l->goals.window, js_num(r, "last_mean"));
    print_rows(f, "return", js_at(r, "returns"));
    print_rows(f, "running max", js_at(r, "running_max"));
    print_rows(f, "window mean", js_at(r, "window_mean"));
    for (int i = 0; i < l->goals.levels; i++) {
        int trial = curve_first(s->curve, l->goals.level[i]);

        fprintf(f, "%s%g ", i ? ", " : "  reaches ", l->goals.level[i]);
        if (trial)
            fprintf(f, "in trial %d", trial);
        else
            fprintf(f, "never");
    }
    if (l->goals.levels)
        fprintf(f, "\n");
    print_trips(f, js_at(r, "gate_trips"));
    if (js_at(r, "posture"))
        fprintf(f, "  posture: %s; beyond the limit in %.0f %% of the steps of the last trials\n",
                js_str(r, "posture.verdict", ""), 100 * js_num(r, "posture.beyond"));
    fprintf(
        f,
        "  %ld ticks, %ld misses, %ld plans cut, %.1f iterations; planner ms p50 %.2f p99 %.2f p99.9 %.2f max %.2f; "
        "training %.2f s; models %ld published, %ld refused, %ld rolled back\n",
        js_int(r, "ticks"), js_int(r, "misses"), js_int(r, "planner.cut"), js_num(r, "planner.iterations_mean"),
        js_num(r, "planner_ms.p50"), js_num(r, "planner_ms.p99"), js_num(r, "planner_ms.p999"),
        js_num(r, "planner_ms.max"), js_num(r, "trainer_s_mean"), js_int(r, "models.published"),
        js_int(r, "models.refused"), js_int(r, "models.rolled_back"));
    fflush(f);
}
