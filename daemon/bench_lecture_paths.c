/* bench_lecture_paths.c - limber bench paths: one model, several paths, nothing learned in between.
 *
 * After the lecture's trajectory following (Nagabandi et al. 2018, arXiv 1708.02596).  Per seed:
 *     learn    random trials, then planned ones along the paths of --learn in turn, learned from
 *     follow   a store of that experience, a model trained on it once, and in the same process, with `task set` in between,
 *              trials along every path.  That one model planned them all is read from the store. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_lecture.h"
#include "daemon/cli.h"
#include "daemon/cli_http.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

enum { PATHS_MAX = 8, POINTS_MAX = 4096, TRACKS_MAX = 100 };
static const double LOOK_S = 0.2, NEAR = 0.5, BEYOND = 0.5; /* m; docs/lecture.md */

struct path_trial {
    double ret, off, progress; /* off: mean distance, m; progress: arc length gained, m */
    bool   followed;           /* NEAR the path on average and once to each corner, and ended BEYOND the last */
    int    n;
    double (*track)[2];
};
struct path {
    char              name[NAME_SIZE], file[PATH_SIZE];
    struct task       task;
    struct task_path  path;
    int               x, y; /* observations */
    int               n;
    struct path_trial trial[TRACKS_MAX];
    double            cost, off, progress; /* means */
    int               followed;
};
struct paths {
    struct lecture l;
    const char    *tasks, *learn;
    long           steps; /* of the trials afterwards; 0: as configured */
    int            n, nlearn;
    struct path    path[PATHS_MAX];
    char           learn_name[PATHS_MAX][NAME_SIZE];
    bool           one_model;
    int            seeds; /* read */
};

static int complain(const struct paths *p, int code, const char *sentence)
{
    fprintf(stderr, "limber %s: %s\n", p->l.verb, sentence);
    return code;
}

/* "a,b,c" to names; their number, 0: not such a list. */
static int read_names(const char *list, char (*name)[NAME_SIZE])
{
    int n = 0;

    for (const char *at = list;; at += strcspn(at, ",") + 1) {
        size_t len = strcspn(at, ",");

        if (len == 0 || len >= NAME_SIZE || n == PATHS_MAX || memchr(at, '/', len))
            return 0;
        snprintf(name[n++], NAME_SIZE, "%.*s", (int)len, at);
        if (!at[len])
            return n;
    }
}

static void task_file(const struct paths *p, const char *name, char *file, size_t size)
{
    const char *slash = strrchr(p->l.config_file, '/');
    int         dir   = slash ? (int)(slash + 1 - p->l.config_file) : 0;
    char        text[PATH_SIZE - 1], *full;

    snprintf(text, sizeof text, "%.*stasks/%s.yaml", dir, p->l.config_file, name);
    full = realpath(text, NULL);
    snprintf(file, size, "%s", full ? full : text);
    free(full);
}

/* The task's path; it must have one. */
static int read_path(const struct paths *p, struct path *path)
{
    char why[700];

    task_file(p, path->name, path->file, sizeof path->file);
    if (config_task(path->file, &p->l.robot, &path->task, why, sizeof why) != 0)
        return complain(p, EXIT_CONFIG, why);
    for (int i = 0; i < path->task.nterm; i++) {
        const struct task_term *t = &path->task.term[i];

        if (t->kind != TERM_PATH)
            continue;
        path->path = t->path;
        path->x    = t->index[0];
        path->y    = t->index[1];
        return EXIT_OK;
    }
    snprintf(why, sizeof why, "%.600s: expected a term of kind path", path->file);
    return complain(p, EXIT_CONFIG, why);
}

/* ---- what a trial did ---- */

/* Distance from the path squared, and arc length, as the task's own terms have them. */
static void place(const struct path *p, const double at[2], double *off2, double *along)
{
    struct task t    = { .nterm = 1 };
    float       x[2] = { (float)at[0], (float)at[1] };

    t.term[0]      = (struct task_term){ .kind = TERM_PATH, .weight = 1, .n = 2, .index = { 0, 1 }, .path = p->path };
    *off2          = task_obs_cost(&t, x);
    t.term[0].kind = TERM_PROGRESS;
    *along         = task_potential(&t, x);
}

