/* Claims about models/train.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/train_parts.h"
#include "tests/pendulum.h"
#include "tests/test.h"

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

/* ---- learning ---- */

static struct ensemble fitted(const struct model_dims *d, const struct train_config *c, const struct train_data *data,
                              uint64_t seed)
{
    struct trainer *t = trainer_new(d, c, seed);
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, d) == 0);
    EXPECT(trainer_fit(t, data, NULL, NULL, NULL) >= c->min_steps);
    trainer_export(t, &e);
    trainer_free(t);
    return e;
}

static size_t weight_bytes(const struct model_dims *d)
{
    return (size_t)d->members * ensemble_params(d) * sizeof(float);
}

TEST(a_handful_of_points_is_learned_by_heart)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(2000);
    double                      rmse, nll;

    c.bootstrap = false; /* or some points would not be seen */
    pendulum_collect(&d, 8, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&pendulum_dims, &c, &view, 1);
    ensemble_score(&e, d.n, d.x, d.a, d.y, NULL, &rmse, &nll);
    EXPECT(rmse < 0.03); /* of the targets' std */
    ensemble_free(&e);
}

TEST(a_pendulum_is_learned_and_predicted_on_new_data)
{
    static struct pendulum_data d, fresh;
    struct train_config         c = pendulum_recipe(1500);
    double                      rmse, nll;

    pendulum_collect(&d, 600, 3);
    pendulum_collect(&fresh, 200, 4);
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&pendulum_dims, &c, &view, 1);
    ensemble_score(&e, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &rmse, &nll);
    EXPECT(rmse < 0.1);
    ensemble_free(&e);
}

/* x' = x + A x + B a + noise: two states, the noise of the second four times that of the first. */
static void linear_gaussian(struct pendulum_data *d, uint64_t seed, double noise)
{
    struct rng r;

    rng_seed(&r, seed);
    d->n = PENDULUM_ROWS;
    for (int i = 0; i < d->n; i++) {
        float *x = d->x + 2 * i, *y = d->y + 2 * i;

        x[0]    = (float)rng_normal(&r);
        x[1]    = (float)rng_normal(&r);
        d->a[i] = (float)rng_normal(&r);
        y[0]    = x[0] + 0.3f * x[1] - 0.2f * d->a[i] + (float)(noise * rng_normal(&r));
        y[1]    = x[1] - 0.5f * x[0] + 1.0f * d->a[i] + (float)(4 * noise * rng_normal(&r));
    }
}

static void expect_linear_gaussian(bool standardise, bool learned_bounds)
{
    static struct pendulum_data d;
    struct model_dims           dims  = { .nx = 2, .na = 1, .members = 4, .layers = 1, .hidden = 8 };
    struct train_config         c     = pendulum_recipe(4000);
    double                      noise = 0.1, mean_var[2] = { 0 }, worst = 0;
    int                         count = 0;

    c.learning_rate       = 1e-3;
    c.standardise_targets = standardise;
    c.learned_bounds      = learned_bounds;
    linear_gaussian(&d, 9, noise);
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&dims, &c, &view, 2);
    for (float x0 = -1; x0 <= 1; x0 += 0.5f) {
        for (float x1 = -1; x1 <= 1; x1 += 0.5f) {
            for (int m = 0; m < dims.members; m++, count++) {
                float  x[2] = { x0, x1 }, a = 0.5f, mean[2], var[2];
                double e0, e1;

                ensemble_predict(&e, m, x, &a, mean, var);
                e0    = fabs((double)(mean[0] - (0.3f * x1 - 0.2f * a)));
                e1    = fabs((double)(mean[1] - (-0.5f * x0 + a))) / 4;
                worst = e0 > worst ? e0 : worst;
                worst = e1 > worst ? e1 : worst;
                for (int k = 0; k < 2; k++)
                    mean_var[k] += (double)var[k];
            }
        }
    }
    EXPECT(worst < 0.6 * noise);
    EXPECT_NEAR(mean_var[0] / count / (noise * noise), 1, 0.2);
    EXPECT_NEAR(mean_var[1] / count / (16 * noise * noise), 1, 0.2);
    ensemble_free(&e);
}

