/* threads.c - the real-time threads as main sees them: what they were granted, what they are held to, what they cost. */
#include <sched.h>
#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/realtime.h"
#include "daemon/syscalls.h"

static int threads(const struct daemon *d)
{
    return THREAD_PLANNER + d->workers;
}

static const struct rt_thread *thread(const struct daemon *d, int i)
{
    return &d->shared->rt_thread[i];
}

static int get(const _Atomic int *a)
{
    return atomic_load_explicit((_Atomic int *)(uintptr_t)a, memory_order_relaxed);
}

const char *threads_waiting(const struct daemon *d)
{
    for (int i = 0; i < threads(d); i++)
        if (!get(&thread(d, i)->tid))
            return rt_thread_name(i);
    return NULL;
}

bool threads_fifo(const struct daemon *d)
{
    for (int i = 0; i < threads(d); i++)
        if (sched_getscheduler(get(&thread(d, i)->tid)) != SCHED_FIFO)
            return false;
    return true;
}

bool threads_restricted(const struct daemon *d)
{
    for (int i = 0; i < threads(d); i++)
        if (get(&thread(d, i)->restricted) != 1)
            return false;
    return true;
}

bool threads_numeric(const struct daemon *d)
{
    for (int i = 0; i < threads(d); i++)
        if (get(&thread(d, i)->tid) && !atomic_load((_Atomic bool *)(uintptr_t)&thread(d, i)->numeric))
            return false;
    return realtime_locale();
}

void threads_refused(struct daemon *d)
{
    uint32_t refused = atomic_load(&d->shared->refused);

    if (refused == d->refused_said)
        return;
    d->refused_said = refused;
    journal_say(&d->journal, "syscall", "thread %s made system call %d (%s), which is not on its list: refused",
                rt_thread_name(syscalls_thread(refused)), syscalls_number(refused),
                syscalls_name(syscalls_number(refused)));
}

void threads_count_from_here(struct daemon *d)
{
    for (int i = 0; i < threads(d); i++)
        usage_of(get(&thread(d, i)->tid), &d->usage_base[i]);
    d->armed_ever = true;
}

struct usage threads_usage(const struct daemon *d, int i)
{
    const struct usage *base = &d->usage_base[i];
    struct usage        now;

    if (!d->armed_ever || !usage_of(get(&thread(d, i)->tid), &now))
        return (struct usage){ 0 };
    return (struct usage){ .minor       = now.minor - base->minor,
                           .major       = now.major - base->major,
                           .voluntary   = now.voluntary - base->voluntary,
                           .involuntary = now.involuntary - base->involuntary };
}

size_t threads_stack(const struct daemon *d, int i)
{
    uintptr_t painted = atomic_load((_Atomic uintptr_t *)(uintptr_t)&thread(d, i)->stack);

    return painted && !atomic_load(&d->shared->stop_threads) ? realtime_stack_used(painted) : 0;
}

uint64_t threads_page_faults(const struct daemon *d, int first, int last)
{
    uint64_t sum = 0;

    for (int i = first; i <= last; i++) {
        struct usage u = threads_usage(d, i);
        sum += u.minor + u.major;
    }
    return sum;
}

json_t *threads_json(const struct daemon *d)
{
    json_t *list = json_array();

    for (int i = 0; i < threads(d); i++) {
        struct usage u = threads_usage(d, i);

        json_array_append_new(list,
                              json_pack("{s:s, s:i, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "name", rt_thread_name(i), "tid",
                                        get(&thread(d, i)->tid), "fifo",
                                        sched_getscheduler(get(&thread(d, i)->tid)) == SCHED_FIFO, "restricted",
                                        get(&thread(d, i)->restricted) == 1, "minor_faults", (json_int_t)u.minor,
                                        "major_faults", (json_int_t)u.major, "voluntary_switches",
                                        (json_int_t)u.voluntary, "involuntary_switches", (json_int_t)u.involuntary,
                                        "stack_bytes", (json_int_t)threads_stack(d, i)));
    }
    return list;
}

/* The newest refusal, as a sentence's beginning: "control: system call 9 (mmap)". */
json_t *threads_syscalls_json(const struct daemon *d)
{
    uint32_t refused = atomic_load(&d->shared->refused);
    char     text[80];

    snprintf(text, sizeof text, "%s: system call %d (%s)", refused ? rt_thread_name(syscalls_thread(refused)) : "",
             syscalls_number(refused), syscalls_name(syscalls_number(refused)));
    return json_pack("{s:b, s:o}", "restricted", (int)threads_restricted(d), "refused",
                     refused ? json_string(text) : json_null());
}
