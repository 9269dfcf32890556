/* Claims about limber bench surfaces and limber bench paths (docs/lecture.md). */
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/bench_lecture.h"
#include "daemon/cli_json.h"
#include "models/store.h"
#include "tests/test.h"

/* --- stores put together --- */

static const struct store_schema schema = {
    .robot = "crawler", .nx = 2, .na = 1, .observation = { "x", "y" }, .action = { "leg" }
};

static void at(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s/%s", test_dir(), name);
}

/* Trial i, of 3 + i steps, goes from x = 1000 store + 100 i on by 1 a step; the last trial was cut short. */
static void make_store(const char *file, int store, int trials, const char *robot)
{
    struct store_schema own = schema;
    char                why[400];

    snprintf(own.robot, sizeof own.robot, "%s", robot);
    struct store *s = store_open(file, &own, false, why, sizeof why);

    EXPECT(s && store_begin(s) == 0);
    for (int i = 0; s && i < trials; i++) {
        struct trial_row t = { .number = (uint32_t)i, .kind = "planned", .status = "running", .ret = i - 10.0 * store };

        EXPECT(store_trial_begin(s, &t) == 0);
        for (int k = 0; k < 3 + i; k++) {
            float x = (float)(1000 * store + 100 * i + k);

            EXPECT(store_transition(s, t.id,
                                    &(struct transition){ .step          = (uint32_t)k,
                                                          .model_version = 7,
                                                          .x             = { x, 2 * x },
                                                          .a             = { 0.5F },
                                                          .y             = { x + 1, 2 * x + 2 } }) == 0);
        }
        snprintf(t.status, sizeof t.status, "%s", i == trials - 1 ? "aborted" : "finished");
        t.steps = 3 + i;
        EXPECT(store_trial_update(s, &t) == 0);
    }
    EXPECT(s && store_commit(s) == 0);
    store_close(s);
}

struct seen {
    int     rows, trials, seams, versions;
    int64_t trial;
    float   next[2];
    float   first[20]; /* x of every trial's first step */
};

static bool take(void *ctx, int64_t trial, const struct transition *t)
{
    struct seen *s = ctx;

    if (trial != s->trial) {
        EXPECT(t->step == 0 && s->trials < 20);
        s->first[s->trials++] = t->x[0];
    } else if (t->x[0] != s->next[0] || t->x[1] != s->next[1]) {
        s->seams++;
    }
    s->trial   = trial;
    s->next[0] = t->y[0];
    s->next[1] = t->y[1];
    s->rows++;
    s->versions += t->model_version != 0;
    return true;
}

static void look(const char *file, struct seen *s)
{
    char          why[400] = "";
    struct store *store    = store_open(file, &schema, true, why, sizeof why);

    *s = (struct seen){ 0 };
    EXPECT(store != NULL);
    if (store)
        EXPECT(store_transitions(store, 0, take, s) == s->rows);
    store_close(store);
}

TEST(experience_put_together_keeps_every_trial_whole_and_takes_turns)
{
    static const float turns[] = { 1000, 2000, 1100, 2100, 2200 };
    char               a[300], b[300], both[300], why[400];
    const char        *from[] = { a, b };
    struct seen        s;

    at(a, sizeof a, "a.db");
    at(b, sizeof b, "b.db");
    at(both, sizeof both, "both.db");
    make_store(a, 1, 3, "crawler"); /* 3 + 4 of finished trials */
    make_store(b, 2, 4, "crawler"); /* 3 + 4 + 5                */
    EXPECT(store_merge(from, 2, 1, both, why, sizeof why) == 7 + 12);
    look(both, &s);
    EXPECT(s.rows == 19 && s.trials == 5 && s.seams == 0 && s.versions == 0);
    EXPECT(memcmp(s.first, turns, sizeof turns) == 0);
    EXPECT(store_merge(from, 1, 1, both, why, sizeof why) == 7);
    EXPECT(store_merge(from, 2, 2, both, why, sizeof why) == 3 + 4); /* trial 1 of a, trial 2 of b */
}

