#include <sys/resource.h>

#include "daemon/loops.h"

struct usage usage_now(void)
{
    struct rusage r;

    getrusage(RUSAGE_THREAD, &r);
    return (struct usage){ .page_faults = (uint64_t)(r.ru_minflt + r.ru_majflt),
                           .voluntary   = (uint64_t)r.ru_nvcsw,
                           .involuntary = (uint64_t)r.ru_nivcsw };
}

void usage_publish(struct thread_usage *u, const struct usage *base)
{
    struct usage now = usage_now();

    atomic_store_explicit(&u->page_faults, now.page_faults - base->page_faults, memory_order_relaxed);
    atomic_store_explicit(&u->voluntary, now.voluntary - base->voluntary, memory_order_relaxed);
    atomic_store_explicit(&u->involuntary, now.involuntary - base->involuntary, memory_order_relaxed);
}
