/* test_rollout.c - the batched rollout against ensemble_predict and task.c in plain loops, with the same noise. */
#include <float.h>
#include <pthread.h>

#include "daemon/rt/clock.h"
#include "planner/lanes.h"
#include "planner/rollout.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

static void random_path(struct task_path *p, struct rng *r)
{
    p->n = kit_pick(r, 2, MAX_WAYPOINTS);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < 2; k++)
            p->point[i][k] = kit_between(r, -3, 3);
    task_path_lay(p);
}

/* None, or a few; some candidates leave them. */
static void random_ends(struct kit *k, struct rng *r)
{
    k->t.nend = rng_below(r, 2) ? 0 : kit_pick(r, 1, 3);
    for (int i = 0; i < k->t.nend; i++)
        k->t.end[i] = (struct task_end){ .obs  = kit_pick(r, 0, k->d.nx - 1),
                                         .low  = rng_below(r, 3) ? kit_between(r, -4, -1) : (double)-INFINITY,
                                         .high = kit_between(r, 1, 4) };
}

static void random_task(struct kit *k, struct rng *r)
{
    struct task_frame *f = &k->t.frame[0];

    memset(&k->t, 0, sizeof k->t);
    k->t.nframe = 1;
    f->nlink    = kit_pick(r, 0, 5);
    for (int l = 0; l < f->nlink; l++) {
        double q = kit_between(r, 0, 6.3);

        f->link[l].obs     = kit_pick(r, -1, k->d.nx - 1);
        f->link[l].type    = (enum joint_type)kit_pick(r, 1, 3);
        f->link[l].axis[0] = 0.6 * cos(q);
        f->link[l].axis[1] = 0.6 * sin(q);
        f->link[l].axis[2] = 0.8;
        for (int i = 0; i < 3; i++)
            f->link[l].offset[i] = kit_between(r, -0.5, 0.5);
    }
    for (int i = 0; i < 3; i++)
        f->tip[i] = kit_between(r, -0.5, 0.5);

    k->t.nterm = kit_pick(r, 1, 5);
    for (int m = 0; m < k->t.nterm; m++) {
        struct task_term *term = &k->t.term[m];

        term->kind            = (enum term_kind)kit_pick(r, TERM_OBSERVATION, TERM_ALIVE);
        term->form            = (enum term_form)kit_pick(r, FORM_SQUARED, FORM_LINEAR);
        term->weight          = kit_between(r, -1, 1);
        term->width           = kit_between(r, 0.5, 2);
        term->n               = kit_pick(r, 1, k->d.nx);
        term->target_observed = rng_below(r, 2);
        for (int i = 0; i < MAX_TERM_INDEX; i++) {
            term->target_obs[i] = kit_pick(r, 0, k->d.nx - 1);
            term->index[i]      = kit_pick(r, 0, k->d.nx - 1);
            term->target[i]     = kit_between(r, -1, 1);
            term->scale[i]      = kit_between(r, -1, 1);
        }
        random_path(&term->path, r);
        if (term->kind == TERM_ALIVE)
            term->form = FORM_SQUARED;
    }
    random_ends(k, r);
}

/* Some observations have ends, some of those a rate; states begin beyond some. */
static void random_ranges(struct kit *k, struct rng *r)
{
    for (int i = 0; i < k->d.nx; i++)
        if (rng_below(r, 4) == 0)
            k->c.range[k->c.nrange++] =
                (struct state_range){ .obs  = i,
                                      .rate = k->d.nx > 1 && rng_below(r, 2) ? (i + 1) % k->d.nx : -1,
                                      .low  = (float)kit_between(r, -2, -0.2),
                                      .high = rng_below(r, 5) ? (float)kit_between(r, 0.2, 2) : INFINITY };
}

static void random_kit(struct kit *k, struct rng *r, uint64_t seed)
{
    kit_defaults(k, kit_pick(r, 1, 20), kit_pick(r, 1, 7));
    k->d.members = kit_pick(r, 1, 6);
    k->d.layers  = kit_pick(r, 1, 4);
    k->d.hidden  = kit_pick(r, 1, 130);
    kit_structure(&k->d, r);
    k->c.horizon     = kit_pick(r, 1, 9);
    k->c.population  = kit_pick(r, 20, 90);
    k->c.particles   = k->d.members * kit_pick(r, 1, 3);
    k->c.propagation = (enum particle_kind)kit_pick(r, PARTICLES_TSINF, PARTICLES_DS);
    k->c.exact       = rng_below(r, 2);
    k->c.dtype       = rng_below(r, 2) ? DTYPE_F32 : DTYPE_BF16;
    k->c.risk        = k->c.propagation == PARTICLES_MM || rng_below(r, 2) ? 0 : (double)kit_between(r, -1, 2);
    random_task(k, r);
    if (rng_below(r, 2))
        random_ranges(k, r);
    kit_model(k, seed);
}

