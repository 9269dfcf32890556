/* fake_daemon.c - see fake_daemon.h.  Started under the name limberd or limber-bridge, the test program is one of them:
 * that is how a whole run is tested without a planner or a simulator. */
#include "tests/fake_daemon.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char FAKE_STATUS[] =
    "{\"robot\": \"cartpole\", \"version\": \"0.1.0\", \"pid\": 123, \"hardware\": \"sim\", \"uptime_s\": 83.4,"
    " \"config\": \"/etc/limber/cartpole.yaml\", \"run_dir\": \"/run/limber/cartpole\", \"store\": "
    "\"/var/lib/limber/experience.db\","
    " \"mode\": \"ADVANCED\", \"latched\": false, \"stop\": null,"
    " \"link\": {\"connected\": true, \"session\": \"9f3c\", \"lockstep\": false, \"simulated\": true, \"software\": "
    "\"sim\","
    "  \"state_age_ms\": 12.1, \"success\": 0.99, \"late_commands\": 7, \"missing\": 2, \"counts\": {\"states\": 1000},"
    "  \"rejected\": {\"nonfinite\": 0, \"range\": 0, \"jump\": 0}, \"trouble\": \"\"},"
    " \"trials\": {\"phase\": \"RUNNING\", \"number\": 3, \"kind\": \"planned\", \"step\": 57, \"steps\": 200, "
    "\"return\": 31.2,"
    "  \"best\": 170.1, \"count\": 15, \"done\": 2, \"finished\": false, \"history\": ["
    "   {\"number\": 0, \"kind\": \"random\", \"status\": \"finished\", \"return\": 1.25, \"reported_return\": 1.25,"
    "    \"prequential_rmse\": null, \"model\": 0},"
    "   {\"number\": 1, \"kind\": \"planned\", \"status\": \"finished\", \"return\": 88.5, \"reported_return\": 88.5,"
    "    \"prequential_rmse\": 0.21, \"model\": 1},"
    "   {\"number\": 2, \"kind\": \"planned\", \"status\": \"finished\", \"return\": 170.1, \"reported_return\": 170.1,"
    "    \"prequential_rmse\": 0.031, \"model\": 2}]},"
    " \"model\": {\"version\": 4, \"prequential_rmse\": 0.031, \"trainer\": \"training\", \"progress\": 0.4, "
    "\"train_s\": 0.7,"
    "  \"steps\": 3000, \"transitions\": 600, \"published\": 4, \"refused\": 0, \"rolled_back\": 0, \"last\": "
    "\"version 4 published\"},"
    " \"planner\": {\"name\": \"icem\", \"isa\": \"avx512\", \"ms\": {\"n\": 999, \"p50\": 2.71, \"p99\": 3.02, "
    "\"p999\": 3.33, \"max\": 4.04},"
    "  \"iterations\": 3, \"candidates\": 320, \"late\": 0, \"budget_ms\": 24.0, \"spread\": 0.1},"
    " \"control\": {\"hz\": 25, \"plan_every\": 1, \"ticks\": 5512, \"misses\": 6, \"commands_late\": 6, \"records_dropped\": 0,"
    "  \"wake_us\": {\"n\": 5512, \"p50\": 20, \"p99\": 101, \"p999\": 300, \"max\": 900},"
    "  \"compute_us\": {\"n\": 5512, \"p50\": 8, \"p99\": 12, \"p999\": 20, \"max\": 60},"
    "  \"loop_us\": {\"n\": 5512, \"p50\": 60, \"p99\": 202, \"p999\": 400, \"max\": 1000},"
    "  \"page_faults\": 0, \"voluntary_switches\": 1, \"involuntary_switches\": 0, \"since\": \"arming\"},"
    " \"memory\": {\"resident_kb\": 30000, \"resident_start_kb\": 29000},"
    " \"realtime\": {\"ok\": false, \"warnings\": [\"SCHED_FIFO refused; run by systemd\"]},"
    " \"prearm\": [{\"name\": \"state_fresh\", \"ok\": true, \"detail\": \"100 % of the last second\"},"
    "  {\"name\": \"model_loaded\", \"ok\": true, \"detail\": \"version 4\"}],"
    " \"gates\": [{\"name\": \"plan_age\", \"threshold\": 2, \"unit\": \"planner steps\", \"off\": null, \"trips\": 0, "
    "\"ok\": true},"
    "  {\"name\": \"spread\", \"threshold\": 1, \"unit\": \"std\", \"off\": \"on purpose\", \"trips\": 0, \"ok\": "
    "true}],"
    " \"filter\": {\"nonfinite\": 0, \"absolute\": 0, \"rate\": 0, \"heat\": {\"knee\": 0.43, \"hip\": 1}},"
    " \"events\": [{\"unix_s\": 1.7e9, \"kind\": \"trial\", \"text\": \"trial 2 finished: return 170.1\"}]}";

