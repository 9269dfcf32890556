/* bench_data.c - limber bench data: what the first random data and what learning on the way are worth.
 *
 * After Nagabandi et al. 2018 (arXiv 1708.02596, on initial data and aggregation): so many random trials first, then planned
 * ones, with aggregation (every planned trial is learned from) and without (the model stays that of the random data).  Whole
 * runs in lockstep, each from nothing; the report is written after each. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/bench.h"
#include "daemon/bench_trained.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_plot.h"
#include "daemon/cli_plot_bands.h"
#include "daemon/cli_watch.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "daemon/run_dir.h"

enum { AMOUNTS_MAX = 8, SEEDS_MAX = 20 };

struct run {
    bool   done;
    double random; /* return of the first random trial */
    int    n;
    double ret[RETURN_LINE_MAX];
};

struct data_bench {
    struct trained_flags f; /* config, seed (the first), trials, out, json */
    long                 seeds;
    int                  amounts, amount[AMOUNTS_MAX];
    char                 robot[NAME_SIZE];
    struct run           run[AMOUNTS_MAX][2][SEEDS_MAX]; /* [.][1]: aggregation */
};

/* "1,2,5,10" */
static int read_amounts(struct data_bench *b, const char *list)
{
    char *end;

    do {
        long n = strtol(list, &end, 10);

        if (end == list || n < 1 || n > 1000 || b->amounts == AMOUNTS_MAX || (*end && *end != ',')) {
            fprintf(stderr, "limber bench data: --random: expected up to %d numbers from 1 to 1000, as in 1,2,5,10\n",
                    AMOUNTS_MAX);
            return EXIT_USAGE;
        }
        b->amount[b->amounts++] = (int)n;
        list                    = end + 1;
    } while (*end);
    return EXIT_OK;
}

/* ---- numbers ---- */

/* Median over the seeds done of planned trial i; NaN: none. */
static double median(const struct data_bench *b, int amount, int on, int i)
{
    double v[SEEDS_MAX];
    int    n = 0;

    for (long s = 0; s < b->seeds; s++) {
        const struct run *r = &b->run[amount][on][s];

        if (r->done && i < r->n)
            v[n++] = r->ret[i];
    }
    return n ? quantile(v, n, 0.5) : (double)NAN;
}

static json_t *returns_json(const double *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(a, js_real(v[i]));
    return a;
}

static json_t *report(const struct data_bench *b)
{
    json_t *runs = json_array(), *medians = json_array();
    double  m[RETURN_LINE_MAX];

    for (int k = 0; k < b->amounts; k++)
        for (int on = 0; on < 2; on++) {
            int n = 0;

            for (long s = 0; s < b->seeds; s++) {
                const struct run *r = &b->run[k][on][s];

                if (r->done)
                    json_array_append_new(runs,
                                          json_pack("{s:I, s:i, s:b, s:o, s:o}", "seed", (json_int_t)(b->f.seed + s),
                                                    "random_trials", b->amount[k], "aggregate", on, "random_return",
                                                    js_real(r->random), "returns", returns_json(r->ret, r->n)));
            }
            for (; n < b->f.trials && isfinite(m[n] = median(b, k, on, n)); n++)
                ;
            if (n)
                json_array_append_new(medians, json_pack("{s:i, s:b, s:o}", "random_trials", b->amount[k], "aggregate",
                                                         on, "returns", returns_json(m, n)));
        }
    return json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:o}", "machine", machine_json(NULL), "robot", b->robot, "mode",
                     "lockstep", "seeds", (json_int_t)b->seeds, "trials", (json_int_t)b->f.trials, "medians", medians,
                     "runs", runs);
}

