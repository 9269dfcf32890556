/* test_planner.c - the planners: what they promise whatever the model says, and that they find what is to be found. */
#include <float.h>

#include "daemon/rt/clock.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

struct seen {
    int         count;
    struct plan last;
    bool        rose; /* cost went up between two publications */
};

static void see(void *ctx, const struct plan *plan)
{
    struct seen *s = ctx;

    s->rose = s->rose || (s->count > 0 && plan->cost > s->last.cost);
    s->last = *plan;
    s->count++;
}

static bool same_actions(const struct plan *a, const struct plan *b)
{
    return a->horizon == b->horizon && a->na == b->na && !memcmp(a->action, b->action, sizeof a->action);
}

static bool within_bounds(const struct kit *k, const struct plan *plan)
{
    for (int h = 0; h < k->c.horizon; h++)
        for (int j = 0; j < k->d.na; j++)
            if (!(plan->action[h][j] >= k->b.low[j] && plan->action[h][j] <= k->b.high[j]))
                return false;
    return true;
}

#define EACH_PLANNER(name_) for (const char *const *name_ = planner_names(); *name_; name_++)

static void kit_name(struct kit *k, const char *name)
{
    snprintf(k->c.name, sizeof k->c.name, "%s", name);
}

/* ---- what is to be found ---- */

TEST(all_planners_find_the_best_action_of_a_one_step_problem)
{
    /* x' = 0.3 + 0.5 a, cost x'^2 + 0.01 a^2: best a = -0.15 / 0.26. */
    EACH_PLANNER(name)
    {
        for (int execute = EXECUTE_BEST; execute <= EXECUTE_MEAN; execute++) {
            struct kit  k;
            struct plan plan;

            kit_defaults(&k, 1, 1);
            kit_name(&k, *name);
            k.c.horizon    = 1;
            k.c.population = 200;
            k.c.iterations = 5;
            k.c.execute    = (enum execute_kind)execute;
            k.c.epsilon    = 0;
            k.c.smoothing  = 1; /* else PDDM stays near the action before, which was 0 */
            kit_linear(&k, (double[]){ 0 }, (double[]){ 0.5 });
            kit_open(&k, NULL);
            struct plan_request q = kit_request(&k, 0);

            q.x[0] = 0.3f;
            planner_step(k.p, 0, &q, NULL, NULL, &plan);
            EXPECT_NEAR(plan.action[0][0], -0.15 / 0.26, 0.03);
            EXPECT_NEAR(plan.predicted[0], 0.3 + 0.5 * (double)plan.action[0][0], 1e-5);
            EXPECT_NEAR(plan.spread, 0, 1e-6);
            kit_free(&k);
        }
    }
}

/* Best cost of the double integrator below, by backward dynamic programming (Riccati), bounds not binding. */
static double best_quadratic(const double A[2][2], const double B[2], int H, double qx, double qv, double r,
                             const double x[2])
{
    double P[2][2] = { { 0, 0 }, { 0, 0 } };

    for (int h = 0; h < H; h++) {
        double M[2][2] = { { P[0][0] + qx, P[0][1] }, { P[1][0], P[1][1] + qv } }, MA[2][2], MB[2], N[2][2], g[2];

        for (int i = 0; i < 2; i++) {
            MB[i] = M[i][0] * B[0] + M[i][1] * B[1];
            for (int j = 0; j < 2; j++)
                MA[i][j] = M[i][0] * A[0][j] + M[i][1] * A[1][j];
        }
        double s = r + B[0] * MB[0] + B[1] * MB[1];
        for (int j = 0; j < 2; j++)
            g[j] = B[0] * MA[0][j] + B[1] * MA[1][j];
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                N[i][j] = A[0][i] * MA[0][j] + A[1][i] * MA[1][j] - g[i] * g[j] / s;
        memcpy(P, N, sizeof P);
    }
    return x[0] * (P[0][0] * x[0] + P[0][1] * x[1]) + x[1] * (P[1][0] * x[0] + P[1][1] * x[1]);
}

