/* test_bench_trained.c - benchmarks on trained models: their statistics against plain formulas, and both from end to end
 * on a small store. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/bench.h"
#include "daemon/bench_trained.h"
#include "daemon/cli_json.h"
#include "daemon/cli_plot.h"
#include "daemon/rt/rng.h"
#include "models/model_file.h"
#include "models/store.h"
#include "tests/test.h"

static char why[700];

TEST(rank_correlation_is_spearman_s)
{
    enum { N = 40 };
    struct rng r;

    rng_seed(&r, 1);
    for (int trial = 0; trial < 50; trial++) {
        float  a[N], up[N], down[N], b[N];
        double d2 = 0;

        for (int i = 0; i < N; i++) {
            a[i]    = (float)rng_normal(&r);
            b[i]    = a[i] + (float)rng_normal(&r);
            up[i]   = expf(a[i]);
            down[i] = -a[i] * a[i] * a[i];
        }
        for (int i = 0; i < N; i++) { /* without ties: 1 - 6 sum of d^2 / (n (n^2 - 1)) */
            int ra = 0, rb = 0;

            for (int k = 0; k < N; k++) {
                ra += a[k] < a[i];
                rb += b[k] < b[i];
            }
            d2 += (double)((ra - rb) * (ra - rb));
        }
        EXPECT_NEAR(rank_correlation(a, up, N), 1, 1e-12);
        EXPECT_NEAR(rank_correlation(a, down, N), -1, 1e-12);
        EXPECT_NEAR(rank_correlation(a, b, N), 1 - 6 * d2 / (N * (N * N - 1.0)), 1e-12);
    }
    float flat[3] = { 1, 1, 1 }, any[3] = { 1, 2, 3 }, tied[4] = { 1, 2, 2, 3 };
    EXPECT(isnan(rank_correlation(flat, any, 3)));
    EXPECT_NEAR(rank_correlation(tied, tied, 4), 1, 1e-12);
}

TEST(quantiles_lie_between_the_sorted_values)
{
    double v[5] = { 5, 1, 4, 2, 3 }, one = 7;

    EXPECT(quantile(v, 5, 0) == 1 && quantile(v, 5, 0.5) == 3 && quantile(v, 5, 1) == 5);
    EXPECT_NEAR(quantile(v, 5, 0.1), 1.4, 1e-12);
    EXPECT(quantile(&one, 1, 0.3) == 7);
}

TEST(states_are_picked_evenly_and_none_twice)
{
    for (uint64_t seed = 0; seed < 50; seed++)
        for (int n = 1; n < 60; n += 7)
            for (int take = 1, last = -1; take <= n; take++, last = -1)
                for (int i = 0; i < take; i++) {
                    int at = trained_pick(i, take, n, seed);

                    EXPECT(at > last && at < n && at >= i * n / take - 1 && at <= (i + 1) * n / take);
                    last = at;
                }
}

TEST(every_planner_has_defaults_that_can_run_on_every_robot)
{
    static const char *const   robots[] = { "robots/cartpole/robot.yaml", "robots/reacher/robot.yaml" };
    static struct robot_config c;

    for (int i = 0; i < 2; i++) {
        EXPECT(config_load(robots[i], &c, why, sizeof why) == 0);
        for (const char *const *name = planner_names(); *name; name++) {
            struct planner_config p = { 0 };

            EXPECT(trained_defaults(&c, *name, &p) && strcmp(p.name, *name) == 0);
            EXPECT(p.horizon == c.planner.horizon && p.particles == c.planner.particles &&
                   p.init_std[0] == c.planner.init_std[0]);
            EXPECT(planner_config_error(&p, &c.model) == NULL);
        }
        struct planner_config p;
        EXPECT(!trained_defaults(&c, "oracle", &p));
    }
}

