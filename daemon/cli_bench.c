/* cli_bench.c - benchmarks that drive whole processes: limber bench-cartpole, limber bench-rt (docs/benchmarks.md). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_plot.h"
#include "daemon/cli_watch.h"

enum { SEEDS_MAX = 100 };

/* What the issue of the cart-pole asks: by which trial the running maximum reaches these. */
static const double LEVELS[] = { 170, 175, 180 };

/* OUT/20260131-235959-NAME; parents are made by the session. */
static void bench_dir(const char *out, const char *name, char *dir, size_t n)
{
    struct tm tm;
    time_t    now = time(NULL);
    char      stamp[32];

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    snprintf(dir, n, "%s/%s-%s", out, stamp, name);
}

static int write_json(const char *out, const char *name, const json_t *report)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", out, name);
    if (json_dump_file(report, path, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) == 0) {
        printf("%s\n", path);
        return EXIT_OK;
    }
    fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
    return EXIT_CANTCREATE;
}

static json_t *percentiles(const json_t *status, const char *path)
{
    static const char *const keys[] = { "p50", "p99", "p999", "max" };

    json_t *p = json_object();

    for (int i = 0; i < 4; i++)
        json_object_set_new(p, keys[i], js_real(js_num(js_at(status, path), keys[i])));
    return p;
}

/* --- bench-cartpole -------------------------------------------------------------------------------------------- */

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
        if (!strcmp(js_str(t, "kind", ""), "random")) {
            if (!isfinite(c->random))
                c->random = ret;
        } else if (c->n < CURVE_MAX) {
            c->ret[c->n++] = ret;
        }
    }
}

static json_t *seed_report(long seed, const struct curve *c, const struct session *s)
{
    json_t *returns = json_array(), *best = json_array(), *r;
    double  last = 0, train_s;
    int     n    = c->n < 5 ? c->n : 5;
    char    store[600], key[40];

    snprintf(store, sizeof store, "%s", js_str(s->status, "store", ""));
    train_s = store_train_s(store);
    for (int i = 0; i < c->n; i++) {
        json_array_append_new(returns, js_real(c->ret[i]));
        json_array_append_new(best, js_real(curve_best(c, i)));
    }
    for (int i = c->n - n; i < c->n; i++)
        last += c->ret[i] / n;

    r = json_pack("{s:I, s:o, s:o, s:o}", "seed", (json_int_t)seed, "random_return", js_real(c->random), "returns",
                  returns, "running_max", best);
    for (int i = 0; i < 3; i++) {
        int trial = curve_first(c, LEVELS[i]);

        snprintf(key, sizeof key, "first_trial_ge_%.0f", LEVELS[i]);
        json_object_set_new(r, key, trial ? json_integer(trial) : json_null());
    }
    json_object_set_new(r, "last5_mean", js_real(n ? last : (double)NAN));
    json_object_set_new(r, "ticks", json_integer(js_int(s->status, "control.ticks")));
    json_object_set_new(r, "misses", json_integer(js_int(s->status, "control.misses")));
    json_object_set_new(r, "planner_ms", percentiles(s->status, "planner.ms"));
    json_object_set_new(r, "trainer_s_mean", js_real(isfinite(train_s) ? train_s : js_num(s->status, "model.train_s")));
    json_object_set_new(r, "models",
                        json_pack("{s:I, s:I, s:I}", "published", (json_int_t)js_int(s->status, "model.published"),
                                  "refused", (json_int_t)js_int(s->status, "model.refused"), "rolled_back",
                                  (json_int_t)js_int(s->status, "model.rolled_back")));
    return r;
}

static void print_row(const char *name, const struct curve *c, bool best)
{
    printf("  %-12s", name);
    for (int i = 0; i < c->n; i++)
        printf(" %6.1f", best ? curve_best(c, i) : c->ret[i]);
    printf("\n");
}

