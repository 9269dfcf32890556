/* Claims about models/store.c. */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/store.h"
#include "tests/test.h"

static const struct store_schema schema = {
    .robot       = "cartpole",
    .nx          = 2,
    .na          = 1,
    .observation = { "hinge.position", "odd \"name\"; DROP TABLE trials" },
    .action      = { "slider" },
};

static const char *at(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return path;
}

static struct store *opened(bool read_only)
{
    char          why[400] = "";
    struct store *s        = store_open(at("e.db"), &schema, read_only, why, sizeof why);

    if (!s)
        printf("%s\n", why);
    EXPECT(s != NULL);
    return s;
}

static struct trial_row some_trial(uint32_t number)
{
    return (struct trial_row){ .number           = number,
                               .kind             = "planned",
                               .status           = "running",
                               .seed             = UINT64_MAX - 3,
                               .ret              = (double)NAN,
                               .reported_return  = 1.5,
                               .prequential_rmse = (double)NAN,
                               .model_first      = 4,
                               .model_last       = 5,
                               .started          = 1.7e9,
                               .ended            = (double)NAN };
}

static struct transition some_transition(uint32_t step)
{
    return (struct transition){ .step          = step,
                                .model_version = 4,
                                .seed          = UINT64_MAX,
                                .iterations    = 3,
                                .x             = { 0.1f * (float)step, -1e-30f },
                                .a             = { 3.0f },
                                .y             = { 0.3f, 1e30f } };
}

/* A trial with n transitions, committed at once. */
static int64_t add_trial(struct store *s, uint32_t number, int n)
{
    struct trial_row t = some_trial(number);

    EXPECT(store_begin(s) == 0);
    EXPECT(store_trial_begin(s, &t) == 0);
    for (int i = 0; i < n; i++) {
        struct transition tr = some_transition((uint32_t)i);

        EXPECT(store_transition(s, t.id, &tr) == 0);
    }
    EXPECT(store_commit(s) == 0);
    return t.id;
}

struct collected {
    int               n;
    int64_t           id[16];
    struct trial_row  trial[16];
    struct model_row  model[16];
    struct transition transition[16];
    int               stop_at;
};

static bool take_trial(void *ctx, const struct trial_row *t)
{
    struct collected *c = ctx;

    c->trial[c->n++ % 16] = *t;
    return true;
}

static bool take_model(void *ctx, const struct model_row *m)
{
    struct collected *c = ctx;

    c->model[c->n++ % 16] = *m;
    return true;
}

static bool take_transition(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct collected *c = ctx;

    c->id[c->n % 16]           = trial_id;
    c->transition[c->n++ % 16] = *t;
    return c->n != c->stop_at;
}

