/* test_signals.c - H11 of docs/faults.md with the real programs: signals by the dozen, and a terminal that closes. */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "daemon/run_dir.h"
#include "tests/fixture.h"
#include "tests/test.h"

static void pause_ms(int ms)
{
    usleep((useconds_t)ms * 1000);
}

static double seconds_since(uint64_t ns)
{
    return 1e-9 * (double)(clock_now_ns() - ns);
}

/* Events of this kind that the status document still has; the newest one's text. */
static int events(struct fixture *f, const char *kind, char *text, size_t size)
{
    json_t       *status = fixture_status(f);
    const json_t *list   = js_at(status, "events");
    int           n      = 0;

    text[0] = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!strcmp(js_str(json_array_get(list, i), "kind", ""), kind)) {
            n++;
            snprintf(text, size, "%s", js_str(json_array_get(list, i), "text", ""));
        }
    json_decref(status);
    return n;
}

/* ---- limberd ---- */

static void start_armed(struct fixture *f)
{
    const char *const edits[] = { "count: 15", "count: 500", NULL };

    fixture_init(f, edits);
    EXPECT(fixture_daemon(f, NULL));
    EXPECT(fixture_bridge(f, NULL));
    EXPECT(fixture_wait(f, "link.connected", "true", 10));
    EXPECT(fixture_arm(f, 20));
}

TEST(hangups_by_the_hundred_neither_end_nor_disturb_control_and_are_counted)
{
    struct fixture f;
    char           text[300];

    start_armed(&f);
    double ticks = fixture_number(&f, "control.ticks"), pid = fixture_number(&f, "pid");
    for (int i = 0; i < 500; i++) { /* to its process group, as a terminal would: the trainer is in it */
        kill(-f.daemon.pid, SIGHUP);
        usleep(2000);
    }
    EXPECT(fixture_wait(&f, "hangups", "100", 5)); /* some come together */
    EXPECT(events(&f, "signal", text, sizeof text) == 1);
    EXPECT_STR(text, "SIGHUP changes nothing");
    EXPECT_STR(text, "start limberd again");
    EXPECT(events(&f, "trainer", text, sizeof text) == 0);
    EXPECT(fixture_number(&f, "pid") == pid);
    EXPECT(fixture_number(&f, "control.ticks") >= ticks + 20);
    json_t *status = fixture_status(&f);
    EXPECT(json_is_null(js_at(status, "stop")) && json_is_null(js_at(status, "realtime.syscalls.refused")));
    EXPECT(strcmp(js_str(status, "mode", ""), "DISARMED") != 0);
    json_decref(status);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}

TEST(a_burst_of_every_signal_that_ends_it_is_one_controlled_stop_within_a_second)
{
    struct fixture f;
    char           log[300], text[300];

    start_armed(&f);
    uint64_t asked = clock_now_ns();
    for (int i = 0; i < 300 && !child_ended(&f.daemon); i++) {
        kill(f.daemon.pid, i % 3 == 0 ? SIGTERM : i % 3 == 1 ? SIGINT : SIGHUP);
        usleep(200);
    }
    while (!child_ended(&f.daemon) && seconds_since(asked) < 10)
        pause_ms(5);
    EXPECT(seconds_since(asked) < (RT_SANITIZED ? 10 : 1.5)); /* one, and what a busy machine adds */
    EXPECT(f.daemon.ended && f.daemon.status == 0 && f.daemon.signal == 0);
    snprintf(log, sizeof log, "grep -c 'daemon: ending' %s/limberd.log", test_dir());
    EXPECT(test_command(log, text, sizeof text) == 0 && atoi(text) == 1);
    snprintf(log, sizeof log, "grep 'shutdown:' %s/limberd.log", test_dir());
    EXPECT(test_command(log, text, sizeof text) == 0);
    fixture_end(&f);
}

/* No signal but those that it brings upon itself reaches a real-time thread, however many come at once. */
TEST(the_real_time_threads_take_no_signals)
{
    struct fixture f;
    char           command[400], text[2000];

    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    snprintf(command, sizeof command, "for t in /proc/%d/task/*; do echo $(cat $t/comm) $(grep SigBlk $t/status); done",
             (int)f.daemon.pid);
    EXPECT(test_command(command, text, sizeof text) == 0);
    static const char *const name[] = { "io", "control", "planner" };
    for (int i = 0; i < 3; i++) {
        char               start[40];
        unsigned long long blocked = 0;

        snprintf(start, sizeof start, "\n%s SigBlk: ", name[i]);
        const char *at = strstr(text, start);
        EXPECT(at && sscanf(at + strlen(start), "%llx", &blocked) == 1);
        EXPECT((blocked >> (SIGHUP - 1) & 1) && (blocked >> (SIGTERM - 1) & 1) && (blocked >> (SIGCHLD - 1) & 1));
        EXPECT(!(blocked >> (SIGSYS - 1) & 1) && !(blocked >> (SIGSEGV - 1) & 1)); /* blocked, these would kill */
    }
    fixture_end(&f);
}

