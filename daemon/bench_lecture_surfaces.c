/* bench_lecture_surfaces.c - limber bench surfaces: models of one floor, of another and of both, each planned with on each.
 *
 * After the lecture's table of a legged robot on carpet and on styrofoam.  Per seed, in directories of its own:
 *     learn-0, learn-1          a learning run on each surface
 *     only-0, only-1, both(, half)   a store put together from those, a model trained on it once, and planned trials with it
 *                               on surface 0, then on surface 1, which nothing learns from */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_lecture.h"
#include "daemon/bench_model_trust.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/rt/check.h"
#include "models/model_file.h"
#include "models/store.h"

static const char *const SET_NAME[SETS_MAX] = { "only-0", "only-1", "both", "half" };

struct surfaces {
    struct lecture         l;
    const char            *list, *reference_text;
    double                 reference;
    bool                   half;
    long                   jobs;
    int                    sets;
    char                   model[SURFACES][PATH_SIZE], name[SURFACES][NAME_SIZE], set_name[SETS_MAX][3 * NAME_SIZE];
    struct surfaces_table  table;
    struct surfaces_checks checks;
};

/* "model.xml,model-styrofoam.xml"; a surface is called what its file is called. */
static int read_surfaces(struct surfaces *s)
{
    const char *comma = strchr(s->list, ',');

    if (!comma || comma == s->list || !comma[1] || strchr(comma + 1, ',')) {
        fprintf(
            stderr,
            "limber %s: --surfaces: expected two MuJoCo files beside robot.yaml, as in model.xml,model-styrofoam.xml\n",
            s->l.verb);
        return EXIT_USAGE;
    }
    snprintf(s->model[0], PATH_SIZE, "%.*s", (int)(comma - s->list), s->list);
    snprintf(s->model[1], PATH_SIZE, "%s", comma + 1);
    for (int i = 0; i < SURFACES; i++) {
        const char *slash = strrchr(s->model[i], '/'), *file = slash ? slash + 1 : s->model[i],
                   *dot = strrchr(file, '.');

        snprintf(s->name[i], NAME_SIZE, "%.*s", dot ? (int)(dot - file) : NAME_SIZE - 1, file);
        snprintf(s->set_name[i], sizeof s->set_name[i], "only %s", s->name[i]);
    }
    snprintf(s->set_name[2], sizeof s->set_name[2], "both");
    snprintf(s->set_name[3], sizeof s->set_name[3], "both, half of each");
    s->sets = s->half ? 4 : 3;
    return EXIT_OK;
}

static void seed_dir(const struct surfaces *s, long seed, const char *part, char *out, size_t size)
{
    snprintf(out, size, "%.*s/seed-%ld/%s", (int)size - 100, s->l.base, seed, part);
}

/* ---- runs ---- */

static int learn(struct surfaces *s, long seed, int on)
{
    char        dir[PATH_SIZE], part[16], label[120], surface[PATH_SIZE + 16], random[40];
    const char *set[] = { surface, random };

    snprintf(part, sizeof part, "learn-%d", on);
    seed_dir(s, seed, part, dir, sizeof dir);
    snprintf(surface, sizeof surface, "sim.model=%s", s->model[on]);
    snprintf(random, sizeof random, "trials.random=%ld", s->l.random);
    snprintf(label, sizeof label, "seed %ld, learning on %s", seed, s->name[on]);
    int rc = lecture_config(&s->l, dir, "robot.yaml", set, 2);

    rc = rc == EXIT_OK ? lecture_run(&s->l, dir, "robot.yaml", label, s->l.trials, seed) : rc;
    if (rc == EXIT_OK)
        lecture_progress(&s->l, label, (double)(s->l.random + s->l.trials));
    return rc;
}

/* The store a set is learned from. */
static int gather(const struct surfaces *s, long seed, int set, const char *dir)
{
    char from[SURFACES][PATH_SIZE + 32], part[PATH_SIZE], store[PATH_SIZE + 32], new[PATH_SIZE + 32],
        why[2 * PATH_SIZE];
    const char *list[SURFACES] = { from[0], from[1] };

    snprintf(store, sizeof store, "%s/experience.db", dir);
    if (access(store, F_OK) == 0)
        return EXIT_OK;
    for (int i = 0; i < SURFACES; i++) {
        seed_dir(s, seed, i ? "learn-1" : "learn-0", part, sizeof part);
        snprintf(from[i], sizeof from[i], "%s/experience.db", part);
    }
    snprintf(new, sizeof new, "%s/experience.new", dir);
    if (store_merge(set < 2 ? list + set : list, set < 2 ? 1 : 2, set == 3 ? 2 : 1, new, why, sizeof why) > 0 &&
        rename(new, store) == 0)
        return EXIT_OK;
    fprintf(stderr, "limber %s: %s\n", s->l.verb, why[0] ? why : "no experience");
    return EXIT_REFUSED;
}

