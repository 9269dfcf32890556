/* test_search.c - the searches by themselves: costs are made up, what they draw and learn is looked at.  What every row of
 * the table promises is tested for every row, with knots and repeated actions too. */
#include "planner/search_parts.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

struct lone {
    struct search s;
    void         *memory;
};

static void lone_open(struct lone *l, const struct planner_config *c, const struct action_bounds *b)
{
    struct arena a = ARENA_PROBE;

    memset(l, 0, sizeof *l);
    search_layout(&l->s, &a, c, b->na);
    l->memory = aligned_alloc(64, (a.used + 63) / 64 * 64);
    a         = (struct arena){ .base = l->memory, .size = a.used };
    search_layout(&l->s, &a, c, b->na);
    l->s.ops = lanes_find(NULL);
    search_init(&l->s, b);
}

static struct planner_config settings(const char *name, int horizon, int population, int elites)
{
    struct kit k;

    kit_defaults(&k, 1, 1);
    snprintf(k.c.name, sizeof k.c.name, "%s", name);
    k.c.horizon    = horizon;
    k.c.population = population;
    k.c.elites     = elites;
    return k.c;
}

TEST(cem_refits_to_numbers_worked_out_by_hand)
{
    struct planner_config c = settings("cem", 1, 4, 2);
    struct action_bounds  b = { .na = 1, .low = { -2 }, .high = { 2 } };
    struct lone           l;

    lone_open(&l, &c, &b);
    EXPECT(l.s.mean[0] == 0 && l.s.var[0] == 1); /* (2 - -2)^2 / 16 */
    EXPECT(search_sample(&l.s, 0, 1) == 4);
    EXPECT(l.s.std[0] == 1); /* ((0 - -2) / 2)^2 = 1 does not bind */
    memcpy(l.s.act, (float[]){ 1, -1, 0.5f, 2 }, 4 * sizeof(float));
    memcpy(l.s.cost, (float[]){ 3, 9, 1, 2 }, 4 * sizeof(float));
    EXPECT(!search_refit(&l.s, 0, 4));
    /* Elites 0.5 and 2: mean 1.25, population variance 0.75^2. */
    EXPECT_NEAR(l.s.mean[0], 0.9 * 1.25, 1e-6);
    EXPECT_NEAR(l.s.var[0], 0.1 * 1 + 0.9 * 0.5625, 1e-6);
    EXPECT_NEAR(l.s.elite_cost, 1.5, 1e-6);
    EXPECT(l.s.best[0] == 0.5f && l.s.best_cost == 1);

    /* Now the upper bound is nearer than four standard deviations: std = (2 - 1.125) / 2. */
    search_sample(&l.s, 1, 1);
    EXPECT_NEAR(l.s.std[0], 0.4375, 1e-6);

    /* The next planning step: horizon 1 moved on leaves a zero; variance starts anew. */
    search_begin(&l.s, false, 1, NULL);
    EXPECT(l.s.mean[0] == 0 && l.s.var[0] == 1);
    free(l.memory);
}

TEST(cem_stops_when_the_variance_is_below_epsilon)
{
    struct planner_config c = settings("cem", 1, 4, 2);
    struct action_bounds  b = { .na = 1, .low = { -2 }, .high = { 2 } };
    struct lone           l;

    c.alpha   = 0;
    c.epsilon = 0.01;
    lone_open(&l, &c, &b);
    memcpy(l.s.cost, (float[]){ 0, 1, 2, 3 }, 4 * sizeof(float));
    memcpy(l.s.act, (float[]){ 1, 1.3f, 0, 0 }, 4 * sizeof(float));
    EXPECT(!search_refit(&l.s, 0, 4)); /* variance 0.0225 */
    memcpy(l.s.act, (float[]){ 1, 1.1f, 0, 0 }, 4 * sizeof(float));
    EXPECT(search_refit(&l.s, 1, 4)); /* 0.0025 */
    free(l.memory);
}

TEST(cem_draws_a_normal_truncated_at_two_standard_deviations)
{
    struct planner_config c = settings("cem", 4, 4096, 10);
    struct action_bounds  b = { .na = 1, .low = { -8 }, .high = { 8 } };
    struct lone           l;
    double                n = 4096 * 4, sum = 0, square = 0, widest = 0;

    lone_open(&l, &c, &b);
    search_sample(&l.s, 0, 1);
    for (int i = 0; i < 4096 * 4; i++) {
        double z = (double)l.s.act[i] / 4; /* std = 16 / 4 */

        sum += z;
        square += z * z;
        widest = fmax(widest, fabs(z));
    }
    EXPECT(widest <= 2 && widest > 1.99);
    EXPECT_NEAR(sum / n, 0, 5 * 0.88 / sqrt(n));
    /* Variance of a standard normal truncated at 2: 1 - 2 * 2 phi(2) / (Phi(2) - Phi(-2)). */
    EXPECT_NEAR(square / n, 1 - 4 * 0.05399097 / 0.9544997, 0.02);
    free(l.memory);
}

TEST(elites_are_chosen_by_rank)
{
    struct planner_config c = settings("icem", 3, 200, 17);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l;
    struct rng            r;

    rng_seed(&r, 4);
    lone_open(&l, &c, &b);
    for (int trial = 0; trial < 50; trial++) {
        search_begin(&l.s, true, 1, NULL);
        int n = search_sample(&l.s, 0, (uint64_t)trial);

        for (int i = 0; i < n; i++)
            l.s.cost[i] = (float)rng_below(&r, 60); /* with ties */
        search_refit(&l.s, 0, n);
        EXPECT(l.s.elites == 17);
        for (int k = 0; k < 17; k++) {
            int better = 0;

            for (int i = 0; i < n; i++)
                better +=
                    l.s.cost[i] < l.s.cost[l.s.rank[k]] || (l.s.cost[i] == l.s.cost[l.s.rank[k]] && i < l.s.rank[k]);
            EXPECT(better == k);
        }
    }
    free(l.memory);
}

TEST(fewer_candidates_than_elites_are_all_elites)
{
    for (const char *const *name = planner_names(); *name; name++) {
        struct planner_config c = settings(*name, 2, 100, 20);
        struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
        struct lone           l;

        lone_open(&l, &c, &b);
        search_sample(&l.s, 0, 1);
        for (int i = 0; i < 3; i++)
            l.s.cost[i] = (float)-i;
        if (l.s.gradient) /* made up like the costs: flat */
            memset(l.s.slope, 0, 3 * (size_t)l.s.full * sizeof *l.s.slope);
        search_refit(&l.s, 0, 3);
        EXPECT(l.s.elites >= 1 && l.s.elites <= 3 && l.s.rank[0] == 2);
        EXPECT(l.s.best_cost == -2);
        EXPECT(isfinite(l.s.mean[0]) && l.s.var[0] >= 0);
        free(l.memory);
    }
}

