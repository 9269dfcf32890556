/* clock.h - monotonic nanoseconds, and sleeping until one of them. */
#ifndef RT_CLOCK_H
#define RT_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

static inline uint64_t clock_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* That the machine has been suspended since it started: CLOCK_MONOTONIC stands still then (clock_gettime(2)).  Too little where
 * the thread had to wait between two looks at the clock, never too much. */
static inline uint64_t clock_asleep_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t boot = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec, now = clock_now_ns();
    return boot > now ? boot - now : 0;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

/* Sleeps until the absolute time; interrupted sleeps go on. */
static inline void clock_sleep_until(uint64_t ns)
{
    struct timespec t = clock_timespec(ns);

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        ;
}

#endif
