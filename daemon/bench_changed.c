/* bench_changed.c - limber bench changed: is it noticed that the robot is not any more the one that was learned?
 *
 * Per seed a robot is learned, in lockstep.  Then, for every change of it (heavier, a motor that gives half of what it is
 * told, ...; firmware-bridge/faulty.h), planned trials with what was learned, from a copy of the run, learning nothing: in which
 * of them did a gate trip or a stop come, after how many steps, and what did the trial return?  "nothing" is the robot as it
 * was: a trip there is a false one. */
#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_lecture.h"
#include "daemon/bench_trained.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_watch.h"
#include "daemon/rt/check.h"

enum { CHANGES_MAX = WORDS_MAX, TRIALS_SEEN = 100, LABEL = 100 };

/* Of one change, over all seeds. */
struct change {
    char    name[LABEL];
    int     n;                 /* trials that ran to their end, or were ended by a stop */
    int     noticed;           /* of them, with a trip or a stop                        */
    double  step[TRIALS_SEEN]; /* of the first sign, [noticed]                          */
    double  ret[TRIALS_SEEN];  /* [finished]                                            */
    int     finished;
    json_t *by; /* {"drift": trials in which it was the first, ...}      */
};

struct changed {
    struct lecture l;
    struct words   asked;
    struct change  change[CHANGES_MAX];
    int            changes;
};

/* ---- a part ---- */

static int say(const struct changed *c, int code, const char *sentence)
{
    fprintf(stderr, "limber %s: %s\n", c->l.verb, sentence);
    return code;
}

static int copy_file(const struct changed *c, const char *from, const char *to)
{
    char   part[1 << 16], why[2 * PATH_SIZE + 200];
    FILE  *in = fopen(from, "re"), *out = in ? fopen(to, "we") : NULL;
    size_t n;
    bool   good = in && out;

    while (good && (n = fread(part, 1, sizeof part, in)) > 0)
        good = fwrite(part, 1, n, out) == n;
    snprintf(why, sizeof why, "cannot copy %.500s to %.500s: %s", from, to, strerror(errno));
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        good = false;
    return good ? EXIT_OK : say(c, EXIT_CANTCREATE, why);
}

