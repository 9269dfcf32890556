/* Real processes killed at random moments (seeded), again and again on the same store: the robot side damps within its
 * timeout, by its own clock and record, the store opens and holds what was committed, the daemon comes back disarmed, and no half model is ever used. */
#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/config.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "models/model_file.h"
#include "models/store.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* Short trials, light trainings: the daemon is in a trial, between trials or training when it is hit. */
static const char *const quick[] = { "steps: 200", "steps: 25", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                     "count: 15", "count: 4000", NULL };

static struct robot_config config;

static void store_path(const struct fixture *f, char out[300])
{
    snprintf(out, 300, "%s/experience.db", f->dir);
}

/* Transitions that anyone can read now, by a connection of its own; -1: the store is not whole. */
static int64_t committed(const struct fixture *f)
{
    char          path[300];
    sqlite3      *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t       n  = -1;

    store_path(f, path);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT count(*) FROM transitions", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    if (n >= 0 && (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW ||
                   strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0))
        n = -1;
    if (n >= 0)
        sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* Every model file under its final name loads: candidates that were cut short have other names. */
static int half_models(const struct fixture *f)
{
    char           path[800], why[300];
    struct dirent *e;
    int            bad = 0;

    snprintf(path, sizeof path, "%s/models", f->dir);
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) {
        struct ensemble m;
        size_t          n = strlen(e->d_name);

        if (n < 6 || strcmp(e->d_name + n - 6, ".model") != 0)
            continue;
        snprintf(path, sizeof path, "%s/models/%s", f->dir, e->d_name);
        if (model_file_load(path, "cartpole", &config.model, &m, why, sizeof why) == 0) {
            ensemble_free(&m);
        } else {
            printf("    %s\n", why);
            bad++;
        }
    }
    if (d)
        closedir(d);
    return bad;
}

static bool restarted_disarmed(struct fixture *f)
{
    child_stop(&f->daemon, 0, 1);
    int64_t before = committed(f);

    EXPECT(before >= 0);
    EXPECT(half_models(f) == 0);
    if (!fixture_daemon(f, NULL))
        return false;
    json_t *s = fixture_status(f);

    EXPECT_STR(js_str(s, "mode", ""), "DISARMED");
    EXPECT_STR(js_str(s, "before", ""), "died in");
    json_decref(s);
    EXPECT(committed(f) >= before); /* recovery adds, and never takes away */
    return true;
}

static bool kill_daemon(struct fixture *f)
{
    int64_t before = committed(f); /* a reader sees what is committed: none of it may be lost */

    kill(f->daemon.pid, SIGKILL);
    bool ok = restarted_disarmed(f);
    EXPECT(committed(f) >= before);
    return ok;
}

static bool kill_bridge(struct fixture *f)
{
    kill(f->bridge.pid, SIGKILL);
    child_stop(&f->bridge, 0, 1);
    EXPECT(fixture_wait(f, "mode", "DISARMED", 5) || fixture_wait(f, "mode", "FAULT", 0));
    if (!fixture_bridge(f, NULL) || !fixture_wait(f, "link.connected", "true", 10))
        return false;
    json_t *s = fixture_status(f);
    EXPECT_STR(js_str(s, "mode", ""), js_true(s, "latched") && !strcmp(js_str(s, "mode", ""), "FAULT") ? "FAULT" : "DISARMED");
    json_decref(s);
    for (int i = 0; i < 50 && !fixture_post(f, "/reset", NULL, NULL, 0); i++)
        usleep(100000);
    return true;
}

static bool kill_trainer(struct fixture *f)
{
    pid_t trainer = fixture_trainer(f);

    if (trainer > 0)
        kill(trainer, SIGKILL);
    usleep(300000);
    json_t *s = fixture_status(f);
    EXPECT(s != NULL);
    json_decref(s);
    EXPECT(half_models(f) == 0);
    return true;
}