static void print_seed(long seed, const struct curve *c, const json_t *r, double seconds)
{
    printf("seed %ld (%.0f s)  random %.1f  last five %.1f\n", seed, seconds, c->random, js_num(r, "last5_mean"));
    print_row("return", c, false);
    print_row("running max", c, true);
    printf("  reaches ");
    for (int i = 0; i < 3; i++) {
        int trial = curve_first(c, LEVELS[i]);

        if (trial)
            printf("%.0f in trial %d", LEVELS[i], trial);
        else
            printf("%.0f never", LEVELS[i]);
        printf(i < 2 ? ", " : "\n");
    }
    printf("  %ld ticks, %ld misses; planner ms p50 %.2f p99 %.2f p99.9 %.2f max %.2f; training %.2f s; models %ld "
           "published, %ld refused, "
           "%ld rolled back\n",
           js_int(r, "ticks"), js_int(r, "misses"), js_num(r, "planner_ms.p50"), js_num(r, "planner_ms.p99"),
           js_num(r, "planner_ms.p999"), js_num(r, "planner_ms.max"), js_num(r, "trainer_s_mean"),
           js_int(r, "models.published"), js_int(r, "models.refused"), js_int(r, "models.rolled_back"));
    fflush(stdout);
}

struct cartpole_bench {
    const char   *config, *out;
    long          seeds, first, trials;
    bool          lockstep;
    json_t       *reports;
    struct curve *curve; /* one per seed done */
    int           done;
    char          isa[32];
    const char   *mode;
};

/* One seed in a fresh directory; EXIT_OK and its report appended, or the code to end with. */
static int one_seed(struct cartpole_bench *b, long seed, struct terminal *t)
{
    struct session *s = malloc(sizeof *s);
    char            dir[600], name[32], label[32];
    struct timespec start, stop;

    if (!s)
        return EXIT_OSERR;
    snprintf(name, sizeof name, "s%ld", seed);
    snprintf(label, sizeof label, "seed %ld", seed);
    bench_dir(b->out, name, dir, sizeof dir);
    clock_gettime(CLOCK_MONOTONIC, &start);
    int rc = session_start(
        s, &(struct session_options){
               .config = b->config, .run_dir = dir, .seed = seed, .trials = b->trials, .lockstep = b->lockstep });

    if (rc == EXIT_OK) {
        rc = session_finish(s, watch_session(s, t, &(struct watch){ .label = label }));
        clock_gettime(CLOCK_MONOTONIC, &stop);
        if (rc == EXIT_OK) {
            struct curve *c = &b->curve[b->done++];

            curve_from_history(s->status, c);
            snprintf(c->label, sizeof c->label, "seed %ld", seed);
            json_t *r = seed_report(seed, c, s);

            json_array_append_new(b->reports, r);
            snprintf(b->isa, sizeof b->isa, "%s", js_str(s->status, "planner.isa", ""));
            b->mode = js_true(s->status, "link.lockstep") ? "lockstep" : "real-time";
            print_seed(seed, c, r, (double)(stop.tv_sec - start.tv_sec));
        }
        session_free(s);
    }
    free(s);
    return rc;
}

static int write_cartpole(const struct cartpole_bench *b)
{
    json_t *report = json_pack("{s:o, s:s, s:O}", "machine", machine_json(b->isa[0] ? b->isa : NULL), "mode", b->mode,
                               "seeds", b->reports);
    char    png[600], title[200], why[700];
    int     rc = write_json(b->out, "cartpole.json", report);

    json_decref(report);
    snprintf(png, sizeof png, "%s/cartpole.png", b->out);
    snprintf(title, sizeof title, "Cart-pole, %d seed%s, %s", b->done, b->done == 1 ? "" : "s", b->mode);
    if (plot_curves(png, title, b->curve, b->done, LEVELS, 3, why, sizeof why) == 0) {
        printf("%s\n", png);
    } else {
        fprintf(stderr, "limber: %s\n", why);
        rc = EXIT_CANTCREATE;
    }
    return rc;
}

/* Every seed starts from nothing, which a store named in the configuration would not be. */
static int no_store_named(const char *config)
{
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700];
    int                  rc = EXIT_OK;

    if (!c || config_load(config, c, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", c ? why : "no memory");
        rc = EXIT_CONFIG;
    } else if (c->paths.store[0]) {
        fprintf(stderr, "limber: %s sets paths.store, but every seed must start with an empty store; remove it\n",
                config);
        rc = EXIT_CONFIG;
    }
    free(c);
    return rc;
}