/* What a seed has learned: its experience and the model in use. */
static int copy_run(const struct changed *c, const char *from, const char *to)
{
    char     a[PATH_SIZE + 320], b[PATH_SIZE + 320], file[300], why[PATH_SIZE + 200];
    sqlite3 *db = NULL;
    int      rc = EXIT_OK;

    snprintf(a, sizeof a, "%s/experience.db", from);
    snprintf(b, sizeof b, "%s/experience.db", to);
    if (access(b, F_OK) == 0)
        return EXIT_OK;
    if (!store_model_file(a, file, sizeof file))
        return say(c, EXIT_REFUSED, "nothing was learned: no published model in the store");
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", b);
    if (sqlite3_open_v2(a, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK || !sql ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        snprintf(why, sizeof why, "cannot copy %.500s: %s", a, db ? sqlite3_errmsg(db) : "no memory");
        rc = say(c, EXIT_CANTCREATE, why);
    }
    sqlite3_free(sql);
    sqlite3_close(db);
    snprintf(b, sizeof b, "%s/models", to);
    mkdir(b, 0750);
    snprintf(a, sizeof a, "%s/models/%s", from, file);
    snprintf(b, sizeof b, "%s/models/%s", to, file);
    return rc == EXIT_OK ? copy_file(c, a, b) : rc;
}

/* A stop that latches is an answer, too.  Its code stands in a file, for a bench that goes on later. */
static FILE *stop_file(const char *dir, long trial, const char *mode)
{
    char path[PATH_SIZE + 32];

    snprintf(path, sizeof path, "%s/stopped-%ld", dir, trial);
    return fopen(path, mode);
}

static int stop_write(const struct changed *c, const char *dir, long trial, const char *code)
{
    FILE *f    = stop_file(dir, trial, "we");
    bool  good = f && fputs(code, f) >= 0;

    if ((f && fclose(f) != 0) || !good)
        return say(c, EXIT_CANTCREATE, "cannot write why a trial stopped");
    return EXIT_OK;
}

/* "" where it was not stopped. */
static void stop_read(const char *dir, long trial, char stop[NAME_SIZE])
{
    FILE *f = stop_file(dir, trial, "re");

    if (!f || !fgets(stop, NAME_SIZE, f))
        stop[0] = 0;
    if (f)
        fclose(f);
}

/* One planned trial of a changed robot.  Each has a daemon of its own: two trips ground a model for as long as that runs. */
static int fly(struct changed *c, const char *dir, const char *fault, const char *label, long seed, long trial)
{
    struct session *s = malloc(sizeof *s);
    char            config[PATH_SIZE + 64];

    CHECK(s);
    snprintf(config, sizeof config, "%s/robot.yaml", dir);
    int rc = session_start(
        s, &(struct session_options){
               .config = config, .run_dir = dir, .seed = seed, .trials = trial, .lockstep = true, .fault = fault });
    if (rc == EXIT_OK) {
        enum session_end end = watch_session(s, &c->l.terminal, &(struct watch){ .label = label });

        rc = session_finish(s, end);
        if (end == END_STOPPED)
            rc = stop_write(c, dir, trial, js_str(s->status, "stop.code", "?"));
        session_free(s);
    }
    free(s);
    return rc;
}

/* ---- what it left ---- */

/* "drift tripped at step 12 of trial 3" */
static bool first_sign(const char *text, char gate[NAME_SIZE], double *step)
{
    return sscanf(text, "%47s tripped at step %lf", gate, step) == 2;
}

static void noticed(struct change *k, const char *by, double step)
{
    json_object_set_new(k->by, by, json_integer(js_int(k->by, by) + 1));
    k->step[k->noticed++] = step;
}

/* What became of that trial.  False: it was neither finished nor ended by a stop. */
static bool read_trial(struct change *k, const char *dir, long trial)
{
    static const char sql[] = "SELECT status, \"return\", steps, (SELECT text FROM events WHERE kind = 'gate' AND "
                              "trial = t.number AND text LIKE"
                              " '% tripped at step %' ORDER BY id LIMIT 1) FROM trials t WHERE kind = 'planned' AND "
                              "number = ?1 ORDER BY id DESC LIMIT 1";
    char              store[PATH_SIZE + 32], gate[NAME_SIZE], stop[NAME_SIZE];
    sqlite3          *db   = NULL;
    sqlite3_stmt     *q    = NULL;
    bool              seen = false;
    double            step;

    snprintf(store, sizeof store, "%s/experience.db", dir);
    stop_read(dir, trial, stop);
    if (k->n < TRIALS_SEEN && sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_bind_int64(q, 1, trial) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW) {
        const char *status = (const char *)sqlite3_column_text(q, 0), *text = (const char *)sqlite3_column_text(q, 3);
        bool        finished = status && !strcmp(status, "finished");

        seen = finished || stop[0];
        k->n += seen;
        if (finished && sqlite3_column_type(q, 1) != SQLITE_NULL)
            k->ret[k->finished++] = sqlite3_column_double(q, 1);
        if (seen && text && first_sign(text, gate, &step))
            noticed(k, gate, step);
        else if (stop[0])
            noticed(k, stop, sqlite3_column_double(q, 2));
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
    return seen;
}

/* A name for a directory: letters, digits and points stay. */
static void plain(const char *text, char out[LABEL])
{
    size_t n = 0;

    for (; *text && n < LABEL - 1; text++)
        out[n++] = strchr("=:@+", *text) ? '-' : *text;
    out[n] = 0;
}

static int run_change(struct changed *c, struct change *k, long seed, const char *learned)
{
    char        dir[PATH_SIZE], name[LABEL], label[2 * LABEL];
    const char *set[] = { "trainer.aggregate=false" }, *fault = strcmp(k->name, "nothing") ? k->name : NULL;

    plain(k->name, name);
    snprintf(dir, sizeof dir, "%.*s/seed-%ld/%s", (int)sizeof dir - LABEL - 40, c->l.base, seed, name);
    snprintf(label, sizeof label, "seed %ld, %s", seed, k->name);
    int rc = lecture_config(&c->l, dir, "robot.yaml", set, 1);

    rc = rc == EXIT_OK ? copy_run(c, learned, dir) : rc;
    for (long trial = c->l.trials + 1; rc == EXIT_OK && trial <= c->l.trials + c->l.eval; trial++) {
        if (read_trial(k, dir, trial)) /* flown by an earlier bench */
            continue;
        rc = fly(c, dir, fault, label, seed + 1000, trial);
        if (rc == EXIT_OK && !read_trial(k, dir, trial))
            rc = say(c, EXIT_REFUSED, "a trial was neither finished nor stopped");
    }
    if (rc == EXIT_OK)
        lecture_progress(&c->l, label, (double)c->l.eval);
    return rc;
}

static int run_seed(struct changed *c, long seed)
{
    char dir[PATH_SIZE], label[60];

    snprintf(dir, sizeof dir, "%.*s/seed-%ld/learn", (int)sizeof dir - 40, c->l.base, seed);
    snprintf(label, sizeof label, "seed %ld, learning", seed);
    int rc = lecture_config(&c->l, dir, "robot.yaml", NULL, 0);

    rc = rc == EXIT_OK ? lecture_run(&c->l, dir, "robot.yaml", label, c->l.trials, seed) : rc;
    if (rc == EXIT_OK)
        lecture_progress(&c->l, label, (double)c->l.trials);
    for (int i = 0; i < c->changes && rc == EXIT_OK; i++)
        rc = run_change(c, &c->change[i], seed, dir);
    return rc;
}

/* ---- report ---- */

static double median(double *v, int n)
{
    return n ? quantile(v, n, 0.5) : (double)NAN;
}

static json_t *report(struct changed *c)
{
    json_t *rows = json_array();

    for (int i = 0; i < c->changes; i++) {
        struct change *k = &c->change[i];

        json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:o, s:o, s:O, s:o}", "change", k->name, "trials", k->n,
                                              "noticed", k->noticed, "first_step_median",
                                              js_real(median(k->step, k->noticed)), "first_step_max",
                                              js_real(k->noticed ? quantile(k->step, k->noticed, 1) : (double)NAN),
                                              "by", k->by, "return_median", js_real(median(k->ret, k->finished))));
    }
    return json_pack("{s:o, s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:o}", "machine", machine_json(NULL), "robot",
                     c->l.robot.robot, "task", c->l.robot.task.name, "step_s",
                     c->l.robot.plan_every / c->l.robot.control_hz, "learning_trials", (json_int_t)c->l.trials,
                     "eval_trials", (json_int_t)c->l.eval, "first_seed", (json_int_t)c->l.first, "seeds",
                     (json_int_t)c->l.seeds, "changes", rows);
}