TEST(cem_and_icem_come_close_to_the_optimum_of_a_linear_quadratic_problem)
{
    const double A[2][2] = { { 1, 0.2 }, { 0, 1 } }, B[2] = { 0, 0.2 }, x[2] = { 0.6, -0.2 };
    const double best = best_quadratic(A, B, 10, 1, 0.1, 0.01, x);
    struct plan  plan;

    for (int i = 0; i < 2; i++) {
        struct kit k;

        kit_defaults(&k, 2, 1);
        kit_name(&k, i ? "cem" : "icem");
        k.c.horizon        = 10;
        k.c.population     = 300;
        k.c.elites         = 30;
        k.c.iterations     = 10;
        k.c.noise_beta     = 0; /* the optimum is not smooth */
        k.c.epsilon        = 0;
        k.c.propagation    = PARTICLES_MEAN;
        k.b.low[0]         = -4;
        k.b.high[0]        = 4;
        k.t.nterm          = 3;
        k.t.term[0].weight = 1;
        k.t.term[2] =
            (struct task_term){ .kind = TERM_OBSERVATION, .weight = 0.1, .n = 1, .index = { 1 }, .scale = { 1 } };
        kit_linear(&k, (double[]){ 0, 0.2, 0, 0 }, (double[]){ 0, 0.2 });
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        q.x[0] = (float)x[0];
        q.x[1] = (float)x[1];
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        EXPECT(plan.cost >= best * 0.9999); /* nothing is better than the best */
        EXPECT(plan.cost <= best * 1.05);
        kit_free(&k);
    }
}

TEST(an_optimum_at_the_bound_is_reached_exactly_by_icem)
{
    struct kit  k;
    struct plan plan;

    kit_defaults(&k, 1, 1);
    k.b.low[0]            = -0.3f;
    k.b.high[0]           = 0.7f;
    k.t.term[0].target[0] = 100;
    kit_linear(&k, (double[]){ 0 }, (double[]){ 0.5 });
    kit_open(&k, NULL);
    struct plan_request q = kit_request(&k, 0);

    planner_step(k.p, 0, &q, NULL, NULL, &plan);
    EXPECT(plan.action[0][0] == 0.7f);
    kit_free(&k);
}

/* ---- another task ---- */

TEST(another_task_gives_the_plan_of_a_planner_that_never_had_another)
{
    for (const char *const *name = planner_names(); *name; name++) {
        struct kit  k, fresh;
        struct plan plan, want;

        for (int i = 0; i < 2; i++) {
            struct kit *of = i ? &fresh : &k;

            kit_defaults(of, 3, 2);
            kit_name(of, *name);
            if (i)
                of->t.term[0] = (struct task_term){
                    .kind = TERM_OBSERVATION, .form = FORM_LINEAR, .weight = -3, .n = 1, .index = { 2 }, .scale = { 1 }
                };
            kit_model(of, 4);
            kit_open(of, NULL);
        }
        for (uint64_t id = 0; id < 3; id++) {
            struct plan_request q = kit_request(&k, id);
            planner_step(k.p, 0, &q, NULL, NULL, &plan);
        }
        planner_task(k.p, &fresh.t);
        struct plan_request q = kit_request(&k, 3);
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        planner_step(fresh.p, 0, &q, NULL, NULL, &want);
        EXPECT(memcmp(plan.action, want.action, sizeof plan.action) == 0 && plan.cost == want.cost);
        kit_free(&k);
        kit_free(&fresh);
    }
}

/* ---- what holds whatever the model says ---- */

TEST(actions_are_within_bounds_for_every_planner_setting_and_model)
{
    struct rng r;

    rng_seed(&r, 1);
    EACH_PLANNER(name)
    {
        for (int trial = 0; trial < 12; trial++) {
            struct kit  k;
            struct plan plan;

            kit_defaults(&k, 3, 2);
            kit_name(&k, *name);
            k.c.execute = trial % 2 ? EXECUTE_BEST : EXECUTE_MEAN;
            for (int j = 0; j < 2; j++) {
                k.c.init_std[j] = kit_between(&r, 0.01, 9);
                k.b.low[j]      = (float)kit_between(&r, -3, 1);
                k.b.high[j]     = k.b.low[j] + (trial == 3 ? 0 : (float)kit_between(&r, 0, 2));
            }
            kit_model(&k, (uint64_t)trial);
            if (trial == 4)
                k.e.weights[3] = NAN;
            if (trial == 5)
                k.e.weights[3] = INFINITY;
            if (trial == 6)
                k.e.weights[3] = 1e30f;
            kit_open(&k, NULL);
            for (uint64_t id = 0; id < 4; id++) {
                struct plan_request q = kit_request(&k, id);

                if (trial == 7)
                    q.x[1] = NAN;
                if (trial == 8)
                    q.delayed = true, q.pending[0] = INFINITY;
                planner_step(k.p, 0, &q, NULL, NULL, &plan);
                EXPECT(within_bounds(&k, &plan));
                EXPECT(plan.cost <= 1e6);
                EXPECT(plan.iterations > 0 && plan.final && !plan.cut);
                if (trial == 4 || trial == 7 || trial == 8)
                    EXPECT(plan.cost == 1e6);
            }
            kit_free(&k);
        }
    }
}

