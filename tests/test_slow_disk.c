/* A disk that takes seconds for each sync, or each write (tests/shim): the robot moves on, operators are heard, the watchdog is
 * fed, and at an orderly end what was learned is on it. */
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* Trials long enough for SQLite to want a checkpoint within seconds of the first plan. */
static const char *const quick[] = { "recipe: steps",
                                     "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                     "steps: 200",
                                     "steps: 300",
                                     "count: 15",
                                     "count: 4000",
                                     NULL };

static char slow_while[300];

static void slow(bool on)
{
    FILE *f = on ? fopen(slow_while, "we") : NULL;

    if (f)
        fclose(f);
    if (!on)
        unlink(slow_while);
}

static void name(const char *variable, const char *format, const char *value)
{
    char text[600];

    snprintf(text, sizeof text, format, value);
    setenv(variable, text, 1);
}

/* ---- systemd's watchdog ---- */

static struct {
    int          fd;
    pthread_t    thread;
    _Atomic bool on;
    uint64_t     fed_ns, longest_ns; /* between two times of being fed */
    int          fed;
} dog;

static void *listen_to_notify(void *unused)
{
    char text[600];

    (void)unused;
    while (atomic_load(&dog.on)) {
        ssize_t  n   = recv(dog.fd, text, sizeof text - 1, 0);
        uint64_t now = clock_now_ns();

        text[n > 0 ? n : 0] = 0;
        if (dog.fed && now - dog.fed_ns > dog.longest_ns)
            dog.longest_ns = now - dog.fed_ns;
        if (!strstr(text, "WATCHDOG=1"))
            continue;
        dog.fed_ns = now;
        dog.fed++;
    }
    return NULL;
}

static void dog_begin(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    snprintf(a.sun_path, sizeof a.sun_path, "%s/notify", test_dir());
    dog.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(dog.fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_usec = 100000 }, sizeof(struct timeval));
    EXPECT(bind(dog.fd, (struct sockaddr *)&a, sizeof a) == 0);
    dog.fed = 0, dog.longest_ns = 0;
    atomic_store(&dog.on, true);
    if (pthread_create(&dog.thread, NULL, listen_to_notify, NULL))
        abort();
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
}

static void dog_end(void)
{
    char path[300];

    atomic_store(&dog.on, false);
    pthread_join(dog.thread, NULL);
    close(dog.fd);
    snprintf(path, sizeof path, "%s/notify", test_dir());
    unlink(path);
}

/* ---- the daemon ---- */

/* A limberd that moves a robot by plans, on a disk that is still fast. */
static bool begin(struct fixture *f, const char *sync_ms, const char *write_ms)
{
    char path[600];

    fixture_init(f, quick);
    snprintf(slow_while, sizeof slow_while, "%s/slow", test_dir());
    slow(false);
    snprintf(path, sizeof path, "%s/slow.log", test_dir());
    unlink(path);
    setenv("FAIL_LOG", path, 1);
    setenv("FAIL_PROGRAM", "limberd", 1);
    unsetenv("FAIL_WHAT");
    unsetenv("FAIL_FOREVER");
    setenv("SLOW_SYNC_MS", sync_ms, 1);
    setenv("SLOW_WRITE_MS", write_ms, 1);
    name("SLOW_WHILE", "%s", slow_while);
    name("SLOW_DIR", "%s", f->dir);
    name("LD_PRELOAD", "%s/tests/failing.so", test_build_dir());
    dog_begin();
    bool up = fixture_daemon(f, NULL);
    unsetenv("LD_PRELOAD");
    unsetenv("FAIL_PROGRAM");
    unsetenv("NOTIFY_SOCKET");
    return up && fixture_bridge(f, NULL) && fixture_arm(f, 30) && fixture_wait(f, "mode", "ADVANCED", 60);
}

static long slowed(void)
{
    char  path[300], line[200];
    long  n = -1;
    FILE *log;

    snprintf(path, sizeof path, "%s/slow.log", test_dir());
    log = fopen(path, "re");
    while (log && fgets(line, sizeof line, log))
        if (strncmp(line, "slowed ", 7) == 0)
            n = atol(line + 7);
    if (log)
        fclose(log);
    return n;
}

struct seen {
    double status_ms; /* the longest that a status took          */
    double busy_s;    /* the longest that the disk was at one thing */
    bool   armed;     /* all the time                            */
};

static void look(struct fixture *f, struct seen *seen)
{
    uint64_t    asked = clock_now_ns();
    json_t     *s     = fixture_status(f);
    double      ms    = (double)(clock_now_ns() - asked) * 1e-6;
    const char *mode  = js_str(s, "mode", "");

    EXPECT(s != NULL);
    seen->status_ms = ms > seen->status_ms ? ms : seen->status_ms;
    seen->busy_s    = js_num(s, "disk.busy_s") > seen->busy_s ? js_num(s, "disk.busy_s") : seen->busy_s;
    seen->armed     = seen->armed && (!strcmp(mode, "ADVANCED") || !strcmp(mode, "BASELINE"));
    json_decref(s);
    usleep(20000);
}

