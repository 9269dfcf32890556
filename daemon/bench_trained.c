/* bench_trained.c - see bench_trained.h. */
#include "daemon/bench_trained.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/cli.h"
#include "daemon/cli_watch.h"
#include "daemon/rt/check.h"
#include "models/model_file.h"
#include "models/store.h"

/* ---- a run, where there is none ---- */

static int learn_now(const struct trained_flags *f, char *dir, size_t n)
{
    struct session *s = malloc(sizeof *s);
    struct terminal t;
    char            stamp[32];
    struct tm       tm;
    time_t          now = time(NULL);

    CHECK(s);
    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    snprintf(dir, n, "%s/%s-trained", f->out, stamp);
    fprintf(stderr, "learning in lockstep: %s\n", dir);
    terminal_open(&t, false, true);

    int rc = session_start(
        s, &(struct session_options){
               .config = f->config, .run_dir = dir, .seed = f->seed, .trials = f->trials, .lockstep = true });

    if (rc == EXIT_OK) {
        rc = session_finish(s, watch_session(s, &t, &(struct watch){ .label = "learning" }));
        session_free(s);
    }
    terminal_close(&t);
    free(s);
    return rc;
}

/* ---- model and states ---- */

struct rows {
    int      nx, n, room;
    uint32_t steps; /* of a trial, the states of which are taken */
    float   *x;
};

static bool take_state(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct rows *r = ctx;

    (void)trial_id;
    if (t->model_version == 0 || t->step >= r->steps)
        return true; /* of the random trial; or late in one, where there may be nothing left to do */
    if (r->n == r->room) {
        r->room = r->room ? 2 * r->room : 1024;
        r->x    = realloc(r->x, sizeof *r->x * (size_t)r->room * (size_t)r->nx);
        CHECK(r->x);
    }
    memcpy(r->x + (size_t)r->n++ * (size_t)r->nx, t->x, sizeof *r->x * (size_t)r->nx);
    return true;
}

static bool take_model(void *ctx, const struct model_row *m)
{
    if (strcmp(m->status, "published") == 0)
        *(struct model_row *)ctx = *m;
    return true;
}

int trained_pick(int i, int take, int n, uint64_t seed)
{
    struct rng r;
    double     at;

    rng_seed(&r, seed);
    at = ((double)i + rng_uniform(&r)) * n / take;
    return at < n - 1 ? (int)at : n - 1;
}

static int say(int code, const char *why)
{
    fprintf(stderr, "limber: %s\n", why);
    return code;
}

static int read_store(struct trained *t, const struct trained_flags *f, const char *store, const char *run)
{
    struct store_schema schema;
    struct rows         rows   = { .nx = t->config.nx, .steps = (uint32_t)(1 + t->config.trials.steps / 3) };
    struct model_row    newest = { 0 };
    char                why[700];

    config_store_schema(&t->config, &schema);
    struct store *s = store_open(store, &schema, true, why, sizeof why);
    if (!s)
        return say(EXIT_REFUSED, why);
    int64_t read = store_transitions(s, 0, take_state, &rows);
    if (read < 0 || store_models(s, take_model, &newest) < 0)
        snprintf(why, sizeof why, "%s: %s", store, store_error(s));
    else if (rows.n < f->states)
        snprintf(why, sizeof why, "%s: %d states of planned trials, expected at least %ld", store, rows.n, f->states);
    else
        why[0] = 0;
    t->transitions = (int)read;
    store_close(s);
    if (!why[0] && !f->model && !newest.file[0])
        snprintf(why, sizeof why, "%s: no published model", store);
    if (!why[0]) {
        snprintf(t->file, sizeof t->file, "%s%s%s", f->model ? f->model : run, f->model ? "" : "/models/",
                 f->model ? "" : newest.file);
        t->n = (int)f->states;
        t->x = malloc(sizeof *t->x * (size_t)(t->n * t->config.nx));
        CHECK(t->x);
        for (int i = 0; i < t->n; i++)
            memcpy(t->x + i * rows.nx,
                   rows.x + (size_t)trained_pick(i, t->n, rows.n, (uint64_t)f->seed) * (size_t)rows.nx,
                   sizeof *t->x * (size_t)rows.nx);
    }
    free(rows.x);
    if (why[0])
        return say(EXIT_REFUSED, why);
    int rc = model_file_load(t->file, t->config.robot, &t->config.model, &t->model, why, sizeof why);
    return rc < 0 ? say(EXIT_REFUSED, why) : EXIT_OK;
}