static void print_table(const struct data_bench *b)
{
    printf("%s, lockstep, median of %ld seed%s: return of planned trial\n%-24s", b->robot, b->seeds,
           b->seeds == 1 ? "" : "s", "random trials");
    for (int i = 0; i < b->f.trials; i++)
        printf(" %7d", i + 1);
    printf("\n");
    for (int k = 0; k < b->amounts; k++)
        for (int on = 1; on >= 0; on--) {
            if (!isfinite(median(b, k, on, 0)))
                continue; /* interrupted before */
            printf("%-6d %-17s", b->amount[k], on ? "learning on" : "that model only");
            for (int i = 0; i < b->f.trials; i++)
                printf(" %7.1f", median(b, k, on, i));
            printf("\n");
        }
}

static int draw(const struct data_bench *b)
{
    struct return_line *line = calloc((size_t)(b->amounts * 2 * (SEEDS_MAX + 1)), sizeof *line);
    char                png[PATH_SIZE + 100], title[200], note[200], why[700];
    int                 lines = 0;

    CHECK(line);
    for (int k = 0; k < b->amounts; k++)
        for (int on = 1; on >= 0; on--) {
            struct return_line *m = &line[lines++];

            *m = (struct return_line){ .colour = k, .dashed = !on };
            snprintf(m->label, sizeof m->label, "%d random, %s", b->amount[k], on ? "learning on" : "no more");
            for (; m->n < b->f.trials && isfinite(m->y[m->n] = median(b, k, on, m->n)); m->n++)
                ;
            for (long s = 0; s < b->seeds && b->seeds > 1; s++) {
                const struct run *r = &b->run[k][on][s];

                line[lines] = (struct return_line){ .colour = k, .dashed = !on, .thin = true, .n = r->n };
                memcpy(line[lines++].y, r->ret, sizeof r->ret);
            }
        }
    snprintf(png, sizeof png, "%s/data-%s.png", b->f.out, b->robot);
    snprintf(title, sizeof title, "%s: random data before the first plan, and learning on", b->robot);
    snprintf(note, sizeof note,
             "lockstep; %s; solid: every planned trial is learned from, dashed: the model of the random trials only",
             b->seeds == 1 ? "one seed" : "thick: median over the seeds, thin: each");
    int rc = plot_returns(png, title, note, line, lines, why, sizeof why);

    free(line);
    if (rc != 0) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_CANTCREATE;
    }
    if (!b->f.json)
        printf("%s\n", png);
    return EXIT_OK;
}