static int64_t asked(const struct fixture *f, const char *sql)
{
    char          path[300];
    sqlite3      *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t       n  = -1;

    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static double number_of(const json_t *s, const char *path)
{
    return isfinite(js_num(s, path)) ? js_num(s, path) : 0;
}

/* Moves on while the disk is slow, for so long, and until it was seen to be. */
static void live(struct fixture *f, double seconds, struct seen *seen)
{
    json_t  *before = fixture_status(f);
    uint64_t began  = clock_now_ns();
    double   lived  = 0;

    slow(true);
    while (lived < seconds || (seen->busy_s < 0.7 && lived < 45)) {
        look(f, seen);
        lived = (double)(clock_now_ns() - began) * 1e-9;
    }
    json_t *after = fixture_status(f);
    double  ticks = number_of(after, "control.ticks") - number_of(before, "control.ticks");

    EXPECT(seen->armed && seen->busy_s > 0.7);
    EXPECT(js_at(after, "stop") && json_is_null(js_at(after, "stop")));
    EXPECT(ticks > 0.9 * lived * js_num(after, "control.hz"));
    EXPECT(number_of(after, "control.misses") - number_of(before, "control.misses") < 0.02 * ticks);
    EXPECT(number_of(after, "planner.late") - number_of(before, "planner.late") < 0.02 * ticks);
    json_decref(before);
    json_decref(after);
}

/* Seconds from SIGTERM to the end. */
static double live_and_stop(struct fixture *f, double seconds)
{
    struct seen seen = { .armed = true };

    live(f, seconds, &seen);
    uint64_t began = clock_now_ns();
    EXPECT(fixture_post(f, "/stop", NULL, NULL, 0) && fixture_wait(f, "mode", "DISARMED", 1.5));
    double stop_s = (double)(clock_now_ns() - began) * 1e-9;
    for (int i = 0; i < 20; i++)
        look(f, &seen);
    uint64_t longest_ns = dog.longest_ns;
    kill(f->daemon.pid, SIGTERM);
    began = clock_now_ns();
    while (!child_ended(&f->daemon) && clock_now_ns() - began < 30 * NS_PER_S)
        usleep(10000);
    double end_s = (double)(clock_now_ns() - began) * 1e-9;
    EXPECT(child_ended(&f->daemon) && f->daemon.status == 0 && f->daemon.signal == 0);
    slow(false);
    fixture_end(f);
    dog_end();
    printf("    slow %ld times, up to %.1f s at one thing; status within %.0f ms, stopped within %.2f s, ended within "
           "%.1f s, watchdog "
           "fed every %.2f s\n",
           slowed(), seen.busy_s, seen.status_ms, stop_s, end_s, (double)longest_ns * 1e-9);
    EXPECT(slowed() > 0 && seen.status_ms < 200 && dog.fed > 10 && longest_ns < 900 * NS_PER_MS);
    return end_s;
}

static bool said(const char *words)
{
    char command[400];

    snprintf(command, sizeof command, "grep -q '%s' %s/limberd.log", words, test_dir());
    return system(command) == 0;
}

TEST(with_a_disk_that_takes_two_seconds_for_a_sync_the_robot_moves_on_operators_are_heard_and_nothing_is_lost)
{
    struct fixture f;

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    EXPECT(begin(&f, "2000", "0"));
    EXPECT(live_and_stop(&f, 5) < 20);
    EXPECT(!said("not in the store") && !said("too slow"));
    EXPECT(asked(&f, "SELECT count(*) FROM trials WHERE steps != (SELECT count(*) FROM transitions WHERE trial_id = "
                     "trials.id)") == 0);
    EXPECT(asked(&f, "SELECT count(*) FROM trials WHERE status = 'running'") == 0);
    EXPECT(asked(&f, "SELECT count(*) FROM events WHERE kind = 'stop'") >= 1);
    EXPECT(asked(&f, "SELECT count(*) FROM events WHERE kind = 'daemon' AND text = 'ending'") == 1);
}

TEST(with_a_disk_that_takes_a_second_for_a_write_the_robot_moves_on_operators_are_heard_and_the_end_is_bounded)
{
    struct fixture f;

    if (RT_SANITIZED)
        return;
    EXPECT(begin(&f, "0", "1000"));
    EXPECT(live_and_stop(&f, 5) < 25);
    EXPECT(asked(&f, "SELECT count(*) FROM transitions") > 0); /* opens, and what is not in it was said */
    int64_t unfinished = asked(&f, "SELECT count(*) FROM trials WHERE status = 'running'");
    EXPECT(unfinished == 0 || said("not in the store"));
    EXPECT(fixture_daemon(&f, NULL)); /* and on a disk that is well it goes on */
    EXPECT(asked(&f, "SELECT count(*) FROM trials WHERE status = 'running'") == 0);
    fixture_end(&f);
}
