/* A host that gives too little, or sets its clock: descriptors and memory that run out, at the start and while the robot
 * moves; a wall clock that jumps by a day. */
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char *const slow[] = { "control_hz: 25", "control_hz: 10", NULL };

/* ---- at the start ---- */

/* Started with this limit (prlimit's words) it runs, ends in order when told, or ends with a sentence.  True: it ran. */
static bool starts_or_says_why(const char *limit)
{
    const char *const wrapper[] = { "/usr/bin/prlimit", limit, NULL };
    struct fixture    f;
    char              log[300], line[400] = "", last[400] = "", how[100];
    bool              library = false, poor = false;

    fixture_init(&f, slow);
    f.wrapper = wrapper;
    bool ran  = fixture_daemon(&f, NULL);
    bool gone = child_ended(&f.daemon);
    snprintf(log, sizeof log, "%s/limberd.log", test_dir());
    FILE *said = fopen(log, "re");
    while (said && fgets(line, sizeof line, said)) {
        library = library || strstr(line, "(src/"); /* libzmq names its file and line */
        poor    = poor || strstr(line, "fd_low:");  /* it runs, and says that nobody can talk to it */
        snprintf(last, sizeof last, "%s", line);
    }
    if (said)
        fclose(said);
    EXPECT(ran || gone || poor);
    child_how(&f.daemon, how, sizeof how);
    printf("    %s: %s, %s", limit, ran ? "ran" : gone ? how : "neither runs nor ends", last);
    if (gone) {
        EXPECT(f.daemon.signal == 0 || (f.daemon.signal == SIGABRT && library));
        EXPECT(f.daemon.signal != 0 || f.daemon.status != 0);
        EXPECT(strchr(last, ' ') != NULL); /* words */
    }
    fixture_end(&f);
    EXPECT(gone || (f.daemon.signal == 0 && f.daemon.status == 0));
    return ran;
}

TEST(with_few_descriptors_it_runs_or_ends_with_a_sentence)
{
    int ran = 0, step = test_rounds(8, 57) > 50 ? 1 : 4;

    for (int n = 8; n <= 64; n += step) {
        char limit[40];

        snprintf(limit, sizeof limit, "--nofile=%d:%d", n, n);
        ran += starts_or_says_why(limit);
    }
    EXPECT(ran > 0); /* 64 are enough */
}

TEST(with_little_memory_it_runs_or_ends_with_a_sentence)
{
    static const int mib[] = { 8, 32, 64, 96, 128, 160, 192, 256, 384, 512, 1024 };
    int              ran   = 0;

    if (RT_SANITIZED)
        return; /* its shadow alone is larger */
    for (size_t i = 0; i < sizeof mib / sizeof *mib; i++) {
        char limit[60];

        snprintf(limit, sizeof limit, "--as=%ld:%ld", (long)mib[i] << 20, (long)mib[i] << 20);
        ran += starts_or_says_why(limit);
    }
    EXPECT(ran > 0);
}

/* ---- while the robot moves ---- */

/* A daemon and a robot side, armed; NULL: neither. */
static struct robot *armed(struct fixture *f)
{
    if (!fixture_daemon(f, NULL)) {
        EXPECT(!"started");
        return NULL;
    }
    struct robot *r = robot_new(f);
    EXPECT(robot_hello(r));
    robot_begin(r);
    EXPECT(fixture_arm(f, 30));
    return r;
}

/* For so long commands come as often as states go, all of them torque. */
static void control_goes_on(struct robot *r, double seconds)
{
    robot_pause(r);
    int before = r->commands;
    robot_run(r, seconds);
    EXPECT(r->commands - before >= 0.8 * r->hz * seconds);
    EXPECT(r->command.mode == COMMAND_TORQUE);
    robot_begin(r);
}

static void disarm(struct fixture *f, struct robot *r)
{
    robot_pause(r);
    robot_free(r);
    fixture_end(f);
    EXPECT(f->daemon.signal == 0 && f->daemon.status == 0);
}

static int fds_of(pid_t pid)
{
    char command[100], line[40] = "";

    snprintf(command, sizeof command, "ls /proc/%d/fd | wc -l", (int)pid);
    FILE *p = popen(command, "re");
    if (p && !fgets(line, sizeof line, p))
        line[0] = 0;
    if (p)
        pclose(p);
    return atoi(line);
}

