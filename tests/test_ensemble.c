/* Claims about models/ensemble.c. */
#include <errno.h>
#include <string.h>

#include "models/ensemble.h"
#include "tests/test.h"

static const struct model_dims small = {
    .nx = 3, .na = 2, .members = 2, .layers = 2, .hidden = 7, .input = { INPUT_IDENTITY, INPUT_ANGLE, INPUT_IDENTITY }
};

static struct ensemble random_ensemble(const struct model_dims *d, uint64_t seed)
{
    struct ensemble e;
    struct rng      r;

    EXPECT(ensemble_alloc(&e, d) == 0);
    rng_seed(&r, seed);
    for (size_t i = 0; i < (size_t)d->members * ensemble_params(d); i++)
        e.weights[i] = (float)rng_normal(&r);
    for (int i = 0; i < MAX_IN; i++) {
        e.in_mean[i] = (float)rng_normal(&r);
        e.in_std[i]  = 0.5f + (float)rng_uniform(&r);
    }
    for (int i = 0; i < MAX_OBS; i++) {
        e.out_mean[i]   = (float)rng_normal(&r);
        e.out_std[i]    = 0.5f + (float)rng_uniform(&r);
        e.max_logvar[i] = (float)rng_uniform(&r);
        e.min_logvar[i] = -4 - (float)rng_uniform(&r);
    }
    return e;
}

/* The header's formulas once more, in double, written without looking at the other version. */
static void reference(const struct ensemble *e, int member, const float *x, const float *a, double *mean, double *var)
{
    double       h[64], z[64];
    int          width = 0;
    const float *w     = e->weights + (size_t)member * ensemble_params(&e->dims);

    for (int i = 0; i < e->dims.nx; i++) {
        if (e->dims.input[i] == INPUT_ANGLE) {
            h[width++] = sin((double)x[i]);
            h[width++] = cos((double)x[i]);
        } else {
            h[width++] = (double)x[i];
        }
    }
    for (int i = 0; i < e->dims.na; i++)
        h[width++] = (double)a[i];
    for (int i = 0; i < width; i++)
        h[i] = (h[i] - (double)e->in_mean[i]) / (double)e->in_std[i];
    for (int l = 0; l <= e->dims.layers; l++) {
        int out = l < e->dims.layers ? e->dims.hidden : 2 * e->dims.nx;

        for (int o = 0; o < out; o++) {
            z[o] = (double)w[out * width + o];
            for (int i = 0; i < width; i++)
                z[o] += (double)w[o * width + i] * h[i];
        }
        w += out * width + out;
        for (int o = 0; o < out; o++)
            h[o] = l < e->dims.layers ? z[o] / (1 + exp(-z[o])) : z[o];
        width = out;
    }
    for (int k = 0; k < e->dims.nx; k++) {
        double hi = (double)e->max_logvar[k], lo = (double)e->min_logvar[k], s = (double)e->out_std[k];
        double lv = hi - log(1 + exp(hi - h[e->dims.nx + k]));

        lv      = lo + log(1 + exp(lv - lo));
        mean[k] = (double)e->out_mean[k] + s * h[k];
        var[k]  = s * s * exp(lv);
    }
}

TEST(prediction_follows_the_formulas_in_the_header)
{
    struct ensemble e = random_ensemble(&small, 1);
    struct rng      r;

    rng_seed(&r, 2);
    for (int i = 0; i < 200; i++) {
        float  x[3], a[2], mean[3], var[3];
        double rm[3], rv[3];

        for (int k = 0; k < 3; k++)
            x[k] = 2 * (float)rng_normal(&r);
        for (int k = 0; k < 2; k++)
            a[k] = (float)rng_normal(&r);
        ensemble_predict(&e, i % 2, x, a, mean, var);
        reference(&e, i % 2, x, a, rm, rv);
        for (int k = 0; k < 3; k++) {
            EXPECT_NEAR(mean[k], rm[k], 1e-4 * (1 + fabs(rm[k])));
            EXPECT_NEAR(var[k], rv[k], 1e-4 * rv[k]);
        }
    }
    ensemble_free(&e);
}