TEST(mean_and_noise_variance_of_a_linear_system_are_recovered)
{
    expect_linear_gaussian(true, false);
}

TEST(mean_and_noise_variance_are_recovered_with_raw_targets_and_learned_bounds)
{
    expect_linear_gaussian(false, true);
}

/* ---- the rules of a training ---- */

TEST(same_seed_gives_identical_weights_and_another_seed_others)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(60);

    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   a = fitted(&pendulum_dims, &c, &view, 1), b = fitted(&pendulum_dims, &c, &view, 1);
    struct ensemble   other = fitted(&pendulum_dims, &c, &view, 2);

    EXPECT(memcmp(a.weights, b.weights, weight_bytes(&pendulum_dims)) == 0);
    EXPECT(memcmp(a.weights, other.weights, weight_bytes(&pendulum_dims)) != 0);
    ensemble_free(&a);
    ensemble_free(&b);
    ensemble_free(&other);
}

/* Members that start equal and see everything at once can only differ by what they are shown. */
static double difference_of_equal_members(bool bootstrap)
{
    static struct pendulum_data d;
    struct train_config         c      = pendulum_recipe(20);
    size_t                      params = ensemble_params(&pendulum_dims);
    struct ensemble             e;
    double                      worst = 0;

    c.batch     = 100;
    c.bootstrap = bootstrap;
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    ensemble_init(&e, 1);
    memcpy(e.weights + params, e.weights, params * sizeof(float));
    struct trainer *t = trainer_new(&pendulum_dims, &c, 1);
    trainer_load(t, &e);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) == 20);
    trainer_export(t, &e);
    for (size_t i = 0; i < params; i++) {
        double by = fabs((double)(e.weights[i] - e.weights[params + i]));

        worst = by > worst ? by : worst;
    }
    trainer_free(t);
    ensemble_free(&e);
    return worst;
}

TEST(bootstrap_shows_each_member_its_own_data)
{
    EXPECT(difference_of_equal_members(false) < 2e-3); /* rounding, which Adam's first steps magnify */
    EXPECT(difference_of_equal_members(true) > 1e-2);
}

TEST(unusable_data_is_refused)
{
    static struct pendulum_data d;
    struct train_config         c     = pendulum_recipe(10);
    struct trainer             *t     = trainer_new(&pendulum_dims, &c, 1);
    float *const                bad[] = { &d.x[7], &d.a[3], &d.y[19] };

    for (int i = 0; i < 3; i++) {
        pendulum_collect(&d, 10, 3);
        struct train_data view = pendulum_view(&d);

        *bad[i] = i == 1 ? INFINITY : NAN;
        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) == -EINVAL);
    }
    pendulum_collect(&d, 1, 3);
    struct train_data one = pendulum_view(&d);
    EXPECT(trainer_fit(t, &one, NULL, NULL, NULL) == -EINVAL);
    EXPECT(trainer_new_on("avx1024", &pendulum_dims, &c, 1) == NULL);
    c.batch = 0;
    EXPECT(trainer_new(&pendulum_dims, &c, 1) == NULL);
    trainer_free(t);
}

TEST(components_that_never_change_get_scale_one)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(40);

    pendulum_collect(&d, 50, 3);
    for (int i = 0; i < d.n; i++) {
        d.x[2 * i + 1] = d.y[2 * i + 1] = 0.1f;
        d.a[i]                          = -0.7f;
    }
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&pendulum_dims, &c, &view, 1);
    EXPECT(e.in_std[2] == 1 && e.in_std[3] == 1 && e.out_std[1] == 1);
    EXPECT_NEAR(e.in_mean[3], -0.7, 1e-6);
    EXPECT(ensemble_finite(&e));
    ensemble_free(&e);
}