/* Came near every corner: a short cut between two legs follows nothing. */
static bool corners_met(const struct path *p, const struct path_trial *t)
{
    for (int k = 1; k + 1 < p->path.n; k++) {
        bool met = false;

        for (int i = 0; i < t->n; i++)
            met = met || hypot(t->track[i][0] - p->path.point[k][0], t->track[i][1] - p->path.point[k][1]) <= NEAR;
        if (!met)
            return false;
    }
    return true;
}

static void measure(const struct path *p, struct path_trial *t)
{
    double off2, begin = 0, along = 0, off = 0;

    for (int i = 0; i < t->n; i++) {
        place(p, t->track[i], &off2, &along);
        begin = i ? begin : along;
        off += i ? sqrt(off2) : 0;
    }
    t->off      = off / (t->n - 1);
    t->progress = along - begin;
    t->followed = t->off <= NEAR && along >= p->path.start[p->path.n - 2] + BEYOND && corners_met(p, t);
}

static int read_trials(struct paths *p, long seed)
{
    char                  store[PATH_SIZE + 64];
    struct store_versions v;
    double                ret[CELL_MAX];

    snprintf(store, sizeof store, "%s/seed-%ld/follow/experience.db", p->l.base, seed);
    int n = store_returns(store, 1, ret, CELL_MAX);

    if (n < p->n * p->l.eval || store_versions(store, 1, p->n * p->l.eval, &v) != 0)
        return complain(p, EXIT_REFUSED, "trials are missing in the store");
    p->one_model = p->one_model && v.versions == 1 && v.first > 0;
    p->seeds++;
    for (long i = 0; i < p->n * p->l.eval; i++) {
        struct path       *path = &p->path[i / p->l.eval];
        struct path_trial *t    = &path->trial[path->n];
        const char        *x = p->l.robot.observation[path->x].name, *y = p->l.robot.observation[path->y].name;

        if (path->n == TRACKS_MAX)
            continue;
        t->track = malloc(sizeof *t->track * POINTS_MAX);
        CHECK(t->track);
        t->n   = store_track(store, i + 1, x, y, t->track, POINTS_MAX);
        t->ret = ret[i];
        path->n++;
        if (t->n < 2)
            return complain(p, EXIT_REFUSED, "a trial has no track");
        measure(path, t);
    }
    return EXIT_OK;
}

/* ---- runs ---- */

static int learn(struct paths *p, long seed)
{
    char        dir[PATH_SIZE + 32], name[32], label[120], task[PATH_SIZE + 16], file[PATH_SIZE], random[40];
    const char *set[] = { task, random };
    int         rc    = EXIT_OK;

    snprintf(dir, sizeof dir, "%s/seed-%ld/learn", p->l.base, seed);
    for (int i = 0; i < p->nlearn && rc == EXIT_OK; i++) {
        long upto = (i + 1) * p->l.trials / p->nlearn;

        task_file(p, p->learn_name[i], file, sizeof file);
        snprintf(task, sizeof task, "task=%s", file);
        snprintf(name, sizeof name, "learn-%d.yaml", i);
        snprintf(random, sizeof random, "trials.random=%ld", p->l.random);
        snprintf(label, sizeof label, "seed %ld, learning along %s", seed, p->learn_name[i]);
        rc = lecture_config(&p->l, dir, name, set, 2);
        if (rc == EXIT_OK && upto > i * p->l.trials / p->nlearn)
            rc = lecture_run(&p->l, dir, name, label, upto, seed);
        if (rc == EXIT_OK)
            lecture_progress(&p->l, label, (double)((i ? 0 : p->l.random) + upto - i * p->l.trials / p->nlearn));
    }
    return rc;
}

static int post(struct paths *p, const struct session *s, const char *verb, json_t *body)
{
    struct http_answer a;
    enum http_result   r  = http_post(s->run_dir, verb, body, &a);
    bool               ok = r == HTTP_OK && a.status == 200;

    if (!ok)
        fprintf(stderr, "limber %s: %s: %s\n", p->l.verb, verb,
                r == HTTP_OK ? js_str(a.json, "error", js_str(a.json, "text", "refused")) : a.why);
    json_decref(body);
    json_decref(a.json);
    return ok ? EXIT_OK : EXIT_REFUSED;
}

/* Another task in the running daemon, and so many planned trials of it. */
static int task_set(struct paths *p, const struct session *s, const char *file)
{
    int rc = post(p, s, "/task", json_pack("{s:s}", "file", file));

    return rc == EXIT_OK
               ? post(p, s, "/trial/start", json_pack("{s:s, s:I}", "kind", "planned", "count", (json_int_t)p->l.eval))
               : rc;
}