static int run_seeds(struct cartpole_bench *b)
{
    struct terminal t;
    int             rc = EXIT_OK;

    b->reports = json_array();
    b->curve   = calloc((size_t)b->seeds, sizeof *b->curve);
    if (!b->curve)
        return EXIT_OSERR;
    terminal_open(&t, false, true);
    for (long i = 0; i < b->seeds && rc == EXIT_OK; i++)
        rc = one_seed(b, b->first + i, &t);
    terminal_close(&t);
    if (b->done) {
        int written = write_cartpole(b); /* also what was done before an interruption */

        rc = rc == EXIT_OK ? written : rc;
    }
    json_decref(b->reports);
    free(b->curve);
    return rc;
}

int verb_bench_cartpole(int argc, char **argv)
{
    struct cartpole_bench b = { .out = "build/bench", .first = 1, .seeds = 1, .trials = 15, .mode = "real-time" };

    const struct flag flags[] = {
        { .name = "config", .value = "FILE", .what = "robot.yaml", .text = &b.config },
        { .name = "seeds", .value = "N", .what = "how many (1)", .number = &b.seeds, .min = 1, .max = SEEDS_MAX },
        { .name = "first", .value = "S", .what = "first seed (1)", .number = &b.first, .min = 0, .max = 1e9 },
        { .name   = "trials",
          .value  = "N",
          .what   = "planned trials of each (15)",
          .number = &b.trials,
          .min    = 1,
          .max    = TRIALS_MAX },
        { .name = "lockstep", .what = "no delay, no real time; said in the report", .on = &b.lockstep },
        { .name = "out", .value = "D", .what = "directory for runs and reports (build/bench)", .text = &b.out },
        { 0 }
    };
    const struct usage usage = {
        .line  = "bench-cartpole --config FILE [--seeds N] [--first S] [--trials 15] [--lockstep] [--out D]",
        .text  = "Runs every seed from nothing in a fresh directory; writes cartpole.json and cartpole.png.",
        .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (!b.config) {
        fprintf(stderr, "limber bench-cartpole: --config is missing; usage: limber %s\n", usage.line);
        return EXIT_USAGE;
    }
    rc = no_store_named(b.config);
    return rc == EXIT_OK ? run_seeds(&b) : rc;
}

/* --- bench-rt -------------------------------------------------------------------------------------------------- */

static const char *const RT_HISTOGRAMS[][2] = { { "wake_us", "control.wake_us" },
                                                { "compute_us", "control.compute_us" },
                                                { "loop_us", "control.loop_us" },
                                                { "planner_ms", "planner.ms" } };

static json_t *rt_report(const struct session *s, double minutes)
{
    const json_t *st = s->status;
    json_t       *r  = json_pack("{s:o, s:s, s:f, s:f, s:b}", "machine", machine_json(js_str(st, "planner.isa", NULL)),
                                 "robot", s->config.robot, "minutes", minutes, "control_hz", s->config.control_hz, "lockstep",
                                 js_true(st, "link.lockstep"));

    static const char *const counters[][2] = { { "ticks", "control.ticks" },
                                               { "misses", "control.misses" },
                                               { "plans_cut", "planner.cut" },
                                               { "plans_late", "planner.late" },
                                               { "late_commands", "link.late_commands" },
                                               { "missing_states", "link.missing" },
                                               { "page_faults", "control.page_faults" },
                                               { "voluntary_switches", "control.voluntary_switches" },
                                               { "involuntary_switches", "control.involuntary_switches" },
                                               { "resident_start_kb", "memory.resident_start_kb" },
                                               { "resident_kb", "memory.resident_kb" },
                                               { "models_published", "model.published" } };

    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        json_object_set_new(r, counters[i][0], json_integer(js_int(st, counters[i][1])));
    for (int i = 0; i < 4; i++)
        json_object_set_new(r, RT_HISTOGRAMS[i][0], percentiles(st, RT_HISTOGRAMS[i][1]));
    json_object_set_new(r, "realtime_ok", json_boolean(js_true(st, "realtime.ok")));
    json_object_set(r, "realtime_warnings", (json_t *)js_at(st, "realtime.warnings"));
    return r;
}

static void print_rt(const json_t *r)
{
    printf("%s, %ld cores, kernel %s, %s\n", js_str(r, "machine.cpu", "-"), js_int(r, "machine.cores"),
           js_str(r, "machine.kernel", "-"), js_str(r, "machine.isa", "-"));
    printf("%ld ticks at %.0f Hz in %.3g min: %ld misses, %ld late plans, %ld late commands, %ld states missing\n",
           js_int(r, "ticks"), js_num(r, "control_hz"), js_num(r, "minutes"), js_int(r, "misses"),
           js_int(r, "plans_late"), js_int(r, "late_commands"), js_int(r, "missing_states"));
    printf("%-12s %10s %10s %10s %10s\n", "", "p50", "p99", "p99.9", "max");
    for (int i = 0; i < 4; i++) {
        const json_t *p = js_at(r, RT_HISTOGRAMS[i][0]);

        printf("%-12s %10.2f %10.2f %10.2f %10.2f\n", RT_HISTOGRAMS[i][0], js_num(p, "p50"), js_num(p, "p99"),
               js_num(p, "p999"), js_num(p, "max"));
    }
    printf("since arming: %ld page faults, %ld voluntary and %ld involuntary context switches of the control thread\n",
           js_int(r, "page_faults"), js_int(r, "voluntary_switches"), js_int(r, "involuntary_switches"));
    printf("resident memory: %ld kB at the start, %ld kB at the end; models published meanwhile: %ld\n",
           js_int(r, "resident_start_kb"), js_int(r, "resident_kb"), js_int(r, "models_published"));
    if (!js_true(r, "realtime_ok"))
        printf("not a real-time setup: limber doctor says why\n");
}

/* More trials than fit into the minutes, so that there is always one more to plan for; 0 after saying what is wrong. */
static long trials_for(const char *config, double minutes)
{
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700];
    long                 n = 0;

    if (c && config_load(config, c, why, sizeof why) == 0)
        n = 2 + (long)(60 * minutes * c->control_hz / ((double)c->trials.steps * c->plan_every));
    else
        fprintf(stderr, "limber: %s\n", c ? why : "no memory");
    free(c);
    return n < TRIALS_MAX ? n : TRIALS_MAX;
}

