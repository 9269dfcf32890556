/* cli_session.c - see cli_session.h. */
#include "daemon/cli_session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_view.h"
#include "daemon/rt/clock.h"
#include "daemon/run_dir.h"

/* Patience, in seconds. */
static const double DAEMON_S = 10, LINK_S = 10, PREARM_S = 15, SILENT_S = 10, IDLE_S = 1.5, MOVE_S = 2;

static double since(uint64_t ns)
{
    return 1e-9 * (double)(clock_now_ns() - ns);
}

/* --- starting ------------------------------------------------------------------------------------------------- */

/* Adds one more name to a list with commas. */
static void add_name(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);

    snprintf(list + used, size - used, "%s%s", used ? "," : "", name);
}

/* The same with a number, every bit of it: limberd compares what comes back in Hello. */
static void add_number(char *list, size_t size, double value)
{
    char text[26];

    snprintf(text, sizeof text, "%.17g", value);
    add_name(list, size, text);
}

/* Flags that not every robot's simulator has, from argv[n] on; the next free place. */
static int where_it_applies(struct sim_command *b, const struct robot_config *c, const char *key, int n)
{
    char **a = b->argv;

    if (b->tcp) {
        a[n++] = (char *)"--server-key";
        a[n++] = b->keys.server;
        a[n++] = (char *)"--key";
        a[n++] = (char *)key;
    }
    if (c->nextra > 0) {
        a[n++] = (char *)"--extra";
        a[n++] = b->extra;
    }
    if (c->sim.timestep > 0) {
        a[n++] = (char *)"--timestep";
        a[n++] = b->timestep;
    }
    if (c->cores.sim_priority > 0) {
        a[n++] = (char *)"--rt";
        a[n++] = (char *)"--priority";
        a[n++] = b->priority;
        a[n++] = (char *)"--core";
        a[n++] = b->core;
    }
    return n;
}

int sim_command(struct sim_command *b, const struct robot_config *c, const char *run_dir, const char *key, long seed,
                bool lockstep, const char *picture, char *why, size_t why_size)
{
    int    n = 0;
    char **a = b->argv;

    b->tcp = strncmp(c->endpoint, "tcp://", 6) == 0;
    if (b->tcp && sim_keys_find(&b->keys, c, key, why, why_size) != 0)
        return -1;
    if (program_find("limber-bridge", b->program, sizeof b->program, why, why_size) != 0)
        return -1;
    if (b->tcp)
        snprintf(b->endpoint, sizeof b->endpoint, "%s", b->keys.endpoint);
    else if (c->endpoint[0])
        snprintf(b->endpoint, sizeof b->endpoint, "%s", c->endpoint);
    else
        snprintf(b->endpoint, sizeof b->endpoint, "ipc://%s/robot.sock", run_dir);
    snprintf(b->seed, sizeof b->seed, "%llu",
             seed >= 0 ? (unsigned long long)seed : (unsigned long long)c->trials.seed);
    snprintf(b->timestep, sizeof b->timestep, "%.9g", c->sim.timestep);
    snprintf(b->timeout, sizeof b->timeout, "%.9g", c->sim.command_timeout_ms);
    snprintf(b->priority, sizeof b->priority, "%d", c->cores.sim_priority);
    snprintf(b->core, sizeof b->core, "%d", c->cores.io);

    b->joints[0] = b->extra[0] = b->effort_rate[0] = b->velocity[0] = 0;
    for (int j = 0; j < c->nj; j++) {
        add_name(b->joints, sizeof b->joints, c->joint[j].name);
        add_number(b->effort_rate, sizeof b->effort_rate, c->joint[j].actuated ? c->joint[j].effort_rate : (double)INFINITY);
        add_number(b->velocity, sizeof b->velocity, c->joint[j].velocity);
    }
    for (int i = 0; i < c->nextra; i++)
        add_name(b->extra, sizeof b->extra, c->extra[i]);

    a[n++] = b->program;
    a[n++] = (char *)"sim";
    a[n++] = (char *)"--robot";
    a[n++] = (char *)c->robot;
    a[n++] = (char *)"--model";
    a[n++] = (char *)c->sim.model;
    a[n++] = (char *)"--endpoint";
    a[n++] = b->endpoint;
    a[n++] = (char *)"--seed";
    a[n++] = b->seed;
    a[n++] = (char *)"--command-timeout-ms";
    a[n++] = b->timeout;
    a[n++] = (char *)"--joints";
    a[n++] = b->joints;
    a[n++] = (char *)"--effort-rate";
    a[n++] = b->effort_rate;
    a[n++] = (char *)"--velocity";
    a[n++] = b->velocity;
    n      = where_it_applies(b, c, key, n);
    if (lockstep)
        a[n++] = (char *)"--lockstep";
    if (picture) {
        a[n++] = (char *)"--picture";
        a[n++] = (char *)picture;
    }
    a[n] = NULL;
    return 0;
}