/* Until so many trials have been planned in all. */
static enum session_end until(struct paths *p, struct session *s, long trials)
{
    const json_t *t;

    for (;;) {
        enum session_end end = session_step(s, &p->l.terminal, LOOK_S);

        while ((t = session_next_trial(s)))
            if (!strcmp(js_str(t, "kind", ""), "planned"))
                fprintf(stderr, "%s  trial %ld  %s  return %.2f\n", js_str(s->status, "task.name", "-"),
                        js_int(t, "number"), js_str(t, "status", ""), js_num(t, "return"));
        if (end != END_NOT_YET && end != END_FINISHED)
            return end;
        if (js_int(s->status, "trials.done") >= trials && !strcmp(js_str(s->status, "trials.phase", ""), "IDLE"))
            return END_FINISHED;
    }
}

static int follow_now(struct paths *p, long seed, const char *dir)
{
    struct session *s = malloc(sizeof *s);
    char            config[PATH_SIZE + 64], label[120];

    CHECK(s);
    snprintf(config, sizeof config, "%s/robot.yaml", dir);
    int rc = session_start(
        s, &(struct session_options){
               .config = config, .run_dir = dir, .seed = seed + 1000, .trials = p->l.eval, .lockstep = true });

    if (rc != EXIT_OK) {
        free(s);
        return rc;
    }
    enum session_end end = END_FINISHED;
    for (int i = 0; i < p->n && rc == EXIT_OK && end == END_FINISHED; i++) {
        rc = i ? task_set(p, s, p->path[i].file) : EXIT_OK;
        if (rc == EXIT_OK)
            end = until(p, s, (i + 1) * p->l.eval);
        snprintf(label, sizeof label, "seed %ld, %s", seed, p->path[i].name);
        if (rc == EXIT_OK && end == END_FINISHED)
            lecture_progress(&p->l, label, (double)p->l.eval);
    }
    int ended = session_finish(s, rc == EXIT_OK ? end : END_ENOUGH);

    session_free(s);
    free(s);
    return rc != EXIT_OK ? rc : ended;
}

/* What was begun and not finished is begun again: all trials are to be of one process. */
static int follow(struct paths *p, long seed)
{
    char dir[PATH_SIZE + 32], from[PATH_SIZE + 64], store[PATH_SIZE + 64], new[PATH_SIZE + 72], task[PATH_SIZE + 16],
        why[2 * PATH_SIZE];
    char        steps[40];
    char        fit[2][LECTURE_FIT_SIZE];
    const char *set[6] = { task, "trials.random=1", "trainer.aggregate=false" };
    int         sets   = 3;
    const char *list[] = { from };
    double      ret[CELL_MAX];

    snprintf(dir, sizeof dir, "%s/seed-%ld/follow", p->l.base, seed);
    snprintf(store, sizeof store, "%s/experience.db", dir);
    snprintf(new, sizeof new, "%s/experience.new", dir);
    snprintf(from, sizeof from, "%s/seed-%ld/learn/experience.db", p->l.base, seed);
    snprintf(task, sizeof task, "task=%s", p->path[0].file);
    snprintf(steps, sizeof steps, "trials.steps=%ld", p->steps);
    if (p->steps)
        set[sets++] = steps;
    if (lecture_fit(store_training_steps(from), fit)) {
        set[sets++] = fit[0];
        set[sets++] = fit[1];
    }
    int rc = lecture_config(&p->l, dir, "robot.yaml", set, sets);

    if (rc != EXIT_OK)
        return rc;
    if (store_returns(store, 1, ret, CELL_MAX) >= p->n * p->l.eval) {
        lecture_progress(&p->l, "following", (double)(p->n * p->l.eval));
        return EXIT_OK;
    }
    if (store_merge(list, 1, 1, new, why, sizeof why) < 0)
        return complain(p, EXIT_REFUSED, why);
    if (rename(new, store) != 0)
        return complain(p, EXIT_CANTCREATE, strerror(errno));
    for (int i = 0; i < 2; i++) { /* of the store that was there */
        snprintf(new, sizeof new, "%s-%s", store, i ? "wal" : "shm");
        unlink(new);
    }
    return follow_now(p, seed, dir);
}

/* ---- report ---- */

