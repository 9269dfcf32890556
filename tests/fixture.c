#include "tests/fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cli_http.h"
#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/test.h"

static double now_s(void)
{
    return (double)clock_now_ns() * 1e-9;
}

/* A limberd under a sanitizer misses deadlines a real one keeps: what must come may come five times as late. */
static double patience(double seconds)
{
    return RT_SANITIZED ? 5 * seconds : seconds;
}

static void pause_ms(int ms)
{
    usleep((useconds_t)ms * 1000);
}

static char *slurp(const char *path)
{
    FILE *f    = fopen(path, "r");
    char *text = calloc(1, 65536);

    if (!f || !text || fread(text, 1, 65535, f) == 0)
        abort();
    fclose(f);
    return text;
}

static void spit(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

void fixture_init(struct fixture *f, const char *const *edits)
{
    char task[300];

    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "%s/run", test_dir());
    snprintf(f->config, sizeof f->config, "%s/robot.yaml", test_dir());
    snprintf(task, sizeof task, "%s/tasks", test_dir());
    mkdir(task, 0700);

    char *text = slurp("robots/cartpole/robot.yaml");
    for (; edits && edits[0]; edits += 2) {
        char *at = strstr(text, edits[0]), *rest;
        if (!at) {
            printf("fixture: robot.yaml does not contain \"%s\"\n", edits[0]);
            abort();
        }
        rest = strdup(at + strlen(edits[0]));
        snprintf(at, 65536 - (size_t)(at - text), "%s%s", edits[1], rest);
        free(rest);
    }
    /* A shared machine may stall for longer than the 120 ms that would be due here (tests/test_core.c judges those). */
    if (!strstr(text, "timeouts: {"))
        snprintf(text + strlen(text), 65536 - strlen(text), "timeouts: {state_stale_s: 0.6}\n");
    spit(f->config, text);
    free(text);
    snprintf(task, sizeof task, "%s/tasks/swingup.yaml", test_dir());
    text = slurp("robots/cartpole/tasks/swingup.yaml");
    spit(task, text);
    free(text);
    snprintf(task, sizeof task, "%s/model.xml", test_dir());
    text = slurp("robots/cartpole/model.xml");
    spit(task, text);
    free(text);
}

static bool start(struct child *c, const char *program, const char *const *wrapper, const char *const *fixed,
                  const char *const *extra)
{
    char        path[600], log[300], why[300];
    const char *argv[40];
    int         n = 0;

    snprintf(path, sizeof path, "%s/%s", test_build_dir(), program);
    snprintf(log, sizeof log, "%s/%s.log", test_dir(), program);
    for (; wrapper && *wrapper; wrapper++)
        argv[n++] = *wrapper;
    argv[n++] = path;
    for (; *fixed; fixed++)
        argv[n++] = *fixed;
    for (; extra && *extra; extra++)
        argv[n++] = *extra;
    argv[n] = NULL;
    memset(c, 0, sizeof *c);
    if (child_start(c, program, (char *const *)(uintptr_t)argv, log, why, sizeof why) == 0)
        return true;
    printf("%s\n", why);
    return false;
}

bool fixture_daemon(struct fixture *f, const char *const *extra)
{
    const char *fixed[] = { "--config", f->config, "--run-dir", f->dir, NULL };
    double      until   = now_s() + patience(10);

    if (!start(&f->daemon, "limberd", f->wrapper, fixed, extra))
        return false;
    while (now_s() < until) {
        json_t *s = fixture_status(f);
        json_decref(s);
        if (s)
            return true;
        if (child_ended(&f->daemon))
            break;
        pause_ms(20);
    }
    child_tail(&f->daemon, 10, stdout);
    return false;
}

bool fixture_bridge(struct fixture *f, const char *const *extra)
{
    char        endpoint[300], model[300];
    const char *fixed[] = { "sim", "--robot", "cartpole", "--model", model, "--endpoint", endpoint,
                            f->bridge_talks ? NULL : "--quiet", NULL };

    snprintf(endpoint, sizeof endpoint, "ipc://%s/robot.sock", f->dir);
    snprintf(model, sizeof model, "%s/model.xml", test_dir());
    return start(&f->bridge, "limber-bridge", NULL, fixed, extra);
}

void fixture_end(struct fixture *f)
{
    child_stop(&f->bridge, 0, 2);
    child_stop(&f->daemon, 0, 3);
}

pid_t fixture_trainer(const struct fixture *f)
{
    char command[100], line[40] = "";

    snprintf(command, sizeof command, "pgrep -P %d -x limber-trainer", (int)f->daemon.pid);
    FILE *p = popen(command, "re");
    if (p && !fgets(line, sizeof line, p))
        line[0] = 0;
    if (p)
        pclose(p);
    return (pid_t)atoi(line);
}

