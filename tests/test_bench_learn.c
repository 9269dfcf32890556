/* test_bench_learn.c - limber bench learn: goals, overrides, comparison; and whole runs of the real programs, small. */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"
#include "tests/test.h"

/* --- goals --- */

static void judge(const char *goals, const struct curve *c, int n, json_t **judged)
{
    struct learn_goals g;
    char               text[1000], why[400];

    snprintf(text, sizeof text, "{\"window\": 3, \"goals\": [%s]}", goals);
    json_t *doc = json_loads(text, 0, NULL);

    EXPECT(doc && goals_read(&g, doc, "goals.json", why, sizeof why) == 0);
    *judged = goals_judge(&g, c, n);
    goals_free(&g);
    json_decref(doc);
}

static void expect_goal(const char *goal, const struct curve *c, int n, const char *result, double first_figure)
{
    json_t       *judged;
    const json_t *r;

    judge(goal, c, n, &judged);
    r = json_array_get(judged, 0);
    EXPECT_STR(js_str(r, "result", ""), result);
    if (isfinite(first_figure))
        EXPECT_NEAR(js_num(json_array_get(js_at(r, "figures"), 0), ""), first_figure, 1e-12);
    else
        EXPECT(json_is_null(json_array_get(js_at(r, "figures"), 0)));
    json_decref(judged);
}

static struct curve *two_curves(void)
{
    static const double a[] = { 1, 5, 3, 4, 8, 2 }, b[] = { 2, 2, 9, 9, 9, 9 };
    struct curve       *c = calloc(2, sizeof *c);

    memcpy(c[0].ret, a, sizeof a);
    memcpy(c[1].ret, b, sizeof b);
    c[0].n = c[1].n = 6;
    return c;
}

TEST(goals_are_met_missed_or_open_as_the_returns_say)
{
    struct curve *c = two_curves();

    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 2, \"value\": 5}", c, 1, "met", 5);
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 4, \"value\": 5.5}", c, 1, "missed", 5);
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 9, \"value\": 8}", c, 1, "met", 8);    /* reached early */
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 9, \"value\": 8.5}", c, 1, "open", 8); /* three to go */
    expect_goal("{\"kind\": \"window_mean\", \"trial\": 5, \"value\": 5}", c, 1, "met", 5);     /* 3, 4, 8 */
    expect_goal("{\"kind\": \"window_mean\", \"trial\": 4, \"value\": 5}", c, 1, "missed", 4);  /* 5, 3, 4 */
    expect_goal("{\"kind\": \"window_mean\", \"trial\": 5, \"window\": 2, \"value\": 6}", c, 1, "met", 6);
    expect_goal("{\"kind\": \"mean_of_last\", \"trial\": 6, \"value\": 5}", c, 1, "missed", 14.0 / 3);
    expect_goal("{\"kind\": \"mean_of_last\", \"trial\": 7, \"value\": 5}", c, 1, "open", (double)NAN);
    expect_goal("{\"kind\": \"worst_after\", \"trial\": 2, \"value\": 2}", c, 1, "met", 2);
    expect_goal("{\"kind\": \"worst_after\", \"trial\": 2, \"value\": 2.5}", c, 1, "missed", 2);
    expect_goal("{\"kind\": \"worst_after\", \"trial\": 6, \"value\": 0}", c, 1, "open", (double)NAN);
    free(c);
}

TEST(a_goal_of_every_seed_needs_them_all_and_a_goal_of_the_median_does_not)
{
    struct curve *c = two_curves();

    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 3, \"value\": 6, \"seeds\": \"every\"}", c, 2, "missed", 5);
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 3, \"value\": 7, \"seeds\": \"median\"}", c, 2, "met", 5);
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 3, \"value\": 7.5, \"seeds\": \"median\"}", c, 2, "missed", 5);
    free(c);
}

TEST(a_trial_that_is_no_number_never_meets_a_goal)
{
    struct curve *c = two_curves();

    c[0].ret[4] = (double)NAN; /* was the best */
    expect_goal("{\"kind\": \"max_by_trial\", \"trial\": 6, \"value\": 8}", c, 1, "missed", 5);
    expect_goal("{\"kind\": \"mean_of_last\", \"trial\": 6, \"value\": -100}", c, 1, "missed", (double)NAN);
    free(c);
}

