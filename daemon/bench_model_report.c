/* bench_model_report.c - see bench_model.h: JSON, table and pictures. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/bench_model.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_plot_bands.h"
#include "daemon/rt/check.h"

static const int HORIZON[] = { 1, 10, 50, 100 };
enum { HORIZONS = sizeof HORIZON / sizeof *HORIZON };

static const char *const WHERE[SPREAD_SETS] = { "seen", "held_out", "away" };

/* ---- open loop as numbers ---- */

enum open_figure { OPEN_RMSE, OPEN_STILL, OPEN_COVERAGE, OPEN_WIDTH };

/* At step h from 1, of element k; k < 0: of all that are not constant.  NaN beyond the last step. */
static double open_at(const struct model_bench *b, enum open_figure what, int h, int k)
{
    const struct trust_open *o    = &b->open;
    const double            *from = what == OPEN_RMSE       ? o->square
                                    : what == OPEN_STILL    ? o->still
                                    : what == OPEN_COVERAGE ? o->inside
                                                            : o->width;
    double                   sum  = 0;
    int                      n    = 0;

    if (h > o->steps)
        return (double)NAN;
    for (int j = 0; j < o->nx; j++)
        if (!b->scale.constant[j] && (k < 0 || j == k)) {
            sum += from[(h - 1) * o->nx + j] / o->windows;
            n++;
        }
    return what == OPEN_RMSE || what == OPEN_STILL ? sqrt(sum / n) : sum / n;
}

/* Over all steps. */
static double open_coverage(const struct model_bench *b, int k)
{
    double sum = 0;

    for (int h = 1; h <= b->open.steps; h++)
        sum += open_at(b, OPEN_COVERAGE, h, k) / b->open.steps;
    return sum;
}

static json_t *open_horizons(const struct model_bench *b, enum open_figure what, int k)
{
    json_t *o = json_object();
    char    key[16];

    for (int i = 0; i < HORIZONS; i++) {
        snprintf(key, sizeof key, "%d", HORIZON[i]);
        json_object_set_new(o, key, js_real(open_at(b, what, HORIZON[i], k)));
    }
    return o;
}

static json_t *open_json(const struct model_bench *b, int k)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "rmse", open_horizons(b, OPEN_RMSE, k), "rmse_if_nothing_moved",
                     open_horizons(b, OPEN_STILL, k), "coverage90", js_real(open_coverage(b, k)), "coverage90_at",
                     open_horizons(b, OPEN_COVERAGE, k), "width90", open_horizons(b, OPEN_WIDTH, k));
}

/* ---- the other numbers ---- */