TEST(icem_carries_its_best_candidates_on_with_their_costs)
{
    struct planner_config c = settings("icem", 3, 40, 10);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l;
    float                 best[3];

    lone_open(&l, &c, &b);
    int n = search_sample(&l.s, 0, 1);
    for (int i = 0; i < n; i++)
        l.s.cost[i] = 100 - (float)i;
    memcpy(best, l.s.act + 3 * (n - 1), sizeof best);
    search_refit(&l.s, 0, n);
    EXPECT(l.s.kept_count == 3); /* 0.3 of 10 */

    n = search_sample(&l.s, 1, 1);
    for (int i = 0; i < n; i++)
        l.s.cost[i] = 1000;
    search_refit(&l.s, 1, n);
    EXPECT(l.s.rank[0] == n && l.s.cost[n] == 100 - 39);
    EXPECT(!memcmp(l.s.act + 3 * l.s.rank[0], best, sizeof best));
    free(l.memory);
}

TEST(icem_starts_from_last_steps_elites_moved_on_in_time_and_tries_the_mean_last)
{
    struct planner_config c = settings("icem", 5, 40, 10);
    struct action_bounds  b = { .na = 2, .low = { -1, -1 }, .high = { 1, 1 } };
    struct lone           l;
    float                 kept[10], mean[10];

    lone_open(&l, &c, &b);
    int n = search_sample(&l.s, 0, 1);
    for (int i = 0; i < n; i++)
        l.s.cost[i] = (float)i;
    search_refit(&l.s, 0, n);
    memcpy(kept, l.s.kept, sizeof kept);
    memcpy(mean, l.s.mean, sizeof mean);

    search_begin(&l.s, false, 2, NULL);
    EXPECT(!memcmp(l.s.mean, mean + 4, 6 * sizeof(float)));
    for (int h = 3; h < 5; h++) /* last action repeated */
        EXPECT(!memcmp(l.s.mean + 2 * h, mean + 8, 2 * sizeof(float)));
    EXPECT_NEAR(l.s.var[0], 0.25, 1e-6); /* the initial std again, half of the half range */

    n = search_sample(&l.s, 0, 2);
    EXPECT(!memcmp(l.s.act + 10, kept + 4, 6 * sizeof(float)));
    EXPECT(memcmp(l.s.act + 16, kept + 6, 4 * sizeof(float)) != 0); /* new last actions are drawn */
    EXPECT(memcmp(l.s.act, l.s.mean, sizeof mean) != 0);
    search_sample(&l.s, 2, 2);
    EXPECT(!memcmp(l.s.act, l.s.mean, sizeof mean));

    /* Costs of the last planning step are of other noise and another state: they must not be compared. */
    for (int i = 0; i < n; i++)
        l.s.cost[i] = 1e3f;
    search_refit(&l.s, 0, n);
    EXPECT(l.s.best_cost == 1e3);

    search_begin(&l.s, true, 1, NULL);
    EXPECT(l.s.kept_count == 0);
    free(l.memory);
}

TEST(icem_noise_has_unit_variance_at_every_step_and_the_asked_spectrum)
{
    for (int H = 1; H <= 21; H += 5) {
        for (int beta = 0; beta <= 3; beta++) {
            struct planner_config c = settings("icem", H, 40, 10);
            struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
            struct lone           l;
            double                power[MAX_HORIZON] = { 0 };

            c.noise_beta = beta;
            lone_open(&l, &c, &b);
            for (int t = 0; t < H; t++) {
                double var = 0;

                for (int k = 0; k < H; k++)
                    var += pow((double)l.s.colour[k * l.s.stride + t], 2);
                EXPECT_NEAR(var, 1, 1e-5);
                for (int u = 0; u < t && beta == 0; u++) { /* white: steps are independent */
                    double cov = 0;

                    for (int k = 0; k < H; k++)
                        cov += (double)l.s.colour[k * l.s.stride + t] * (double)l.s.colour[k * l.s.stride + u];
                    EXPECT_NEAR(cov, 0, 1e-5);
                }
            }
            /* Expected periodogram: that of the columns, summed. */
            for (int f = 1; f <= H / 2; f++)
                for (int k = 0; k < H; k++) {
                    double re = 0, im = 0;

                    for (int t = 0; t < H; t++) {
                        re += (double)l.s.colour[k * l.s.stride + t] * cos(2 * M_PI * f * t / H);
                        im += (double)l.s.colour[k * l.s.stride + t] * sin(2 * M_PI * f * t / H);
                    }
                    power[f] += re * re + im * im;
                }
            for (int f = 2; f <= H / 2; f++)
                EXPECT_NEAR(power[f] / power[1], pow(f, -beta), 1e-4);
            free(l.memory);
        }
    }
}

TEST(icem_clips_so_that_a_wide_search_tries_the_bounds_often)
{
    struct planner_config c = settings("icem", 10, 1000, 10);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l;
    int                   at = 0;

    c.init_std[0] = 1;
    lone_open(&l, &c, &b);
    search_sample(&l.s, 0, 1);
    for (int i = 0; i < 10000; i++)
        at += fabsf(l.s.act[i]) == 1;
    EXPECT_NEAR(at / 10000.0, 0.3173, 0.05); /* P(|z| > 1) */
    free(l.memory);
}

/* ---- what every search promises, with every shape of the plan ---- */