TEST(parameters_are_the_sum_of_matrices_and_biases)
{
    EXPECT(ensemble_nin(&small) == 6); /* 3 observations, one an angle, 2 actions */
    EXPECT(ensemble_params(&small) == 7 * 6 + 7 + 7 * 7 + 7 + 6 * 7 + 6);

    struct model_dims one = { .nx = 1, .na = 1, .members = 1, .layers = 1, .hidden = 1 };
    EXPECT(ensemble_params(&one) == 2 + 1 + 2 + 2);
}

TEST(sizes_out_of_range_are_refused)
{
    struct {
        int *field, bad[3];
    } f[5];
    struct model_dims d = small;
    struct ensemble   e;

    f[0].field = &d.nx, memcpy(f[0].bad, (int[]){ 0, -1, MAX_OBS + 1 }, sizeof f[0].bad);
    f[1].field = &d.na, memcpy(f[1].bad, (int[]){ 0, -1, MAX_ACT + 1 }, sizeof f[0].bad);
    f[2].field = &d.members, memcpy(f[2].bad, (int[]){ 0, -5, MAX_MEMBERS + 1 }, sizeof f[0].bad);
    f[3].field = &d.layers, memcpy(f[3].bad, (int[]){ 0, -1, MAX_LAYERS + 1 }, sizeof f[0].bad);
    f[4].field = &d.hidden, memcpy(f[4].bad, (int[]){ 0, -1, MAX_HIDDEN + 1 }, sizeof f[0].bad);
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 3; k++) {
            int good    = *f[i].field;
            *f[i].field = f[i].bad[k];
            EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
            *f[i].field = good;
        }
    }
    d.input[1] = INPUT_NONE + 1;
    EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
}

TEST(largest_sizes_predict_finite_numbers)
{
    struct model_dims d = { .nx = MAX_OBS, .na = MAX_ACT, .members = 1, .layers = MAX_LAYERS, .hidden = MAX_HIDDEN };
    float             x[MAX_OBS] = { 1 }, a[MAX_ACT] = { 1 }, mean[MAX_OBS], var[MAX_OBS];
    struct ensemble   e;

    memset(d.input, INPUT_ANGLE, sizeof d.input);
    EXPECT(ensemble_alloc(&e, &d) == 0);
    ensemble_init(&e, 1);
    ensemble_predict(&e, 0, x, a, mean, var);
    for (int k = 0; k < MAX_OBS; k++)
        EXPECT(isfinite(mean[k]) && var[k] > 0);
    ensemble_free(&e);
}

TEST(fresh_weights_depend_on_the_seed_alone)
{
    struct ensemble a, b, c;
    size_t          bytes = 2 * ensemble_params(&small) * sizeof(float);

    EXPECT(ensemble_alloc(&a, &small) == 0 && ensemble_alloc(&b, &small) == 0 && ensemble_alloc(&c, &small) == 0);
    ensemble_init(&a, 7);
    ensemble_init(&b, 7);
    ensemble_init(&c, 8);
    EXPECT(memcmp(a.weights, b.weights, bytes) == 0);
    EXPECT(memcmp(a.weights, c.weights, bytes) != 0);
    EXPECT(memcmp(a.weights, a.weights + ensemble_params(&small), bytes / 2) != 0); /* members differ */
    ensemble_free(&a);
    ensemble_free(&b);
    ensemble_free(&c);
}