TEST(normaliser_is_mean_and_std_of_features_and_targets)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1);
    double                      s = 0, q = 0, ts = 0, tq = 0;

    pendulum_collect(&d, 300, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&pendulum_dims, &c, &view, 1);
    for (int i = 0; i < d.n; i++) {
        double f = cos((double)d.x[2 * i]), t = (double)d.y[2 * i + 1] - (double)d.x[2 * i + 1];

        s += f / d.n, q += f * f / d.n, ts += t / d.n, tq += t * t / d.n;
    }
    EXPECT_NEAR(e.in_mean[1], s, 1e-5);
    EXPECT_NEAR(e.in_std[1], sqrt(q - s * s), 1e-5);
    EXPECT_NEAR(e.out_mean[1], ts, 1e-5);
    EXPECT_NEAR(e.out_std[1], sqrt(tq - ts * ts), 1e-4);
    ensemble_free(&e);
    c.standardise_targets = false;
    e                     = fitted(&pendulum_dims, &c, &view, 1);
    EXPECT(e.out_mean[1] == 0 && e.out_std[1] == 1);
    ensemble_free(&e);
}

struct watch {
    int    calls, stop_at;
    double last;
    bool   in_order;
};

static bool watching(void *ctx, double done)
{
    struct watch *w = ctx;

    w->in_order = w->in_order && done > w->last && done <= 1;
    w->last     = done;
    return ++w->calls != w->stop_at;
}

TEST(steps_are_whole_epochs_reaching_the_minimum_and_progress_tells)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(203);
    struct watch                w = { .in_order = true }, early = { .in_order = true, .stop_at = 2 };

    pendulum_collect(&d, 100, 3); /* 4 batches, the last of 4 */
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, watching, &w, NULL) == 204);
    EXPECT(w.calls == 4 && w.in_order && w.last > 0.9);
    EXPECT(trainer_fit(t, &view, watching, &early, NULL) == 100);
    EXPECT(early.calls == 2);
    trainer_free(t);
    c.epochs = 60;
    t        = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) == 240);
    trainer_free(t);
}

TEST(bounds_move_only_when_they_are_learned)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(200);

    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   e    = fitted(&pendulum_dims, &c, &view, 1);
    for (int k = 0; k < 2; k++)
        EXPECT(e.max_logvar[k] == 0.5f && e.min_logvar[k] == -10);
    ensemble_free(&e);
    c.learned_bounds = true;
    e                = fitted(&pendulum_dims, &c, &view, 1);
    for (int k = 0; k < 2; k++)
        EXPECT(e.max_logvar[k] < 0.45f && e.min_logvar[k] != -10);
    ensemble_free(&e);
}

/* Two trainers see different data first, then the same.  Do they end up the same? */
static bool history_forgotten(bool warm)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(60);
    struct ensemble             e[2];

    c.warm_start = warm;
    pendulum_collect(&d, 100, 3);
    struct train_data all = pendulum_view(&d), part = { .n = 40, .x = d.x, .a = d.a, .y = d.y };
    for (int i = 0; i < 2; i++) {
        struct trainer *t = trainer_new(&pendulum_dims, &c, 1);

        EXPECT(ensemble_alloc(&e[i], &pendulum_dims) == 0);
        EXPECT(trainer_fit(t, i ? &part : &all, NULL, NULL, NULL) > 0);
        EXPECT(trainer_fit(t, &all, NULL, NULL, NULL) > 0);
        trainer_export(t, &e[i]);
        trainer_free(t);
    }
    bool same = memcmp(e[0].weights, e[1].weights, weight_bytes(&pendulum_dims)) == 0;
    ensemble_free(&e[0]);
    ensemble_free(&e[1]);
    return same;
}

TEST(a_cold_start_forgets_earlier_trainings_and_a_warm_one_does_not)
{
    EXPECT(history_forgotten(false));
    EXPECT(!history_forgotten(true));
}

