/* Claims about the loss of models/train.c: its gradient, and the multi-step loss of train_unroll.c. */
#include <string.h>

#include "tests/train_kit.h"

/* ---- gradient ---- */

static const struct model_dims tiny = {
    .nx = 2, .na = 1, .members = 2, .layers = 2, .hidden = 5, .input = { INPUT_ANGLE, INPUT_IDENTITY }
};

/* Loss of the header in double, on top of a double copy of everything that is differentiated. */
struct oracle {
    const struct ensemble   *e;
    const struct model_dims *d;
    const struct train_data *data;
    const double            *decay;
    double                  *w, hi[4], lo[4];
    int                      unroll; /* steps of the multi-step loss, 0: none; its weight; std of the targets */
    double                   weight, std[4], reward[4];
};

static double softplus(double x)
{
    return log1p(exp(x));
}

/* Output (mean, raw log-variance) for a state and the action of a row. */
static void oracle_net(const struct oracle *o, const double *w, const double *x, int row, double h[8])
{
    double z[8];
    int    nx = o->d->nx, n = 0;

    for (int k = 0; k < nx; k++) {
        if (o->d->input[k] == INPUT_ANGLE)
            h[n++] = sin(x[k]), h[n++] = cos(x[k]);
        else if (o->d->input[k] == INPUT_IDENTITY)
            h[n++] = x[k];
    }
    h[n++] = (double)o->data->a[row];
    for (int i = 0; i < n; i++)
        h[i] = (h[i] - (double)o->e->in_mean[i]) / (double)o->e->in_std[i];
    for (int l = 0, in, out; l < 3; l++) {
        ensemble_layer(o->d, l, &in, &out);
        for (int k = 0; k < out; k++) {
            z[k] = w[in * out + k];
            for (int i = 0; i < in; i++)
                z[k] += w[k * in + i] * h[i];
        }
        w += in * out + out;
        for (int k = 0; k < out; k++)
            h[k] = l < 2 ? z[k] / (1 + exp(-z[k])) : z[k];
    }
}

/* The state that target t leads to. */
static void oracle_follow(const struct model_dims *d, double *x, const double *t)
{
    double s = sin(x[d->heading]), c = cos(x[d->heading]);

    for (int k = 0; k < d->nx; k++)
        switch (d->target[k]) {
        case TARGET_CHANGE: x[k] += t[k]; break;
        case TARGET_ABSOLUTE: x[k] = t[k]; break;
        case TARGET_AHEAD: x[k] += c * t[k] - s * t[k + 1]; break;
        case TARGET_ASIDE: x[k] += s * t[k - 1] + c * t[k]; break;
        }
}

static double oracle_row(const struct oracle *o, const double *w, int row)
{
    int          nx = o->d->nx, first = row;
    const float *x = o->data->x + nx * row, *y = o->data->y + nx * row;
    float        want[4];
    double       s[4], h[8], loss = 0;

    for (int k = 0; k < nx; k++)
        s[k] = (double)x[k];
    ensemble_target(o->d, x, y, want);
    oracle_net(o, w, s, row, h);
    for (int k = 0; k < nx; k++) {
        double error = h[k] - ((double)want[k] - (double)o->e->out_mean[k]) / (double)o->e->out_std[k];
        double lv    = o->hi[k] - softplus(o->hi[k] - h[nx + k]);

        lv = o->lo[k] + softplus(lv - o->lo[k]);
        loss += error * error * exp(-lv) + lv;
        error *= (double)o->e->out_std[k] / o->std[k];
        loss += o->reward[k] * error * error;
    }
    for (int step = 0; step < o->unroll; step++, row++) { /* on from its own states, as far as the trial goes */
        double t[4];

        oracle_net(o, w, s, row, h);
        for (int k = 0; k < nx; k++)
            t[k] = (double)o->e->out_mean[k] + (double)o->e->out_std[k] * h[k];
        oracle_follow(o->d, s, t);
        for (int k = 0; k < nx; k++) {
            double error = (s[k] - (double)o->data->y[nx * row + k]) / o->std[k];

            loss += o->weight / o->unroll * error * error;
        }
        if (!o->data->run || o->data->run[first] == row - first)
            break;
    }
    return loss / (nx * o->data->n);
}

