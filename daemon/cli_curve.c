/* cli_curve.c - learning curves as numbers, and reading them from a store. */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_plot.h"

double curve_best(const struct curve *c, int i)
{
    double best = (double)NAN;

    for (int k = 0; k <= i; k++)
        if (isfinite(c->ret[k]) && !(c->ret[k] <= best))
            best = c->ret[k];
    return best;
}

int curve_first(const struct curve *c, double x)
{
    for (int i = 0; i < c->n; i++)
        if (c->ret[i] >= x)
            return i + 1;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double curve_window(const struct curve *c, int window, int i)
{
    double sum = 0;

    if (i + 1 < window)
        return (double)NAN;
    for (int k = i + 1 - window; k <= i; k++)
        sum += c->ret[k];
    return sum / window;
}

double curve_last_mean(const struct curve *c, int window)
{
    int n = c->n < window ? c->n : window;

    return n ? curve_window(c, n, c->n - 1) : (double)NAN;
}

static double median_of(const struct curve *c, int curves, int i, bool best)
{
    double *v = malloc((size_t)(curves + 1) * sizeof *v), median = (double)NAN;
    int     n = 0;

    for (int k = 0; v && k < curves; k++)
        if (i < c[k].n && isfinite(v[n] = best ? curve_best(&c[k], i) : c[k].ret[i]))
            n++;
    if (n) {
        qsort(v, (size_t)n, sizeof *v, by_value);
        median = n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
    }
    free(v);
    return median;
}

double curve_median_best(const struct curve *c, int curves, int i)
{
    return median_of(c, curves, i, true);
}

double curve_median(const struct curve *c, int curves, int i)
{
    return median_of(c, curves, i, false);
}

static sqlite3 *open_store(const char *store, char *why, size_t why_size)
{
    sqlite3 *db = NULL;

    if (access(store, R_OK) != 0) {
        snprintf(why, why_size, "cannot read %s: no such store", store);
        return NULL;
    }
    if (sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        snprintf(why, why_size, "%s: %s", store, sqlite3_errmsg(db));
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, 2000);
    return db;
}

int curve_load(const char *store, struct curve *c, char *why, size_t why_size)
{
    sqlite3_stmt *rows = NULL;
    sqlite3      *db   = open_store(store, why, why_size);
    int           step = SQLITE_ERROR;

    c->n      = 0;
    c->random = (double)NAN;
    if (!db)
        return -1;
    if (sqlite3_prepare_v2(
            db,
            "SELECT kind, trials.return FROM trials WHERE status = 'finished' AND trials.return IS NOT NULL "
            "ORDER BY id",
            -1, &rows, NULL) == SQLITE_OK) {
        while ((step = sqlite3_step(rows)) == SQLITE_ROW) {
            const char *kind = (const char *)sqlite3_column_text(rows, 0);
            double      ret  = sqlite3_column_double(rows, 1);

            if (kind && !strcmp(kind, "random") && !isfinite(c->random))
                c->random = ret;
            else if (kind && !strcmp(kind, "planned") && c->n < CURVE_MAX)
                c->ret[c->n++] = ret;
        }
    }
    if (step != SQLITE_DONE)
        snprintf(why, why_size, "%s is not an experience store: %s", store, sqlite3_errmsg(db));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return step == SQLITE_DONE ? 0 : -1;
}

double store_train_s(const char *store)
{
    char          why[200];
    sqlite3_stmt *rows = NULL;
    sqlite3      *db   = open_store(store, why, sizeof why);
    double        mean = (double)NAN;

    if (!db)
        return mean;
    if (sqlite3_prepare_v2(db, "SELECT avg(train_s) FROM models", -1, &rows, NULL) == SQLITE_OK &&
        sqlite3_step(rows) == SQLITE_ROW && sqlite3_column_type(rows, 0) != SQLITE_NULL)
        mean = sqlite3_column_double(rows, 0);
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return mean;
}
