/* bench_gates.c - limber bench gates: what the gates spread, residual, drift, limit_dwell, oscillation and energy would have
 * said of recorded runs.
 *
 * Every planned step that a store kept is predicted again by the version of the model that planned it, with the planner's own
 * code, and scored as the core scores it (core_scores.h).  So a threshold can be chosen, and doubted, before it stops a
 * robot.  Where a gate did trip in the run, what followed was the baseline's and is not in here.  Efforts are watched as the
 * core does (core_effort.h), but as they were applied, once a planner step and with observed velocities only: what happened between, in steps that were not
 * stored or while no plan drove is not in here. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_trained.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/core_effort.h"
#include "daemon/core_scores.h"
#include "daemon/rt/check.h"
#include "models/model_file.h"
#include "models/store.h"
#include "planner/planner.h"

enum { RUNS_MAX = 100, KINDS = 6 };
enum kind { SPREAD, RESIDUAL, DRIFT, DWELL, OSCILLATION, ENERGY };
static const char *const NAMES[KINDS] = { "spread", "residual", "drift", "limit_dwell", "oscillation", "energy" };

/* One trial under way, or over. */
struct trial {
    int64_t id;
    int     n[KINDS], room[KINDS], steps; /* values; planner steps with any */
    double *value[KINDS];
    double  threshold[KINDS]; /* in force during it, of `auto` or as configured; infinite: none yet, or off */
    double  usual;            /* surprise, of the trials before; 0: not known yet */
    int     beyond[KINDS], first[KINDS];
};

struct judge {
    struct robot_config config;
    char                dir[PATH_SIZE];
    uint64_t            version; /* in slot 0; 0: none */
    struct ensemble     model;
    struct planner     *planner;
    void               *memory;
    struct score_log    log[DWELL];
    double              drift;
    struct filter_limits limits;  /* as far as core_effort.h needs them */
    struct filter_window window;  /* likewise */
    struct effort_watch  watch;
    uint32_t             step;    /* the last one watched, with ... */
    double               effort[MAX_JOINTS]; /* ... these */
    struct trial        trial;
    json_t             *trials;
    uint64_t            seen;           /* planned transitions */
    int                 lost;           /* of them, without a model file */
    double              nearest[KINDS]; /* largest of value / threshold, over all trials with one */
    double              most[KINDS];    /* largest value */
    int                 tripped[KINDS]; /* trials */
};

/* ---- scores ---- */

/* The version that planned a step into slot 0 of a planner of its own.  False: its file is not there, or no good. */
static bool take_model(struct judge *j, uint64_t version)
{
    char path[PATH_SIZE + 64], why[900];

    if (version == j->version)
        return true;
    ensemble_free(&j->model);
    j->version = 0;
    snprintf(path, sizeof path, "%s/models/model-%llu.model", j->dir, (unsigned long long)version);
    if (model_file_load(path, j->config.robot, &j->config.model, &j->model, why, sizeof why) != 0)
        return false;
    planner_pack(j->planner, 0, &j->model);
    j->version = version;
    return true;
}

/* Root mean square of (y - mean) / std. */
static double error(int nx, const float *y, const float *mean, const float *std)
{
    double sum = 0;

    for (int i = 0; i < nx; i++)
        sum += pow((double)(y[i] - mean[i]) / (double)std[i], 2);
    return sqrt(sum / nx);
}

static void trial_begin(struct judge *j, int64_t id)
{
    const struct gate_config *cfg[KINDS] = { &j->config.gates.spread, &j->config.gates.residual,
                                             &j->config.gates.drift, &j->config.gates.limit_dwell,
                                             &j->config.gates.oscillation, &j->config.gates.energy };
    struct trial             *t          = &j->trial;

    t->id    = id;
    t->steps = 0;
    memset(t->n, 0, sizeof t->n);
    memset(&j->watch, 0, sizeof j->watch);
    j->step  = UINT32_MAX; /* the step before the first */
    t->usual = scores_usual(&j->log[DRIFT]);
    j->drift = 0;
    for (int k = 0; k < KINDS; k++) {
        if (k == DRIFT)
            t->threshold[k] = cfg[k]->off || !(t->usual > 0) ? (double)INFINITY : cfg[k]->threshold;
        else if (k >= DWELL)
            t->threshold[k] = cfg[k]->off ? (double)INFINITY : cfg[k]->threshold;
        else
            t->threshold[k] = cfg[k]->off || cfg[k]->calibrated ? scores_threshold(&j->log[k]) : cfg[k]->threshold;
        t->beyond[k] = 0;
        t->first[k]  = -1;
    }
}