TEST(a_plot_of_lines_is_a_png_whatever_the_numbers)
{
    struct line      line[3] = { { .label = "a", .n = 2, .x = { 1e3, 2e3 }, .y = { 1, 0 } },
                                 { .label = "b", .n = 2, .x = { 1e3, 2e3 }, .y = { (double)NAN, -5 } },
                                 { .label = "empty" } };
    struct line_plot plot = { .title = "t", .note = "n", .x = "x", .y = "y", .y_min = 1e-3, .line = line, .lines = 3 };
    char             png[300], magic[8] = { 0 };

    snprintf(png, sizeof png, "%s/lines.png", test_dir());
    EXPECT(plot_lines(png, &plot, why, sizeof why) == 0);
    FILE *f = fopen(png, "re");
    EXPECT(f && fread(magic, 1, 8, f) == 8 && memcmp(magic, "\x89PNG", 4) == 0);
    fclose(f);
    plot.lines = 0;
    EXPECT(plot_lines(png, &plot, why, sizeof why) == 0);
    EXPECT(plot_lines("/nowhere/lines.png", &plot, why, sizeof why) == -1);
    EXPECT_STR(why, "cannot write /nowhere/lines.png");
}

/* ---- from end to end -------------------------------------------------------------------------------------------- */

/* A run of the cart-pole with an untrained model and states from nowhere. */
static void make_run(const char *dir)
{
    static struct robot_config c;
    struct store_schema        schema;
    struct trial_row           trial = { .number = 1, .kind = "planned", .status = "finished" };
    struct model_row           model = { .version = 3, .file = "model-3.model", .status = "published" };
    struct ensemble            e     = { 0 };
    struct rng                 r;
    char                       path[400];

    EXPECT(config_load("robots/cartpole/robot.yaml", &c, why, sizeof why) == 0);
    config_store_schema(&c, &schema);
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/models", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/models/model-3.model", dir);
    EXPECT(ensemble_alloc(&e, &c.model) == 0);
    ensemble_init(&e, 5);
    e.version = 3;
    EXPECT(model_file_save(path, &e, c.robot) == 0);
    ensemble_free(&e);

    snprintf(path, sizeof path, "%s/experience.db", dir);
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    EXPECT(s && store_begin(s) == 0 && store_trial_begin(s, &trial) == 0 && store_model(s, &model) == 0);
    rng_seed(&r, 1);
    for (uint32_t i = 0; i < 40; i++) {
        struct transition t = { .trial = 1, .step = i < 30 ? i : i + 100, .model_version = i >= 10 ? 2 : 0 };

        for (int k = 0; k < c.nx; k++)
            t.x[k] = t.y[k] =
                (float)(i < 10 || i >= 30 ? 100 : rng_normal(&r)); /* without a plan, or late: not taken */
        EXPECT(store_transition(s, trial.id, &t) == 0);
    }
    EXPECT(store_commit(s) == 0);
    store_close(s);
}

static json_t *run_bench(int (*bench)(int, char **), const char *name, char **argv, int argc)
{
    char         path[400];
    json_error_t error;
    FILE        *was = stdout, *was_err = stderr;

    stdout = stderr = fopen("/dev/null", "we");
    int rc          = bench(argc, argv);
    fclose(stdout);
    stdout = was;
    stderr = was_err;
    EXPECT(rc == 0);
    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return json_load_file(path, 0, &error);
}

TEST(states_to_plan_from_are_those_early_in_a_planned_trial)
{
    char                 run[300];
    struct trained       t;
    struct trained_flags f = { .config = "robots/cartpole/robot.yaml", .run = run, .states = 20, .seed = 4 };

    snprintf(run, sizeof run, "%s/run3", test_dir());
    make_run(run);
    EXPECT(trained_open(&t, &f) == 0);
    EXPECT(t.n == 20 && t.transitions == 40 && t.model.version == 3);
    for (int i = 0; i < t.n * t.config.nx; i++)
        EXPECT(fabsf(t.x[i]) < 50); /* 100: without a plan, or late */
    trained_close(&t);
}