TEST(a_candidate_with_nan_cost_is_never_an_elite)
{
    /* Half of the actions blow up: x' = 1e38 a overflows beyond |a| = 3.4.  The rest reward large |x'|. */
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plan;

        kit_defaults(&k, 1, 1);
        kit_name(&k, *name);
        k.c.horizon        = 1;
        k.b.low[0]         = -7;
        k.b.high[0]        = 7;
        k.t.nterm          = 1;
        k.t.term[0].form   = FORM_EXP; /* 0 beyond the overflow if infinity went unnoticed, 1 near a = 0 */
        k.t.term[0].width  = 1;
        k.t.term[0].weight = 1;
        kit_linear(&k, (double[]){ 0 }, (double[]){ 1e38 });
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        EXPECT(plan.cost <= 1);
        EXPECT(fabsf(plan.action[0][0]) < 3.41f);
        kit_free(&k);
    }
}

TEST(equal_candidates_have_no_spread_and_do_no_harm)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plan;

        kit_defaults(&k, 2, 1);
        kit_name(&k, *name);
        k.b.low[0] = k.b.high[0] = 0.25f;
        k.c.alpha                = 0; /* variance is exactly 0 after the first refit */
        kit_model(&k, 3);
        kit_open(&k, NULL);
        for (uint64_t id = 0; id < 3; id++) {
            struct plan_request q = kit_request(&k, id);

            planner_step(k.p, 0, &q, NULL, NULL, &plan);
            for (int h = 0; h < k.c.horizon; h++)
                EXPECT(plan.action[h][0] == 0.25f);
            EXPECT(isfinite(plan.cost));
        }
        kit_free(&k);
    }
}

TEST(the_best_cost_never_rises_from_one_iteration_to_the_next)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plan;

        kit_defaults(&k, 4, 2);
        kit_name(&k, *name);
        k.c.iterations = 6;
        k.c.epsilon    = 0;
        kit_model(&k, 3);
        kit_open(&k, NULL);
        for (uint64_t id = 0; id < 5; id++) {
            struct plan_request q = kit_request(&k, id);
            struct seen         s = { 0 };

            planner_step(k.p, 0, &q, see, &s, &plan);
            EXPECT(s.count == plan.iterations && s.count >= 6);
            EXPECT(!s.rose);
            EXPECT(s.last.final && same_actions(&s.last, &plan) && s.last.cost == plan.cost);
        }
        kit_free(&k);
    }
}

TEST(a_plan_tells_what_it_was_made_of)
{
    struct kit  k;
    struct plan plan;
    struct seen s = { 0 };

    kit_defaults(&k, 4, 2);
    k.c.population = 128;
    k.c.elites     = 10;
    kit_model(&k, 3);
    kit_open(&k, NULL);
    struct plan_request q = kit_request(&k, 5);

    q.trial        = 2;
    q.step         = 9;
    q.requested_ns = 1234;
    planner_step(k.p, 0, &q, see, &s, &plan);
    EXPECT(plan.id == 5 && plan.trial == 2 && plan.step == 9 && plan.seed == q.seed && plan.requested_ns == 1234);
    EXPECT(plan.model_version == k.e.version && plan.horizon == k.c.horizon && plan.na == 2);
    EXPECT(plan.iterations == 3);
    EXPECT(plan.candidates == 128 + 102 + 81);                   /* decay 1.25, rounded down; not in tiles */
    EXPECT(plan.rows == (128 + 102 + 81) * 3 * 6);               /* three particles, six steps */
    EXPECT(plan.started_ns == 1234 && plan.finished_ns == 1234); /* without deadline no clock is read */
    kit_free(&k);
}

