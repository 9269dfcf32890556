/* test_bench_model.c - limber bench model: its measurements on models whose truth is known, and the whole verb on a store. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/bench.h"
#include "daemon/bench_model.h"
#include "daemon/cli_json.h"
#include "daemon/cli_plot_bands.h"
#include "daemon/core_scores.h"
#include "models/model_file.h"
#include "models/store.h"
#include "models/train.h"
#include "tests/fixture.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

static char why[700];

/* ---- a world with known noise ----------------------------------------------------------------------------------- */

static const struct model_dims world_dims = { .nx = 2, .na = 1, .members = 4, .layers = 2, .hidden = 24 };
static const double            NOISE[2]   = { 0.05, 0.15 };

static void world_step(struct rng *r, const float *x, const float *a, float *y)
{
    double x0 = (double)x[0], x1 = (double)x[1], u = (double)a[0];

    y[0] = (float)(x0 + 0.3 * sin(2 * x0) - 0.2 * x1 + 0.2 * u + NOISE[0] * rng_normal(r));
    y[1] = (float)(x1 + 0.4 * x0 * x1 + 0.3 * u + NOISE[1] * rng_normal(r));
}

/* n transitions from all over the box [-1, 1]^3. */
static struct trust_rows world_rows(int n, uint64_t seed)
{
    struct trust_rows rows = { .nx = 2, .na = 1 };
    struct rng        r;

    rng_seed(&r, seed);
    for (int i = 0; i < n; i++) {
        float x[2] = { (float)kit_between(&r, -1, 1), (float)kit_between(&r, -1, 1) },
              a    = (float)kit_between(&r, -1, 1), y[2];

        world_step(&r, x, &a, y);
        trust_rows_add(&rows, x, &a, y, 1, (uint32_t)i);
    }
    return rows;
}

static void learn(const struct trust_rows *rows, struct ensemble *e)
{
    struct train_config c = { .learning_rate       = 1e-3,
                              .learning_rate_final = 1,
                              .batch               = 32,
                              .epochs              = 1,
                              .min_steps           = 3000,
                              .bootstrap           = true,
                              .standardise_targets = true,
                              .weight_decay        = { 1e-4, 2.5e-4, 5e-4 } };
    struct train_data   d = { .n = rows->n, .x = rows->x, .a = rows->a, .y = rows->y };
    struct trainer     *t = trainer_new(&world_dims, &c, 7);

    EXPECT(t && ensemble_alloc(e, &world_dims) == 0);
    ensemble_init(e, 7);
    trainer_load(t, e);
    EXPECT(trainer_fit(t, &d, NULL, NULL, NULL) >= 3000);
    trainer_export(t, e);
    trainer_free(t);
}

/* Every predicted variance times `by`: bounds and raw log-variance all move by log by. */
static void scale_variance(struct ensemble *e, double by)
{
    const struct model_dims *d      = &e->dims;
    size_t                   params = ensemble_params(d);
    float                    shift  = (float)log(by);

    for (int m = 0; m < d->members; m++)
        for (int k = 0; k < d->nx; k++)
            e->weights[(size_t)(m + 1) * params - (size_t)d->nx + (size_t)k] += shift; /* the last biases */
    for (int k = 0; k < d->nx; k++) {
        e->max_logvar[k] += shift;
        e->min_logvar[k] += shift;
    }
}

static void calibrate(const struct ensemble *e, const struct trust_rows *held, const struct trust_scale *s,
                      struct trust_calibration *together, struct trust_calibration *alone)
{
    struct trust_calibration t[MAX_OBS + 1], a[MAX_OBS + 1];

    trust_calibrate(e, held, s, t, a);
    memcpy(together, t, sizeof *t * (size_t)(held->nx + 1));
    memcpy(alone, a, sizeof *a * (size_t)(held->nx + 1));
}

