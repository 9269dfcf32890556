/* store.c - experience in SQLite: schema, identity check, prepared statements. */
#include "models/store.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"

enum { SCHEMA_VERSION = 1, BUSY_MS = 1000, EVENTS_TRIM = 256 };

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    TRIAL_BEGIN,
    TRIAL_UPDATE,
    TRANSITION,
    MODEL,
    MODEL_STATUS,
    EVENT,
    RECOVER,
    TRIALS,
    MODELS,
    TRANSITIONS,
    COUNT,
    STATEMENTS,
};

struct store {
    sqlite3            *db;
    struct store_schema schema;
    bool                viewed; /* trials is a view: nothing can be written */
    sqlite3_stmt       *st[STATEMENTS];
    char                error[320];
};

static const char TABLES[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE trials (id INTEGER PRIMARY KEY, number INTEGER, attempt INTEGER, kind TEXT, status TEXT, reason TEXT,"
    " seed INTEGER, steps INTEGER, return REAL, reported_return REAL, model_first INTEGER, model_last INTEGER,"
    " prequential_rmse REAL, started REAL, ended REAL, task TEXT, gate_trips INTEGER,"
    " spread_scores INTEGER, spread_worst REAL, spread_sum REAL, residual_scores INTEGER, residual_worst REAL,"
    " residual_sum REAL, surprise_scores INTEGER, surprise_worst REAL, surprise_sum REAL);"
    "CREATE TABLE models (version INTEGER PRIMARY KEY, parent INTEGER, trial_id INTEGER, transitions INTEGER,"
    " steps INTEGER, train_s REAL, file TEXT, crc INTEGER, status TEXT, reason TEXT, nll REAL, nll_incumbent REAL,"
    " created REAL);"
    "CREATE TABLE events (id INTEGER PRIMARY KEY, unix_s REAL, mono_ns INTEGER, trial INTEGER, kind TEXT, text TEXT);";

#define SCORES                                                                                                              \
    "spread_scores, spread_worst, spread_sum, residual_scores, residual_worst, residual_sum, surprise_scores, "             \
    "surprise_worst, surprise_sum"

/* TRANSITION and TRANSITIONS name the robot's columns and are made up by column_statement(). */
static const char *const SQL[STATEMENTS] = {
    [BEGIN]    = "BEGIN IMMEDIATE",
    [COMMIT]   = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [TRIAL_BEGIN] =
        "INSERT INTO trials (number, kind, status, reason, seed, steps, return, reported_return, prequential_rmse,"
        " model_first, model_last, started, ended, task, gate_trips, " SCORES ", id, attempt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
        "?9,"
        " ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, (SELECT count(*) + 1 FROM trials WHERE number = ?1 AND kind = ?2))",
    [TRIAL_UPDATE] =
        "UPDATE trials SET number = ?1, kind = ?2, status = ?3, reason = ?4, seed = ?5, steps = ?6, return = ?7,"
        " reported_return = ?8, prequential_rmse = ?9, model_first = ?10, model_last = ?11, started = ?12, ended = ?13,"
        " task = ?14, gate_trips = ?15, (" SCORES ") = (?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) WHERE id = ?25",
    [MODEL]        = "INSERT OR REPLACE INTO models (version, parent, trial_id, transitions, steps, train_s, file, crc,"
                     " status, reason, nll, nll_incumbent, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [MODEL_STATUS] = "UPDATE models SET status = ?2, reason = ?3 WHERE version = ?1",
    [EVENT]        = "INSERT INTO events (unix_s, mono_ns, trial, kind, text) VALUES (?, ?, ?, ?, ?)",
    [RECOVER]      = "UPDATE trials SET status = 'aborted', reason = 'the daemon ended during this trial',"
                     " steps = (SELECT count(*) FROM transitions WHERE trial_id = trials.id) WHERE status = 'running'",
    [TRIALS]       = "SELECT id, number, kind, status, reason, seed, steps, return, reported_return, prequential_rmse,"
                     " model_first, model_last, started, ended, task, gate_trips, " SCORES " FROM trials ORDER BY id",
    [MODELS]       = "SELECT version, parent, trial_id, transitions, steps, train_s, file, crc, status, reason, nll,"
                     " nll_incumbent, created FROM models ORDER BY version",
    [COUNT]        = "SELECT count(*) FROM transitions",
};

/* ---- errors, values ---- */

static int failed(struct store *s, const char *doing)
{
    snprintf(s->error, sizeof s->error, "cannot %s: %s", doing, sqlite3_errmsg(s->db));
    return -1;
}

const char *store_error(const struct store *s)
{
    return s->error;
}

static void bind_real(sqlite3_stmt *st, int i, double v)
{
    if (isfinite(v))
        sqlite3_bind_double(st, i, v);
    else
        sqlite3_bind_null(st, i);
}

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
    sqlite3_bind_text(st, i, text, -1, SQLITE_TRANSIENT);
}

/* Unsigned 64-bit numbers are kept as the signed ones with the same bits. */
static void bind_u64(sqlite3_stmt *st, int i, uint64_t v)
{
    sqlite3_bind_int64(st, i, (int64_t)v);
}

static double real(sqlite3_stmt *st, int i)
{
    return sqlite3_column_type(st, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, i);
}

static void text(sqlite3_stmt *st, int i, char *out, size_t size)
{
    const unsigned char *t = sqlite3_column_text(st, i);

    snprintf(out, size, "%s", t ? (const char *)t : "");
}

static uint64_t u64(sqlite3_stmt *st, int i)
{
    return (uint64_t)sqlite3_column_int64(st, i);
}

/* Runs a statement that gives no rows, and readies it for the next time. */
static int run(struct store *s, enum statement which, const char *doing)
{
    sqlite3_stmt *st = s->st[which];
    int           rc = sqlite3_step(st), err = rc == SQLITE_DONE ? 0 : failed(s, doing);

    sqlite3_reset(st);
    return err;
}

/* ---- the robot's columns ---- */

/* Each as ', table."name" type'. */
static void append_columns(sqlite3_str *q, const struct store_schema *c, const char *table, const char *type)
{
    for (int i = 0; i < c->nx; i++)
        sqlite3_str_appendf(q, ", %s\"%w\"%s", table, c->observation[i], type);
    for (int i = 0; i < c->na; i++)
        sqlite3_str_appendf(q, ", %s\"a.%w\"%s", table, c->action[i], type);
    for (int i = 0; i < c->nx; i++)
        sqlite3_str_appendf(q, ", %s\"next.%w\"%s", table, c->observation[i], type);
}

/* SQL of the statement, sqlite3_free() it; NULL when out of memory. */
static char *column_statement(const struct store_schema *c, enum statement which)
{
    sqlite3_str *q = sqlite3_str_new(NULL);

    if (which == TRANSITION) {
        sqlite3_str_appendall(q, "INSERT INTO transitions (trial_id, step, model_version, seed, iterations");
        append_columns(q, c, "", "");
        sqlite3_str_appendall(q, ") VALUES (?, ?, ?, ?, ?");
        for (int i = 0; i < 2 * c->nx + c->na; i++)
            sqlite3_str_appendall(q, ", ?");
        sqlite3_str_appendall(q, ")");
    } else {
        sqlite3_str_appendall(q, "SELECT trial_id, trials.number, step, model_version, transitions.seed, iterations");
        append_columns(q, c, "transitions.", "");
        sqlite3_str_appendall(q, " FROM transitions JOIN trials ON trials.id = trial_id WHERE trial_id >= ?"
                                 " ORDER BY trial_id, transitions.id");
    }
    return sqlite3_str_finish(q);
}

/* Creation of the transitions table; sqlite3_free() it. */
static char *transitions_table(const struct store_schema *c)
{
    sqlite3_str *q = sqlite3_str_new(NULL);

    sqlite3_str_appendall(q, "CREATE TABLE transitions (id INTEGER PRIMARY KEY, trial_id INTEGER NOT NULL REFERENCES"
                             " trials(id), step INTEGER, model_version INTEGER, seed INTEGER, iterations INTEGER");
    append_columns(q, c, "", " REAL");
    sqlite3_str_appendall(q, "); CREATE INDEX transitions_by_trial ON transitions (trial_id)");
    return sqlite3_str_finish(q);
}

/* "a, b, c" */
static char *joined(const char *names, size_t stride, int n)
{
    sqlite3_str *q = sqlite3_str_new(NULL);

    for (int i = 0; i < n; i++)
        sqlite3_str_appendf(q, "%s%s", i ? ", " : "", names + (size_t)i * stride);
    return sqlite3_str_finish(q);
}

/* ---- opening ---- */

struct fact {
    const char *key, *what;
    char       *value; /* wanted */
};

enum { FACTS = 4 };

static void facts_fill(struct fact f[FACTS], const struct store_schema *c)
{
    f[0] = (struct fact){ "schema_version", "schema version", sqlite3_mprintf("%d", SCHEMA_VERSION) };
    f[1] = (struct fact){ "robot", "robot", sqlite3_mprintf("%s", c->robot) };
    f[2] = (struct fact){ "observations", "observations", joined(c->observation[0], sizeof c->observation[0], c->nx) };
    f[3] = (struct fact){ "actions", "actions", joined(c->action[0], sizeof c->action[0], c->na) };
}

static void facts_free(struct fact f[FACTS])
{
    for (int i = 0; i < FACTS; i++)
        sqlite3_free(f[i].value);
}

/* First column of the first row of a query as text; false where there is none.  Trouble is left in sqlite3_errcode. */
static bool query_text(sqlite3 *db, const char *sql, const char *arg, char *out, size_t size)
{
    sqlite3_stmt *st = NULL;
    bool          found;

    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        return false;
    if (arg)
        bind_text(st, 1, arg);
    found = sqlite3_step(st) == SQLITE_ROW;
    if (found)
        text(st, 0, out, size);
    sqlite3_finalize(st);
    return found;
}

static bool create(struct store *s, const char *path, char *why, size_t why_size)
{
    struct fact f[FACTS];
    char       *table = transitions_table(&s->schema);
    bool        good;

    /* All in one transaction: a database is either empty or whole. */
    good = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;", NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_exec(s->db, TABLES, NULL, NULL, NULL) == SQLITE_OK && table &&
           sqlite3_exec(s->db, table, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(table);
    facts_fill(f, &s->schema);
    for (int i = 0; i < FACTS && good; i++) {
        char *q = sqlite3_mprintf("INSERT INTO meta VALUES (%Q, %Q)", f[i].key, f[i].value);

        good = q && sqlite3_exec(s->db, q, NULL, NULL, NULL) == SQLITE_OK;
        sqlite3_free(q);
    }
    facts_free(f);
    good = good && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!good)
        snprintf(why, why_size, "%s: cannot create the experience store: %s", path, sqlite3_errmsg(s->db));
    return good;
}

/* Is this our robot's store?  Nothing is changed before this has said yes. */
static bool check_identity(struct store *s, const char *path, char *why, size_t why_size)
{
    struct fact f[FACTS];
    char        found[4096];
    bool        good = true;

    facts_fill(f, &s->schema);
    for (int i = 0; i < FACTS && good; i++) {
        good = query_text(s->db, "SELECT value FROM meta WHERE key = ?", f[i].key, found, sizeof found);
        if (!good) {
            snprintf(why, why_size, "%s: is not a Limber experience store: no %s in its meta table (%s)", path,
                     f[i].key, sqlite3_errmsg(s->db));
        } else if (!f[i].value || strcmp(found, f[i].value) != 0) {
            good = false;
            snprintf(why, why_size,
                     "%s: holds the %s \"%s\", wanted is \"%s\"; move it away or choose another "
                     "paths.store",
                     path, f[i].what, found, f[i].value ? f[i].value : "");
        }
    }
    facts_free(f);
    return good;
}

/* Stores of version 1 began without some of the trials' columns: writers add them, whoever only reads sees a view with them. */
static bool add_late_columns(struct store *s, bool read_only)
{
    static const char *const late[][2] = { { "task", "TEXT" }, { "gate_trips", "INTEGER" },
                                             { "spread_scores", "INTEGER" }, { "spread_worst", "REAL" },
                                             { "spread_sum", "REAL" }, { "residual_scores", "INTEGER" },
                                             { "residual_worst", "REAL" }, { "residual_sum", "REAL" },
                                             { "surprise_scores", "INTEGER" }, { "surprise_worst", "REAL" },
                                             { "surprise_sum", "REAL" } };
    sqlite3_str             *q         = sqlite3_str_new(s->db);
    char                     found[8];

    if (read_only)
        sqlite3_str_appendall(q, "CREATE TEMP VIEW trials AS SELECT *");
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
        if (query_text(s->db, "SELECT count(*) FROM pragma_table_info('trials') WHERE name = ?", late[i][0], found,
                       sizeof found) &&
            strcmp(found, "0") != 0)
            continue;
        s->viewed |= read_only;
        sqlite3_str_appendf(q, read_only ? ", NULL AS %s" : "ALTER TABLE trials ADD COLUMN %s %s;", late[i][0],
                            late[i][1]);
    }
    if (read_only)
        sqlite3_str_appendall(q, " FROM main.trials");
    char *sql  = sqlite3_str_finish(q);
    bool  good = sql || !read_only; /* nothing to do */
    if (sql && (!read_only || s->viewed))
        good = sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(sql);
    return good;
}

