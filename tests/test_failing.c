/* The k-th malloc, open, read, write, ... of a program fails, once or for ever (tests/shim): it ends with a sentence or goes
 * on; it never crashes in our code.  libzmq and what it stands on abort without memory: that is told apart by whose call it
 * was, and is a dead daemon as in test_kill.c.  And a disk that fills up while the robot moves. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static char log_path[300];

/* The last call that failed, of those that the shim logs: whose it was, innermost first; "" where none did. */
static void callers(char out[2000])
{
    FILE *f = fopen(log_path, "re");
    char  line[2000];

    out[0] = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "calls", 5) != 0)
            memcpy(out, line, sizeof line);
    if (f)
        fclose(f);
}

static long calls(void)
{
    FILE *f = fopen(log_path, "re");
    char  line[2000];
    long  n = 0;

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "calls ", 6))
            n = atol(line + 6);
    if (f)
        fclose(f);
    return n;
}

/* Libraries that end the process where memory, or a descriptor, is missing: by their own decision, not by ours. */
static bool by_a_library(const char *who)
{
    static const char *const those[] = { "libzmq", "libsodium", "libpgm", "libnorm", "libgnutls", "libmicrohttpd", "libuv" };

    for (size_t i = 0; i < sizeof those / sizeof *those; i++)
        if (strstr(who, those[i]))
            return true;
    return false;
}

static void set(const char *what, long k, bool forever)
{
    char number[24];

    snprintf(number, sizeof number, "%ld", k);
    snprintf(log_path, sizeof log_path, "%s/shim.log", test_dir());
    unlink(log_path);
    setenv("FAIL_WHAT", what, 1);
    setenv("FAIL_AT", number, 1);
    setenv("FAIL_LOG", log_path, 1);
    if (forever)
        setenv("FAIL_FOREVER", "1", 1);
    else
        unsetenv("FAIL_FOREVER");
}

static void preload(bool on, const char *program)
{
    char path[600];

    snprintf(path, sizeof path, "%s/tests/failing.so", test_build_dir());
    if (on) {
        setenv("LD_PRELOAD", path, 1);
        setenv("FAIL_PROGRAM", program, 1);
    } else {
        unsetenv("LD_PRELOAD");
        unsetenv("FAIL_PROGRAM");
    }
}

/* ---- limberd: start, a hundred ticks, an orderly end ---- */

static const char *const slow[] = { "control_hz: 25", "control_hz: 50", NULL };

static struct child *daemon_start(struct fixture *f)
{
    static char        path[600], log[300], why[300];
    static const char *argv[6];

    snprintf(path, sizeof path, "%s/limberd", test_build_dir());
    snprintf(log, sizeof log, "%s/limberd.log", test_dir());
    unlink(log);
    argv[0] = path, argv[1] = "--config", argv[2] = f->config, argv[3] = "--run-dir", argv[4] = f->dir, argv[5] = NULL;
    memset(&f->daemon, 0, sizeof f->daemon);
    if (child_start(&f->daemon, "limberd", (char *const *)(uintptr_t)argv, log, why, sizeof why) != 0)
        abort();
    return &f->daemon;
}

static bool waits_for_end(struct child *c, double seconds)
{
    uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);

    while (!child_ended(c) && clock_now_ns() < until)
        usleep(5000);
    return child_ended(c);
}

/* A hundred ticks are two seconds; ends it in order, by force where it does not.  True: it ended by itself or as told. */
static bool live(struct fixture *f)
{
    struct child *c = daemon_start(f);

    if (!waits_for_end(c, 2.3)) {
        fixture_post(f, "/arm", "{\"yes\": true}", NULL, 0); /* whatever comes of it */
        kill(c->pid, SIGTERM);
        waits_for_end(c, 5);
    }
    bool ended = child_ended(c);
    child_stop(c, 0, 1);
    return ended;
}

/* The k-th call fails: ends with an exit code and a sentence, or goes on. */
static void judge(struct fixture *f, const char *what, long k, bool forever, int *libraries)
{
    char who[2000], how[100];

    set(what, k, forever);
    bool ended = live(f);
    callers(who);
    child_how(&f->daemon, how, sizeof how);
    bool crashed = f->daemon.signal != 0 && ended;
    *libraries += crashed && by_a_library(who);
    if ((!crashed || by_a_library(who)) && ended)
        return;
    EXPECT(!"clean");
    printf("    %s %ld%s: %s; called by %s", what, k, forever ? " and all later" : "", ended ? how : "did not end in 5 s", who);
    child_tail(&f->daemon, 3, stdout);
}

/* `count` numbers spread over all calls there are, the first ones more densely: start-up is where most differ. */
static void every_kth(const char *what, int count)
{
    struct fixture f;
    struct rng     r;
    int            libraries = 0;

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    fixture_init(&f, slow);
    rng_seed(&r, 5);
    preload(true, "limberd");
    set(what, 0, false);
    EXPECT(live(&f) && f.daemon.status == 0);
    long all = calls();
    for (int i = 0; all > 0 && i < count; i++) {
        long k = i < count / 2 ? 1 + (long)i * (all < 400 ? all : 400) / (count / 2 + 1) : 1 + (long)rng_below(&r, (uint32_t)all);
        judge(&f, what, k, rng_below(&r, 2), &libraries);
    }
    preload(false, NULL);
    printf("    %s: %ld calls, %d tried, %d ends by a library's own decision\n", what, all, count, libraries);
}

