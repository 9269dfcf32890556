/* bench_interference.c - limber bench interference: does the control thread notice what else happens on the machine?
 *
 * One session of a simulated robot; short phases, with and without each disturbance, in turn and several times over, so that
 * what others do on the machine meets all of them alike.  Every tick's latencies come from the daemon's telemetry.  After
 * each phase the robot has faults in the same disturbance: each must stop it in time, as ever. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/bench.h"
#include "daemon/bench_drills.h"
#include "daemon/bench_ticks.h"
#include "daemon/cli_args.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_session.h"
#include "daemon/disturb.h"
#include "daemon/rt/clock.h"

enum { QUANTILES = 3, COUNTERS = 4 };

static const double      QUANTILE[QUANTILES]      = { 0.5, 0.99, 0.999 };
static const char *const QUANTILE_NAME[QUANTILES] = { "p50", "p99", "p999" };
static const char *const COUNTER[COUNTERS][2]     = { { "misses", "control.misses" },
                                                      { "plans_late", "planner.late" },
                                                      { "missing_states", "link.missing" },
                                                      { "late_commands", "link.late_commands" } };

/* What one kind of phase showed, all its rounds together. */
struct findings {
    double       *wake, *compute; /* us, one a tick */
    size_t        n, room;
    long          counter[COUNTERS];
    unsigned long done;

    struct drill_found drills;
};

struct interference {
    struct session      session;
    struct terminal     terminal;
    struct disturbance  disturbance;
    struct bench_ticks *ticks;
    struct drills       drills;
    struct findings     found[DISTURBANCES];
    long                before[COUNTERS];
    double              seconds, bound_ms; /* of a phase; of reactions, 0: the usual one */
    long                rounds, reactions; /* reactions: in a phase                      */
};

static bool keep(struct findings *f, double wake_us, double compute_us)
{
    if (f->n == f->room) {
        size_t  room    = f->room ? 2 * f->room : 4096;
        double *wake    = realloc(f->wake, room * sizeof *wake);
        double *compute = realloc(f->compute, room * sizeof *compute);

        f->wake    = wake ? wake : f->wake;
        f->compute = compute ? compute : f->compute;
        if (!wake || !compute)
            return false;
        f->room = room;
    }
    f->wake[f->n]      = wake_us;
    f->compute[f->n++] = compute_us;
    return true;
}

/* Ticks published since the last look; f NULL: thrown away. */
static void take_ticks(struct interference *b, struct findings *f)
{
    struct telemetry t;

    while (bench_ticks_next(b->ticks, &t))
        if (f && !keep(f, t.wake_us, t.compute_us))
            return;
}

/* Counters since the last call go to f. */
static enum session_end count(struct interference *b, struct findings *f)
{
    enum session_end end = END_NOT_YET;

    for (int i = 0; i < 20 && end == END_NOT_YET && (i == 0 || !b->session.status); i++)
        end = session_step(&b->session, &b->terminal, 0.2);
    for (int i = 0; i < COUNTERS; i++) {
        long now = js_int(b->session.status, COUNTER[i][1]);

        if (f)
            f->counter[i] += now > b->before[i] ? now - b->before[i] : 0;
        b->before[i] = now;
    }
    return end;
}

static bool begin(struct interference *b, enum disturbance_kind k)
{
    int bad = disturb_begin(&b->disturbance, k);

    if (bad < 0)
        fprintf(stderr, "limber: %s cannot be started: %s\n", disturbance_name(k), strerror(-bad));
    return bad == 0;
}

/* The status socket may be busy with others in a phase: nobody asks it anything until the phase is over. */
static enum session_end latencies(struct interference *b, enum disturbance_kind k)
{
    struct findings *f     = &b->found[k];
    uint64_t         begun = clock_now_ns();

