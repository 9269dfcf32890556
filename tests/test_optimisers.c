/* test_optimisers.c - how good the searches are where the optimum is known; the yardsticks are checked too. */
#include <stdlib.h>
#include <string.h>

#include "daemon/bench_optimisers.h"
#include "daemon/rt/rng.h"
#include "tests/test.h"

enum { SEEDS = 3 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double gap(const char *planner, enum bench_function f, int n, int evaluations)
{
    double values[SEEDS];

    for (int seed = 0; seed < SEEDS; seed++)
        values[seed] = bench_function_gap(planner, f, n, evaluations, (uint64_t)seed);
    qsort(values, SEEDS, sizeof *values, by_value);
    return values[SEEDS / 2];
}

static double ratio(const char *planner, int evaluations, int knots)
{
    double values[SEEDS];

    for (int seed = 0; seed < SEEDS; seed++)
        values[seed] = bench_lq_ratio(planner, evaluations, knots, (uint64_t)seed);
    qsort(values, SEEDS, sizeof *values, by_value);
    return values[SEEDS / 2];
}

/* ---- the yardsticks ---- */

TEST(gradients_of_the_test_functions_are_their_finite_differences)
{
    struct rng r;

    rng_seed(&r, 1);
    for (int f = 0; f < BENCH_FUNCTIONS; f++)
        for (int trial = 0; trial < 20; trial++) {
            float  x[10];
            double grad[10];

            for (int i = 0; i < 10; i++)
                x[i] = (float)(-5 + 10 * rng_uniform(&r));
            bench_function_value((enum bench_function)f, 10, x, grad);
            for (int i = 0; i < 10; i++) {
                float was = x[i], up = was + 0x1p-12f, down = was - 0x1p-12f;

                x[i]       = up;
                double far = bench_function_value((enum bench_function)f, 10, x, NULL);
                x[i]       = down;
                far -= bench_function_value((enum bench_function)f, 10, x, NULL);
                x[i] = was;
                EXPECT_NEAR(far / ((double)up - (double)down), grad[i], 1e-4 * (1 + fabs(grad[i])));
            }
        }
}

TEST(the_gradient_of_the_linear_quadratic_cost_is_its_finite_difference)
{
    const double x[BENCH_NX] = { 0.3, -1, 0.4, 0.2 };
    struct rng   r;
    float        u[2 * 12];
    double       grad[2 * 12];

    rng_seed(&r, 2);
    for (int i = 0; i < 24; i++)
        u[i] = (float)rng_normal(&r);
    bench_lq_cost(12, x, u, grad);
    for (int i = 0; i < 24; i++) {
        float was = u[i], up = was + 0x1p-8f, down = was - 0x1p-8f;

        u[i]       = up;
        double far = bench_lq_cost(12, x, u, NULL);
        u[i]       = down;
        far -= bench_lq_cost(12, x, u, NULL);
        u[i] = was;
        EXPECT_NEAR(far / ((double)up - (double)down), grad[i], 1e-7 * (1 + fabs(grad[i])));
    }
}

TEST(riccatis_optimum_is_what_its_feedback_costs_and_nothing_costs_less)
{
    const double start[BENCH_NX] = { 1, 0, -0.6, 0.5 };
    double       x[BENCH_NX], u[BENCH_NU], grad[2 * 30];
    float        plan[2 * 30], other[2 * 30];
    struct rng   r;

    /* The feedback's sequence, by the sequence cost alone: what is left of the horizon is at the optimum already. */
    memcpy(x, start, sizeof x);
    for (int h = 0; h < 30; h++) {
        const double cart[2] = { x[1], x[3] }, pull = 2 * (x[0] - x[2]);

        bench_lq_best(x, u);
        plan[2 * h] = (float)u[0], plan[2 * h + 1] = (float)u[1];
        x[0] += 0.1 * cart[0];
        x[2] += 0.1 * cart[1];
        x[1] += 0.1 * ((double)plan[2 * h] - pull);
        x[3] += 0.1 * ((double)plan[2 * h + 1] + pull);
    }
    double best = bench_lq_best(start, NULL);
    EXPECT_NEAR(bench_lq_cost(30, start, plan, grad), best, 1e-6 * best);
    for (int i = 0; i < 60; i++)
        EXPECT_NEAR(grad[i], 0, 1e-5);
    rng_seed(&r, 3);
    for (int trial = 0; trial < 100; trial++) {
        for (int i = 0; i < 60; i++)
            other[i] = plan[i] + (float)(0.1 * rng_normal(&r));
        EXPECT(bench_lq_cost(30, start, other, NULL) > best);
    }
}

/* ---- the searches ---- */

TEST(every_search_approaches_the_riccati_optimum_as_its_budget_grows)
{
    /* 1000 evaluations a step, a gradient counted as three: at most so many times the optimal cost (the table in
     * docs/planners.md with some room). */
    static const struct {
        const char *planner;
        double      at_most;
    } claims[]  = { { "random", 6 },  { "cem", 1.2 },   { "icem", 1.4 },      { "mppi", 1.5 },
                    { "pddm", 1.15 }, { "cmaes", 1.4 }, { "gradient", 1.01 }, { "cemgd", 1.01 } };
    int claimed = 0;

    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        double little = ratio(claims[i].planner, 100, 0), much = ratio(claims[i].planner, 1000, 0);

        EXPECT(little >= 1 && much >= 1); /* nothing is better than the best */
        EXPECT(much <= little && much <= claims[i].at_most);
        if (!(much <= claims[i].at_most))
            printf("  %s: %.3f, claimed %.3f\n", claims[i].planner, much, claims[i].at_most);
    }
    for (const char *const *name = planner_names(); *name; name++)
        claimed++;
    EXPECT(claimed == sizeof claims / sizeof *claims); /* of every planner */
}

TEST(every_search_but_random_shooting_finds_the_bottom_of_a_bowl)
{
    for (const char *const *name = planner_names(); *name; name++) {
        double found = gap(*name, BENCH_SPHERE, 10, 4000);

        EXPECT(strcmp(*name, "random") ? found < 0.1 : found > 1);
    }
}

TEST(cmaes_solves_rosenbrock_where_random_shooting_is_lost)
{
    EXPECT(gap("cmaes", BENCH_ROSENBROCK, 10, 20000) < 1e-4);
    EXPECT(gap("random", BENCH_ROSENBROCK, 10, 20000) > 100);
    EXPECT(gap("cem", BENCH_ROSENBROCK, 10, 20000) > 1); /* no covariance: it does not turn into the valley */
}

TEST(a_budget_of_gradients_takes_gradient_shooting_to_the_linear_quadratic_optimum)
{
    EXPECT(ratio("gradient", 1000, 0) < 1.01);
    EXPECT(ratio("cemgd", 300, 0) < 1.02);
    EXPECT(ratio("cemgd", 300, 0) < ratio("cem", 1000, 0)); /* what CEM-GD claims: less is more */
}

TEST(knots_make_a_smaller_problem_that_icem_solves_better_with_few_candidates)
{
    EXPECT(ratio("icem", 300, 5) < 1.25);
    EXPECT(ratio("icem", 300, 0) > 1.3);
}
