/* test_learner.c - which models the daemon keeps, goes on with and would go back to, with whole daemons and real trainings. */
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char *const quick[] = {
    "steps: 200", "steps: 40", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100", "count: 15",
    "count: 60",  NULL
};
static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };

/* First column of the first row; -1: none. */
static long asked(const struct fixture *f, const char *sql)
{
    char          path[300];
    sqlite3      *db  = NULL;
    sqlite3_stmt *st  = NULL;
    long          got = -1;

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    EXPECT(sqlite3_open(path, &db) == SQLITE_OK);
    EXPECT(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW)
        got = (long)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return got;
}

static void model_path(const struct fixture *f, long version, char *out, size_t n)
{
    snprintf(out, n, "%s/models/model-%ld.model", f->dir, version);
}

static bool there(const struct fixture *f, long version)
{
    char path[300];

    model_path(f, version, path, sizeof path);
    return access(path, R_OK) == 0;
}

/* Learned until there are `models` that fly, and ended in order. */
static bool learned(struct fixture *f, long models)
{
    bool good = fixture_daemon(f, NULL) && fixture_bridge(f, lockstep) && fixture_arm(f, 10);

    for (int i = 0; good && i < 600; i++) {
        if (fixture_number(f, "model.published") >= (double)models)
            break;
        usleep(100000);
    }
    good = good && fixture_number(f, "model.published") >= (double)models;
    fixture_end(f);
    return good;
}

/* Started once more: is there an event with this in it? */
static bool told_at_start(struct fixture *f, const char *part)
{
    bool told = false;

    if (!fixture_daemon(f, NULL))
        return false;
    json_t       *status = fixture_status(f);
    const json_t *events = js_at(status, "events");
    for (size_t i = 0; i < json_array_size(events); i++)
        told |= strstr(js_str(json_array_get(events, i), "text", ""), part) != NULL;
    json_decref(status);
    fixture_end(f);
    return told;
}

TEST(a_restarted_daemon_goes_back_to_no_model_that_was_rolled_back)
{
    struct fixture f;
    char           path[300], sql[200];

    fixture_init(&f, quick);
    EXPECT(learned(&f, 3));
    long last = asked(&f, "SELECT max(version) FROM models WHERE status = 'published'");
    long bad =
        asked(&f, "SELECT version FROM models WHERE status = 'published' ORDER BY version DESC LIMIT 1 OFFSET 1");
    long before =
        asked(&f, "SELECT version FROM models WHERE status = 'published' ORDER BY version DESC LIMIT 1 OFFSET 2");

    EXPECT(last > bad && bad > before && before > 0);
    snprintf(sql, sizeof sql, "UPDATE models SET status = 'rolled_back' WHERE version = %ld", bad);
    asked(&f, sql);
    model_path(&f, bad, path, sizeof path);
    EXPECT(unlink(path) == 0); /* so that it would be told if it were looked for */
    EXPECT(!told_at_start(&f, "cannot be rolled back"));
    model_path(&f, before, path, sizeof path);
    EXPECT(unlink(path) == 0);
    EXPECT(told_at_start(&f, "cannot be rolled back"));
}

TEST(files_of_the_newest_hundred_models_are_kept)
{
    struct fixture f;
    char           sql[200];

    fixture_init(&f, quick);
    EXPECT(learned(&f, 2));
    long last = asked(&f, "SELECT max(version) FROM models WHERE status = 'published'");
    long old  = asked(&f, "SELECT min(version) FROM models WHERE status = 'published'");

    EXPECT(there(&f, last) && there(&f, old));
    snprintf(sql, sizeof sql, "INSERT INTO models (version, parent, status) VALUES (%ld, 0, 'refused')", old + 99);
    asked(&f, sql);
    EXPECT(learned(&f, 1)); /* since its start: at least old + 100 */
    long newest = asked(&f, "SELECT max(version) FROM models WHERE status = 'published'");
    EXPECT(newest >= old + 100 && there(&f, newest) && !there(&f, old));
    EXPECT(there(&f, last) == (last > newest - 100));
}