/* n sequences of actions in -1 .. 1; the caller frees them. */
static float *random_actions(const struct kit *k, struct rng *r, int n)
{
    size_t size = (size_t)(n * k->c.horizon * k->d.na);
    float *a    = malloc(size * sizeof *a);

    for (size_t i = 0; i < size; i++)
        a[i] = (float)kit_between(r, -1, 1);
    return a;
}

/* How far a cost may be from the plain loops': rounding, the fast swish, and with bfloat16 a value now and then that
 * rounds the other way. */
static double allowed(const struct kit *k, double want)
{
    return (k->c.dtype == DTYPE_BF16 ? 1e-2 : k->c.exact ? 2e-4 : 2e-3) * (1 + fabs(want));
}

/* Whether a cost is the plain loops'; 0 where it jumps so near that rounding may have fallen on the other side. */
static int expect_truth(const struct kit *k, const float *start, const float *action, float cost, double off[2])
{
    double margin, want = kit_truth_margin(k, start, action, &margin);

    if (margin < (k->c.dtype == DTYPE_BF16 ? 0.1 : k->c.exact ? 1e-3 : 1e-2))
        return 0;
    EXPECT_NEAR(cost, want, allowed(k, want));
    off[k->c.exact] = fmax(off[k->c.exact], k->c.dtype ? 0 : fabs((double)cost - want));
    return 1;
}

TEST(every_instruction_set_gives_the_cost_of_the_plain_loops_for_any_shape)
{
    struct rng r;
    double     off[2] = { 0 };
    int        looked = 0, looks = 0;

    rng_seed(&r, 11);
    for (int trial = 0; trial < test_rounds(60, 4000); trial++) {
        struct kit k;

        random_kit(&k, &r, (uint64_t)trial);
        /* Mostly not a multiple of any tile. */
        int    n = kit_pick(&r, 1, k.c.population), steps = k.c.horizon * k.d.na;
        float *a = random_actions(&k, &r, n), *cost = calloc((size_t)n, sizeof *cost);
        float  x[MAX_OBS], start[MAX_MEMBERS * MAX_OBS];

        for (int i = 0; i < k.d.nx; i++)
            x[i] = (float)kit_between(&r, -2, 2);
        for (int i = 0; i < k.d.members * k.d.nx; i++)
            start[i] = x[i % k.d.nx];

        for (const char *const *isa = isa_names(); *isa; isa++) {
            kit_open(&k, *isa);
            planner_evaluate(k.p, 0, x, 123, n, a, cost);
            for (int c = 0; c < n; c += 1 + n / 7, looks++)
                looked += expect_truth(&k, start, a + c * steps, cost[c], off);
            looked += expect_truth(&k, start, a + (n - 1) * steps, cost[n - 1], off);
            looks++;
            kit_close(&k);
        }
        free(a);
        free(cost);
        ensemble_free(&k.e);
    }
    if (test_rounds(60, 4000) >= 60) /* enough for one of each */
        EXPECT(off[0] > 3 * off[1]); /* the fast swish was at work */
    EXPECT(looked > looks / 2);
}

TEST(ends_and_paths_give_the_cost_of_the_plain_loops_for_every_kind_of_particle)
{
    struct rng r;
    double     off[2] = { 0 };
    int        looked = 0, looks = 0, ended = 0;

    rng_seed(&r, 12);
    for (int trial = 0; trial < test_rounds(30, 1000); trial++) {
        struct kit k;
        float      x[3] = { 0.1f, -0.2f, 0.3f }, start[9], cost[40];

        kit_defaults(&k, 3, 2);
        k.c.particles   = 6;
        k.c.propagation = (enum particle_kind)(PARTICLES_TSINF + trial % (PARTICLES_DS - PARTICLES_TSINF + 1));
        k.t.nterm       = 5;
        for (int m = 2; m < 5; m++) {
            k.t.term[m] = (struct task_term){ .kind   = (enum term_kind)(TERM_PATH + m - 2),
                                              .weight = kit_between(&r, -1, 1),
                                              .form   = m == 2 ? (enum term_form)kit_pick(&r, FORM_SQUARED, FORM_ABS)
                                                               : FORM_SQUARED,
                                              .width  = 1,
                                              .index  = { 1, 2 } };
            random_path(&k.t.term[m].path, &r);
            k.t.term[m].path.n = 3;
        }
        k.t.nend   = trial % 3;
        k.t.end[0] = (struct task_end){ .obs = 1, .low = -0.4, .high = 0.2 };
        k.t.end[1] = (struct task_end){ .obs = 0, .low = (double)-INFINITY, .high = 0.5 };
        kit_model(&k, (uint64_t)trial);
        float *a = random_actions(&k, &r, 40);

        for (int i = 0; i < 9; i++)
            start[i] = x[i % 3];
        for (const char *const *isa = isa_names(); *isa; isa++) {
            kit_open(&k, *isa);
            planner_evaluate(k.p, 0, x, 5, 40, a, cost);
            for (int c = 0; c < 40; c++, looks++) {
                int good = expect_truth(&k, start, a + c * 12, cost[c], off);
                looked += good;
                ended += good && k.t.nend;
            }
            kit_close(&k);
        }
        free(a);
        ensemble_free(&k.e);
    }
    EXPECT(looked > looks / 4 && ended > looks / 8);
}