TEST(a_model_of_a_process_with_known_noise_comes_out_calibrated_and_a_wrong_variance_is_noticed)
{
    struct trust_rows        seen = world_rows(3000, 1), held = world_rows(2000, 2);
    struct trust_calibration together[3], alone[3];
    struct trust_scale       s;
    struct ensemble          e = { 0 };

    learn(&seen, &e);
    trust_scale(&e, &seen, &s);
    calibrate(&e, &held, &s, together, alone);
    for (int k = 0; k < 3; k++) {
        EXPECT_NEAR(together[k].z_rms, 1, 0.15);
        EXPECT_NEAR(alone[k].z_rms, 1, 0.15);
        EXPECT(together[k].error < 0.04);
        EXPECT_NEAR(together[k].beyond, 0.0455, 0.03);
    }
    for (int k = 0; k < 2;
         k++) /* of a Gaussian with that noise, in units of the target's std: 0.5 (1 + log 2 pi) + log std */
        EXPECT_NEAR(together[k].nll, 1.4189 + log(NOISE[k] / (double)s.target[k]), 0.1);
    double right = together[2].z_rms, right_error = together[2].error, right_nll = together[2].nll;

    scale_variance(&e, 4); /* not sure enough: std doubled */
    calibrate(&e, &held, &s, together, alone);
    EXPECT_NEAR(alone[2].z_rms, 0.5 * right, 0.05);
    EXPECT_NEAR(together[2].z_rms, 0.5 * right, 0.05);
    EXPECT(together[2].cover[9] > 0.75 && together[2].error > 0.1 && together[2].error > 3 * right_error);
    EXPECT(together[2].nll > right_nll + 0.2 && together[2].beyond < 0.005);

    scale_variance(&e, 1 / 16.0); /* too sure: std halved */
    calibrate(&e, &held, &s, together, alone);
    EXPECT_NEAR(alone[2].z_rms, 2 * right, 0.15);
    EXPECT(together[2].z_rms > 1.6 && together[2].error > 0.1 && together[2].error > 3 * right_error);
    EXPECT(together[2].cover[9] < 0.35 && together[2].beyond > 0.2 && together[2].nll > right_nll + 0.4);
    ensemble_free(&e);
    trust_rows_free(&seen);
    trust_rows_free(&held);
}

/* Where there is data the nets must agree to within what the noise leaves open, about noise / sqrt(rows that a net's
 * parameters share) - some hundredths of the target's std; away from it nothing ties them, and swish nets go on in
 * straight lines, each with its own slope, so they differ by tenths at once and by more the farther out.  A margin of
 * 4 is what a threshold needs that has a factor of 2 on either side. */
TEST(nets_agree_on_what_they_have_seen_and_disagree_away_from_it)
{
    enum { N = 400 };
    struct trust_rows  seen = world_rows(1500, 3), held = world_rows(1500, 4);
    struct trust_scale s;
    struct ensemble    e = { 0 };
    double             in[N], new[N], box[N], away[N], last;

    learn(&seen, &e);
    trust_scale(&e, &seen, &s);
    trust_spread_rows(&e, &seen, N, 1, in);
    trust_spread_rows(&e, &held, N, 2, new);
    trust_spread_box(&e, &s, 2, N, 3, box);
    last = quantile(in, N, 0.5);
    EXPECT(last < 0.15);
    EXPECT(quantile(new, N, 0.5) < 1.3 * last); /* from the same region: nothing new */
    EXPECT(fabs(trust_auc(in, N, new, N) - 0.5) < 0.06);
    EXPECT(quantile(box, N, 0.5) > 2 * last); /* an eighth of that box is where the data was */
    for (double push = 2; push <= 8; push *= 2) {
        trust_spread_pushed(&e, &seen, &s, -1, push, N, 4, away);
        double now = quantile(away, N, 0.5);

        EXPECT(now > 1.3 * last);
        last = now;
    }
    EXPECT(last > 4 * quantile(in, N, 0.5));
    EXPECT(trust_auc(in, N, away, N) > 0.97);
    trust_spread_pushed(&e, &seen, &s, 1, 0, N, 1, away); /* pushed by nothing: the rows themselves */
    trust_spread_rows(&e, &seen, N, 1, in);
    EXPECT(memcmp(in, away, sizeof in) == 0);
    ensemble_free(&e);
    trust_rows_free(&seen);
    trust_rows_free(&held);
}

static double beyond(const double *value, int n, double threshold)
{
    int count = 0;

    for (int i = 0; i < n; i++)
        count += value[i] > threshold;
    return (double)count / n;
}

/* The gate `spread` as a robot has it: calibrated by 999 plans where the data was, three times the largest.  Far is one
 * input pushed by so many of its standard deviations; to be sure to trip takes more than to exceed all that was seen. */