static const struct shape {
    int              knots, repeat;
    enum spline_kind spline;
} shapes[] = {
    { 0, 1, SPLINE_LINEAR }, { 3, 1, SPLINE_ZERO },   { 4, 1, SPLINE_LINEAR }, { 5, 1, SPLINE_CUBIC },
    { 0, 3, SPLINE_LINEAR }, { 3, 2, SPLINE_LINEAR }, { 1, 1, SPLINE_CUBIC },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static struct planner_config shaped(const char *name, const struct shape *shape, int horizon)
{
    struct planner_config c = settings(name, horizon, 40, 8);

    c.knots  = shape->knots;
    c.repeat = shape->repeat;
    c.spline = shape->spline;
    return c;
}

#define EACH_ROW_AND_SHAPE(name, shape)                           \
    for (const char *const *name = search_names(); *name; name++) \
        for (const struct shape *shape = shapes; shape < shapes + SHAPES; shape++)

typedef double made_up(void *ctx, int n, const float *act, float *slope);

/* One planning step, search_begin already called; returns the iterations done. */
static int plan_step(struct search *s, uint64_t seed, made_up *cost, void *ctx)
{
    for (int it = 0; it < s->iterations; it++) {
        int n = search_sample(s, it, seed);

        for (int c = 0; c < n; c++)
            s->cost[c] = (float)cost(ctx, s->full, s->act + c * s->full, s->gradient ? s->slope + c * s->full : NULL);
        if (search_refit(s, it, n))
            return it + 1;
    }
    return s->iterations;
}

/* Distance from a wave in time, squared. */
static double from_wave(void *ctx, int n, const float *act, float *slope)
{
    double sum = 0;

    (void)ctx;
    for (int i = 0; i < n; i++) {
        double d = (double)act[i] - 0.4 * sin(0.7 * i);

        sum += d * d;
        if (slope)
            slope[i] = (float)(2 * d);
    }
    return sum;
}

static double not_a_number(void *ctx, int n, const float *act, float *slope)
{
    (void)ctx, (void)act;
    for (int i = 0; slope && i < n; i++)
        slope[i] = NAN;
    return (double)NAN;
}

static double all_the_same(void *ctx, int n, const float *act, float *slope)
{
    (void)ctx, (void)act;
    for (int i = 0; slope && i < n; i++)
        slope[i] = 0;
    return 7;
}

/* Anything at all. */
static double wild(void *ctx, int n, const float *act, float *slope)
{
    static const float worst[] = { NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e6f, 0, FLT_MIN };
    struct rng        *r       = ctx;

    (void)act;
    for (int i = 0; slope && i < n; i++)
        slope[i] = rng_below(r, 4) ? (float)rng_normal(r) : worst[rng_below(r, 8)];
    return rng_below(r, 3) ? rng_normal(r) : (double)worst[rng_below(r, 8)];
}

static bool inside(const struct search *s, const float *act, int sequences)
{
    for (int i = 0; i < sequences * s->full; i++)
        if (!(act[i] >= s->bounds.low[i % s->bounds.na] && act[i] <= s->bounds.high[i % s->bounds.na]))
            return false;
    return true;
}

TEST(candidates_and_plans_are_finite_and_within_any_bounds_whatever_the_costs_are)
{
    struct rng r;
    int        rounds = test_rounds(2, 200);

    rng_seed(&r, 9);
    EACH_ROW_AND_SHAPE(name, shape)
    {
        for (int round = 0; round < rounds; round++) {
            struct planner_config c = shaped(*name, shape, 9);
            struct action_bounds  b = { .na = 2 };
            struct lone           l;
            double                cost;

            for (int j = 0; j < 2; j++) { /* not +-1, far from 0, sometimes a point */
                b.low[j]  = (float)kit_between(&r, -30, 20);
                b.high[j] = b.low[j] + (rng_below(&r, 5) ? (float)kit_between(&r, 0, 9) : 0);
            }
            c.execute = round % 2 ? EXECUTE_MEAN : EXECUTE_BEST;
            lone_open(&l, &c, &b);
            for (int t = 0; t < 4; t++) {
                search_begin(&l.s, t == 3, 1, t == 1 ? (float[]){ NAN, 1e30f } : NULL);
                for (int it = 0; it < l.s.iterations; it++) {
                    int n = search_sample(&l.s, it, (uint64_t)t);

                    EXPECT(n >= 1 && n <= l.s.rows && inside(&l.s, l.s.act, n));
                    for (int k = 0; k < n; k++)
                        l.s.cost[k] =
                            (float)wild(&r, l.s.full, NULL, l.s.gradient ? l.s.slope + k * l.s.full : NULL);
                    bool settled = search_refit(&l.s, it, it == 0 ? 1 + (int)rng_below(&r, (uint32_t)n) : n);
                    EXPECT(inside(&l.s, search_plan(&l.s, &cost), 1));
                    EXPECT(!isnan(cost) && !isnan(l.s.best_cost));
                    if (settled)
                        break;
                }
            }
            free(l.memory);
        }
    }
}

TEST(a_population_of_nothing_but_nan_leaves_a_finite_plan_within_bounds)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 8);
        struct action_bounds  b = { .na = 1, .low = { 2 }, .high = { 3 } };
        struct lone           l;
        double                cost;

        lone_open(&l, &c, &b);
        for (int t = 0; t < 3; t++) {
            search_begin(&l.s, false, 1, NULL);
            plan_step(&l.s, (uint64_t)t, not_a_number, NULL);
            EXPECT(inside(&l.s, search_plan(&l.s, &cost), 1) && cost >= 1e6);
        }
        free(l.memory);
    }
}

/* Finite only where the first action is negative, and a reward there, so that a NaN taken for 0 or for -1e-10 would win
 * or lose by accident. */
static double nan_if_positive(void *ctx, int n, const float *act, float *slope)
{
    double sign = *(double *)ctx;

    for (int i = 0; slope && i < n; i++)
        slope[i] = act[0] > 0 ? NAN : 0;
    return act[0] > 0 ? (double)NAN : sign * (5 - (double)act[0]);
}

TEST(a_nan_cost_is_the_worst_in_every_search)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        for (double sign = -1; sign <= 1; sign += 2) { /* rewards and costs */
            for (int execute = EXECUTE_BEST; execute <= EXECUTE_MEAN; execute++) {
                struct planner_config c = shaped(*name, shape, 8);
                struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
                struct lone           l;
                double                cost;

                c.execute   = (enum execute_kind)execute;
                c.smoothing = 1;
                lone_open(&l, &c, &b);
                search_begin(&l.s, true, 0, NULL);
                plan_step(&l.s, 5, nan_if_positive, &sign);
                const float *plan = search_plan(&l.s, &cost);
                EXPECT(plan[0] <= 0 && cost < 100);
                free(l.memory);
            }
        }
    }
}

TEST(costs_without_spread_never_divide_by_zero)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 8);
        struct action_bounds  b = { .na = 2, .low = { -1, 4 }, .high = { 1, 4 } }; /* one without range */
        struct lone           l;
        double                cost;

        c.alpha = 0;
        lone_open(&l, &c, &b);
        for (int t = 0; t < 3; t++) {
            search_begin(&l.s, false, 1, NULL);
            plan_step(&l.s, (uint64_t)t, all_the_same, NULL);
            EXPECT(inside(&l.s, search_plan(&l.s, &cost), 1));
            EXPECT_NEAR(cost, 7, 1e-6);
        }
        free(l.memory);
    }
}

TEST(every_search_is_a_function_of_its_seeds_drawn_ahead_or_not)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 10);
        struct action_bounds  b = { .na = 2, .low = { -1, -2 }, .high = { 1, 1 } };
        struct lone           one, two, other;
        double                cost[2];

        lone_open(&one, &c, &b);
        lone_open(&two, &c, &b);
        lone_open(&other, &c, &b);
        for (int t = 0; t < 4; t++) {
            if (t != 2) /* once not, once for a seed that never comes */
                search_prepare(&two.s, t == 3 ? 99 : (uint64_t)t);
            search_begin(&one.s, t == 0, 1, NULL);
            search_begin(&two.s, t == 0, 1, NULL);
            plan_step(&one.s, (uint64_t)t, from_wave, NULL);
            plan_step(&two.s, (uint64_t)t, from_wave, NULL);
            size_t bytes = (size_t)one.s.full * sizeof(float);
            EXPECT(!memcmp(search_plan(&one.s, &cost[0]), search_plan(&two.s, &cost[1]), bytes) && cost[0] == cost[1]);
        }
        int n = search_sample(&one.s, 0, 1); /* its last candidate is drawn by all of them */
        EXPECT(n == search_sample(&other.s, 0, 51));
        EXPECT(memcmp(one.s.act + (n - 1) * one.s.full, other.s.act + (n - 1) * one.s.full,
                      (size_t)one.s.full * sizeof(float)) != 0);
        free(one.memory);
        free(two.memory);
        free(other.memory);
    }
}

