/* test_rtsan.c - in a build under the real-time sanitizer (make rtsan): what is planted in a real-time body is reported.  That
 * nothing else is, all the other tests of that build show.  Elsewhere there is nothing to test. */
#ifdef LIMBER_RTSAN
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/rtsan.h"
#include "tests/fixture.h"
#include "tests/test.h"

static char            report[16384];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *volatile sink;

static void allocates(void)
{
    sink = malloc(100);
}

static void locks(void)
{
    pthread_mutex_lock(&mutex);
}

static void opens(void)
{
    (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void writes(void)
{
    (void)!write(1, "", 0);
}

static void maps(void)
{
    sink = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void calls(void)
{
    syscall(SYS_getpid);
}

static void prints(void)
{
    printf("%d\n", 1);
}

static void asks(void)
{
    sink = getenv("HOME");
}

static void nothing(void)
{
}

/* Exit status of a child that does `deed` in a real-time body; what it said is in `report`. */
static int child(void (*deed)(void), bool permit)
{
    int   fd[2], status = 0;
    pid_t pid;

    fflush(stdout);
    if (pipe(fd) != 0 || (pid = fork()) < 0)
        abort();
    if (pid == 0) {
        dup2(fd[1], 2);
        rt_body_begin();
        if (permit)
            rt_permit_begin();
        deed();
        if (permit)
            rt_permit_end();
        rt_body_end();
        _exit(0);
    }
    close(fd[1]);
    size_t  at = 0;
    ssize_t n;
    while (at < sizeof report - 1 && (n = read(fd[0], report + at, sizeof report - 1 - at)) > 0)
        at += (size_t)n;
    report[at] = 0;
    close(fd[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(what_must_not_happen_in_a_real_time_body_is_reported_and_ends_the_process)
{
    static const struct {
        void (*deed)(void);
        const char *name;
    } c[] = { { allocates, "malloc" }, { locks, "pthread_mutex_lock" },
              { opens, "open" },       { writes, "write" },
              { maps, "mmap" },        { calls, "syscall" },
              { prints, "printf" },    { asks, "getenv" } };

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        EXPECT(child(c[i].deed, false) == 43);
        EXPECT_STR(report, "RealtimeSanitizer");
        EXPECT_STR(report, c[i].name);
    }
    EXPECT(child(nothing, false) == 0);
    EXPECT(child(writes, true) == 0); /* where it is permitted by name */
}

TEST(a_control_thread_that_allocates_in_its_tick_ends_a_sanitized_daemon_with_a_report)
{
    static const char *wrapper[] = { "/usr/bin/env", NULL, "INTRUDER_THREAD=control", "INTRUDER_DEED=mallocs", NULL };
    char               preload[600], path[300];
    struct fixture     f;

    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/intruder.so", test_build_dir());
    wrapper[1] = preload;
    fixture_init(&f, NULL);
    f.wrapper = wrapper;
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    EXPECT(fixture_wait(&f, "control.ticks", "1", 10)); /* without a robot they go on as well */
    EXPECT(kill(f.daemon.pid, SIGUSR1) == 0);
    for (int i = 0; i < 500 && !child_ended(&f.daemon); i++)
        usleep(20 * 1000);
    EXPECT(child_ended(&f.daemon) && f.daemon.status == 43);
    snprintf(path, sizeof path, "%s/limberd.log", test_dir());
    FILE  *log = fopen(path, "re");
    size_t n   = log ? fread(report, 1, sizeof report - 1, log) : 0;
    report[n]  = 0;
    EXPECT_STR(report, "RealtimeSanitizer");
    EXPECT_STR(report, "control_loop_run");
    if (log)
        fclose(log);
    fixture_end(&f);
}
#endif