TEST(goals_of_the_robots_are_read_and_wrong_ones_are_refused_by_place)
{
    static const char *const robots[]   = { "cartpole", "reacher", "pusher", "halfcheetah", "balance" };
    static const char *const wrong[][2] = { { "{\"goals\": [{\"kind\": \"best\"}]}", "goals[0].kind: value \"best\"" },
                                            { "{\"goals\": [{\"kind\": \"worst_after\", \"trial\": 1}]}",
                                              "goals[0].value" },
                                            { "{\"goal\": []}", "goal: unknown key" },
                                            { "{\"posture\": {\"observation\": \"a\"}}", "posture: expected" } };
    struct learn_goals       g;
    char                     path[100], why[400];

    for (size_t i = 0; i < sizeof robots / sizeof *robots; i++) {
        snprintf(path, sizeof path, "robots/%s/robot.yaml", robots[i]);
        EXPECT(goals_load(&g, path, "any", why, sizeof why) == 0 && g.doc && g.levels > 0);
        goals_free(&g);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *doc = json_loads(wrong[i][0], 0, NULL);

        EXPECT(goals_read(&g, doc, "goals.json", why, sizeof why) < 0);
        EXPECT_STR(why, wrong[i][1]);
        json_decref(doc);
    }
}

/* --- the store --- */

TEST(posture_is_the_share_of_steps_beyond_the_limit_whatever_turns_the_angle_has_made)
{
    static const char sql[] =
        "CREATE TABLE trials (id INTEGER PRIMARY KEY, number INTEGER, kind TEXT, status TEXT, reason TEXT, steps "
        "INTEGER, return REAL);"
        "CREATE TABLE models (version INTEGER, status TEXT, train_s REAL);"
        "CREATE TABLE transitions (trial_id INTEGER, model_version INTEGER, iterations INTEGER, \"rooty.position\" "
        "REAL);"
        "INSERT INTO trials VALUES (1, 0, 'random', 'finished', '', 4, -1), (2, 1, 'planned', 'aborted', 'a', 1, 2),"
        " (3, 1, 'planned', 'finished', '', 4, 3), (4, 2, 'planned', 'finished', '1 steps not stored', 3, 9);"
        "INSERT INTO models VALUES (1, 'published', 1), (2, 'rolled_back', 3), (3, 'refused', 5);"
        /* upright, upside down; upright after a turn, upside down after one and a half */
        "INSERT INTO transitions VALUES (1, 0, 0, 3), (2, 1, 3, 3), (3, 1, 3, 0.1), (3, 1, 3, 3.0), (3, 1, 3, 6.2), "
        "(3, 1, 5, "
        "-9.4), (4, 1, 3, -1.6), (4, 1, 3, 1.5), (4, 1, 3, 12.5)";
    struct learn_goals g = { .window = 5, .posture = "rooty.position", .posture_limit = 1.57 };
    struct curve      *c = calloc(1, sizeof *c);
    struct learn_facts f;
    char               path[300], why[700];
    sqlite3           *db;

    snprintf(path, sizeof path, "%s/experience.db", test_dir());
    EXPECT(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
    EXPECT(learn_store(path, &g, c, &f, why, sizeof why) == 0);
    EXPECT_NEAR(f.beyond, 3.0 / 7, 1e-12);
    EXPECT(f.aborted == 1 && f.missing == 1 && f.published == 2 && f.refused == 1 && f.rolled_back == 1);
    EXPECT_NEAR(f.train_s_mean, 3, 1e-12);
    EXPECT_NEAR(f.iterations, 3.25, 1e-12);
    EXPECT(c->n == 2 && c->ret[0] == 3);
    EXPECT(isnan(c->ret[1])); /* a quarter of its steps is missing: no result */
    free(c);
}

/* --- overrides --- */

static int load_with(const char *file, const char *const *set, int sets, const char *planner, struct robot_config *c,
                     char **text, char dropped[KEYS_SIZE], char *why)
{
    const struct config_changes with = { .set = set, .sets = sets, .planner = planner, .task_copy = "task.yaml" };

    return config_load_with(file, &with, c, text, dropped, why, 700);
}

TEST(an_effective_configuration_written_out_means_the_same_as_the_file)
{
    glob_t               files;
    int                  loaded = 0;
    struct robot_config *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    char                 why[700], dropped[KEYS_SIZE], path[1200], *text;

    EXPECT(glob("robots/*/robot*.yaml", 0, NULL, &files) == 0 && files.gl_pathc >= 4);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        if (config_load(files.gl_pathv[i], b, why, sizeof why) != 0) /* other tests say so */
            continue;
        loaded++;
        EXPECT(load_with(files.gl_pathv[i], NULL, 0, NULL, a, &text, dropped, why) == 0);
        snprintf(path, sizeof path, "cp %s %s/task.yaml", a->task_file, test_dir());
        EXPECT(system(path) == 0);
        snprintf(path, sizeof path, "%s/robot.yaml", test_dir());
        FILE *f = fopen(path, "w");
        fputs(text, f);
        fclose(f);
        free(text);
        EXPECT(config_load(path, b, why, sizeof why) == 0);
        memcpy(b->file, a->file, sizeof a->file);
        memcpy(b->task_file, a->task_file, sizeof a->task_file);
        EXPECT(b->sim.model[0] == '/');
        memcpy(b->sim.model, a->sim.model, sizeof a->sim.model);
        EXPECT(!memcmp(a, b, sizeof *a));
    }
    EXPECT(loaded >= 4);
    globfree(&files);
    free(a);
    free(b);
}

