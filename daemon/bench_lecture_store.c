/* bench_lecture_store.c - stores of experience for the lecture's experiments, with nothing but SQLite. */
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench_lecture.h"

static sqlite3 *open_read(const char *store)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, 2000);
    return db;
}

/* A statement with whole numbers for ?1 and ?2; NULL: it cannot be. */
static sqlite3_stmt *ask(sqlite3 *db, const char *sql, long a, long b)
{
    sqlite3_stmt *q = NULL;

    if (!db || sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        return NULL;
    if (sqlite3_bind_parameter_count(q) >= 1)
        sqlite3_bind_int64(q, 1, a);
    if (sqlite3_bind_parameter_count(q) >= 2)
        sqlite3_bind_int64(q, 2, b);
    return q;
}

int store_returns(const char *store, long from_number, double *ret, int max)
{
    sqlite3      *db = open_read(store);
    sqlite3_stmt *q =
        ask(db,
            "SELECT \"return\" FROM trials WHERE kind = 'planned' AND status = 'finished' AND number >= ?1"
            " AND \"return\" IS NOT NULL ORDER BY number",
            from_number, 0);
    int n = q ? 0 : -1;

    while (q && n < max && sqlite3_step(q) == SQLITE_ROW)
        ret[n++] = sqlite3_column_double(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

long store_training_steps(const char *store)
{
    sqlite3      *db = open_read(store);
    sqlite3_stmt *q  = ask(db, "SELECT COALESCE(SUM(steps), 0) FROM models", 0, 0);
    long          n  = q && sqlite3_step(q) == SQLITE_ROW ? (long)sqlite3_column_int64(q, 0) : 0;

    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

int store_versions(const char *store, long from, long to, struct store_versions *v)
{
    sqlite3      *db = open_read(store);
    sqlite3_stmt *q =
        ask(db,
            "SELECT DISTINCT model_version FROM transitions WHERE trial_id IN (SELECT id FROM trials WHERE kind"
            " = 'planned' AND status = 'finished' AND number BETWEEN ?1 AND ?2) ORDER BY 1",
            from, to);

    *v = (struct store_versions){ .first = -1 };
    for (; q && sqlite3_step(q) == SQLITE_ROW; v->versions++)
        v->first = v->versions ? v->first : (long)sqlite3_column_int64(q, 0);
    int rc = q ? 0 : -1;
    sqlite3_finalize(q);
    sqlite3_close(db);
    return rc;
}

int store_track(const char *store, long number, const char *x, const char *y, double (*track)[2], int max)
{
    sqlite3 *db = open_read(store);
    char    *sql =
        sqlite3_mprintf("SELECT \"%w\", \"%w\", \"next.%w\", \"next.%w\" FROM transitions WHERE trial_id = (SELECT"
                        " max(id) FROM trials WHERE number = ?1 AND kind = 'planned' AND status = 'finished')"
                        " ORDER BY step",
                        x, y, x, y);
    sqlite3_stmt *q = sql ? ask(db, sql, number, 0) : NULL;
    int           n = 0;

    while (q && n < max && sqlite3_step(q) == SQLITE_ROW)
        for (int k = n ? 2 : 0; k < 4 && n < max; k += 2, n++) {
            track[n][0] = sqlite3_column_double(q, k);
            track[n][1] = sqlite3_column_double(q, k + 1);
        }
    sqlite3_free(sql);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n ? n : -1;
}

bool store_model_file(const char *store, char *file, size_t size)
{
    sqlite3      *db = open_read(store);
    sqlite3_stmt *q = ask(db, "SELECT file FROM models WHERE status = 'published' ORDER BY version DESC LIMIT 1", 0, 0);
    bool          is = q && sqlite3_step(q) == SQLITE_ROW;

    if (is)
        snprintf(file, size, "%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return is;
}

/* ---- putting together ---- */

static int run(sqlite3 *db, char *sql)
{
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return rc;
}

/* All columns of a table but some of its own names, each with a comma before it. */
static char *columns(sqlite3 *db, const char *table, const char *const *but)
{
    char         *sql  = sqlite3_mprintf("PRAGMA main.table_info(%w)", table);
    sqlite3_str  *list = sqlite3_str_new(db);
    sqlite3_stmt *q    = sql ? ask(db, sql, 0, 0) : NULL;

    while (q && sqlite3_step(q) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(q, 1);
        bool        out  = false;

        for (int i = 0; but[i]; i++)
            out = out || !strcmp(name, but[i]);
        if (!out)
            sqlite3_str_appendf(list, ", \"%w\"", name);
    }
    sqlite3_finalize(q);
    sqlite3_free(sql);
    return sqlite3_str_finish(list);
}

/* The tables of the first store, and its meta: robot, columns. */
static int make_tables(sqlite3 *db)
{
    sqlite3_stmt *q  = ask(db,
                           "SELECT sql FROM s0.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
                            " ORDER BY type DESC",
                           0, 0);
    int           rc = q ? SQLITE_OK : SQLITE_ERROR;

    while (rc == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        rc = sqlite3_exec(db, (const char *)sqlite3_column_text(q, 0), NULL, NULL, NULL);
    sqlite3_finalize(q);
    return rc == SQLITE_OK ? sqlite3_exec(db, "INSERT INTO main.meta SELECT * FROM s0.meta", NULL, NULL, NULL) : rc;
}

/* The ith trial of store k becomes trial i n + k. */
static int take(sqlite3 *db, int k, int n, int every)
{
    static const char *const        of_trial[] = { "id",     "number",      "kind",       "attempt",
                                                   "reason", "model_first", "model_last", NULL },
                             *const of_step[]  = { "id", "trial_id", "model_version", NULL };
    char *trial = columns(db, "trials", of_trial), *step = columns(db, "transitions", of_step);
    int   rc = trial && step ? SQLITE_OK : SQLITE_NOMEM;

    rc =
        rc ? rc
           : run(db,
                 sqlite3_mprintf("CREATE TEMP TABLE taken AS SELECT id, (row_number() OVER (ORDER BY id) - 1) AS i FROM"
                                 " s%d.trials WHERE status = 'finished' AND kind IN ('random', 'planned')",
                                 k));
    rc = rc ? rc : run(db, sqlite3_mprintf("DELETE FROM taken WHERE i %% %d != %d", every, k % every));
    rc = rc ? rc
            : run(db, sqlite3_mprintf(
                          "INSERT INTO main.trials (id, number, kind, attempt, model_first, model_last, reason%s)"
                          " SELECT i * %d + %d + 1, 0, 'random', i * %d + %d + 1, 0, 0,"
                          " s.kind || ' ' || s.number || ' of store %d'%s FROM taken JOIN s%d.trials AS s"
                          " USING (id)",
                          trial, n, k, n, k, k + 1, trial, k));
    rc = rc ? rc
            : run(db, sqlite3_mprintf(
                          "INSERT INTO main.transitions (trial_id, model_version%s) SELECT i * %d + %d + 1, 0%s FROM"
                          " taken JOIN s%d.transitions AS s ON s.trial_id = taken.id ORDER BY i, s.step",
                          step, n, k, step, k));
    rc = rc ? rc : run(db, sqlite3_mprintf("DROP TABLE taken"));
    sqlite3_free(trial);
    sqlite3_free(step);
    return rc;
}

/* Whether store k is of the same robot with the same columns as the first. */
static bool alike(sqlite3 *db, int k)
{
    char *sql =
        sqlite3_mprintf("SELECT count(*) FROM (SELECT key, value FROM s0.meta EXCEPT SELECT key, value FROM s%d.meta)",
                        k);
    sqlite3_stmt *q   = sql ? ask(db, sql, 0, 0) : NULL;
    bool          yes = q && sqlite3_step(q) == SQLITE_ROW && sqlite3_column_int(q, 0) == 0;

    sqlite3_finalize(q);
    sqlite3_free(sql);
    return yes;
}

static long count(sqlite3 *db)
{
    sqlite3_stmt *q = ask(db, "SELECT count(*) FROM main.transitions", 0, 0);
    long          n = q && sqlite3_step(q) == SQLITE_ROW ? (long)sqlite3_column_int64(q, 0) : -1;

    sqlite3_finalize(q);
    return n;
}

long store_merge(const char *const *from, int n, int every, const char *to, char *why, size_t why_size)
{
    sqlite3 *db   = NULL;
    long     rows = -1;
    int      rc;

    unlink(to);
    rc = sqlite3_open_v2(to, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    for (int k = 0; k < n && rc == SQLITE_OK; k++)
        rc = access(from[k], R_OK) == 0 ? run(db, sqlite3_mprintf("ATTACH %Q AS s%d", from[k], k)) : SQLITE_CANTOPEN;
    rc     = rc ? rc : sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    rc     = rc ? rc : make_tables(db);
    why[0] = 0;
    for (int k = 0; k < n && rc == SQLITE_OK; k++) {
        if (!alike(db, k)) {
            snprintf(why, why_size, "%s and %s are of different robots or columns", from[0], from[k]);
            rc = SQLITE_MISMATCH;
        } else {
            rc = take(db, k, n, every);
        }
    }
    rc = rc ? rc : sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rows = count(db);
    if (rows < 0 && !why[0])
        snprintf(why, why_size, "cannot put experience together in %s: %s", to,
                 sqlite3_extended_errcode(db) ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    sqlite3_close(db);
    if (rows < 0)
        unlink(to);
    return rows;
}
