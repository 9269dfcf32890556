/* test_search.c - random shooting, CEM and iCEM by themselves: costs are made up, what they draw is looked at. */
#include "planner/search.h"
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
