/* cli_bench.c - limber bench-rt: timing of whole processes (docs/benchmarks.md). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_watch.h"

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