static void value_add(struct trial *trial, enum kind k, uint32_t step, double value)
{
    if (trial->n[k] == trial->room[k]) {
        trial->room[k]  = trial->room[k] ? 2 * trial->room[k] : 256;
        trial->value[k] = realloc(trial->value[k], sizeof *trial->value[k] * (size_t)trial->room[k]);
        CHECK(trial->value[k]);
    }
    trial->value[k][trial->n[k]++] = value;
    if (value <= trial->threshold[k])
        return;
    trial->beyond[k]++;
    trial->first[k] = trial->first[k] < 0 ? (int)step : trial->first[k];
}

/* What this step's effort would have been judged by. */
static void efforts_add(struct judge *j, const struct transition *t)
{
    const struct robot_config *cfg                = &j->config;
    double effort[MAX_JOINTS] = { 0 }, velocity[MAX_JOINTS] = { 0 }, step_s = cfg->plan_every / cfg->control_hz;

    if (t->step != j->step + 1) { /* nothing is known of what was between */
        memset(&j->watch, 0, sizeof j->watch);
        memset(j->effort, 0, sizeof j->effort);
    }
    j->step = t->step;
    for (int i = 0; i < cfg->na; i++)
        effort[cfg->action[i].joint] = cfg->action[i].scale * (double)t->a[i];
    for (int i = 0; i < cfg->nx; i++)
        if (cfg->observation[i].measure == MEASURE_VELOCITY || cfg->observation[i].measure == MEASURE_AVERAGE_VELOCITY)
            velocity[cfg->observation[i].joint] = (double)t->x[i];
    struct effort_tick  now = { .in_force = j->effort, .effort = effort, .velocity = velocity };
    struct effort_worst w   = effort_watch(&j->watch, &j->limits, &j->window, &now, step_s, true);
    memcpy(j->effort, effort, sizeof j->effort);
    value_add(&j->trial, DWELL, t->step, w.dwell_s);
    value_add(&j->trial, OSCILLATION, t->step, w.reversals);
    value_add(&j->trial, ENERGY, t->step, w.work);
}

static void trial_add(struct judge *j, const struct transition *t, const struct expectation *p)
{
    double surprise = error(j->config.nx, t->y, p->mean, p->std);

    j->drift         = scores_drift(&j->log[DRIFT], j->drift, surprise);
    double now[DWELL] = { p->spread, error(j->config.nx, t->y, p->mean, j->model.out_std), j->drift };

    for (int k = 0; k < DWELL; k++)
        value_add(&j->trial, (enum kind)k, t->step, now[k]);
    j->trial.steps++;
    if (isfinite(now[SPREAD]))
        scores_add(&j->log[SPREAD], now[SPREAD]);
    if (isfinite(now[RESIDUAL]))
        scores_add(&j->log[RESIDUAL], now[RESIDUAL]);
    if (isfinite(surprise))
        scores_add(&j->log[DRIFT], surprise);
}

static json_t *kind_json(struct judge *j, enum kind k)
{
    struct trial *t     = &j->trial;
    double        worst = quantile(t->value[k], t->n[k], 1), ratio = worst / t->threshold[k];

    if (ratio > j->nearest[k])
        j->nearest[k] = ratio;
    if (worst > j->most[k])
        j->most[k] = worst;
    j->tripped[k] += t->beyond[k] > 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:o}", "p50", js_real(quantile(t->value[k], t->n[k], 0.5)), "p99",
                     js_real(quantile(t->value[k], t->n[k], 0.99)), "max", js_real(worst), "threshold",
                     js_real(t->threshold[k]), "beyond", t->beyond[k], "first_step",
                     t->first[k] < 0 ? json_null() : json_integer(t->first[k]));
}

static void trial_end(struct judge *j)
{
    json_t *row;

    for (int k = 0; k < DWELL; k++)
        scores_close(&j->log[k]);
    if (!j->trial.steps)
        return;
    row = json_pack("{s:I, s:i, s:o}", "trial_id", (json_int_t)j->trial.id, "steps", j->trial.steps, "usual_surprise",
                    js_real(j->trial.usual));
    for (int k = 0; k < KINDS; k++)
        json_object_set_new(row, NAMES[k], kind_json(j, (enum kind)k));
    json_array_append_new(j->trials, row);
}