/* Gradient steps that learning on that surface took. */
static long learning_steps(const struct surfaces *s, long seed, int on)
{
    char part[16], dir[PATH_SIZE], store[PATH_SIZE + 32];

    snprintf(part, sizeof part, "learn-%d", on);
    seed_dir(s, seed, part, dir, sizeof dir);
    snprintf(store, sizeof store, "%s/experience.db", dir);
    return store_training_steps(store);
}

/* One model of that experience, on both surfaces.  Every set meets the same start states. */
static int evaluate(struct surfaces *s, long seed, int set)
{
    char        dir[PATH_SIZE], label[200], surface[PATH_SIZE + 16], name[40];
    char        fit[2][LECTURE_FIT_SIZE];
    const char *sets[] = { surface, "trials.random=1", "trainer.aggregate=false", fit[0], fit[1] };
    int         rc     = EXIT_OK;
    long        steps  = 0;

    for (int on = 0; on < SURFACES; on++)
        if (set >= 2 || on == set)
            steps += learning_steps(s, seed, on);
    steps = lecture_fit(set == 3 ? steps / 2 : steps, fit) ? steps : 0;
    seed_dir(s, seed, SET_NAME[set], dir, sizeof dir);
    for (int on = 0; on < SURFACES && rc == EXIT_OK; on++) {
        snprintf(surface, sizeof surface, "sim.model=%s", s->model[on]);
        snprintf(name, sizeof name, on ? "on-%d.yaml" : "robot.yaml", on);
        snprintf(label, sizeof label, "seed %ld, model of %s, on %s", seed, s->set_name[set], s->name[on]);
        rc = lecture_config(&s->l, dir, name, sets, steps ? 5 : 3);
        rc = rc == EXIT_OK ? gather(s, seed, set, dir) : rc;
        rc = rc == EXIT_OK ? lecture_run(&s->l, dir, name, label, (on + 1) * s->l.eval, seed + 1000) : rc;
        if (rc == EXIT_OK)
            lecture_progress(&s->l, label, (double)s->l.eval);
    }
    return rc;
}

static int run_seed(struct surfaces *s, long seed)
{
    int rc = EXIT_OK;

    for (int on = 0; on < SURFACES && rc == EXIT_OK; on++)
        rc = learn(s, seed, on);
    for (int set = 0; set < s->sets && rc == EXIT_OK; set++)
        rc = evaluate(s, seed, set);
    return rc;
}

static int run_share(struct surfaces *s, long job)
{
    int rc = EXIT_OK;

    s->l.core = s->jobs > 1 ? (int)job : -1;
    s->l.all  = (double)((2 * (s->l.random + s->l.trials) + 2 * s->sets * s->l.eval) *
                        ((s->l.seeds - job + s->jobs - 1) / s->jobs));
    terminal_open(&s->l.terminal, false, true);
    for (long i = job; i < s->l.seeds && rc == EXIT_OK; i += s->jobs)
        rc = run_seed(s, s->l.first + i);
    terminal_close(&s->l.terminal);
    return rc;
}

/* With several jobs each has a process and a core of its own; what they did stands in the stores. */
static int run_all(struct surfaces *s)
{
    int rc = EXIT_OK, status;

    if (s->jobs == 1)
        return run_share(s, 0);
    for (long k = 0; k < s->jobs; k++) {
        pid_t pid = fork();

        if (pid == 0) {
            rc = run_share(s, k);
            fflush(NULL);
            _exit(rc);
        }
        if (pid < 0)
            rc = EXIT_OSERR;
    }
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_OK)
            rc = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_OSERR;
    return rc;
}

/* ---- one-step errors ---- */

struct held {
    struct trust_rows rows;
    long              from, to;
    int64_t           id[CELL_MAX];
    int               ids;
};

static bool take_trial(void *ctx, const struct trial_row *t)
{
    struct held *h = ctx;

    if (!strcmp(t->kind, "planned") && !strcmp(t->status, "finished") && t->number >= h->from && t->number <= h->to &&
        h->ids < CELL_MAX)
        h->id[h->ids++] = t->id;
    return true;
}