/* First column of the first row as text, by a connection of its own. */
static const char *asked(const char *sql)
{
    static char   out[256];
    sqlite3      *db = NULL;
    sqlite3_stmt *st = NULL;

    snprintf(out, sizeof out, "(none)");
    EXPECT(sqlite3_open_v2(at("e.db"), &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    EXPECT(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0))
        snprintf(out, sizeof out, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return out;
}

TEST(what_was_stored_comes_back_bit_for_bit)
{
    static struct collected c;
    struct store           *s  = opened(false);
    struct trial_row        t  = some_trial(7);
    struct transition       tr = some_transition(5);

    EXPECT(store_trial_begin(s, &t) == 0 && t.id > 0);
    EXPECT(store_transition(s, t.id, &tr) == 0);
    store_close(s);
    s = opened(false);
    c = (struct collected){ 0 };
    EXPECT(store_transitions(s, 0, take_transition, &c) == 1 && c.n == 1 && c.id[0] == t.id);
    tr.trial = 7; /* comes from the trial */
    EXPECT(c.transition[0].trial == 7 && c.transition[0].step == 5 && c.transition[0].seed == UINT64_MAX);
    EXPECT(c.transition[0].model_version == 4 && c.transition[0].iterations == 3);
    EXPECT(memcmp(c.transition[0].x, tr.x, sizeof tr.x) == 0 && memcmp(c.transition[0].y, tr.y, sizeof tr.y) == 0);
    EXPECT(c.transition[0].a[0] == 3.0f);

    t.steps = 1;
    t.ret   = 170.25;
    snprintf(t.status, sizeof t.status, "finished");
    EXPECT(store_trial_update(s, &t) == 0);
    c = (struct collected){ 0 };
    EXPECT(store_trials(s, take_trial, &c) == 1);
    EXPECT(c.trial[0].id == t.id && c.trial[0].number == 7 && c.trial[0].seed == UINT64_MAX - 3);
    EXPECT(c.trial[0].ret == 170.25 && c.trial[0].reported_return == 1.5 && isnan(c.trial[0].prequential_rmse));
    EXPECT(strcmp(c.trial[0].status, "finished") == 0 && strcmp(c.trial[0].kind, "planned") == 0);
    EXPECT(c.trial[0].model_first == 4 && c.trial[0].model_last == 5 && isnan(c.trial[0].ended));
    t.id = 99;
    EXPECT(store_trial_update(s, &t) == -1);
    EXPECT_STR(store_error(s), "none with id 99");
    store_close(s);
}

TEST(model_records_are_replaced_by_version)
{
    static struct collected c;
    struct store           *s = opened(false);
    struct model_row        m = { .version       = 2,
                                  .parent        = 1,
                                  .trial_id      = 3,
                                  .transitions   = 400,
                                  .steps         = 3000,
                                  .train_s       = 0.5,
                                  .file          = "models/2.model",
                                  .crc           = 0xfedcba98u,
                                  .status        = "published",
                                  .reason        = "it's \"good\"",
                                  .nll           = -3.5,
                                  .nll_incumbent = (double)NAN,
                                  .created       = 1e9 };

    c = (struct collected){ 0 };
    EXPECT(store_model(s, &m) == 0);
    snprintf(m.status, sizeof m.status, "rolled_back");
    EXPECT(store_model(s, &m) == 0);
    m.version = 1;
    EXPECT(store_model(s, &m) == 0);
    EXPECT(store_models(s, take_model, &c) == 2);
    EXPECT(c.model[0].version == 1 && c.model[1].version == 2 && c.model[1].crc == 0xfedcba98u);
    EXPECT_STR(c.model[1].status, "rolled_back");
    EXPECT_STR(c.model[1].reason, "it's \"good\"");
    EXPECT(c.model[1].nll == -3.5 && isnan(c.model[1].nll_incumbent) && c.model[1].transitions == 400);
    EXPECT(store_event(s, 1.7e9, 123, 3, "trial", "trial 3 finished") == 0);
    store_close(s);
    EXPECT_STR(asked("SELECT kind || ': ' || text FROM events"), "trial: trial 3 finished");
}

TEST(a_models_status_changes_and_the_rest_of_its_record_stays)
{
    struct store    *s = opened(false);
    struct collected c = { 0 };
    struct model_row m = { .version = 4, .parent = 2, .trial_id = 7, .transitions = 800, .train_s = 0.5, .file = "model-4.model",
                           .status = "published", .reason = "better", .nll = -1.5, .nll_incumbent = -1, .created = 1.7e9 };

    EXPECT(store_begin(s) == 0 && store_model(s, &m) == 0);
    EXPECT(store_model_status(s, 4, "rolled_back", "worse") == 0);
    EXPECT(store_model_status(s, 5, "rolled_back", "worse") < 0);
    EXPECT_STR(store_error(s), "version 5");
    EXPECT(store_commit(s) == 0 && store_models(s, take_model, &c) == 1);
    EXPECT_STR(c.model[0].status, "rolled_back");
    EXPECT_STR(c.model[0].reason, "worse");
    EXPECT(c.model[0].parent == 2 && c.model[0].trial_id == 7 && c.model[0].transitions == 800 && c.model[0].train_s == 0.5 &&
           c.model[0].nll == -1.5 && c.model[0].nll_incumbent == -1 && c.model[0].created == 1.7e9);
    store_close(s);
}

TEST(non_finite_numbers_are_null_on_disk_and_nan_again_in_memory)
{
    static struct collected c;
    struct store           *s  = opened(false);
    int64_t                 id = add_trial(s, 1, 0);
    struct transition       tr = some_transition(0);

    tr.x[0] = NAN;
    tr.y[1] = INFINITY;
    EXPECT(store_transition(s, id, &tr) == 0);
    c = (struct collected){ 0 };
    EXPECT(store_transitions(s, 0, take_transition, &c) == 1);
    EXPECT(isnan(c.transition[0].x[0]) && isnan(c.transition[0].y[1]) && c.transition[0].x[1] == tr.x[1]);
    store_close(s);
    EXPECT_STR(asked("SELECT count(*) FROM transitions WHERE \"hinge.position\" IS NULL"), "1");
    EXPECT_STR(asked("SELECT count(*) FROM trials WHERE \"return\" IS NULL AND reported_return = 1.5"), "1");
}

TEST(transitions_are_given_from_the_trial_asked_for_until_stopped)
{
    static struct collected c;
    struct store           *s = opened(false);
    int64_t                 second;

    add_trial(s, 0, 3);
    second = add_trial(s, 1, 2);
    add_trial(s, 2, 4);
    c = (struct collected){ 0 };
    EXPECT(store_transitions(s, second, take_transition, &c) == 6);
    EXPECT(c.id[0] == second && c.transition[0].step == 0 && c.transition[2].trial == 2);
    c = (struct collected){ .stop_at = 4 };
    EXPECT(store_transitions(s, 0, take_transition, &c) == 4);
    c = (struct collected){ 0 };
    EXPECT(store_transitions(s, 0, take_transition, &c) == 9); /* a stopped reading leaves nothing behind */
    EXPECT(store_transition_count(s) == 9);
    store_close(s);
}

TEST(a_transition_without_its_trial_is_refused)
{
    struct store     *s  = opened(false);
    struct transition tr = some_transition(0);

    EXPECT(store_transition(s, 12, &tr) == -1);
    EXPECT_STR(store_error(s), "cannot store a transition");
    add_trial(s, 0, 1); /* and the store is still good */
    EXPECT(store_transition_count(s) == 1);
    store_close(s);
}

TEST(of_events_about_the_newest_twenty_thousand_stay)
{
    struct store *s = opened(false);

    EXPECT(store_begin(s) == 0);
    for (int i = 1; i <= EVENTS_KEPT + 1000; i++)
        EXPECT(store_event(s, i, (uint64_t)i, 0, "link", "trouble") == 0);
    EXPECT(store_commit(s) == 0);
    EXPECT_STR(asked("SELECT max(unix_s) FROM events"), "21000");
    EXPECT(atoi(asked("SELECT count(*) FROM events")) >= EVENTS_KEPT);
    EXPECT(atoi(asked("SELECT count(*) FROM events")) < EVENTS_KEPT + 256);
    store_close(s);
}

TEST(what_was_not_committed_is_gone)
{
    struct store    *s = opened(false);
    struct trial_row t = some_trial(1);

    add_trial(s, 0, 2);
    EXPECT(store_begin(s) == 0 && store_trial_begin(s, &t) == 0);
    EXPECT(store_begin(s) == -1); /* no transaction within one */
    store_close(s);
    EXPECT_STR(asked("SELECT count(*) FROM trials"), "1");
}

TEST(trials_left_running_are_aborted_on_start)
{
    static struct collected c;
    struct store           *s = opened(false);

    add_trial(s, 0, 3);
    struct trial_row done = some_trial(1);
    snprintf(done.status, sizeof done.status, "finished");
    EXPECT(store_trial_begin(s, &done) == 0);
    EXPECT(store_recover(s) == 1);
    EXPECT(store_recover(s) == 0);
    c = (struct collected){ 0 };
    EXPECT(store_trials(s, take_trial, &c) == 2);
    EXPECT_STR(c.trial[0].status, "aborted");
    EXPECT_STR(c.trial[0].reason, "daemon ended");
    EXPECT(c.trial[0].steps == 3);
    EXPECT_STR(c.trial[1].status, "finished");
    store_close(s);
}

TEST(a_store_of_another_robot_columns_or_schema_is_refused_by_name_and_untouched)
{
    struct store_schema other = schema;
    char                why[400];

    struct store *s = opened(false);
    add_trial(s, 0, 2);
    store_close(s);
    for (int ro = 0; ro < 2; ro++) {
        other = schema;
        snprintf(other.robot, sizeof other.robot, "walker");
        EXPECT(store_open(at("e.db"), &other, ro, why, sizeof why) == NULL);
        EXPECT_STR(why, "e.db: holds the robot \"cartpole\", wanted is \"walker\"");
        other = schema;
        snprintf(other.observation[0], sizeof other.observation[0], "knee.position");
        EXPECT(store_open(at("e.db"), &other, ro, why, sizeof why) == NULL);
        EXPECT_STR(why, "observations \"hinge.position, ");
        EXPECT_STR(why, "\"knee.position, ");
        other = schema;
        snprintf(other.action[0], sizeof other.action[0], "hinge");
        EXPECT(store_open(at("e.db"), &other, ro, why, sizeof why) == NULL);
        EXPECT_STR(why, "actions \"slider\"");
    }
    EXPECT_STR(asked("SELECT count(*) FROM transitions"), "2");

    sqlite3 *db;
    EXPECT(sqlite3_open(at("e.db"), &db) == SQLITE_OK);
    EXPECT(sqlite3_exec(db, "UPDATE meta SET value = '2' WHERE key = 'schema_version'", 0, 0, 0) == SQLITE_OK);
    sqlite3_close(db);
    EXPECT(store_open(at("e.db"), &schema, false, why, sizeof why) == NULL);
    EXPECT_STR(why, "schema version \"2\", wanted is \"1\"");

    EXPECT(sqlite3_open(at("alien.db"), &db) == SQLITE_OK);
    EXPECT(sqlite3_exec(db, "CREATE TABLE songs (title)", 0, 0, 0) == SQLITE_OK);
    sqlite3_close(db);
    EXPECT(store_open(at("alien.db"), &schema, false, why, sizeof why) == NULL);
    EXPECT_STR(why, "not a Limber experience store");
}

TEST(names_that_collide_with_our_columns_are_refused_with_the_name)
{
    struct store_schema bad = schema;
    char                why[400];

    snprintf(bad.observation[1], sizeof bad.observation[1], "step");
    EXPECT(store_open(at("e.db"), &bad, false, why, sizeof why) == NULL);
    EXPECT_STR(why, "duplicate column name: step");

    struct store *s = opened(false); /* the failed creation left nothing */
    add_trial(s, 0, 1);
    store_close(s);
    snprintf(bad.observation[1], sizeof bad.observation[1], "number"); /* of the trials table: no trouble */
    s = store_open(at("n.db"), &bad, false, why, sizeof why);
    EXPECT(s != NULL);
    store_close(s);
}

TEST(a_missing_store_is_not_made_by_a_reader)
{
    char why[400];

    EXPECT(store_open(at("none.db"), &schema, true, why, sizeof why) == NULL);
    EXPECT_STR(why, "none.db: cannot open");
    EXPECT(access(at("none.db"), F_OK) != 0);
}

static long file_size(const char *path)
{
    FILE *f = fopen(path, "rb");

    if (!f)
        return -1;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    fclose(f);
    return n;
}

TEST(a_damaged_file_is_refused_and_never_deleted)
{
    char          why[400];
    struct store *s = opened(false);

    for (uint32_t i = 0; i < 20; i++)
        add_trial(s, i, 100);
    store_close(s);
    long n = file_size(at("e.db"));
    EXPECT(n > 100000);
    for (int round = 0; round < 3; round++) {
        FILE *f = fopen(at("e.db"), "r+b");

        if (!f)
            break;
        /* first the middle, then the page of the tables' list, then the start */
        fseek(f, round == 0 ? n / 2 : round == 1 ? 100 : 0, SEEK_SET);
        for (int i = 0; i < 4096; i++)
            fputc(0xa5, f);
        fclose(f);
        EXPECT(store_open(at("e.db"), &schema, false, why, sizeof why) == NULL);
        EXPECT_STR(why, "e.db: ");
        EXPECT_STR(why, "move it away");
        EXPECT(file_size(at("e.db")) == n);
    }
}

TEST(a_reader_follows_a_writer_without_blocking_it)
{
    struct store    *w = opened(false);
    struct trial_row t = some_trial(9);

    add_trial(w, 0, 3);
    struct store *r = opened(true);
    EXPECT(store_begin(w) == 0);
    EXPECT(store_trial_begin(w, &t) == 0);
    struct transition tr = some_transition(0);
    EXPECT(store_transition(w, t.id, &tr) == 0);
    EXPECT(store_transition_count(r) == 3); /* not committed yet */
    EXPECT(store_commit(w) == 0);
    EXPECT(store_transition_count(r) == 4);
    EXPECT(store_trial_begin(r, &t) == -1);
    EXPECT_STR(store_error(r), "readonly");
    store_close(r);
    store_close(w);
}

static bool task_row(void *ctx, const struct trial_row *t)
{
    snprintf((char *)ctx + strlen(ctx), 120, "%s %d %d %g,", t->task, t->gate_trips, t->score[SCORE_SURPRISE].n,
             t->score[SCORE_SURPRISE].worst);
    return true;
}

TEST(a_store_of_before_trials_had_a_task_trips_and_scores_is_read_as_it_is_and_gets_the_columns_when_written)
{
    struct store    *s = opened(false);
    struct trial_row t = some_trial(9);
    char             command[700], tasks[250] = "";

    add_trial(s, 0, 3);
    store_close(s);
    snprintf(command, sizeof command,
             "sqlite3 '%s' 'ALTER TABLE trials DROP COLUMN task; ALTER TABLE trials DROP COLUMN gate_trips; "
             "ALTER TABLE trials DROP COLUMN surprise_scores; ALTER TABLE trials DROP COLUMN surprise_worst'",
             at("e.db"));
    if (system("command -v sqlite3 >/dev/null 2>&1") != 0)
        return;
    EXPECT(system(command) == 0);

    s = opened(true);
    EXPECT(store_trials(s, task_row, tasks) == 1 && strcmp(tasks, " -1 0 0,") == 0);
    EXPECT(store_transition_count(s) == 3);
    store_close(s);
    s = opened(false);
    snprintf(t.task, sizeof t.task, "balance");
    t.gate_trips            = 3;
    t.score[SCORE_SURPRISE] = (struct score_sum){ 17, 2.5, 20 };
    EXPECT(store_begin(s) == 0 && store_trial_begin(s, &t) == 0 && store_trial_update(s, &t) == 0 &&
           store_commit(s) == 0);
    store_close(s);
    s        = opened(true);
    tasks[0] = 0;
    EXPECT(store_trials(s, task_row, tasks) == 2 && strcmp(tasks, " -1 0 0,balance 3 17 2.5,") == 0);
    store_close(s);
}

TEST(the_sqlite3_shell_reads_while_the_store_is_open)
{
    char command[700], line[100] = "";

    if (system("command -v sqlite3 >/dev/null 2>&1") != 0)
        return;
    struct store *s = opened(false);
    add_trial(s, 0, 3);
    snprintf(command, sizeof command, "sqlite3 -readonly '%s' 'SELECT sum(\"a.slider\") FROM transitions'", at("e.db"));
    FILE *p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p));
    if (p)
        pclose(p);
    EXPECT_STR(line, "9.0");
    store_close(s);
}

