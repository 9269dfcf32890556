/* Claims about models/train.c: what its options do, those of the loss apart (test_train_loss.c). */
#include <string.h>

#include "tests/train_kit.h"

/* ---- early stop and elites ---- */

/* Targets that are nothing but noise: whatever is learned by heart makes the rows held out worse. */
static void noise_only(struct pendulum_data *d, int n, uint64_t seed)
{
    struct rng r;

    rng_seed(&r, seed);
    d->n = n;
    for (int i = 0; i < 2 * n; i++) {
        d->x[i] = (float)rng_normal(&r);
        d->y[i] = d->x[i] + (float)rng_normal(&r);
    }
    for (int i = 0; i < n; i++)
        d->a[i] = (float)rng_normal(&r);
}

/* Mean squared error, in units of the targets' std, on data it has not seen; and the steps taken. */
static double unseen_error(const struct train_config *c, int *steps)
{
    static struct pendulum_data d, fresh;
    struct trainer             *t = trainer_new(&pendulum_dims, c, 1);
    struct ensemble             e;
    double                      rmse, nll;

    noise_only(&d, 150, 3);
    noise_only(&fresh, 300, 4);
    struct train_data view = pendulum_view(&d);
    EXPECT(ensemble_alloc(&e, &pendulum_dims) == 0);
    *steps = trainer_fit(t, &view, NULL, NULL, NULL);
    trainer_export(t, &e);
    ensemble_score(&e, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &rmse, &nll);
    ensemble_free(&e);
    trainer_free(t);
    return rmse;
}

TEST(holding_out_rows_keeps_noise_from_being_learned_and_patience_saves_the_time)
{
    struct train_config c = pendulum_recipe(1500);
    int                 all, kept, early;
    double              plain = unseen_error(&c, &all);

    c.holdout          = 0.2;
    double best        = unseen_error(&c, &kept);
    c.patience         = 5;
    double early_error = unseen_error(&c, &early);

    EXPECT(plain > 1.08); /* 1: predicting the mean */
    EXPECT(best < 1.03 && early_error < 1.03);
    EXPECT(kept >= 1500 && early < 400 && early % 4 == 0); /* 120 rows are 4 batches */
}

TEST(held_out_rows_are_the_same_for_all_nets_and_drawn_anew_by_every_training)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(30);

    c.holdout         = 0.3;
    struct trainer *t = trainer_new(&pendulum_dims, &c, 1), *other = trainer_new(&pendulum_dims, &c, 1);
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    int               first[30];
    for (int fit = 0; fit < 2; fit++) {
        bool held[100] = { false };
        int  again     = 0;

        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0 && trainer_fit(other, &view, NULL, NULL, NULL) > 0);
        EXPECT(t->nheld == 30 && t->nkept == 70);
        EXPECT(memcmp(t->rows, other->rows, 100 * sizeof *t->rows) == 0);
        for (int i = 0; i < 30; i++)
            held[t->rows[70 + i]] = true;
        for (int i = 0; i < 70; i++)
            EXPECT(!held[t->rows[i]]);
        for (int i = 0; i < 3 * 70; i++)
            EXPECT(!held[t->order[i]]);
        for (int i = 0; i < 30; i++) {
            again += fit && held[first[i]];
            first[i] = t->rows[70 + i];
        }
        EXPECT(again < 20); /* 9 by chance */
    }
    trainer_free(t);
    trainer_free(other);
}

static double held_out_error_of(const struct ensemble *e, int member, const struct trainer *t,
                                const struct pendulum_data *d)
{
    double sum = 0;

    for (int i = 0; i < t->nheld; i++) {
        int   row = t->rows[t->nkept + i];
        float mean[2], var[2];

        ensemble_predict(e, member, d->x + 2 * row, d->a + row, mean, var);
        for (int k = 0; k < 2; k++) {
            double by = (double)((d->y[2 * row + k] - d->x[2 * row + k] - mean[k]) / e->out_std[k]);

            sum += by * by;
        }
    }
    return sum / (2.0 * t->nheld);
}

