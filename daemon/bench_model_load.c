/* bench_model_load.c - what a model was trained on and what it was not.  A model's row in the store says up to which trial
 * it was trained; trainings take every transition up to there (limber_trainer.c).  So a version older than the trials held
 * out has never met them.  Where there is none, one is trained here on all trials but those. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench_model.h"
#include "daemon/cli.h"
#include "daemon/rt/check.h"
#include "models/model_file.h"
#include "models/store.h"
#include "models/train.h"

enum { TRIALS = 4096, MODELS = 4096 };

struct found {
    struct trial_row *trial; /* finished, by id */
    int               trials;
    struct model_row *model; /* published       */
    int               models;
    struct trust_rows rows;
};

static int say(int code, const char *why)
{
    fprintf(stderr, "limber: %s\n", why);
    return code;
}

static bool take_trial(void *ctx, const struct trial_row *t)
{
    struct found *f = ctx;

    if (strcmp(t->status, "finished") == 0 && f->trials < TRIALS)
        f->trial[f->trials++] = *t;
    return true;
}

static bool take_model(void *ctx, const struct model_row *m)
{
    struct found *f = ctx;

    if (strcmp(m->status, "published") == 0 && f->models < MODELS)
        f->model[f->models++] = *m;
    return true;
}

static bool all_finite(const float *v, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool take_row(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct trust_rows *r = &((struct found *)ctx)->rows;

    if (all_finite(t->x, r->nx) && all_finite(t->a, r->na) && all_finite(t->y, r->nx))
        trust_rows_add(r, t->x, t->a, t->y, trial_id, t->step);
    return true;
}

static int read_store(const struct model_bench *b, const char *path, struct found *f)
{
    struct store_schema schema;
    char                why[700];

    config_store_schema(&b->config, &schema);
    f->rows  = (struct trust_rows){ .nx = b->config.nx, .na = b->config.na };
    f->trial = calloc(TRIALS, sizeof *f->trial);
    f->model = calloc(MODELS, sizeof *f->model);
    CHECK(f->trial && f->model);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    if (!s)
        return say(EXIT_REFUSED, why);
    why[0] = 0;
    if (store_trials(s, take_trial, f) < 0 || store_models(s, take_model, f) < 0 ||
        store_transitions(s, 0, take_row, f) < 0)
        snprintf(why, sizeof why, "%s: %s", path, store_error(s));
    store_close(s);
    return why[0] ? say(EXIT_REFUSED, why) : EXIT_OK;
}

/* The last trials, of which nothing may have been learned.  Their ids go to id. */
static int hold_out(struct model_bench *b, const struct model_flags *f, const char *path, const struct found *found,
                    int64_t *id)
{
    char why[700];

    b->held_trials = (int)f->holdout;
    if (found->trials < b->held_trials + 1) {
        snprintf(why, sizeof why, "%s has %d finished trials; holding %d out leaves nothing to learn from", path,
                 found->trials, b->held_trials);
        return say(EXIT_REFUSED, why);
    }
    for (int i = 0; i < b->held_trials; i++) {
        const struct trial_row *t = &found->trial[found->trials - b->held_trials + i];

        id[i]             = t->id;
        b->held_number[i] = t->number;
    }
    return EXIT_OK;
}

/* ---- the model ---- */

/* A named file must be of a version that the store knows, or nobody could tell what it was trained on. */
static int named_model(struct model_bench *b, const struct model_flags *f, const struct found *found, int64_t first)
{
    const struct model_row *row = NULL;
    char                    why[900];

    snprintf(b->file, sizeof b->file, "%s", f->common.model);
    if (model_file_load(b->file, b->config.robot, &b->config.model, &b->model, why, sizeof why) < 0)
        return say(EXIT_REFUSED, why);
    for (int i = 0; i < found->models; i++)
        if (found->model[i].version == b->model.version)
            row = &found->model[i];
    if (row && row->trial_id < first) {
        b->trained_to = row->trial_id;
        return EXIT_OK;
    }
    snprintf(why, sizeof why,
             "%s is version %llu, which %s; leave --model out to have an older one chosen, or say --train", b->file,
             (unsigned long long)b->model.version,
             row ? "was trained on a trial that is to be held out" : "this store has not published");
    return say(EXIT_REFUSED, why);
}

/* The newest published version older than trial `first` whose file is there. */
static bool older_model(struct model_bench *b, const char *models, const struct found *found, int64_t first)
{
    char why[900];

    for (int i = found->models - 1; i >= 0; i--) {
        const struct model_row *m = &found->model[i];

        if (m->trial_id >= first)
            continue;
        snprintf(b->file, sizeof b->file, "%.255s/%.255s", models, m->file);
        if (access(b->file, R_OK) != 0)
            continue;
        if (model_file_load(b->file, b->config.robot, &b->config.model, &b->model, why, sizeof why) == 0) {
            b->trained_to = m->trial_id;
            return true;
        }
        fprintf(stderr, "limber: %s\n", why);
    }
    return false;
}

static bool show_training(void *ctx, double done)
{
    int *tenth = ctx, now = (int)(10 * done);

    if (now > *tenth)
        fprintf(stderr, "training: %d %%\n", 10 * now);
    *tenth = now > *tenth ? now : *tenth;
    return true;
}

/* Rows of the last so many trials. */
static int recent_rows(const struct trust_rows *r, int trials)
{
    int n = 0;

    while (n < r->n) {
        bool same = n > 0 && r->trial[r->n - 1 - n] == r->trial[r->n - n];

        if (!same && trials-- == 0)
            break;
        n++;
    }
    return n;
}

static int train_here(struct model_bench *b, uint64_t seed)
{
    const struct model_dims *d     = &b->config.model;
    const struct trust_rows *r     = &b->seen;
    struct trainer          *t     = trainer_new(d, &b->config.trainer, seed);
    int                     *run   = malloc(sizeof *run * (size_t)r->n);
    int                      tenth = 0;

    b->file[0] = 0;
    if (!t || !run || ensemble_alloc(&b->model, d) < 0) {
        trainer_free(t);
        free(run);
        return say(EXIT_OSERR, "no memory to train a model");
    }
    fprintf(stderr, "training a model on %d transitions, the trials held out left out\n", b->seen.n);
    train_runs(r->n, r->trial, r->step, run);
    struct train_data data = { .n       = r->n,
                               .x       = r->x,
                               .a       = r->a,
                               .y       = r->y,
                               .nrecent = recent_rows(r, b->config.trainer.recent_trials),
                               .run     = run };
    ensemble_init(&b->model, seed);
    trainer_load(t, &b->model);
    int steps = trainer_fit(t, &data, show_training, &tenth, NULL);
    trainer_export(t, &b->model);
    trainer_free(t);
    free(run);
    return steps < 0 || !ensemble_finite(&b->model) ? say(EXIT_REFUSED, "training failed") : EXIT_OK;
}

static void share_out(struct model_bench *b, const struct trust_rows *r, const int64_t *held)
{
    b->seen = b->held = (struct trust_rows){ .nx = r->nx, .na = r->na };
    for (int i = 0; i < r->n; i++) {
        const float *x = r->x + (size_t)i * (size_t)r->nx, *a = r->a + (size_t)i * (size_t)r->na,
                    *y = r->y + (size_t)i * (size_t)r->nx;
        bool out       = false;

        for (int k = 0; k < b->held_trials; k++)
            out = out || r->trial[i] == held[k];
        if (out)
            trust_rows_add(&b->held, x, a, y, r->trial[i], r->step[i]);
        else if (r->trial[i] <= b->trained_to)
            trust_rows_add(&b->seen, x, a, y, r->trial[i], r->step[i]);
    }
}

static int take_model_and_rows(struct model_bench *b, const struct model_flags *f, const char *store,
                               struct found *found)
{
    int64_t held[HELD_MAX];
    char    models[PATH_SIZE + 64], beside[PATH_SIZE];
    int     rc   = read_store(b, store, found);
    bool    mine = false;

    if (rc == EXIT_OK)
        rc = hold_out(b, f, store, found, held);
    if (rc != EXIT_OK)
        return rc;
    snprintf(beside, sizeof beside, "%s", store);
    snprintf(models, sizeof models, "%s/models", dirname(beside));
    if (f->train)
        mine = true;
    else if (f->common.model)
        rc = named_model(b, f, found, held[0]);
    else
        mine = !older_model(b, models, found, held[0]);
    if (rc != EXIT_OK)
        return rc;
    b->trained_to = mine ? INT64_MAX : b->trained_to;
    share_out(b, &found->rows, held);
    if (b->seen.n < 2 || b->held.n < 2)
        return say(EXIT_REFUSED, "too few transitions, either to learn from or held out");
    if (mine && (rc = train_here(b, (uint64_t)f->common.seed)) != EXIT_OK)
        return rc;
    trust_scale(&b->model, &b->seen, &b->scale);
    return EXIT_OK;
}

int model_bench_open(struct model_bench *b, const struct model_flags *f)
{
    const struct trained_flags *c     = &f->common;
    struct found                found = { 0 };
    char                        store[PATH_SIZE], config[PATH_SIZE] = "", why[700];

    memset(b, 0, sizeof *b);
    if (c->config || c->run)
        snprintf(config, sizeof config, "%s%s", c->config ? c->config : c->run, c->config ? "" : "/robot.yaml");
    if (!c->config && (!c->run || access(config, R_OK) != 0))
        return say(EXIT_USAGE, "--config is missing, and there is no robot.yaml in the run's directory; see --help");
    if (!c->run && !c->store)
        return say(EXIT_USAGE, "expected --run DIR or --store DB: the experience");
    if (c->model && f->train)
        return say(EXIT_USAGE, "--model and --train exclude each other");
    if (config_load(config, &b->config, why, sizeof why) != 0)
        return say(EXIT_CONFIG, why);
    int n = snprintf(store, sizeof store, "%s%s", c->store ? c->store : c->run, c->store ? "" : "/experience.db");
    if (n >= (int)sizeof store)
        return say(EXIT_USAGE, "too long a path");
    int rc = take_model_and_rows(b, f, store, &found);
    free(found.trial);
    free(found.model);
    trust_rows_free(&found.rows);
    return rc;
}

void model_bench_close(struct model_bench *b)
{
    ensemble_free(&b->model);
    trust_rows_free(&b->seen);
    trust_rows_free(&b->held);
    trust_open_free(&b->open);
    free(b->picture);
}