static void print(const struct changed *c, const json_t *r)
{
    FILE         *f    = c->l.say;
    const json_t *rows = js_at(r, "changes");

    fprintf(f, "%s, %ld learning trials, then %ld trials of each change, nothing learned; %ld seed%s; a step is %g s\n",
            c->l.robot.robot, c->l.trials, c->l.eval, c->l.seeds, c->l.seeds == 1 ? "" : "s", js_num(r, "step_s"));
    fprintf(f, "%-24s %10s %24s %10s  first sign\n", "change", "noticed in", "at step: median, latest", "return");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *k = json_array_get(rows, i);
        const char   *gate;
        json_t       *n;

        fprintf(f, "%-24s %5ld of %-3ld", js_str(k, "change", ""), js_int(k, "noticed"), js_int(k, "trials"));
        if (js_int(k, "noticed"))
            fprintf(f, " %13.0f %9.0f", js_num(k, "first_step_median"), js_num(k, "first_step_max"));
        else
            fprintf(f, " %13s %9s", "-", "-");
        fprintf(f, " %10.1f ", js_num(k, "return_median"));
        json_object_foreach((json_t *)js_at(k, "by"), gate, n)
            fprintf(f, " %s %lld", gate, (long long)json_integer_value(n));
        fprintf(f, "\n");
    }
}

/* ---- the verb ---- */

static void add(struct changed *c, const char *name)
{
    struct change *k = &c->change[c->changes++];

    CHECK(c->changes <= CHANGES_MAX);
    snprintf(k->name, sizeof k->name, "%s", name);
    k->by = json_object();
}