TEST(fresh_weights_are_truncated_normal_and_biases_zero)
{
    struct model_dims d = { .nx = 1, .na = 1, .members = 2, .layers = 2, .hidden = 100 };
    struct ensemble   e;
    double            q = 0, largest = 0, std = 1 / (2 * sqrt(100));

    EXPECT(ensemble_alloc(&e, &d) == 0);
    ensemble_init(&e, 3);
    const float *w = e.weights + 100 * 2 + 100; /* second layer: 100 x 100 */
    for (int i = 0; i < 100 * 100; i++) {
        q += (double)w[i] * (double)w[i];
        largest = fabs((double)w[i]) > largest ? fabs((double)w[i]) : largest;
    }
    EXPECT(largest <= 2 * std * (1 + 1e-6) && largest > 1.9 * std);
    EXPECT_NEAR(sqrt(q / 1e4) / std, 0.8796, 0.02); /* std of a standard normal cut at +-2 */
    for (int i = 0; i < 100; i++)
        EXPECT(w[100 * 100 + i] == 0);
    EXPECT(e.max_logvar[0] == 0.5f && e.min_logvar[0] == -10 && e.in_std[2] == 1 && e.out_std[0] == 1);
    ensemble_free(&e);
}

TEST(variance_stays_within_its_bounds_whatever_the_net_says)
{
    struct ensemble e    = random_ensemble(&small, 4);
    float           x[3] = { 0 }, a[2] = { 0 }, mean[3], var[3];
    size_t          bias = ensemble_params(&small) - 3; /* of the raw log-variances, member 0 */

    for (float raw = -1e30f; raw <= 1e30f; raw = raw < -1 ? raw / 10 : raw < 1 ? raw + 0.25f : raw * 10) {
        for (int k = 0; k < 3; k++)
            e.weights[bias + (size_t)k] = raw;
        ensemble_predict(&e, 0, x, a, mean, var);
        for (int k = 0; k < 3; k++) {
            double lv = log((double)var[k]) - 2 * log((double)e.out_std[k]);
            double hi = (double)e.max_logvar[k], lo = (double)e.min_logvar[k];

            EXPECT(lv >= lo - 1e-4 && lv <= lo + log1p(exp(hi - lo)) + 1e-4);
        }
    }
    ensemble_free(&e);
}

TEST(nan_anywhere_makes_the_score_infinite)
{
    struct ensemble e    = random_ensemble(&small, 5);
    float           x[3] = { 0.1f, 0.2f, 0.3f }, a[2] = { 0 }, y[3] = { 0 };
    double          rmse, nll;

    ensemble_score(&e, 1, x, a, y, NULL, &rmse, &nll);
    EXPECT(isfinite(rmse) && isfinite(nll));
    x[1] = NAN;
    ensemble_score(&e, 1, x, a, y, NULL, &rmse, &nll);
    EXPECT(isinf(rmse) && rmse > 0 && isinf(nll) && nll > 0);
    x[1]                                   = 0;
    e.weights[ensemble_params(&small) + 3] = NAN; /* in the second member only */
    EXPECT(!ensemble_finite(&e));
    ensemble_score(&e, 1, x, a, y, NULL, &rmse, &nll);
    EXPECT(isinf(rmse) && isinf(nll));
    ensemble_score(&e, 0, x, a, y, NULL, &rmse, &nll);
    EXPECT(isinf(rmse) && isinf(nll));
    ensemble_free(&e);
}

TEST(score_of_a_constant_prediction_is_what_statistics_says)
{
    struct model_dims d    = { .nx = 2, .na = 1, .members = 3, .layers = 1, .hidden = 2 };
    float             x[8] = { 0 }, a[4] = { 0 }, y[8] = { 1, 5, -1, 5, 3, 5, -3, 5 }, scale[2] = { 2, 0 };
    struct ensemble   e;
    double            rmse, nll;

    /* All weights 0: predicts out_mean = 0 and the variance of raw log-variance 0, here 0 too by wide bounds. */
    EXPECT(ensemble_alloc(&e, &d) == 0);
    e.max_logvar[0] = e.max_logvar[1] = 40;
    e.min_logvar[0] = e.min_logvar[1] = -40;
    ensemble_score(&e, 4, x, a, y, scale, &rmse, &nll); /* second component left out */
    EXPECT_NEAR(rmse, sqrt(20.0 / 4) / 2, 1e-6);
    EXPECT_NEAR(nll, 0.5 * (20.0 / 4 + 0 - 2 * log(2) + log(2 * M_PI)), 1e-5);
    ensemble_score(&e, 4, x, a, y, NULL, &rmse, &nll); /* both, in units of out_std = 1 */
    EXPECT_NEAR(rmse, sqrt((20.0 + 100) / 8), 1e-5);
    ensemble_free(&e);
}