TEST(daemon_bridge_and_trainer_killed_at_random_moments_leave_everything_in_order)
{
    struct fixture f;
    struct rng     r;
    char           why[600];
    int            rounds = test_rounds(20, 1000);

    rng_seed(&r, 7);
    fixture_init(&f, quick);
    EXPECT(config_load(f.config, &config, why, sizeof why) == 0);
    bool ok = fixture_daemon(&f, NULL) && fixture_bridge(&f, NULL);
    for (int i = 0; ok && i < rounds; i++) {
        /* Not always armed when it is hit: that is a moment, too. */
        bool arm = rng_below(&r, 5) > 0;
        if (arm)
            ok = fixture_arm(&f, 60); /* as long as it takes on a machine that does something else, too */
        usleep((useconds_t)rng_below(&r, 1500000));
        uint64_t which = rng_below(&r, 5);
        int      was   = test_failures;
        ok = ok && (which < 2 ? kill_daemon(&f) : which < 4 ? kill_bridge(&f) : kill_trainer(&f));
        if (which == 4)
            EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0) && fixture_wait(&f, "mode", "DISARMED", 3));
        if (!ok || test_failures > was) {
            printf("    round %d: %s killed, %s\n", i, which < 2 ? "daemon" : which < 4 ? "bridge" : "trainer", arm ? "armed" : "disarmed");
            break;
        }
    }
    EXPECT(ok);
    fixture_end(&f);
    EXPECT(committed(&f) > 0);
}

/* ---- what the robot side does meanwhile ---- */

static const double TIMEOUT_MS = 120, PERIOD_MS = 40; /* limber-bridge's default; 25 Hz */

/* The times without a command after which it damped, as the robot side's own record has them: how many, and the longest. */
static int damped(const struct fixture *f, double *longest_ms)
{
    char   line[400];
    double ms;
    int    n   = 0;
    FILE  *log = fopen(f->bridge.log, "re");

    *longest_ms = 0;
    while (log && fgets(line, sizeof line, log)) {
        const char *at = strstr(line, "no command for ");

        if (at && strstr(at, "damps by itself") && sscanf(at, "no command for %lf", &ms) == 1) {
            *longest_ms = ms > *longest_ms ? ms : *longest_ms;
            n++;
        }
    }
    if (log)
        fclose(log);
    return n;
}

/* It keeps time where it may, as a robot does: a simulator that is late by itself says nothing about robots. */
static const char *const keeps_time[] = { "--rt", NULL };

/* One kill of an armed daemon.  False: it was not armed any more, by a stall of this machine. */
static bool one_kill(struct fixture *f, uint64_t after_us)
{
    double before_ms, ms;

    usleep((useconds_t)after_us);
    int before = damped(f, &before_ms);
    json_t *s  = fixture_status(f);
    bool armed = s && (!strcmp(js_str(s, "mode", ""), "EXPLORE") || !strcmp(js_str(s, "mode", ""), "ADVANCED") ||
                       !strcmp(js_str(s, "mode", ""), "BASELINE"));
    json_decref(s);
    kill(f->daemon.pid, SIGKILL);
    usleep((useconds_t)((TIMEOUT_MS + 4 * PERIOD_MS) * 1e3));
    int n = damped(f, &ms);
    if (!armed)
        return false;
    EXPECT(n == before + 1);
    EXPECT(ms >= TIMEOUT_MS && ms <= TIMEOUT_MS + PERIOD_MS);
    return true;
}

TEST(a_robot_side_whose_daemon_is_killed_while_armed_damps_within_its_timeout_and_a_period)
{
    struct fixture f;
    struct rng     r;
    char           why[600];
    double         ms;
    int            rounds = test_rounds(8, 1000), kills = 0;

    rng_seed(&r, 11);
    fixture_init(&f, quick);
    EXPECT(config_load(f.config, &config, why, sizeof why) == 0);
    f.bridge_talks = true;
    bool ok        = fixture_daemon(&f, NULL) && fixture_bridge(&f, keeps_time);
    for (int i = 0; ok && i < rounds && !test_failures; i++) {
        ok = fixture_arm(&f, 60);
        kills += ok && one_kill(&f, rng_below(&r, 1000000));
        ok = ok && restarted_disarmed(&f);
    }
    EXPECT(ok && kills >= rounds / 2);
    damped(&f, &ms);
    printf("    %d kills, at most %.1f ms without a command before it damped\n", kills, ms);
    fixture_end(&f);
}

/* Its second start is a fork of a process with real-time threads, unlike the first. */
TEST(a_trainer_that_is_killed_is_started_again_and_makes_the_model)
{
    struct fixture f;

    fixture_init(&f, quick);
    EXPECT(fixture_daemon(&f, NULL));
    pid_t first = fixture_trainer(&f), second = 0;
    EXPECT(first > 0);
    kill(first, SIGKILL);
    for (int i = 0; i < 100 && (second <= 0 || second == first); i++) {
        usleep(50000);
        second = fixture_trainer(&f);
    }
    usleep(500000);
    EXPECT(second > 0 && second != first && fixture_trainer(&f) == second);
    static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };
    EXPECT(fixture_bridge(&f, lockstep) && fixture_arm(&f, 20));
    EXPECT(fixture_wait(&f, "model.version", "1", 30));
    fixture_end(&f);
}
