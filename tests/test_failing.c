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
static bool own_only; /* calls of our own code, not those of libraries    */
static int  flown;    /* lives in which the robot was armed */

/* The last line of this kind that the shim wrote: of a call that failed (""), or "crash "; whose it was, innermost first. */
static void callers(const char *kind, char out[2000])
{
    FILE *f = fopen(log_path, "re");
    char  line[2000];

    out[0] = 0;
    while (f && fgets(line, sizeof line, f))
        if (*kind ? !strncmp(line, kind, strlen(kind)) : strncmp(line, "calls", 5) && strncmp(line, "crash", 5))
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
static const char *const give_up[] = { "libzmq", "libsodium", "libpgm", "libnorm", "libgnutls", "libmicrohttpd", "libuv" };
enum { GIVE_UP = sizeof give_up / sizeof *give_up };

static bool begins(const char *text, const char *const *with, int n, int *which)
{
    for (*which = 0; *which < n; ++*which)
        if (!strncmp(text, with[*which], strlen(with[*which])))
            return true;
    return false;
}

/* Which of them is the innermost of these modules that is nobody's helper; -1: that one is ours, or not known to give up.
 * That libuv called us back, as it does in all that the main loop does, says nothing. */
static int giving_up(const char *modules)
{
    static const char *const below[] = { "failing.so", "libc.so", "ld-linux", "libstdc++", "libgcc_s", "linux-vdso" };
    char                     module[100];
    int                      used, which;

    for (; sscanf(modules, "%99s%n", module, &used) == 1; modules += used)
        if (!begins(module, below, sizeof below / sizeof *below, &which))
            return begins(module, give_up, GIVE_UP, &which) ? which : -1;
    return -1;
}

/* Every crash there was is one that a library decided on: a call of its own had failed, and the end was its own abort, or
 * came right after that call.  No crash line: nobody could tell, as on a real-time thread; ours. */
static bool by_a_library(void)
{
    FILE *f = fopen(log_path, "re");
    char  line[2000];
    bool  failed[GIVE_UP] = { false }, all = true;
    int   crashes = 0, last = -1;

    while (f && fgets(line, sizeof line, f)) {
        if (!strncmp(line, "crash ", 6)) {
            int who = giving_up(line + sizeof "crash abort");

            crashes++;
            all = all && who >= 0 && failed[who] && (who == last || !strncmp(line, "crash abort", 11));
        } else if (strncmp(line, "calls", 5) != 0) {
            last = giving_up(line);
            if (last >= 0)
                failed[last] = true;
        }
    }
    if (f)
        fclose(f);
    return crashes && all;
}

static void set_if(bool on, const char *name)
{
    if (on)
        setenv(name, "1", 1);
    else
        unsetenv(name);
}

/* in_run_dir: where a trainer may write. */
static void set(const char *what, long k, bool forever, bool in_run_dir)
{
    char number[24];

    snprintf(number, sizeof number, "%ld", k);
    snprintf(log_path, sizeof log_path, "%s/%sshim.log", test_dir(), in_run_dir ? "run/" : "");
    unlink(log_path);
    setenv("FAIL_WHAT", what, 1);
    setenv("FAIL_AT", number, 1);
    setenv("FAIL_LOG", log_path, 1);
    set_if(forever, "FAIL_FOREVER");
    set_if(own_only, "FAIL_OWN");
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

/* How it ended: with an exit code, as told, or by a library's decision. */
static void judge_end(struct fixture *f, bool ended, const char *what, long k, bool forever, int *libraries)
{
    char who[2000], where[2000], how[100];

    callers("", who);
    callers("crash ", where);
    child_how(&f->daemon, how, sizeof how);
    bool crashed = f->daemon.signal != 0 && ended, theirs = crashed && by_a_library();
    *libraries += theirs;
    if (ended && (!crashed || theirs))
        return;
    EXPECT(!"clean");
    printf("    %s %ld%s: %s; called by %s    %s", what, k, forever ? " and all later" : "", ended ? how : "did not end in 5 s",
           who, where);
    child_tail(&f->daemon, 3, stdout);
}

/* The k-th call fails: ends with an exit code and a sentence, or goes on. */
static void judge(struct fixture *f, bool (*life)(struct fixture *), const char *what, long k, bool forever, int *libraries)
{
    set(what, k, forever, false);
    judge_end(f, life(f), what, k, forever, libraries);
}

/* `count` numbers spread over all calls there are, the first ones more densely, as start-up is where most differ (not where
 * that is somebody else's: `later`); each of them, once and for ever, where count is enough for that. */
static void every_kth(bool (*life)(struct fixture *), const char *const *edits, const char *what, bool later, int count)
{
    struct fixture f;
    struct rng     r;
    int            libraries = 0;

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    fixture_init(&f, edits);
    rng_seed(&r, 5);
    preload(true, "limberd");
    set(what, 0, false, false);
    EXPECT(life(&f) && f.daemon.status == 0);
    long all = calls();
    bool every = count >= 2 * all;
    count      = every ? (int)(2 * all) : count;
    for (int i = 0; all > 0 && i < count; i++) {
        long dense = (long)i * (all < 400 ? all : 400) / (count / 2 + 1), first = later ? all / 6 : 0;
        long k     = !later && i < count / 2 ? 1 + dense : 1 + first + (long)rng_below(&r, (uint32_t)(all - first));

        judge(&f, life, what, every ? 1 + i / 2 : k, every ? i % 2 > 0 : rng_below(&r, 2) > 0, &libraries);
    }
    preload(false, NULL);
    printf("    %s: %ld calls, %d tried, %d ends by a library's own decision\n", what, all, count, libraries);
}

TEST(when_the_kth_malloc_fails_limberd_ends_cleanly_or_goes_on)
{
    every_kth(live, slow, "malloc", false, test_rounds(12, 3000));
}

/* ---- limberd with a robot: states decoded, a trial flown and stored, its model trained ---- */

static const char *const trial[] = { "steps: 200", "steps: 25", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100",
                                     "count: 15", "count: 1", NULL };

/* GET /metrics, whatever the answer: what it makes in memory is to fail, too. */
static void read_metrics(const struct fixture *f)
{
    char command[400], text[2];

    snprintf(command, sizeof command, "curl -s -m 1 --unix-socket %s/status.sock http://limber/metrics", f->dir);
    test_command(command, text, sizeof text);
}

/* Armed, the exploration trial and one with its model, in lockstep; then the end as in live(). */
static bool flies(struct fixture *f)
{
    static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };
    struct child            *c          = daemon_start(f);
    uint64_t                 until      = clock_now_ns() + 15 * NS_PER_S;
    bool                     armed      = false;

    preload(false, NULL); /* not the robot side */
    bool bridge = fixture_bridge(f, lockstep);
    for (bool done = false; bridge && !done && !child_ended(c) && clock_now_ns() < until; usleep(200000)) {
        armed = armed || fixture_post(f, "/arm", "{\"yes\": true}", NULL, 0);
        json_t *s = armed ? fixture_status(f) : NULL;
        read_metrics(f);
        /* To the end, or as far as it comes: a trainer may be off, the store may hold nothing. */
        done = s && (js_true(s, "trials.finished") || js_true(s, "latched") || !strcmp(js_str(s, "model.trainer", ""), "dead"));
        json_decref(s);
    }
    flown += armed;
    if (!child_ended(c)) {
        kill(c->pid, SIGTERM);
        waits_for_end(c, 5);
    }
    bool ended = child_ended(c);
    child_stop(c, 0, 1);
    child_stop(&f->bridge, 0, 1);
    char command[400];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    EXPECT(system(command) == 0); /* the next one has all of it before it */
    preload(true, "limberd");
    return ended;
}

TEST(when_the_kth_malloc_fails_with_a_robot_in_its_trial_limberd_ends_cleanly_or_goes_on)
{
    flown = 0;
    every_kth(flies, trial, "malloc", true, test_rounds(4, 1000));
    own_only = true;
    every_kth(flies, trial, "malloc", true, test_rounds(8, 4000));
    own_only = false;
    EXPECT(RT_SANITIZED || flown > 4);
    printf("    %d of them came to be armed\n", flown);
}

TEST(when_the_kth_write_fails_the_daemon_goes_on_or_says_why_not)
{
    every_kth(live, slow, "write", false, test_rounds(5, 300));
    every_kth(live, slow, "sync", false, test_rounds(2, 50));
    every_kth(live, slow, "rename", false, test_rounds(2, 20));
}

TEST(when_the_kth_open_fails_the_daemon_ends_cleanly_or_goes_on)
{
    every_kth(live, slow, "open", false, test_rounds(5, 300));
    every_kth(live, slow, "read", false, test_rounds(3, 300));
    every_kth(live, slow, "socket", false, test_rounds(3, 50));
    every_kth(live, slow, "mmap", false, test_rounds(3, 200));
    every_kth(live, slow, "thread", false, test_rounds(3, 20));
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
    set(what, k, forever, true);
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
    callers("", who);
    snprintf(command, sizeof command, "grep -q 'ended by itself (status 0, signal \\(6\\|11\\|7\\|8\\))' %s/limberd.log", test_dir());
    bool crashed = system(command) == 0;
    EXPECT(!crashed || by_a_library());
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