TEST(of_more_nets_the_best_by_score_are_exported_in_order)
{
    static struct pendulum_data d;
    struct model_dims           one = pendulum_dims, all = pendulum_dims;
    struct train_config         c = pendulum_recipe(120);
    struct ensemble             best, e, e2;
    double                      want = 1e9;

    one.members = 2;
    all.members = 6;
    c.holdout   = 0.25;
    pendulum_collect(&d, 120, 3);
    struct train_data view = pendulum_view(&d);
    c.train_members        = 6;
    struct trainer *t      = trainer_new(&one, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    EXPECT(ensemble_alloc(&best, &one) == 0 && ensemble_alloc(&e, &all) == 0 && ensemble_alloc(&e2, &one) == 0);
    trainer_export(t, &best);
    struct trainer *six = trainer_new(&all, &c, 1); /* the same nets, all exported */
    EXPECT(trainer_fit(six, &view, NULL, NULL, NULL) > 0);
    trainer_export(six, &e);
    int first = -1, second = -1;
    for (int m = 0; m < 6; m++) {
        double score = held_out_error_of(&e, m, t, &d);

        EXPECT_NEAR(t->score[m], score, 1e-4 * score);
        if (score < want)
            want = score, first = m;
    }
    want = 1e9;
    for (int m = 0; m < 6; m++)
        if (m != first && t->score[m] < want)
            want = t->score[m], second = m;
    size_t params = ensemble_params(&one);
    int    at[2]  = { first < second ? first : second, first < second ? second : first };
    for (size_t i = 0; i < 2; i++)
        EXPECT(memcmp(best.weights + i * params, e.weights + (size_t)at[i] * params, params * sizeof(float)) == 0);

    /* A warm start goes on with all six; a load brings back two and starts the others fresh. */
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0 && trainer_fit(six, &view, NULL, NULL, NULL) > 0);
    EXPECT(memcmp(t->w, six->w, 6 * t->params * sizeof(float)) == 0);
    trainer_load(t, &best);
    trainer_export(t, &e2);
    EXPECT(memcmp(e2.weights, best.weights, weight_bytes(&one)) == 0);
    for (size_t m = 2; m < 6; m++)
        EXPECT(memcmp(t->w + m * t->params, six->w + m * t->params, t->params * sizeof(float)) != 0);
    ensemble_free(&best);
    ensemble_free(&e);
    ensemble_free(&e2);
    trainer_free(t);
    trainer_free(six);
}

/* ---- long runs ---- */

TEST(max_steps_ends_a_training_even_within_an_epoch)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(200);
    double                      loss;

    c.max_steps = 103;
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &loss) == 103 && isfinite(loss));
    trainer_free(t);
    c.max_steps = 3; /* not even one epoch */
    t           = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, &loss) == 3 && isfinite(loss));
    trainer_free(t);
}

/* Mean change of a weight by so many trainings.  Adam's steps are about as long as the rate. */
static double distance(double final, int fits)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(50);
    struct ensemble             before, after;
    double                      far = 0;

    c.batch               = 100;
    c.learning_rate       = 1e-5; /* too short for the gradient to change on the way */
    c.bootstrap           = false;
    c.learning_rate_final = final;
    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(ensemble_alloc(&before, &pendulum_dims) == 0 && ensemble_alloc(&after, &pendulum_dims) == 0);
    trainer_export(t, &before);
    for (int i = 0; i < fits; i++)
        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) == 50);
    trainer_export(t, &after);
    for (size_t i = 0; i < weight_bytes(&pendulum_dims) / sizeof(float); i++)
        far += fabs((double)(after.weights[i] - before.weights[i])) /
               (double)(weight_bytes(&pendulum_dims) / sizeof(float));
    ensemble_free(&before);
    ensemble_free(&after);
    trainer_free(t);
    return far;
}

TEST(the_learning_rate_falls_linearly_within_every_training)
{
    double constant = distance(1, 1);

    EXPECT_NEAR(constant, 50e-5, 5e-5);
    EXPECT_NEAR(distance(0, 1) / constant, 25.5 / 50, 0.03); /* 1, 0.98, ..., 0.02 */
    EXPECT_NEAR(distance(0.5, 1) / constant, 37.75 / 50, 0.03);
    EXPECT_NEAR(distance(0, 2) / constant, 51.0 / 50, 0.1);
}

/* ---- noise on inputs ---- */

TEST(input_noise_is_gaussian_has_its_share_of_each_std_and_spares_constant_inputs)
{
    static struct pendulum_data d;
    struct train_config         c       = pendulum_recipe(1);
    double                      mean[4] = { 0 }, square[4] = { 0 };
    int                         rows[32], count            = 0;

    c.input_noise = 0.25;
    pendulum_collect(&d, 100, 3);
    for (int i = 0; i < d.n; i++)
        d.a[i] = 0.5f;
    struct train_data view = pendulum_view(&d);
    struct trainer   *t    = trainer_new(&pendulum_dims, &c, 1);
    EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
    for (int i = 0; i < 32; i++)
        rows[i] = i;
    for (int round = 0; round < 200; round++) {
        trainer_gather(t, rows, 32);
        trainer_add_noise(t, 32);
        for (int b = 0; b < 32; b++, count++)
            for (int i = 0; i < 4; i++) {
                size_t at = ((size_t)(b / t->k->tile) * kernels_wide(4) + (size_t)i) * (size_t)t->k->tile +
                            (size_t)(b % t->k->tile);
                double by = (double)(t->h[0][at] - t->in_all[4 * b + i]);

                mean[i] += by;
                square[i] += by * by;
            }
    }
    for (int i = 0; i < 3; i++) { /* standardised inputs: their std is 1 */
        EXPECT_NEAR(mean[i] / count, 0, 0.02);
        EXPECT_NEAR(sqrt(square[i] / count), 0.25, 0.01);
    }
    EXPECT(square[3] == 0);
    trainer_free(t);
}

