/* train_bench.c - examples per second of models/train.c on the shapes of the paper and on those of real-time robots. */
#include "models/train_bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "models/kernels.h"
#include "models/peak.h"
#include "models/train.h"

enum { ROWS = 256, MEMBERS = 5, REPEATS = 100, SLOT_MS = 8 };

/* The first four: Chua et al. 2018 and its code. */
static const struct shape {
    const char *name;
    int         nx, na, angles, layers, hidden;
} shapes[] = {
    { "cartpole", 4, 1, 1, 3, 500 },     { "reacher", 17, 7, 0, 4, 200 },    { "pusher", 20, 7, 0, 3, 200 },
    { "halfcheetah", 18, 6, 0, 4, 200 }, { "quadruped", 36, 12, 0, 2, 128 }, { "arm", 14, 7, 3, 3, 128 },
    { "cartpole-2x64", 4, 1, 1, 2, 64 },
};

struct measured {
    double examples_per_s, peak;
};

/* Time this thread had the core: others' turns on it do not count. */
static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct model_dims dims_of(const struct shape *s)
{
    struct model_dims d = { .nx = s->nx, .na = s->na, .members = MEMBERS, .layers = s->layers, .hidden = s->hidden };

    for (int i = 0; i < s->angles; i++)
        d.input[i] = INPUT_ANGLE;
    return d;
}

static double flop_per_example(const struct model_dims *d)
{
    double sum = 0;

    for (int l = 0, in, out; l <= d->layers; l++) {
        ensemble_layer(d, l, &in, &out);
        sum += 6.0 * in * out;
    }
    return sum * d->members;
}

/* A smooth map with noise: what is learned does not matter, only that it stays finite. */
static void make_data(const struct model_dims *d, float *x, float *a, float *y)
{
    struct rng r;

    rng_seed(&r, 1);
    for (int i = 0; i < ROWS; i++, x += d->nx, a += d->na, y += d->nx) {
        for (int k = 0; k < d->na; k++)
            a[k] = (float)rng_normal(&r);
        for (int k = 0; k < d->nx; k++)
            x[k] = (float)rng_normal(&r);
        for (int k = 0; k < d->nx; k++)
            y[k] = x[k] + 0.1f * x[(k + 1) % d->nx] - 0.2f * a[k % d->na] + 0.05f * (float)rng_normal(&r);
    }
}

/* Seconds of one training of that many epochs; negative: an error. */
static double train(const char *isa, const struct model_dims *d, const struct train_data *data, int batch, int epochs,
                    struct measured *best, int repeats)
{
    struct train_config c = { .learning_rate       = 1e-3,
                              .learning_rate_final = 1,
                              .batch               = batch,
                              .epochs              = epochs,
                              .warm_start          = true,
                              .bootstrap           = true,
                              .standardise_targets = true };
    struct trainer     *t = trainer_new_on(isa, d, &c, 1);
    double              s = 0;

    if (!t)
        return -1;
    for (int i = 0; i < repeats; i++) {
        double start = now_s();

        if (trainer_fit(t, data, NULL, NULL, NULL) <= 0) {
            s = -1;
            break;
        }
        s           = now_s() - start;
        double rate = (double)data->n * epochs / s, peak = i % 4 ? 0 : peak_f32_gflops();

        best->examples_per_s = rate > best->examples_per_s ? rate : best->examples_per_s;
        best->peak           = peak > best->peak ? peak : best->peak;
    }
    trainer_free(t);
    return s;
}

static bool measure(const char *isa, const struct model_dims *d, const struct train_data *data, int batch,
                    struct measured *m)
{
    double once = train(isa, d, data, batch, 1, m, 2); /* the second: everything is warm */

    *m = (struct measured){ 0 };
    return once > 0 && train(isa, d, data, batch, 1 + (int)(1e-3 * SLOT_MS / once), m, REPEATS) > 0;
}

static void print_row(const struct train_bench *b, const struct shape *s, const struct model_dims *d, int batch,
                      const struct measured *m)
{
    const char *isa    = kernels_find(b->isa)->isa;
    double      gflops = 1e-9 * m->examples_per_s * flop_per_example(d);

    if (b->json)
        printf("{\"what\": \"train\", \"shape\": \"%s\", \"batch\": %d, \"examples_per_s\": %.0f, \"gflops\": %.2f, "
               "\"peak_gflops\": %.2f, \"peak_fraction\": %.4f, \"isa\": \"%s\"}\n",
               s->name, batch, m->examples_per_s, gflops, m->peak, gflops / m->peak, isa);
    else
        printf("%-14s %4d-%dx%d-%-4d %6d %12.0f %9.1f %8.1f %8.1f %%  %s\n", s->name, ensemble_nin(d), d->layers,
               d->hidden, 2 * d->nx, batch, m->examples_per_s, gflops, m->peak, 100 * gflops / m->peak, isa);
    fflush(stdout);
}

static int bench_shape(const struct train_bench *b, const struct shape *s)
{
    struct model_dims d  = dims_of(s);
    size_t            nx = (size_t)s->nx, na = (size_t)s->na;
    float            *x = malloc(ROWS * nx * sizeof *x), *a = malloc(ROWS * na * sizeof *a);
    float            *y   = malloc(ROWS * nx * sizeof *y);
    int               err = x && a && y ? 0 : -ENOMEM;

    if (!err)
        make_data(&d, x, a, y);
    for (int i = 0; i < (b->batch ? 1 : 2) && !err; i++) {
        struct train_data data  = { .n = ROWS, .x = x, .a = a, .y = y };
        struct measured   m     = { 0 };
        int               batch = b->batch ? b->batch : i ? 256 : 32;

        if (measure(b->isa, &d, &data, batch, &m))
            print_row(b, s, &d, batch, &m);
        else
            err = -ENOMEM;
    }
    free(x);
    free(a);
    free(y);
    return err;
}

int train_bench(const struct train_bench *b)
{
    int err = 0, found = 0;

    if (!kernels_find(b->isa)) {
        fprintf(stderr, "limber-trainer: this CPU has no \"%s\"; it has", b->isa);
        for (const char *const *isa = isa_names(); *isa; isa++)
            fprintf(stderr, " %s", *isa);
        fprintf(stderr, "\n");
        return -EINVAL;
    }
    if (!b->json)
        printf("%-14s %-14s %6s %12s %9s %8s %10s  %s\n", "shape", "net", "batch", "examples/s", "GFLOP/s", "peak",
               "of peak", "isa");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !err; i++)
        if (!b->shape || strcmp(b->shape, shapes[i].name) == 0) {
            found++;
            err = bench_shape(b, &shapes[i]);
        }
    if (!found) {
        fprintf(stderr, "limber-trainer: no shape \"%s\"; there are", b->shape);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            fprintf(stderr, " %s", shapes[i].name);
        fprintf(stderr, "\n");
        return -EINVAL;
    }
    if (err)
        fprintf(stderr, "limber-trainer: %s\n", strerror(-err));
    return err;
}