static bool take_row(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct judge      *j = ctx;
    struct expectation p;

    if (trial_id != j->trial.id) {
        trial_end(j);
        trial_begin(j, trial_id);
    }
    if (!t->model_version)
        return true;
    j->seen++;
    efforts_add(j, t);
    if (take_model(j, t->model_version)) {
        planner_predict(j->planner, 0, t->x, t->a, &p);
        trial_add(j, t, &p);
    } else {
        j->lost++;
    }
    return true;
}

/* ---- a run ---- */

static int say(int code, const char *why)
{
    fprintf(stderr, "limber: %s\n", why);
    return code;
}

static void planner_open(struct judge *j)
{
    struct action_bounds bounds = { .na = j->config.na };
    size_t               size   = (planner_memsize(&j->config.planner, &j->config.model) + 63) / 64 * 64;

    for (int i = 0; i < bounds.na; i++) {
        bounds.low[i]  = (float)j->config.action[i].low;
        bounds.high[i] = (float)j->config.action[i].high;
    }
    j->limits.nj = j->config.nj;
    for (int i = 0; i < j->config.nj; i++) {
        j->limits.actuated[i] = j->config.joint[i].actuated;
        j->limits.effort[i]   = j->config.joint[i].effort;
        j->limits.continuous[i] = (double)INFINITY; /* heat is not recorded: every motor counts as cool */
    }
    j->config.planner.workers = 1;
    j->memory                 = aligned_alloc(64, size);
    CHECK(j->memory);
    struct arena a = { .base = j->memory, .size = size };
    j->planner     = planner_init(&a, &j->config.planner, &j->config.model, &j->config.task, &bounds, NULL);
}

static int judge_store(struct judge *j)
{
    struct store_schema schema;
    char                path[PATH_SIZE + 32], why[900];

    config_store_schema(&j->config, &schema);
    snprintf(path, sizeof path, "%s/experience.db", j->dir);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    if (!s)
        return say(EXIT_REFUSED, why);
    trial_begin(j, 0);
    int rows = store_transitions(s, 0, take_row, j);
    if (rows < 0)
        snprintf(why, sizeof why, "%s: %s", path, store_error(s));
    store_close(s);
    trial_end(j);
    if (rows < 0)
        return say(EXIT_REFUSED, why);
    snprintf(why, sizeof why, "%s: no planned steps whose models are still in models/ beside it", path);
    return json_array_size(j->trials) ? EXIT_OK : say(EXIT_REFUSED, why);
}

/* Reads DIR's store; its robot.yaml, unless `config` is another one.  The result goes to *report. */
static int judge_run(const char *config, const char *dir, json_t **report)
{
    struct judge *j = calloc(1, sizeof *j);
    char          file[PATH_SIZE + 32], why[900];
    int           rc;

    CHECK(j);
    snprintf(j->dir, sizeof j->dir, "%.440s", dir);
    snprintf(file, sizeof file, "%.500s%s", config ? config : dir, config ? "" : "/robot.yaml");
    if (config_load(file, &j->config, why, sizeof why) != 0) {
        free(j);
        return say(EXIT_CONFIG, why);
    }
    j->trials = json_array();
    planner_open(j);
    rc = judge_store(j);
    if (rc == EXIT_OK) {
        *report = json_pack("{s:s, s:s, s:I, s:i}", "run", dir, "robot", j->config.robot, "steps", (json_int_t)j->seen,
                            "without_model", j->lost);
        for (int k = 0; k < KINDS; k++)
            json_object_set_new(*report, NAMES[k],
                                json_pack("{s:i, s:o, s:o}", "trials_beyond", j->tripped[k], "nearest",
                                          js_real(j->nearest[k]), "max", js_real(j->most[k])));
        json_object_set(*report, "trials", j->trials);
    }
    json_decref(j->trials);
    for (int k = 0; k < KINDS; k++)
        free(j->trial.value[k]);
    ensemble_free(&j->model);
    free(j->memory);
    free(j);
    return rc;
}

/* ---- what is printed ---- */

