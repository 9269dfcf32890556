/* wrap.c - what a build under the real-time sanitizer watches (make rtsan).  LLVM's runtime (RTSan 19) knows malloc and its
 * kin, locks, files by stdio and open, sockets, sleeps and threads; this adds what it lacks: our objects are linked with
 * --wrap for each function below, so that a call from any of them comes here first. */
#include <execinfo.h>
#include <poll.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "daemon/rt/rtsan.h"

void __rtsan_realtime_enter(void);
void __rtsan_realtime_exit(void);

enum { EXIT_RTSAN = 43, FRAMES = 32 }; /* exit status: the runtime's own */

static _Thread_local int body, permitted;

void rt_body_begin(void)
{
    body++;
    __rtsan_realtime_enter();
}

void rt_body_end(void)
{
    __rtsan_realtime_exit();
    body--;
}

void rt_permit_begin(void)
{
    permitted++;
}

void rt_permit_end(void)
{
    permitted--;
}

ssize_t __real_write(int fd, const void *buf, size_t n);

/* A report like the runtime's, then the end. */
static void watch(const char *function)
{
    static const char before[] = "ERROR: RealtimeSanitizer (tests/rtsan/wrap.c): call to unsafe function `";

    void *frame[FRAMES];

    if (!body || permitted)
        return;
    while (body)
        rt_body_end();
    fprintf(stderr, "%s%s` in real-time context!\n", before, function);
    backtrace_symbols_fd(frame, backtrace(frame, FRAMES), STDERR_FILENO);
    _exit(EXIT_RTSAN);
}

#define WRAP(type, name, parameters, arguments) \
    type __real_##name parameters;              \
    type __wrap_##name parameters;              \
    type __wrap_##name parameters               \
    {                                           \
        watch(#name);                           \
        return __real_##name arguments;         \
    }

WRAP(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n))
WRAP(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n))
WRAP(int, poll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
WRAP(void *, mmap, (void *addr, size_t n, int prot, int flags, int fd, off_t at), (addr, n, prot, flags, fd, at))
WRAP(int, munmap, (void *addr, size_t n), (addr, n))
WRAP(int, mprotect, (void *addr, size_t n, int prot), (addr, n, prot))
WRAP(int, madvise, (void *addr, size_t n, int advice), (addr, n, advice))
WRAP(int, sem_wait, (sem_t * s), (s))
WRAP(int, sem_post, (sem_t * s), (s))
WRAP(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *t, struct timespec *left),
     (clock, flags, t, left))
WRAP(int, vprintf, (const char *format, va_list args), (format, args))
WRAP(int, vfprintf, (FILE * f, const char *format, va_list args), (f, format, args))
WRAP(char *, getenv, (const char *name), (name))
WRAP(char *, strerror, (int error), (error))

/* The variadic ones: the arguments are passed on as words, or by va_list. */

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    watch("syscall");
    return __real_syscall(number, a, b, c, d, e, f);
}

int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
    watch("ioctl");
    return __real_ioctl(fd, request, argument);
}

int __wrap_printf(const char *format, ...);
int __wrap_printf(const char *format, ...)
{
    va_list args;

    watch("printf");
    va_start(args, format);
    int n = __real_vprintf(format, args);
    va_end(args);
    return n;
}

int __wrap_fprintf(FILE *f, const char *format, ...);
int __wrap_fprintf(FILE *f, const char *format, ...)
{
    va_list args;

    watch("fprintf");
    va_start(args, format);
    int n = __real_vfprintf(f, format, args);
    va_end(args);
    return n;
}
