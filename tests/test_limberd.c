/* limberd as a process: learning in lockstep, restarts, kills, privileges. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/cli_json.h"
#include "daemon/realtime.h"
#include "daemon/rt/sanitized.h"
#include "models/store.h"
#include "proto/limber.pb-c.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* Short trials and light trainings: the course of things, not how well it learns. */
static const char *const quick[] = { "steps: 200", "steps: 40", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                     "count: 15", "count: 3", NULL };
static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };

static const struct store_schema schema = { .robot = "cartpole", .nx = 4, .na = 1,
                                            .observation = { "slider.position", "hinge.position", "slider.velocity",
                                                             "hinge.velocity" },
                                            .action = { "slider" } };

struct digest {
    uint64_t hash;
    int      n;
};

static bool digest_row(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct digest *d = ctx;
    const uint8_t *p = (const uint8_t *)t->x;

    (void)trial_id;
    d->n++;
    for (size_t i = 0; i < 4 * sizeof(float); i++)
        d->hash = (d->hash ^ p[i]) * 0x100000001b3ull;
    d->hash = (d->hash ^ t->seed ^ t->model_version) * 0x100000001b3ull;
    memcpy(&p, &t->a, sizeof p);
    for (size_t i = 0; i < sizeof(float); i++)
        d->hash = (d->hash ^ ((const uint8_t *)t->a)[i]) * 0x100000001b3ull;
    return true;
}

static struct digest store_digest(const struct fixture *f)
{
    struct digest d = { .hash = 0xcbf29ce484222325ull };
    char          path[300], why[300];

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    if (!s || store_transitions(s, 0, digest_row, &d) < 0)
        printf("    %s\n", s ? store_error(s) : why);
    store_close(s);
    return d;
}

/* Daemon and simulator up and armed. */
static bool begin(struct fixture *f, const char *const *edits)
{
    fixture_init(f, edits);
    bool ok = fixture_daemon(f, NULL) && fixture_bridge(f, lockstep) && fixture_arm(f, 10);
    EXPECT(ok);
    if (!ok)
        fixture_end(f);
    return ok;
}

static struct digest learn_once(const char *const *edits)
{
    struct fixture f;
    struct digest  d = { 0 };

    if (!begin(&f, edits))
        return d;
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    EXPECT(fixture_number(&f, "trials.done") == fixture_number(&f, "trials.count"));
    EXPECT(RT_SANITIZED || fixture_number(&f, "control.page_faults") == 0);
    EXPECT(RT_SANITIZED || fixture_number(&f, "planner.page_faults") == 0);
    /* Trials, models swapped in, and no system call that is not listed. */
    json_t *s = fixture_status(&f);
    EXPECT(json_is_null(js_at(s, "realtime.syscalls.refused")));
    EXPECT(js_true(s, "realtime.syscalls.restricted") == !RT_SANITIZED);
    size_t  i;
    json_t *thread;
    json_array_foreach ((json_t *)(uintptr_t)js_at(s, "realtime.threads"), i, thread)
        EXPECT(js_num(thread, "stack_bytes") > 0 && (RT_SANITIZED || js_num(thread, "stack_bytes") < STACK_PAINTED / 2));
    json_decref(s);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
    d = store_digest(&f);
    char rm[300];
    snprintf(rm, sizeof rm, "rm -rf %s", f.dir);
    EXPECT(system(rm) == 0);
    return d;
}

TEST(learning_in_lockstep_is_reproduced_bit_for_bit_by_its_seed)
{
    struct digest a = learn_once(quick), b = learn_once(quick);

    EXPECT(a.n == 4 * 40); /* every step of the exploration trial and three planned ones */
    EXPECT(a.n == b.n);
    EXPECT(a.hash == b.hash);
}

TEST(a_planner_on_two_cores_does_to_the_bit_what_it_does_on_one)
{
    static const char *const one[] = { "steps: 200", "steps: 40", "recipe: steps",
                                       "recipe: steps\n  epochs: 5\n  min_steps: 100", "count: 15", "count: 1",
                                       "planner: 1}", "planner: 0}", NULL };
    const char              *two[sizeof one / sizeof one[0]];

    memcpy(two, one, sizeof two);
    two[7] = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? "planner: [1, 0]}" : "planner: [0, -1]}";
    struct digest a = learn_once(one), b = learn_once(two);

    EXPECT(a.n == 2 * 40);
    EXPECT(a.n == b.n);
    EXPECT(a.hash == b.hash);
}

TEST(a_restarted_daemon_goes_on_with_its_experience_model_and_trial_numbers)
{
    struct fixture f;

    if (!begin(&f, quick))
        return;
    EXPECT(fixture_wait(&f, "trials.done", "2", 60));
    EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    child_stop(&f.daemon, 0, 3);
    double seen = store_digest(&f).n;

    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_wait(&f, "model.version", "1", 1));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 0)); /* nothing re-arms by itself */
    EXPECT(fixture_number(&f, "trials.done") >= 2);
    EXPECT(fixture_arm(&f, 12)); /* the simulator found the new daemon */
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    EXPECT(fixture_number(&f, "trials.done") == 3);
    fixture_end(&f);
    EXPECT(store_digest(&f).n > seen);
}