    if (!begin(b, k))
        return END_TROUBLE;
    enum session_end end = END_NOT_YET;
    for (double at = 0; at < b->seconds && end == END_NOT_YET; at = (double)(clock_now_ns() - begun) * 1e-9) {
        if (terminal_wait(&b->terminal, 0.05) == WAKE_INTERRUPT)
            end = END_INTERRUPTED;
        else if (child_ended(&b->session.daemon) || child_ended(&b->session.sim))
            end = END_CHILD;
        take_ticks(b, at > b->seconds / 4 ? f : NULL); /* the first quarter: until it is in force */
    }
    disturb_end(&b->disturbance);
    f->done += b->disturbance.done;
    if (end == END_NOT_YET)
        end = count(b, f);
    take_ticks(b, NULL);
    return end;
}

/* The same disturbance once more for each fault; what is late or missing then is on purpose.  Armed again without it: with
 * a full disk limberd refuses to. */
static enum session_end reactions(struct interference *b, enum disturbance_kind k)
{
    enum session_end end = END_NOT_YET;

    for (int done = 0, tries = 0; done < (int)b->reactions && end == END_NOT_YET; tries++) {
        if (!begin(b, k) || tries > 3 * (int)b->reactions) {
            snprintf(b->session.why, sizeof b->session.why, "the robot stops before it has had its faults");
            return END_TROUBLE;
        }
        /* At any place of a trial. */
        end = drills_wait(&b->session, &b->terminal, b->seconds / 4 + 0.037 * (tries % 8));
        if (end == END_NOT_YET)
            done += drills_one(&b->drills, &b->session, &b->terminal, &b->found[k].drills, &end);
        disturb_end(&b->disturbance);
        b->found[k].done += b->disturbance.done;
        if (end == END_NOT_YET)
            end = drills_arm(&b->session, &b->terminal);
    }
    if (end == END_NOT_YET)
        end = count(b, NULL);
    take_ticks(b, NULL);
    return end;
}

static enum session_end phase(struct interference *b, enum disturbance_kind k)
{
    enum session_end end = latencies(b, k);

    return end == END_NOT_YET && b->reactions > 0 ? reactions(b, k) : end;
}

static enum session_end measure(struct interference *b)
{
    enum session_end end = END_NOT_YET;

    for (int k = 0; k < DISTURBANCES; k++)
        b->found[k].drills.next = k; /* few rounds: not the same kinds of fault in every phase */
    while (end == END_NOT_YET && session_armed_s(&b->session) < 3)
        end = session_step(&b->session, &b->terminal, 0.2);
    if (end == END_NOT_YET && b->reactions > 0 && !drills_begin(&b->drills, &b->session, b->bound_ms)) {
        snprintf(b->session.why, sizeof b->session.why, "the simulated robot takes no orders at %.500s",
                 b->drills.path);
        end = END_TROUBLE;
    }
    b->disturbance.daemon = b->session.daemon.pid;
    if (end == END_NOT_YET)
        end = count(b, NULL);
    for (long r = 0; r < b->rounds; r++) {
        for (int k = 0; k < DISTURBANCES && end == END_NOT_YET; k++) {
            fprintf(stderr, "round %ld of %ld: %s\n", r + 1, b->rounds, disturbance_name((enum disturbance_kind)k));
            end = phase(b, (enum disturbance_kind)k);
        }
    }
    disturb_release(&b->disturbance);
    return end == END_NOT_YET ? END_ENOUGH : end;
}

/* ---- the report ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts. */
static json_t *quantiles(double *x, size_t n)
{
    json_t *o = json_object();

    if (n)
        qsort(x, n, sizeof *x, by_size);
    for (int q = 0; q < QUANTILES; q++)
        json_object_set_new(o, QUANTILE_NAME[q], js_real(n ? x[(size_t)(QUANTILE[q] * (double)(n - 1))] : (double)NAN));
    return o;
}

static json_t *ratios(const json_t *with, const json_t *alone)
{
    json_t *o = json_object();

    for (int q = 0; q < QUANTILES; q++)
        json_object_set_new(o, QUANTILE_NAME[q],
                            js_real(js_num(with, QUANTILE_NAME[q]) / js_num(alone, QUANTILE_NAME[q])));
    return o;
}

