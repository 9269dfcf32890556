/* test_syscalls.c - a real-time thread may make the system calls on its list, and no other: in threads of our own, and in
 * a limberd with an intruder (tests/intruder/). */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/daemon.h"
#include "daemon/rt/sanitized.h"
#include "daemon/rt/signal.h"
#include "daemon/syscalls.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* ---- threads of our own ---- */

struct probe {
    enum syscall_list list;
    int               wake_fd, other_fd;
    _Atomic uint32_t  refused;
    struct rt_signal  signal;
    int (*try)(struct probe *p); /* errno of what it tried, 0 */
    int installed, error;
};

static void *probe_run(void *arg)
{
    struct probe *p = arg;

    p->installed = syscalls_restrict(p->list, 1, "probe", p->wake_fd, &p->refused);
    p->error     = p->try(p);
    return NULL;
}

/* What `try` did in a restricted thread; the refused call's number, 0: none. */
static int probe(struct probe *p, enum syscall_list list, int (*try)(struct probe *))
{
    pthread_t thread;

    *p = (struct probe){ .list     = list,
                         .try      = try,
                         .wake_fd  = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                         .other_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
    EXPECT(syscalls_start() == 0);
    if (pthread_create(&thread, NULL, probe_run, p))
        abort();
    pthread_join(thread, NULL);
    EXPECT(p->installed == 0);
    close(p->wake_fd);
    close(p->other_fd);
    uint32_t refused = atomic_load(&p->refused);
    EXPECT(!refused || syscalls_thread(refused) == 1);
    return syscalls_number(refused);
}

static int its_own(struct probe *p)
{
    uint64_t one = 1;

    rt_signal_raise(&p->signal);
    rt_signal_raise_all(&p->signal);
    rt_signal_wait(&p->signal, rt_signal_count(&p->signal), clock_now_ns() + NS_PER_MS);
    if (p->list == SYSCALLS_CONTROL)
        clock_sleep_until(clock_now_ns() + NS_PER_MS);
    if (p->list != SYSCALLS_PLANNER && write(p->wake_fd, &one, sizeof one) != sizeof one)
        return errno;
    return 0;
}

TEST(a_restricted_thread_lives_and_ends_with_the_calls_on_its_list)
{
    struct probe p;

    for (int list = SYSCALLS_CONTROL; !RT_SANITIZED && list <= SYSCALLS_IO; list++) {
        EXPECT(probe(&p, (enum syscall_list)list, its_own) == 0);
        EXPECT(p.error == 0);
    }
}

static int map(struct probe *p)
{
    (void)p;
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int allocate(struct probe *p)
{
    void *volatile block = malloc((size_t)1 << 30);

    (void)p;
    return block ? 0 : errno;
}

static int open_file(struct probe *p)
{
    (void)p;
    return open("/etc/hostname", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int write_elsewhere(struct probe *p)
{
    uint64_t one = 1;

    return write(p->other_fd, &one, sizeof one) < 0 ? errno : 0;
}

static int wait_for_a_lock(struct probe *p) /* as pthread_mutex_lock does where the lock is taken */
{
    return syscall(SYS_futex, &p->signal.count, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) < 0 ? errno : 0;
}

TEST(a_call_that_is_not_listed_is_refused_and_noted_by_number)
{
    static const struct {
        enum syscall_list list;
        int (*try)(struct probe *);
        int number;
    } c[] = {
        { SYSCALLS_CONTROL, map, SYS_mmap },
        { SYSCALLS_PLANNER, map, SYS_mmap },
        { SYSCALLS_CONTROL, open_file, SYS_openat },
        { SYSCALLS_PLANNER, open_file, SYS_openat },
        { SYSCALLS_IO, open_file, SYS_openat },
        { SYSCALLS_CONTROL, write_elsewhere, SYS_write },
        { SYSCALLS_PLANNER, write_elsewhere, SYS_write },
        { SYSCALLS_CONTROL, wait_for_a_lock, SYS_futex },
        { SYSCALLS_PLANNER, wait_for_a_lock, SYS_futex },
    };
    struct probe p;

    for (size_t i = 0; !RT_SANITIZED && i < sizeof c / sizeof *c; i++) {
        EXPECT(probe(&p, c[i].list, c[i].try) == c[i].number);
        EXPECT(p.error == EPERM);
        EXPECT(map(&p) == 0); /* other threads may */
    }
    EXPECT_STR(syscalls_name(SYS_mmap), "mmap");
}

TEST(a_large_malloc_in_a_restricted_thread_is_refused_its_memory)
{
    struct probe p;

    if (RT_SANITIZED)
        return;
    EXPECT(probe(&p, SYSCALLS_CONTROL, allocate) != 0);
    EXPECT(p.error != 0);
}

/* ---- limberd ---- */

static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };

/* A daemon and a simulator, perhaps armed; `thread` will do `deed` at SIGUSR1. */
static bool intruded(struct fixture *f, const char *thread, const char *deed, bool armed)
{
    static char        preload[600], who[64], what[64], locales[300];
    static const char *wrapper[] = { "/usr/bin/env", preload, who, what, locales, NULL };

    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/intruder.so", test_build_dir());
    snprintf(who, sizeof who, "INTRUDER_THREAD=%s", thread);
    snprintf(what, sizeof what, "INTRUDER_DEED=%s", deed);
    snprintf(locales, sizeof locales, "LOCPATH=%s", test_dir());
    fixture_init(f, NULL);
    f->wrapper = wrapper;
    bool ok    = fixture_daemon(f, NULL) && fixture_bridge(f, lockstep) && (!armed || fixture_arm(f, 10));
    EXPECT(ok);
    if (!ok)
        fixture_end(f);
    return ok;
}

static char *part(struct fixture *f, const char *path)
{
    json_t *s    = fixture_status(f);
    char   *text = s && js_at(s, path) ? json_dumps(js_at(s, path), JSON_ENCODE_ANY) : strdup("missing");

    json_decref(s);
    return text;
}

static void expect_part(struct fixture *f, const char *path, const char *want)
{
    char *text = part(f, path);

    EXPECT_STR(text, want);
    free(text);
}

/* What a person is told: limber status. */
static void expect_told(const struct fixture *f, const char *want)
{
    char command[600], text[8192];

    snprintf(command, sizeof command, "%s/limber status --run-dir %s 2>&1", test_build_dir(), f->dir);
    FILE  *p = popen(command, "re");
    size_t n = p ? fread(text, 1, sizeof text - 1, p) : 0;
    text[n]  = 0;
    if (p)
        pclose(p);
    EXPECT_STR(text, want);
}

static void refused_call_stops_the_robot(const char *thread, const char *deed)
{
    struct fixture f;
    char           want[80], text[300];

    if (!intruded(&f, thread, deed, true))
        return;
    expect_part(&f, "realtime.syscalls.refused", "null");
    expect_told(&f, "held to their lists");
    EXPECT(kill(f.daemon.pid, SIGUSR1) == 0);
    EXPECT(fixture_wait(&f, "mode", "FAULT", 10));
    EXPECT(fixture_wait(&f, "stop.code", "syscall", 1));
    snprintf(want, sizeof want, "%s: system call ", thread);
    expect_part(&f, "realtime.syscalls.refused", want);
    snprintf(want, sizeof want, "thread %s made system call ", thread);
    expect_part(&f, "events", want);
    snprintf(want, sizeof want, "refused to thread %s: system call ", thread);
    expect_told(&f, want);

    double ticks = fixture_number(&f, "control.ticks"); /* the loop goes on, and damps */
    snprintf(text, sizeof text, "%.0f", ticks + 5);
    EXPECT(fixture_wait(&f, "control.ticks", text, 30));
    EXPECT(fixture_post(&f, "/reset", NULL, text, sizeof text));
    EXPECT(!fixture_post(&f, "/arm", "{\"yes\": true}", NULL, 0));
    expect_part(&f, "prearm", "\"syscalls\", \"ok\": false");
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}

TEST(a_control_thread_that_allocates_is_refused_and_the_robot_stopped_with_its_name)
{
    if (!RT_SANITIZED)
        refused_call_stops_the_robot("control", "malloc");
}

TEST(a_planner_that_opens_a_file_is_refused_and_the_robot_stopped_with_its_name)
{
    if (!RT_SANITIZED)
        refused_call_stops_the_robot("planner", "open");
}

TEST(an_io_thread_that_opens_a_file_is_refused_and_the_robot_stopped_with_its_name)
{
    if (!RT_SANITIZED)
        refused_call_stops_the_robot("io", "open");
}

/* In real time, where a busy machine may stall for longer than a state may be old: then armed again. */
static bool learns_a_model(struct fixture *f)
{
    uint64_t until = clock_now_ns() + 120 * NS_PER_S;

    while (clock_now_ns() < until && !(fixture_number(f, "model.version") >= 1)) {
        json_t *s    = fixture_status(f);
        bool    over = js_true(s, "latched");

        json_decref(s);
        if (over && fixture_post(f, "/reset", NULL, NULL, 0) && fixture_arm(f, 20))
            fixture_post(f, "/trial/start", "{\"kind\": \"random\"}", NULL, 0);
        usleep(100 * 1000);
    }
    return fixture_number(f, "model.version") >= 1;
}

TEST(a_whole_session_in_real_time_needs_no_call_that_is_not_listed)
{
    static const char *const quick[] = {
        "steps: 200", "steps: 40", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100", "count: 15",
        "count: 2",   NULL
    };
    struct fixture f;

    fixture_init(&f, quick);
    bool ok = fixture_daemon(&f, NULL) && fixture_bridge(&f, NULL) && fixture_arm(&f, 20);
    EXPECT(ok);
    if (ok) {
        EXPECT(learns_a_model(&f));
        child_stop(&f.bridge, 0, 0);
        EXPECT(fixture_wait(&f, "latched", "true", 10) && fixture_wait(&f, "link.connected", "false", 10));
        EXPECT(fixture_bridge(&f, NULL) && fixture_wait(&f, "link.connected", "true", 10));
        EXPECT(fixture_post(&f, "/reset", NULL, NULL, 0) && fixture_arm(&f, 20));
        EXPECT(fixture_post(&f, "/stop", NULL, NULL, 0) && fixture_wait(&f, "mode", "DISARMED", 10));
        expect_part(&f, "realtime.syscalls.refused", "null");
        expect_part(&f, "realtime.syscalls.restricted", RT_SANITIZED ? "false" : "true");
    }
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}

/* ---- the environment: M9 ---- */

/* The pre-arm check does not hold (any more), and says so to who asks. */
static void arming_is_refused(struct fixture *f)
{
    uint64_t until = clock_now_ns() + 10 * NS_PER_S;
    char    *text  = part(f, "prearm");

    while (!(strstr(text, "\"state_fresh\", \"ok\": true") && strstr(text, "\"numeric_env\", \"ok\": false")) &&
           clock_now_ns() < until) {
        free(text);
        usleep(50 * 1000);
        text = part(f, "prearm");
    }
    EXPECT_STR(text, "\"state_fresh\", \"ok\": true");
    EXPECT_STR(text, "\"numeric_env\", \"ok\": false");
    EXPECT_STR(text, "start limberd again");
    free(text);
    EXPECT(!fixture_post(f, "/arm", "{\"yes\": true}", NULL, 0));
    fixture_end(f);
}

#if defined(__x86_64__)
TEST(a_library_that_changes_the_rounding_of_the_control_thread_keeps_it_from_being_armed)
{
    struct fixture f;

    if (RT_SANITIZED || !intruded(&f, "control", "rounding", true))
        return;
    EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0) && fixture_wait(&f, "mode", "DISARMED", 10));
    EXPECT(kill(f.daemon.pid, SIGUSR1) == 0);
    arming_is_refused(&f);
}
#endif

TEST(a_library_that_sets_a_decimal_comma_keeps_the_robot_from_being_armed)
{
    struct fixture f;
    char           command[700];

    /* the test brings its own de_DE, as a machine need not have one */
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", test_dir());
    if (RT_SANITIZED)
        return;
    EXPECT(system(command) == 0);
    if (intruded(&f, "nobody", "locale", false))
        arming_is_refused(&f);
}

/* Where another process with real-time priority keeps the core: the check `realtime` says so instead of one that only follows. */
TEST(a_real_time_thread_that_has_not_run_at_all_is_named)
{
    static struct daemon d;
    static struct shared s;

    d.shared  = &s;
    d.workers = 1;
    EXPECT_STR(threads_waiting(&d), "io");
    s.rt_thread[THREAD_IO].tid = 7;
    EXPECT_STR(threads_waiting(&d), "control");
    s.rt_thread[THREAD_CONTROL].tid = 8;
    EXPECT_STR(threads_waiting(&d), "planner");
    s.rt_thread[THREAD_PLANNER].tid = 9;
    EXPECT(!threads_waiting(&d));
    d.workers = 2;
    EXPECT_STR(threads_waiting(&d), "planner-1");
}