/* ---- knots and proposals ---- */

TEST(plans_from_knots_come_close_to_the_optimum_of_a_problem_that_is_smooth)
{
    /* x' = x + 0.2 a from 1: the first action of the optimum is about -x / 0.2 and the last ones are 0. */
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plain, knots;

        for (int i = 0; i < 2; i++) {
            kit_defaults(&k, 1, 1);
            kit_name(&k, *name);
            k.c.horizon    = 12;
            k.c.population = 200;
            k.c.iterations = 5;
            k.c.elites     = 20;
            k.c.knots      = i ? 4 : 0;
            k.c.spline     = SPLINE_LINEAR;
            k.c.smoothing  = 1;
            k.b.low[0]     = -3;
            k.b.high[0]    = 3;
            kit_linear(&k, (double[]){ 0 }, (double[]){ 0.2 });
            kit_open(&k, NULL);
            struct plan_request q = kit_request(&k, 0);

            q.x[0] = 1;
            planner_step(k.p, 0, &q, NULL, NULL, i ? &knots : &plain);
            kit_free(&k);
        }
        EXPECT(knots.cost < 0.8); /* doing nothing costs 12, the best with these knots 0.36 */
        EXPECT(!same_actions(&plain, &knots));
        for (int h = 1; h < 3; h++) /* knots stand 11 / 3 steps apart: a straight line between */
            EXPECT_NEAR(knots.action[h][0] - knots.action[h - 1][0], knots.action[h + 1][0] - knots.action[h][0], 1e-4);
    }
}

static void policy(void *ctx, const float *x, uint64_t seed, int n, int horizon, int na, float *sequences)
{
    (void)x, (void)seed;
    ++*(int *)ctx;
    for (int i = 0; i < n * horizon * na; i++)
        sequences[i] = i / (horizon * na) == 0 ? 0.7f : NAN; /* one that is as good as can be, others broken */
}

TEST(a_policys_proposal_is_a_candidate_of_every_planner)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan with, without;
        int         asked = 0;

        kit_defaults(&k, 1, 1);
        kit_name(&k, *name);
        k.c.proposals         = 4;
        k.c.population        = 16;
        k.c.iterations        = 1;
        k.c.learning_rate     = 1e-6;
        k.b.high[0]           = 0.7f;
        k.t.term[0].target[0] = 100; /* as far as possible, at every step */
        kit_linear(&k, (double[]){ 0 }, (double[]){ 0.5 });
        for (int i = 0; i < 2; i++) {
            kit_open(&k, NULL);
            if (i)
                planner_proposer(k.p, policy, &asked);
            struct plan_request q = kit_request(&k, 0);

            planner_step(k.p, 0, &q, NULL, NULL, i ? &with : &without);
            EXPECT(!i || within_bounds(&k, &with));
            kit_close(&k);
        }
        ensemble_free(&k.e);
        EXPECT(asked == 1);
        if (k.c.execute == EXECUTE_BEST) {
            EXPECT(with.cost < without.cost);
            for (int h = 0; h < k.c.horizon; h++)
                EXPECT_NEAR(with.action[h][0], 0.7, 1e-4);
        }
    }
}

/* ---- repeatability ---- */

TEST(the_same_requests_give_the_same_bits_however_often_they_are_published)
{
    EACH_PLANNER(name)
    {
        for (const char *const *isa = isa_names(); *isa; isa++) {
            struct kit  a, b;
            struct plan one, two;
            struct seen s = { 0 };

            kit_defaults(&a, 4, 2);
            kit_name(&a, *name);
            a.c.propagation = PARTICLES_TS1;
            kit_model(&a, 3);
            b = a;
            kit_open(&a, *isa);
            kit_open(&b, *isa);
            EXPECT(!strcmp(planner_isa(a.p), *isa));
            for (uint64_t id = 0; id < 4; id++) {
                struct plan_request q = kit_request(&a, id);

                q.delayed = id > 1;
                planner_step(a.p, 0, &q, NULL, NULL, &one);
                planner_step(b.p, 0, &q, see, &s, &two);
                EXPECT(same_actions(&one, &two));
                EXPECT(one.cost == two.cost && one.spread == two.spread);
                EXPECT(!memcmp(one.predicted, two.predicted, sizeof one.predicted));
            }
            kit_close(&b);
            kit_free(&a);
        }
    }
}