static json_t *calibration_json(const struct trust_calibration *c)
{
    json_t *cover = json_array();

    for (int i = 0; i < TRUST_LEVELS; i++)
        json_array_append_new(cover, js_real(c->cover[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)c->n, "coverage", cover, "calibration_error",
                     js_real(c->error), "z_rms", js_real(c->z_rms), "share_z_beyond_2", js_real(c->beyond), "nll",
                     js_real(c->nll));
}

static json_t *quantiles_json(const struct spread_values *s)
{
    double v[SPREAD_VALUES];

    memcpy(v, s->v, sizeof v);
    return json_pack("{s:o, s:o, s:o}", "p05", js_real(quantile(v, SPREAD_VALUES, 0.05)), "p50",
                     js_real(quantile(v, SPREAD_VALUES, 0.5)), "p95", js_real(quantile(v, SPREAD_VALUES, 0.95)));
}

static double auc(const struct model_bench *b, const struct spread_values *s)
{
    return trust_auc(b->where[0].v, SPREAD_VALUES, s->v, SPREAD_VALUES);
}

/* A threshold that 99 in 100 of the states held out pass, and what it finds of those away. */
static double gate(const struct model_bench *b, double *found)
{
    double v[SPREAD_VALUES], limit;

    memcpy(v, b->where[1].v, sizeof v);
    limit  = quantile(v, SPREAD_VALUES, 0.99);
    *found = 0;
    for (int i = 0; i < SPREAD_VALUES; i++)
        *found += b->where[2].v[i] > limit ? 1.0 / SPREAD_VALUES : 0;
    return limit;
}

static json_t *spread_json(const struct model_bench *b)
{
    json_t *o = json_object(), *sweep = json_array();
    double  found, limit              = gate(b, &found);

    for (int i = 0; i < SPREAD_SETS; i++)
        json_object_set_new(o, WHERE[i], quantiles_json(&b->where[i]));
    json_object_set_new(o, "auc_held_out", js_real(auc(b, &b->where[1])));
    json_object_set_new(o, "auc_away", js_real(auc(b, &b->where[2])));
    for (int i = 0; i < PUSHES; i++) {
        json_t *elements = json_object(), *row = quantiles_json(&b->pushed[i]);

        for (int k = 0; k < b->config.nx; k++)
            if (model_bench_pushes(b, k))
                json_object_set_new(elements, b->config.observation[k].name, js_real(b->pushed_median[k][i]));
        json_object_set_new(row, "std", js_real(SPREAD_PUSH[i]));
        json_object_set_new(row, "auc", js_real(auc(b, &b->pushed[i])));
        json_object_set_new(row, "median_of", elements);
        json_array_append_new(sweep, row);
    }
    json_object_set_new(o, "pushed", sweep);
    json_object_set_new(o, "gate",
                        json_pack("{s:o, s:o}", "p99_held_out", js_real(limit), "share_of_away_beyond",
                                  js_real(found)));
    return o;
}

static json_t *model_json(const struct model_bench *b)
{
    return json_pack("{s:I, s:o, s:b, s:i, s:i}", "version", (json_int_t)b->model.version, "file",
                     b->file[0] ? json_string(b->file) : json_null(), "trained_here", !b->file[0], "transitions",
                     b->seen.n, "members", b->model.dims.members);
}

static json_t *report(const struct model_bench *b)
{
    json_t *held = json_array(), *constant = json_array(), *elements = json_array(), *levels = json_array();
    int     nx = b->config.nx;

    for (int i = 0; i < b->held_trials; i++)
        json_array_append_new(held, json_integer(b->held_number[i]));
    for (int i = 0; i < TRUST_LEVELS; i++)
        json_array_append_new(levels, js_real(trust_level(i)));
    for (int k = 0; k < nx; k++) {
        const char *name = b->config.observation[k].name;

        if (b->scale.constant[k])
            json_array_append_new(constant, json_string(name));
        else
            json_array_append_new(elements, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name", name, "std",
                                                      js_real((double)b->scale.state[k]), "target_std",
                                                      js_real((double)b->scale.target[k]), "open_loop", open_json(b, k),
                                                      "together", calibration_json(&b->together[k]), "alone",
                                                      calibration_json(&b->alone[k])));
    }
    return json_pack("{s:o, s:s, s:o, s:{s:o, s:i}, s:{s:i, s:i, s:i, s:i}, s:o, s:{s:o, s:o, s:o}, s:o, s:o, s:o}",
                     "machine", machine_json(NULL), "robot", b->config.robot, "model", model_json(b), "held_out",
                     "trials", held, "transitions", b->held.n, "open_loop_of", "steps", b->open.steps, "windows",
                     b->open.windows, "particles", b->open.particles, "particles_lost", b->open.lost, "open_loop",
                     open_json(b, -1), "calibration", "levels", levels, "together", calibration_json(&b->together[nx]),
                     "alone", calibration_json(&b->alone[nx]), "spread", spread_json(b), "elements", elements,
                     "constant", constant);
}

/* ---- the table ---- */

static void print_calibration(const char *name, const struct trust_calibration *c)
{
    printf("  %-32s %7.3f %8.3f %9.3f %8.2f %10.2f %10.2f\n", name, c->error, c->z_rms, c->beyond, c->nll,
           100 * c->cover[9], 100 * c->cover[17]);
}

static void print_open(const struct model_bench *b, const char *name, int k)
{
    printf("  %-32s", name);
    for (int i = 0; i < HORIZONS; i++)
        if (HORIZON[i] <= b->open.steps)
            printf(" %8.3f", open_at(b, OPEN_RMSE, HORIZON[i], k));
    printf("   %5.1f %%\n", 100 * open_coverage(b, k));
}

static void print_spread(const struct model_bench *b, const char *name, const struct spread_values *s)
{
    double v[SPREAD_VALUES];

    memcpy(v, s->v, sizeof v);
    printf("  %-32s %8.4f %8.4f %8.4f %8.3f\n", name, quantile(v, SPREAD_VALUES, 0.05), quantile(v, SPREAD_VALUES, 0.5),
           quantile(v, SPREAD_VALUES, 0.95), auc(b, s));
}

