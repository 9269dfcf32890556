#include <stdio.h>
#include <string.h>
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

uint64_t usage_page_faults_of(int tid)
{
    char               file[64], line[600] = "";
    unsigned long long minor = 0, major = 0;

    snprintf(file, sizeof file, "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(file, "r");
    if (f) {
        const char *end = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL; /* of the name, the second field */

        if (end)
            sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &minor, &major);
        fclose(f);
    }
    return minor + major;
}