/* Seconds of processor time that it has used. */
static double cpu_s(pid_t pid)
{
    char          path[60];
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        user = system = 0;
    if (f)
        fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int client(const struct fixture *f)
{
    struct sockaddr_un a  = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%.80s/status.sock", f->dir);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

TEST(clients_that_take_the_last_descriptors_while_armed_leave_control_alone_and_are_told_of)
{
    enum { CLIENTS = 12 };
    struct fixture f;
    struct rlimit  tight;
    int            fd[CLIENTS];

    fixture_init(&f, slow);
    struct robot *r = armed(&f);
    if (!r)
        return;
    tight = (struct rlimit){ (rlim_t)fds_of(f.daemon.pid) + 4, 1024 };
    EXPECT(prlimit(f.daemon.pid, RLIMIT_NOFILE, &tight, NULL) == 0);
    for (int i = 0; i < CLIENTS; i++)
        fd[i] = client(&f);
    double before = cpu_s(f.daemon.pid);
    control_goes_on(r, 3);
    double busy = cpu_s(f.daemon.pid) - before;
    printf("    %.2f s of processor time in 3 s\n", busy);
    EXPECT(busy < 1.5); /* nor does it spin over clients that it cannot let in */
    for (int i = 0; i < CLIENTS; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    EXPECT(fixture_event(&f, "fd_low", "file descriptors are left", 10, NULL, 0));
    json_t *s = fixture_status(&f);
    EXPECT(s && json_is_null(js_at(s, "stop")) && js_int(s, "main.fd_low") == 1);
    json_decref(s);
    disarm(&f, r);
}

static long address_space(pid_t pid)
{
    char path[60];
    long pages = 0;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The heap may grow no further: status answers as far as it can, and control has all it needs.  Where ZeroMQ gives up, that is
 * a death like any other (tests/test_kill.c). */
TEST(memory_that_runs_out_while_armed_leaves_control_alone)
{
    struct fixture f;

    if (RT_SANITIZED)
        return;
    fixture_init(&f, slow);
    struct robot *r = armed(&f);
    if (!r)
        return;
    rlim_t        now   = (rlim_t)address_space(f.daemon.pid);
    struct rlimit tight = { now, RLIM_INFINITY }, wide = { RLIM_INFINITY, RLIM_INFINITY };
    EXPECT(now > 0 && prlimit(f.daemon.pid, RLIMIT_AS, &tight, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        json_t *s = fixture_status(&f);
        json_decref(s);
        control_goes_on(r, 1);
    }
    EXPECT(prlimit(f.daemon.pid, RLIMIT_AS, &wide, NULL) == 0);
    json_t *s = fixture_status(&f);
    EXPECT(s && json_is_null(js_at(s, "stop")));
    json_decref(s);
    disarm(&f, r);
}

/* ---- the wall clock ---- */

/* Events in the store whose monotonic time is before that of the event before; all of them. */
static int backwards(const struct fixture *f, int *events)
{
    char          path[300];
    sqlite3      *db   = NULL;
    sqlite3_stmt *st   = NULL;
    sqlite3_int64 last = 0;
    int           bad  = 0;

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    *events = 0;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT mono_ns FROM events ORDER BY id", -1, &st, NULL) == SQLITE_OK)
        for (; sqlite3_step(st) == SQLITE_ROW; ++*events) {
            bad += sqlite3_column_int64(st, 0) < last;
            last = sqlite3_column_int64(st, 0);
        }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return bad;
}

TEST(a_wall_clock_set_by_a_day_while_armed_changes_nothing_but_is_told_by_how_much)
{
    static const double      step_s[] = { 86400, -86400, -86400, 0.5 };
    static const char *const told[]   = { "set by +86400.", "set by -86400.", "set by -86400.", "set by +0.5" };
    struct fixture           f;
    char                     shim[600];
    int                      events;

    if (RT_SANITIZED)
        return;
    fixture_init(&f, slow);
    _Atomic int64_t *clocks = clock_file();
    snprintf(shim, sizeof shim, "LD_PRELOAD=%s/tests/clock.so", test_build_dir());
    const char *const wrapper[] = { "/usr/bin/env", shim, NULL };
    f.wrapper                   = wrapper;
    struct robot *r             = armed(&f);
    if (!r)
        return;
    usleep(1200000); /* it has looked at the clock */
    for (int i = 0; i < 4; i++) {
        clocks[0] += (int64_t)(step_s[i] * 1e9);
        control_goes_on(r, 1.5);
        EXPECT(fixture_event(&f, "clock_step", told[i], 5, NULL, 0));
        EXPECT_NEAR(fixture_number(&f, "main.clock_steps"), i + 1, 0);
        EXPECT_NEAR(fixture_number(&f, "main.clock_step_s"), step_s[i], 0.05);
    }
    json_t *s = fixture_status(&f);
    EXPECT(s && json_is_null(js_at(s, "stop")) && js_num(s, "uptime_s") < 600);
    EXPECT(!strcmp(js_str(s, "mode", ""), "EXPLORE") || !strcmp(js_str(s, "mode", ""), "BASELINE"));
    json_decref(s);
    disarm(&f, r);
    EXPECT(backwards(&f, &events) == 0 && events > 5);
    clock_file_end(clocks);
}