TEST(a_candidate_that_ends_the_task_is_paid_for_the_step_that_does_and_none_after)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        float      x[2] = { 0 }, a[4 * 6], cost[4];

        kit_defaults(&k, 2, 1);
        kit_linear(&k, (double[]){ 0, 0, 0, 0 }, (double[]){ 1, 0 }); /* x += a */
        k.t.nterm        = 2;
        k.t.term[0]      = (struct task_term){ .kind = TERM_ALIVE, .weight = -1 };
        k.t.term[1]      = (struct task_term){ .kind = TERM_PROGRESS, .weight = -10, .index = { 0, 1 } };
        k.t.term[1].path = (struct task_path){ .n = 2, .point = { { -5, 0 }, { 5, 0 } } };
        task_path_lay(&k.t.term[1].path);
        k.t.nend   = 1;
        k.t.end[0] = (struct task_end){ .obs = 0, .low = -0.7, .high = 0.7 };
        for (int h = 0; h < 6; h++) {
            a[h]      = 0;                     /* stays             */
            a[6 + h]  = 0.3f;                  /* out at step 3     */
            a[12 + h] = h == 5 ? 1.0f : 0;     /* out at the last   */
            a[18 + h] = h == 0 ? 1.0f : -0.3f; /* out, and back in  */
        }
        kit_open(&k, *isa);
        planner_evaluate(k.p, 0, x, 1, 4, a, cost);
        EXPECT_NEAR(cost[0], -6 - 10 * 5, 1e-3);
        EXPECT_NEAR(cost[1], -3 - 10 * 5.9, 1e-3);
        EXPECT_NEAR(cost[2], -6 - 10 * 6, 1e-3);
        EXPECT_NEAR(cost[3], -1 - 10 * 6, 1e-3);
        x[0] = 2; /* outside already: that ends nothing, the first step does */
        planner_evaluate(k.p, 0, x, 1, 1, a, cost);
        EXPECT_NEAR(cost[0], -1 - 10 * 7, 1e-3);
        kit_free(&k);
    }
}

/* Runs a block for every instruction set, both types and both activations. */
#define EACH_KERNEL(k, isa)                                 \
    for (const char *const *isa = isa_names(); *isa; isa++) \
        for (int how_ = 0; how_ < 4; how_++)                \
            if ((k).c.dtype = how_ & 1 ? DTYPE_BF16 : DTYPE_F32, (k).c.exact = how_ & 2, 1)

/* What an observation cannot leave it does not leave in any plan, and pressing on gains nothing. */
TEST(predictions_stay_within_the_range_of_an_observation_and_its_rate_ends_there)
{
    for (const char *const *isa = isa_names(); *isa; isa++)
        for (int kind = PARTICLES_TSINF; kind <= PARTICLES_DS; kind++) {
            struct kit k;
            float      x[2] = { 0, 0 }, cost[3], a[3 * 4] = { 1, 1, 1, -1, 1, 1, 0, 0, -1, -1, 1, -1 };

            /* position' = position + rate, rate' = rate + a; cost: the rate, then the position, four steps long. */
            kit_defaults(&k, 2, 1);
            k.c.horizon     = 4;
            k.c.propagation = (enum particle_kind)kind;
            k.c.nrange      = 1;
            k.c.range[0]    = (struct state_range){ .obs = 0, .rate = 1, .low = -0.5f, .high = 2.5f };
            kit_linear(&k, (double[]){ 0, 1, 0, 0 }, (double[]){ 0, 1 });
            for (int term = 0; term < 2; term++) {
                k.t.nterm   = 1;
                k.t.term[0] = (struct task_term){ .kind   = TERM_OBSERVATION,
                                                  .form   = FORM_LINEAR,
                                                  .weight = 1,
                                                  .n      = 1,
                                                  .scale  = { 1 },
                                                  .index  = { term == 0 } };
                kit_open(&k, *isa);
                planner_evaluate(k.p, 0, x, 1, 3, a, cost);
                /* The third step would take the first two beyond 2.5, the second one the last beyond -0.5. */
                static const double want[2][3] = { { 1 + 2 + 0 - 1, 1 + 2 + 0 + 0, -1 + 0 + 1 + 0 },
                                                   { 0 + 1 + 2.5 + 2.5, 0 + 1 + 2.5 + 2.5, 0 - 0.5 - 0.5 + 0.5 } };
                for (int c = 0; c < 3; c++)
                    EXPECT_NEAR(cost[c], want[term][c], 1e-4);
                kit_close(&k);
            }
            ensemble_free(&k.e);
        }
}