TEST(what_is_set_counts_as_if_it_stood_in_the_file)
{
    const char *const    set[]    = { "planner.init_std=[0.25]", "joints[1].velocity=99", "planner.knots=4",
                                      "gates.position={off: \"a rail without ends\"}" };
    struct robot_config *c        = malloc(sizeof *c);
    char                 why[700] = "", dropped[KEYS_SIZE], *text;

    EXPECT(load_with("robots/cartpole/robot.yaml", set, 4, NULL, c, &text, dropped, why) == 0);
    EXPECT(!why[0] && !dropped[0]);
    EXPECT_NEAR(c->planner.init_std[0], 0.25, 0);
    EXPECT_NEAR(c->joint[1].velocity, 99, 0);
    EXPECT(c->planner.knots == 4 && c->gates.position.off);
    free(text);
    free(c);
}

TEST(another_planner_leaves_out_the_keys_it_does_not_use_but_not_those_asked_for)
{
    const char *const set[] = { "planner.lambda=0.2" }, *const wrong[] = { "planner.noise_beta=1" };
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700], dropped[KEYS_SIZE], *text;

    EXPECT(load_with("robots/cartpole/robot.yaml", set, 1, "mppi", c, &text, dropped, why) == 0);
    EXPECT(!strcmp(c->planner.name, "mppi"));
    EXPECT_NEAR(c->planner.lambda, 0.2, 0);
    EXPECT_STR(dropped, "planner.elites, planner.noise_beta");
    free(text);
    EXPECT(load_with("robots/cartpole/robot.yaml", wrong, 1, "mppi", c, &text, dropped, why) < 0);
    EXPECT_STR(why,
               "--set planner.noise_beta=1: planner.noise_beta: value \"1\": expected this key only with planner icem");
    free(c);
}

TEST(a_wrong_override_is_refused_with_its_own_words_and_the_strict_message)
{
    static const char *const wrong[][2] = {
        { "planner.horizn=3", "--set planner.horizn=3: planner.horizn: unknown key; did you mean \"horizon\"?" },
        { "planner.horizon=abc", "--set planner.horizon=abc: planner.horizon: value \"abc\": expected a whole number" },
        { "planner.horizon=500", "from 1 to 64" },
        { "planner.horizon", "expected KEY=VALUE" },
        { "planner.horizon=", "expected KEY=VALUE" },
        { "joints[7].effort=1", "no such place" },
        { "task=tasks/none.yaml", "--set task=tasks/none.yaml: task: value \"tasks/none.yaml\": expected a task file" },
        { "planner.horizon=[1", "not YAML" },
        { "rates=3", "--set rates=3: rates: value \"3\": expected a map" },
    };
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700], dropped[KEYS_SIZE], *text;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        EXPECT(load_with("robots/cartpole/robot.yaml", &wrong[i][0], 1, NULL, c, &text, dropped, why) < 0);
        EXPECT_STR(why, wrong[i][1]);
        EXPECT(!text);
    }
    free(c);
}