static void print_table(const struct model_bench *b)
{
    double found, limit = gate(b, &found);
    char   name[40];

    printf("%s: ", b->config.robot);
    if (b->file[0])
        printf("model version %llu", (unsigned long long)b->model.version);
    else
        printf("a model trained here");
    printf(" on %d transitions, judged on %d of %d trial%s held out\n\n", b->seen.n, b->held.n, b->held_trials,
           b->held_trials == 1 ? "" : "s");
    printf("open loop, %d windows, %d particles; error of the mean in std after\n  %-32s", b->open.windows,
           b->open.particles, "");
    for (int i = 0; i < HORIZONS; i++)
        if (HORIZON[i] <= b->open.steps)
            printf(" %8d", HORIZON[i]);
    printf("   within 5-95 %%\n");
    for (int k = 0; k < b->config.nx; k++)
        if (!b->scale.constant[k])
            print_open(b, b->config.observation[k].name, k);
    print_open(b, "all", -1);
    printf("\none step, variance predicted\n  %-32s %7s %8s %9s %8s %10s %10s\n", "", "error", "z rms", "|z| > 2",
           "nll", "in 50 %", "in 90 %");
    for (int k = 0; k < b->config.nx; k++)
        if (!b->scale.constant[k])
            print_calibration(b->config.observation[k].name, &b->together[k]);
    print_calibration("all, nets together", &b->together[b->config.nx]);
    print_calibration("all, each net by itself", &b->alone[b->config.nx]);
    printf("\nspread\n  %-32s %8s %8s %8s %8s\n", "", "5 %", "median", "95 %", "AUC");
    print_spread(b, "seen in training", &b->where[0]);
    print_spread(b, "held out", &b->where[1]);
    print_spread(b, "away: the box, twice as wide", &b->where[2]);
    for (int i = 1; i < PUSHES; i++) {
        snprintf(name, sizeof name, "one pushed by %g std", SPREAD_PUSH[i]);
        print_spread(b, name, &b->pushed[i]);
    }
    printf("  99 %% of what was held out is below %.3g; so much of what is away is above: %.0f %%\n\n", limit,
           100 * found);
}

/* ---- pictures ---- */

static int drawn(int rc, const char *png, const char *why, bool quiet)
{
    if (rc != 0) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_CANTCREATE;
    }
    if (!quiet)
        printf("%s\n", png);
    return EXIT_OK;
}

static void whose(const struct model_bench *b, char *out, size_t n)
{
    if (b->file[0])
        snprintf(out, n, "model version %llu, %d transitions", (unsigned long long)b->model.version, b->seen.n);
    else
        snprintf(out, n, "a model of %d transitions", b->seen.n);
}

static int draw_bands(const struct model_bench *b, const char *png, char *why, size_t n)
{
    struct band_panel panel[MAX_OBS];
    char              title[200], note[300], model[80];
    int               panels = 0;

    for (int k = 0; k < b->config.nx; k++) {
        struct band_panel *p = &panel[panels];

        if (b->scale.constant[k])
            continue;
        *p = (struct band_panel){ .name  = b->config.observation[k].name,
                                  .truth = model_bench_picture(b, 0, k),
                                  .mean  = model_bench_picture(b, 1, k) };
        for (int i = 0; i < TRUST_BANDS; i++)
            p->band[i] = model_bench_picture(b, 2 + i, k);
        panels++;
    }
    whose(b, model, sizeof model);
    snprintf(title, sizeof title, "%s: %d steps predicted from one state and the actions alone", b->config.robot,
             b->steps);
    snprintf(note, sizeof note, "%s; trial %u, which it was not trained on, from step %u; %d particles", model,
             b->held_number[0], b->held.step[b->start], b->open.particles);
    return plot_bands(png,
                      &(struct band_plot){ .title  = title,
                                           .note   = note,
                                           .x      = "seconds",
                                           .x_step = b->config.plan_every / b->config.control_hz,
                                           .n      = b->steps + 1,
                                           .panel  = panel,
                                           .panels = panels },
                      why, n);
}

