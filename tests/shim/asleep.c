/* asleep.c - preloaded into a program (LD_PRELOAD): CLOCK_BOOTTIME is ahead by the nanoseconds in the file ASLEEP (int64, may
 * change as it goes), as after a suspend of the machine, through which CLOCK_MONOTONIC stood still. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static volatile const int64_t *asleep;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ASLEEP");
    int         fd   = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void       *map  = fd >= 0 ? mmap(NULL, sizeof *asleep, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    real   = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    asleep = map == MAP_FAILED ? NULL : map;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = real ? real(id, t) : (int)syscall(SYS_clock_gettime, id, t); /* others begin before us */

    if (rc == 0 && id == CLOCK_BOOTTIME && asleep) {
        t->tv_sec += *asleep / 1000000000;
        t->tv_nsec += *asleep % 1000000000;
        t->tv_sec += t->tv_nsec / 1000000000;
        t->tv_nsec %= 1000000000;
    }
    return rc;
}