static double oracle_loss(const struct oracle *o)
{
    const double *w    = o->w;
    double        loss = 0;

    for (int m = 0; m < 2; m++) {
        for (int i = 0; i < o->data->n; i++)
            loss += oracle_row(o, w, i);
        for (int l = 0, in, out; l < 3; l++) {
            ensemble_layer(o->d, l, &in, &out);
            for (int i = 0; i < in * out; i++)
                loss += 0.5 * o->decay[l] * w[i] * w[i];
            w += in * out + out;
        }
    }
    for (int k = 0; k < o->d->nx; k++)
        loss += 0.01 * o->hi[k] - 0.01 * o->lo[k];
    return loss;
}

static double slope_of(const struct oracle *o, double *at)
{
    double keep = *at, eps = 1e-5, up, down;

    *at  = keep + eps;
    up   = oracle_loss(o);
    *at  = keep - eps;
    down = oracle_loss(o);
    *at  = keep;
    return (up - down) / (2 * eps);
}

/* A robot in the plane: x, y, heading, speed over the step; it takes neither place nor, as a number, heading. */
static const struct model_dims roamer = { .nx      = 4,
                                          .na      = 1,
                                          .members = 2,
                                          .layers  = 2,
                                          .hidden  = 5,
                                          .input   = { INPUT_NONE, INPUT_NONE, INPUT_ANGLE, INPUT_IDENTITY },
                                          .target  = { TARGET_AHEAD, TARGET_ASIDE, TARGET_CHANGE, TARGET_ABSOLUTE },
                                          .heading = 2 };

enum { ROWS = 40 };

/* Trials of 3, 1, 29 and 7 rows; what happens is of no importance. */
static void wander(const struct model_dims *d, float *x, float *a, float *y, int *run)
{
    struct rng r;
    float      s[4] = { 0 };

    rng_seed(&r, 6);
    for (int i = 0; i < ROWS; i++) {
        run[i] = (i < 3 ? 2 : i < 4 ? 3 : i < 33 ? 32 : 39) - i;
        a[i]   = (float)rng_normal(&r);
        for (int k = 0; k < d->nx; k++) {
            x[d->nx * i + k] = s[k];
            s[k] +=
                0.3f * (float)rng_normal(&r) + 0.2f * sinf(s[(k + 1) % d->nx]) - (k ? 0.3f * s[k] : 0) + 0.1f * a[i];
            y[d->nx * i + k] = s[k];
        }
    }
}