static int draw_reliability(const struct model_bench *b, const char *png, char *why, size_t n)
{
    struct reliability_panel panel[MAX_OBS + 1];
    double                   level[TRUST_LEVELS];
    char                     title[200], note[300], model[80];
    int                      panels = 0, nx = b->config.nx;

    for (int i = 0; i < TRUST_LEVELS; i++)
        level[i] = trust_level(i);
    for (int at = -1; at < nx; at++) {
        int                       k = at < 0 ? nx : at; /* first all of them together */
        struct reliability_panel *p = &panel[panels];

        if (k < nx && b->scale.constant[k])
            continue;
        p->name     = k == nx ? "all observations" : b->config.observation[k].name;
        p->together = b->together[k].cover;
        p->alone    = b->alone[k].cover;
        snprintf(p->figures, sizeof p->figures, "error %.3f, z rms %.2f", b->together[k].error, b->together[k].z_rms);
        panels++;
    }
    whose(b, model, sizeof model);
    snprintf(title, sizeof title, "%s: is the predicted variance right?", b->config.robot);
    snprintf(note, sizeof note,
             "%s; %d transitions it was not trained on.  Above the diagonal: errors are smaller than it says; "
             "below: larger",
             model, b->held.n);
    return plot_reliability(
        png,
        &(struct reliability_plot){
            .title = title, .note = note, .level = level, .levels = TRUST_LEVELS, .panel = panel, .panels = panels },
        why, n);
}

static int draw_spread(const struct model_bench *b, const char *png, char *why, size_t n)
{
    static const double      Q[5]   = { 0.05, 0.25, 0.5, 0.75, 0.95 };
    static const char *const name[] = { "seen", "held out", "away" };
    struct spread_set        set[SPREAD_SETS];
    struct spread_line       line[MAX_OBS];
    struct spread_plot       p = { .set = set, .sets = SPREAD_SETS, .pushes = PUSHES, .line = line };
    char                     title[200], note[300], model[80];
    double                   v[SPREAD_VALUES];

    for (int i = 0; i < SPREAD_SETS; i++) {
        set[i].name = name[i];
        memcpy(v, b->where[i].v, sizeof v);
        for (int q = 0; q < 5; q++)
            set[i].q[q] = quantile(v, SPREAD_VALUES, Q[q]);
    }
    for (int i = 0; i < PUSHES; i++) {
        p.push[i] = SPREAD_PUSH[i];
        memcpy(v, b->pushed[i].v, sizeof v);
        for (int q = 0; q < 3; q++)
            p.all[i][q] = quantile(v, SPREAD_VALUES, Q[2 * q]);
    }
    for (int k = 0; k < b->config.nx; k++)
        if (model_bench_pushes(b, k)) {
            line[p.lines].name = b->config.observation[k].name;
            memcpy(line[p.lines++].median, b->pushed_median[k], sizeof b->pushed_median[k]);
        }
    whose(b, model, sizeof model);
    snprintf(title, sizeof title, "%s: do the nets disagree where they have seen nothing?", b->config.robot);
    snprintf(note, sizeof note,
             "%s.  Spread: std over nets of the predicted change, in std of the changes, mean over observations. "
             " AUC seen against away: %.3f",
             model, auc(b, &b->where[2]));
    p.title = title;
    p.note  = note;
    return plot_spread(png, &p, why, n);
}

/* OUT, and what is above it. */
static void make_directories(const char *out)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s", out);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    mkdir(path, 0777); /* what fails here is said where the file is written */
}

int model_bench_report(struct model_bench *b, const struct model_flags *f)
{
    static int (*const draw[])(const struct model_bench *, const char *, char *,
                               size_t) = { draw_bands, draw_reliability, draw_spread };
    static const char *const what[]    = { "bands", "calibration", "spread" };
    char                     name[100], png[PATH_SIZE + 200], why[PATH_SIZE + 300];

    make_directories(f->common.out);
    if (!f->common.json)
        print_table(b);
    json_t *r = report(b);

    CHECK(r);
    snprintf(name, sizeof name, "model-%s.json", b->config.robot);
    int rc = trained_report(&f->common, name, r);

    json_decref(r);
    for (int i = 0; i < 3 && rc == EXIT_OK; i++) {
        snprintf(png, sizeof png, "%s/model-%s-%s.png", f->common.out, b->config.robot, what[i]);
        rc = drawn(draw[i](b, png, why, sizeof why), png, why, f->common.json);
    }
    return rc;
}