TEST(a_full_disk_is_an_error_and_the_store_stays_good)
{
    int   status;
    pid_t child;

    struct store *s = opened(false);
    add_trial(s, 0, 10);
    store_close(s);
    child = fork();
    if (child == 0) { /* as far as this process is concerned */
        signal(SIGXFSZ, SIG_IGN);
        s = opened(false);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 60000, 60000 });
        for (int i = 0; i < 1000; i++) {
            struct trial_row t = some_trial(1);

            if (store_begin(s) != 0 || store_trial_begin(s, &t) != 0 || store_commit(s) != 0)
                _exit(store_error(s)[0] ? 0 : 2);
        }
        _exit(3);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    EXPECT_STR(asked("PRAGMA integrity_check"), "ok");
    EXPECT_STR(asked("SELECT count(*) FROM transitions"), "10");
}

/* The child's life: batches of ten until it is killed; each commit is told to the parent. */
static void write_until_killed(int tell)
{
    struct store *s = opened(false);

    for (;;) {
        add_trial(s, 1, 10);
        if (write(tell, "", 1) != 1)
            _exit(1);
    }
}

TEST(killing_a_writer_at_random_moments_loses_nothing_that_was_committed)
{
    struct rng r;
    long       told = 0;

    rng_seed(&r, 1);
    store_close(opened(false));
    for (int i = 0; i < 30; i++) {
        int   pipe_fd[2];
        char  byte;
        pid_t child;

        EXPECT(pipe(pipe_fd) == 0);
        child = fork();
        if (child == 0) {
            close(pipe_fd[0]);
            write_until_killed(pipe_fd[1]);
        }
        close(pipe_fd[1]);
        usleep(rng_below(&r, 20000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipe_fd[0], &byte, 1) == 1)
            told++;
        close(pipe_fd[0]);

        EXPECT_STR(asked("PRAGMA integrity_check"), "ok");
        struct store *s = opened(false);
        int64_t       n = store_transition_count(s);
        EXPECT(n % 10 == 0 && n >= 10 * told);
        EXPECT(store_recover(s) >= 0);
        store_close(s);
    }
    EXPECT(told > 0);
}