enum { REQUEST_MAX = 8192, REPLY_MAX = 65536 };

struct fake_daemon {
    char         path[2][108];
    int          fd[2], quit;
    pthread_t    thread;
    fake_answer *answer;
    void        *ctx;
};

static int listen_on(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 16) != 0)
        abort();
    return fd;
}

/* A whole request of the small kind that the client sends, or false. */
static bool read_request(int fd, char *buf, size_t n, char **body)
{
    size_t used = 0, need = 0;

    while (used < n - 1) {
        ssize_t got = recv(fd, buf + used, n - 1 - used, 0);

        if (got <= 0)
            return false;
        used += (size_t)got;
        buf[used]    = 0;
        char *end    = strstr(buf, "\r\n\r\n");
        char *length = strcasestr(buf, "content-length:");

        if (!end)
            continue;
        *body = end + 4;
        need  = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
        if (used >= (size_t)(*body - buf) + need)
            return true;
    }
    return false;
}

static void serve(struct fake_daemon *f, int listener)
{
    char  request[REQUEST_MAX], method[8], path[64], *body = NULL;
    char *reply = calloc(1, REPLY_MAX + 256), *text = reply + 256;
    int   fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), status;

    if (reply && fd >= 0 && read_request(fd, request, sizeof request, &body) &&
        sscanf(request, "%7s %63s", method, path) == 2) {
        status = f->answer(f->ctx, path, body, text, REPLY_MAX);
        if (status == 0) { /* holds the line until the client gives up */
            (void)!recv(fd, request, 1, 0);
        } else {
            int n = snprintf(reply, 256, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                             strlen(text));

            (void)!send(fd, reply, (size_t)n, MSG_NOSIGNAL);
            (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
        }
    }
    if (fd >= 0)
        close(fd);
    free(reply);
}

static void *loop(void *arg)
{
    struct fake_daemon *f    = arg;
    struct pollfd       p[3] = { { f->fd[0], POLLIN, 0 }, { f->fd[1], POLLIN, 0 }, { f->quit, POLLIN, 0 } };

    while (poll(p, 3, -1) >= 0 || errno == EINTR) {
        if (p[2].revents)
            break;
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                serve(f, f->fd[i]);
    }
    return NULL;
}

struct fake_daemon *fake_start(const char *dir, fake_answer *answer, void *ctx)
{
    struct fake_daemon *f = calloc(1, sizeof *f);

    if (!f)
        abort();
    f->answer = answer;
    f->ctx    = ctx;
    f->quit   = eventfd(0, EFD_CLOEXEC);
    snprintf(f->path[0], sizeof f->path[0], "%s/status.sock", dir);
    snprintf(f->path[1], sizeof f->path[1], "%s/control.sock", dir);
    for (int i = 0; i < 2; i++)
        f->fd[i] = listen_on(f->path[i]);
    if (pthread_create(&f->thread, NULL, loop, f) != 0)
        abort();
    return f;
}

void fake_end(struct fake_daemon *f)
{
    uint64_t one = 1;

    (void)!write(f->quit, &one, sizeof one);
    pthread_join(f->thread, NULL);
    for (int i = 0; i < 2; i++) {
        close(f->fd[i]);
        unlink(f->path[i]);
    }
    close(f->quit);
    free(f);
}

/* --- the test program as limberd and as limber-bridge ----------------------------------------------------------- */

struct fake_run {
    const char *run_dir, *story; /* $FAKE_STORY: "", "latch", "crash", "deaf", "forever", "refuse" */
    int         trials, done, looks, asked;
    bool        armed, latched;
};

static void note(const struct fake_run *r, const char *name, const char *text)
{
    char  path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", r->run_dir, name);
    f = fopen(path, "a");
    if (f) {
        fprintf(f, "%s\n", text);
        fclose(f);
    }
}