TEST(a_candidate_costs_the_same_bits_wherever_it_stands_in_the_population)
{
    for (int kind = PARTICLES_TSINF; kind <= PARTICLES_DS; kind++) {
        struct kit k;
        struct rng r;
        float      x[4] = { 0.1f, -0.4f, 0.2f, 1 }, cost[90], other[90];

        rng_seed(&r, 3);
        kit_defaults(&k, 4, 2);
        k.c.population  = 90;
        k.c.particles   = 9; /* three of every member: the last tiles mix them */
        k.c.propagation = (enum particle_kind)kind;
        kit_model(&k, 4);
        EACH_KERNEL(k, isa)
        {
            kit_open(&k, *isa);
            float *a = random_actions(&k, &r, 90);

            planner_evaluate(k.p, 0, x, 5, 90, a, cost);
            for (int c = 0; c < test_rounds(90, 90); c++) {
                planner_evaluate(k.p, 0, x, 5, 1, a + c * k.c.horizon * k.d.na, other);
                EXPECT(other[0] == cost[c]);
            }
            for (int n = 1; n <= 2 * LANES_TILE + 1; n += 650 / test_rounds(650, 650)) {
                planner_evaluate(k.p, 0, x, 5, n, a, other);
                EXPECT(memcmp(other, cost, (size_t)n * sizeof *cost) == 0);
            }
            free(a);
            kit_close(&k);
        }
        ensemble_free(&k.e);
    }
}

struct helper {
    struct planner *p;
    int             worker;
};

static void *work(void *ctx)
{
    struct helper *me = ctx;

    planner_worker(me->p, me->worker);
    return NULL;
}

TEST(a_cost_has_the_same_bits_with_any_number_of_workers)
{
    for (int kind = PARTICLES_TSINF; kind <= PARTICLES_DS; kind++) {
        struct kit k;
        struct rng r;
        float      x[3] = { 0.1f, -0.4f, 0.2f }, alone[75], together[75];

        rng_seed(&r, 3);
        kit_defaults(&k, 3, 2);
        k.c.population  = 75;
        k.c.particles   = 6;
        k.c.propagation = (enum particle_kind)kind;
        kit_model(&k, 4);
        kit_open(&k, NULL);
        float *a = random_actions(&k, &r, 75);
        planner_evaluate(k.p, 0, x, 5, 75, a, alone);
        kit_close(&k);
        for (k.c.workers = 2; k.c.workers <= 5; k.c.workers++) {
            pthread_t     thread[5];
            struct helper me[5];

            kit_open(&k, NULL);
            for (int w = 1; w < k.c.workers; w++) {
                me[w].p      = k.p;
                me[w].worker = w;
                CHECK(pthread_create(&thread[w], NULL, work, &me[w]) == 0);
            }
            for (int again = 0; again < 20; again++) {
                planner_evaluate(k.p, 0, x, 5, 75, a, together);
                EXPECT(memcmp(alone, together, sizeof alone) == 0);
            }
            planner_dismiss(k.p);
            for (int w = 1; w < k.c.workers; w++)
                pthread_join(thread[w], NULL);
            kit_close(&k);
        }
        free(a);
        ensemble_free(&k.e);
    }
}

TEST(what_a_deadline_leaves_are_the_costs_of_the_first_candidates)
{
    struct kit     k;
    struct rng     r;
    struct rollout rollout = { 0 };
    float          x[3]    = { 0.1f, -0.4f, 0.2f }, all[300], some[300];

    rng_seed(&r, 3);
    kit_defaults(&k, 3, 2);
    k.c.population = 300;
    k.c.particles  = 6;
    kit_model(&k, 4);
    struct arena probe = ARENA_PROBE;
    team_layout(&probe, 1);
    rollout_layout(&rollout, &probe, &k.c, &k.d);
    void        *memory = aligned_alloc(64, (probe.used + 63) / 64 * 64);
    struct arena arena  = { .base = memory, .size = probe.used };
    memset(memory, 0, probe.used);
    rollout.team = team_layout(&arena, 1);
    rollout_layout(&rollout, &arena, &k.c, &k.d);
    rollout.ops  = lanes_find(NULL);
    rollout.task = k.t;
    rollout_pack(&rollout, 0, &k.e);
    rollout_begin(&rollout, 0, x, NULL, 9);
    float *a = random_actions(&k, &r, 300);

    EXPECT(rollout_evaluate(&rollout, 0, 300, a, all, UINT64_MAX) == 300);
    EXPECT(rollout_evaluate(&rollout, 0, 300, a, some, 1) == 0);
    for (uint64_t ns = 1000; ns < 100000000; ns = ns * 5 / 4) {
        int done = rollout_evaluate(&rollout, 0, 300, a, some, clock_now_ns() + ns);

        EXPECT(done >= 0 && done <= 300 && (done == 300 || done % rollout.ops->tile == 0));
        EXPECT(memcmp(some, all, (size_t)done * sizeof *all) == 0);
        if (done == 300)
            break;
    }
    free(a);
    free(memory);
    ensemble_free(&k.e);
}

