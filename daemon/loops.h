/* loops.h - the real-time threads.  Each gets its struct from main, which outlives it, and ends when
 * shared.stop_threads is set (and the thread is woken). */
#ifndef DAEMON_LOOPS_H
#define DAEMON_LOOPS_H

#include "daemon/rt/numeric.h"
#include "daemon/shared.h"
#include "transport/port.h"

/* What one thread did since it began: page faults without and with I/O, and how often it slept or was made to wait. */
struct usage {
    uint64_t minor, major, voluntary, involuntary;
};

/* By /proc, from any thread; false where there is no such thread (any more), and zeros. */
bool usage_of(int tid, struct usage *u);

/* First and last line of a thread's set-up: realtime_thread_begin; it names itself to main, and gives up all system calls but
 * its own (syscalls.h). */
void        rt_thread_begins(struct shared *s, int thread);
const char *rt_thread_name(int thread); /* "control": static */

/* Now and then: is the floating point unit still set as it should be? */
static inline void rt_thread_numeric(struct shared *s, int thread)
{
    atomic_store_explicit(&s->rt_thread[thread].numeric, numeric_ok(), memory_order_relaxed);
}

/* io: the robot's socket alone.  Decodes states, hands on the newest; encodes commands. */
struct io_loop {
    struct shared *s;
    struct port   *port;
};
void *io_loop_run(void *io_loop);

/* control: ticks; drives the core. */
struct control_loop {
    struct shared     *s;
    struct core        core;       /* core_init and core_ready done by main; then this thread's alone */
    struct core_input  in;
    struct core_output out;
    struct plan        plan;       /* copy of the newest, stable while the core looks at it */
    uint64_t           due_ns;     /* timer: this tick; state: when the fallback fires      */
    uint64_t           woke_ns;
    uint64_t           last_now_ns, last_wall_ns;
    uint64_t           lockstep_offset_ns, lockstep_session;
    uint64_t           asleep_ns;  /* that the machine has been suspended since it started  */
    uint64_t           early_ns;   /* pace state: when another tick would come too early    */
};
void *control_loop_run(void *control_loop);

/* planner: waits for a request, plans, publishes after every iteration. */
void *plan_loop_run(void *shared);

/* planner-1 ..: take part in planning until planner_dismiss. */
struct plan_worker {
    struct shared *s;
    int            worker; /* 1 .. cores.planners - 1 */
};
void *plan_worker_run(void *plan_worker);

#endif
