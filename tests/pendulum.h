/* pendulum.h - a torque-driven pendulum in plain C: data for tests of learning.  x = (angle, speed), a = torque / 3. */
#ifndef TESTS_PENDULUM_H
#define TESTS_PENDULUM_H

#include <string.h>

#include "daemon/rt/rng.h"
#include "models/train.h"

enum { PENDULUM_ROWS = 800 };

static const struct model_dims pendulum_dims = {
    .nx = 2, .na = 1, .members = 3, .layers = 2, .hidden = 24, .input = { INPUT_ANGLE, INPUT_IDENTITY }
};

struct pendulum_data {
    float x[2 * PENDULUM_ROWS], a[PENDULUM_ROWS], y[2 * PENDULUM_ROWS];
    int   n;
};

/* 50 ms in steps of 5, semi-implicit Euler. */
static inline void pendulum_step(float x[2], float a)
{
    for (int i = 0; i < 10; i++) {
        x[1] += 0.005f * (-9.81f * sinf(x[0]) - 0.1f * x[1] + 3 * a);
        x[0] += 0.005f * x[1];
    }
}

/* n transitions under random torque held for four steps, from rest anew every 50. */
static inline void pendulum_collect(struct pendulum_data *d, int n, uint64_t seed)
{
    struct rng r;
    float      x[2] = { 0 }, a = 0;

    rng_seed(&r, seed);
    d->n = n;
    for (int i = 0; i < n; i++) {
        if (i % 50 == 0)
            for (int k = 0; k < 2; k++)
                x[k] = (float)(k + 1) * (float)rng_normal(&r);
        if (i % 4 == 0)
            a = (float)(2 * rng_uniform(&r) - 1);
        memcpy(d->x + (size_t)i * 2, x, sizeof x);
        d->a[i] = a;
        pendulum_step(x, a);
        memcpy(d->y + (size_t)i * 2, x, sizeof x);
    }
}

static inline struct train_data pendulum_view(const struct pendulum_data *d)
{
    return (struct train_data){ .n = d->n, .x = d->x, .a = d->a, .y = d->y };
}

static inline struct train_config pendulum_recipe(int steps)
{
    return (struct train_config){ .recipe              = "steps",
                                  .learning_rate       = 2e-3,
                                  .learning_rate_final = 1,
                                  .batch               = 32,
                                  .epochs              = 1,
                                  .min_steps           = steps,
                                  .warm_start          = true,
                                  .bootstrap           = true,
                                  .standardise_targets = true };
}

#endif