static json_t *report(struct interference *b)
{
    json_t *rows = json_array(), *alone = NULL;

    for (int k = 0; k < DISTURBANCES; k++) {
        struct findings *f = &b->found[k];
        json_t *row        = json_pack("{s:s, s:I, s:I, s:o, s:o}", "with", disturbance_name((enum disturbance_kind)k),
                                       "ticks", (json_int_t)f->n, "done", (json_int_t)f->done, "wake_us",
                                       quantiles(f->wake, f->n), "compute_us", quantiles(f->compute, f->n));

        for (int i = 0; i < COUNTERS; i++)
            json_object_set_new(row, COUNTER[i][0], json_integer(f->counter[i]));
        if (k == DISTURB_NOTHING)
            alone = row;
        json_object_set_new(row, "wake_ratio", ratios(js_at(row, "wake_us"), js_at(alone, "wake_us")));
        json_object_set_new(row, "compute_ratio", ratios(js_at(row, "compute_us"), js_at(alone, "compute_us")));
        json_object_set_new(row, "reactions", drills_json(&b->drills, &f->drills, js_at(alone, "reactions")));
        json_array_append_new(rows, row);
    }
    return json_pack("{s:o, s:s, s:f, s:f, s:I, s:b, s:s, s:o, s:o}", "machine",
                     machine_json(js_str(b->session.status, "planner.isa", NULL)), "robot", b->session.config.robot,
                     "control_hz", b->session.config.control_hz, "seconds", b->seconds, "rounds", (json_int_t)b->rounds,
                     "realtime_ok", (int)js_true(b->session.status, "realtime.ok"), "disk_full_by",
                     b->disturbance.small_disk ? "a full file system" : "a limit on file sizes", "reaction_bound_ms",
                     js_real(b->reactions > 0 ? b->drills.bound_ms : (double)NAN), "rows", rows);
}

static void print(const json_t *r)
{
    const json_t *rows = js_at(r, "rows"), *row;
    size_t        i;

    printf("%s, %.0f Hz: control thread with and without, us, and ratio to nothing\n", js_str(r, "robot", "-"),
           js_num(r, "control_hz"));
    printf("%-13s %8s  %-36s %-36s %6s %6s %8s\n", "with", "ticks", "wake-up p50 p99 p99.9", "compute p50 p99 p99.9",
           "misses", "late", "missing");
    json_array_foreach(rows, i, row)
    {
        printf("%-13s %8ld ", js_str(row, "with", "-"), js_int(row, "ticks"));
        for (int part = 0; part < 2; part++) {
            const json_t *us    = js_at(row, part ? "compute_us" : "wake_us"),
                         *ratio = js_at(row, part ? "compute_ratio" : "wake_ratio");

            for (int q = 0; q < QUANTILES; q++)
                printf(" %6.1f %5.2f", js_num(us, QUANTILE_NAME[q]), js_num(ratio, QUANTILE_NAME[q]));
        }
        printf(" %6ld %6ld %8ld\n", js_int(row, "misses"), js_int(row, "plans_late"), js_int(row, "missing_states"));
    }
    if (json_is_number(js_at(r, "reaction_bound_ms"))) {
        printf("\nfaults of the robot meanwhile, ms from when a reaction is due to the first command that shows it, at "
               "most %g, "
               "and ratio to nothing\n",
               js_num(r, "reaction_bound_ms"));
        drills_print(NULL, NULL);
        json_array_foreach(rows, i, row) drills_print(js_str(row, "with", "-"), js_at(row, "reactions"));
    }
    if (!js_true(r, "realtime_ok"))
        printf("not a real-time setup: limber doctor says why\n");
}

static int write_report(const char *out, const json_t *r)
{
    char path[600];

    snprintf(path, sizeof path, "%s/interference.json", out);
    if (json_dump_file(r, path, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) != 0) {
        fprintf(stderr, "limber: cannot write %s\n", path);
        return EXIT_CANTCREATE;
    }
    printf("%s\n", path);
    return EXIT_OK;
}

/* ---- the run ---- */

/* Reactions that were missed, in all phases. */
static long missed(const json_t *r)
{
    const json_t *row;
    size_t        i;
    long          n = 0;

    json_array_foreach(js_at(r, "rows"), i, row) n += js_int(row, "reactions.missed");
    return n;
}