/* --- the program --- */

#define SMALL                                                                                                  \
    " --lockstep --set trials.steps=40 --set model.hidden=16 --set model.layers=1 --set trainer.min_steps=400" \
    " --set trainer.epochs=1 --set planner.population=8 --set planner.elites=2 --set planner.horizon=3"        \
    " --set gates.promote_s=0.1 --trials 2 "

static pid_t start(const char *arguments)
{
    char command[1500], log[300];

    fflush(stdout);
    snprintf(log, sizeof log, "%s/printed", test_dir());
    snprintf(command, sizeof command, "exec %s/limber bench learn --out %s %s", test_build_dir(), test_dir(),
             arguments);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        dup2(fd, 1);
        dup2(fd, 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int finish(pid_t pid, char *text, size_t n)
{
    char  log[300];
    int   status = 0;
    FILE *f;

    waitpid(pid, &status, 0);
    snprintf(log, sizeof log, "%s/printed", test_dir());
    f                                      = fopen(log, "r");
    text[f ? fread(text, 1, n - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static json_t *report(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s.json", test_dir(), name);
    return json_load_file(path, 0, NULL);
}

static bool exists(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return access(path, F_OK) == 0;
}

TEST(two_seeds_at_a_time_learn_exactly_what_each_learns_alone)
{
    char text[20000];

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return;
    EXPECT(finish(start("--task cartpole --seeds 2 --jobs 2 --name both" SMALL), text, sizeof text) == 0);
    EXPECT_STR(text, "seed 2  trial   2 of 2  finished");
    EXPECT(finish(start("--task cartpole --first 2 --name alone" SMALL), text, sizeof text) == 0);
    json_t       *both = report("learn-cartpole-both"), *alone = report("learn-cartpole-alone");
    const json_t *a = json_array_get(js_at(both, "seeds"), 1), *b = json_array_get(js_at(alone, "seeds"), 0);

    EXPECT(json_array_size(js_at(both, "seeds")) == 2 && json_array_size(js_at(alone, "seeds")) == 1);
    EXPECT(json_array_size(js_at(a, "returns")) == 2 && json_equal(js_at(a, "returns"), js_at(b, "returns")));
    EXPECT(json_equal(js_at(a, "random_return"), js_at(b, "random_return")));
    EXPECT(!json_equal(js_at(a, "returns"), js_at(json_array_get(js_at(both, "seeds"), 0), "returns")));
    EXPECT(js_int(both, "jobs") == 2 && js_str(both, "note", NULL) && !js_at(alone, "note"));
    EXPECT(!strcmp(js_str(both, "mode", ""), "lockstep") && !strcmp(js_str(both, "task", ""), "cartpole"));
    EXPECT(js_int(both, "settings.planner.population") == 8 && js_int(both, "settings.trials.steps") == 40);
    EXPECT_STR(js_str(both, "settings.task", ""), "tasks/swingup.yaml");
    EXPECT(!strcmp(js_str(both, "settings.sim.model", ""), "model.xml"));
    EXPECT(exists("learn-cartpole-both.png") && exists("learn-cartpole-both-window.png"));
    EXPECT(json_array_size(js_at(both, "goals")) > 0);
    EXPECT(js_int(a, "models.published") + js_int(a, "models.refused") >= 3 && js_int(a, "missing_steps") == 0);
    json_decref(both);
    json_decref(alone);
}

/* Waits until the seed has a finished planned trial, at most 60 s. */
static bool has_learned(const char *store)
{
    for (int i = 0; i < 600; i++) {
        sqlite3      *db   = NULL;
        sqlite3_stmt *rows = NULL;
        int           n    = 0;

        if (sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
            sqlite3_prepare_v2(db, "SELECT count(*) FROM trials WHERE kind = 'planned' AND status = 'finished'", -1,
                               &rows, NULL) == SQLITE_OK &&
            sqlite3_step(rows) == SQLITE_ROW)
            n = sqlite3_column_int(rows, 0);
        sqlite3_finalize(rows);
        sqlite3_close(db);
        if (n)
            return true;
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    }
    return false;
}

TEST(a_bench_that_was_killed_goes_on_where_it_was_and_says_so)
{
    char  text[20000], store[300];
    pid_t pid = start("--task cartpole" SMALL "--trials 3");

    snprintf(store, sizeof store, "%s/learn-cartpole/seed-1/experience.db", test_dir());
    EXPECT(has_learned(store));
    kill(pid, SIGKILL);
    EXPECT(finish(pid, text, sizeof text) == -SIGKILL);
    EXPECT(finish(start("--task cartpole" SMALL "--trials 3"), text, sizeof text) == 0);
    EXPECT_STR(text, "seed 1 goes on after trial");
    EXPECT(!strstr(text, "trial   0"));

    json_t       *r = report("learn-cartpole");
    const json_t *s = json_array_get(js_at(r, "seeds"), 0);

    EXPECT(js_true(s, "resumed") && json_array_size(js_at(s, "returns")) == 3);
    json_decref(r);

    EXPECT(finish(start("--task cartpole" SMALL "--trials 3"), text, sizeof text) == 0);
    EXPECT_STR(text, "seed 1 was done already");
    EXPECT(finish(start("--task cartpole" SMALL "--trials 3 --set trials.steps=41"), text, sizeof text) == 78);
    EXPECT_STR(text, "has \"  steps: 40\", now it is \"  steps: 41\".  --fresh starts all seeds again");
}

static void write_report(const char *name, const char *seeds)
{
    char  path[300];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s.json", test_dir(), name);
    f = fopen(path, "w");
    fprintf(f, "{\"name\": \"%s\", \"window\": 2, \"steps_per_trial\": 10, \"seeds\": [%s]}", name, seeds);
    fclose(f);
}

TEST(a_comparison_has_first_trials_maxima_and_last_means_of_every_report)
{
    char text[20000], command[400];

    write_report(
        "first",
        "{\"seed\": 1, \"returns\": [1, 5, 3], \"first_trial_ge_4\": 2}, {\"seed\": 2, \"returns\": [7, 2, 1], "
        "\"first_trial_ge_4\": 1}");
    write_report("second", "{\"seed\": 1, \"returns\": [0, 0, 2], \"first_trial_ge_4\": null}");
    snprintf(command, sizeof command, "--compare %s/first.json %s/second.json", test_dir(), test_dir());
    EXPECT(finish(start(command), text, sizeof text) == 0);
    EXPECT_STR(text, "first\n  first trial >= 4          2        1   median      1.5");
    EXPECT_STR(text, "max                    5.00     7.00   median     6.00");
    EXPECT_STR(text, "mean of last 2         4.00     1.50   median     2.75");
    EXPECT_STR(text, "second\n  first trial >= 4          -   median        -");
    EXPECT(exists("learn-compare.png"));
    snprintf(command, sizeof command, "--compare %s/first.png", test_dir());
    EXPECT(finish(start(command), text, sizeof text) == 78);
}

TEST(flags_that_do_not_go_together_are_refused)
{
    static const char *const wrong[][2] = { { "", "--task is missing" },
                                            { "--task cartpole --jobs 2", "--jobs needs --lockstep" },
                                            { "--task cartpole --lockstep --real-time", "not both" },
                                            { "--task nowhere", "neither robots/nowhere/robot.yaml nor" } };
    char                     text[4000];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int code = finish(start(wrong[i][0]), text, sizeof text);

        EXPECT(code == 64 || code == 78);
        EXPECT_STR(text, wrong[i][1]);
    }
}