static void expect_gradient(const char *isa, const struct model_dims *d, struct train_config c, const float *slope2)
{
    float             x[4 * ROWS], a[ROWS], y[4 * ROWS], dw[240], dmax[4], dmin[4], std[MAX_OBS];
    int               run[ROWS];
    size_t            n    = 2 * ensemble_params(d);
    struct train_data view = { .n = ROWS, .x = x, .a = a, .y = y, .run = run, .cost_slope2 = slope2 };
    double            w[240], sum = 0;
    int               steep = 0;
    struct ensemble   e;

    c.batch          = ROWS; /* some rows of a tile stay empty */
    c.learned_bounds = true;
    for (int l = 0; l < 3; l++)
        c.weight_decay[l] = 0.01 * (l + 1);
    wander(d, x, a, y, run);
    struct trainer *t = trainer_new_on(isa, d, &c, 5);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0); /* a normaliser, and weights that are not fresh */
    EXPECT(ensemble_alloc(&e, d) == 0 && n <= 240);
    trainer_export(t, &e);
    for (int k = 0; k < d->nx; k++) { /* close to where the net is, or their gradient would be tiny */
        e.max_logvar[k] = 0.3f + 0.1f * (float)k;
        e.min_logvar[k] = -1.5f;
    }
    memcpy(std, t->target_std, sizeof std);
    trainer_load(t, &e);
    memcpy(t->target_std, std, sizeof std); /* what only a fit knows where targets are not standardised */

    struct oracle o = { .e      = &e,
                        .d      = d,
                        .data   = &view,
                        .decay  = c.weight_decay,
                        .w      = w,
                        .unroll = c.unroll > 1 ? c.unroll : 0,
                        .weight = c.unroll_weight };
    for (size_t i = 0; i < n; i++)
        w[i] = (double)e.weights[i];
    for (int k = 0; k < d->nx; k++) {
        o.hi[k]  = (double)e.max_logvar[k];
        o.lo[k]  = (double)e.min_logvar[k];
        o.std[k] = (double)std[k];
        if (slope2)
            o.reward[k] =
                (double)(d->target[k] >= TARGET_AHEAD ? (slope2[0] + slope2[1]) / 2 : slope2[k]) * o.std[k] * o.std[k];
        sum += o.reward[k];
    }
    for (int k = 0; k < d->nx && sum > 0; k++)
        o.reward[k] *= c.reward_weight * d->nx / sum;
    EXPECT_NEAR(trainer_gradient(t, &view, dw, dmax, dmin), oracle_loss(&o), 3e-5);
    for (size_t i = 0; i < n; i++)
        EXPECT_NEAR(dw[i], slope_of(&o, &w[i]), 3e-5);
    for (int k = 0; k < d->nx; k++) {
        EXPECT_NEAR(dmax[k], slope_of(&o, &o.hi[k]), 2e-5);
        EXPECT_NEAR(dmin[k], slope_of(&o, &o.lo[k]), 2e-5);
        steep += fabs((double)dmax[k]) > 1e-3 && fabs((double)dmin[k]) > 1e-3;
    }
    EXPECT(steep > 0); /* or equal to nothing would be equal to anything */
    ensemble_free(&e);
    trainer_free(t);
}

TEST(gradient_matches_finite_differences_everywhere)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        expect_gradient(*isa, &tiny, pendulum_recipe(30), NULL);
        expect_gradient(*isa, &roamer, pendulum_recipe(30), NULL);
    }
}

TEST(gradient_through_a_net_s_own_predictions_matches_finite_differences)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct train_config c = pendulum_recipe(30);

        c.unroll_weight = 0.7;
        for (c.unroll = 2; c.unroll <= 7; c.unroll += 5) {
            c.standardise_targets = true;
            expect_gradient(*isa, &tiny, c, NULL);
            expect_gradient(*isa, &roamer, c, NULL);
            c.standardise_targets = false;
            expect_gradient(*isa, &tiny, c, NULL);
        }
    }
}

TEST(gradient_of_errors_weighed_by_cost_matches_finite_differences)
{
    const float         slope2[] = { 0.5f, 2, 0, 9 };
    struct train_config c        = pendulum_recipe(30);

    c.reward_weight = 0.8;
    for (int i = 0; i < 2; i++, c.unroll = 3, c.unroll_weight = 1) {
        c.standardise_targets = true;
        expect_gradient(NULL, &roamer, c, slope2);
        c.standardise_targets = false;
        expect_gradient(NULL, &tiny, c, slope2);
    }
}

/* ---- the multi-step loss ---- */

TEST(runs_end_with_their_trial_and_where_a_step_is_missing)
{
    int64_t  trial[] = { 4, 4, 4, 5, 5, 5, 5, 9 };
    uint32_t step[]  = { 0, 1, 2, 3, 4, 6, 7, 8 };
    int      run[8], want[] = { 2, 1, 0, 1, 0, 1, 0, 0 };

    train_runs(8, trial, step, run);
    EXPECT(memcmp(run, want, sizeof run) == 0);
}