TEST(noise_drawn_ahead_is_the_noise_that_would_have_been_drawn)
{
    struct kit k;
    struct rng r;
    float      x[3] = { 0.1f, -0.4f, 0.2f }, drawn[10], ahead[10];

    rng_seed(&r, 3);
    kit_defaults(&k, 3, 2);
    k.c.propagation = PARTICLES_TS1;
    kit_model(&k, 4);
    float *a = random_actions(&k, &r, 10);
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 5, 10, a, drawn);
    planner_prepare(k.p, 6);
    planner_prepare(k.p, 5);
    planner_evaluate(k.p, 0, x, 5, 10, a, ahead);
    EXPECT(memcmp(drawn, ahead, sizeof drawn) == 0);
    planner_prepare(k.p, 6); /* the wrong seed: of no effect */
    planner_evaluate(k.p, 0, x, 5, 10, a, ahead);
    EXPECT(memcmp(drawn, ahead, sizeof drawn) == 0);
    planner_evaluate(k.p, 0, x, 6, 10, a, ahead);
    EXPECT(memcmp(drawn, ahead, sizeof drawn) != 0);
    free(a);
    kit_free(&k);
}

TEST(weights_of_any_size_give_the_cost_of_the_plain_loops_or_the_worst)
{
    static const float scale[] = { 1e-42f, 1e-38f, 1e-20f, 1, 30, 1e3f, 1e19f, 1e30f, 3e38f };
    int                worst = 0, good = 0;

    for (size_t s = 0; s < sizeof scale / sizeof *scale; s++)
        for (int l = 0; l <= 2; l++) {
            struct kit k;
            struct rng r;
            float      x[3] = { 0.1f, -0.4f, 0.2f }, start[9], cost[5];

            rng_seed(&r, s);
            kit_defaults(&k, 3, 2);
            k.c.horizon = 1;
            kit_model(&k, 4);
            for (int m = 0; m < 3; m++) {
                float *w  = k.e.weights + (size_t)m * ensemble_params(&k.d);
                int    in = 0, out = 0;

                for (int i = 0; i <= l; i++) {
                    w += out * (in + 1);
                    ensemble_layer(&k.d, i, &in, &out);
                }
                for (int i = 0; i < in * out; i++)
                    w[i] *= scale[s];
            }
            for (int i = 0; i < 9; i++)
                start[i] = x[i % 3];
            float *a = random_actions(&k, &r, 5);
            EACH_KERNEL(k, isa)
            {
                kit_open(&k, *isa);
                planner_evaluate(k.p, 0, x, 123, 5, a, cost);
                for (int c = 0; c < 5; c++) {
                    double want = kit_truth(&k, start, a + c * 2);

                    if (!(want < 0.99e6)) {
                        EXPECT(cost[c] == 1e6f || (want < 1.01e6 && cost[c] > 0.98e6f));
                        worst++;
                    } else {
                        EXPECT_NEAR(cost[c], want, 20 * allowed(&k, want));
                        good++;
                    }
                }
                kit_close(&k);
            }
            free(a);
            ensemble_free(&k.e);
        }
    EXPECT(worst > 100 && good > 100);
}