TEST(a_calibrated_spread_gate_trips_on_what_is_far_from_the_data_and_not_near_it)
{
    enum { N = 2000 };
    struct trust_rows  seen = world_rows(1500, 3), held = world_rows(6000, 4);
    struct trust_scale s;
    struct ensemble    e   = { 0 };
    struct score_log   log = { 0 };
    double             value[N];
    static const struct {
        double push, trips, exceeds_all; /* shares */
    } far[] = { { 2, 0, 0.15 }, { 4, 0.05, 0.6 }, { 8, 0.6, 0.99 }, { 16, 0.8, 0.99 }, { 32, 0.99, 0.99 } };

    learn(&seen, &e);
    trust_scale(&e, &seen, &s);
    trust_spread_rows(&e, &held, 999, 1, value);
    for (int i = 0; i < 999; i++)
        scores_add(&log, value[i]);
    scores_close(&log);
    double threshold = scores_threshold(&log);
    trust_spread_rows(&e, &held, N, 2, value);
    EXPECT(beyond(value, N, threshold) <= 0 && beyond(value, N, threshold / SCORES_SLACK) < 0.003);
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        trust_spread_pushed(&e, &seen, &s, -1, far[i].push, N, 4, value);
        EXPECT(beyond(value, N, threshold) >= far[i].trips);
        EXPECT(beyond(value, N, threshold / SCORES_SLACK) >= far[i].exceeds_all);
    }
    ensemble_free(&e);
    trust_rows_free(&seen);
    trust_rows_free(&held);
}

/* ---- models made by hand ---------------------------------------------------------------------------------------- */

/* Nets without weights: member m predicts the same mean[m] and std[m] everywhere, for one observation. */
static void flat_model(struct ensemble *e, int members, const double *mean, const double *std)
{
    struct model_dims d = { .nx = 1, .na = 1, .members = members, .layers = 1, .hidden = 4 };

    CHECK(ensemble_alloc(e, &d) == 0);
    e->max_logvar[0] = 20;
    e->min_logvar[0] = -20;
    for (int m = 0; m < members; m++) {
        float *end = e->weights + (size_t)(m + 1) * ensemble_params(&d);

        end[-2] = (float)mean[m];
        end[-1] = (float)(2 * log(std[m]));
    }
}

static struct trust_rows flat_rows(int n, int members, const double *mean, const double *std)
{
    struct trust_rows rows = { .nx = 1, .na = 1 };
    struct rng        r;

    rng_seed(&r, 5);
    for (int i = 0; i < n; i++) {
        int   m = i % members;
        float x = (float)rng_normal(&r), a = 0, y = x + (float)(mean[m] + std[m] * rng_normal(&r));

        trust_rows_add(&rows, &x, &a, &y, 1, (uint32_t)i);
    }
    return rows;
}

TEST(targets_drawn_from_the_mixture_fit_the_nets_together_and_no_net_alone)
{
    enum { N = 20000 };
    const double             mean[] = { -1, 1.5 }, std[] = { 0.5, 0.3 };
    struct ensemble          e    = { 0 };
    struct trust_rows        rows = flat_rows(N, 2, mean, std);
    struct trust_scale       s;
    struct trust_calibration together[2], alone[2];

    flat_model(&e, 2, mean, std);
    trust_scale(&e, &rows, &s);
    EXPECT_NEAR(s.target[0], sqrt(1.25 * 1.25 + 0.5 * (0.25 + 0.09)), 0.02);
    calibrate(&e, &rows, &s, together, alone);
    for (int i = 0; i < TRUST_LEVELS; i++) /* four std of a binomial */
        EXPECT_NEAR(together[1].cover[i], trust_level(i), 4 * sqrt(trust_level(i) * (1 - trust_level(i)) / N));
    EXPECT_NEAR(together[1].z_rms, 1, 0.02);
    /* hardly overlapping: the entropy is that of the halves, and log 2 for which */
    EXPECT_NEAR(together[1].nll, log(2) + 1.41894 + 0.5 * log(0.5 * 0.3) - log((double)s.target[0]), 0.02);
    EXPECT(together[1].n == N && alone[1].n == 2 * N);
    EXPECT(alone[1].z_rms > 3 && alone[1].error > 0.15 && alone[1].nll > together[1].nll + 1);
    EXPECT(together[0].n == N && together[0].z_rms == together[1].z_rms);
    ensemble_free(&e);
    trust_rows_free(&rows);
}