static int start_daemon(struct session *s, const struct session_options *o)
{
    char  program[PATH_SIZE], log[PATH_SIZE + 32], seed[24], trials[24];
    char *argv[16];
    int   n = 0;

    if (program_find("limberd", program, sizeof program, s->why, sizeof s->why) != 0)
        return -1;
    snprintf(log, sizeof log, "%s/limberd.log", s->run_dir);
    snprintf(seed, sizeof seed, "%ld", o->seed);
    snprintf(trials, sizeof trials, "%ld", o->trials);
    argv[n++] = program;
    argv[n++] = (char *)"--config";
    argv[n++] = (char *)o->config;
    argv[n++] = (char *)"--run-dir";
    argv[n++] = s->run_dir;
    if (o->seed >= 0) {
        argv[n++] = (char *)"--seed";
        argv[n++] = seed;
    }
    if (o->trials > 0) {
        argv[n++] = (char *)"--trials";
        argv[n++] = trials;
    }
    if (o->train_flat_out)
        argv[n++] = (char *)"--train-flat-out";
    argv[n] = NULL;
    s->daemon.ordinary = o->ordinary;
    return child_start(&s->daemon, "limberd", argv, log, s->why, sizeof s->why);
}

static int start_both(struct session *s, const struct session_options *o)
{
    struct sim_command command;
    char               log[PATH_SIZE + 32];

    snprintf(log, sizeof log, "%s/sim.log", s->run_dir);
    if (sim_command(&command, &s->config, s->run_dir, o->key, o->seed, s->lockstep, NULL, s->why, sizeof s->why) != 0 ||
        start_daemon(s, o) != 0)
        return -1;
    s->sim.ordinary = o->ordinary;
    int n           = 0;
    while (command.argv[n])
        n++;
    if (o->drill) {
        command.argv[n++] = (char *)"--drill";
        command.argv[n++] = (char *)o->drill;
        command.argv[n]   = NULL;
    }
    if (o->fault) {
        command.argv[n++] = (char *)"--fault";
        command.argv[n++] = (char *)o->fault;
        command.argv[n]   = NULL;
    }
    return child_start(&s->sim, "limber-bridge sim", command.argv, log, s->why, sizeof s->why);
}

int session_start(struct session *s, const struct session_options *o)
{
    memset(s, 0, sizeof *s);
    s->best = (double)NAN;
    if (config_load(o->config, &s->config, s->why, sizeof s->why) != 0) {
        fprintf(stderr, "limber: %s\n", s->why);
        return EXIT_CONFIG;
    }
    if (s->config.hardware != HARDWARE_SIM) {
        fprintf(stderr,
                "limber: %s says hardware: real; only simulated robots are run this way.  Start limberd --config %s, "
                "then limber arm at a terminal\n",
                o->config, o->config);
        return EXIT_REFUSED;
    }
    if (o->lockstep && !s->config.lockstep) {
        fprintf(stderr, "limber: %s says lockstep: false; run it without --lockstep\n", o->config);
        return EXIT_CONFIG;
    }
    if (run_dir_find(o->run_dir, NULL, s->config.robot, s->run_dir, sizeof s->run_dir, s->why, sizeof s->why) != 0) {
        fprintf(stderr, "limber: %s\n", s->why);
        return EXIT_CANTCREATE;
    }
    if (run_dir_alive(s->run_dir)) {
        fprintf(stderr, "limber: a daemon is running in %s already; limber --run-dir %s stop, or choose another\n",
                s->run_dir, s->run_dir);
        return EXIT_REFUSED;
    }
    /* A configuration without delay makes sense only where the simulator waits. */
    s->lockstep = o->lockstep || s->config.delay_steps == 0;
    s->phase_ns = s->answer_ns = clock_now_ns();
    if (start_both(s, o) != 0) {
        fprintf(stderr, "limber: %s\n", s->why);
        child_stop(&s->daemon, 0, 2);
        return EXIT_OSERR;
    }
    return EXIT_OK;
}

/* --- watching ------------------------------------------------------------------------------------------------- */

static void enter(struct session *s, enum session_phase phase)
{
    s->phase    = phase;
    s->phase_ns = clock_now_ns();
}

static enum session_end trouble(struct session *s, const char *what)
{
    snprintf(s->why, sizeof s->why, "%s", what);
    return END_TROUBLE;
}