TEST(another_seed_gives_another_plan)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan one, two;

        kit_defaults(&k, 4, 2);
        kit_name(&k, *name);
        kit_model(&k, 3);
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        planner_step(k.p, 0, &q, NULL, NULL, &one);
        q.seed++;
        planner_step(k.p, 0, &q, NULL, NULL, &two);
        EXPECT(!same_actions(&one, &two));
        kit_free(&k);
    }
}

TEST(the_initial_std_of_icem_decides_how_far_it_looks)
{
    struct kit  k;
    struct plan plan;
    double      far[2];

    for (int i = 0; i < 2; i++) {
        kit_defaults(&k, 1, 1);
        k.c.iterations        = 1;
        k.c.init_std[0]       = i ? 0.5 : 0.01;
        k.t.term[0].target[0] = 100; /* as far as possible is best */
        kit_linear(&k, (double[]){ 0 }, (double[]){ 0.5 });
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        far[i] = (double)plan.action[0][0];
        kit_free(&k);
    }
    EXPECT(far[0] < 0.06 && far[1] > 0.3);
}

TEST(reset_forgets_everything_a_planner_has_learned)
{
    EACH_PLANNER(name)
    {
        struct kit  k, fresh;
        struct plan plan, other;

        kit_defaults(&k, 4, 2);
        kit_name(&k, *name);
        k.b.low[0] = 0.5f; /* mid-range is not zero */
        kit_model(&k, 3);
        fresh = k;
        kit_open(&k, NULL);
        kit_open(&fresh, NULL);
        for (uint64_t id = 0; id < 5; id++) {
            struct plan_request q = kit_request(&k, id);
            planner_step(k.p, 0, &q, NULL, NULL, &plan);
        }
        struct plan_request q = kit_request(&k, 5);

        q.reset = true;
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        q.reset = false; /* a fresh planner has nothing to forget */
        planner_step(fresh.p, 0, &q, NULL, NULL, &other);
        EXPECT(same_actions(&plan, &other));
        kit_close(&fresh);
        kit_free(&k);
    }
}

TEST(without_reset_the_last_plan_is_remembered)
{
    for (int i = 0; i < 2; i++) {
        struct kit  k, fresh;
        struct plan plan, other;

        kit_defaults(&k, 4, 2);
        kit_name(&k, i ? "cem" : "icem");
        kit_model(&k, 3);
        fresh = k;
        kit_open(&k, NULL);
        kit_open(&fresh, NULL);
        struct plan_request q = kit_request(&k, 0);

        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        q = kit_request(&k, 1);
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        planner_step(fresh.p, 0, &q, NULL, NULL, &other);
        EXPECT(!same_actions(&plan, &other));
        kit_close(&fresh);
        kit_free(&k);
    }
}

/* ---- deadlines ---- */

TEST(a_deadline_that_has_passed_leaves_the_middle_of_the_range_after_a_reset)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plan;
        struct seen s = { 0 };

        kit_defaults(&k, 3, 2);
        kit_name(&k, *name);
        k.b.low[1] = 0.5f;
        kit_model(&k, 3);
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        q.deadline_ns = 0;
        planner_step(k.p, 0, &q, see, &s, &plan);
        EXPECT(s.count == 0 && plan.iterations == 0 && plan.candidates == 0);
        EXPECT(plan.cut && plan.final && plan.cost == 1e6);
        for (int h = 0; h < k.c.horizon; h++)
            EXPECT(plan.action[h][0] == 0 && plan.action[h][1] == 0.75f);
        kit_free(&k);
    }
}