static void means(struct path *p)
{
    p->cost = p->off = p->progress = 0;
    p->followed                    = 0;
    for (int i = 0; i < p->n; i++) {
        p->cost -= p->trial[i].ret / p->n;
        p->off += p->trial[i].off / p->n;
        p->progress += p->trial[i].progress / p->n;
        p->followed += p->trial[i].followed;
    }
}

static json_t *path_json(const struct path *p)
{
    json_t *trials = json_array();

    for (int i = 0; i < p->n; i++) {
        const struct path_trial *t = &p->trial[i];

        json_array_append_new(trials,
                              json_pack("{s:o, s:o, s:o, s:b}", "cost", js_real(-t->ret), "distance_m", js_real(t->off),
                                        "progress_m", js_real(t->progress), "followed", t->followed));
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:i, s:o}", "task", p->name, "cost", js_real(p->cost), "distance_m",
                     js_real(p->off), "progress_m", js_real(p->progress), "followed", p->followed, "trials", trials);
}

static json_t *report(const struct paths *p)
{
    json_t *paths = json_array(), *set = json_array(), *learned = json_array();

    for (int i = 0; i < p->l.set.n; i++)
        json_array_append_new(set, json_string(p->l.set.word[i]));
    for (int i = 0; i < p->nlearn; i++)
        json_array_append_new(learned, json_string(p->learn_name[i]));
    for (int i = 0; i < p->n; i++)
        json_array_append_new(paths, path_json(&p->path[i]));
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "machine", machine_json(NULL),
                     "robot", p->l.robot.robot, "mode", "lockstep", "set", set, "learned_along", learned,
                     "random_trials", (json_int_t)p->l.random, "learning_trials", (json_int_t)p->l.trials,
                     "eval_trials", (json_int_t)p->l.eval, "eval_steps",
                     p->steps ? (json_int_t)p->steps : (json_int_t)p->l.robot.trials.steps, "first_seed",
                     (json_int_t)p->l.first, "seeds", (json_int_t)p->seeds, "one_model_per_seed", p->one_model, "paths",
                     paths);
}

static void print(const struct paths *p)
{
    FILE *f = p->l.say;

    fprintf(f, "%s: means over %d seed%s, %ld trials each, nothing learned in between\n", p->l.robot.robot, p->seeds,
            p->seeds == 1 ? "" : "s", p->l.eval);
    fprintf(f, "%-16s %10s %16s %14s %12s\n", "path", "cost", "distance, m", "progress, m", "followed");
    for (int i = 0; i < p->n; i++)
        fprintf(f, "%-16s %10.2f %16.3f %14.2f %6d of %d\n", p->path[i].name, p->path[i].cost, p->path[i].off,
                p->path[i].progress, p->path[i].followed, p->path[i].n);
    fprintf(
        f,
        "followed: ended %.1f m beyond the last corner, %.1f m from the path on average and from each corner at most\n",
        BEYOND, NEAR);
    fprintf(f, "%-7s all trials of a seed planned with one model version, in one process\n",
            p->one_model ? "met" : "missed");
}

static int draw(const struct paths *p)
{
    struct track_panel *panel = calloc(PATHS_MAX, sizeof *panel);
    struct track       *track = calloc(PATHS_MAX * TRACKS_MAX, sizeof *track);
    char                png[PATH_SIZE + 100], title[200], why[700];

    CHECK(panel && track);
    for (int i = 0; i < p->n; i++) {
        const struct path *path = &p->path[i];
        struct track      *at   = track + (size_t)i * TRACKS_MAX;

        for (int k = 0; k < path->n; k++)
            at[k] = (struct track){ .n = path->trial[k].n, .at = path->trial[k].track };
        panel[i] = (struct track_panel){
            .name = path->name, .points = path->path.n, .point = path->path.point, .tracks = path->n, .track = at
        };
        snprintf(panel[i].figures, sizeof panel[i].figures, "%d of %d followed, %.2f m off, %.1f m along",
                 path->followed, path->n, path->off, path->progress);
    }
    snprintf(png, sizeof png, "%s/paths-%s.png", p->l.out, p->l.robot.robot);
    snprintf(title, sizeof title, "%s: one model per seed, %d paths, nothing learned in between", p->l.robot.robot,
             p->n);
    int rc = plot_tracks(png,
                         &(struct track_plot){
                             .title = title,
                             .note = "seen from above, m; grey: the path with its waypoints; a dot where a trial ended",
                             .panel  = panel,
                             .panels = p->n },
                         why, sizeof why);

    free(panel);
    free(track);
    if (rc != 0)
        return complain(p, EXIT_CANTCREATE, why);
    fprintf(p->l.say, "%s\n", png);
    return EXIT_OK;
}