TEST(noise_beyond_the_banks_room_is_drawn_when_it_is_due)
{
    struct planner_config c = settings("cem", 64, 4096, 40); /* 1 MiB per iteration and action */
    struct action_bounds  b = { .na = 2, .low = { -1, -1 }, .high = { 1, 1 } };
    struct lone           one, two;
    double                cost;

    c.iterations = 10;
    c.epsilon    = 0;
    lone_open(&one, &c, &b);
    lone_open(&two, &c, &b);
    search_prepare(&two.s, 3);
    EXPECT(two.s.bank_floats * sizeof(float) <= SEARCH_BANK);
    EXPECT(two.s.bank_its == 8);
    plan_step(&one.s, 3, from_wave, NULL);
    plan_step(&two.s, 3, from_wave, NULL);
    EXPECT(!memcmp(search_plan(&one.s, &cost), search_plan(&two.s, &cost), 128 * sizeof(float)));
    free(one.memory);
    free(two.memory);
}

TEST(a_reset_clears_all_that_a_search_has_learned)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 10);
        struct action_bounds  b = { .na = 2, .low = { -1, 1 }, .high = { 1, 3 } };
        struct lone           used, fresh;
        double                cost;

        lone_open(&used, &c, &b);
        lone_open(&fresh, &c, &b);
        for (int t = 0; t < 3; t++) {
            search_begin(&used.s, false, 1, NULL);
            plan_step(&used.s, (uint64_t)t, from_wave, NULL);
        }
        search_begin(&used.s, true, 1, NULL);
        search_begin(&fresh.s, true, 1, NULL);
        for (int i = 0; i < used.s.full; i++) /* the middle, which is not 0 */
            EXPECT_NEAR(search_plan(&used.s, &cost)[i], i % 2 ? 2 : 0, 1e-6);
        for (int it = 0; it < 3; it++) {
            int n = search_sample(&used.s, it, 8);

            EXPECT(n == search_sample(&fresh.s, it, 8));
            EXPECT(!memcmp(used.s.act, fresh.s.act, (size_t)(n * used.s.full) * sizeof(float)));
            for (int k = 0; k < n; k++) {
                float *slope[2] = { used.s.gradient ? used.s.slope + k * used.s.full : NULL,
                                    used.s.gradient ? fresh.s.slope + k * used.s.full : NULL };

                used.s.cost[k]  = (float)from_wave(NULL, used.s.full, used.s.act + k * used.s.full, slope[0]);
                fresh.s.cost[k] = (float)from_wave(NULL, used.s.full, fresh.s.act + k * used.s.full, slope[1]);
            }
            search_refit(&used.s, it, n);
            search_refit(&fresh.s, it, n);
        }
        free(used.memory);
        free(fresh.memory);
    }
}

TEST(every_search_starts_from_its_last_plan_moved_on_in_time)
{
    for (const char *const *name = search_names(); *name; name++) {
        bool                  zero = !strcmp(*name, "cem") || !strcmp(*name, "mppi");
        struct planner_config c    = settings(*name, 8, 40, 8);
        struct action_bounds  b    = { .na = 2, .low = { -1, -1 }, .high = { 1, 1 } };
        struct lone           l;
        float                 last[16];
        double                cost;

        c.execute = EXECUTE_MEAN;
        lone_open(&l, &c, &b);
        plan_step(&l.s, 1, from_wave, NULL);
        memcpy(last, search_plan(&l.s, &cost), sizeof last);
        search_begin(&l.s, false, 3, NULL);
        const float *now = search_plan(&l.s, &cost);
        EXPECT(!memcmp(now, last + 6, 10 * sizeof(float)));
        for (int i = 10; i < 16; i++)
            EXPECT(now[i] == (zero ? 0 : last[14 + i % 2]));
        search_begin(&l.s, false, 100, NULL); /* nothing of it is left */
        EXPECT(search_plan(&l.s, &cost)[0] == (zero ? 0 : last[14]));
        free(l.memory);
    }
}

TEST(the_best_cost_of_a_planning_step_never_rises)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 10);
        struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
        struct lone           l;
        double                last = (double)INFINITY;

        c.iterations = 6;
        lone_open(&l, &c, &b);
        for (int it = 0; it < l.s.iterations; it++) {
            int n = search_sample(&l.s, it, 4);

            for (int k = 0; k < n; k++)
                l.s.cost[k] = (float)from_wave(NULL, 10, l.s.act + k * 10, l.s.gradient ? l.s.slope + k * 10 : NULL);
            bool settled = search_refit(&l.s, it, n);
            EXPECT(l.s.best_cost <= last);
            last = l.s.best_cost;
            if (settled)
                break;
        }
        free(l.memory);
    }
}

/* ---- knots ---- */

TEST(as_many_knots_as_steps_are_the_plan_itself)
{
    for (int spline = SPLINE_ZERO; spline <= SPLINE_CUBIC; spline++) {
        struct planner_config c = settings("icem", 7, 40, 8);
        struct action_bounds  b = { .na = 2, .low = { -1, -1 }, .high = { 1, 1 } };
        struct lone           knots, plain;

        lone_open(&plain, &c, &b);
        c.knots  = 7;
        c.spline = (enum spline_kind)spline;
        lone_open(&knots, &c, &b);
        EXPECT(!knots.s.basis);
        search_sample(&plain.s, 0, 1);
        search_sample(&knots.s, 0, 1);
        EXPECT(!memcmp(plain.s.act, knots.s.act, 40 * 14 * sizeof(float)));
        free(plain.memory);
        free(knots.memory);
    }
}