static int write_report(const struct data_bench *b)
{
    char    path[PATH_SIZE + 100];
    json_t *r = report(b);
    int     rc;

    CHECK(r);
    snprintf(path, sizeof path, "%s/data-%s.json", b->f.out, b->robot);
    rc = json_dump_file(r, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(r);
    if (rc == 0)
        return EXIT_OK;
    fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
    return EXIT_CANTCREATE;
}

/* ---- runs ---- */

static int write_file(const char *dir, const char *name, const char *text, size_t n)
{
    char  path[PATH_SIZE + 32];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f         = fopen(path, "we");
    bool good = f && fwrite(text, 1, n, f) == n;

    if ((f && fclose(f) != 0) || !good) {
        fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
        return EXIT_CANTCREATE;
    }
    return EXIT_OK;
}

static int copy_task(const char *from, const char *dir)
{
    static char text[1 << 18];
    FILE       *f = fopen(from, "re");
    size_t      n = f ? fread(text, 1, sizeof text, f) : 0;

    if (f)
        fclose(f);
    if (n > 0 && n < sizeof text)
        return write_file(dir, "task.yaml", text, n);
    fprintf(stderr, "limber: cannot read %s\n", from);
    return EXIT_CONFIG;
}

/* The run's own robot.yaml and task in its directory, which is made. */
static int write_config(const struct data_bench *b, int random, bool aggregate, const char *dir)
{
    struct robot_config *c = malloc(sizeof *c);
    char                 count[48], dropped[KEYS_SIZE], why[900], *text = NULL;
    /* Waiting so long: no result may depend on how long a fit takes on this machine. */
    const char *const           set[]   = { "trials.wait_for_model_s=3600", count,
                                aggregate ? "trainer.aggregate=true" : "trainer.aggregate=false" };
    const struct config_changes changes = { .set = set, .sets = 3, .task_copy = "task.yaml" };
    int                         rc      = EXIT_CONFIG;

    CHECK(c);
    snprintf(count, sizeof count, "trials.random=%d", random);
    if (config_load_with(b->f.config, &changes, c, &text, dropped, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", why);
    } else {
        char absolute[PATH_SIZE];

        rc = run_dir_find(dir, NULL, c->robot, absolute, sizeof absolute, why, sizeof why) == 0 ? EXIT_OK
                                                                                                : EXIT_CANTCREATE;
        if (rc != EXIT_OK)
            fprintf(stderr, "limber: %s\n", why);
        rc = rc == EXIT_OK ? write_file(dir, "robot.yaml", text, strlen(text)) : rc;
        rc = rc == EXIT_OK ? copy_task(c->task_file, dir) : rc;
    }
    free(text);
    free(c);
    return rc;
}

static int one_run(struct data_bench *b, int k, int on, long s, struct terminal *t)
{
    struct session *session = malloc(sizeof *session);
    struct curve   *c       = malloc(sizeof *c);
    struct run     *r       = &b->run[k][on][s];
    char            dir[PATH_SIZE], config[PATH_SIZE + 32], store[PATH_SIZE + 32], label[80], stamp[32], why[700];
    struct tm       tm;
    time_t          now = time(NULL);

    CHECK(session && c);
    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    snprintf(dir, sizeof dir, "%s/%s-s%ld-r%d-%s", b->f.out, stamp, b->f.seed + s, b->amount[k], on ? "on" : "off");
    snprintf(label, sizeof label, "seed %ld, %d random, %s", b->f.seed + s, b->amount[k],
             on ? "learning on" : "no more");
    snprintf(config, sizeof config, "%s/robot.yaml", dir);
    int rc = write_config(b, b->amount[k], on, dir);
    if (rc == EXIT_OK)
        rc = session_start(session, &(struct session_options){ .config   = config,
                                                               .run_dir  = dir,
                                                               .seed     = b->f.seed + s,
                                                               .trials   = b->f.trials,
                                                               .lockstep = true });
    if (rc == EXIT_OK) {
        rc = session_finish(session, watch_session(session, t, &(struct watch){ .label = label }));
        snprintf(store, sizeof store, "%s/experience.db", dir);
        if (rc == EXIT_OK && curve_load(store, c, why, sizeof why) != 0) {
            fprintf(stderr, "limber: %s\n", why);
            rc = EXIT_REFUSED;
        }
        if (rc == EXIT_OK) {
            *r =
                (struct run){ .done = true, .random = c->random, .n = c->n < RETURN_LINE_MAX ? c->n : RETURN_LINE_MAX };
            memcpy(r->ret, c->ret, sizeof *r->ret * (size_t)r->n);
        }
        session_free(session);
    }
    free(session);
    free(c);
    return rc;
}

/* Trials of all runs, and of those done. */
static void progress(const struct data_bench *b, int *all, int *done)
{
    *all = *done = 0;
    for (int k = 0; k < b->amounts; k++)
        for (int on = 0; on < 2; on++)
            for (long s = 0; s < b->seeds; s++) {
                *all += b->amount[k] + (int)b->f.trials;
                *done += b->run[k][on][s].done ? b->amount[k] + (int)b->f.trials : 0;
            }
}

static int run_all(struct data_bench *b)
{
    struct terminal t;
    uint64_t        begun = clock_now_ns();
    int             rc    = EXIT_OK, all, done;
    FILE           *out   = stdout;

    if (b->f.json)
        stdout = stderr; /* what a session says is progress */
    terminal_open(&t, false, true);
    for (long s = 0; s < b->seeds; s++) /* seeds outside: whatever is done is a whole comparison */
        for (int k = 0; k < b->amounts; k++)
            for (int on = 1; on >= 0 && rc == EXIT_OK; on--) {
                rc = one_run(b, k, on, s, &t);
                if (rc != EXIT_OK || (rc = write_report(b)) != EXIT_OK)
                    break;
                const struct run *r     = &b->run[k][on][s];
                double            spent = 1e-9 * (double)(clock_now_ns() - begun);

                progress(b, &all, &done);
                fprintf(stderr, "seed %ld, %d random, %s: last return %.1f; %d of %d trials, %.0f min left\n",
                        b->f.seed + s, b->amount[k], on ? "learning on" : "no more",
                        r->n ? r->ret[r->n - 1] : (double)NAN, done, all, ceil(spent / done * (all - done) / 60));
            }
    terminal_close(&t);
    stdout = out;
    return rc;
}

/* Every run starts from nothing, which a store named in the configuration would not be. */
static int read_config(struct data_bench *b)
{
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700];
    int                  rc = EXIT_CONFIG;

    CHECK(c);
    if (config_load(b->f.config, c, why, sizeof why) != 0)
        fprintf(stderr, "limber: %s\n", why);
    else if (c->paths.store[0])
        fprintf(stderr, "limber: %s sets paths.store, but every run must start with an empty store; remove it\n",
                b->f.config);
    else if (c->trials.next != NEXT_AUTO || c->exploration.kind == EXPLORE_NONE)
        fprintf(stderr, "limber: %s: expected trials.next: auto and exploration, for random trials\n", b->f.config);
    else
        rc = EXIT_OK;
    snprintf(b->robot, sizeof b->robot, "%s", c->robot);
    free(c);
    return rc;
}

int bench_data(int argc, char **argv)
{
    struct data_bench *b       = calloc(1, sizeof *b);
    const char        *amounts = "1,2,5,10";

    CHECK(b);
    b->f =
        (struct trained_flags){ .config = "robots/cartpole/robot.yaml", .out = "build/bench", .seed = 1, .trials = 10 };
    b->seeds                  = 3;
    const struct flag flags[] = {
        { .name = "config", .value = "FILE", .what = "robot.yaml (robots/cartpole/robot.yaml)", .text = &b->f.config },
        { .name = "random", .value = "N,N", .what = "random trials first (1,2,5,10)", .text = &amounts },
        { .name   = "trials",
          .value  = "N",
          .what   = "planned trials of each run (10)",
          .number = &b->f.trials,
          .min    = 1,
          .max    = RETURN_LINE_MAX },
        { .name = "seeds", .value = "N", .what = "how many (3)", .number = &b->seeds, .min = 1, .max = SEEDS_MAX },
        { .name = "first", .value = "S", .what = "first seed (1)", .number = &b->f.seed, .min = 0, .max = 1e9 },
        { .name = "json", .what = "print the JSON document at the end", .on = &b->f.json },
        { .name = "out", .value = "DIR", .what = "directory for runs and report (build/bench)", .text = &b->f.out },
        { 0 }
    };
    const struct usage usage = {
        .line =
            "bench data [--config FILE] [--random 1,2,5,10] [--trials 10] [--seeds 3] [--first S] [--json] [--out DIR]",
        .text  = "How much random data before the first plan, and is it worth learning on?  Whole runs in lockstep, "
                 "with and\n"
                 "without learning from planned trials.  Writes data-ROBOT.json after each run, and data-ROBOT.png.",
        .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc < 0) {
        rc = read_amounts(b, amounts);
        rc = rc == EXIT_OK ? read_config(b) : rc;
        rc = rc == EXIT_OK ? run_all(b) : rc;
        if (b->run[0][1][0].done) { /* also what was done before an interruption */
            char    name[100];
            json_t *r = report(b);

            if (!b->f.json)
                print_table(b);
            snprintf(name, sizeof name, "data-%s.json", b->robot);
            int written = trained_report(&b->f, name, r), drawn = draw(b);

            json_decref(r);
            rc = rc != EXIT_OK ? rc : written != EXIT_OK ? written : drawn;
        }
    }
    free(b);
    return rc;
}