TEST(bands_hold_nine_tenths_and_a_half_of_new_draws_for_any_number_of_particles)
{
    struct rng r;

    rng_seed(&r, 3);
    for (int n = 20; n <= 100; n += 40) {
        int inside = 0, middle = 0, rounds = 20000;

        for (int i = 0; i < rounds; i++) {
            float  v[100], mean, band[TRUST_BANDS], truth = (float)rng_normal(&r);
            double sum = 0;

            for (int p = 0; p < n; p++)
                sum += (double)(v[p] = (float)rng_normal(&r));
            trust_bands(v, n, &mean, band);
            EXPECT_NEAR(mean, sum / n, 1e-5);
            inside += band[0] <= truth && truth <= band[3];
            middle += band[1] <= truth && truth <= band[2];
        }
        EXPECT_NEAR((double)inside / rounds, 0.9, 0.01);
        EXPECT_NEAR((double)middle / rounds, 0.5, 0.015);
    }
}

TEST(what_the_model_itself_does_is_covered_as_promised_over_many_steps)
{
    enum { STEPS = 12, PARTICLES = 60, WINDOWS = 120 };
    struct kit         k;
    struct trust_open  o;
    struct trust_scale s = { 0 };
    static float       cloud[STEPS * 3 * PARTICLES], truth[STEPS * 3];
    double             inside = 0, first = 0, last = 0;

    kit_defaults(&k, 3, 2);
    kit_model(&k, 4);
    for (int i = 0; i < 3; i++)
        s.state[i] = 1;
    trust_open_init(&o, 3, STEPS, PARTICLES);
    for (int w = 0; w < WINDOWS; w++) {
        struct rng r;
        float      x[3], act[STEPS * 2], now[3], z[3];

        rng_seed(&r, (uint64_t)w);
        for (int i = 0; i < 3; i++)
            now[i] = x[i] = (float)rng_normal(&r);
        for (int i = 0; i < STEPS * 2; i++)
            act[i] = (float)kit_between(&r, -1, 1);
        for (int h = 0; h < STEPS; h++) { /* plain: one more particle */
            float mean[3], var[3];

            for (int i = 0; i < 3; i++)
                z[i] = (float)rng_normal(&r);
            ensemble_predict(&k.e, w % 3, now, act + 2 * h, mean, var);
            for (int i = 0; i < 3; i++)
                truth[h * 3 + i] = now[i] += mean[i] + sqrtf(var[i]) * z[i];
        }
        EXPECT(trust_roll(&k.e, x, act, STEPS, PARTICLES, 1000 + (uint64_t)w, cloud) == 0);
        trust_open_add(&o, x, cloud, truth, &s);
    }
    for (int i = 0; i < STEPS * 3; i++)
        inside += o.inside[i] / (WINDOWS * STEPS * 3);
    for (int i = 0; i < 3; i++) {
        first += o.square[i];
        last += o.square[(STEPS - 1) * 3 + i];
    }
    EXPECT(o.windows == WINDOWS);
    EXPECT_NEAR(inside, 0.9, 0.03);
    EXPECT(last > first);
    trust_open_free(&o);
    ensemble_free(&k.e);
}

TEST(a_particle_keeps_its_net_and_one_that_leaves_the_numbers_is_counted_and_stays_finite)
{
    const double    mean[] = { 1, -2, 1e9 }, std[] = { 1e-4, 1e-4, 1e-4 };
    struct ensemble e = { 0 };
    float           x = 0, act[3] = { 0 }, cloud[3 * 6];

    flat_model(&e, 3, mean, std);
    EXPECT(trust_roll(&e, &x, act, 3, 6, 1, cloud) == 2);
    for (int h = 0; h < 3; h++)
        for (int p = 0; p < 6; p++) {
            if (p % 3 < 2)
                EXPECT_NEAR(cloud[h * 6 + p], (h + 1) * mean[p % 3], 1e-2);
            else
                EXPECT(cloud[h * 6 + p] == 1e9f);
        }
    e.weights[2 * ensemble_params(&e.dims) - 2] = NAN;
    EXPECT(trust_roll(&e, &x, act, 3, 6, 1, cloud) == 4);
    for (int i = 0; i < 3 * 6; i++)
        EXPECT(isfinite(cloud[i]));
    ensemble_free(&e);
}

