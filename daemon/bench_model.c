/* bench_model.c - see bench_model.h. */
#include "daemon/bench_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench.h"
#include "daemon/cli.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

enum { SEED_WINDOW = 1, SEED_SPREAD = 2 };

const double SPREAD_PUSH[PUSHES] = { 0, 1, 2, 4, 8 };

/* ---- open loop ---- */

/* How many rows from i on, up to most, follow one another within a trial. */
static int unbroken(const struct trust_rows *r, int i, int most)
{
    int n = 1;

    while (n < most && trust_rows_follow(r, i + n - 1))
        n++;
    return n;
}

/* Rows from which a window can start; at most r->n.  *steps is cut to what the longest trial has. */
static int *window_starts(const struct trust_rows *r, int *steps, int *count)
{
    int *start = malloc(sizeof *start * (size_t)r->n), longest = 0;

    CHECK(start);
    for (int i = 0; i < r->n; i++) {
        int n = unbroken(r, i, *steps);

        longest = n > longest ? n : longest;
    }
    *steps = longest;
    *count = 0;
    for (int i = 0; i < r->n; i++)
        if (unbroken(r, i, longest) == longest)
            start[(*count)++] = i;
    return start;
}

float *model_bench_picture(const struct model_bench *b, int which, int k)
{
    return b->picture + (size_t)((which * b->config.nx + k) * (b->steps + 1));
}

/* The cloud is sorted already where trust_open_add has been; sorting again is harmless. */
static void draw_window(struct model_bench *b, int row, float *cloud, int particles)
{
    int nx = b->config.nx;

    b->start   = row;
    b->picture = calloc((size_t)(6 * nx * (b->steps + 1)), sizeof *b->picture);
    CHECK(b->picture);
    for (int k = 0; k < nx; k++) {
        for (int which = 0; which < 6; which++)
            model_bench_picture(b, which, k)[0] = b->held.x[row * nx + k];
        for (int h = 0; h < b->steps; h++) {
            float mean, band[TRUST_BANDS];

            trust_bands(cloud + (size_t)(h * nx + k) * (size_t)particles, particles, &mean, band);
            model_bench_picture(b, 0, k)[h + 1] = b->held.y[(row + h) * nx + k];
            model_bench_picture(b, 1, k)[h + 1] = mean;
            for (int i = 0; i < TRUST_BANDS; i++)
                model_bench_picture(b, 2 + i, k)[h + 1] = band[i];
        }
    }
}

static void open_loop(struct model_bench *b, const struct model_flags *f)
{
    const struct trust_rows *r  = &b->held;
    int                      nx = r->nx, particles = (int)f->particles, count;

    b->steps       = (int)f->steps;
    int     *start = window_starts(r, &b->steps, &count);
    int      n     = count < f->windows ? count : (int)f->windows;
    float   *cloud = malloc(sizeof *cloud * (size_t)(b->steps * nx) * (size_t)particles);
    uint64_t begun = clock_now_ns(), said = begun;

    CHECK(cloud);
    trust_open_init(&b->open, nx, b->steps, particles);
    for (int w = -1; w < n; w++) { /* first the one that is drawn: from a trial's beginning, if there is one */
        int at   = w < 0 ? start[0] : start[trained_pick(w, n, count, (uint64_t)f->common.seed)];
        int lost = trust_roll(&b->model, r->x + at * nx, r->a + at * r->na, b->steps, particles,
                              rng_derive((uint64_t)f->common.seed, SEED_WINDOW, (uint64_t)(w + 1)), cloud);

        if (w < 0) {
            draw_window(b, at, cloud, particles);
        } else {
            b->open.lost += lost;
            trust_open_add(&b->open, r->x + at * nx, cloud, r->y + at * nx, &b->scale);
        }
        if (clock_now_ns() - said > 2 * NS_PER_S) {
            said = clock_now_ns();
            fprintf(stderr, "open loop: %d of %d windows, %.0f s left\n", w + 1, n,
                    1e-9 * (double)(said - begun) * (n - 1 - w) / (w + 2));
        }
    }
    free(cloud);
    free(start);
}