static bool take_row(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct held *h = ctx;

    for (int i = 0; i < h->ids; i++)
        if (h->id[i] == trial_id)
            trust_rows_add(&h->rows, t->x, t->a, t->y, trial_id, t->step);
    return true;
}

/* What any model did in trials h->from .. h->to, on one surface, which no model has learned from. */
static int read_held(const struct surfaces *s, long seed, struct held *h)
{
    struct store_schema schema;
    char                dir[PATH_SIZE], file[PATH_SIZE + 32], why[700];

    config_store_schema(&s->l.robot, &schema);
    for (int set = 0; set < s->sets; set++) {
        seed_dir(s, seed, SET_NAME[set], dir, sizeof dir);
        snprintf(file, sizeof file, "%s/experience.db", dir);
        struct store *store = store_open(file, &schema, true, why, sizeof why);

        if (!store)
            return -1;
        h->ids = 0;
        int rc = store_trials(store, take_trial, h) < 0 || store_transitions(store, 0, take_row, h) < 0 ? -1 : 0;

        store_close(store);
        if (rc < 0)
            return -1;
    }
    return h->rows.n > 1 ? 0 : -1;
}

/* Root of the mean square of (mean of all nets - truth) / std of the truth, over rows and predicted observations. */
static double one_step_error(const struct ensemble *e, const struct trust_rows *r)
{
    struct trust_scale *scale = calloc(1, sizeof *scale);
    double              sum = 0, n = 0;

    CHECK(scale);
    trust_scale(e, r, scale);
    for (int i = 0; i < r->n; i++) {
        const float *x = r->x + (size_t)i * (size_t)r->nx;
        float        mean[MAX_OBS], var[MAX_OBS], truth[MAX_OBS], all[MAX_OBS] = { 0 };

        for (int m = 0; m < e->dims.members; m++) {
            trust_predict(e, m, x, r->a + (size_t)i * (size_t)r->na, mean, var);
            for (int k = 0; k < r->nx; k++)
                all[k] += mean[k] / (float)e->dims.members;
        }
        trust_target(e, x, r->y + (size_t)i * (size_t)r->nx, truth);
        for (int k = 0; k < r->nx; k++)
            if (!scale->constant[k]) {
                double d = (double)((all[k] - truth[k]) / scale->target[k]);
                sum += d * d;
                n++;
            }
    }
    free(scale);
    return n > 0 ? sqrt(sum / n) : (double)NAN;
}

static double model_error(const struct surfaces *s, long seed, int set, const struct trust_rows *rows)
{
    struct ensemble e = { 0 };
    char            dir[PATH_SIZE], store[PATH_SIZE + 32], name[300], file[PATH_SIZE + 320], why[700];

    seed_dir(s, seed, SET_NAME[set], dir, sizeof dir);
    snprintf(store, sizeof store, "%s/experience.db", dir);
    if (!store_model_file(store, name, sizeof name))
        return (double)NAN;
    snprintf(file, sizeof file, "%s/models/%s", dir, name);
    if (model_file_load(file, s->l.robot.robot, &s->l.robot.model, &e, why, sizeof why) != 0) {
        fprintf(stderr, "limber %s: %s\n", s->l.verb, why);
        return (double)NAN;
    }
    double error = one_step_error(&e, rows);

    ensemble_free(&e);
    return error;
}

static void errors(struct surfaces *s)
{
    for (int on = 0; on < SURFACES; on++) {
        double sum[SETS_MAX] = { 0 };

        for (long i = 0; i < s->l.seeds; i++) {
            struct held *h = calloc(1, sizeof *h);

            CHECK(h);
            h->rows = (struct trust_rows){ .nx = s->l.robot.nx, .na = s->l.robot.na };
            h->from = on * s->l.eval + 1;
            h->to   = (on + 1) * s->l.eval;
            int rc  = read_held(s, s->l.first + i, h);
            for (int set = 0; set < s->sets; set++)
                sum[set] += rc == 0 ? model_error(s, s->l.first + i, set, &h->rows) : (double)NAN;
            trust_rows_free(&h->rows);
            free(h);
        }
        for (int set = 0; set < s->sets; set++)
            s->table.cell[set][on].error = sum[set] / (double)s->l.seeds;
    }
}

/* ---- report ---- */