/* What was asked for, or: other masses, and each motor at half its strength. */
static void list_changes(struct changed *c)
{
    static const char *const masses[] = { "heavy=0.5", "heavy=1.5", "heavy=2", "heavy=3" };
    char                     name[LABEL];

    add(c, "nothing");
    for (int i = 0; i < c->asked.n && i < CHANGES_MAX - 1; i++)
        add(c, c->asked.word[i]);
    for (size_t i = 0; !c->asked.n && i < sizeof masses / sizeof *masses; i++)
        add(c, masses[i]);
    for (int j = 0; !c->asked.n && j < c->l.robot.nj; j++) {
        snprintf(name, sizeof name, "weak=0.5:%s", c->l.robot.joint[j].name);
        if (c->l.robot.joint[j].actuated)
            add(c, name);
    }
}

static int run(struct changed *c)
{
    char name[NAME_SIZE + 20];
    int  rc = lecture_settle(&c->l, "changed");

    if (rc != EXIT_OK)
        return rc;
    list_changes(c);
    c->l.all = (double)(c->l.seeds * (c->l.trials + c->changes * c->l.eval));
    terminal_open(&c->l.terminal, false, true);
    for (long i = 0; i < c->l.seeds && rc == EXIT_OK; i++)
        rc = run_seed(c, c->l.first + i);
    terminal_close(&c->l.terminal);
    if (rc != EXIT_OK)
        return rc;
    json_t *r = report(c);

    print(c, r);
    snprintf(name, sizeof name, "changed-%s.json", c->l.robot.robot);
    rc = lecture_write(&c->l, name, r);
    if (c->l.json)
        json_dumpf(r, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(r);
    return rc;
}

int bench_changed(int argc, char **argv)
{
    struct changed *c = calloc(1, sizeof *c);
    int             n, rc;

    CHECK(c);
    c->l = (struct lecture){
        .verb = "bench changed", .out = "build/bench", .trials = 15, .eval = 5, .seeds = 1, .first = 1, .core = -1
    };
    const struct flag flags[] = {
        { .name = "task", .value = "T", .what = "a folder of robots/", .text = &c->l.task },
        { .name = "config", .value = "FILE", .what = "robot.yaml, instead", .text = &c->l.config },
        { .name   = "trials",
          .value  = "K",
          .what   = "planned trials to learn in (15)",
          .number = &c->l.trials,
          .min    = 1,
          .max    = 1000 },
        { .name   = "eval",
          .value  = "M",
          .what   = "trials with each change (5)",
          .number = &c->l.eval,
          .min    = 1,
          .max    = 20 },
        { .name = "seeds", .value = "S", .what = "how many (1)", .number = &c->l.seeds, .min = 1, .max = 5 },
        { .name = "first", .value = "S", .what = "first seed (1)", .number = &c->l.first, .min = 0, .max = 1e9 },
        { .name  = "change",
          .value = "FAULT",
          .what  = "one of limber-bridge sim --fault; may be given again",
          .words = &c->asked },
        { .name  = "set",
          .value = "KEY=VALUE",
          .what  = "as if it stood in robot.yaml; may be given again",
          .words = &c->l.set },
        { .name = "fresh", .what = "forget what was begun", .on = &c->l.fresh },
        { .name = "json", .what = "print the JSON document at the end", .on = &c->l.json },
        { .name = "out", .value = "DIR", .what = "directory for runs and report (build/bench)", .text = &c->l.out },
        { 0 }
    };
    const struct usage usage = {
        .line = "bench changed --task T [--trials K] [--eval M] [--seeds S] [--change FAULT ...] [--json]",
        .text =
            "Is it noticed that the robot is not any more the one that was learned?  Lockstep; goes on where it was.\n"
            "docs/uncertainty.md",
        .flags = flags
    };

    rc       = args_read(argc, argv, &usage, NULL, &n);
    c->l.say = c->l.json ? stderr : stdout;
    if (rc < 0)
        rc = run(c);
    for (int i = 0; i < c->changes; i++)
        json_decref(c->change[i].by);
    free(c);
    return rc;
}