TEST(what_is_not_finite_costs_the_worst_whatever_computes_it)
{
    static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };

    for (int kind = PARTICLES_TSINF; kind <= PARTICLES_DS; kind++) {
        struct kit k;
        struct rng r;
        float      x[3] = { 0.1f, -0.4f, 0.2f }, cost[50], with[50];

        rng_seed(&r, 5);
        kit_defaults(&k, 3, 2);
        k.c.population  = 50;
        k.c.particles   = 6;
        k.c.propagation = (enum particle_kind)kind;
        kit_model(&k, 4);
        EACH_KERNEL(k, isa)
        {
            k.t.term[0].form = (enum term_form)(kind % 4);
            k.t.nend         = 1;
            k.t.end[0]       = (struct task_end){ .obs = 2, .low = -0.3, .high = 0.3 };
            kit_open(&k, *isa);
            float *a = random_actions(&k, &r, 50);

            planner_evaluate(k.p, 0, x, 5, 50, a, cost);
            for (int b = 0; b < 4; b++)
                a[(3 + 13 * b) * 12 + 2 + b] = bad[b];
            planner_evaluate(k.p, 0, x, 5, 50, a, with);
            for (int c = 0; c < 50; c++)
                EXPECT(with[c] == ((c - 3) % 13 == 0 ? 1e6f : cost[c]));
            for (int b = 0; b < 4; b++) {
                float y[3] = { 0.1f, bad[b], 0.2f };

                planner_evaluate(k.p, 0, y, 5, 50, a, with);
                for (int c = 0; c < 50; c++)
                    EXPECT(with[c] == 1e6f);
            }
            free(a);
            kit_close(&k);
        }
        ensemble_free(&k.e);
    }
}

TEST(a_bfloat16_is_the_nearest_and_the_even_one_of_two)
{
    struct rng r;

    rng_seed(&r, 2);
    for (int i = 0; i < 100000; i++) {
        uint32_t u = (uint32_t)(rng_next(&r) >> 32), got;
        float    x, y;

        if (i % 3 == 0)
            u = (u & 0xffff0000) | 0x8000; /* half way */
        memcpy(&x, &u, sizeof x);
        y = lanes_round(x);
        if (isnan(x)) {
            EXPECT(isnan(y));
            continue;
        }
        memcpy(&got, &y, sizeof got);
        EXPECT((got & 0xffff) == 0);
        uint32_t down = u & 0xffff0000, up = down + 0x10000;
        float    low, high;
        memcpy(&low, &down, sizeof low);
        memcpy(&high, &up, sizeof high);
        if (isinf(high)) /* beyond the largest */
            high = copysignf(INFINITY, x);
        double below = fabs((double)x - (double)low);
        double above = isinf(high) ? 0x1p128 - fabs((double)x) : fabs((double)high - (double)x);
        EXPECT(y == (below < above || (below == above && !(down & 0x10000)) ? low : high));
    }
}

TEST(the_phases_of_a_planning_step_are_named_and_take_time)
{
    struct kit k;
    double     seconds[PLAN_PHASES];

    kit_defaults(&k, 3, 2);
    kit_model(&k, 4);
    kit_open(&k, NULL);
    struct plan_request q = kit_request(&k, 0);

    planner_phases(k.p, 0, &q, seconds);
    for (int i = 0; i < PLAN_PHASES; i++) {
        EXPECT(seconds[i] > 0);
        EXPECT(strlen(planner_phase_name((enum plan_phase)i)) > 3);
    }
    kit_free(&k);
}

TEST(the_last_layer_of_a_model_without_noise_may_skip_the_variance_but_not_the_mean)
{
    /* nx = 3: mean and variance share a panel; nx = 12: whole panels of variance can be left out. */
    for (int nx = 3; nx <= 12; nx += 9) {
        struct kit k;
        struct rng r;
        float      x[MAX_OBS] = { 0.5f }, start[MAX_MEMBERS * MAX_OBS], cost;

        rng_seed(&r, 8);
        kit_defaults(&k, nx, 1);
        k.c.propagation = PARTICLES_MEAN;
        kit_model(&k, 2);
        kit_open(&k, NULL);
        float *a = random_actions(&k, &r, 1);

        for (int i = 0; i < k.d.members * nx; i++)
            start[i] = x[i % nx];
        planner_evaluate(k.p, 0, x, 5, 1, a, &cost);
        EXPECT_NEAR(cost, kit_truth(&k, start, a), 1e-5);
        free(a);
        kit_free(&k);
    }
}

TEST(the_noise_is_standard_normal_and_depends_on_the_seed_alone)
{
    struct kit     k;
    const float   *z;
    const uint8_t *member;
    float          x[4] = { 0 }, keep[12 * 60 * 4], action[60] = { 0 }, cost;
    double         sum = 0, square = 0;

    kit_defaults(&k, 4, 1);
    k.c.horizon   = 60;
    k.c.particles = 12;
    kit_model(&k, 4);
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 5, 1, action, &cost);
    int n = planner_noise(k.p, &z, &member) * 60 * 4;
    EXPECT(n == 12 * 60 * 4);
    memcpy(keep, z, sizeof keep);
    for (int i = 0; i < n; i++) {
        sum += (double)z[i];
        square += (double)z[i] * (double)z[i];
    }
    EXPECT_NEAR(sum / n, 0, 5 / sqrt(n));
    EXPECT_NEAR(square / n, 1, 5 * sqrt(2.0 / n));

    x[0] = 1;
    planner_evaluate(k.p, 0, x, 6, 1, action, &cost);
    EXPECT(memcmp(keep, z, 1000) != 0);
    planner_evaluate(k.p, 0, x, 5, 1, action, &cost);
    EXPECT(memcmp(keep, z, sizeof keep) == 0);
    kit_free(&k);
}