/* ---- first data, and learning on or not ---- */

struct course {
    int      random, planned, models, transitions;
    uint64_t seed[3]; /* of random trials */
};

static bool course_trial(void *ctx, const struct trial_row *t)
{
    struct course *c = ctx;

    if (strcmp(t->kind, "random") == 0 && t->number == 0 && strcmp(t->status, "finished") == 0 && c->random < 3)
        c->seed[c->random++] = t->seed;
    else if (strcmp(t->status, "finished") == 0)
        c->planned += t->model_first == 1 && t->model_last == 1;
    return true;
}

static bool course_model(void *ctx, const struct model_row *m)
{
    struct course *c = ctx;

    c->models++;
    c->transitions = m->transitions;
    return true;
}

static struct course course_of(const struct fixture *f)
{
    struct course c = { 0 };
    char          path[300], why[300];

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    EXPECT(s && store_trials(s, course_trial, &c) >= 0 && store_models(s, course_model, &c) >= 0);
    store_close(s);
    return c;
}

TEST(several_random_trials_make_one_model_and_without_aggregation_it_stays_the_only_one)
{
    static const char *const edits[] = { "steps: 200", "steps: 40", "count: 15", "count: 2\n  random: 3", "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 100\n  aggregate: false", NULL };
    struct fixture           f;

    if (!begin(&f, edits))
        return;
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    struct course c = course_of(&f);

    EXPECT(c.random == 3 && c.seed[0] != c.seed[1] && c.seed[1] != c.seed[2] && c.seed[0] != c.seed[2]);
    EXPECT(c.planned == 2 && c.models == 1 && c.transitions == 3 * 40);
    EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    child_stop(&f.daemon, 0, 3);

    /* Nor does a restart learn from the planned trials. */
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_wait(&f, "trials.finished", "true", 5)); /* nothing is being trained */
    fixture_end(&f);
    EXPECT(course_of(&f).models == 1);
}

/* ---- resuming ---- */

/* What a daemon leaves that ended between its exploration trial and the model of it. */
static void explored(const struct fixture *f)
{
    struct trial_row t = { .kind = "random", .status = "finished", .steps = 40, .seed = 3 };
    char             path[300], why[300];

    EXPECT(mkdir(f->dir, 0750) == 0 || access(f->dir, W_OK) == 0);
    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    EXPECT(s && store_begin(s) == 0 && store_trial_begin(s, &t) == 0);
    for (uint32_t i = 0; s && i < 40; i++) {
        float             x   = 0.01f * (float)(i % 7), a = i % 2 ? 0.5f : -0.5f;
        struct transition one = { .step = i, .x = { x, 3.1f, a, -x }, .a = { a }, .y = { x + 0.04f * a, 3.1f, 1.1f * a, -x } };

        EXPECT(store_transition(s, t.id, &one) == 0);
    }
    EXPECT(s && store_commit(s) == 0);
    store_close(s);
}

static bool random_row(void *ctx, const struct trial_row *t)
{
    *(int *)ctx += strcmp(t->kind, "random") == 0;
    return true;
}

TEST(experience_without_its_model_is_learned_at_start_instead_of_being_gathered_again)
{
    struct fixture f;
    char           path[300], command[400], why[300];
    int            random = 0;

    fixture_init(&f, quick);
    explored(&f);
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, lockstep) || !fixture_arm(&f, 10)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    EXPECT(fixture_wait(&f, "trials.done", "1", 60));
    EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    child_stop(&f.daemon, 0, 3);
    snprintf(path, sizeof path, "%s/experience.db", f.dir);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    EXPECT(s && store_trials(s, random_row, &random) > 1 && random == 1);
    store_close(s);

    /* As if the last training had been lost with the daemon: it is ordered at start, disarmed. */
    snprintf(command, sizeof command, "sqlite3 %s 'update models set trial_id = 1'", path);
    EXPECT(system(command) == 0);
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_wait(&f, "model.version", "1", 1)); /* with what there is meanwhile */
    EXPECT(fixture_wait(&f, "model.steps", "1", 20));  /* of the newest training */
    fixture_end(&f);
}