TEST(a_deadline_that_has_passed_leaves_the_last_mean_moved_on_by_the_steps_gone_by)
{
    struct kit  k;
    struct plan before, plan;

    kit_defaults(&k, 3, 2);
    k.c.execute = EXECUTE_MEAN;
    kit_model(&k, 3);
    kit_open(&k, NULL);
    struct plan_request q = kit_request(&k, 10);

    planner_step(k.p, 0, &q, NULL, NULL, &before);
    q             = kit_request(&k, 12);
    q.deadline_ns = 0;
    planner_step(k.p, 0, &q, NULL, NULL, &plan);
    for (int h = 0; h < k.c.horizon; h++)
        EXPECT(
            !memcmp(plan.action[h], before.action[h + 2 < k.c.horizon ? h + 2 : k.c.horizon - 1], 2 * sizeof(float)));
    kit_free(&k);
}

TEST(a_deadline_in_the_middle_ends_an_endless_search_with_what_is_there)
{
    EACH_PLANNER(name)
    {
        struct kit  k;
        struct plan plan;
        struct seen s = { 0 };

        kit_defaults(&k, 3, 2);
        kit_name(&k, *name);
        k.c.population = 4096;
        k.c.iterations = 1000;
        k.c.decay      = 1;
        k.c.epsilon    = 0;
        kit_model(&k, 3);
        kit_open(&k, NULL);
        struct plan_request q = kit_request(&k, 0);

        q.deadline_ns = clock_now_ns() + 30 * NS_PER_MS;
        planner_step(k.p, 0, &q, see, &s, &plan);
        EXPECT(plan.iterations < 1000 && plan.cut && plan.final);
        EXPECT(s.count == plan.iterations);
        EXPECT(plan.candidates <= 4096 * 1000 && plan.finished_ns >= plan.started_ns);
        EXPECT(within_bounds(&k, &plan));
        kit_free(&k);
    }
}

TEST(an_iteration_that_was_cut_changes_nothing)
{
    /* n iterations and a cut give the plan of a search that was asked for n. */
    struct kit  k, whole;
    struct plan plan, other;
    struct seen s = { 0 };

    kit_defaults(&k, 3, 2);
    kit_name(&k, "cem");
    k.c.population = 1000;
    k.c.iterations = 1000;
    k.c.epsilon    = 0;
    k.c.execute    = EXECUTE_MEAN;
    kit_model(&k, 3);
    whole = k;
    kit_open(&k, NULL);
    struct plan_request q = kit_request(&k, 0);

    for (uint64_t ms = 20; s.count < 2; ms *= 2) { /* a slow or busy machine needs longer for two */
        memset(&s, 0, sizeof s);
        q.deadline_ns = clock_now_ns() + ms * NS_PER_MS;
        planner_step(k.p, 0, &q, see, &s, &plan);
        EXPECT(plan.cut);
    }
    EXPECT(plan.candidates == 1000 * plan.iterations);
    EXPECT(same_actions(&plan, &s.last));

    whole.c.iterations = plan.iterations;
    kit_open(&whole, NULL);
    q.deadline_ns = UINT64_MAX;
    planner_step(whole.p, 0, &q, NULL, NULL, &other);
    EXPECT(!other.cut && same_actions(&plan, &other) && plan.cost == other.cost);
    kit_close(&whole);
    kit_free(&k);
}

/* ---- configuration and memory ---- */

