/* bench_learn_store.c - what a seed's store says, read with nothing but SQLite. */
#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench_learn.h"

enum { POSTURE_TRIALS = 5 };

/* The first column of the first row; NaN: no row or NULL. */
__attribute__((format(printf, 2, 3))) static double ask(sqlite3 *db, const char *format, ...)
{
    sqlite3_stmt *rows   = NULL;
    double        answer = (double)NAN;
    va_list       args;

    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sql && sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK && sqlite3_step(rows) == SQLITE_ROW &&
        sqlite3_column_type(rows, 0) != SQLITE_NULL)
        answer = sqlite3_column_double(rows, 0);
    sqlite3_finalize(rows);
    sqlite3_free(sql);
    return answer;
}

static long models(sqlite3 *db, const char *status)
{
    double n = ask(db, "SELECT count(*) FROM models WHERE status = '%s'", status);

    return isfinite(n) ? (long)n : -1;
}

/* Share of steps whose angle, in -pi .. pi, is further from 0 than the limit. */
static double posture(sqlite3 *db, const char *observation, double limit)
{
    sqlite3_stmt *rows = NULL;
    long          n = 0, beyond = 0;
    char *sql = sqlite3_mprintf("SELECT \"%w\" FROM transitions WHERE trial_id IN (SELECT id FROM trials WHERE kind = "
                                "'planned' AND status = 'finished' ORDER BY id DESC LIMIT %d)",
                                observation, POSTURE_TRIALS);

    if (sql && sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK)
        for (; sqlite3_step(rows) == SQLITE_ROW; n++)
            beyond += fabs(remainder(sqlite3_column_double(rows, 0), 6.283185307179586)) > limit;
    sqlite3_finalize(rows);
    sqlite3_free(sql);
    return n ? (double)beyond / (double)n : (double)NAN;
}

/* Rewards of one sign make a trial that lacks steps look better or worse than it was: with more than one in a hundred
 * gone it is no result. */
static void drop_incomplete(sqlite3 *db, struct curve *c, struct learn_facts *f)
{
    sqlite3_stmt *rows = NULL;
    int           i    = 0, missing;

    if (sqlite3_prepare_v2(
            db,
            "SELECT reason, steps, kind FROM trials WHERE status = 'finished' AND trials.return IS NOT NULL ORDER "
            "BY id",
            -1, &rows, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(rows) == SQLITE_ROW) {
        const char *reason  = (const char *)sqlite3_column_text(rows, 0);
        const char *kind    = (const char *)sqlite3_column_text(rows, 2);
        bool        planned = kind && !strcmp(kind, "planned");

        missing = reason && sscanf(reason, "%d steps not stored", &missing) == 1 ? missing : 0;
        f->missing += missing;
        if (planned && i < c->n && missing * 100 > sqlite3_column_int(rows, 1) + missing)
            c->ret[i] = (double)NAN;
        i += planned;
    }
    sqlite3_finalize(rows);
}

int learn_store(const char *store, const struct learn_goals *g, struct curve *c, struct learn_facts *f, char *why,
                size_t why_size)
{
    sqlite3 *db = NULL;

    *f = (struct learn_facts){ .iterations    = (double)NAN,
                               .beyond        = (double)NAN,
                               .train_s_mean  = (double)NAN,
                               .train_s_total = (double)NAN,
                               .published     = -1,
                               .refused       = -1,
                               .rolled_back   = -1 };
    if (curve_load(store, c, why, why_size) != 0)
        return -1;
    f->trials = c->n;
    if (sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        snprintf(why, why_size, "%s: %s", store, sqlite3_errmsg(db));
        sqlite3_close(db);
        return -1;
    }
    sqlite3_busy_timeout(db, 2000);
    drop_incomplete(db, c, f);
    f->aborted       = (int)ask(db, "SELECT count(*) FROM trials WHERE status = 'aborted'");
    f->iterations    = ask(db, "SELECT avg(iterations) FROM transitions WHERE model_version > 0");
    f->train_s_mean  = ask(db, "SELECT avg(train_s) FROM models");
    f->train_s_total = ask(db, "SELECT sum(train_s) FROM models");
    f->rolled_back   = models(db, "rolled_back");
    f->published     = models(db, "published") + (f->rolled_back > 0 ? f->rolled_back : 0); /* that once were */
    f->refused       = models(db, "refused");
    if (g->posture[0])
        f->beyond = posture(db, g->posture, g->posture_limit);
    sqlite3_close(db);
    return 0;
}

json_t *learn_trips(const char *store)
{
    sqlite3      *db    = NULL;
    sqlite3_stmt *rows  = NULL;
    json_t       *trips = json_array();

    if (sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "SELECT gate_trips FROM trials WHERE kind = 'planned' AND status = 'finished' ORDER BY id",
                           -1, &rows, NULL) != SQLITE_OK) {
        json_decref(trips);
        trips = json_null();
    }
    while (rows && sqlite3_step(rows) == SQLITE_ROW)
        json_array_append_new(trips, sqlite3_column_type(rows, 0) == SQLITE_NULL
                                         ? json_null()
                                         : json_integer(sqlite3_column_int(rows, 0)));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return trips;
}