TEST(splines_go_through_their_knots_and_keep_straight_lines_straight)
{
    for (int spline = SPLINE_ZERO; spline <= SPLINE_CUBIC; spline++)
        for (int K = 1; K <= 6; K++) {
            struct planner_config c = settings("cem", 5 * (K - 1) + 1 + (K == 1) * 9, 40, 8); /* knots every 5 steps */
            struct action_bounds  b = { .na = 1, .low = { -9 }, .high = { 9 } };
            struct lone           l;
            float                 x[6], line[6], act[MAX_HORIZON];

            c.knots  = K;
            c.spline = (enum spline_kind)spline;
            lone_open(&l, &c, &b);
            for (int k = 0; k < K; k++) {
                x[k]    = sinf(3.0f * (float)k);
                line[k] = 1 - 0.5f * (float)k;
            }
            search_expand(&l.s, x, act);
            for (int h = 0; h < c.horizon && l.s.basis; h++) {
                if (spline == SPLINE_ZERO || K == 1)
                    EXPECT(act[h] == x[h * K / c.horizon]);
                else if (h % 5 == 0)
                    EXPECT_NEAR(act[h], x[h / 5], 1e-6);
                if (spline == SPLINE_LINEAR && K > 1)
                    EXPECT_NEAR(act[h], x[h / 5] + (x[h / 5 + (h % 5 > 0)] - x[h / 5]) * (float)(h % 5) / 5, 1e-6);
            }
            search_expand(&l.s, line, act);
            for (int h = 0; h < c.horizon && K > 1 && spline != SPLINE_ZERO; h++)
                EXPECT_NEAR(act[h], 1 - 0.1 * h, 1e-5);
            free(l.memory);
        }
}

TEST(repeated_actions_hold_for_so_many_steps)
{
    struct planner_config c = settings("mppi", 8, 40, 8);
    struct action_bounds  b = { .na = 2, .low = { -1, -1 }, .high = { 1, 1 } };
    struct lone           l;

    c.repeat = 3;
    lone_open(&l, &c, &b);
    EXPECT(l.s.points == 3 && l.s.n == 6 && l.s.full == 16);
    search_sample(&l.s, 0, 1);
    for (int k = 0; k < 40; k++)
        for (int h = 0; h < 8; h++)
            EXPECT(!memcmp(l.s.act + k * 16 + 2 * h, l.s.x + k * 6 + h / 3 * 2, 2 * sizeof(float)));
    free(l.memory);
}

TEST(projection_finds_the_nearest_point_for_every_shape)
{
    /* What the point can say comes back; of anything else the rest is orthogonal to all that points can say. */
    struct rng r;

    rng_seed(&r, 6);
    for (int H = 1; H <= MAX_HORIZON; H += H < 12 ? 1 : 13)
        for (int repeat = 1; repeat <= H && repeat <= 4; repeat++)
            for (int K = 0; K <= (H + repeat - 1) / repeat; K += K < 9 ? 1 : 7)
                for (int spline = SPLINE_ZERO; spline <= SPLINE_CUBIC; spline++) {
                    struct planner_config c = settings("mppi", H, 4, 1);
                    struct action_bounds  b = { .na = 1, .low = { -100 }, .high = { 100 } };
                    struct lone           l;
                    float                 x[MAX_HORIZON], back[MAX_HORIZON], act[MAX_HORIZON], near[MAX_HORIZON];

                    c.repeat = repeat, c.knots = K, c.spline = (enum spline_kind)spline;
                    lone_open(&l, &c, &b);
                    for (int i = 0; i < l.s.n; i++)
                        x[i] = (float)rng_normal(&r);
                    search_expand(&l.s, x, act);
                    search_project(&l.s, act, back);
                    for (int i = 0; i < l.s.n; i++)
                        EXPECT_NEAR(back[i], x[i], 1e-4);
                    for (int h = 0; h < H; h++)
                        act[h] = (float)rng_normal(&r);
                    search_project(&l.s, act, back);
                    search_expand(&l.s, back, near);
                    for (int k = 0; l.s.basis && k < l.s.points; k++) {
                        double dot = 0;

                        for (int h = 0; h < H; h++)
                            dot += (double)l.s.basis[h * l.s.points + k] * ((double)act[h] - (double)near[h]);
                        EXPECT_NEAR(dot, 0, 1e-4);
                    }
                    free(l.memory);
                }
}

TEST(the_gradient_in_the_knots_is_the_finite_difference_and_stops_where_the_plan_is_clipped)
{
    struct planner_config c = settings("gradient", 13, 4, 1);
    struct action_bounds  b = { .na = 2, .low = { -1, -2 }, .high = { 1, 2 } }; /* half ranges 1 and 2 */
    struct lone           l;
    float                 g[10];
    int                   clipped = 0;

    c.knots  = 5;
    c.spline = SPLINE_CUBIC;
    lone_open(&l, &c, &b);
    search_sample(&l.s, 0, 3);
    for (int i = 0; i < 10; i++)
        l.s.x[i] = i / 2 % 2 ? 0.97f * b.high[i % 2] : i / 2 == 2 ? 0.9f * b.high[i % 2] : 0; /* overshoots */
    search_expand(&l.s, l.s.x, l.s.act);
    from_wave(NULL, 26, l.s.act, l.s.slope);
    EXPECT(search_slope(&l.s, 0, g));
    for (int h = 0; h < 13; h++)
        clipped += l.s.act[2 * h] == 1;
    EXPECT(clipped > 0);
    for (int i = 0; i < 10; i++) {
        float  was = l.s.x[i], act[26];
        double far;

        l.s.x[i] = was + 0x1p-10f;
        search_expand(&l.s, l.s.x, act);
        far      = from_wave(NULL, 26, act, NULL);
        l.s.x[i] = was - 0x1p-10f;
        search_expand(&l.s, l.s.x, act);
        far -= from_wave(NULL, 26, act, NULL);
        l.s.x[i] = was;
        EXPECT_NEAR(far * 512 * (i % 2 ? 2 : 1), g[i], 2e-3);
    }
    free(l.memory);
}

/* ---- each search against its equations, in plain doubles ---- */

enum { OH = 6, ONA = 2, ON = OH * ONA, OP = 40 };

/* Unit noise of iteration `it`, which search_prepare has drawn. */
static const float *unit_noise(const struct search *s, int it, int c)
{
    return s->bank + (size_t)(it * OP + c) * ON;
}

static void rank_all(const double *cost, int *order)
{
    for (int c = 0; c < OP; c++) {
        int at = c;

        for (; at > 0 && cost[c] < cost[order[at - 1]]; at--)
            order[at] = order[at - 1];
        order[at] = c;
    }
}