TEST(a_hangup_while_limberd_starts_does_not_end_it)
{
    struct fixture f;
    struct child   c = { 0 };
    char           path[600], log[300], why[300];

    fixture_init(&f, NULL);
    snprintf(path, sizeof path, "%s/limberd", test_build_dir());
    snprintf(log, sizeof log, "%s/limberd.log", test_dir());
    char *argv[] = { path, (char *)"--config", f.config, (char *)"--run-dir", f.dir, NULL };
    EXPECT(child_start(&c, "limberd", argv, log, why, sizeof why) == 0);
    snprintf(path, sizeof path, "%s/lock", f.dir); /* main() has begun */
    for (int i = 0; i < 2000 && access(path, F_OK) != 0; i++)
        pause_ms(1);
    f.daemon       = c;
    json_t *status = NULL;
    for (int i = 0; i < 2000 && !status && !child_ended(&f.daemon); i++) {
        kill(f.daemon.pid, SIGHUP);
        pause_ms(2);
        status = fixture_status(&f);
    }
    EXPECT(status != NULL);
    json_decref(status);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}

/* ---- a window that closes ---- */

/* limber run in a terminal of its own, until it is armed; `nohup` as that program would start it. */
static pid_t run_in_window(struct fixture *f, bool nohup, int *window)
{
    char  path[600];
    pid_t pid;

    fixture_init(f, NULL);
    snprintf(path, sizeof path, "%s/limber", test_build_dir());
    char *argv[] = { path, (char *)"run", f->config, (char *)"--run-dir", f->dir, NULL };
    pid          = forkpty(window, NULL, NULL, NULL);
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        if (nohup)
            signal(SIGHUP, SIG_IGN);
        execv(path, argv);
        _exit(127);
    }
    fcntl(*window, F_SETFL, O_NONBLOCK);
    uint64_t start = clock_now_ns();
    bool     armed = false;
    while (pid > 0 && !armed && seconds_since(start) < 40) {
        char    picture[4096];
        json_t *status = fixture_status(f);
        armed          = status && strcmp(js_str(status, "mode", "DISARMED"), "DISARMED") != 0;
        json_decref(status);
        while (read(*window, picture, sizeof picture) > 0) /* a terminal that is not read fills up */
            ;
        pause_ms(20);
    }
    EXPECT(armed);
    return pid;
}

static int ended(pid_t pid, double within_s)
{
    uint64_t start  = clock_now_ns();
    int      status = -1;

    while (waitpid(pid, &status, WNOHANG) == 0)
        if (seconds_since(start) > within_s) {
            kill(pid, SIGTERM);
            waitpid(pid, &status, 0);
            return -1;
        } else {
            pause_ms(10);
        }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool logged(struct fixture *f, const char *words)
{
    char command[600], text[2000];

    snprintf(command, sizeof command, "grep -e '%s' %s/limberd.log", words, f->dir);
    return test_command(command, text, sizeof text) == 0;
}

TEST(a_window_closed_over_limber_run_stops_the_robot_in_order_and_ends_everything)
{
    struct fixture f;
    int            window = -1;
    pid_t          pid    = run_in_window(&f, false, &window);

    close(window);
    EXPECT(ended(pid, 15) == 130); /* as Ctrl-C */
    EXPECT(logged(&f, "-> STOPPING .*operator:"));
    EXPECT(logged(&f, "mode: STOPPING -> DISARMED"));
    EXPECT(logged(&f, "daemon: ending"));
    EXPECT(!run_dir_alive(f.dir));
}

TEST(a_run_under_nohup_outlives_its_window)
{
    struct fixture f;
    int            window = -1;
    pid_t          pid    = run_in_window(&f, true, &window);

    close(window);
    pause_ms(1500);
    json_t *status = fixture_status(&f);
    EXPECT(status && json_is_null(js_at(status, "stop")));
    EXPECT(strcmp(js_str(status, "mode", "DISARMED"), "DISARMED") != 0);
    json_decref(status);
    kill(pid, SIGTERM);
    EXPECT(ended(pid, 15) == 130);
    EXPECT(logged(&f, "mode: STOPPING -> DISARMED"));
}

TEST(a_simulated_robot_whose_window_closes_ends_as_asked)
{
    struct fixture f;

    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_bridge(&f, NULL));
    EXPECT(fixture_wait(&f, "link.connected", "true", 10));
    kill(f.bridge.pid, SIGHUP);
    for (int i = 0; i < 500 && !child_ended(&f.bridge); i++)
        pause_ms(10);
    EXPECT(f.bridge.ended && f.bridge.status == 0 && f.bridge.signal == 0);
    fixture_end(&f);
}
