/* realtime.h - what the machine grants: locked memory, FIFO priorities, cores, no idle states.
 *
 * Each refusal is one sentence with its remedy; the daemon runs without, a simulated robot may be armed without, real
 * hardware may not (design: H10). */
#ifndef DAEMON_REALTIME_H
#define DAEMON_REALTIME_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WARNING_SIZE = 240, WARNINGS_MAX = 8, STACK_PAINTED = 256 * 1024 };

struct realtime {
    bool memory_locked;
    bool clock_fine; /* sleeps end within 0.1 ms of their time, as far as the clock goes */
    bool scheduling; /* every thread got its priority and core */
    int  nwarning;
    char warning[WARNINGS_MAX][WARNING_SIZE];
    int  latency_fd; /* /dev/cpu_dma_latency, -1: not held     */
    bool latency_warned;
};

/* Before any thread: locks present and future memory, keeps freed memory, small thread stacks. */
void realtime_start(struct realtime *r);

/* Starts a thread with a prefaulted stack on `core` (-1: any) at SCHED_FIFO `priority`; without the privilege at the
 * normal one, with a warning.  0 or -errno (no thread). */
int realtime_thread(struct realtime *r, const char *name, int core, int priority, void *(*run)(void *), void *arg,
                    pthread_t *thread);

/* Holds the processors out of idle states while armed.  Failing is a warning, once. */
void realtime_hold_latency(struct realtime *r, bool hold);

/* First lines of a real-time thread: sets the floating point unit (rt/numeric.h), and paints STACK_PAINTED bytes of its stack,
 * half of it, below here: they are in memory from then on.  Where they begin. */
uintptr_t realtime_thread_begin(void);

/* How many of them were ever written to, while that thread lives; STACK_PAINTED: all, and maybe more.  Main thread; it looks at
 * words that the other one may be writing, and only at whether they are still as they were painted. */
size_t realtime_stack_used(uintptr_t painted);

/* Of the whole process: does 0.5 read and print as 0.5 (LC_NUMERIC is C or like it)?  Main thread. */
bool realtime_locale(void);

#endif