static double clip_double(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

TEST(cem_is_that_of_pets_equation_by_equation)
{
    struct planner_config c = settings("cem", OH, OP, 5);
    struct action_bounds  b = { .na = ONA, .low = { -1, 0.5f }, .high = { 0.3f, 4 } };
    struct lone           l;
    double                mean[ON], var[ON], unused;

    c.iterations = 5;
    c.alpha      = 0.1;
    c.epsilon    = 0.001;
    c.execute    = EXECUTE_MEAN;
    lone_open(&l, &c, &b);
    for (int t = 0; t < 6; t++) {
        int did = 0, want = 0;

        for (int i = 0; i < ON; i++) { /* mid-range at first, then shifted with zeros appended, within the bounds */
            double low = (double)b.low[i % ONA], high = (double)b.high[i % ONA];

            if (t == 0)
                mean[i] = (low + high) / 2;
            else
                mean[i] = i + ONA < ON ? mean[i + ONA] : clip_double(0, low, high);
            var[i] = (high - low) * (high - low) / 16;
        }
        for (double widest = 1; want < 5 && widest > 0.001; want++) {
            double x[OP][ON], cost[OP];
            int    order[OP];

            search_prepare(&l.s, (uint64_t)t);
            for (int k = 0; k < OP; k++) {
                float act[ON];

                for (int i = 0; i < ON; i++) {
                    double low = (double)b.low[i % ONA], high = (double)b.high[i % ONA];
                    double limited = fmin(fmin(pow((mean[i] - low) / 2, 2), pow((high - mean[i]) / 2, 2)), var[i]);

                    EXPECT(fabsf(unit_noise(&l.s, want, k)[i]) <= 2);
                    x[k][i] = mean[i] + sqrt(limited) * (double)unit_noise(&l.s, want, k)[i];
                    act[i]  = (float)x[k][i];
                }
                cost[k] = from_wave(NULL, ON, act, NULL);
            }
            rank_all(cost, order);
            widest = 0;
            for (int i = 0; i < ON; i++) {
                double m = 0, v = 0;

                for (int k = 0; k < 5; k++)
                    m += x[order[k]][i] / 5;
                for (int k = 0; k < 5; k++)
                    v += (x[order[k]][i] - m) * (x[order[k]][i] - m) / 5;
                mean[i] = 0.1 * mean[i] + 0.9 * m;
                var[i]  = 0.1 * var[i] + 0.9 * v;
                widest  = fmax(widest, var[i]);
            }
        }
        search_begin(&l.s, t == 0, 1, NULL);
        did = plan_step(&l.s, (uint64_t)t, from_wave, NULL);
        EXPECT(did == want);
        for (int i = 0; i < ON; i++) {
            EXPECT_NEAR(search_plan(&l.s, &unused)[i], mean[i], 1e-5);
            EXPECT_NEAR(l.s.var[i], var[i], 1e-5);
        }
    }
    free(l.memory);
}

TEST(mppi_weighs_by_cost_and_by_what_it_costs_to_leave_the_uncontrolled_system)
{
    struct planner_config c = settings("mppi", OH, OP, 1);
    struct action_bounds  b = { .na = ONA, .low = { -1, 0.5f }, .high = { 0.3f, 4 } };
    struct lone           l;
    double                mean[ON];

    c.iterations = 3;
    c.lambda     = 0.3;
    c.anneal     = 0.6;
    lone_open(&l, &c, &b);
    for (int t = 0; t < 4; t++) {
        search_prepare(&l.s, (uint64_t)t);
        for (int i = 0; i < ON; i++)
            if (t == 0)
                mean[i] = ((double)b.low[i % ONA] + (double)b.high[i % ONA]) / 2;
            else
                mean[i] = i + ONA < ON ? mean[i + ONA] : clip_double(0, (double)b.low[i % ONA], (double)b.high[i % ONA]);
        for (int it = 0; it < 3; it++) {
            double eps[OP][ON], S[OP], least = (double)INFINITY, total = 0, sum[ON] = { 0 };

            for (int k = 0; k < OP; k++) {
                float act[ON];

                for (int i = 0; i < ON; i++) {
                    double low = (double)b.low[i % ONA], high = (double)b.high[i % ONA];
                    double std = 0.5 * (high - low) / 2 * pow(0.6, it);
                    double x   = clip_double(mean[i] + std * (double)unit_noise(&l.s, it, k)[i], low, high);

                    act[i]    = (float)x;
                    eps[k][i] = x - mean[i]; /* after clipping */
                }
                S[k] = from_wave(NULL, ON, act, NULL);
                for (int i = 0; i < ON; i++)
                    S[k] += 0.3 * mean[i] * eps[k][i] /
                            pow(0.25 * ((double)b.high[i % ONA] - (double)b.low[i % ONA]), 2);
                least = fmin(least, S[k]);
            }
            for (int k = 0; k < OP; k++) {
                double w = exp(-(S[k] - least) / 0.3);

                total += w;
                for (int i = 0; i < ON; i++)
                    sum[i] += w * eps[k][i];
            }
            for (int i = 0; i < ON; i++)
                mean[i] += sum[i] / total;
        }
        search_begin(&l.s, t == 0, 1, NULL);
        plan_step(&l.s, (uint64_t)t, from_wave, NULL);
        for (int i = 0; i < ON; i++)
            EXPECT_NEAR(l.s.mean[i], mean[i], 2e-5);
    }
    free(l.memory);
}

TEST(pddm_filters_from_the_action_executed_last_and_weighs_by_reward)
{
    struct planner_config c = settings("pddm", OH, OP, 1);
    struct action_bounds  b = { .na = ONA, .low = { -1, 0.5f }, .high = { 0.3f, 4 } };
    struct lone           l;
    double                mean[ON], before[ONA], unused;

    c.iterations = 1;
    c.kappa      = 1.5;
    c.smoothing  = 0.7;
    c.anneal     = 1;
    c.execute    = EXECUTE_MEAN;
    lone_open(&l, &c, &b);
    for (int t = 0; t < 5; t++) {
        double a[OP][ON], R[OP], most = -(double)INFINITY, total = 1e-10, sum[ON] = { 0 };
        float  told[ONA] = { 0.1f, 9 };

        search_prepare(&l.s, (uint64_t)t);
        for (int j = 0; j < ONA; j++) { /* before it is shifted: a copy, not a view; or what the caller knows better */
            before[j] = t == 0 ? ((double)b.low[j] + (double)b.high[j]) / 2 : mean[j];
            if (t == 4)
                before[j] = clip_double((double)told[j], (double)b.low[j], (double)b.high[j]);
        }
        for (int i = 0; i < ON; i++)
            if (t == 0)
                mean[i] = ((double)b.low[i % ONA] + (double)b.high[i % ONA]) / 2;
            else
                mean[i] = i + ONA < ON ? mean[i + ONA] : mean[i];
        for (int k = 0; k < OP; k++) {
            float act[ON];

            for (int i = 0; i < ON; i++) {
                double low = (double)b.low[i % ONA], high = (double)b.high[i % ONA];
                double eps = 0.5 * (high - low) / 2 * (double)unit_noise(&l.s, 0, k)[i];

                a[k][i] = clip_double(0.7 * (mean[i] + eps) + 0.3 * (i < ONA ? before[i] : a[k][i - ONA]), low, high);
                act[i]  = (float)a[k][i];
            }
            R[k] = -from_wave(NULL, ON, act, NULL);
            most = fmax(most, R[k]);
        }
        for (int k = 0; k < OP; k++) {
            double w = exp(1.5 * (R[k] - most));

            total += w;
            for (int i = 0; i < ON; i++)
                sum[i] += w * a[k][i];
        }
        for (int i = 0; i < ON; i++)
            mean[i] = sum[i] / total;
        search_begin(&l.s, t == 0, 1, t == 4 ? told : NULL);
        plan_step(&l.s, (uint64_t)t, from_wave, NULL);
        for (int i = 0; i < ON; i++)
            EXPECT_NEAR(search_plan(&l.s, &unused)[i], mean[i], 2e-5);
    }
    free(l.memory);
}

TEST(sigma_decides_how_far_mppi_and_pddm_look)
{
    for (int i = 0; i < 2; i++) {
        double far[2] = { 0 };

        for (int wide = 0; wide < 2; wide++) {
            struct planner_config c = settings(i ? "mppi" : "pddm", 5, 100, 1);
            struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
            struct lone           l;

            c.init_std[0] = wide ? 0.4 : 0.02;
            lone_open(&l, &c, &b);
            search_sample(&l.s, 0, 1);
            for (int k = 0; k < 500; k++)
                far[wide] += fabs((double)l.s.act[k]) / 500;
            free(l.memory);
        }
        EXPECT(far[1] > 10 * far[0] && far[0] > 0);
    }
}

/* ---- CMA-ES ---- */

TEST(cmaes_keeps_orthonormal_axes_whose_lengths_are_its_covariance)
{
    for (int n = 2; n <= 32; n += 10) {
        struct planner_config c = settings("cmaes", n, 24, 1);
        struct action_bounds  b = { .na = 1, .low = { -3 }, .high = { 5 } };
        struct lone           l;

        c.iterations = 200;
        lone_open(&l, &c, &b);
        EXPECT(l.s.cma.whole);
        for (int it = 0, looked = 0; it < 200 || !looked; it++) {
            int n_it = search_sample(&l.s, it, 1);

            for (int k = 0; k < n_it; k++) {
                const float *x = l.s.act + k * n;

                l.s.cost[k] = 0;
                for (int i = 0; i < n; i++) /* a bent and stretched bowl */
                    l.s.cost[k] += (float)pow(10, 2.0 * i / n) * powf(x[i] + (i ? 0.5f * x[i - 1] : 1), 2);
            }
            if (search_refit(&l.s, it, n_it) || it > 400)
                break;
            if (it < 50 || l.s.cma.stale != 0)
                continue;
            looked       = 1;
            double scale = 0;
            for (int i = 0; i < n; i++)
                scale = fmax(scale, l.s.cma.C[i * n + i]);
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) {
                    double dot = 0, C = 0;

                    for (int k = 0; k < n; k++) {
                        dot += l.s.cma.axes[i * n + k] * l.s.cma.axes[j * n + k];
                        C += l.s.cma.axes[k * n + i] * pow(l.s.cma.length[k], 2) * l.s.cma.axes[k * n + j];
                    }
                    EXPECT_NEAR(dot, i == j, 1e-10);
                    EXPECT_NEAR(C, l.s.cma.C[i * n + j], 1e-9 * scale);
                }
        }
        free(l.memory);
    }
}

