/* test_bench_gates.c - limber bench gates against what a daemon's gates did, live, in the run that it reads. */
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* The first trip of the gate in each trial, as the daemon told it: step by trial id; -1: none. */
static int told(const char *store, const char *gate, int64_t trial)
{
    static const char sql[] =
        "SELECT e.text FROM events e JOIN trials t ON e.trial = t.number AND t.kind = 'planned' WHERE "
        "t.id = ?1 AND e.kind = 'gate' AND e.text LIKE ?2 || ' tripped at step%' ORDER BY e.id LIMIT 1";
    sqlite3      *db   = NULL;
    sqlite3_stmt *rows = NULL;
    int           step = -1;

    EXPECT(sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK);
    sqlite3_bind_int64(rows, 1, trial);
    sqlite3_bind_text(rows, 2, gate, -1, SQLITE_STATIC);
    if (sqlite3_step(rows) == SQLITE_ROW)
        sscanf(strstr((const char *)sqlite3_column_text(rows, 0), "step "), "step %d", &step);
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return step;
}

/* The longest that the slider's effort stood at one end of its 300 N, how often it went from beyond half of them to beyond half
 * on the other side, and the most that it did by way of work within about a second, in a trial's stored planned steps of 40 ms:
 * recomputed here. */
static void leant(const char *store, int64_t trial, double *dwell_s, int *reversals, double *joule)
{
    static const char sql[] = "SELECT step, \"a.slider\", \"slider.velocity\" FROM transitions WHERE trial_id = ?1 AND model_version > 0 ORDER BY step";
    sqlite3          *db    = NULL;
    sqlite3_stmt     *rows  = NULL;
    int               run = 0, end = 0, side = 0, before = -1;
    double            work = 0, force = 0;

    *dwell_s   = 0;
    *reversals = 0;
    *joule     = 0;
    EXPECT(sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK);
    sqlite3_bind_int64(rows, 1, trial);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        int    step = sqlite3_column_int(rows, 0);
        double a = sqlite3_column_double(rows, 1), share = a / 3;
        int    now = share >= 0.99 ? 1 : share <= -0.99 ? -1 : 0, beyond = share >= 0.5 ? 1 : share <= -0.5 ? -1 : 0;

        if (step != before + 1)
            run = end = side = 0, work = force = 0;
        before   = step;
        *dwell_s = run * 0.04 > *dwell_s ? run * 0.04 : *dwell_s; /* until this step */
        run      = now == 0 ? 0 : now == end ? run + 1 : 1;
        end      = now;
        *reversals += beyond * side < 0;
        side = beyond ? beyond : side;
        work = 0.96 * work + fmax(0, force * sqlite3_column_double(rows, 2)) * 0.04;
        force  = 100 * a;
        *joule = fmax(*joule, work);
    }
    sqlite3_finalize(rows);
    sqlite3_close(db);
}

/* Thresholds that some flights keep and some do not. */
TEST(the_gates_of_a_recorded_run_trip_where_those_of_the_daemon_did)
{
    static const char *const edits[] = { "steps: 200",
                                         "steps: 60",
                                         "count: 15",
                                         "count: 3",
                                         "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 400",
                                         "residual: auto",
                                         "residual: 0.2\n  min_transitions: 1\n  promote_s: 0.1",
                                         "spread: auto",
                                         "spread: 0.1",
                                         "population: 64",
                                         "population: 20",
                                         NULL };
    static const char *const sim[]   = { "--lockstep", NULL };
    struct fixture           f;
    char                     command[600], text[60000], store[300];
    int                      tripped = 0, kept = 0, reversals;
    double                   dwell_s, joule;

    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, sim) && fixture_arm(&f, 10));
    EXPECT(fixture_wait(&f, "trials.finished", "true", 120));
    fixture_end(&f);
    snprintf(store, sizeof store, "%s/experience.db", f.dir);
    snprintf(command, sizeof command, "%s/limber bench gates --json --run %s --config %s 2>&1", test_build_dir(), f.dir,
             f.config);
    EXPECT(test_command(command, text, sizeof text) == 0);
    json_t       *all    = json_loads(text, 0, NULL);
    const json_t *trials = js_at(json_array_get(all, 0), "trials");
    EXPECT(json_array_size(trials) >= 1 && js_int(json_array_get(all, 0), "without_model") == 0);
    for (size_t i = 0; i < json_array_size(trials); i++) {
        const json_t *trial = json_array_get(trials, i);
        double        often = js_num(trial, "oscillation.max");

        leant(store, js_int(trial, "trial_id"), &dwell_s, &reversals, &joule);
        EXPECT_NEAR(js_num(trial, "limit_dwell.max"), dwell_s, 1e-9);
        EXPECT(joule > 1);
        EXPECT_NEAR(js_num(trial, "energy.max"), joule, 1e-6 * joule);
        EXPECT(often <= reversals && (often >= 1) == (reversals > 0));
        for (int k = 0; k < 2; k++) {
            static const char *const name[] = { "spread", "residual" };
            const json_t            *t = json_array_get(trials, i), *g = js_at(t, name[k]);
            int                      live = told(store, name[k], js_int(t, "trial_id"));

            kept += live < 0;
            tripped += live >= 0;
            if (live < 0)
                EXPECT(js_int(g, "beyond") == 0);
            else if (k == 1) /* a prediction is judged a step after it was made */
                EXPECT(js_int(g, "first_step") == live - 1);
            else /* it was not flown, so it is not in the store */
                EXPECT(js_int(g, "beyond") == 0 || js_int(g, "first_step") >= live);
        }
    }
    EXPECT(tripped >= 1 && kept >= 1);
    json_decref(all);
}