TEST(unrolling_stops_at_rows_held_out)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1);
    int                         run[60];

    c.holdout = 0.2;
    c.unroll  = 4;
    pendulum_collect(&d, 60, 3);
    struct train_data view = pendulum_view(&d);
    for (int i = 0; i < 60; i++)
        run[i] = (i < 30 ? 29 : 59) - i;
    view.run          = run;
    struct trainer *t = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    bool held[61] = { [60] = true };
    for (int i = 0; i < t->nheld; i++)
        held[t->rows[t->nkept + i]] = true;
    for (int i = 0; i < 60; i++) {
        int end = i;

        while (!held[end] && !(end == 30 && i < 30))
            end++;
        EXPECT(t->reach[i] == end - i);
    }
    trainer_free(t);
}

/* Error after so many steps on its own predictions, over the std of the states. */
static double drift(const struct ensemble *e, int steps)
{
    double sum = 0, all = 0;

    for (int from = 0; from < 40; from++) {
        struct rng r;
        float      x[2], p[3][2];

        rng_seed(&r, 500 + (uint64_t)from);
        for (int k = 0; k < 2; k++)
            x[k] = (float)(k + 1) * (float)rng_normal(&r);
        for (int m = 0; m < 3; m++)
            memcpy(p[m], x, sizeof x);
        for (int i = 0; i < steps; i++) {
            float a = (float)(2 * rng_uniform(&r) - 1);

            pendulum_step(x, a);
            for (int m = 0; m < 3; m++) {
                float mean[2], var[2];

                ensemble_predict(e, m, p[m], &a, mean, var);
                for (int k = 0; k < 2; k++)
                    p[m][k] += mean[k];
            }
        }
        for (int m = 0; m < 3; m++)
            for (int k = 0; k < 2; k++) {
                sum += (double)((p[m][k] - x[k]) * (p[m][k] - x[k])) / (k ? 16 : 1);
                all += (double)(x[k] * x[k]) / (k ? 16 : 1);
            }
    }
    return sqrt(sum / all);
}

/* Where a state is measured badly, what one step shows is mostly noise: many steps show where it went. */
TEST(with_noisy_measurements_the_multi_step_loss_predicts_further)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(800);
    struct rng                  r;
    int                         run[600];
    double                      error[2];

    pendulum_collect(&d, 600, 3);
    rng_seed(&r, 8);
    for (int i = 0; i < 600; i++)
        run[i] = 49 - i % 50;
    for (int i = 0; i < 1200; i++) { /* the same measurement ends one transition and begins the next */
        float noise = 0.15f * (float)rng_normal(&r) * (float)(1 + 2 * (i % 2));

        d.x[i] += noise;
        if (i % 100 > 1)
            d.y[i - 2] += noise;
    }
    struct train_data view = pendulum_view(&d);
    view.run               = run;
    for (int i = 0; i < 2; i++) {
        c.unroll          = i ? 8 : 1;
        c.unroll_weight   = 10;
        struct ensemble e = fitted(&pendulum_dims, &c, &view, 1);

        error[i] = drift(&e, 8);
        ensemble_free(&e);
    }
    EXPECT(error[1] < 0.5 * error[0]);
}

TEST(the_curriculum_adds_a_step_every_so_many_epochs_from_one)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1);
    int                         run[100], want[] = { 1, 1, 2, 2, 3, 3, 3 };

    c.unroll        = 3;
    c.unroll_weight = 1;
    c.unroll_grow   = 2;
    pendulum_collect(&d, 100, 3);
    for (int i = 0; i < 100; i++)
        run[i] = 49 - i % 50;
    struct train_data view = pendulum_view(&d);
    view.run               = run;
    for (int epochs = 1; epochs <= 7; epochs++) {
        c.epochs          = epochs;
        struct trainer *t = trainer_new(&pendulum_dims, &c, 1);

        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0 && t->unroll == want[epochs - 1]);
        trainer_free(t);
    }
}