TEST(a_step_leads_where_its_target_says_whatever_kind_the_targets_are)
{
    struct kit        k;
    struct trust_rows rows = { .nx = 5, .na = 2 };
    double            still[50], pushed[50];

    kit_defaults(&k, 5, 2);
    k.d.input[0] = k.d.input[1] = INPUT_NONE;
    k.d.target[0]               = TARGET_AHEAD;
    k.d.target[1]               = TARGET_ASIDE;
    k.d.heading                 = 2;
    k.d.target[3]               = TARGET_ABSOLUTE;
    kit_model(&k, 2);
    for (uint64_t i = 0; i < 50; i++) {
        struct rng r;
        float      x[5], a[2], next[5], target[5], mean[5], var[5], z[5] = { 0, 0, 0, 0, 2 };

        rng_seed(&r, i);
        for (int j = 0; j < 5; j++)
            x[j] = (float)kit_between(&r, -3, 3);
        for (int j = 0; j < 2; j++)
            a[j] = (float)kit_between(&r, -1, 1);
        trust_predict(&k.e, 1, x, a, mean, var);
        trust_next(&k.e, 1, x, a, z, next);
        EXPECT_NEAR(next[3], mean[3], 1e-5);
        EXPECT_NEAR(next[4], x[4] + mean[4] + 2 * sqrtf(var[4]), 1e-5);
        trust_target(&k.e, x, next, target);
        for (int j = 0; j < 4; j++)
            EXPECT_NEAR(target[j], mean[j], 1e-5);
        trust_rows_add(&rows, x, a, next, 1, (uint32_t)i);
        trust_next(&k.e, 1, x, a, z, x); /* in place */
        EXPECT(memcmp(x, next, sizeof x) == 0);
    }
    struct trust_scale s;
    trust_scale(&k.e, &rows, &s);
    trust_spread_rows(&k.e, &rows, 50, 1, still);
    trust_spread_pushed(&k.e, &rows, &s, 1, 8, 50, 1, pushed); /* no input: nobody sees it */
    EXPECT(memcmp(still, pushed, sizeof still) == 0);
    trust_spread_pushed(&k.e, &rows, &s, -1, 8, 50, 1, pushed); /* so it is not among "any" */
    for (int i = 0; i < 50; i++)
        EXPECT(still[i] != pushed[i]);
    trust_rows_free(&rows);
    ensemble_free(&k.e);
}

TEST(spread_is_what_the_gate_compares_with_its_threshold)
{
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct kit          k;
        static struct plan  plan;
        struct plan_request q;

        kit_defaults(&k, 4, 2);
        kit_model(&k, seed);
        kit_open(&k, NULL);
        q = kit_request(&k, 0);
        planner_step(k.p, 0, &q, NULL, NULL, &plan);
        EXPECT(plan.spread > 1e-3);
        EXPECT_NEAR(trust_spread(&k.e, q.x, plan.action[0]), plan.spread, 1e-4);
        kit_free(&k);
    }
}

TEST(auc_is_the_probability_that_away_is_above_seen)
{
    const double low[] = { 1, 2, 3 }, high[] = { 4, 5 }, mixed[] = { 2, 0 };

    EXPECT_NEAR(trust_auc(low, 3, high, 2), 1, 1e-12);
    EXPECT_NEAR(trust_auc(high, 2, low, 3), 0, 1e-12);
    EXPECT_NEAR(trust_auc(low, 3, low, 3), 0.5, 1e-12);
    EXPECT_NEAR(trust_auc(low, 3, mixed, 2), (1 + 0.5) / 6, 1e-12);
}