static void read_table(struct surfaces *s)
{
    char   dir[PATH_SIZE], store[PATH_SIZE + 32];
    double ret[CELL_MAX];

    s->table.sets = s->sets;
    for (long i = 0; i < s->l.seeds; i++)
        for (int set = 0; set < s->sets; set++) {
            seed_dir(s, s->l.first + i, SET_NAME[set], dir, sizeof dir);
            snprintf(store, sizeof store, "%s/experience.db", dir);
            int n = store_returns(store, 1, ret, CELL_MAX);

            for (int k = 0; k < n && k < 2 * s->l.eval; k++) {
                struct surfaces_cell *c = &s->table.cell[set][k >= s->l.eval];

                if (c->n < CELL_MAX)
                    c->ret[c->n++] = ret[k];
            }
        }
    surfaces_costs(&s->table, s->reference);
    surfaces_check(&s->table, &s->checks);
    errors(s);
}

static json_t *numbers(const double *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(a, js_real(v[i]));
    return a;
}

static json_t *report(const struct surfaces *s)
{
    json_t *cells = json_array(), *set = json_array();

    for (int i = 0; i < s->l.set.n; i++)
        json_array_append_new(set, json_string(s->l.set.word[i]));
    for (int k = 0; k < s->sets; k++)
        for (int on = 0; on < SURFACES; on++) {
            const struct surfaces_cell *c = &s->table.cell[k][on];

            json_array_append_new(cells,
                                  json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "learned_on", s->set_name[k], "surface",
                                            s->name[on], "cost_mean", js_real(c->mean), "cost_std", js_real(c->std),
                                            "one_step_error", js_real(c->error), "returns", numbers(c->ret, c->n)));
        }
    json_t *checks = json_pack("{s:o, s:b, s:o, s:b}", "own_to_other", numbers(s->checks.own_to_other, SURFACES),
                               "own_met", s->checks.own_met, "mixed_to_own", numbers(s->checks.mixed_to_own, SURFACES),
                               "mixed_met", s->checks.mixed_met);

    return json_pack("{s:o, s:s, s:s, s:s, s:[s,s], s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "machine",
                     machine_json(NULL), "robot", s->l.robot.robot, "task", s->l.robot.task.name, "mode", "lockstep",
                     "surfaces", s->name[0], s->name[1], "set", set, "random_trials", (json_int_t)s->l.random,
                     "learning_trials", (json_int_t)s->l.trials, "eval_trials", (json_int_t)s->l.eval, "first_seed",
                     (json_int_t)s->l.first, "seeds", (json_int_t)s->l.seeds, "reference_returns",
                     numbers(s->table.reference, SURFACES), "cells", cells, "checks", checks);
}

static void print(const struct surfaces *s)
{
    const struct surfaces_checks *c = &s->checks;
    FILE                         *f = s->l.say;

    fprintf(f, "%s, task %s: cost (a return of %.4g is 0 on %s, %.4g on %s), mean and std of trials; one-step error\n",
            s->l.robot.robot, s->l.robot.task.name, s->table.reference[0], s->name[0], s->table.reference[1],
            s->name[1]);
    fprintf(f, "%-24s %28s %28s\n", "learned from", s->name[0], s->name[1]);
    for (int k = 0; k < s->sets; k++) {
        fprintf(f, "%-24s", s->set_name[k]);
        for (int on = 0; on < SURFACES; on++)
            fprintf(f, " %10.2f +- %6.2f  (%5.3f)", s->table.cell[k][on].mean, s->table.cell[k][on].std,
                    s->table.cell[k][on].error);
        fprintf(f, "\n");
    }
    fprintf(f, "%-7s own surface's model at most half the cost of the other's: %.2f, %.2f\n",
            c->own_met ? "met" : "missed", c->own_to_other[0], c->own_to_other[1]);
    fprintf(f, "%-7s model of both at most twice the cost of the own one:      %.2f, %.2f\n",
            c->mixed_met ? "met" : "missed", c->mixed_to_own[0], c->mixed_to_own[1]);
}

static int draw(const struct surfaces *s)
{
    struct dots_plot p = { .note =
                               "a dot per trial and seed, a line for their mean; nothing is learned from these trials",
                           .y      = "cost",
                           .groups = SURFACES,
                           .sets   = s->sets };
    char             png[PATH_SIZE + 100], title[200], group[SURFACES][NAME_SIZE + 20], why[700];
    double          *cost = malloc(sizeof *cost * SETS_MAX * SURFACES * CELL_MAX);

    CHECK(cost);
    for (int on = 0; on < SURFACES; on++) {
        snprintf(group[on], sizeof group[on], "planning on %s", s->name[on]);
        p.group[on] = group[on];
        for (int k = 0; k < s->sets; k++) {
            double *v = cost + (k * SURFACES + on) * CELL_MAX;

            for (int i = 0; i < s->table.cell[k][on].n; i++)
                v[i] = s->table.reference[on] - s->table.cell[k][on].ret[i];
            p.set[k]      = s->set_name[k];
            p.dots[on][k] = (struct dots){ .n = s->table.cell[k][on].n, .v = v };
        }
    }
    snprintf(title, sizeof title, "%s, task %s: models of one surface, of the other, of both", s->l.robot.robot,
             s->l.robot.task.name);
    p.title = title;
    snprintf(png, sizeof png, "%s/surfaces-%s.png", s->l.out, s->l.robot.robot);
    int rc = plot_dots(png, &p, why, sizeof why);

    free(cost);
    if (rc != 0) {
        fprintf(stderr, "limber %s: %s\n", s->l.verb, why);
        return EXIT_CANTCREATE;
    }
    fprintf(s->l.say, "%s\n", png);
    return EXIT_OK;
}