TEST(ts1_gives_every_net_the_same_number_of_particles_at_every_step_and_mixes_them)
{
    struct kit     k;
    const float   *z;
    const uint8_t *member;
    float          x[2] = { 0 }, action[20] = { 0 }, cost;
    int            moved = 0;

    kit_defaults(&k, 2, 1);
    k.d.members     = 5;
    k.c.particles   = 20;
    k.c.horizon     = 20;
    k.c.propagation = PARTICLES_TS1;
    kit_model(&k, 4);
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 5, 1, action, &cost);
    planner_noise(k.p, &z, &member);
    for (int h = 0; h < 20; h++) {
        int count[5] = { 0 };

        for (int p = 0; p < 20; p++) {
            count[member[p * 20 + h]]++;
            moved += h > 0 && member[p * 20 + h] != member[p * 20 + h - 1];
        }
        for (int m = 0; m < 5; m++)
            EXPECT(count[m] == 4);
    }
    EXPECT(moved > 19 * 20 / 2); /* four fifths expected */
    kit_free(&k);
}

TEST(tsinf_keeps_every_particle_on_its_net)
{
    struct kit     k;
    const float   *z;
    const uint8_t *member;
    float          x[2] = { 0 }, action[6] = { 0 }, cost;

    kit_defaults(&k, 2, 1);
    k.c.particles = 6;
    kit_model(&k, 4);
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 5, 1, action, &cost);
    planner_noise(k.p, &z, &member);
    for (int p = 0; p < 6; p++)
        for (int h = 0; h < 6; h++)
            EXPECT(member[p * 6 + h] == p % 3);
    kit_free(&k);
}

/* Each member's own mean step from x: what delay compensation and the prediction are made of. */
static void members_step(const struct kit *k, float *start, const float *a)
{
    for (int m = 0; m < k->d.members; m++) {
        float mean[MAX_OBS], var[MAX_OBS], *x = start + m * k->d.nx;

        ensemble_predict(&k->e, m, x, a, mean, var);
        ensemble_follow(&k->d, x, mean, x);
    }
}

TEST(with_delay_every_net_starts_from_its_own_prediction_under_the_pending_action)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit  k;
        struct plan plan;
        float       start[MAX_MEMBERS * MAX_OBS];

        kit_defaults(&k, 5, 2);
        kit_model(&k, 21);
        kit_open(&k, *isa);
        struct plan_request q = kit_request(&k, 0);

        q.delayed    = true;
        q.pending[0] = 0.9f;
        q.pending[1] = -0.7f;
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        for (int i = 0; i < k.d.members * k.d.nx; i++)
            start[i] = q.x[i % k.d.nx];
        members_step(&k, start, q.pending);

        float actions[MAX_HORIZON * 2];
        for (int h = 0; h < k.c.horizon; h++)
            memcpy(actions + 2 * h, plan.action[h], 2 * sizeof *actions);
        EXPECT_NEAR(plan.cost, kit_truth(&k, start, actions), 1e-4);

        /* The prediction goes one step further, under the plan's first action. */
        double noise[5] = { 0 }, spread = 0;
        for (int m = 0; m < 3; m++) {
            float target[5], variance[5];

            ensemble_predict(&k.e, m, start + m * 5, plan.action[0], target, variance);
            for (int i = 0; i < 5; i++)
                noise[i] += (double)variance[i] / 3;
        }
        members_step(&k, start, plan.action[0]);
        for (int i = 0; i < 5; i++) {
            double mean = 0, var = 0;

            for (int m = 0; m < 3; m++)
                mean += (double)start[m * 5 + i] / 3;
            for (int m = 0; m < 3; m++)
                var += pow((double)start[m * 5 + i] - mean, 2) / 3;
            EXPECT_NEAR(plan.predicted[i], mean, 1e-5);
            double std = fmax(sqrt(noise[i] + var), 1e-3 * (double)k.e.out_std[i]);
            EXPECT_NEAR(plan.predicted_std[i], std, 1e-2 * std);
            spread += sqrt(var) / (double)k.e.out_std[i] / 5;
        }
        EXPECT_NEAR(plan.spread, spread, 1e-4);
        EXPECT(memcmp(plan.out_std, k.e.out_std, sizeof plan.out_std) == 0); /* what prediction errors are measured in */
        EXPECT(spread > 1e-3);
        kit_free(&k);
    }
}