TEST(input_noise_keeps_a_handful_of_points_from_being_learned_by_heart)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(1000);
    double                      rmse[2], nll;

    c.bootstrap = false;
    pendulum_collect(&d, 8, 3);
    struct train_data view = pendulum_view(&d);
    for (int i = 0; i < 2; i++) {
        c.input_noise     = i ? 0.3 : 0;
        struct ensemble e = fitted(&pendulum_dims, &c, &view, 1);

        ensemble_score(&e, d.n, d.x, d.a, d.y, NULL, &rmse[i], &nll);
        ensemble_free(&e);
    }
    EXPECT(rmse[0] < 0.05 && rmse[1] > 3 * rmse[0]);
}

/* ---- newer rows first ---- */

TEST(a_share_of_every_batch_comes_from_the_newest_rows_and_the_rest_from_everywhere)
{
    static struct pendulum_data d;
    struct train_config         c      = pendulum_recipe(1);
    double                      newest = 0, rest = 0;
    int                         drawn = 0;

    c.recent  = 0.25;
    c.holdout = 0.1;
    pendulum_collect(&d, 320, 3);
    struct train_data view = pendulum_view(&d);
    view.nrecent           = 40;
    struct trainer *t      = trainer_new(&pendulum_dims, &c, 1);
    for (int fit = 0; fit < 20; fit++) {
        EXPECT(trainer_fit(t, &view, NULL, NULL, NULL) > 0);
        for (int m = 0; m < 3; m++)
            for (int from = 0; from < 288; from += 32, drawn++) {
                const int *rows = trainer_draw(t, m, from, 32);

                for (int i = 0; i < 32; i++) {
                    if (i < 8)
                        newest += rows[i] >= 280;
                    else
                        rest += rows[i] >= 280;
                    for (int h = 0; h < t->nheld; h++)
                        EXPECT(rows[i] != t->rows[t->nkept + h]);
                }
            }
    }
    EXPECT(newest == 8.0 * drawn);
    EXPECT_NEAR(rest / (24.0 * drawn), 0.125, 0.02);
    EXPECT(trainer_draw(t, 0, 0, 6) && t->batch[0] >= 280 && t->batch[1] >= 280); /* a short batch has its share too */
    trainer_free(t);
}

TEST(where_nobody_knows_the_newest_rows_all_count_the_same)
{
    static struct pendulum_data d;
    struct train_config         c = pendulum_recipe(60);

    pendulum_collect(&d, 100, 3);
    struct train_data view = pendulum_view(&d);
    struct ensemble   a    = fitted(&pendulum_dims, &c, &view, 1);
    c.recent               = 0.5;
    struct ensemble b      = fitted(&pendulum_dims, &c, &view, 1);
    view.nrecent           = 20;
    struct ensemble other  = fitted(&pendulum_dims, &c, &view, 1);
    EXPECT(memcmp(a.weights, b.weights, weight_bytes(&pendulum_dims)) == 0);
    EXPECT(memcmp(a.weights, other.weights, weight_bytes(&pendulum_dims)) != 0);
    ensemble_free(&a);
    ensemble_free(&b);
    ensemble_free(&other);
}

/* ---- spectral norm ---- */

/* Largest singular value of a layer of one member. */
static double singular_value(const struct ensemble *e, int member, int layer)
{
    const float *w = e->weights + (size_t)member * ensemble_params(&e->dims);
    double       v[64], u[64], length = 1;
    int          in, out;

    for (int l = 0; l < layer; l++) {
        ensemble_layer(&e->dims, l, &in, &out);
        w += in * out + out;
    }
    ensemble_layer(&e->dims, layer, &in, &out);
    for (int i = 0; i < in; i++)
        v[i] = cos(i + 1.0);
    for (int round = 0; round < 300; round++) {
        double s = 0;

        for (int o = 0; o < out; o++) {
            u[o] = 0;
            for (int i = 0; i < in; i++)
                u[o] += (double)w[o * in + i] * v[i];
        }
        for (int i = 0; i < in; i++) {
            v[i] = 0;
            for (int o = 0; o < out; o++)
                v[i] += (double)w[o * in + i] * u[o];
            s += v[i] * v[i];
        }
        length = sqrt(s);
        for (int i = 0; i < in; i++)
            v[i] /= length;
    }
    return sqrt(length);
}

TEST(no_layer_stretches_more_than_its_cap)
{
    static struct pendulum_data d;
    struct train_config         c      = pendulum_recipe(600);
    double                      most[] = { 0, 0 };

    pendulum_collect(&d, 200, 3);
    struct train_data view = pendulum_view(&d);
    for (int i = 0; i < 2; i++) {
        c.spectral_norm   = i ? 0.8 : 0;
        struct ensemble e = fitted(&pendulum_dims, &c, &view, 1);

        for (int m = 0; m < 3; m++)
            for (int l = 0; l <= 2; l++)
                most[i] = fmax(most[i], singular_value(&e, m, l));
        ensemble_free(&e);
    }
    EXPECT(most[0] > 1.2);
    EXPECT(most[1] < 0.84 && most[1] > 0.76);
}
