/* signal.h - one thread wakes another, or all that wait: a futex counter.  The waker never blocks, the sleeper has a
 * deadline (UINT64_MAX: none). */
#ifndef RT_SIGNAL_H
#define RT_SIGNAL_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rtsan.h"

struct rt_signal {
    _Atomic uint32_t count;
};

static inline uint32_t rt_signal_count(struct rt_signal *s)
{
    return atomic_load_explicit(&s->count, memory_order_acquire);
}

static inline void rt_signal_raise(struct rt_signal *s)
{
    atomic_fetch_add_explicit(&s->count, 1, memory_order_release);
    rt_permit_begin();
    syscall(SYS_futex, &s->count, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    rt_permit_end();
}

static inline void rt_signal_raise_all(struct rt_signal *s)
{
    atomic_fetch_add_explicit(&s->count, 1, memory_order_release);
    rt_permit_begin();
    syscall(SYS_futex, &s->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    rt_permit_end();
}

/* Sleeps until the count differs from `seen` or CLOCK_MONOTONIC reaches `until_ns`; true if it differs. */
static inline bool rt_signal_wait(struct rt_signal *s, uint32_t seen, uint64_t until_ns)
{
    struct timespec t = clock_timespec(until_ns);

    while (rt_signal_count(s) == seen) {
        if (clock_now_ns() >= until_ns)
            return false;
        rt_permit_begin();
        syscall(SYS_futex, &s->count, FUTEX_WAIT_BITSET_PRIVATE, seen, &t, NULL, FUTEX_BITSET_MATCH_ANY);
        rt_permit_end();
    }
    return true;
}

#endif