static bool prearm_holds(const json_t *prearm)
{
    for (size_t i = 0; i < json_array_size(prearm); i++)
        if (!js_true(json_array_get(prearm, i), "ok"))
            return false;
    return json_array_size(prearm) > 0;
}

/* Asked once per look until the daemon agrees; a refusal is a check that failed again in between. */
static void try_to_arm(struct session *s)
{
    struct http_answer a;
    json_t            *body = json_pack("{s:s, s:b}", "robot", s->config.robot, "yes", true);
    enum http_result   r    = http_post(s->run_dir, "/arm", body, &a);

    json_decref(body);
    if (r == HTTP_OK && a.status == 200 && js_true(a.json, "ok"))
        enter(s, PHASE_ARMED);
    else
        snprintf(s->why, sizeof s->why, "arming was refused: %s",
                 r == HTTP_OK ? js_str(a.json, "error", "no reason given") : a.why);
    json_decref(a.json);
}

/* With next: operator the daemon waits for a person; here that is us. */
static void start_idle_trial(struct session *s)
{
    struct http_answer a;

    if (s->config.trials.next != NEXT_OPERATOR)
        return;
    if (strcmp(js_str(s->status, "trials.phase", ""), "IDLE") != 0) {
        s->idle_ns = 0;
    } else if (s->idle_ns == 0) {
        s->idle_ns = clock_now_ns();
    } else if (since(s->idle_ns) > IDLE_S) {
        http_post(s->run_dir, "/trial/start", NULL, &a);
        json_decref(a.json);
        s->idle_ns = 0;
    }
}

static enum session_end look_armed(struct session *s)
{
    const char *mode = js_str(s->status, "mode", "");

    if (js_true(s->status, "latched") || !strcmp(mode, "FAULT"))
        return END_STOPPED;
    if (js_true(s->status, "trials.finished"))
        return END_FINISHED;
    if (strcmp(mode, "DISARMED") != 0)
        s->moved = true;
    else if (s->moved || since(s->phase_ns) > MOVE_S)
        return END_DISARMED;
    start_idle_trial(s);
    return END_NOT_YET;
}

static enum session_end look(struct session *s)
{
    if (s->phase == PHASE_DAEMON && s->status)
        enter(s, PHASE_LINK);
    if (s->phase == PHASE_LINK && js_true(s->status, "link.connected"))
        enter(s, PHASE_PREARM);
    if (s->phase == PHASE_PREARM && prearm_holds(js_at(s->status, "prearm")))
        try_to_arm(s);
    else if (s->phase == PHASE_ARMED)
        return look_armed(s);

    if (s->phase != PHASE_ARMED && js_true(s->status, "latched"))
        return END_STOPPED;
    if (s->phase == PHASE_DAEMON && since(s->phase_ns) > DAEMON_S)
        return trouble(s, "limberd does not answer on its status socket");
    if (s->phase == PHASE_LINK && since(s->phase_ns) > LINK_S)
        return trouble(s, "the simulated robot did not connect");
    if (s->phase == PHASE_PREARM && since(s->phase_ns) > PREARM_S)
        return trouble(s, s->why[0] ? s->why : "the pre-arm checks do not hold");
    return END_NOT_YET;
}

enum session_end session_look(struct session *s)
{
    struct http_answer a;

    if (child_ended(&s->daemon) || child_ended(&s->sim))
        return END_CHILD;
    if (http_status(s->run_dir, &a) == HTTP_OK) {
        json_decref(s->status);
        s->status    = a.json;
        s->answer_ns = clock_now_ns();
    } else if (s->phase != PHASE_DAEMON && since(s->answer_ns) > SILENT_S) {
        return trouble(s, a.why);
    }
    return look(s);
}

enum session_end session_step(struct session *s, struct terminal *t, double seconds)
{
    return terminal_wait(t, seconds) == WAKE_INTERRUPT ? END_INTERRUPTED : session_look(s);
}

double session_armed_s(const struct session *s)
{
    return s->phase == PHASE_ARMED ? since(s->phase_ns) : 0;
}

void session_waiting(const struct session *s, struct screen *out)
{
    const json_t *prearm = js_at(s->status, "prearm");

    if (s->phase == PHASE_DAEMON) {
        screen_line(out, "waiting for limberd");
    } else if (s->phase == PHASE_LINK) {
        screen_line(out, "waiting for the simulated robot to connect");
    } else if (s->phase == PHASE_PREARM) {
        screen_line(out, "waiting for the pre-arm checks:");
        for (size_t i = 0; i < json_array_size(prearm); i++) {
            const json_t *p = json_array_get(prearm, i);

            if (!js_true(p, "ok"))
                screen_line(out, "  " WARN "%s" PLAIN "  %s", js_str(p, "name", "-"), js_str(p, "detail", ""));
        }
    }
}