static bool open_database(struct store *s, const char *path, bool read_only, char *why, size_t why_size)
{
    int  flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    char found[256];

    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK) {
        snprintf(why, why_size, "%s: cannot open the experience store: %s", path,
                 s->db ? sqlite3_errmsg(s->db) : "out of memory");
        return false;
    }
    sqlite3_busy_timeout(s->db, BUSY_MS);
    if (!query_text(s->db, "SELECT count(*) FROM sqlite_master", NULL, found, sizeof found)) {
        snprintf(why, why_size, "%s: cannot be read as an experience store: %s; it is left as it is, move it away",
                 path, sqlite3_errmsg(s->db));
        return false;
    }
    if (strcmp(found, "0") == 0 && !read_only)
        return create(s, path, why, why_size);
    if (!check_identity(s, path, why, why_size))
        return false;
    if (!query_text(s->db, "PRAGMA quick_check(1)", NULL, found, sizeof found))
        snprintf(found, sizeof found, "%s", sqlite3_errmsg(s->db));
    if (strcmp(found, "ok") != 0) {
        snprintf(why, why_size, "%s: is damaged (%s); it is left as it is, move it away or restore a copy", path,
                 found);
        return false;
    }
    if (add_late_columns(s, read_only))
        return true;
    snprintf(why, why_size, "%s: cannot add the column of the trials' tasks: %s", path, sqlite3_errmsg(s->db));
    return false;
}