static int run_rt(const char *config, double minutes, const char *out)
{
    long            trials = trials_for(config, minutes);
    struct session *s;
    struct terminal t;
    char            dir[600];

    if (!trials)
        return EXIT_CONFIG;
    s = malloc(sizeof *s);
    if (!s)
        return EXIT_OSERR;
    bench_dir(out, "rt", dir, sizeof dir);
    terminal_open(&t, false, true);
    int rc =
        session_start(s, &(struct session_options){
                             .config = config, .run_dir = dir, .seed = -1, .trials = trials, .train_flat_out = true });

    if (rc == EXIT_OK) {
        enum session_end end = watch_session(s, &t, &(struct watch){ .label = "bench-rt", .armed_s = 60 * minutes });

        double armed_s = session_armed_s(s);

        rc = session_finish(s, end);
        if (rc == EXIT_OK) {
            json_t *r = rt_report(s, armed_s / 60);

            print_rt(r);
            rc = write_json(out, "rt.json", r);
            json_decref(r);
        }
        session_free(s);
    }
    terminal_close(&t);
    free(s);
    return rc;
}

int verb_bench_rt(int argc, char **argv)
{
    const char       *config = NULL, *out = "build/bench";
    double            minutes = 30;
    const struct flag flags[] = {
        { .name = "config", .value = "FILE", .what = "robot.yaml", .text = &config },
        { .name = "minutes", .value = "M", .what = "armed time (30)", .real = &minutes, .min = 0.01, .max = 1e5 },
        { .name = "out", .value = "D", .what = "directory for the run and the report (build/bench)", .text = &out },
        { 0 }
    };
    const struct usage usage = { .line  = "bench-rt --config FILE [--minutes 30] [--out D]",
                                 .text  = "Timing of a simulated robot while the trainer never rests; writes rt.json.",
                                 .flags = flags };
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (!config) {
        fprintf(stderr, "limber bench-rt: --config is missing; usage: limber %s\n", usage.line);
        return EXIT_USAGE;
    }
    return run_rt(config, minutes, out);
}