TEST(a_trial_with_steps_missing_is_shown_as_such_and_is_never_the_best)
{
    struct trial_row t = { .number = 1, .kind = "planned", .status = "finished", .reason = "2 steps not stored", .steps = 38,
                           .ret = 1000 };
    struct fixture   f;
    char             path[300], why[300];

    fixture_init(&f, quick);
    EXPECT(mkdir(f.dir, 0750) == 0 || access(f.dir, W_OK) == 0);
    snprintf(path, sizeof path, "%s/experience.db", f.dir);
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    EXPECT(s && store_trial_begin(s, &t) == 0);
    t = (struct trial_row){ .number = 2, .kind = "planned", .status = "finished", .steps = 40, .ret = 7 };
    EXPECT(s && store_trial_begin(s, &t) == 0);
    store_close(s);
    EXPECT(fixture_daemon(&f, NULL));
    json_t *status = fixture_status(&f);
    EXPECT_NEAR(js_num(status, "trials.best"), 7, 0);
    EXPECT_NEAR(js_num(json_array_get(js_at(status, "trials.history"), 0), "missing"), 2, 0);
    EXPECT_NEAR(js_num(json_array_get(js_at(status, "trials.history"), 1), "missing"), 0, 0);
    json_decref(status);
    fixture_end(&f);
}

/* ---- tasks ---- */

static void write_task(const char *name, const char *text)
{
    char path[300];

    snprintf(path, sizeof path, "%s/tasks/%s.yaml", test_dir(), name);
    FILE *f = fopen(path, "w");
    EXPECT(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const json_t *trial_of(const json_t *status, size_t i)
{
    return json_array_get(js_at(status, "trials.history"), i);
}

TEST(another_task_is_set_between_trials_with_the_model_there_is_and_a_wrong_one_changes_nothing)
{
    static const char *const stepwise[] = {
        "steps: 200",     "steps: 80", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 300", "next: auto",
        "next: operator", NULL
    };
    struct fixture f;
    char           text[700], body[400];

    fixture_init(&f, stepwise);
    write_task(
        "right",
        "name: right\nterms:\n"
        "  - {name: there, kind: observation, observations: [slider.position], target: [1], form: abs, weight: 1}\n");
    write_task("wrong",
               "name: wrong\nterms:\n  - {name: speed, kind: observation, observations: [slider.speed], weight: 1}\n");
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, lockstep) || !fixture_arm(&f, 10)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    kill(f.bridge.pid, SIGSTOP);
    EXPECT(fixture_post(&f, "/trial/start", "{\"kind\": \"random\"}", NULL, 0));
    usleep(500000); /* asked of the core, which waits for the simulator */
    EXPECT(!fixture_post(&f, "/task", "{\"name\": \"right\"}", text, sizeof text));
    kill(f.bridge.pid, SIGCONT);
    EXPECT_STR(text, "a trial is under way, and a task changes between trials: wait for its end, or limber trial stop");
    EXPECT(fixture_wait(&f, "task.name", "swingup", 0));
    EXPECT(fixture_wait(&f, "model.version", "1", 30));

    EXPECT(!fixture_post(&f, "/task", "{\"name\": \"wrong\"}", text, sizeof text));
    EXPECT_STR(
        text, "tasks/wrong.yaml:3: terms[0].observations[0]: value \"slider.speed\": expected one of: slider.position");
    EXPECT(!fixture_post(&f, "/task", "{\"name\": \"none\"}", text, sizeof text));
    EXPECT_STR(text, "none.yaml: cannot open: No such file");
    EXPECT(!fixture_post(&f, "/task", "{\"name\": \"../robot\"}", text, sizeof text));
    EXPECT(!fixture_post(&f, "/task", "{\"file\": \"right.yaml\"}", text, sizeof text));
    EXPECT(fixture_wait(&f, "task.name", "swingup", 0));

    snprintf(body, sizeof body, "{\"file\": \"%s/tasks/right.yaml\"}", test_dir());
    EXPECT(fixture_post(&f, "/task", body, text, sizeof text));
    EXPECT_STR(text, "task right in force");
    EXPECT(fixture_wait(&f, "task.name", "right", 0));
    EXPECT(fixture_wait(&f, "model.version", "1", 0));
    EXPECT(fixture_post(&f, "/trial/start", NULL, NULL, 0));
    EXPECT(fixture_wait(&f, "trials.done", "1", 30));
    json_t *status = fixture_status(&f);
    EXPECT(!strcmp(js_str(trial_of(status, 0), "task", ""), "swingup"));
    EXPECT(!strcmp(js_str(trial_of(status, 1), "task", ""), "right"));
    EXPECT(js_num(trial_of(status, 1), "return") > -50); /* 80 where the cart stays, as for swinging up it does */
    EXPECT_NEAR(js_num(status, "trials.best"), js_num(trial_of(status, 1), "return"), 1e-6);
    json_decref(status);
    EXPECT(fixture_wait(&f, "trials.phase", "IDLE", 20));
    EXPECT(fixture_post(&f, "/task", "{\"name\": \"swingup\"}", NULL, 0));
    EXPECT(isnan(fixture_number(&f, "trials.best"))); /* returns of another task do not compare */
    EXPECT(RT_SANITIZED || fixture_number(&f, "control.page_faults") == 0);
    EXPECT(RT_SANITIZED || fixture_number(&f, "planner.page_faults") == 0);
    fixture_end(&f);
}

TEST(a_trial_that_its_task_ends_is_a_result_and_is_learned_from)
{
    struct fixture f;

    fixture_init(&f, quick);
    write_task("swingup", "name: stay\nends:\n  - {observation: slider.position, low: -0.2, high: 0.2}\nterms:\n"
                          "  - {name: alive, kind: alive, weight: -1}\n");
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, lockstep) || !fixture_arm(&f, 10)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    json_t       *status = fixture_status(&f);
    const json_t *first  = trial_of(status, 0);
    double        steps  = js_num(first, "steps");

    EXPECT(!strcmp(js_str(first, "status", ""), "finished"));
    EXPECT(steps >= 1 && steps < 40);
    EXPECT_STR(js_str(first, "reason", ""), "ended: slider.position ");
    EXPECT_STR(js_str(first, "reason", ""), "outside [-0.2, 0.2] at step ");
    for (size_t i = 0; i < 4; i++) {
        EXPECT_NEAR(js_num(trial_of(status, i), "return"), js_num(trial_of(status, i), "steps"), 1e-9);
        EXPECT(js_num(trial_of(status, i), "missing") == 0);
        EXPECT(!strcmp(js_str(trial_of(status, i), "task", ""), "stay"));
    }
    EXPECT(js_num(status, "trials.best") >= 1);
    EXPECT(js_num(status, "model.transitions") >= steps);
    json_decref(status);
    fixture_end(&f);
}