static bool prepare(struct store *s)
{
    for (int i = s->viewed ? TRIALS : 0; i < STATEMENTS; i++) {
        char *made = SQL[i] ? NULL : column_statement(&s->schema, (enum statement)i);
        int   rc   = SQL[i] || made
                         ? sqlite3_prepare_v3(s->db, made ? made : SQL[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL)
                         : SQLITE_NOMEM;

        sqlite3_free(made);
        if (rc != SQLITE_OK)
            return false;
    }
    return true;
}

struct store *store_open(const char *path, const struct store_schema *schema, bool read_only, char *why,
                         size_t why_size)
{
    static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;";
    struct store     *s          = calloc(1, sizeof *s);

    CHECK(schema->nx >= 1 && schema->nx <= MAX_OBS && schema->na >= 1 && schema->na <= MAX_ACT);
    if (!s) {
        snprintf(why, why_size, "%s: out of memory", path);
        return NULL;
    }
    s->schema = *schema;
    if (!open_database(s, path, read_only, why, why_size)) {
        store_close(s);
        return NULL;
    }
    if ((!read_only && sqlite3_exec(s->db, settings, NULL, NULL, NULL) != SQLITE_OK) || !prepare(s)) {
        snprintf(why, why_size, "%s: cannot use the experience store: %s", path, sqlite3_errmsg(s->db));
        store_close(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->st[i]);
    CHECK(sqlite3_close(s->db) == SQLITE_OK);
    free(s);
}

/* ---- writing ---- */

int store_begin(struct store *s)
{
    return run(s, BEGIN, "begin writing");
}

int store_commit(struct store *s)
{
    if (run(s, COMMIT, "commit") == 0)
        return 0;
    if (!sqlite3_get_autocommit(s->db)) { /* keep the reason of the commit, not that of the rollback */
        sqlite3_step(s->st[ROLLBACK]);
        sqlite3_reset(s->st[ROLLBACK]);
    }
    return -1;
}

bool store_in_batch(const struct store *s)
{
    return !sqlite3_get_autocommit(s->db);
}

static void bind_trial(sqlite3_stmt *st, const struct trial_row *t)
{
    sqlite3_bind_int64(st, 1, t->number);
    bind_text(st, 2, t->kind);
    bind_text(st, 3, t->status);
    bind_text(st, 4, t->reason);
    bind_u64(st, 5, t->seed);
    sqlite3_bind_int(st, 6, t->steps);
    bind_real(st, 7, t->ret);
    bind_real(st, 8, t->reported_return);
    bind_real(st, 9, t->prequential_rmse);
    bind_u64(st, 10, t->model_first);
    bind_u64(st, 11, t->model_last);
    bind_real(st, 12, t->started);
    bind_real(st, 13, t->ended);
    bind_text(st, 14, t->task);
    if (t->gate_trips >= 0)
        sqlite3_bind_int(st, 15, t->gate_trips);
    else
        sqlite3_bind_null(st, 15);
    for (int k = 0; k < SCORE_KINDS; k++) {
        const struct score_sum *sum = &t->score[k];

        sqlite3_bind_int(st, 16 + 3 * k, sum->n);
        bind_real(st, 17 + 3 * k, sum->worst);
        bind_real(st, 18 + 3 * k, sum->sum);
    }
}

int store_trial_begin(struct store *s, struct trial_row *t)
{
    bind_trial(s->st[TRIAL_BEGIN], t);
    if (t->id)
        sqlite3_bind_int64(s->st[TRIAL_BEGIN], 25, t->id);
    else
        sqlite3_bind_null(s->st[TRIAL_BEGIN], 25);
    if (run(s, TRIAL_BEGIN, "store a trial") != 0)
        return -1;
    t->id = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int store_trial_update(struct store *s, const struct trial_row *t)
{
    bind_trial(s->st[TRIAL_UPDATE], t);
    sqlite3_bind_int64(s->st[TRIAL_UPDATE], 25, t->id);
    if (run(s, TRIAL_UPDATE, "update a trial") != 0)
        return -1;
    if (sqlite3_changes(s->db) == 1)
        return 0;
    snprintf(s->error, sizeof s->error, "cannot update a trial: there is none with id %lld", (long long)t->id);
    return -1;
}

int store_transition(struct store *s, int64_t trial_id, const struct transition *t)
{
    sqlite3_stmt *st = s->st[TRANSITION];
    int           at = 1, nx = s->schema.nx, na = s->schema.na;

    sqlite3_bind_int64(st, at++, trial_id);
    sqlite3_bind_int64(st, at++, t->step);
    bind_u64(st, at++, t->model_version);
    bind_u64(st, at++, t->seed);
    sqlite3_bind_int(st, at++, t->iterations);
    for (int i = 0; i < nx; i++)
        bind_real(st, at++, (double)t->x[i]);
    for (int i = 0; i < na; i++)
        bind_real(st, at++, (double)t->a[i]);
    for (int i = 0; i < nx; i++)
        bind_real(st, at++, (double)t->y[i]);
    return run(s, TRANSITION, "store a transition");
}

int store_model(struct store *s, const struct model_row *m)
{
    sqlite3_stmt *st = s->st[MODEL];

    bind_u64(st, 1, m->version);
    bind_u64(st, 2, m->parent);
    sqlite3_bind_int64(st, 3, m->trial_id);
    sqlite3_bind_int(st, 4, m->transitions);
    sqlite3_bind_int(st, 5, m->steps);
    bind_real(st, 6, m->train_s);
    bind_text(st, 7, m->file);
    sqlite3_bind_int64(st, 8, m->crc);
    bind_text(st, 9, m->status);
    bind_text(st, 10, m->reason);
    bind_real(st, 11, m->nll);
    bind_real(st, 12, m->nll_incumbent);
    bind_real(st, 13, m->created);
    return run(s, MODEL, "store a model's record");
}

int store_model_status(struct store *s, uint64_t version, const char *status, const char *reason)
{
    bind_u64(s->st[MODEL_STATUS], 1, version);
    bind_text(s->st[MODEL_STATUS], 2, status);
    bind_text(s->st[MODEL_STATUS], 3, reason);
    if (run(s, MODEL_STATUS, "update a model's record") != 0)
        return -1;
    if (sqlite3_changes(s->db) == 1)
        return 0;
    snprintf(s->error, sizeof s->error, "cannot update a model's record: there is none of version %llu",
             (unsigned long long)version);
    return -1;
}

/* The newest are kept: a daemon that runs for years says a lot. */
static int trim_events(struct store *s, sqlite3_int64 newest)
{
    char sql[100];

    snprintf(sql, sizeof sql, "DELETE FROM events WHERE id <= %lld", (long long)newest - EVENTS_KEPT);
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, "trim the events");
}

int store_event(struct store *s, double unix_s, uint64_t mono_ns, int64_t trial, const char *kind, const char *words)
{
    sqlite3_stmt *st = s->st[EVENT];

    bind_real(st, 1, unix_s);
    bind_u64(st, 2, mono_ns);
    sqlite3_bind_int64(st, 3, trial);
    bind_text(st, 4, kind);
    bind_text(st, 5, words);
    if (run(s, EVENT, "store an event") != 0)
        return -1;
    sqlite3_int64 id = sqlite3_last_insert_rowid(s->db);
    return id % EVENTS_TRIM ? 0 : trim_events(s, id);
}

int store_recover(struct store *s)
{
    return run(s, RECOVER, "close the trials left running") == 0 ? sqlite3_changes(s->db) : -1;
}

/* ---- reading ---- */

/* Calls take() for each row until it returns false.  Number of rows given, or -1. */
static int each_row(struct store *s, enum statement                                      which,
                    bool (*take)(struct store *s, sqlite3_stmt *st, void *reader), void *reader)
{
    sqlite3_stmt *st   = s->st[which];
    int           rows = 0, rc;
    bool          more = true;

    while (more && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            rows = failed(s, "read the experience store");
            break;
        }
        rows++;
        more = take(s, st, reader);
    }
    sqlite3_reset(st);
    return rows;
}

struct trial_reader {
    bool (*row)(void *ctx, const struct trial_row *);
    void *ctx;
};

static bool take_trial(struct store *s, sqlite3_stmt *st, void *reader)
{
    struct trial_reader *r = reader;
    struct trial_row     t = { .id = sqlite3_column_int64(st, 0) };

    (void)s;
    t.number = (uint32_t)sqlite3_column_int64(st, 1);
    text(st, 2, t.kind, sizeof t.kind);
    text(st, 3, t.status, sizeof t.status);
    text(st, 4, t.reason, sizeof t.reason);
    t.seed             = u64(st, 5);
    t.steps            = sqlite3_column_int(st, 6);
    t.ret              = real(st, 7);
    t.reported_return  = real(st, 8);
    t.prequential_rmse = real(st, 9);
    t.model_first      = u64(st, 10);
    t.model_last       = u64(st, 11);
    t.started          = real(st, 12);
    t.ended            = real(st, 13);
    text(st, 14, t.task, sizeof t.task);
    t.gate_trips = sqlite3_column_type(st, 15) == SQLITE_NULL ? -1 : sqlite3_column_int(st, 15);
    for (int k = 0; k < SCORE_KINDS; k++) /* NULL reads as 0 */
        t.score[k] = (struct score_sum){ sqlite3_column_int(st, 16 + 3 * k), sqlite3_column_double(st, 17 + 3 * k),
                                         sqlite3_column_double(st, 18 + 3 * k) };
    return r->row(r->ctx, &t);
}

int store_trials(struct store *s, bool (*row)(void *ctx, const struct trial_row *), void *ctx)
{
    return each_row(s, TRIALS, take_trial, &(struct trial_reader){ row, ctx });
}

struct model_reader {
    bool (*row)(void *ctx, const struct model_row *);
    void *ctx;
};

static bool take_model(struct store *s, sqlite3_stmt *st, void *reader)
{
    struct model_reader *r = reader;
    struct model_row     m = { .version = u64(st, 0) };

    (void)s;
    m.parent      = u64(st, 1);
    m.trial_id    = sqlite3_column_int64(st, 2);
    m.transitions = sqlite3_column_int(st, 3);
    m.steps       = sqlite3_column_int(st, 4);
    m.train_s     = real(st, 5);
    text(st, 6, m.file, sizeof m.file);
    m.crc = (uint32_t)sqlite3_column_int64(st, 7);
    text(st, 8, m.status, sizeof m.status);
    text(st, 9, m.reason, sizeof m.reason);
    m.nll           = real(st, 10);
    m.nll_incumbent = real(st, 11);
    m.created       = real(st, 12);
    return r->row(r->ctx, &m);
}

int store_models(struct store *s, bool (*row)(void *ctx, const struct model_row *), void *ctx)
{
    return each_row(s, MODELS, take_model, &(struct model_reader){ row, ctx });
}

struct transition_reader {
    bool (*row)(void *ctx, int64_t trial_id, const struct transition *);
    void *ctx;
};

static bool take_transition(struct store *s, sqlite3_stmt *st, void *reader)
{
    struct transition_reader *r  = reader;
    struct transition         t  = { .trial = (uint32_t)sqlite3_column_int64(st, 1) };
    int                       at = 6, nx = s->schema.nx, na = s->schema.na;

    t.step          = (uint32_t)sqlite3_column_int64(st, 2);
    t.model_version = u64(st, 3);
    t.seed          = u64(st, 4);
    t.iterations    = sqlite3_column_int(st, 5);
    for (int i = 0; i < nx; i++)
        t.x[i] = (float)real(st, at++);
    for (int i = 0; i < na; i++)
        t.a[i] = (float)real(st, at++);
    for (int i = 0; i < nx; i++)
        t.y[i] = (float)real(st, at++);
    return r->row(r->ctx, sqlite3_column_int64(st, 0), &t);
}

int store_transitions(struct store *s, int64_t                                                   first_trial_id,
                      bool (*row)(void *ctx, int64_t trial_id, const struct transition *), void *ctx)
{
    sqlite3_bind_int64(s->st[TRANSITIONS], 1, first_trial_id);
    return each_row(s, TRANSITIONS, take_transition, &(struct transition_reader){ row, ctx });
}

int64_t store_transition_count(struct store *s)
{
    int64_t n = -1;

    if (sqlite3_step(s->st[COUNT]) == SQLITE_ROW)
        n = sqlite3_column_int64(s->st[COUNT], 0);
    else
        failed(s, "count the transitions");
    sqlite3_reset(s->st[COUNT]);
    return n;
}
