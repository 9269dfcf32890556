/* clock.c - preloaded into a program (LD_PRELOAD): a wall clock that is set while it runs, a monotonic clock that is coarse, a
 * minute that is over at once.
 *
 *     CLOCK_FILE=FILE           two numbers of eight bytes, test writes, program reads: by how many ns the wall clock is off
 *                               now; by how many the monotonic clock is, as the program's first thread alone sees it
 *     CLOCK_RESOLUTION=NS       what clock_getres says of CLOCK_MONOTONIC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t NS = 1000000000;

static const _Atomic int64_t *off; /* wall, monotonic */
static pthread_t              first;
static int64_t                resolution;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_getres)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("CLOCK_FILE"), *res = getenv("CLOCK_RESOLUTION");
    int         fd  = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    void       *map = fd < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *off, PROT_READ, MAP_SHARED, fd, 0);

    first        = pthread_self();
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_getres  = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_getres");
    off          = map == MAP_FAILED ? NULL : map;
    resolution   = res ? atoll(res) : 0;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (!real_gettime)
        begin();
    int     bad = real_gettime(clock, t);
    int64_t by  = 0;

    if (bad || !off)
        return bad;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        by = off[0];
    else if ((clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) && pthread_equal(pthread_self(), first))
        by = off[1];
    int64_t ns = t->tv_sec * NS + t->tv_nsec + by;

    *t = (struct timespec){ .tv_sec = ns / NS, .tv_nsec = ns % NS };
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *tv = (struct timeval){ .tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

int clock_getres(clockid_t clock, struct timespec *t)
{
    if (resolution && clock == CLOCK_MONOTONIC) {
        *t = (struct timespec){ .tv_sec = resolution / NS, .tv_nsec = resolution % NS };
        return 0;
    }
    return real_getres(clock, t);
}