TEST(one_generation_of_cmaes_is_that_of_the_tutorial)
{
    /* In five dimensions and in too many for axes; where the steps agree so well that the covariance's path waits (h). */
    for (int trial = 0; trial < 4; trial++) {
        int                   whole = trial % 2, n = whole ? 5 : SEARCH_FULL + 1, mu = 10;
        float                 push  = trial < 2 ? 0 : whole ? 2 : 6;
        struct planner_config c = settings("cmaes", n, 20, 1);
        struct action_bounds  b = { .na = 1, .low = { -50 }, .high = { 50 } }; /* std 5: nothing is clipped */
        struct lone           l;
        double                w[10], sum = 0, squares = 0, mean[SEARCH_FULL + 1], yw[SEARCH_FULL + 1] = { 0 }, length = 0;

        c.init_std[0] = 0.1;
        lone_open(&l, &c, &b);
        EXPECT(l.s.n == n && l.s.cma.whole == whole);
        search_sample(&l.s, 0, 3);
        for (int k = 0; k < 20; k++) {
            l.s.cost[k] = (float)((k * 7) % 20);
            l.s.x[k * n] += 5 * push;
        }
        for (int i = 0; i < mu; i++)
            sum += w[i] = log(10.5) - log(i + 1);
        for (int i = 0; i < mu; i++)
            squares += pow(w[i] /= sum, 2);
        double mueff = 1 / squares, N = n;
        double cs = (mueff + 2) / (N + mueff + 5), ds = 1 + 2 * fmax(0, sqrt((mueff - 1) / (N + 1)) - 1) + cs;
        double cc = (4 + mueff / N) / (N + 4 + 2 * mueff / N), c1 = 2 / (pow(N + 1.3, 2) + mueff);
        double cmu = fmin(1 - c1, 2 * (0.25 + mueff - 2 + 1 / mueff) / (pow(N + 2, 2) + mueff));
        if (!whole)
            c1 *= (N + 2) / 3, cmu *= (N + 2) / 3;
        double y[20][SEARCH_FULL + 1], chi = sqrt(N) * (1 - 1 / (4 * N) + 1 / (21 * N * N));
        for (int k = 0; k < 20; k++) { /* best first: cost k belongs to candidate 3 k mod 20, as 3 * 7 = 21 */
            double far = 0, most = sqrt(N) + 2 * N / (N + 2);

            for (int i = 0; i < n; i++) {
                y[k][i] = (double)l.s.x[3 * k % 20 * n + i] / 5; /* from mean 0 in units of 0.1 x 50 */
                far += y[k][i] * y[k][i];
            }
            for (int i = 0; i < n && sqrt(far) > most; i++) /* as if it were a proposal */
                y[k][i] *= most / sqrt(far);
        }
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < mu; k++)
                yw[i] += w[k] * y[k][i];
            mean[i] = 5 * yw[i];
            length += pow(sqrt(cs * (2 - cs) * mueff) * yw[i], 2);
        }
        bool h = sqrt(length) / sqrt(1 - pow(1 - cs, 2)) < (1.4 + 2 / (N + 1)) * chi;
        search_refit(&l.s, 0, 20);
        EXPECT(h == (push == 0));
        EXPECT_NEAR(l.s.cma.sigma, exp(fmin(1, cs / ds * (sqrt(length) / chi - 1))), 1e-5);
        for (int i = 0; i < n; i++) {
            EXPECT_NEAR(l.s.mean[i], mean[i], 1e-4);
            for (int j = whole ? 0 : i; j < (whole ? n : i + 1); j++) {
                double pc = h ? sqrt(cc * (2 - cc) * mueff) : 0;
                double C  = (1 - c1 - cmu + c1 * (h ? 0 : cc * (2 - cc))) * (i == j) + c1 * pc * yw[i] * pc * yw[j];

                for (int k = 0; k < mu; k++)
                    C += cmu * w[k] * y[k][i] * y[k][j];
                EXPECT_NEAR(l.s.cma.C[whole ? i * n + j : i], C, 1e-4);
            }
        }
        free(l.memory);
    }
}