/* ---- the end ---- */

TEST(a_daemon_asked_to_end_answers_whoever_waits_for_an_operation_and_ends_in_order)
{
    enum { CLIENTS = 12 }; /* one is answered each tick of 40 ms: the last ones are not */
    static const char  request[] = "POST /reset HTTP/1.1\r\nHost: limber\r\nContent-Length: 0\r\n\r\n";
    struct sockaddr_un a         = { .sun_family = AF_UNIX };
    struct fixture     f;
    struct timeval     patience = { .tv_sec = 3 };
    int                fd[CLIENTS], ending = 0, answered = 0;
    char               text[1000];

    fixture_init(&f, quick);
    EXPECT(fixture_daemon(&f, NULL));
    snprintf(a.sun_path, sizeof a.sun_path, "%.90s/control.sock", f.dir);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        EXPECT(connect(fd[i], (struct sockaddr *)&a, sizeof a) == 0);
        EXPECT(write(fd[i], request, sizeof request - 1) == (ssize_t)sizeof request - 1);
    }
    json_decref(fixture_status(&f)); /* the loop has gone round */
    kill(f.daemon.pid, SIGTERM);
    for (int i = 0; i < CLIENTS; i++) {
        ssize_t n = recv(fd[i], text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        answered += strstr(text, "HTTP/1.1 ") != NULL;
        ending += strstr(text, " 503 ") && strstr(text, "the daemon is ending");
        close(fd[i]);
    }
    EXPECT(answered == CLIENTS);
    EXPECT(ending > 0);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}

TEST(more_trials_than_are_kept_are_refused_with_what_is_allowed)
{
    struct fixture f;
    char           command[900], line[600] = "";

    fixture_init(&f, quick);
    snprintf(command, sizeof command, "%s/limberd --config %s --trials 5000 2>&1", test_build_dir(), f.config);
    FILE *p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p));
    int status = p ? pclose(p) : -1;
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 64);
    EXPECT_STR(line, "5000");
    EXPECT_STR(line, "at most 4096");
}

static bool aborted_row(void *ctx, const struct trial_row *t)
{
    *(int *)ctx += strcmp(t->status, "aborted") == 0;
    return true;
}

static int aborted_trials(const struct fixture *f)
{
    char path[300], why[300];
    int  n = 0;

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    if (s)
        store_trials(s, aborted_row, &n);
    store_close(s);
    return n;
}

TEST(a_simulator_killed_mid_trial_stops_the_robot_and_its_return_does_not_arm_it)
{
    static const char *const real_time[] = { "--seed", "3", NULL };
    struct fixture           f;

    fixture_init(&f, quick);
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, real_time) || !fixture_arm(&f, 10)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    EXPECT(fixture_wait(&f, "trials.step", "10", 10));
    kill(f.bridge.pid, SIGKILL);
    EXPECT(fixture_wait(&f, "stop.code", "state_stale", 3));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    child_stop(&f.bridge, 0, 1);
    EXPECT(fixture_bridge(&f, real_time));
    EXPECT(fixture_wait(&f, "link.connected", "true", 5));
    EXPECT(!fixture_arm(&f, 3)); /* latched */
    EXPECT(fixture_post(&f, "/reset", NULL, NULL, 0));
    EXPECT(fixture_arm(&f, 10));
    EXPECT(fixture_wait(&f, "trials.phase", "RUNNING", 5));
    EXPECT(fixture_wait(&f, "trials.step", "5", 5)); /* the same trial is tried again */
    fixture_end(&f);
    EXPECT(aborted_trials(&f) >= 1);
}