int trained_open(struct trained *t, const struct trained_flags *f)
{
    char run[PATH_SIZE] = "", store[PATH_SIZE + 32], why[700];

    memset(t, 0, sizeof *t);
    if (!f->config)
        return say(EXIT_USAGE, "--config is missing; see --help");
    if (f->model && !f->store && !f->run)
        return say(EXIT_USAGE, "--model needs --store or --run: the states to plan from");
    if (config_load(f->config, &t->config, why, sizeof why) != 0)
        return say(EXIT_CONFIG, why);
    if (f->run)
        snprintf(run, sizeof run, "%s", f->run);
    else if (!f->store) {
        int rc = learn_now(f, run, sizeof run);

        if (rc != EXIT_OK)
            return rc;
    }
    if (!f->model && !run[0])
        return say(EXIT_USAGE, "--store needs --model: which model to plan with");
    snprintf(store, sizeof store, "%s%s", f->store ? f->store : run, f->store ? "" : "/experience.db");
    t->bounds.na = t->config.na;
    for (int i = 0; i < t->config.na; i++) {
        t->bounds.low[i]  = (float)t->config.action[i].low;
        t->bounds.high[i] = (float)t->config.action[i].high;
    }
    return read_store(t, f, store, run);
}

void trained_close(struct trained *t)
{
    ensemble_free(&t->model);
    free(t->x);
}

bool trained_defaults(const struct robot_config *c, const char *name, struct planner_config *p)
{
    if (strcmp(name, c->planner.name) == 0) {
        *p = c->planner;
        return true;
    }
    if (config_planner(name, c->na, p) != 0)
        return false;
    p->horizon     = c->planner.horizon;
    p->particles   = c->planner.particles;
    p->propagation = c->planner.propagation;
    memcpy(p->init_std, c->planner.init_std, sizeof p->init_std);
    return true;
}

struct planner *trained_planner(const struct trained *t, const struct planner_config *c, void **memory)
{
    size_t size = (planner_memsize(c, &t->config.model) + 63) / 64 * 64;

    *memory = aligned_alloc(64, size);
    CHECK(*memory);
    struct arena    a = { .base = *memory, .size = size };
    struct planner *p = planner_init(&a, c, &t->config.model, &t->config.task, &t->bounds, NULL);

    planner_pack(p, 0, &t->model);
    return p;
}

/* ---- numbers ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double quantile(double *v, int n, double q)
{
    double at = q * (n - 1);
    int    i  = (int)at < n - 1 ? (int)at : n - 1;

    qsort(v, (size_t)n, sizeof *v, by_value);
    return i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[i];
}

/* Rank of each: how many are smaller, and half of those that are equal. */
static void ranks(const float *v, int n, double *rank)
{
    for (int i = 0; i < n; i++) {
        int less = 0, equal = 0;

        for (int k = 0; k < n; k++) {
            less += v[k] < v[i];
            equal += v[k] == v[i];
        }
        rank[i] = less + 0.5 * (equal - 1);
    }
}

double rank_correlation(const float *a, const float *b, int n)
{
    double *r = malloc(sizeof *r * 2 * (size_t)n), *s = r + n, ab = 0, aa = 0, bb = 0, middle = 0.5 * (n - 1);

    CHECK(r);
    ranks(a, n, r);
    ranks(b, n, s);
    for (int i = 0; i < n; i++) {
        ab += (r[i] - middle) * (s[i] - middle);
        aa += (r[i] - middle) * (r[i] - middle);
        bb += (s[i] - middle) * (s[i] - middle);
    }
    free(r);
    return ab / sqrt(aa * bb);
}

/* ---- reports ---- */

int trained_report(const struct trained_flags *f, const char *name, const json_t *report)
{
    char path[PATH_SIZE + 64];

    if (f->json) {
        json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        printf("\n");
        return EXIT_OK;
    }
    snprintf(path, sizeof path, "%s/%s", f->out, name);
    if (json_dump_file(report, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0) {
        fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
        return EXIT_CANTCREATE;
    }
    printf("%s\n", path);
    return EXIT_OK;
}