static int finish(struct surfaces *s)
{
    char    name[NAME_SIZE + 20];
    json_t *r;

    read_table(s);
    r = report(s);
    snprintf(name, sizeof name, "surfaces-%s.json", s->l.robot.robot);
    print(s);
    int rc = lecture_write(&s->l, name, r);

    rc = rc == EXIT_OK ? draw(s) : rc;
    if (s->l.json) {
        json_dumpf(r, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        printf("\n");
    }
    json_decref(r);
    return rc;
}

/* ---- flags ---- */

static int work(struct surfaces *s)
{
    int rc = read_surfaces(s);

    if (rc == EXIT_OK && s->l.eval * s->l.seeds > CELL_MAX) {
        fprintf(stderr, "limber %s: --eval times --seeds: at most %d trials\n", s->l.verb, CELL_MAX);
        rc = EXIT_USAGE;
    }
    if (rc == EXIT_OK && s->jobs > sysconf(_SC_NPROCESSORS_ONLN)) {
        fprintf(stderr, "limber %s: --jobs: more than this machine has cores\n", s->l.verb);
        rc = EXIT_USAGE;
    }
    if (rc == EXIT_OK && s->reference_text) {
        char *end;

        s->reference = strtod(s->reference_text, &end);
        if (*end || end == s->reference_text || !isfinite(s->reference)) {
            fprintf(stderr, "limber %s: --reference: expected a return\n", s->l.verb);
            rc = EXIT_USAGE;
        }
    }
    rc = rc == EXIT_OK ? lecture_settle(&s->l, "surfaces") : rc;
    rc = rc == EXIT_OK ? run_all(s) : rc;
    return rc == EXIT_OK ? finish(s) : rc;
}

int bench_surfaces(int argc, char **argv)
{
    struct surfaces *s = calloc(1, sizeof *s);

    CHECK(s);
    s->l                       = (struct lecture){ .verb   = "bench surfaces",
                                                   .random = 5,
                                                   .trials = 15,
                                                   .eval   = 5,
                                                   .out    = "build/bench",
                                                   .seeds  = 3,
                                                   .first  = 1,
                                                   .core   = -1 };
    s->jobs                    = 1;
    s->list                    = "model.xml,model-styrofoam.xml";
    s->reference               = (double)NAN;
    const struct flag  flags[] = { LECTURE_FLAGS(&s->l),
                                   { .name  = "surfaces",
                                     .value = "F,F",
                                     .what  = "two models beside robot.yaml (model.xml,model-styrofoam.xml)",
                                     .text  = &s->list },
                                   { .name  = "reference",
                                     .value = "R",
                                     .what  = "return that counts as cost 0 (the best on each surface)",
                                     .text  = &s->reference_text },
                                   { .name = "half",
                                     .what = "also a model of half the trials of each: as many as of one surface",
                                     .on   = &s->half },
                                   { .name   = "jobs",
                                     .value  = "J",
                                     .what   = "seeds at a time, each on one core (1)",
                                     .number = &s->jobs,
                                     .min    = 1,
                                     .max    = 32 },
                                   { 0 } };
    const struct usage usage   = {
          .line = "bench surfaces --task T [--surfaces A.xml,B.xml] [--random N] [--trials K] [--eval M] [--seeds S] "
                    "[--half]",
          .text =
              "What is a model of one surface worth on another, and one of both?  Learns on each, trains models on the\n"
                "experience of one, the other and both, and plans with each on each, learning nothing.  Lockstep; goes on "
                "where\n"
                "it was.  docs/lecture.md",
          .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc < 0) {
        s->l.say = s->l.json ? stderr : stdout;
        rc       = work(s);
    }
    free(s);
    return rc;
}