TEST(a_warm_start_goes_on_where_the_last_training_ended)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1000);
    double                      first, second;

    pendulum_collect(&d, 200, 3);
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &first) > 0);
    struct ensemble e;
    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    trainer_export(t, &e);
    trainer_free(t);

    c.min_steps     = 1; /* one epoch, of steps too small to matter */
    c.learning_rate = 1e-7;
    t               = trainer_new(&pendulum_dims, &c, 1);
    trainer_load(t, &e);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &second) > 0);
    EXPECT_NEAR(second, first, 0.5);
    EXPECT(first < -4); /* fresh weights give about 1 */
    trainer_free(t);
    ensemble_free(&e);
}

TEST(loading_forgets_everything_that_came_before)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(60);
    struct trainer             *a = trainer_new(&pendulum_dims, &c, 1), *b = trainer_new(&pendulum_dims, &c, 1);
    struct ensemble             e[2];

    for (int i = 0; i < 2; i++)
        EXPECT(ensemble_alloc(&e[i], &pendulum_dims) == 0);
    pendulum_collect(&d, 100, 3);
    struct train_data all = pendulum_view(&d), part = { .n = 40, .x = d.x, .a = d.a, .y = d.y };
    EXPECT(trainer_fit(a, &all, NULL, NULL, NULL) > 0);
    EXPECT(trainer_fit(b, &part, NULL, NULL, NULL) > 0);
    ensemble_init(&e[0], 3);
    trainer_load(a, &e[0]);
    trainer_load(b, &e[0]);
    EXPECT(trainer_fit(a, &all, NULL, NULL, NULL) > 0);
    EXPECT(trainer_fit(b, &all, NULL, NULL, NULL) > 0);
    trainer_export(a, &e[0]);
    trainer_export(b, &e[1]);
    EXPECT(memcmp(e[0].weights, e[1].weights, weight_bytes(&pendulum_dims)) == 0);
    for (int i = 0; i < 2; i++)
        ensemble_free(&e[i]);
    trainer_free(a);
    trainer_free(b);
}

/* ---- early stop and elites ---- */

/* Targets that are nothing but noise: whatever is learned by heart makes the rows held out worse. */
static void noise_only(struct pendulum_data *d, int n, uint64_t seed)
{
    struct rng r;

    rng_seed(&r, seed);
    d->n = n;
    for (int i = 0; i < 2 * n; i++) {
        d->x[i] = (float)rng_normal(&r);
        d->y[i] = d->x[i] + (float)rng_normal(&r);
    }
    for (int i = 0; i < n; i++)
        d->a[i] = (float)rng_normal(&r);
}

/* Mean squared error, in units of the targets' std, on data it has not seen; and the steps taken. */
static double unseen_error(const struct train_config *c, int *steps)
{
    static struct pendulum_data d, fresh;
    struct trainer             *t = trainer_new(&pendulum_dims, c, 1);
    struct ensemble             e;
    double                      rmse, nll;

    noise_only(&d, 150, 3);
    noise_only(&fresh, 300, 4);
    struct train_data view = pendulum_view(&d);
    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    *steps = trainer_fit(t, &view, NULL, NULL, NULL);
    trainer_export(t, &e);
    ensemble_score(&e, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &rmse, &nll);
    ensemble_free(&e);
    trainer_free(t);
    return rmse;
}

TEST(holding_out_rows_keeps_noise_from_being_learned_and_patience_saves_the_time)
{
    struct train_config c = pendulum_recipe(1500);
    int                 all, kept, early;
    double              plain = unseen_error(&c, &all);

    c.holdout          = 0.2;
    double best        = unseen_error(&c, &kept);
    c.patience         = 5;
    double early_error = unseen_error(&c, &early);

    EXPECT(plain > 1.08); /* 1: predicting the mean */
    EXPECT(best < 1.03 && early_error < 1.03);
    EXPECT(kept >= 1500 && early < 400 && early % 4 == 0); /* 120 rows are 4 batches */
}