TEST(an_observation_that_never_changes_is_left_out_of_every_mean)
{
    struct trust_rows        rows = { .nx = 2, .na = 1 };
    struct model_dims        d    = { .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 4 };
    struct trust_calibration t[3], a[3];
    struct trust_scale       s;
    struct ensemble          e = { 0 };
    struct rng               r;

    rng_seed(&r, 1);
    for (uint32_t i = 0; i < 50; i++) {
        float x[2] = { (float)rng_normal(&r), 3 }, u = 0, y[2] = { x[0] + (float)rng_normal(&r), 3 };

        trust_rows_add(&rows, x, &u, y, 1, i < 20 ? i : i + 1);
    }
    EXPECT(ensemble_alloc(&e, &d) == 0);
    ensemble_init(&e, 1);
    trust_scale(&e, &rows, &s);
    EXPECT(!s.constant[0] && s.constant[1]);
    calibrate(&e, &rows, &s, t, a);
    EXPECT(t[0].n == 50 && t[1].n == 0 && t[2].n == 50 && isfinite(t[2].nll) && isfinite(t[2].error));
    EXPECT(trust_rows_follow(&rows, 18) && !trust_rows_follow(&rows, 19)); /* a step is missing between them */
    ensemble_free(&e);
    trust_rows_free(&rows);
}

/* ---- from end to end -------------------------------------------------------------------------------------------- */

static struct robot_config config;

/* A run of the cart-pole: 4 trials of 30 steps of something like a cart-pole, models 1 .. 3 made after the first three. */
static void make_run(const char *dir)
{
    struct store_schema schema;
    struct rng          r;
    char                path[400];

    EXPECT(config_load("robots/cartpole/robot.yaml", &config, why, sizeof why) == 0);
    config_store_schema(&config, &schema);
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/models", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/experience.db", dir);
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    EXPECT(s && store_begin(s) == 0);
    rng_seed(&r, 1);
    for (uint32_t trial = 0; trial < 4; trial++) {
        struct trial_row row  = { .number = trial, .status = "finished" };
        float            x[4] = { 0 };

        snprintf(row.kind, sizeof row.kind, "%s", trial ? "planned" : "random");
        EXPECT(store_trial_begin(s, &row) == 0);
        for (uint32_t i = 0; i < 30; i++) {
            struct transition t = { .trial = trial, .step = i < 25 || trial < 3 ? i : i + 1, .model_version = trial };

            memcpy(t.x, x, sizeof x);
            t.a[0] = (float)kit_between(&r, -3, 3);
            x[0] += 0.04f * x[2];
            x[1] += 0.04f * x[3];
            x[2] += 0.3f * t.a[0] - 0.1f * x[2] + 0.01f * (float)rng_normal(&r);
            x[3] += -0.4f * t.a[0] * cosf(x[1]) - 0.3f * sinf(x[1]);
            memcpy(t.y, x, sizeof x);
            EXPECT(store_transition(s, row.id, &t) == 0);
        }
        if (trial < 3) {
            struct model_row model = { .version = trial + 1, .trial_id = row.id, .status = "published" };
            struct ensemble  e     = { 0 };

            snprintf(model.file, sizeof model.file, "model-%u.model", trial + 1);
            snprintf(path, sizeof path, "%s/models/%s", dir, model.file);
            EXPECT(ensemble_alloc(&e, &config.model) == 0);
            ensemble_init(&e, trial);
            e.version = model.version;
            EXPECT(model_file_save(path, &e, config.robot) == 0 && store_model(s, &model) == 0);
            ensemble_free(&e);
        }
    }
    EXPECT(store_commit(s) == 0);
    store_close(s);
}

static int run_quietly(int (*verb)(int, char **), const char *const *argv, char *said, size_t n)
{
    FILE *was = stdout, *was_err = stderr;
    int   argc = 0;

    while (argv[argc])
        argc++;
    memset(said, 0, n);
    stdout = fopen("/dev/null", "we");
    stderr = fmemopen(said, n, "w");
    int rc = verb(argc, (char **)argv);
    fclose(stdout);
    fclose(stderr);
    stdout = was;
    stderr = was_err;
    return rc;
}

static json_t *report_of(const char *const *argv)
{
    char         path[400], said[2000];
    json_error_t error;

    EXPECT(run_quietly(bench_trust, argv, said, sizeof said) == 0);
    snprintf(path, sizeof path, "%s/out/model-cartpole.json", test_dir());
    json_t *r = json_load_file(path, 0, &error);
    EXPECT(r != NULL);
    return r;
}

static bool is_png(const char *path)
{
    char  magic[8] = { 0 };
    FILE *f        = fopen(path, "re");
    bool  png      = f && fread(magic, 1, 8, f) == 8 && memcmp(magic, "\x89PNG", 4) == 0;

    if (f)
        fclose(f);
    return png;
}