TEST(a_daemon_killed_at_any_moment_leaves_a_store_that_opens_and_comes_back_disarmed)
{
    struct fixture f;

    if (!begin(&f, quick))
        return;
    for (int i = 0; i < 4; i++) {
        usleep((useconds_t)(50000 + 237000 * i)); /* in trials, between them, while training */
        kill(f.daemon.pid, SIGKILL);
        child_stop(&f.daemon, 0, 1);
        EXPECT(fixture_daemon(&f, NULL));
        EXPECT(fixture_wait(&f, "mode", "DISARMED", 0));
        EXPECT(fixture_arm(&f, 30)); /* when the pole hangs still again */
    }
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    fixture_end(&f);
    EXPECT(store_digest(&f).n >= 4 * 40);
}

/* ---- privileges: H10 ---- */

static const char *const unprivileged[] = { "/usr/bin/setpriv", "--bounding-set=-sys_nice,-ipc_lock",
                                            "--inh-caps=-sys_nice,-ipc_lock", NULL };

TEST(without_real_time_privileges_it_warns_with_a_remedy_and_a_simulated_robot_may_be_armed)
{
    struct fixture f;

    fixture_init(&f, quick);
    if (getuid() == 0)
        f.wrapper = unprivileged;
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, lockstep)) {
        EXPECT(!"started");
        fixture_end(&f);
        return;
    }
    json_t *s = fixture_status(&f);
    EXPECT(!js_true(s, "realtime.ok"));
    char *warnings = json_dumps(js_at(s, "realtime.warnings"), 0);
    EXPECT_STR(warnings, "LimitRTPRIO");
    free(warnings);
    json_decref(s);
    EXPECT(fixture_arm(&f, 10));
    fixture_end(&f);
}

TEST(loud_noise_on_plans_of_real_hardware_is_asked_for_by_word_like_loud_exploration)
{
    static const char *const real[] = { "hardware: sim",
                                        "hardware: real",
                                        "lockstep: true",
                                        "lockstep: false",
                                        "next: auto",
                                        "next: operator",
                                        "amplitude: 1.0",
                                        "amplitude: 0.1",
                                        "smoothness: 0}",
                                        "smoothness: 0, planned: 0.3, planned_trials: 5}",
                                        NULL };
    struct fixture           f;
    char                     text[300] = "";

    fixture_init(&f, real);
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    EXPECT(!fixture_post(&f, "/arm", "{\"robot\": \"cartpole\"}", text, sizeof text));
    EXPECT_STR(text, "needs arm --explore");
    EXPECT(!fixture_post(&f, "/arm", "{\"robot\": \"cartpole\", \"explore\": true}", text, sizeof text));
    EXPECT(!strstr(text, "explore")); /* refused by the checks: no robot is there */
    fixture_end(&f);
}

TEST(without_real_time_privileges_real_hardware_is_refused_by_name_of_the_check)
{
    static const char *const real[] = { "hardware: sim", "hardware: real", "lockstep: true", "lockstep: false",
                                        "next: auto", "next: operator", "amplitude: 1.0", "amplitude: 0.1",
                                        "control_hz: 25", "control_hz: 10", NULL };
    struct fixture           f;
    char                     text[300] = "";

    fixture_init(&f, real);
    if (getuid() == 0)
        f.wrapper = unprivileged;
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    struct robot *r    = robot_new(&f);
    r->hello.simulated = false;
    EXPECT(robot_hello(r));
    robot_begin(r);
    usleep(3200000);
    EXPECT(!fixture_post(&f, "/arm", "{\"yes\": true}", text, sizeof text));
    EXPECT_STR(text, "typing the robot's name"); /* --yes is for simulated robots */
    EXPECT(!fixture_post(&f, "/arm", "{\"robot\": \"pusher\"}", text, sizeof text));
    EXPECT_STR(text, "another robot");
    /* Refused every time, in the end for this alone (a shared machine may lose a state now and then). */
    for (int i = 0; i < 100 && !strstr(text, "realtime"); i++) {
        EXPECT(!fixture_post(&f, "/arm", "{\"robot\": \"cartpole\"}", text, sizeof text));
        usleep(100000);
    }
    EXPECT_STR(text, "realtime");
    robot_pause(r);
    EXPECT(r->effort_max == 0);
    robot_free(r);
    fixture_end(&f);
}

/* The pre-arm check's own words; *ok: whether it holds. */
static void check_of(struct fixture *f, const char *name, bool *ok, char *detail, size_t size)
{
    json_t       *status = fixture_status(f);
    const json_t *list   = js_at(status, "prearm");

    *ok = false;
    snprintf(detail, size, "no such check");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        if (!strcmp(js_str(p, "name", ""), name)) {
            *ok = js_true(p, "ok");
            snprintf(detail, size, "%s", js_str(p, "detail", ""));
        }
    }
    json_decref(status);
}