/* A model of a robot in the plane: x, y, heading, speed (absolute), one angle; place and heading are no inputs. */
static const struct model_dims planar = {
    .nx = 5, .na = 2, .members = 2, .layers = 1, .hidden = 9,
    .input  = { INPUT_NONE, INPUT_NONE, INPUT_NONE, INPUT_IDENTITY, INPUT_ANGLE },
    .target = { TARGET_AHEAD, TARGET_ASIDE, TARGET_CHANGE, TARGET_ABSOLUTE, TARGET_CHANGE },
    .heading = 2,
};

TEST(following_the_target_of_a_step_leads_where_the_step_went)
{
    struct rng r;

    rng_seed(&r, 4);
    for (int i = 0; i < 1000; i++) {
        float x[5], y[5], t[5], back[5];

        for (int k = 0; k < 5; k++) {
            x[k] = (float)(3 * rng_normal(&r));
            y[k] = (float)(3 * rng_normal(&r));
        }
        ensemble_target(&planar, x, y, t);
        EXPECT(t[3] == y[3] && t[2] == y[2] - x[2]);
        ensemble_follow(&planar, x, t, back);
        for (int k = 0; k < 5; k++)
            EXPECT_NEAR((double)back[k], (double)y[k], 2e-6 * (1 + fabs((double)x[k]) + fabs((double)y[k])));
        ensemble_follow(&planar, x, t, t); /* in place */
        EXPECT(memcmp(t, back, sizeof t) == 0);
    }
}

TEST(a_robot_without_place_and_heading_among_its_inputs_moves_alike_everywhere)
{
    struct ensemble e;
    float           here[5] = { 0, 0, 0, 0.4f, 0.7f }, there[5] = { 5, -3, 1.1f, 0.4f, 0.7f }, a[2] = { 0.3f, -0.8f };
    float           t[5], var[5], y[5], z[5];
    double          c = cos(1.1), s = sin(1.1);

    EXPECT(ensemble_alloc(&e, &planar) == 0);
    EXPECT(ensemble_nin(&planar) == 5); /* speed, sine, cosine, two actions */
    ensemble_init(&e, 2);
    ensemble_predict(&e, 1, here, a, t, var);
    ensemble_follow(&planar, here, t, y);
    ensemble_predict(&e, 1, there, a, t, var);
    ensemble_follow(&planar, there, t, z);
    EXPECT_NEAR((double)z[0], 5 + c * (double)y[0] - s * (double)y[1], 1e-5);
    EXPECT_NEAR((double)z[1], -3 + s * (double)y[0] + c * (double)y[1], 1e-5);
    EXPECT_NEAR((double)z[2], 1.1 + (double)y[2], 1e-6);
    EXPECT(z[3] == y[3] && z[4] == y[4]);
    ensemble_free(&e);
}

TEST(half_a_displacement_or_a_heading_that_is_part_of_it_is_refused)
{
    struct model_dims d = planar;
    struct ensemble   e;

    d.target[1] = TARGET_CHANGE;
    EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
    d           = planar;
    d.target[2] = TARGET_AHEAD;
    EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
    d         = planar;
    d.heading = 1;
    EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
    d.heading = 5;
    EXPECT(ensemble_alloc(&e, &d) == -EINVAL);
}