TEST(a_large_input_mean_does_not_cancel_the_state_away)
{
    /* An observation around 1000 that varies by 0.01: folding the mean into the bias would leave no digits. */
    struct kit k;
    float      x[1] = { 1000.01f }, start[3] = { 1000.01f, 1000.01f, 1000.01f }, action[6] = { 0 }, cost;

    kit_defaults(&k, 1, 1);
    kit_model(&k, 3);
    k.e.in_mean[0]        = 1000;
    k.e.in_std[0]         = 0.01f;
    k.t.term[0].target[0] = 1000;
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 1, 1, action, &cost);
    double want = kit_truth(&k, start, action);
    EXPECT_NEAR(cost, want, 1e-2 * want);
    kit_free(&k);
}

TEST(nan_weights_make_every_cost_the_worst)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        float      x[3] = { 0 }, a[40 * 6] = { 0 }, cost[40];

        kit_defaults(&k, 3, 1);
        kit_model(&k, 3);
        k.e.weights[ensemble_params(&k.d) + 1] = NAN; /* one weight of one net */
        kit_open(&k, *isa);
        planner_evaluate(k.p, 0, x, 1, 40, a, cost);
        for (int c = 0; c < 40; c++)
            EXPECT(cost[c] == 1e6f);
        kit_free(&k);
    }
}

TEST(only_the_candidate_that_diverges_costs_the_worst)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        float      x[1] = { 0 }, a[5] = { 0, 1, -1, 0.001f, NAN }, cost[5];

        kit_defaults(&k, 1, 1);
        k.c.horizon = 1;
        kit_linear(&k, (double[]){ 0 }, (double[]){ 1e5 });
        kit_open(&k, *isa);
        planner_evaluate(k.p, 0, x, 1, 5, a, cost);
        EXPECT_NEAR(cost[0], 0, 1e-6);
        EXPECT(cost[1] == 1e6f && cost[2] == 1e6f && cost[4] == 1e6f);
        EXPECT_NEAR(cost[3], 1e4, 1);
        kit_free(&k);
    }
}

TEST(a_candidate_that_diverges_leaves_its_neighbours_alone)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        struct rng r;
        float      x[3] = { 0.1f, 0.2f, 0.3f }, cost[90], with[90];

        rng_seed(&r, 6);
        kit_defaults(&k, 3, 1);
        k.c.population = 90;
        k.c.horizon    = 3;
        k.d.hidden     = 21;
        kit_model(&k, 5);
        kit_open(&k, *isa);
        float *a = random_actions(&k, &r, 90);

        planner_evaluate(k.p, 0, x, 5, 90, a, cost);
        for (int c = 0; c < 90; c += 7)
            a[c * 3] = c % 2 ? NAN : 1e38f;
        planner_evaluate(k.p, 0, x, 5, 90, a, with);
        for (int c = 0; c < 90; c++)
            EXPECT(with[c] == (c % 7 ? cost[c] : 1e6f));
        free(a);
        kit_free(&k);
    }
}

TEST(a_bounded_cost_does_not_hide_a_state_that_diverged)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        float      x[1] = { 0 }, a[2] = { 0, 30 }, cost[2];

        kit_defaults(&k, 1, 1);
        k.c.horizon        = 1;
        k.t.term[0].form   = FORM_EXP;
        k.t.term[0].weight = -1;
        k.t.term[0].width  = 1;
        kit_linear(&k, (double[]){ 0 }, (double[]){ 3e38 });
        kit_open(&k, *isa);
        planner_evaluate(k.p, 0, x, 1, 2, a, cost);
        EXPECT_NEAR(cost[0], -1, 1e-6);
        EXPECT(cost[1] == 1e6f); /* exp(-infinity) would have been 0 */
        kit_free(&k);
    }
}

TEST(packing_one_slot_leaves_the_others_alone)
{
    struct kit k, other;
    float      x[3] = { 0.1f, 0.2f, 0.3f }, a[6] = { 0.5f, -0.5f, 1, 0, 0, 0 }, first, second, again;

    kit_defaults(&k, 3, 1);
    kit_model(&k, 3);
    kit_defaults(&other, 3, 1);
    kit_model(&other, 4);
    kit_open(&k, NULL);
    planner_evaluate(k.p, 0, x, 1, 1, a, &first);
    planner_pack(k.p, 1, &other.e);
    planner_pack(k.p, 2, &other.e);
    planner_evaluate(k.p, 1, x, 1, 1, a, &second);
    planner_evaluate(k.p, 0, x, 1, 1, a, &again);
    EXPECT(first == again);
    EXPECT(first != second);
    ensemble_free(&other.e);
    kit_free(&k);
}
