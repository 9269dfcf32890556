/* Claims about models/judge.c, on models fitted to a simulated pendulum. */
#include <string.h>

#include "models/judge.h"
#include "tests/pendulum.h"
#include "tests/test.h"

static struct ensemble fit(const struct pendulum_data *d, int steps)
{
    struct train_config c    = pendulum_recipe(steps);
    struct trainer     *t    = trainer_new(&pendulum_dims, &c, 1);
    struct train_data   view = pendulum_view(d);
    struct ensemble     e;

    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    trainer_export(t, &e);
    trainer_free(t);
    return e;
}

/* Every transition gets the next state of another one; `change` keeps the state and swaps only its change. */
static void shuffle_targets(struct pendulum_data *d, bool change)
{
    struct rng r;

    rng_seed(&r, 77);
    for (int i = 0; i < d->n; i++) {
        for (int k = 0; k < 2 && change; k++)
            d->y[2 * i + k] -= d->x[2 * i + k];
    }
    for (int i = d->n - 1; i > 0; i--) {
        int j = (int)rng_below(&r, (uint32_t)i + 1);

        for (int k = 0; k < 2; k++) {
            float y         = d->y[2 * i + k];
            d->y[2 * i + k] = d->y[2 * j + k];
            d->y[2 * j + k] = y;
        }
    }
    for (int i = 0; i < d->n; i++) {
        for (int k = 0; k < 2 && change; k++)
            d->y[2 * i + k] += d->x[2 * i + k];
    }
}

TEST(a_good_first_model_and_a_good_successor_are_accepted)
{
    static struct pendulum_data d, more;
    struct verdict              v;

    pendulum_collect(&d, 200, 1);
    pendulum_collect(&more, 600, 1);
    struct ensemble   first = fit(&d, 1000), second = fit(&more, 1000);
    struct train_data seen = pendulum_view(&d), all = pendulum_view(&more);

    judge_candidate(&first, NULL, &seen, &v);
    EXPECT(v.accept && isfinite(v.nll) && v.nll < v.nll_incumbent);
    EXPECT_NEAR(v.nll_incumbent, 1.4189, 1e-3);
    EXPECT_STR(v.reason, "accepted");
    judge_candidate(&second, &first, &all, &v);
    EXPECT(v.accept && v.nll < v.nll_incumbent);
    judge_candidate(&first, &first, &all, &v); /* no worse than itself */
    EXPECT(v.accept);
    ensemble_free(&first);
    ensemble_free(&second);
}

TEST(a_model_of_shuffled_targets_is_refused)
{
    static struct pendulum_data d, wrong;
    struct verdict              v;

    pendulum_collect(&d, 400, 1);
    struct ensemble   good = fit(&d, 1000);
    struct train_data view = pendulum_view(&d);

    for (int change = 0; change < 2; change++) {
        for (int steps = 50; steps <= 2000; steps *= 40) { /* hardly fitted, and fitted to noise */
            wrong = d;
            shuffle_targets(&wrong, change);
            struct ensemble bad = fit(&wrong, steps);

            judge_candidate(&bad, NULL, &view, &v);
            EXPECT(!v.accept);
            EXPECT_STR(v.reason, "refused");
            judge_candidate(&bad, &good, &view, &v);
            EXPECT(!v.accept);
            ensemble_free(&bad);
        }
    }
    ensemble_free(&good);
}

TEST(a_model_of_flipped_actions_is_refused_and_would_be_rolled_back)
{
    static struct pendulum_data d, wrong, fresh;
    struct verdict              v;
    double                      good_rmse, bad_rmse, nll, limit, previous[3];

    pendulum_collect(&d, 400, 1);
    pendulum_collect(&fresh, 200, 2);
    wrong = d;
    for (int i = 0; i < wrong.n; i++)
        wrong.a[i] = -wrong.a[i];
    struct ensemble   good = fit(&d, 1000), bad = fit(&wrong, 1000);
    struct train_data view = pendulum_view(&d);

    judge_candidate(&bad, &good, &view, &v);
    EXPECT(!v.accept);
    judge_candidate(&bad, NULL, &view, &v);
    EXPECT(!v.accept);
    ensemble_score(&good, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &good_rmse, &nll);
    ensemble_score(&bad, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &bad_rmse, &nll);
    for (int i = 0; i < 3; i++)
        previous[i] = good_rmse;
    EXPECT(judge_rollback(bad_rmse, previous, 3, &limit));
    EXPECT(!judge_rollback(good_rmse, previous, 3, &limit));
    ensemble_free(&good);
    ensemble_free(&bad);
}