/* Three times the largest spread of the newest trials that have 999 scores together, as the store has it. */
static double threshold_of_store(const char *store)
{
    sqlite3      *db    = NULL;
    sqlite3_stmt *rows  = NULL;
    double        worst = 0;
    int           n     = 0;

    EXPECT(sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(db, "SELECT spread_scores, spread_worst FROM trials ORDER BY id DESC", -1, &rows, NULL) == SQLITE_OK);
    while (n < 999 && sqlite3_step(rows) == SQLITE_ROW) {
        n += sqlite3_column_int(rows, 0);
        worst = fmax(worst, sqlite3_column_double(rows, 1));
    }
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return n >= 999 ? 3 * worst : (double)NAN;
}

/* The spread gate's threshold once a plan is judged; NaN where it is not in force. */
static double threshold_now(struct fixture *f)
{
    json_t *status = fixture_status(f);
    double  found  = (double)NAN;

    for (size_t i = 0; i < json_array_size(js_at(status, "gates")); i++) {
        const json_t *gate = json_array_get(js_at(status, "gates"), i);

        if (!strcmp(js_str(gate, "name", ""), "spread") && !js_str(gate, "off", NULL))
            found = js_num(gate, "threshold");
    }
    json_decref(status);
    return found;
}

/* Or every restart would let a wrong model drive unwatched for a thousand steps. */
TEST(gates_that_calibrated_themselves_are_in_force_again_after_a_restart)
{
    static const char *const edits[] = { "count: 15", "count: 7", "horizon: 20", "horizon: 6", "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                         "population: 64", "population: 20", NULL };
    static const char *const sim[]   = { "--lockstep", NULL };
    static const char *const more[]  = { "--trials", "20", NULL };
    struct fixture           f;
    char                     store[300];

    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, sim) && fixture_arm(&f, 10));
    EXPECT(fixture_wait(&f, "trials.finished", "true", 120));
    fixture_end(&f);
    snprintf(store, sizeof store, "%s/experience.db", f.dir);
    double due = threshold_of_store(store);
    EXPECT(due > 0);
    EXPECT(fixture_daemon(&f, more) && fixture_bridge(&f, sim) && fixture_arm(&f, 10));
    EXPECT(fixture_wait(&f, "mode", "ADVANCED", 20));
    EXPECT_NEAR(threshold_now(&f), due, 1e-4 * due); /* as printed */
    fixture_end(&f);
}

static int told_of_another_robot(struct fixture *f)
{
    json_t *s    = fixture_status(f);
    int     told = 0;

    for (size_t i = 0; i < json_array_size(js_at(s, "events")); i++)
        told += strstr(js_str(json_array_get(js_at(s, "events"), i), "text", ""), "is this still the robot that was learned?") != NULL;
    json_decref(s);
    return told;
}

TEST(three_trials_in_a_row_that_a_gate_ended_are_told_to_a_person)
{
    static const char *const edits[] = { "steps: 200",      "steps: 40",
                                         "count: 15",       "count: 4",
                                         "recipe: steps",   "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                         "residual: auto",  "residual: 0.00001\n  min_transitions: 1\n  promote_s: 0.1",
                                         "population: 64",  "population: 20",
                                         "wait_for_model_s: 20", "wait_for_model_s: 4", NULL };
    static const char *const sim[]   = { "--lockstep", NULL };
    struct fixture           f;

    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, sim) && fixture_arm(&f, 10));
    for (int i = 0; i < 1200 && told_of_another_robot(&f) == 0; i++)
        usleep(100000);
    EXPECT(told_of_another_robot(&f) == 1);
    json_t *s       = fixture_status(&f);
    int     planned = 0;
    for (size_t i = 0; i < json_array_size(js_at(s, "trials.history")); i++)
        planned += !strcmp(js_str(json_array_get(js_at(s, "trials.history"), i), "kind", ""), "planned");
    EXPECT(planned == 3);
    json_decref(s);
    fixture_end(&f);
}

TEST(bench_gates_says_what_it_misses)
{
    char command[600], text[3000];

    snprintf(command, sizeof command, "%s/limber bench gates 2>&1", test_build_dir());
    EXPECT(test_command(command, text, sizeof text) == 64);
    EXPECT_STR(text, "--run is missing");
    snprintf(command, sizeof command, "%s/limber bench gates --run %s 2>&1", test_build_dir(), test_dir());
    EXPECT(test_command(command, text, sizeof text) == 64);
    EXPECT_STR(text, "there is no experience.db in it, nor in seed-1");
}