TEST(held_out_rows_are_the_same_for_all_nets_and_drawn_anew_by_every_training)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(30);

    c.holdout         = 0.3;
    struct trainer *t = trainer_new(&pendulum_dims, &c, 1), *other = trainer_new(&pendulum_dims, &c, 1);
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    int               first[30];
    for (int fit = 0; fit < 2; fit++) {
        bool held[100] = { false };
        int  again     = 0;

        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0 && trainer_fit(other, &view, NULL, NULL, NULL) > 0);
        EXPECT(t->nheld == 30 && t->nkept == 70);
        EXPECT(memcmp(t->rows, other->rows, 100 * sizeof *t->rows) == 0);
        for (int i = 0; i < 30; i++)
            held[t->rows[70 + i]] = true;
        for (int i = 0; i < 70; i++)
            EXPECT(!held[t->rows[i]]);
        for (int i = 0; i < 3 * 70; i++)
            EXPECT(!held[t->order[i]]);
        for (int i = 0; i < 30; i++) {
            again += fit && held[first[i]];
            first[i] = t->rows[70 + i];
        }
        EXPECT(again < 20); /* 9 by chance */
    }
    trainer_free(t);
    trainer_free(other);
}

static double held_out_error_of(const struct ensemble *e, int member, const struct trainer *t,
                                const struct pendulum_data *d)
{
    double sum = 0;

    for (int i = 0; i < t->nheld; i++) {
        int   row = t->rows[t->nkept + i];
        float mean[2], var[2];

        ensemble_predict(e, member, d->x + 2 * row, d->a + row, mean, var);
        for (int k = 0; k < 2; k++) {
            double by = (double)((d->y[2 * row + k] - d->x[2 * row + k] - mean[k]) / e->out_std[k]);

            sum += by * by;
        }
    }
    return sum / (2.0 * t->nheld);
}

TEST(of_more_nets_the_best_by_score_are_exported_in_order)
{
    static struct pendulum_data d;
    struct model_dims           one = pendulum_dims, all = pendulum_dims;
    struct train_config         c = pendulum_recipe(120);
    struct ensemble             best, e, e2;
    double                      want = 1e9;

    one.members = 2;
    all.members = 6;
    c.holdout   = 0.25;
    pendulum_collect(&d, 120, 3);
    struct train_data view = pendulum_view(&d);
    c.train_members        = 6;
    struct trainer *t      = trainer_new(&one, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    EXPECT(ensemble_alloc(&best, &one) == 0 && ensemble_alloc(&e, &all) == 0 && ensemble_alloc(&e2, &one) == 0);
    trainer_export(t, &best);
    struct trainer *six = trainer_new(&all, &c, 1); /* the same nets, all exported */
    EXPECT(trainer_fit(six, &view, NULL, NULL, NULL) > 0);
    trainer_export(six, &e);
    int first = -1, second = -1;
    for (int m = 0; m < 6; m++) {
        double score = held_out_error_of(&e, m, t, &d);

        EXPECT_NEAR(t->score[m], score, 1e-4 * score);
        if (score < want)
            want = score, first = m;
    }
    want = 1e9;
    for (int m = 0; m < 6; m++)
        if (m != first && t->score[m] < want)
            want = t->score[m], second = m;
    size_t params = ensemble_params(&one);
    int    at[2]  = { first < second ? first : second, first < second ? second : first };
    for (size_t i = 0; i < 2; i++)
        EXPECT(memcmp(best.weights + i * params, e.weights + (size_t)at[i] * params, params * sizeof(float)) == 0);

    /* A warm start goes on with all six; a load brings back two and starts the others fresh. */
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0 && trainer_fit(six, &view, NULL, NULL, NULL) > 0);
    EXPECT(memcmp(t->w, six->w, 6 * t->params * sizeof(float)) == 0);
    trainer_load(t, &best);
    trainer_export(t, &e2);
    EXPECT(memcmp(e2.weights, best.weights, weight_bytes(&one)) == 0);
    for (size_t m = 2; m < 6; m++)
        EXPECT(memcmp(t->w + m * t->params, six->w + m * t->params, t->params * sizeof(float)) != 0);
    ensemble_free(&best);
    ensemble_free(&e);
    ensemble_free(&e2);
    trainer_free(t);
    trainer_free(six);
}

/* ---- long runs ---- */