/* One daemon, one robot side with this action, held against the check once the daemon has looked at it. */
static void timeout_action_is(const char *const *edits, enum timeout_action action, enum timeout_action slider, bool compensates,
                              bool holds, const char *words)
{
    struct fixture f;
    char           detail[300] = "";
    bool           ok          = false;

    fixture_init(&f, edits);
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    struct robot *r              = robot_new(&f);
    r->hello.simulated           = strcmp(edits[1], "hardware: real") != 0;
    r->hello.timeout_action      = action;
    r->hello.joint[0].timeout_action = slider;
    r->hello.gravity_compensated = compensates;
    EXPECT(robot_hello(r));
    robot_begin(r);
    for (int i = 0; i < 100 && (ok != holds || !strstr(detail, words));
         i++) { /* a check counts once it has held for a second */
        usleep(50000);
        check_of(&f, "timeout_action", &ok, detail, sizeof detail);
    }
    EXPECT(ok == holds);
    EXPECT_STR(detail, words);
    for (int i = 0; i < 100 && !holds && !strstr(detail, "check timeout_action"); i++) { /* others hold after a while */
        EXPECT(!fixture_post(&f, "/arm", "{\"robot\": \"cartpole\"}", detail, sizeof detail));
        usleep(50000);
    }
    if (!holds)
        EXPECT_STR(detail, "check timeout_action does not hold");
    robot_pause(r);
    robot_free(r);
    fixture_end(&f);
}

TEST(a_real_robot_that_would_let_its_loaded_joints_down_is_not_armed_unless_robot_yaml_says_so)
{
#define REAL                                                                                                \
    "hardware: sim", "hardware: real", "lockstep: true", "lockstep: false", "next: auto", "next: operator", \
        "amplitude: 1.0", "amplitude: 0.1", "control_hz: 25", "control_hz: 10"
    static const char *const silent[]    = { REAL, NULL };
    static const char *const hold[]      = { REAL, "cores: {",
                                             "timeouts: {robot_action: hold, state_stale_s: 0.6}\ncores: {", NULL };
    static const char *const slider[]    = { REAL, "actuated: true", "actuated: true\n    timeout_action: brake", NULL };
    static const char *const simulated[] = { "control_hz: 25", "control_hz: 10", NULL };
#undef REAL

    timeout_action_is(silent, TIMEOUT_DAMP, 0, false, true, "when commands stop the robot side damps");
    timeout_action_is(silent, TIMEOUT_DAMP, 0, true, false,
                      "gravity loads its joints: put up with that in timeouts.robot_action");
    timeout_action_is(hold, TIMEOUT_DAMP, 0, true, false, "damps, and timeouts.robot_action says otherwise");
    timeout_action_is(hold, TIMEOUT_HOLD, 0, true, true, "when commands stop the robot side holds");
    timeout_action_is(hold, TIMEOUT_DAMP, TIMEOUT_HOLD, true, true, "damps, with joint slider it holds");
    timeout_action_is(hold, TIMEOUT_HOLD, TIMEOUT_OFF, true, false, "lets go, and timeouts.robot_action says otherwise");
    timeout_action_is(slider, TIMEOUT_DAMP, TIMEOUT_BRAKE, true, true, "damps, with joint slider it brakes");
    timeout_action_is(slider, TIMEOUT_BRAKE, 0, true, true, "when commands stop the robot side brakes");
    timeout_action_is(slider, TIMEOUT_DAMP, 0, true, false, "damps, and joints[].timeout_action says otherwise of joint slider");
    timeout_action_is(simulated, TIMEOUT_OFF, 0, true, true, "a simulated robot may");
}

/* ---- models that fly ---- */

struct flown {
    uint64_t good[64], flown[64]; /* versions that were published; steps planned with each */
    int      backwards;           /* steps planned with an older model than the one before */
    int      within;              /* steps of a trial planned with another one than that trial's first */
    uint64_t last;
    int64_t  trial;
};

static bool flown_model(void *ctx, const struct model_row *m)
{
    struct flown *f = ctx;

    if (m->version < 64)
        f->good[m->version] = strcmp(m->status, "published") == 0;
    return true;
}

static bool flown_step(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct flown *f = ctx;

    f->within += t->model_version && trial_id == f->trial && t->model_version != f->last;
    f->trial = t->model_version ? trial_id : f->trial;
    f->flown[t->model_version < 64 ? t->model_version : 0]++;
    f->backwards += t->model_version && t->model_version < f->last;
    f->last = t->model_version ? t->model_version : f->last;
    return true;
}

/* What the store holds so far; returns how many versions flew. */
static int flown_read(const char *path, struct flown *f)
{
    char          why[300];
    struct store *s = store_open(path, &schema, true, why, sizeof why);
    int           versions = 0;

    *f = (struct flown){ 0 };
    if (!s)
        return 0;
    EXPECT(store_models(s, flown_model, f) >= 0 && store_transitions(s, 0, flown_step, f) >= 0);
    store_close(s);
    for (int v = 1; v < 64; v++)
        versions += f->flown[v] > 0;
    return versions;
}