/* Other fields (the model's verdict, say) may be filled in later. */
static bool same_trial(const json_t *a, const json_t *b)
{
    return json_equal(js_at(a, "number"), js_at(b, "number")) && json_equal(js_at(a, "kind"), js_at(b, "kind")) &&
           json_equal(js_at(a, "status"), js_at(b, "status")) &&
           (json_equal(js_at(a, "return"), js_at(b, "return")) || js_num(a, "return") == js_num(b, "return"));
}

const json_t *session_next_trial(struct session *s)
{
    const json_t *history = js_at(s->status, "trials.history");
    size_t        n = json_array_size(history), from = 0;

    /* The history may have lost its oldest entries: look for the last one given from the end. */
    for (size_t i = n; s->reported && i > 0; i--) {
        if (same_trial(json_array_get(history, i - 1), s->reported)) {
            from = i;
            break;
        }
    }
    for (size_t i = from; i < n; i++) {
        json_t     *t    = json_array_get(history, i);
        const char *done = js_str(t, "status", "");

        if (strcmp(done, "finished") != 0 && strcmp(done, "aborted") != 0)
            continue;
        json_decref(s->reported);
        s->reported = json_incref(t);

        double ret = js_num(t, "return");

        if (!strcmp(done, "finished") && !strcmp(js_str(t, "kind", ""), "planned") && !(ret <= s->best))
            s->best = ret;
        return t;
    }
    return NULL;
}

/* --- ending --------------------------------------------------------------------------------------------------- */

static void tell(struct session *s, const char *verb)
{
    struct http_answer a;

    if (s->daemon.pid > 0 && !child_ended(&s->daemon)) {
        http_post(s->run_dir, verb, NULL, &a);
        json_decref(a.json);
    }
}

/* Until it says so itself, or 2 s. */
static void wait_disarmed(struct session *s)
{
    uint64_t start = clock_now_ns();

    while (since(start) < 2 && !child_ended(&s->daemon)) {
        struct http_answer a;
        bool done = http_status(s->run_dir, &a) != HTTP_OK || !strcmp(js_str(a.json, "mode", ""), "DISARMED");

        json_decref(a.json);
        if (done)
            return;
        clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
    }
}

static void explain_child(struct child *c)
{
    char how[100];

    if (!child_ended(c))
        return;
    child_how(c, how, sizeof how);
    fprintf(stderr, "limber: %s ended by itself: %s.  Its log, %s, ends:\n", c->name, how, c->log);
    child_tail(c, 12, stderr);
}

static void explain(struct session *s, enum session_end end)
{
    struct screen out = { .colour = terminal_wants_colour() };

    switch (end) {
    case END_STOPPED:
        screen_line(&out, BAD "The robot stopped, and the stop is latched; the run ends here." PLAIN);
        view_stop(&out, s->status);
        break;
    case END_DISARMED: screen_line(&out, "limber: the robot was disarmed by someone else; the run ends here"); break;
    case END_TROUBLE:
        session_waiting(s, &out);
        screen_line(&out, "limber: %s", s->why);
        break;
    case END_CHILD:
        explain_child(&s->daemon);
        explain_child(&s->sim);
        break;
    case END_NOT_YET:
    case END_FINISHED:
    case END_ENOUGH:
    case END_INTERRUPTED: break;
    }
    cli_print(&out, stderr);
}

int session_finish(struct session *s, enum session_end end)
{
    explain(s, end);
    if (end == END_FINISHED || end == END_ENOUGH) {
        tell(s, "/disarm");
        wait_disarmed(s);
    } else {
        tell(s, "/stop");
    }
    tell(s, "/shutdown");
    child_stop(&s->daemon, 3, 20); /* a slow disk has its time to take what was learned */
    child_stop(&s->sim, 0, 2);
    if (end == END_TROUBLE) {
        fprintf(stderr, "limber: the daemon's log, %s, ends:\n", s->daemon.log);
        child_tail(&s->daemon, 12, stderr);
    }
    if (end == END_INTERRUPTED)
        return EXIT_INTERRUPTED;
    return end == END_FINISHED || end == END_ENOUGH ? EXIT_OK : EXIT_REFUSED;
}

void session_free(struct session *s)
{
    json_decref(s->status);
    json_decref(s->reported);
    s->status = s->reported = NULL;
}