static void set_or_unset(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

void fixture_failing(const char *program, const char *what, const char *at, const char *by)
{
    char shim[600], log[300];

    snprintf(shim, sizeof shim, "%s/tests/failing.so", test_build_dir());
    snprintf(log, sizeof log, "%s/run/shim.log", test_dir());
    set_or_unset("LD_PRELOAD", program ? shim : NULL);
    set_or_unset("FAIL_LOG", program ? log : NULL);
    set_or_unset("FAIL_PROGRAM", program);
    set_or_unset("FAIL_WHAT", what);
    set_or_unset("FAIL_AT", at);
    set_or_unset("FAIL_BY", by);
}

_Atomic int64_t *clock_file(void)
{
    char path[300];

    snprintf(path, sizeof path, "%s/clocks", test_dir());
    int   fd  = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *map = fd >= 0 && ftruncate(fd, 16) == 0 ? mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (map == MAP_FAILED)
        abort();
    close(fd);
    setenv("CLOCK_FILE", path, 1);
    return map;
}

void clock_file_end(_Atomic int64_t *clocks)
{
    unsetenv("CLOCK_FILE");
    munmap((void *)(uintptr_t)clocks, 16);
}

json_t *fixture_status(struct fixture *f)
{
    struct http_answer a = { 0 };

    return http_status(f->dir, &a) == HTTP_OK ? a.json : NULL;
}

static bool matches(const json_t *status, const char *path, const char *value)
{
    const json_t *v = js_at(status, path);

    if (json_is_string(v))
        return strcmp(json_string_value(v), value) == 0;
    if (json_is_boolean(v))
        return strcmp(json_is_true(v) ? "true" : "false", value) == 0;
    return json_is_number(v) && json_number_value(v) >= strtod(value, NULL);
}

bool fixture_says(struct fixture *f, const char *words)
{
    json_t *s    = fixture_status(f);
    char   *text = s ? json_dumps(s, 0) : NULL;
    bool    yes  = text && strstr(text, words);

    free(text);
    json_decref(s);
    return yes;
}

bool fixture_wait(struct fixture *f, const char *path, const char *value, double seconds)
{
    double until = now_s() + patience(seconds);

    for (;;) {
        json_t *s  = fixture_status(f);
        bool    ok = s && matches(s, path, value);

        if (!ok && now_s() > until) {
            char *got = s && js_at(s, path) ? json_dumps(js_at(s, path), JSON_ENCODE_ANY) : NULL;
            printf("    %s is %s, not %s, after %g s\n", path, got ? got : "missing", value, seconds);
            free(got);
        }
        json_decref(s);
        if (ok || now_s() > until)
            return ok;
        pause_ms(30);
    }
}

double fixture_number(struct fixture *f, const char *path)
{
    json_t *s = fixture_status(f);
    double  x = s ? js_num(s, path) : (double)NAN;

    json_decref(s);
    return x;
}

static bool has_event(const json_t *status, const char *kind, const char *part, char *text, size_t n)
{
    const json_t *events = js_at(status, "events");

    for (size_t i = json_array_size(events); i-- > 0;) {
        const json_t *e = json_array_get(events, i);

        if (strcmp(js_str(e, "kind", ""), kind) != 0 || !strstr(js_str(e, "text", ""), part))
            continue;
        if (text)
            snprintf(text, n, "%s", js_str(e, "text", ""));
        return true;
    }
    return false;
}

bool fixture_event(struct fixture *f, const char *kind, const char *part, double seconds, char *text, size_t n)
{
    double until = now_s() + patience(seconds);

    for (;;) {
        json_t *s     = fixture_status(f);
        bool    there = s && has_event(s, kind, part, text, n);

        json_decref(s);
        if (there || now_s() > until)
            return there;
        pause_ms(30);
    }
}

bool fixture_post(struct fixture *f, const char *verb, const char *body, char *text, size_t n)
{
    struct http_answer a  = { 0 };
    json_t            *o  = body ? json_loads(body, 0, NULL) : NULL;
    bool               ok = http_post(f->dir, verb, o, &a) == HTTP_OK && a.status == 200 && js_true(a.json, "ok");

    if (text)
        snprintf(text, n, "%s", a.json ? js_str(a.json, ok ? "text" : "error", "") : a.why);
    json_decref(a.json);
    json_decref(o);
    return ok;
}

bool fixture_arm(struct fixture *f, double seconds)
{
    double until = now_s() + patience(seconds);
    char   text[300];

    while (!fixture_post(f, "/arm", "{\"yes\": true}", text, sizeof text)) {
        if (now_s() > until) {
            printf("    %s\n", text);
            return false;
        }
        pause_ms(50);
    }
    return true;
}

/* ---- robot ---- */

/* A state that comes late is a finding about the daemon, so the test's own side keeps time as a robot does, where it may;
 * on a busy machine it would be late by itself.  Threads started later inherit this. */
static void keep_time(bool on)
{
    struct sched_param param = { .sched_priority = on ? 10 : 0 };

    if (RT_SANITIZED) /* its locks spin, see realtime.c */
        return;
    pthread_setschedparam(pthread_self(), on ? SCHED_FIFO : SCHED_OTHER, &param);
}

struct robot *robot_new(const struct fixture *f)
{
    struct robot       *r = calloc(1, sizeof *r);
    char                endpoint[300], why[300];
    struct port_options o = { .endpoint = endpoint, .core = -1 };

    snprintf(endpoint, sizeof endpoint, "ipc://%s/robot.sock", f->dir);
    keep_time(true);
    if (!r || !(r->port = port_connect(&o, why, sizeof why)))
        abort();
    r->hz    = 10;
    r->hello = (struct hello){ .protocol = LIMBER_PROTOCOL, .robot = "cartpole", .boot_id = clock_now_ns(), .nj = 2,
                               .command_timeout_ms = 100, .timeout_action = TIMEOUT_DAMP, .simulated = true,
                               .software = "test robot" };
    r->hello.joint[0] = (struct joint_info){ .name = "slider", .type = JOINT_PRISMATIC, .actuated = true,
                                             .position_min = -2.5, .position_max = 2.5,
                                             .velocity_max = (double)INFINITY, .effort_max = 300 };
    r->hello.joint[1] = (struct joint_info){ .name = "hinge", .type = JOINT_CONTINUOUS,
                                             .position_min = (double)-INFINITY, .position_max = (double)INFINITY,
                                             .velocity_max = (double)INFINITY };
    r->state.nj = 2;
    return r;
}

void robot_free(struct robot *r)
{
    port_close(r->port);
    free(r);
    keep_time(false);
}

void robot_raw(struct robot *r, const void *bytes, size_t n)
{
    port_send(r->port, NULL, 0, bytes, n);
}

static void take(struct robot *r, long n)
{
    struct message *m = &r->last;

    if (codec_unpack(FROM_LIMBER, r->buf, (size_t)n, &r->scratch, m, NULL, 0) != CODEC_OK)
        return;
    switch (m->kind) {
    case MESSAGE_WELCOME:
        r->welcomes++;
        r->session   = m->welcome.session;
        r->state.seq = 0;
        break;
    case MESSAGE_REFUSAL:
        r->refusals++;
        r->refusal = m->refusal;
        break;
    case MESSAGE_COMMAND:
        r->commands++;
        r->command                   = m->command;
        r->state.applied_command_seq = m->command.seq;
        r->state.applied_held        = true;
        for (int j = 0; j < m->command.nj; j++) {
            double tau    = fabs(m->command.torque[j]);
            r->nonfinite  = r->nonfinite || !isfinite(tau);
            r->effort_max = tau > r->effort_max ? tau : r->effort_max;
            r->state.applied_effort[j] = m->command.torque[j];
        }
        break;
    case MESSAGE_TRIAL_REQUEST: r->trial_requests++; break;
    default: break;
    }
}

void robot_listen(struct robot *r, int ms)
{
    double until = now_s() + ms * 1e-3;

    do {
        int left = (int)((until - now_s()) * 1e3);
        if (port_wait(r->port, -1, left > 0 ? left : 0)) {
            long n = port_receive(r->port, NULL, NULL, r->buf, sizeof r->buf);
            if (n >= 0)
                take(r, n);
        }
    } while (now_s() < until);
}

static void send_message(struct robot *r, const struct message *m)
{
    uint8_t buf[CODEC_MAX_BYTES];

    robot_raw(r, buf, codec_pack(m, buf));
}

bool robot_hello(struct robot *r)
{
    struct message m      = { .kind = MESSAGE_HELLO, .hello = r->hello };
    int            before = r->welcomes, refused = r->refusals;

    /* A message sent before the connection stands is not kept: say it again, as robot sides do. */
    for (int i = 0; i < 10 && r->welcomes == before && r->refusals == refused; i++) {
        send_message(r, &m);
        for (int k = 0; k < 20 && r->welcomes == before && r->refusals == refused; k++)
            robot_listen(r, 10);
    }
    return r->welcomes > before;
}

void robot_send_state(struct robot *r)
{
    struct message m = { .kind = MESSAGE_STATE };

    r->state.seq++;
    r->state.session   = r->session;
    r->state.sample_ns = clock_now_ns();
    m.state            = r->state;
    send_message(r, &m);
}

void robot_run(struct robot *r, double seconds)
{
    double next = now_s(), until = next + seconds;

    while (next < until) {
        robot_send_state(r);
        next += 1 / r->hz;
        double left = next - now_s();
        robot_listen(r, left > 0 ? (int)(left * 1e3) : 0);
    }
}

static void *run_background(void *arg)
{
    struct robot *r = arg;

    while (atomic_load(&r->background))
        robot_run(r, 1 / r->hz);
    return NULL;
}

void robot_begin(struct robot *r)
{
    atomic_store(&r->background, true);
    if (pthread_create(&r->thread, NULL, run_background, r))
        abort();
}

void robot_pause(struct robot *r)
{
    atomic_store(&r->background, false);
    pthread_join(r->thread, NULL);
}