static size_t errors_known(struct fixture *f)
{
    json_t *status = fixture_status(f);
    size_t  n      = json_array_size(js_at(status, "model.error"));

    json_decref(status);
    return n;
}

/* Trials that hardly wait run while the trainer trains: it may be done at any of their steps. */
TEST(only_published_models_fly_each_for_whole_trials_where_these_do_not_wait_and_their_errors_are_shown)
{
    static const char *const edits[] = { "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 1500\n  reward_weight: 0.1", "count: 15",
                                         "count: 60", "wait_for_model_s: 20", "wait_for_model_s: 0.2", "gates:\n",
                                         "gates:\n  promote_s: 0.1\n", NULL };
    struct fixture           f;
    struct flown             flown = { 0 };
    char                     path[300];

    if (!begin(&f, edits))
        return;
    snprintf(path, sizeof path, "%s/experience.db", f.dir);
    /* However slowly this machine trains, and however long the models are watched before they may fly. */
    for (int i = 0; i < 180 && (flown_read(path, &flown) < 2 || errors_known(&f) == 0); i++)
        sleep(1);
    EXPECT(fixture_number(&f, "model.rolled_back") == 0); /* or older ones may follow newer ones */
    json_t       *status = fixture_status(&f);
    const json_t *errors = js_at(status, "model.error"), *one = json_array_get(errors, 3);
    EXPECT(json_array_size(errors) == 4 && json_array_size(js_at(one, "trend")) >= 1);
    EXPECT_STR(js_str(one, "name", ""), "hinge.velocity");
    EXPECT(js_num(one, "value") > 0);
    json_decref(status);
    fixture_end(&f);
    EXPECT(flown_read(path, &flown) > 1 && flown.backwards == 0 && flown.within == 0);
    for (int v = 1; v < 64; v++)
        EXPECT(!flown.flown[v] || flown.good[v]);
}

static bool event_told(struct fixture *f, const char *part)
{
    json_t *status = fixture_status(f);
    bool    told   = false;

    for (size_t i = 0; i < json_array_size(js_at(status, "events")); i++) {
        const char *text = js_str(json_array_get(js_at(status, "events"), i), "text", "");

        told |= strstr(text, "rolled back to") && strstr(text, part);
    }
    json_decref(status);
    return told;
}

/* A threshold that no prediction keeps: every flight trips it. */
TEST(a_model_whose_plans_trip_gates_again_and_again_is_rolled_back_and_trips_are_told_by_trial)
{
    static const char *const edits[] = { "steps: 200", "steps: 60", "count: 15", "count: 6", "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                         "residual: auto",
                                         "residual: 0.000001\n  min_transitions: 1\n  promote_s: 0.1", NULL };
    struct fixture           f;

    if (!begin(&f, edits))
        return;
    bool told = false;
    double back = 0; /* the first model that is told has none before it to go back to */
    for (int i = 0; i < 900 && !(told && back >= 1); i++, usleep(100000)) {
        told = told || event_told(&f, "it tripped gates twice within a minute");
        back = fixture_number(&f, "model.rolled_back");
    }
    EXPECT(told && back >= 1);
    json_t *status = fixture_status(&f);
    double  most   = 0;
    for (size_t i = 0; i < json_array_size(js_at(status, "trials.history")); i++)
        most = fmax(most, js_num(json_array_get(js_at(status, "trials.history"), i), "gate_trips"));
    EXPECT(most >= 1);
    EXPECT(js_num(status, "faults.mispredicted") >= 2 && js_num(status, "faults.drift") == 0);
    EXPECT_STR(js_str(status, "filter.off.envelope", ""), "joints[].brake is not given");
    EXPECT_STR(js_str(status, "filter.off.thermal", ""), "joints[].effort_continuous is not given");
    json_decref(status);
    fixture_end(&f);
}

TEST(status_shows_the_heat_of_motors_that_have_one_which_falls_from_1_while_nothing_is_sent)
{
    static const char *const edits[] = { "effort: 300", "effort_continuous: 100\n    heat_s: 2\n    effort: 300", NULL };
    struct fixture           f;
    double                   heat = 1;

    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL));
    json_t *status = fixture_status(&f);
    EXPECT(json_object_size(js_at(status, "filter.heat")) == 1 && !js_at(status, "filter.off.thermal"));
    json_decref(status);
    for (int i = 0; i < 100 && !(heat < 0.8); i++, usleep(100000)) {
        double now = fixture_number(&f, "filter.heat.slider");

        EXPECT(now <= heat);
        heat = now;
    }
    EXPECT(heat < 0.8 && heat > 0.5);
    fixture_end(&f);
}

/* ---- what is shown, and who may run ---- */

