/* Claims about models/train.c: what it learns, and the rules of a training. */
#include <errno.h>
#include <string.h>

#include "tests/train_kit.h"

/* ---- learning ---- */

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
