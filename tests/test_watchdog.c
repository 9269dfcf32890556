/* Who feeds systemd's watchdog: only a daemon whose control thread ticks and whose main loop runs.  One thread of it is
 * stopped, by ptrace, while all others go on. */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/clock.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* systemd/limberd@.service has WatchdogSec=1; main looks every 200 ms, and may have found the last tick just before. */
static const double LAST_FEED_S = 0.5;

/* ---- systemd's end ---- */

static int notify_socket(void)
{
    struct sockaddr_un a  = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s/notify", test_dir());
    EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    return fd;
}

static double now_s(void)
{
    return (double)clock_now_ns() * 1e-9;
}

/* How often it is told this in so many seconds. */
static int told_in(int fd, const char *what, double seconds)
{
    char           text[600];
    double         until = now_s() + seconds;
    struct timeval tick  = { .tv_usec = 20000 };
    int            told  = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
    while (now_s() < until) {
        ssize_t n = recv(fd, text, sizeof text - 1, 0);

        text[n > 0 ? n : 0] = 0;
        told += strstr(text, what) != NULL;
    }
    return told;
}

static int fed_in(int fd, double seconds)
{
    return told_in(fd, "WATCHDOG=1", seconds);
}

static bool begin(struct fixture *f, int *fd)
{
    static const char *const slow[] = { "control_hz: 25", "control_hz: 10", NULL };

    fixture_init(f, slow);
    *fd     = notify_socket();
    bool up = fixture_daemon(f, NULL);
    unsetenv("NOTIFY_SOCKET");
    EXPECT(up);
    return up;
}

/* ---- one thread alone ---- */

/* The thread of this name; 0: none. */
static pid_t thread_of(pid_t pid, const char *name)
{
    char           path[300], comm[32];
    struct dirent *e;
    pid_t          found = 0;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", (int)pid, e->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(comm, sizeof comm, f) && !strncmp(comm, name, strlen(name)) && comm[strlen(name)] == '\n')
            found = (pid_t)atoi(e->d_name);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return found;
}

/* False where this machine does not let one process stop a thread of another. */
static bool stop_thread(pid_t tid)
{
    int status;

    if (tid <= 0 || ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
        printf("    no ptrace here: not tried\n");
        return false;
    }
    return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 && waitpid(tid, &status, __WALL) == tid;
}

static void go_thread(pid_t tid)
{
    EXPECT(ptrace(PTRACE_DETACH, tid, NULL, NULL) == 0);
}

/* ---- claims ---- */

TEST(systemd_hears_ready_and_a_watchdog_that_follows_the_control_thread)
{
    struct fixture f;
    int            fd;
    char           text[600] = "";

    if (!begin(&f, &fd))
        return;
    EXPECT(recv(fd, text, sizeof text - 1, 0) > 0);
    EXPECT_STR(text, "READY=1");
    EXPECT(fed_in(fd, 1.5) >= 5);
    kill(f.daemon.pid, SIGSTOP); /* a stopped process feeds nobody */
    fed_in(fd, LAST_FEED_S);
    EXPECT(fed_in(fd, 1.5) == 0);
    kill(f.daemon.pid, SIGCONT);
    EXPECT(fed_in(fd, 1.5) > 0);
    close(fd);
    fixture_end(&f);
}

/* Until not even a sender that has sent nothing yet finds room: its own buffer is not what is full. */
static void fill(const char *path)
{
    struct sockaddr_un a    = { .sun_family = AF_UNIX };
    bool               room = true;

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    while (room) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        room = sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a) == 1;
        while (room && sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a) == 1) {
        }
        close(fd);
    }
}

TEST(a_systemd_that_reads_nothing_holds_nobody_up)
{
    struct fixture f;

    fixture_init(&f, NULL);
    int fd = notify_socket();
    fill(getenv("NOTIFY_SOCKET"));
    bool up = fixture_daemon(&f, NULL);
    unsetenv("NOTIFY_SOCKET");
    EXPECT(up && fixture_bridge(&f, NULL) && fixture_arm(&f, 10));
    EXPECT(fixture_post(&f, "/stop", NULL, NULL, 0));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    EXPECT(told_in(fd, "READY=1", 1.5) > 0); /* systemd is back: what it did not hear is said again */
    EXPECT(fed_in(fd, 1.5) >= 5);
    child_stop(&f.daemon, SIGTERM, 5);
    EXPECT(f.daemon.status == 0);
    close(fd);
    fixture_end(&f);
}

TEST(a_control_thread_that_hangs_alone_starves_the_watchdog_while_status_is_still_told)
{
    struct fixture f;
    int            fd;

    if (!begin(&f, &fd))
        return;
    pid_t control = thread_of(f.daemon.pid, "control");
    EXPECT(control > 0 && fed_in(fd, 1.5) >= 5);
    if (stop_thread(control)) {
        fed_in(fd, LAST_FEED_S);
        double ticks = fixture_number(&f, "control.ticks");
        EXPECT(ticks > 0); /* main answers */
        EXPECT(fed_in(fd, 1.5) == 0);
        EXPECT_NEAR(fixture_number(&f, "control.ticks"), ticks, 0);
        go_thread(control);
        EXPECT(fed_in(fd, 1.5) > 0);
    }
    close(fd);
    fixture_end(&f);
}

TEST(a_main_loop_that_hangs_alone_starves_the_watchdog_while_control_goes_on_and_is_told_by_how_long)
{
    struct fixture f;
    int            fd;
    char           text[300] = "";

    if (!begin(&f, &fd))
        return;
    struct robot *r = robot_new(&f);
    EXPECT(robot_hello(r));
    robot_begin(r);
    bool armed = false;
    for (int i = 0; i < 400 && !armed; i++) {
        armed = fixture_post(&f, "/arm", "{\"yes\": true}", text, sizeof text);
        fed_in(fd, 0.03); /* a full socket would hold up whoever writes to it */
    }
    EXPECT(armed);
    robot_pause(r);
    double before = fixture_number(&f, "main.stalls");
    if (stop_thread(f.daemon.pid)) {
        robot_run(r, LAST_FEED_S);
        fed_in(fd, 0.02); /* what was sent until now */
        int    commands = r->commands;
        double since    = now_s();
        robot_run(r, 1.5);
        EXPECT(r->commands - commands >= 12); /* of 15, with no help of the main thread */
        EXPECT(r->command.mode == COMMAND_TORQUE);
        EXPECT(fed_in(fd, 0.02) == 0);
        double hung_ms = 1e3 * (now_s() - since);
        go_thread(f.daemon.pid);
        robot_begin(r);
        EXPECT(fixture_event(&f, "loop_stall", "", 15, text, sizeof text));
        EXPECT_STR(text, "the main loop hung for ");
        EXPECT(fixture_number(&f, "main.stalls") > before);
        EXPECT(fixture_number(&f, "main.stall_ms_max") >= hung_ms);
        double told_ms = 0;
        EXPECT(sscanf(text, "the main loop hung for %lf ms", &told_ms) == 1 && told_ms >= hung_ms);
        EXPECT(fixture_number(&f, "stop.tick") != fixture_number(&f, "stop.tick")); /* no stop at all: null */
        EXPECT(fed_in(fd, 1.5) > 0);
        robot_pause(r);
    }
    robot_free(r);
    close(fd);
    fixture_end(&f);
}