TEST(a_model_is_judged_on_trials_that_are_newer_than_it)
{
    char        run[300], out[300], png[400];
    const char *argv[] = { "model",       "--config",  "robots/cartpole/robot.yaml",
                           "--run",       run,         "--out",
                           out,           "--windows", "5",
                           "--particles", "20",        "--holdout",
                           "2",           NULL };

    snprintf(run, sizeof run, "%s/run", test_dir());
    snprintf(out, sizeof out, "%s/out", test_dir());
    make_run(run);
    json_t *r = report_of(argv);

    EXPECT(js_int(r, "model.version") == 2 && !js_true(r, "model.trained_here") &&
           js_int(r, "model.transitions") == 60);
    EXPECT(js_int(r, "held_out.transitions") == 60 && json_array_size(js_at(r, "held_out.trials")) == 2);
    EXPECT(json_integer_value(json_array_get(js_at(r, "held_out.trials"), 0)) == 2);
    EXPECT(js_int(r, "open_loop_of.steps") == 30); /* as many as a trial has; the last one has a hole */
    EXPECT(js_int(r, "open_loop_of.windows") == 1 && js_num(r, "open_loop.rmse.10") > 0);
    EXPECT(json_is_null(js_at(r, "open_loop.rmse.50")));
    EXPECT(json_array_size(js_at(r, "elements")) == 4 &&
           json_array_size(js_at(r, "calibration.together.coverage")) == 19);
    EXPECT(js_int(r, "calibration.together.n") == 240 &&
           js_int(r, "calibration.alone.n") == 240 * config.model.members);
    EXPECT(json_array_size(js_at(r, "spread.pushed")) == 5);
    EXPECT(js_num(r, "spread.auc_away") >= 0 && js_num(r, "spread.auc_away") <= 1);
    json_decref(r);
    for (int i = 0; i < 3; i++) {
        snprintf(png, sizeof png, "%s/model-cartpole-%s.png", out,
                 i == 0   ? "bands"
                 : i == 1 ? "calibration"
                          : "spread");
        EXPECT(is_png(png));
    }

    /* Nothing is older than trial 0 but what is trained here; and a model so trained beats one that never was. */
    argv[11] = "--train";
    argv[12] = NULL;
    r        = report_of(argv);
    EXPECT(js_true(r, "model.trained_here") && js_int(r, "model.transitions") == 60);
    EXPECT(js_num(r, "open_loop.rmse.1") < 0.2 &&
           js_num(r, "open_loop.rmse.1") < js_num(r, "open_loop.rmse_if_nothing_moved.1"));
    json_decref(r);
}

TEST(a_model_that_has_met_the_trials_held_out_is_refused_and_so_is_what_makes_no_sense)
{
    char run[300], model[400], said[2000];

    snprintf(run, sizeof run, "%s/run2", test_dir());
    snprintf(model, sizeof model, "%s/models/model-3.model", run);
    make_run(run);
    const struct {
        const char *argv[10];
        int         code;
        const char *part;
    } wrong[] = {
        { { "model", "--config", "robots/cartpole/robot.yaml", "--run", run, "--model", model },
          1,
          "was trained on a trial that is to be held out" },
        { { "model", "--config", "robots/cartpole/robot.yaml", "--run", run, "--holdout", "4" },
          1,
          "leaves nothing to learn from" },
        { { "model", "--config", "robots/cartpole/robot.yaml", "--run", "nowhere" }, 1, "nowhere" },
        { { "model", "--config", "robots/cartpole/robot.yaml" }, 64, "--run" },
        { { "model", "--run", run }, 64, "--config" },
        { { "model", "--config", "robots/cartpole/robot.yaml", "--run", run, "--model", model, "--train" },
          64,
          "exclude" },
        { { "model", "--config", "robots/reacher/robot.yaml", "--run", run }, 1, "cartpole" },
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        EXPECT(run_quietly(bench_trust, wrong[i].argv, said, sizeof said) == wrong[i].code);
        EXPECT_STR(said, wrong[i].part);
    }
}

TEST(the_amounts_of_random_data_must_be_numbers)
{
    static const char *const wrong[] = { "0", "1,", "1,x", "1 2", "1,2,3,4,5,6,7,8,9", "-3", "5000" };
    char                     said[2000];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *argv[] = { "data", "--random", wrong[i], NULL };

        EXPECT(run_quietly(bench_data, argv, said, sizeof said) == 64);
        EXPECT_STR(said, "expected up to 8 numbers");
    }
}