static void status_of_run(struct fake_run *r, char *out, size_t n)
{
    bool   finished = r->done > r->trials;
    size_t used     = (size_t)snprintf(
            out, n,
            "{\"robot\": \"cartpole\", \"hardware\": \"sim\", \"store\": \"%s/experience.db\", \"mode\": \"%s\", "
                "\"latched\": %s, \"stop\": %s,"
                " \"link\": {\"connected\": true, \"simulated\": true, \"lockstep\": false}, \"control\": {\"ticks\": %d, "
                "\"misses\": 0},"
                " \"planner\": {\"isa\": \"avx2\", \"ms\": {\"p50\": 1, \"p99\": 2, \"p999\": 3, \"max\": 4}},"
                " \"model\": {\"version\": 1, \"train_s\": 0.5, \"published\": %d, \"refused\": 0, \"rolled_back\": 0},"
                " \"prearm\": [{\"name\": \"state_fresh\", \"ok\": %s, \"detail\": \"the fake's state\"}],"
                " \"trials\": {\"phase\": \"%s\", \"number\": %d, \"count\": %d, \"step\": 1, \"steps\": 200, \"finished\": "
                "%s, \"history\": [",
            r->run_dir,
        r->latched ? "FAULT"
            : r->armed ? "ADVANCED"
                       : "DISARMED",
        r->latched ? "true" : "false",
        r->latched ? "{\"code\": \"state_stale\", \"cause\": \"no state for 0.2 s\", \"remedy\": \"check the cable\", "
                             "\"tick\": 9, \"trial\": 2, \"step\": 7}"
                       : "null",
            10 * r->looks, r->done, r->looks > 1 ? "true" : "false", finished ? "IDLE" : "RUNNING", r->done, r->trials,
        finished ? "true" : "false");

    for (int i = 0; i < r->done && used < n; i++)
        used += (size_t)snprintf(out + used, n - used,
                                 "%s{\"number\": %d, \"kind\": \"%s\", \"status\": \"finished\", \"return\": %d, "
                                 "\"prequential_rmse\": 0.1, \"model\": %d}",
                                 i ? ", " : "", i, i ? "planned" : "random", i ? 160 + 10 * i : 1, i);
    snprintf(out + used, n - used, "]}}");
}

static int answer_run(void *ctx, const char *path, const char *body, char *reply, size_t n)
{
    struct fake_run *r = ctx;

    (void)body;
    if (!strcmp(path, "/status")) {
        r->looks++;
        if (r->armed && strcmp(r->story, "forever") != 0 && r->done <= r->trials)
            r->done++;
        if (r->armed && r->done > 2 && !strcmp(r->story, "latch"))
            r->latched = true;
        if (r->armed && r->done > 1 && !strcmp(r->story, "crash")) {
            fprintf(stderr, "the fake daemon gives up\n");
            exit(3);
        }
        status_of_run(r, reply, n);
        return 200;
    }
    note(r, "verbs", path);
    if (!strcmp(path, "/arm") && !strcmp(r->story, "refuse") && r->asked++ < 1) {
        snprintf(reply, n, "{\"ok\": false, \"error\": \"not yet\"}");
        return 409;
    }
    if (!strcmp(path, "/arm"))
        r->armed = true;
    if (!strcmp(path, "/disarm") || !strcmp(path, "/stop"))
        r->armed = false;
    if (!strcmp(path, "/shutdown") && strcmp(r->story, "deaf") != 0)
        kill(getpid(), SIGUSR1);
    snprintf(reply, n, "{\"ok\": true, \"text\": \"done\"}");
    return 200;
}

static void be_daemon(int argc, char **argv)
{
    struct fake_run r = { .trials = 3, .story = getenv("FAKE_STORY") ? getenv("FAKE_STORY") : "" };
    sigset_t        wait;
    char            pid[32];
    int             got;

    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--run-dir"))
            r.run_dir = argv[i + 1];
        if (!strcmp(argv[i], "--trials"))
            r.trials = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--seed"))
            setenv("FAKE_SEED", argv[i + 1], 1);
    }
    if (!r.run_dir)
        exit(64);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    note(&r, "pids", pid);
    note(&r, "seeds", getenv("FAKE_SEED") ? getenv("FAKE_SEED") : "-");
    sigemptyset(&wait);
    sigaddset(&wait, SIGUSR1);
    if (strcmp(r.story, "deaf") != 0)
        sigaddset(&wait, SIGTERM);
    else
        signal(SIGTERM, SIG_IGN);
    sigprocmask(SIG_BLOCK, &wait, NULL);
    struct fake_daemon *f = fake_start(r.run_dir, answer_run, &r);

    sigwait(&wait, &got);
    fake_end(f);
    exit(0);
}

static void be_bridge(int argc, char **argv)
{
    struct fake_run r = { 0 };
    char            dir[256], pid[32];

    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--endpoint")) {
            snprintf(dir, sizeof dir, "%s", argv[i + 1] + strlen("ipc://"));
            *strrchr(dir, '/') = 0;
            r.run_dir          = dir;
        }
        if (!strcmp(argv[i], "--seed"))
            setenv("FAKE_SEED", argv[i + 1], 1);
    }
    if (!r.run_dir)
        exit(64);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    note(&r, "pids", pid);
    note(&r, "seeds", getenv("FAKE_SEED") ? getenv("FAKE_SEED") : "-");
    for (;;)
        pause();
}

__attribute__((constructor)) static void under_another_name(int argc, char **argv)
{
    if (!strcmp(program_invocation_short_name, "limberd"))
        be_daemon(argc, argv);
    if (!strcmp(program_invocation_short_name, "limber-bridge"))
        be_bridge(argc, argv);
}