TEST(experience_of_another_robot_is_not_mixed_in)
{
    char        a[300], b[300], both[300], why[400];
    const char *from[] = { a, b };

    at(a, sizeof a, "a.db");
    at(b, sizeof b, "b.db");
    at(both, sizeof both, "both.db");
    make_store(a, 1, 3, "crawler");
    make_store(b, 2, 3, "walker");
    EXPECT(store_merge(from, 2, 1, both, why, sizeof why) == -1);
    EXPECT_STR(why, "different robots");
    EXPECT(access(both, F_OK) != 0);
    from[1] = "/nonexistent/c.db";
    EXPECT(store_merge(from, 2, 1, both, why, sizeof why) == -1);
    EXPECT_STR(why, "cannot put experience together");
}

TEST(returns_versions_and_tracks_are_those_of_the_store)
{
    char                  a[300];
    double                ret[8], track[16][2];
    struct store_versions v;

    at(a, sizeof a, "a.db");
    make_store(a, 1, 4, "crawler");
    EXPECT(store_returns(a, 1, ret, 8) == 2 && ret[0] == -9 && ret[1] == -8);
    EXPECT(store_returns(a, 3, ret, 8) == 0); /* aborted */
    EXPECT(store_versions(a, 1, 2, &v) == 0 && v.first == 7 && v.versions == 1);
    EXPECT(store_track(a, 1, "x", "y", track, 16) == 5); /* four steps */
    EXPECT(track[0][0] == 1100 && track[4][0] == 1104 && track[4][1] == 2208);
    EXPECT(store_track(a, 9, "x", "y", track, 16) == -1);
    EXPECT(store_returns("/nonexistent.db", 1, ret, 8) == -1);
}

/* --- the table's shape --- */

static void fill(struct surfaces_table *t, const double cost[3][2])
{
    *t = (struct surfaces_table){ .sets = 3 };
    for (int set = 0; set < 3; set++)
        for (int on = 0; on < 2; on++) {
            t->cell[set][on].n      = 2;
            t->cell[set][on].ret[0] = 100 - cost[set][on] - 1;
            t->cell[set][on].ret[1] = 100 - cost[set][on] + 1;
        }
}

static void judge(const double cost[3][2], struct surfaces_checks *c)
{
    struct surfaces_table t;

    fill(&t, cost);
    surfaces_costs(&t, 100);
    for (int set = 0; set < 3; set++)
        for (int on = 0; on < 2; on++) {
            EXPECT_NEAR(t.cell[set][on].mean, cost[set][on], 1e-9);
            EXPECT_NEAR(t.cell[set][on].std, sqrt(2), 1e-9);
        }
    surfaces_check(&t, c);
}

TEST(the_lectures_own_table_meets_both_checks_and_a_flat_one_misses_them)
{
    static const double lecture[3][2] = { { 5.69, 18.62 }, { 22.25, 8.15 }, { 7.52, 15.76 } };
    static const double flat[3][2] = { { 6, 7 }, { 7, 6 }, { 6, 6 } }, one[3][2] = { { 5, 9 }, { 22, 8 }, { 5, 17 } };
    struct surfaces_checks c;

    judge(lecture, &c);
    EXPECT(c.own_met && c.mixed_met);
    EXPECT_NEAR(c.own_to_other[0], 5.69 / 22.25, 1e-9);
    EXPECT_NEAR(c.own_to_other[1], 8.15 / 18.62, 1e-9);
    EXPECT_NEAR(c.mixed_to_own[1], 15.76 / 8.15, 1e-9);
    judge(flat, &c);
    EXPECT(!c.own_met && c.mixed_met);
    judge(one, &c); /* one surface of two is not enough */
    EXPECT(!c.own_met && !c.mixed_met);
}