TEST(metrics_count_page_faults_and_switches_of_every_real_time_thread_from_arming_on)
{
    struct fixture f;
    char           command[400], text[8192] = "";

    if (!begin(&f, quick))
        return;
    EXPECT(fixture_wait(&f, "control.ticks", "50", 20));
    snprintf(command, sizeof command, "curl -s --unix-socket %s/status.sock http://limber/metrics", f.dir);
    FILE *p = popen(command, "re");
    EXPECT(p && fread(text, 1, sizeof text - 1, p) > 0);
    pclose(p);
    EXPECT_STR(text, "# TYPE limber_ticks_total counter\nlimber_ticks_total ");
    EXPECT_STR(text, "limber_thread_page_faults{thread=\"control\",kind=\"minor\"} ");
    EXPECT(RT_SANITIZED || strstr(text, "limber_thread_page_faults{thread=\"control\",kind=\"minor\"} 0\n")); /* memory is locked */
    EXPECT_STR(text, "limber_thread_page_faults{thread=\"planner\",kind=\"major\"} 0\n");
    EXPECT_STR(text, "limber_thread_switches{thread=\"io\",kind=\"voluntary\"} ");
    EXPECT(!strstr(text, "thread=\"control\",kind=\"voluntary\"} 0\n")); /* it has slept */
    EXPECT_STR(text, "limber_syscalls_refused 0\n");
    EXPECT_STR(text, "limber_thread_stack_bytes{thread=\"planner\"} ");
    json_t *s = fixture_status(&f);
    EXPECT(json_array_size(js_at(s, "realtime.threads")) == 3);
    json_decref(s);
    fixture_end(&f);
}

TEST(a_second_daemon_on_the_same_run_directory_is_refused_by_name)
{
    struct fixture f;
    char           command[900], line[600] = "";

    fixture_init(&f, quick);
    EXPECT(fixture_daemon(&f, NULL));
    snprintf(command, sizeof command, "%s/limberd --config %s --run-dir %s 2>&1", test_build_dir(), f.config, f.dir);
    FILE *p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p));
    int status = p ? pclose(p) : -1;
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 69);
    EXPECT_STR(line, "already controls cartpole");
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1)); /* the first is unharmed */
    fixture_end(&f);
}

TEST(check_says_good_or_names_the_line_and_starts_nothing)
{
    static const char *const broken[] = { "control_hz: 25", "control_hz: 25 Hz", NULL };
    struct fixture           f;
    char                     command[900], line[600] = "";

    fixture_init(&f, quick);
    snprintf(command, sizeof command, "%s/limberd --check %s 2>&1", test_build_dir(), f.config);
    FILE *p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p));
    EXPECT(p && pclose(p) == 0);
    EXPECT_STR(line, "good");

    fixture_init(&f, broken);
    p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p));
    int status = p ? pclose(p) : -1;
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 78);
    EXPECT_STR(line, "robot.yaml:");
    EXPECT_STR(line, "control_hz");
    EXPECT_STR(line, "25 Hz");
    EXPECT(access(f.dir, F_OK) != 0); /* no run directory was made */
}

TEST(every_tick_is_published_to_whoever_listens)
{
    struct fixture f;
    char           endpoint[300];
    uint8_t        buf[CODEC_MAX_BYTES];
    uint64_t       last = 0;
    int            n = 0, in_order = 0, moving = 0, patience = 3000;
    void          *ctx = zmq_ctx_new(), *sub = zmq_socket(ctx, ZMQ_SUB);

    if (!begin(&f, quick))
        return;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/telemetry.sock", f.dir);
    zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0);
    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &patience, sizeof patience);
    EXPECT(zmq_connect(sub, endpoint) == 0);
    for (int len; n < 60 && (len = zmq_recv(sub, buf, sizeof buf, 0)) > 0; n++) {
        Limber__V1__Telemetry *t = limber__v1__telemetry__unpack(NULL, (size_t)len, buf);

        EXPECT(t && strcmp(t->robot, "cartpole") == 0 && t->n_position == 2 && t->n_effort == 2);
        if (!t)
            break;
        in_order += t->tick > last;
        moving += t->effort[0] != 0;
        last = t->tick;
        limber__v1__telemetry__free_unpacked(t, NULL);
    }
    EXPECT(n == 60 && in_order == 60 && moving > 20);
    zmq_close(sub);
    zmq_ctx_destroy(ctx);
    fixture_end(&f);
}

TEST(the_store_can_be_read_with_sqlite3_while_the_daemon_runs)
{
    struct fixture f;
    char           command[600], line[200] = "";

    if (!begin(&f, quick))
        return;
    EXPECT(fixture_wait(&f, "trials.done", "1", 60));
    snprintf(command, sizeof command,
             "sqlite3 -readonly %s/experience.db 'select count(\"hinge.position\") > 40 from transitions'", f.dir);
    FILE *p = popen(command, "r");
    EXPECT(p && fgets(line, sizeof line, p) && line[0] == '1');
    EXPECT(p && pclose(p) == 0);
    fixture_end(&f);
}