TEST(planners_are_compared_at_equal_budgets_on_a_stored_model)
{
    char   run[300], *argv[] = { (char *)"budget",
                                 (char *)"--config",
                                 (char *)"robots/cartpole/robot.yaml",
                                 (char *)"--run",
                                 run,
                                 (char *)"--out",
                                 (char *)test_dir(),
                                 (char *)"--states",
                                 (char *)"6",
                                 (char *)"--most",
                                 (char *)"5000" };
    size_t count   = 0;
    bool   nearest = false;

    snprintf(run, sizeof run, "%s/run", test_dir());
    make_run(run);
    json_t       *report = run_bench(bench_budget, "budget-cartpole.json", argv, 11);
    const json_t *rows   = js_at(report, "rows"), *row;
    size_t        i;

    json_array_foreach((json_t *)rows, i, row)
    {
        double gap = js_num(row, "gap_p50"), used = js_num(row, "rows"), budget = js_num(row, "budget");

        EXPECT(gap >= 0 && js_num(row, "gap_p25") <= gap && gap <= js_num(row, "gap_p75"));
        EXPECT(used >= 0.6 * budget && used <= 1.2 * budget && budget <= 5000);
        nearest = nearest || js_num(row, "gap_p25") < 0.2;
    }
    EXPECT(nearest); /* somebody found the best there is */
    for (const char *const *name = planner_names(); *name; name++) {
        bool seen = false;

        json_array_foreach((json_t *)rows, i, row) seen = seen || strcmp(js_str(row, "planner", ""), *name) == 0;
        EXPECT(seen);
        count++;
    }
    EXPECT(json_array_size(rows) >= count && json_array_size(rows) <= 3 * count);
    json_decref(report);
}

TEST(reduced_precision_is_judged_by_the_ranks_of_candidates)
{
    char    run[300], *argv[] = { (char *)"accuracy",
                                  (char *)"--config",
                                  (char *)"robots/cartpole/robot.yaml",
                                  (char *)"--run",
                                  run,
                                  (char *)"--out",
                                  (char *)test_dir(),
                                  (char *)"--states",
                                  (char *)"3" };
    size_t  i, fast = 0, seeds = 0;
    json_t *row;

    snprintf(run, sizeof run, "%s/run2", test_dir());
    make_run(run);
    json_t *report = run_bench(bench_accuracy, "accuracy-cartpole.json", argv, 9);

    json_array_foreach(js_at(report, "rows"), i, row)
    {
        const char *variant = js_str(row, "variant", "");

        EXPECT(js_num(row, "prediction_of_target_std") < 0.1 && js_num(row, "elites_kept") <= 10);
        if (strcmp(variant, "fast activation") == 0) {
            EXPECT(js_num(row, "rank_p50") >= 0.999);
            fast++;
        }
        if (strcmp(variant, "other seed") == 0) {
            EXPECT(js_num(row, "rank_p50") < 1 && js_num(row, "cost_rms") > 0);
            seeds++;
        }
    }
    EXPECT(fast == 2 && seeds == 2);
    json_decref(report);
}

TEST(benchmarks_say_what_they_miss)
{
    static const struct {
        const char *argv[8];
        int         code;
    } wrong[] = {
        { { "budget" }, 64 },
        { { "budget", "--config", "robots/cartpole/robot.yaml", "--model", "x.model" }, 64 },
        { { "budget", "--config", "robots/cartpole/robot.yaml", "--store", "x.db" }, 64 },
        { { "budget", "--config", "nowhere.yaml", "--run", "nowhere" }, 78 },
        { { "budget", "--config", "robots/cartpole/robot.yaml", "--run", "nowhere" }, 1 },
    };
    FILE *was = stderr;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int n = 0;

        while (wrong[i].argv[n])
            n++;
        stderr = fopen("/dev/null", "we");
        int a = bench_budget(n, (char **)wrong[i].argv), b = bench_accuracy(n, (char **)wrong[i].argv);
        fclose(stderr);
        stderr = was;
        EXPECT(a == wrong[i].code && b == wrong[i].code);
    }
}