TEST(settings_that_cannot_run_are_refused_with_the_name_of_the_key)
{
    const double nan = (double)NAN;
    struct kit   k;

#define REFUSED(change, key)                               \
    do {                                                   \
        kit_defaults(&k, 3, 2);                            \
        EXPECT(planner_config_error(&k.c, &k.d) == NULL);  \
        change;                                            \
        EXPECT_STR(planner_config_error(&k.c, &k.d), key); \
    } while (0)
    REFUSED(kit_name(&k, "oracle"), "name");
    REFUSED(k.c.horizon = 0, "horizon");
    REFUSED(k.c.horizon = MAX_HORIZON + 1, "horizon");
    REFUSED(k.c.population = MAX_POPULATION + 1, "population");
    REFUSED(k.c.population = 1, "population");
    REFUSED(k.c.iterations = 0, "iterations");
    REFUSED(k.c.particles = 4, "particles"); /* three nets */
    REFUSED(k.c.particles = 0, "particles");
    REFUSED(k.c.particles = 129, "particles");
    REFUSED(k.c.elites = 21, "elites"); /* population 40 */
    REFUSED(k.c.elites = 0, "elites");
    REFUSED(k.c.alpha = 1, "alpha");
    REFUSED(k.c.alpha = nan, "alpha");
    REFUSED(k.c.decay = 0.5, "decay");
    REFUSED(k.c.decay = nan, "decay");
    REFUSED(k.c.keep = 1.5, "keep");
    REFUSED(k.c.keep = nan, "keep");
    REFUSED(k.c.noise_beta = -1, "noise_beta");
    REFUSED(k.c.noise_beta = nan, "noise_beta");
    REFUSED(k.c.init_std[1] = 0, "init_std");
    REFUSED(k.c.init_std[1] = nan, "init_std");
    REFUSED((kit_name(&k, "cem"), k.c.epsilon = nan), "epsilon");
    REFUSED((kit_name(&k, "cem"), k.c.elites = 41), "elites");
    REFUSED((kit_name(&k, "mppi"), k.c.lambda = 0), "lambda");
    REFUSED((kit_name(&k, "mppi"), k.c.lambda = nan), "lambda");
    REFUSED((kit_name(&k, "mppi"), k.c.anneal = 0), "anneal");
    REFUSED((kit_name(&k, "mppi"), k.c.init_std[0] = nan), "init_std");
    REFUSED((kit_name(&k, "pddm"), k.c.kappa = nan), "kappa");
    REFUSED((kit_name(&k, "pddm"), k.c.smoothing = 0), "smoothing");
    REFUSED((kit_name(&k, "pddm"), k.c.anneal = 1.1), "anneal");
    REFUSED((kit_name(&k, "cmaes"), k.c.population = 3), "population");
    REFUSED((kit_name(&k, "gradient"), k.c.learning_rate = nan), "learning_rate");
    REFUSED((kit_name(&k, "cemgd"), k.c.learning_rate = 0), "learning_rate");
    REFUSED((kit_name(&k, "cemgd"), k.c.steps = 0), "steps");
    REFUSED((kit_name(&k, "cemgd"), k.c.polish = 9), "polish"); /* eight elites */
    REFUSED((kit_name(&k, "cemgd"), k.c.first_population = 39), "first_population");
    REFUSED((kit_name(&k, "cemgd"), k.c.propagation = PARTICLES_MM), "propagation");
    REFUSED((kit_name(&k, "gradient"), k.c.propagation = PARTICLES_DS), "propagation");
    REFUSED(k.c.knots = 7, "knots"); /* horizon 6 */
    REFUSED((k.c.repeat = 3, k.c.knots = 3), "knots");
    REFUSED(k.c.knots = -1, "knots");
    REFUSED((k.c.knots = 3, k.c.spline = (enum spline_kind)9), "spline");
    REFUSED(k.c.repeat = 7, "repeat");
    REFUSED(k.c.proposals = 40, "proposals");
    REFUSED(k.c.proposals = -1, "proposals");
    REFUSED(k.c.dtype = (enum plan_dtype)9, "dtype");
    REFUSED(k.c.workers = 17, "workers");
    REFUSED(k.c.propagation = (enum particle_kind)9, "propagation");
    REFUSED(k.d.hidden = 0, "model");
    REFUSED(k.d.members = 17, "members");
#undef REFUSED
}

TEST(settings_of_other_planners_are_not_looked_at)
{
    const double nan = (double)NAN;
    struct kit   k;

    kit_defaults(&k, 3, 2);
    kit_name(&k, "random");
    k.c.elites = 0;
    k.c.decay = k.c.alpha = k.c.noise_beta = nan;
    EXPECT(planner_config_error(&k.c, &k.d) == NULL);
}

TEST(a_planner_takes_exactly_the_memory_it_asked_for_on_every_instruction_set)
{
    EACH_PLANNER(name)
    {
        for (const char *const *isa = isa_names(); *isa; isa++) {
            struct kit  k;
            struct plan plan;

            kit_defaults(&k, 7, 3);
            kit_name(&k, *name);
            k.d.hidden     = 33;
            k.c.population = 57;
            k.c.horizon    = 13;
            kit_model(&k, 1);
            kit_open(&k, *isa); /* checks the size taken */
            struct plan_request q = kit_request(&k, 0);

            planner_step(k.p, 0, &q, NULL, NULL, &plan);
            kit_free(&k); /* checks the canary */
        }
    }
}