TEST(non_finite_models_and_data_without_change_are_refused)
{
    static struct pendulum_data d;
    struct verdict              v;

    pendulum_collect(&d, 100, 1);
    struct ensemble   e    = fit(&d, 500);
    struct train_data view = pendulum_view(&d), none = { .n = 0, .x = d.x, .a = d.a, .y = d.y }, still = { .n = 100, .x = d.x, .a = d.a, .y = d.x };

    judge_candidate(&e, NULL, &none, &v);
    EXPECT(!v.accept);
    judge_candidate(&e, NULL, &still, &v);
    EXPECT(!v.accept);
    EXPECT_STR(v.reason, "without any change");
    e.weights[5] = NAN;
    judge_candidate(&e, NULL, &view, &v);
    EXPECT(!v.accept);
    EXPECT_STR(v.reason, "not a finite number");
    e.weights[5] = 1e30f; /* finite itself, its predictions are not */
    e.weights[6] = 1e30f;
    for (size_t i = 0; i < ensemble_params(&pendulum_dims); i++)
        e.weights[i] = 3e38f;
    judge_candidate(&e, NULL, &view, &v);
    EXPECT(!v.accept);
    EXPECT_STR(v.reason, "not finite");
    ensemble_free(&e);
}

TEST(observations_that_never_change_do_not_make_a_model_good)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(600);
    struct verdict              v;
    struct ensemble             e;

    pendulum_collect(&d, 300, 1);
    for (int i = 0; i < d.n; i++)
        d.x[2 * i + 1] = d.y[2 * i + 1] = 2; /* easy */
    struct pendulum_data noise = d;
    for (int i = 0; i < d.n; i++) /* unlearnable: swap the changes of the other one */
        noise.y[2 * i] = d.x[2 * i] + d.y[2 * ((i + 151) % d.n)] - d.x[2 * ((i + 151) % d.n)];
    struct train_data view = pendulum_view(&d), taught = pendulum_view(&noise);
    struct trainer   *t = trainer_new(&pendulum_dims, &c, 1);

    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    EXPECT(trainer_fit(t, &taught, NULL, NULL, NULL) > 0);
    trainer_export(t, &e);
    judge_candidate(&e, NULL, &view, &v);
    EXPECT(!v.accept);
    ensemble_free(&e);
    trainer_free(t);
}

TEST(rollback_needs_three_errors_and_triple_their_median)
{
    double p[] = { 9, 0.3, 0.1, 0.2 }, limit; /* the median of the last three is 0.2 */

    EXPECT(!judge_rollback(0.6, p, 4, &limit));
    EXPECT_NEAR(limit, 0.6, 1e-12);
    EXPECT(judge_rollback(0.6001, p, 4, &limit));
    EXPECT(!judge_rollback(1e6, p, 2, &limit));
    EXPECT(isinf(limit));
    EXPECT(!judge_rollback(1e6, p, 0, &limit));
    EXPECT(judge_rollback(5, p + 1, 3, &limit));
}

TEST(an_error_that_is_no_number_rolls_back)
{
    double p[] = { 0.3, (double)NAN, 0.1, (double)NAN, 0.2 }, limit;

    EXPECT(judge_rollback((double)NAN, p, 5, &limit));
    EXPECT(judge_rollback((double)INFINITY, p, 5, &limit));
    EXPECT(judge_rollback((double)NAN, p, 0, &limit));
    EXPECT(!judge_rollback(0.59, p, 5, &limit)); /* NaN among the earlier ones: passed over */
    EXPECT_NEAR(limit, 0.6, 1e-12);
    EXPECT(judge_rollback(0.61, p, 5, &limit));
    EXPECT(!judge_rollback(0.61, p, 4, &limit)); /* only two are left */
}
