#include "daemon/realtime.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/rt/numeric.h"
#include "daemon/rt/sanitized.h"
#include "daemon/syscalls.h"

/* A sanitizer keeps its own state of a thread, hundreds of KiB, on that thread's stack. */
enum { STACK_BYTES = (RT_SANITIZED ? 4096 : 512) * 1024 };
static const uint64_t PAINT = 0x5ca1ab1e0ddba11u;
enum { CLOCK_FINE_NS = 100000 };

__attribute__((format(printf, 2, 3))) static void warn(struct realtime *r, const char *format, ...)
{
    if (r->nwarning == WARNINGS_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(r->warning[r->nwarning++], WARNING_SIZE, format, args);
    va_end(args);
}

/* Without high-resolution timers a sleep ends at the next jiffy, 1 to 10 ms late. */
static void look_at_clock(struct realtime *r)
{
    struct timespec fine;

    r->clock_fine = clock_getres(CLOCK_MONOTONIC, &fine) == 0 && fine.tv_sec == 0 && fine.tv_nsec <= CLOCK_FINE_NS;
    if (!r->clock_fine)
        warn(r,
             "the clock that ticks are due by has steps of %.3g ms: boot without highres=off and nohz=off, with a "
             "kernel that has CONFIG_HIGH_RES_TIMERS=y",
             (double)fine.tv_sec * 1e3 + (double)fine.tv_nsec * 1e-6);
}

void realtime_start(struct realtime *r)
{
    pthread_attr_t attr;

    memset(r, 0, sizeof *r);
    r->latency_fd = -1;
    r->scheduling = true;
    look_at_clock(r);

    /* Libraries' threads would lock 8 MiB of stack each. */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_MAX, 0);

    int bad = syscalls_start();
    if (bad < 0 && !RT_SANITIZED)
        warn(r,
             "the real-time threads' system calls are not restricted (%s): this kernel has no seccomp filters, or what "
             "started limberd forbids them; run a kernel with CONFIG_SECCOMP_FILTER=y",
             strerror(-bad));
    if (RT_SANITIZED) { /* its mlockall would do nothing, and say that it had; locking its shadow would eat the machine */
        warn(r,
             "memory is not locked: this limberd is built with a sanitizer, for finding bugs in simulation; build it "
             "without one (make) for hardware");
        return;
    }
    r->memory_locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    if (!r->memory_locked) {
        munlockall();
        warn(r,
             "memory is not locked (%s): page faults may delay a tick; set LimitMEMLOCK=infinity (systemd) or "
             "'memlock unlimited' in /etc/security/limits.d",
             strerror(errno));
    }
}

/* A fork (the trainer's start) would make every page of this stack copy-on-write, that is, fault once more.  But the thread's
 * own record, at its end, has to be in the child: there glibc walks over those of all threads (reclaim_stacks), and the
 * trainer would be dead before it is one.  Not by the thread itself: pthread_getattr_np allocates, and a thread that ever did
 * takes the heap's lock when it ends. */
static void keep_stack(pthread_t thread)
{
    pthread_attr_t attr;
    void          *base;
    size_t         size;

    if (pthread_getattr_np(thread, &attr) == 0) {
        if (pthread_attr_getstack(&attr, &base, &size) == 0) {
            uintptr_t from = (uintptr_t)base, record = (uintptr_t)thread & ~(uintptr_t)4095;

            if (record > from && record < from + size)
                madvise(base, record - from, MADV_DONTFORK);
        }
        pthread_attr_destroy(&attr);
    }
}

/* Signals are for the main thread.  But where that has one pending already, the kernel hands the next to any thread that takes
 * it, and libuv's handler writes to a pipe: not on a real-time thread's list.  What a thread brings upon itself stays. */
static int create_deaf(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    static const int own[] = { SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t         mask, before;

    sigfillset(&mask);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&mask, own[i]);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    int bad = pthread_create(thread, attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return bad;
}

int realtime_thread(struct realtime *r, const char *name, int core, int priority, void *(*run)(void *), void *arg,
                    pthread_t *thread)
{
    pthread_attr_t     attr;
    cpu_set_t          set;
    struct sched_param param = { .sched_priority = priority };

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int bad = create_deaf(thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    if (bad)
        return -bad;
    keep_stack(*thread);
    pthread_setname_np(*thread, name);
    if (core >= 0) {
        CPU_ZERO(&set);
        CPU_SET((size_t)core, &set);
        if ((bad = pthread_setaffinity_np(*thread, sizeof set, &set))) {
            r->scheduling = false;
            warn(r, "thread %s cannot be pinned to core %d (%s): choose a core this machine grants (robot.yaml, cores)",
                 name, core, strerror(bad));
        }
    }
    /* A sanitizer's own locks spin: at a FIFO priority that starves the holder until the kernel throttles, for a second. */
    bad = RT_SANITIZED ? EPERM : pthread_setschedparam(*thread, SCHED_FIFO, &param);
    if (bad) {
        if (r->scheduling)
            warn(r,
                 "no real-time priority for thread %s (%s): run as root, or set LimitRTPRIO=90 (systemd) or "
                 "'rtprio 90' in /etc/security/limits.d",
                 name, strerror(bad));
        r->scheduling = false;
    }
    return 0;
}

void realtime_hold_latency(struct realtime *r, bool hold)
{
    int32_t zero = 0;

    if (hold && r->latency_fd < 0) {
        r->latency_fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
        if ((r->latency_fd < 0 || write(r->latency_fd, &zero, sizeof zero) != sizeof zero) && !r->latency_warned) {
            r->latency_warned = true;
            warn(r,
                 "/dev/cpu_dma_latency cannot be held at 0 (%s): wake-ups may be slower; give the daemon's group "
                 "write access to it",
                 strerror(errno));
        }
    } else if (!hold && r->latency_fd >= 0) {
        close(r->latency_fd);
        r->latency_fd = -1;
    }
}

__attribute__((noinline)) static void paint_stack(uintptr_t *begins)
{
    volatile uint64_t paint[STACK_PAINTED / sizeof(uint64_t)];

    for (size_t i = 0; i < sizeof paint / sizeof *paint; i++)
        paint[i] = PAINT;
    *begins = (uintptr_t)paint;
}

uintptr_t realtime_thread_begin(void)
{
    uintptr_t painted;

    numeric_set();
    paint_stack(&painted);
    return painted;
}

__attribute__((no_sanitize("address", "thread"))) size_t realtime_stack_used(uintptr_t painted)
{
    const volatile uint64_t *word = (const volatile uint64_t *)painted;
    size_t                   n = STACK_PAINTED / sizeof *word, i = 0;

    while (i < n && word[i] == PAINT)
        i++;
    return (n - i) * sizeof *word;
}

bool realtime_locale(void)
{
    return strcmp(localeconv()->decimal_point, ".") == 0;
}