TEST(max_steps_ends_a_training_even_within_an_epoch)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(200);
    double                      loss;

    c.max_steps = 103;
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &loss) == 103 && isfinite(loss));
    trainer_free(t);
    c.max_steps = 3; /* not even one epoch */
    t           = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &loss) == 3 && isfinite(loss));
    trainer_free(t);
}

/* Mean change of a weight by so many trainings.  Adam's steps are about as long as the rate. */
static double distance(double final, int fits)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(50);
    struct ensemble             before, after;
    double                      far = 0;

    c.batch               = 100;
    c.learning_rate       = 1e-5; /* too short for the gradient to change on the way */
    c.bootstrap           = false;
    c.learning_rate_final = final;
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(ensemble_alloc(&before, &pendulum_dims) == 0 && ensemble_alloc(&after, &pendulum_dims) == 0);
    trainer_export(t, &before);
    for (int i = 0; i < fits; i++)
        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) == 50);
    trainer_export(t, &after);
    for (size_t i = 0; i < weight_bytes(&pendulum_dims) / sizeof(float); i++)
        far += fabs((double)(after.weights[i] - before.weights[i])) /
               (double)(weight_bytes(&pendulum_dims) / sizeof(float));
    ensemble_free(&before);
    ensemble_free(&after);
    trainer_free(t);
    return far;
}

TEST(the_learning_rate_falls_linearly_within_every_training)
{
    double constant = distance(1, 1);

    EXPECT_NEAR(constant, 50e-5, 5e-5);
    EXPECT_NEAR(distance(0, 1) / constant, 25.5 / 50, 0.03); /* 1, 0.98, ..., 0.02 */
    EXPECT_NEAR(distance(0.5, 1) / constant, 37.75 / 50, 0.03);
    EXPECT_NEAR(distance(0, 2) / constant, 51.0 / 50, 0.1);
}

/* ---- noise on inputs ---- */

TEST(input_noise_is_gaussian_has_its_share_of_each_std_and_spares_constant_inputs)
{
    static struct pendulum_data d;
    struct train_config         c       = pendulum_recipe(1);
    double                      mean[4] = { 0 }, square[4] = { 0 };
    int                         rows[32], count            = 0;

    c.input_noise = 0.25;
    pendulum_collect(&d, 100, 3);
    for (int i = 0; i < d.n; i++)
        d.a[i] = 0.5f;
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    for (int i = 0; i < 32; i++)
        rows[i] = i;
    for (int round = 0; round < 200; round++) {
        trainer_gather(t, rows, 32);
        trainer_add_noise(t, 32);
        for (int b = 0; b < 32; b++, count++)
            for (int i = 0; i < 4; i++) {
                size_t at = ((size_t)(b / t->k->tile) * kernels_wide(4) + (size_t)i) * (size_t)t->k->tile +
                            (size_t)(b % t->k->tile);
                double by = (double)(t->h[0][at] - t->in_all[4 * b + i]);

                mean[i] += by;
                square[i] += by * by;
            }
    }
    for (int i = 0; i < 3; i++) { /* standardised inputs: their std is 1 */
        EXPECT_NEAR(mean[i] / count, 0, 0.02);
        EXPECT_NEAR(sqrt(square[i] / count), 0.25, 0.01);
    }
    EXPECT(square[3] == 0);
    trainer_free(t);
}

TEST(input_noise_keeps_a_handful_of_points_from_being_learned_by_heart)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1000);
    double                      rmse[2], nll;

    c.bootstrap = false;
    pendulum_collect(&d, 8, 3);
    struct train_data view = pendulum_view(&d);
    for (int i = 0; i < 2; i++) {
        c.input_noise     = i ? 0.3 : 0;
        struct ensemble e = fitted(&pendulum_dims, &c, &view, 1);

        ensemble_score(&e, d.n, d.x, d.a, d.y, NULL, &rmse[i], &nll);
        ensemble_free(&e);
    }
    EXPECT(rmse[0] < 0.05 && rmse[1] > 3 * rmse[0]);
}

/* ---- newer rows first ---- */