/* ---- spread ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sorted(struct spread_values *s)
{
    qsort(s->v, SPREAD_VALUES, sizeof *s->v, by_value);
}

bool model_bench_pushes(const struct model_bench *b, int k)
{
    return !b->scale.constant[k] && b->model.dims.input[k] != INPUT_NONE;
}

static void spread(struct model_bench *b, uint64_t seed)
{
    const struct ensemble *e = &b->model;

    trust_spread_rows(e, &b->seen, SPREAD_VALUES, rng_derive(seed, SEED_SPREAD, 0), b->where[0].v);
    trust_spread_rows(e, &b->held, SPREAD_VALUES, rng_derive(seed, SEED_SPREAD, 1), b->where[1].v);
    trust_spread_box(e, &b->scale, 2, SPREAD_VALUES, rng_derive(seed, SEED_SPREAD, 2), b->where[2].v);
    for (int i = 0; i < SPREAD_SETS; i++)
        sorted(&b->where[i]);
    for (int i = 0; i < PUSHES; i++) {
        trust_spread_pushed(e, &b->seen, &b->scale, -1, SPREAD_PUSH[i], SPREAD_VALUES, rng_derive(seed, SEED_SPREAD, 3),
                            b->pushed[i].v);
        sorted(&b->pushed[i]);
        for (int k = 0; k < b->config.nx; k++) {
            double v[200];

            if (!model_bench_pushes(b, k))
                continue;
            trust_spread_pushed(e, &b->seen, &b->scale, k, SPREAD_PUSH[i], 200, rng_derive(seed, SEED_SPREAD, 3), v);
            b->pushed_median[k][i] = quantile(v, 200, 0.5);
        }
    }
}

int model_bench_measure(struct model_bench *b, const struct model_flags *f)
{
    bool any = false;

    for (int k = 0; k < b->config.nx; k++)
        any = any || model_bench_pushes(b, k);
    if (!any) {
        fprintf(stderr, "limber: no observation ever changed in what was learned from; there is nothing to predict\n");
        return EXIT_REFUSED;
    }
    trust_calibrate(&b->model, &b->held, &b->scale, b->together, b->alone);
    spread(b, (uint64_t)f->common.seed);
    open_loop(b, f);
    return EXIT_OK;
}

/* ---- the verb ---- */

int bench_trust(int argc, char **argv)
{
    struct model_flags f = {
        .common = { .out = "build/bench", .seed = 1 }, .holdout = 2, .steps = 100, .windows = 20, .particles = 100
    };
    struct trained_flags *c       = &f.common;
    const struct flag     flags[] = {
            { .name  = "config",
              .value = "FILE",
              .what  = "robot.yaml (default: the one in the run's directory)",
              .text  = &c->config },
            { .name = "run", .value = "DIR", .what = "directory of a run: its experience.db, its models", .text = &c->run },
            { .name = "store", .value = "DB", .what = "experience.db, instead of the run's", .text = &c->store },
            { .name  = "model",
              .value = "FILE",
              .what  = "this model (default: the newest that was not trained on the trials held out)",
              .text  = &c->model },
            { .name = "train", .what = "train a model here, on all trials but those held out", .on = &f.train },
            { .name   = "holdout",
              .value  = "N",
              .what   = "the last N finished trials (2)",
              .number = &f.holdout,
              .min    = 1,
              .max    = HELD_MAX },
            { .name   = "steps",
              .value  = "N",
              .what   = "to predict (100, or what a trial has)",
              .number = &f.steps,
              .min    = 1,
              .max    = 10000 },
            { .name   = "windows",
              .value  = "N",
              .what   = "states to predict from (20)",
              .number = &f.windows,
              .min    = 1,
              .max    = 10000 },
            { .name   = "particles",
              .value  = "N",
              .what   = "of each prediction (100)",
              .number = &f.particles,
              .min    = 20,
              .max    = 10000 },
            { .name = "seed", .value = "N", .what = "of everything random (1)", .number = &c->seed, .min = 0, .max = 1e9 },
            { .name = "json", .what = "print the JSON document only", .on = &c->json },
            { .name = "out", .value = "DIR", .what = "directory for report and pictures (build/bench)", .text = &c->out },
            { 0 }
    };
    const struct usage usage = { .line =
                                     "bench model [--config FILE] (--run DIR | --store DB [--model FILE]) [--train] "
                                     "[--holdout N] [--json] [--out DIR]",
                                 .text  = "How far can a learned model be trusted?  Predictions over many steps, "
                                          "calibration of the predicted variance, and\n"
                                          "disagreement of the nets, on trials that the model was not trained on.  "
                                          "Writes model-ROBOT.json and pictures\n"
                                          "(docs/uncertainty.md).",
                                 .flags = flags };
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    struct model_bench *b = calloc(1, sizeof *b);

    CHECK(b);
    rc = model_bench_open(b, &f);
    if (rc == EXIT_OK)
        rc = model_bench_measure(b, &f);
    if (rc == EXIT_OK)
        rc = model_bench_report(b, &f);
    model_bench_close(b);
    free(b);
    return rc;
}