/* ---- CEM-GD and gradient shooting ---- */

/* The wave, with a gradient that points the wrong way, or nowhere at all. */
static double misled(void *ctx, int n, const float *act, float *slope)
{
    double cost = from_wave(NULL, n, act, slope);

    for (int i = 0; slope && i < n; i++)
        slope[i] = ctx ? NAN : -slope[i];
    return cost;
}

TEST(cemgd_keeps_what_it_sampled_where_gradients_mislead_or_are_not_finite)
{
    for (int nan = 0; nan < 2; nan++) {
        struct planner_config c = settings("cemgd", 6, 40, 8);
        struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
        struct lone           l, sampled;

        lone_open(&l, &c, &b);
        c.iterations = 3;
        lone_open(&sampled, &c, &b);
        int its = plan_step(&l.s, 2, misled, nan ? &c : NULL);
        for (int it = 0; it < 3; it++) {
            int n = search_sample(&sampled.s, it, 2);

            for (int k = 0; k < n; k++)
                sampled.s.cost[k] = (float)from_wave(NULL, 6, sampled.s.act + k * 6, NULL);
            search_refit(&sampled.s, it, n);
        }
        EXPECT(its <= 3 + 9); /* seven tries more, then it is left alone */
        EXPECT(l.s.best_cost == sampled.s.best_cost);
        EXPECT(!memcmp(l.s.best, sampled.s.best, 6 * sizeof(float)));
        free(l.memory);
        free(sampled.memory);
    }
}

TEST(cemgd_improves_on_what_it_sampled_and_only_ever_accepts_less)
{
    struct planner_config c = settings("cemgd", 12, 40, 8);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l;
    float                 kept[3];
    double                sampled = 0;

    c.steps         = 40;
    c.learning_rate = 0.3; /* too far at first */
    lone_open(&l, &c, &b);
    for (int it = 0; it < l.s.iterations; it++) {
        memcpy(kept, l.s.kept_cost, sizeof kept);
        int n = search_sample(&l.s, it, 2);

        EXPECT(l.s.gradient == (it >= 3) && (it < 3 || n <= 3));
        for (int k = 0; k < n; k++)
            l.s.cost[k] = (float)from_wave(NULL, 12, l.s.act + k * 12, l.s.gradient ? l.s.slope + k * 12 : NULL);
        bool settled = search_refit(&l.s, it, n);
        for (int k = 0; it > 3 && k < 3; k++)
            EXPECT(l.s.kept_cost[k] <= kept[k]);
        if (it == 2)
            sampled = l.s.best_cost;
        if (settled)
            break;
    }
    EXPECT(l.s.best_cost < 0.1 * sampled);
    free(l.memory);
}

TEST(cemgd_draws_its_larger_first_population_after_a_reset_alone)
{
    struct planner_config c = settings("cemgd", 6, 40, 8);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l, other;
    double                cost;

    c.first_population = 300;
    lone_open(&l, &c, &b);
    lone_open(&other, &c, &b);
    search_begin(&l.s, true, 1, NULL);
    EXPECT(search_sample(&l.s, 0, 1) == 300 && search_sample(&l.s, 2, 1) == 300);
    search_begin(&l.s, false, 1, NULL);
    EXPECT(search_sample(&l.s, 0, 1) == 40);

    /* The noise drawn ahead is for the smaller one; the plan is the same. */
    search_prepare(&other.s, 5);
    search_begin(&l.s, true, 1, NULL);
    search_begin(&other.s, true, 1, NULL);
    plan_step(&l.s, 5, from_wave, NULL);
    plan_step(&other.s, 5, from_wave, NULL);
    EXPECT(!memcmp(search_plan(&l.s, &cost), search_plan(&other.s, &cost), 6 * sizeof(float)));
    free(l.memory);
    free(other.memory);
}

TEST(gradient_shooting_starts_over_where_a_gradient_is_not_finite)
{
    struct planner_config c = settings("gradient", 6, 4, 1);
    struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 1 } };
    struct lone           l;

    lone_open(&l, &c, &b);
    search_sample(&l.s, 0, 1);
    for (int k = 0; k < 4; k++)
        l.s.cost[k] = (float)from_wave(NULL, 6, l.s.act + k * 6, l.s.slope + k * 6);
    l.s.slope[2 * 6 + 3] = NAN;
    l.s.slope[3 * 6 + 1] = 3e38f; /* finite: one step of Adam like any other */
    search_refit(&l.s, 0, 4);
    EXPECT(search_sample(&l.s, 1, 1) == 4);
    for (int i = 0; i < 6; i++) {
        EXPECT(l.s.x[2 * 6 + i] == 0);
        EXPECT(fabsf(l.s.x[3 * 6 + i]) <= 1);
    }
    free(l.memory);
}

/* ---- proposals ---- */

TEST(proposals_take_the_place_of_drawn_candidates_within_bounds_and_without_nan)
{
    EACH_ROW_AND_SHAPE(name, shape)
    {
        struct planner_config c = shaped(*name, shape, 8);
        struct action_bounds  b = { .na = 1, .low = { -1 }, .high = { 0.5f } };
        struct lone           l, drawn;
        float                 proposed[3 * 8];
        int                   found = 0;

        c.proposals = 3;
        lone_open(&l, &c, &b);
        lone_open(&drawn, &c, &b);
        int n = search_sample(&l.s, 0, 1);
        search_sample(&drawn.s, 0, 1);
        for (int i = 0; i < 24; i++)
            proposed[i] = i < 8 ? 0.25f : i < 16 ? 9 : NAN;
        search_propose(&l.s, n, 3, proposed);
        EXPECT(inside(&l.s, l.s.act, n));
        for (int k = 0; k < n; k++) {
            const float *a = l.s.act + k * 8, *was = drawn.s.act + k * 8;
            double       quarter = 0, most = 0;

            for (int i = 0; i < 8; i++) {
                quarter = fmax(quarter, fabs((double)a[i] - 0.25));
                most    = fmax(most, fabs((double)a[i] - 0.5));
            }
            if (quarter < 1e-5 || most < 1e-5)
                found++;
            else
                for (int i = 0; i < 8; i++) /* not proposed, or not finite: as drawn */
                    EXPECT_NEAR(a[i], was[i], 1e-5);
        }
        EXPECT(found == 2);
        free(l.memory);
        free(drawn.memory);
    }
}