TEST(a_share_of_every_batch_comes_from_the_newest_rows_and_the_rest_from_everywhere)
{
    static struct pendulum_data d;
    struct train_config         c      = pendulum_recipe(1);
    double                      newest = 0, rest = 0;
    int                         drawn = 0;

    c.recent  = 0.25;
    c.holdout = 0.1;
    pendulum_collect(&d, 320, 3);
    struct train_data view = pendulum_view(&d);
    view.nrecent           = 40;
    struct trainer *t      = trainer_new(&pendulum_dims, &c, 1);
    for (int fit = 0; fit < 20; fit++) {
        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
        for (int m = 0; m < 3; m++)
            for (int from = 0; from < 288; from += 32, drawn++) {
                const int *rows = trainer_draw(t, m, from, 32);

                for (int i = 0; i < 32; i++) {
                    if (i < 8)
                        newest += rows[i] >= 280;
                    else
                        rest += rows[i] >= 280;
                    for (int h = 0; h < t->nheld; h++)
                        EXPECT(rows[i] != t->rows[t->nkept + h]);
                }
            }
    }
    EXPECT(newest == 8.0 * drawn);
    EXPECT_NEAR(rest / (24.0 * drawn), 0.125, 0.02);
    EXPECT(trainer_draw(t, 0, 0, 6) && t->batch[0] >= 280 && t->batch[1] >= 280); /* a short batch has its share too */
    trainer_free(t);
}

TEST(where_nobody_knows_the_newest_rows_all_count_the_same)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(60);

    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   a    = fitted(&pendulum_dims, &c, &view, 1);
    c.recent               = 0.5;
    struct ensemble b      = fitted(&pendulum_dims, &c, &view, 1);
    view.nrecent           = 20;
    struct ensemble other  = fitted(&pendulum_dims, &c, &view, 1);
    EXPECT(memcmp(a.weights, b.weights, weight_bytes(&pendulum_dims)) == 0);
    EXPECT(memcmp(a.weights, other.weights, weight_bytes(&pendulum_dims)) != 0);
    ensemble_free(&a);
    ensemble_free(&b);
    ensemble_free(&other);
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

/* ---- spectral norm ---- */

/* Largest singular value of a layer of one member. */
static double singular_value(const struct ensemble *e, int member, int layer)
{
    const float *w = e->weights + (size_t)member * ensemble_params(&e->dims);
    double       v[64], u[64], length = 1;
    int          in, out;

    for (int l = 0; l < layer; l++) {
        ensemble_layer(&e->dims, l, &in, &out);
        w += in * out + out;
    }
    ensemble_layer(&e->dims, layer, &in, &out);
    for (int i = 0; i < in; i++)
        v[i] = cos(i + 1.0);
    for (int round = 0; round < 300; round++) {
        double s = 0;

        for (int o = 0; o < out; o++) {
            u[o] = 0;
            for (int i = 0; i < in; i++)
                u[o] += (double)w[o * in + i] * v[i];
        }
        for (int i = 0; i < in; i++) {
            v[i] = 0;
            for (int o = 0; o < out; o++)
                v[i] += (double)w[o * in + i] * u[o];
            s += v[i] * v[i];
        }
        length = sqrt(s);
        for (int i = 0; i < in; i++)
            v[i] /= length;
    }
    return sqrt(length);
}

TEST(no_layer_stretches_more_than_its_cap)
{
    static struct pendulum_data d;
    struct train_config         c      = pendulum_recipe(600);
    double                      most[] = { 0, 0 };

    pendulum_collect(&d, 200, 3);
    struct train_data view = pendulum_view(&d);
    for (int i = 0; i < 2; i++) {
        c.spectral_norm   = i ? 0.8 : 0;
        struct ensemble e = fitted(&pendulum_dims, &c, &view, 1);

        for (int m = 0; m < 3; m++)
            for (int l = 0; l <= 2; l++)
                most[i] = fmax(most[i], singular_value(&e, m, l));
        ensemble_free(&e);
    }
    EXPECT(most[0] > 1.2);
    EXPECT(most[1] < 0.84 && most[1] > 0.76);
}