static void print_trial(const json_t *t)
{
    printf("%5ld %6ld", js_int(t, "trial_id"), js_int(t, "steps"));
    for (int k = 0; k < KINDS; k++) {
        const json_t *v         = js_at(t, NAMES[k]);
        double        threshold = js_num(v, "threshold");

        if (k < DWELL)
            printf("  %8.3g %8.3g", js_num(v, "p50"), js_num(v, "max"));
        else
            printf("  %8.3g", js_num(v, "max"));
        if (isfinite(threshold))
            printf(" %8.3g", threshold);
        else
            printf(" %8s", "-");
        if (js_int(v, "beyond"))
            printf(" %4ld!", js_int(v, "beyond"));
        else
            printf("      ");
    }
    printf("\n");
}

static void print_run(const json_t *r, bool trials)
{
    const json_t *list = js_at(r, "trials");

    if (trials)
        printf("trial  steps  spread: p50, max, threshold, steps beyond   residual (likewise)               drift          "
               "                   limit_dwell: max, s          oscillation: max, 1/s        energy: max, J\n");
    for (size_t i = 0; trials && i < json_array_size(list); i++)
        print_trial(json_array_get(list, i));
    printf("%s: %zu trials, %ld steps", js_str(r, "run", ""), json_array_size(list), js_int(r, "steps"));
    for (int k = 0; k < DWELL; k++)
        printf("; %s: beyond in %ld, nearest %.2f of the threshold", NAMES[k],
               js_int(js_at(r, NAMES[k]), "trials_beyond"), js_num(js_at(r, NAMES[k]), "nearest"));
    for (int k = DWELL; k < KINDS; k++)
        printf("; %s: beyond in %ld, at most %.3g %s", NAMES[k], js_int(js_at(r, NAMES[k]), "trials_beyond"),
               js_num(js_at(r, NAMES[k]), "max"), k == DWELL ? "s" : k == ENERGY ? "J" : "a second");
    printf("\n");
    if (js_int(r, "without_model"))
        printf("    %ld steps not judged: the files of their models are gone\n", js_int(r, "without_model"));
}

/* ---- the verb ---- */

/* DIR itself, or what `limber bench learn` made there: DIR/seed-1, ... */
static int runs_of(const char *dir, char (*run)[PATH_SIZE], int most)
{
    char path[PATH_SIZE + 32];
    int  n = 0;

    snprintf(path, sizeof path, "%.440s/experience.db", dir);
    if (access(path, R_OK) == 0) {
        snprintf(run[0], sizeof run[0], "%.440s", dir);
        return 1;
    }
    for (int seed = 0; seed < 1000 && n < most; seed++) {
        snprintf(path, sizeof path, "%.440s/seed-%d/experience.db", dir, seed);
        if (access(path, R_OK) == 0)
            snprintf(run[n++], sizeof run[0], "%.440s/seed-%d", dir, seed);
    }
    return n;
}

int bench_gates(int argc, char **argv)
{
    struct trained_flags f       = { 0 };
    const struct flag    flags[] = {
           { .name  = "run",
             .value = "DIR",
             .what  = "directory of a run, or of a `bench learn` with its seeds",
             .text  = &f.run },
           { .name = "config", .value = "FILE", .what = "robot.yaml (default: the run's own)", .text = &f.config },
           { .name = "json", .what = "print a JSON document only", .on = &f.json },
           { 0 }
    };
    const struct usage usage = {
        .line  = "bench gates --run DIR [--config FILE] [--json]",
        .text  = "What the gates spread, residual, drift, limit_dwell, oscillation and energy would have said of recorded planned\n"
                 "trials, with the thresholds of robot.yaml; those that are `auto` or off there by what was usual before (docs/uncertainty.md).",
        .flags = flags
    };
    static char run[RUNS_MAX][PATH_SIZE];
    int         count, rc = args_read(argc, argv, &usage, NULL, &count);

    if (rc >= 0)
        return rc;
    if (!f.run)
        return say(EXIT_USAGE, "--run is missing; see --help");
    int     n   = runs_of(f.run, run, RUNS_MAX);
    json_t *all = json_array();
    rc = n ? EXIT_OK : say(EXIT_USAGE, "--run: there is no experience.db in it, nor in seed-1, seed-2, ... of it");
    for (int i = 0; i < n && rc == EXIT_OK; i++) {
        json_t *report = NULL;

        rc = judge_run(f.config, run[i], &report);
        if (report)
            json_array_append_new(all, report);
        if (report && !f.json)
            print_run(report, n == 1);
    }
    if (rc == EXIT_OK && f.json)
        rc = trained_report(&f, "", all);
    json_decref(all);
    return rc;
}