TEST(when_the_kth_malloc_fails_limberd_ends_cleanly_or_goes_on)
{
    every_kth("malloc", test_rounds(12, 3000));
}

TEST(when_the_kth_write_fails_the_daemon_goes_on_or_says_why_not)
{
    every_kth("write", test_rounds(5, 300));
    every_kth("sync", test_rounds(2, 50));
    every_kth("rename", test_rounds(2, 20));
}

TEST(when_the_kth_open_fails_the_daemon_ends_cleanly_or_goes_on)
{
    every_kth("open", test_rounds(5, 300));
    every_kth("read", test_rounds(3, 300));
    every_kth("socket", test_rounds(3, 50));
    every_kth("mmap", test_rounds(3, 200));
    every_kth("thread", test_rounds(3, 20));
}

/* ---- the trainer ---- */

/* limberd with a trainer whose k-th call fails, until a model was published or refused or some seconds are over. */
static void trainer_fails(const char *what, long k, bool forever)
{
    static const char *const quick[] = { "steps: 200", "steps: 25", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                         "count: 15", "count: 1", NULL };
    struct fixture           f;
    char                     who[2000];

    fixture_init(&f, quick);
    preload(true, "limber-trainer");
    set(what, k, forever);
    bool ok = fixture_daemon(&f, NULL);
    preload(false, NULL);
    static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };
    ok = ok && fixture_bridge(&f, lockstep) && fixture_arm(&f, 20);
    EXPECT(ok);
    for (int i = 0; ok && i < 50 && fixture_number(&f, "model.version") < 1; i++)
        usleep(100000);
    json_t *s = fixture_status(&f);
    EXPECT(s != NULL); /* the daemon is there, whatever became of its trainer */
    json_decref(s);
    fixture_end(&f);
    EXPECT(f.daemon.signal == 0 && f.daemon.status == 0);
    /* How the trainer ended is in the daemon's journal: by a signal only where a library wanted it so. */
    char command[600];
    callers(who);
    snprintf(command, sizeof command, "grep -q 'ended by itself (status 0, signal \\(6\\|11\\|7\\|8\\))' %s/limberd.log", test_dir());
    bool crashed = system(command) == 0;
    EXPECT(!crashed || by_a_library(who));
    if (crashed)
        printf("    trainer: %s %ld: called by %s\n", what, k, who);
    snprintf(command, sizeof command, "rm -rf %s/run %s/limberd.log", test_dir(), test_dir());
    EXPECT(system(command) == 0);
}

TEST(when_the_kth_malloc_fails_the_trainer_ends_cleanly_or_goes_on)
{
    struct rng r;
    int        rounds = test_rounds(4, 200);

    if (RT_SANITIZED)
        return;
    rng_seed(&r, 9);
    for (int i = 0; i < rounds; i++)
        trainer_fails("malloc", 1 + (long)rng_below(&r, i % 2 ? 60 : 900), i % 2);
    for (int i = 0; i < rounds / 2; i++)
        trainer_fails(i % 2 ? "write" : "read", 1 + (long)rng_below(&r, 40), i % 2);
}

/* ---- a full disk ---- */

TEST(a_disk_that_fills_while_the_robot_moves_costs_the_store_and_not_the_control)
{
    static const char *const quick[] = { "steps: 200", "steps: 100", "count: 15", "count: 4000", NULL };
    struct fixture           f;
    char                     disk[400], filler[420];

    fixture_init(&f, quick);
    snprintf(disk, sizeof disk, "%s/disk", test_dir());
    mkdir(disk, 0700);
    if (mount("none", disk, "tmpfs", 0, "size=3m") != 0)
        return; /* needs root: nothing to test without a small disk */
    snprintf(f.dir, sizeof f.dir, "%.180s/run", disk);
    bool ok = fixture_daemon(&f, NULL) && fixture_bridge(&f, NULL) && fixture_arm(&f, 15) && fixture_wait(&f, "trials.step", "5", 10);
    EXPECT(ok);
    snprintf(filler, sizeof filler, "dd if=/dev/zero of=%.300s/filler bs=4k 2>/dev/null; true", disk);
    EXPECT(system(filler) == 0);
    double ticks = fixture_number(&f, "control.ticks");
    char   more[32];
    snprintf(more, sizeof more, "%g", ticks + 100);
    EXPECT(fixture_wait(&f, "control.ticks", more, 15)); /* goes on, for hundred ticks and more */
    json_t *s = fixture_status(&f);
    char   *text = s ? json_dumps(s, 0) : NULL;
    EXPECT(text && strstr(text, "robots cannot be armed until it works"));
    EXPECT(text && js_int(s, "stop.tick") == 0); /* nothing stopped it */
    free(text);
    json_decref(s);
    snprintf(filler, sizeof filler, "rm %.300s/filler", disk);
    EXPECT(system(filler) == 0);
    bool works = false;
    for (int i = 0; i < 50 && !works; i++) {
        s     = fixture_status(&f);
        text  = s ? json_dumps(s, 0) : NULL;
        works = text && strstr(text, "writing works again");
        free(text);
        json_decref(s);
        usleep(100000);
    }
    EXPECT(works);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
    umount2(disk, MNT_DETACH);
}