TEST(costs_without_a_reference_are_distances_from_the_best_and_an_empty_cell_meets_nothing)
{
    static const double    cost[3][2] = { { 3, 20 }, { 20, 3 }, { 4, 4 } };
    struct surfaces_table  t;
    struct surfaces_checks c;

    fill(&t, cost);
    surfaces_costs(&t, (double)NAN);
    EXPECT_NEAR(t.reference[0], 98, 1e-9); /* 100 - 3 + 1 */
    EXPECT_NEAR(t.cell[0][0].mean, 1, 1e-9);
    t.cell[1][0].n = 0;
    surfaces_costs(&t, (double)NAN);
    surfaces_check(&t, &c);
    EXPECT(!c.own_met && isnan(c.own_to_other[0]));
}

/* --- the verbs, with very little of everything --- */

#define SMALL                                                                                            \
    " --task ant --random 1 --trials 1 --eval 1 --seeds 1 --set trials.steps=25 --set model.hidden=16"   \
    " --set model.layers=1 --set trainer.min_steps=50 --set trainer.epochs=1 --set planner.population=8" \
    " --set planner.elites=2 --set planner.horizon=4 --set gates.promote_s=0.1"

static int limber(const char *arguments, json_t **report, const char *file)
{
    char command[1500], path[400];

    snprintf(command, sizeof command, "%s/limber bench %s --out %s >%s/printed 2>&1", test_build_dir(), arguments,
             test_dir(), test_dir());
    int status = system(command);

    at(path, sizeof path, file);
    *report = json_load_file(path, 0, NULL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Gradient steps of the models in the store of a part of seed 1. */
static long steps_of(const char *part)
{
    char path[400];

    snprintf(path, sizeof path, "%s/surfaces-ant/seed-1/%s/experience.db", test_dir(), part);
    return store_training_steps(path);
}

TEST(bench_surfaces_fills_its_table_and_does_nothing_twice)
{
    json_t *r, *again;

    EXPECT(limber("surfaces" SMALL, &r, "surfaces-ant.json") == 0);
    EXPECT(json_array_size(js_at(r, "cells")) == 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *c = json_array_get(js_at(r, "cells"), i);

        EXPECT(json_array_size(js_at(c, "returns")) == 1 && js_num(c, "one_step_error") > 0 &&
               js_num(c, "cost_mean") >= 0);
    }
    /* What was learned in several trainings is not lost in one that is as short as one of them. */
    EXPECT(steps_of("learn-0") > 0 && steps_of("only-0") == steps_of("learn-0"));
    EXPECT(steps_of("only-1") == steps_of("learn-1") && steps_of("both") == steps_of("learn-0") + steps_of("learn-1"));
    EXPECT(limber("surfaces" SMALL, &again, "surfaces-ant.json") == 0);
    EXPECT(r && json_equal(js_at(r, "cells"), js_at(again, "cells")));
    json_decref(again);
    EXPECT(limber("surfaces" SMALL " --set planner.horizon=5", &again, "surfaces-ant.json") == EXIT_REFUSED);
    json_decref(r);
    json_decref(again);
}

TEST(bench_paths_follows_every_path_with_one_model_in_one_process)
{
    json_t *r;

    EXPECT(limber("paths --tasks straight,uturn" SMALL, &r, "paths-ant.json") == 0);
    EXPECT(js_true(r, "one_model_per_seed"));
    EXPECT(json_array_size(js_at(r, "paths")) == 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *p = json_array_get(js_at(r, "paths"), i);

        EXPECT_STR(js_str(p, "task", ""), i ? "uturn" : "straight");
        EXPECT(json_array_size(js_at(p, "trials")) == 1 && js_num(p, "distance_m") >= 0 && isfinite(js_num(p, "cost")));
    }
    json_decref(r);
    EXPECT(limber("paths --tasks straight,nowhere" SMALL, &r, "paths-ant.json") == EXIT_CONFIG);
    json_decref(r);
}