static int finish(struct paths *p)
{
    char name[NAME_SIZE + 20];
    int  rc = EXIT_OK;

    p->one_model = true;
    for (long i = 0; i < p->l.seeds && rc == EXIT_OK; i++)
        rc = read_trials(p, p->l.first + i);
    if (rc != EXIT_OK)
        return rc;
    for (int i = 0; i < p->n; i++)
        means(&p->path[i]);
    json_t *r = report(p);

    print(p);
    snprintf(name, sizeof name, "paths-%s.json", p->l.robot.robot);
    rc = lecture_write(&p->l, name, r);
    rc = rc == EXIT_OK ? draw(p) : rc;
    if (p->l.json) {
        json_dumpf(r, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        printf("\n");
    }
    json_decref(r);
    return rc;
}

/* ---- flags ---- */

static int work(struct paths *p)
{
    char(*name)[NAME_SIZE] = calloc(PATHS_MAX, sizeof *name);
    int rc                 = EXIT_OK;

    CHECK(name);
    p->n      = read_names(p->tasks, name);
    p->nlearn = p->learn ? read_names(p->learn, p->learn_name) : 1;
    if (!p->n || !p->nlearn)
        rc =
            complain(p, EXIT_USAGE, "--tasks, --learn: expected up to 8 names of files in tasks/, as in straight,left");
    else if (p->n * p->l.eval > CELL_MAX || p->l.seeds * p->l.eval > TRACKS_MAX)
        rc = complain(p, EXIT_USAGE, "--eval: too many trials; at most 100 of a path over all seeds");
    rc = rc == EXIT_OK ? lecture_settle(&p->l, "paths") : rc;
    if (rc == EXIT_OK && !p->learn)
        snprintf(p->learn_name[0], NAME_SIZE, "%s", name[0]);
    for (int i = 0; i < p->n && rc == EXIT_OK; i++) {
        snprintf(p->path[i].name, NAME_SIZE, "%s", name[i]);
        rc = read_path(p, &p->path[i]);
    }
    free(name);
    p->l.all = (double)((p->l.random + p->l.trials + p->n * p->l.eval) * p->l.seeds);
    terminal_open(&p->l.terminal, false, true);
    for (long i = 0; i < p->l.seeds && rc == EXIT_OK; i++) {
        rc = learn(p, p->l.first + i);
        rc = rc == EXIT_OK ? follow(p, p->l.first + i) : rc;
    }
    terminal_close(&p->l.terminal);
    return rc == EXIT_OK ? finish(p) : rc;
}

int bench_paths(int argc, char **argv)
{
    struct paths *p = calloc(1, sizeof *p);

    CHECK(p);
    p->l                      = (struct lecture){ .verb   = "bench paths",
                                                  .task   = "ant",
                                                  .out    = "build/bench",
                                                  .random = 10,
                                                  .trials = 20,
                                                  .eval   = 3,
                                                  .seeds  = 3,
                                                  .first  = 1,
                                                  .core   = -1 };
    p->tasks                  = "straight,left,right,uturn";
    const struct flag flags[] = {
        LECTURE_FLAGS(&p->l),
        { .name = "tasks", .value = "T,T", .what = "files of tasks/ (straight,left,right,uturn)", .text = &p->tasks },
        { .name   = "steps",
          .value  = "N",
          .what   = "planner steps of the trials afterwards (trials.steps)",
          .number = &p->steps,
          .min    = 1,
          .max    = 4000 },
        { .name  = "learn",
          .value = "T,T",
          .what  = "which of them to learn along, in turn (the first)",
          .text  = &p->learn },
        { 0 }
    };
    const struct usage usage = {
        .line = "bench paths [--task ant] [--tasks T,T] [--learn T,T] [--random N] [--trials K] [--eval M] [--seeds S]",
        .text = "Can one model follow several paths?  Learns along one (or some), trains a model on that experience, "
                "and follows\n"
                "each path with it in one process, learning nothing.  Lockstep; goes on where it was.  docs/lecture.md",
        .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc < 0) {
        p->l.say = p->l.json ? stderr : stdout;
        rc       = work(p);
    }
    for (int i = 0; i < PATHS_MAX; i++)
        for (int k = 0; k < TRACKS_MAX; k++)
            free(p->path[i].trial[k].track);
    free(p);
    return rc;
}