static int run(struct interference *b, const char *config, const char *out)
{
    char          dir[PATH_SIZE];
    struct rlimit files;

    snprintf(dir, sizeof dir, "%s/interference-%ld", out, (long)time(NULL));
    mkdir("build", 0777);
    mkdir(out, 0777);
    mkdir(dir, 0750);
    b->disturbance.run_dir    = b->session.run_dir;
    b->disturbance.small_disk = disturb_small_disk(dir);
    signal(SIGXFSZ, SIG_IGN); /* inherited: a limit on file sizes is an error of write, not the end */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (b->reactions > 0 && !drills_open(&b->drills, dir))
        return EXIT_OSERR;
    int rc = session_start(&b->session, &(struct session_options){ .config         = config,
                                                                   .run_dir        = dir,
                                                                   .seed           = -1,
                                                                   .trials         = TRIALS_MAX,
                                                                   .train_flat_out = true,
                                                                   .drill = b->reactions > 0 ? b->drills.path : NULL });
    if (rc != EXIT_OK)
        return rc;
    b->ticks             = bench_ticks_open(b->session.run_dir);
    enum session_end end = b->ticks ? measure(b) : END_TROUBLE;
    json_t          *r   = end == END_ENOUGH ? report(b) : NULL;

    rc = session_finish(&b->session, end);
    if (r) {
        print(r);
        int written = write_report(out, r);
        rc          = rc == EXIT_OK ? written : rc;
        if (missed(r) > 0) {
            printf("%ld reactions missed\n", missed(r));
            rc = rc == EXIT_OK ? EXIT_REFUSED : rc;
        }
    }
    json_decref(r);
    bench_ticks_close(b->ticks);
    session_free(&b->session);
    return rc;
}

static int usage_and_run(struct interference *b, int argc, char **argv)
{
    const char       *config = NULL, *out = "build/bench";
    const struct flag flags[] = {
        { .name = "config", .value = "FILE", .what = "robot.yaml of a simulated robot", .text = &config },
        { .name = "seconds", .value = "S", .what = "of a phase (8)", .real = &b->seconds, .min = 1, .max = 10 },
        { .name   = "rounds",
          .value  = "N",
          .what   = "of six phases each (5)",
          .number = &b->rounds,
          .min    = 1,
          .max    = 1000 },
        { .name   = "reactions",
          .value  = "N",
          .what   = "faults after each phase (5), 0: none",
          .number = &b->reactions,
          .min    = 0,
          .max    = 10 }, /* a trainer that is stopped for 60 s is given up */
        { .name  = "bound",
          .value = "MS",
          .what  = "that a reaction may come after it is due (20 and two ticks)",
          .real  = &b->bound_ms,
          .min   = 0.001,
          .max   = 10000 },
        { .name = "out", .value = "D", .what = "directory for the run and the report (build/bench)", .text = &out },
        { 0 }
    };
    const struct usage usage = {
        .line  = "bench interference --config FILE [--seconds 8] [--rounds 5] [--reactions 5] [--bound MS] [--out D]",
        .text  = "The control thread's latencies with and without: the trainer flat out, a storm of log lines, 1,000 "
                 "status clients, garbage on the robot's socket, a full disk; and whether faults of the robot stop it "
                 "as fast as ever.  In turn, in one session; writes interference.json.  Exit status 1: a reaction was "
                 "missed.",
        .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (!config) {
        fprintf(stderr, "limber bench interference: --config is missing; usage: limber %s\n", usage.line);
        return EXIT_USAGE;
    }
    terminal_open(&b->terminal, false, false);
    rc = run(b, config, out);
    terminal_close(&b->terminal);
    if (b->reactions > 0)
        drills_close(&b->drills);
    return rc;
}

int bench_interference(int argc, char **argv)
{
    struct interference *b = calloc(1, sizeof *b);

    if (!b)
        return EXIT_OSERR;
    b->seconds   = 8;
    b->rounds    = 5;
    b->reactions = 5;
    int rc       = usage_and_run(b, argc, argv);
    for (int k = 0; k < DISTURBANCES; k++) {
        free(b->found[k].wake);
        free(b->found[k].compute);
        free(b->found[k].drills.one);
    }
    free(b);
    return rc;
}