TEST(runs_with_and_without_learning_on_start_alike_and_are_reported_side_by_side)
{
    static const char *const edits[] = { "steps: 200", "steps: 20", "recipe: steps",
                                         "recipe: steps\n  epochs: 2\n  min_steps: 50", NULL };
    struct fixture           f;
    char                     command[1200], path[400];
    json_error_t             error;
    size_t                   i;
    json_t                  *run;

    fixture_init(&f, edits);
    snprintf(command, sizeof command,
             "%s/limber bench data --config %s --random 2 --trials 1 --seeds 1 --out %s/d >/dev/null 2>&1",
             test_build_dir(), f.config, test_dir());
    EXPECT(system(command) == 0);
    snprintf(path, sizeof path, "%s/d/data-cartpole.json", test_dir());
    json_t *r = json_load_file(path, 0, &error);
    EXPECT(json_array_size(js_at(r, "runs")) == 2 && json_array_size(js_at(r, "medians")) == 2);
    double first[2] = { 0, 1 };
    json_array_foreach(js_at(r, "runs"), i, run)
    {
        EXPECT(js_int(run, "random_trials") == 2 && json_array_size(js_at(run, "returns")) == 1);
        first[i] = json_number_value(json_array_get(js_at(run, "returns"), 0));
    }
    EXPECT(first[0] == first[1]); /* the same seed, the same random trials, the same first model */
    json_decref(r);
    snprintf(path, sizeof path, "%s/d/data-cartpole.png", test_dir());
    EXPECT(is_png(path));

    /* Such a run has all that bench model needs. */
    snprintf(command, sizeof command,
             "%s/limber bench model --run %s/d/*-s1-r2-on --holdout 1 --steps 5 --out %s/m >/dev/null",
             test_build_dir(), test_dir(), test_dir());
    EXPECT(system(command) == 0);
    snprintf(path, sizeof path, "%s/m/model-cartpole-bands.png", test_dir());
    EXPECT(is_png(path));
}

TEST(pictures_are_drawn_whatever_the_numbers)
{
    const float              v[3] = { 1, NAN, 3 }, inf[3] = { -INFINITY, 0, INFINITY }, same[3] = { 0 };
    const double             nan[2] = { (double)NAN, (double)NAN }, level[2] = { 0.3, 0.6 };
    char                     png[300];
    struct band_panel        band[5];
    struct reliability_panel rel[2]  = { { .name = "a", .together = nan, .alone = level },
                                         { .name = "b", .together = level, .alone = nan } };
    struct spread_set        set[1]  = { { .name = "s", .q = { 0, 0, 0, 0, 0 } } };
    struct spread_line       line[1] = { { .name = "l", .median = { 0, 1, (double)NAN } } };
    struct return_line       ret[2]  = { { .label = "r", .n = 2, .y = { 1, (double)NAN } }, { .label = "none" } };
    struct spread_plot       spread  = {
               .title = "t", .note = "n", .set = set, .sets = 1, .pushes = 3, .push = { 0, 1, 2 }, .line = line, .lines = 1
    };

    for (int i = 0; i < 5; i++)
        band[i] = (struct band_panel){ "x", i ? v : same, i == 2 ? inf : same, { v, same, same, i == 3 ? inf : v } };
    snprintf(png, sizeof png, "%s/p.png", test_dir());
    EXPECT(plot_bands(png, &(struct band_plot){ "t", "n", "s", 0.1, 3, band, 5 }, why, sizeof why) == 0 && is_png(png));
    EXPECT(plot_bands(png, &(struct band_plot){ "t", "n", "s", 0.1, 1, band, 0 }, why, sizeof why) == 0);
    EXPECT(plot_reliability(png, &(struct reliability_plot){ "t", "n", level, 2, rel, 2 }, why, sizeof why) == 0 &&
           is_png(png));
    EXPECT(plot_spread(png, &spread, why, sizeof why) == 0 && is_png(png));
    EXPECT(plot_returns(png, "t", "n", ret, 2, why, sizeof why) == 0 && is_png(png));
    EXPECT(plot_returns("/nowhere/p.png", "t", "n", ret, 0, why, sizeof why) == -1);
    EXPECT_STR(why, "cannot write /nowhere/p.png");
}
