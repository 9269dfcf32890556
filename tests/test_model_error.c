/* Claims about daemon/model_error.c, and the cost's slopes that learner.c sends with an order. */
#include "daemon/learner.h"
#include "tests/pendulum.h"
#include "tests/test.h"

static struct ensemble model(void)
{
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    ensemble_init(&e, 1);
    e.out_std[0] = 0.25f;
    return e;
}

TEST(errors_by_observation_add_up_to_the_score_of_all)
{
    static struct pendulum_data d;
    struct model_error          m = { 0 };
    struct ensemble             e = model();
    double                      rmse, nll;

    pendulum_collect(&d, 100, 2);
    double all = model_error_add(&m, &e, d.n, d.x, d.a, d.y);
    ensemble_score(&e, d.n, d.x, d.a, d.y, NULL, &rmse, &nll);
    EXPECT_NEAR(all, rmse, 1e-9 * rmse);
    for (int k = 0; k < 2; k++) {
        const float only[2] = { k == 0 ? e.out_std[0] : 0, k == 1 ? e.out_std[1] : 0 };

        ensemble_score(&e, d.n, d.x, d.a, d.y, only, &rmse, &nll);
        EXPECT_NEAR(m.trial[0][k], rmse, 1e-9 * rmse);
    }
    e.weights[0] = NAN;
    EXPECT(isinf(model_error_add(&m, &e, d.n, d.x, d.a, d.y)) && !isfinite(m.trial[1][0]));
    ensemble_free(&e);
}

TEST(a_jump_needs_three_trials_before_and_names_its_observation_only)
{
    struct model_error m = { .n = 3, .trial = { { 0.1, 0.2 }, { 0.1, 0.2 }, { 0.5, 0.7 } } };
    double             limit;

    EXPECT(!model_error_jumped(&m, 0, &limit) && !model_error_jumped(&m, 1, &limit)); /* two before it */
    m.n           = 4;
    m.trial[3][0] = 0.31;
    m.trial[3][1] = 0.59;
    EXPECT(model_error_jumped(&m, 0, &limit));
    EXPECT_NEAR(limit, 0.3, 1e-12);
    EXPECT(!model_error_jumped(&m, 1, &limit));
    m.trial[3][1] = (double)NAN;
    EXPECT(model_error_jumped(&m, 1, &limit));
    for (int i = 0; i < 4; i++) /* ten times nothing is nothing */
        m.trial[i][0] = i < 3 ? 1e-6 : 1e-5;
    EXPECT(!model_error_jumped(&m, 0, &limit));
}

TEST(only_the_newest_ten_trials_are_kept)
{
    static struct pendulum_data d;
    struct model_error          m = { 0 };
    struct ensemble             e = model();

    for (int i = 1; i <= 12; i++) {
        pendulum_collect(&d, 20, (uint64_t)i);
        model_error_add(&m, &e, d.n, d.x, d.a, d.y);
    }
    double newest = m.trial[9][0];
    EXPECT(m.n == MODEL_ERROR_KEPT);
    m = (struct model_error){ 0 };
    model_error_add(&m, &e, d.n, d.x, d.a, d.y);
    EXPECT(m.trial[0][0] == newest);
    ensemble_free(&e);
}

/* 3 (2 (x0 - 0.5))^2: slope 24 (x0 - 0.5); nothing depends on x1. */
TEST(slopes_of_the_cost_are_its_derivatives_squared_and_zero_where_it_does_not_look)
{
    static struct pendulum_data d;
    struct task                 task = { .nterm = 1,
                                         .term  = { { .kind   = TERM_OBSERVATION,
                                                      .form   = FORM_SQUARED,
                                                      .weight = 3,
                                                      .n      = 1,
                                                      .index  = { 0 },
                                                      .target = { 0.5 },
                                                      .scale  = { 2 } } } };
    struct trial_data           data;
    float                       slope2[2];
    double                      want = 0;

    pendulum_collect(&d, 400, 2);
    data = (struct trial_data){ .n = d.n, .x = d.x, .a = d.a, .y = d.y };
    learner_cost_slopes(&task, &pendulum_dims, &data, slope2);
    for (int i = 0; i < 400; i += 2) /* 200 of the states */
        want += pow(24 * ((double)d.y[2 * i] - 0.5), 2) / 200;
    EXPECT_NEAR(slope2[0], want, 0.01 * want);
    EXPECT(slope2[1] == 0);
    data.n = 0;
    learner_cost_slopes(&task, &pendulum_dims, &data, slope2);
    EXPECT(slope2[0] == 0);
}
