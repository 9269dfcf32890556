/* usage.c - what the real-time threads say about themselves, and what the kernel says about them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/loops.h"
#include "daemon/realtime.h"
#include "daemon/syscalls.h"

const char *rt_thread_name(int thread)
{
    static const char *const name[RT_THREADS] = {
        [THREAD_IO]      = "io",
        [THREAD_CONTROL] = "control",
        [THREAD_PLANNER] = "planner",
        "planner-1",
        "planner-2",
        "planner-3",
        "planner-4",
        "planner-5",
        "planner-6",
        "planner-7",
        "planner-8",
        "planner-9",
        "planner-10",
        "planner-11",
        "planner-12",
        "planner-13",
        "planner-14",
        "planner-15",
    };
    return name[thread];
}

void rt_thread_begins(struct shared *s, int thread)
{
    struct rt_thread *t    = &s->rt_thread[thread];
    enum syscall_list list = thread == THREAD_IO        ? SYSCALLS_IO
                             : thread == THREAD_CONTROL ? SYSCALLS_CONTROL
                                                        : SYSCALLS_PLANNER;

    atomic_store(&t->stack, realtime_thread_begin());
    rt_thread_numeric(s, thread);
    atomic_store(&t->tid, gettid());
    int bad = syscalls_restrict(list, thread, rt_thread_name(thread), s->io_wake_fd, &s->refused);
    atomic_store(&t->restricted, bad < 0 ? bad : 1);
}

/* /proc/self/task/TID/FILE; false where it cannot be read. */
static bool slurp(int tid, const char *file, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, size - 1, f);
    text[n]  = 0;
    fclose(f);
    return n > 0;
}

static bool number_after(const char *text, const char *key, uint64_t *n)
{
    const char *at = strstr(text, key);

    return at && sscanf(at + strlen(key), "%" SCNu64, n) == 1;
}

bool usage_of(int tid, struct usage *u)
{
    char        text[4096];
    const char *end;

    memset(u, 0, sizeof *u);
    if (tid <= 0 || !slurp(tid, "stat", text, sizeof text) ||
        !(end = strrchr(text, ')')) || /* of the name, the second field */
        sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64, &u->minor, &u->major) != 2)
        return false;
    return slurp(tid, "status", text, sizeof text) && number_after(text, "\nvoluntary_ctxt_switches:", &u->voluntary) &&
           number_after(text, "\nnonvoluntary_ctxt_switches:", &u->involuntary);
}
