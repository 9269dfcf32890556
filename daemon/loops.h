/* loops.h - the three real-time threads.  Each gets its struct from main, which outlives it, and ends when
 * shared.stop_threads is set (and the thread is woken). */
#ifndef DAEMON_LOOPS_H
#define DAEMON_LOOPS_H

#include "daemon/shared.h"
#include "transport/port.h"

/* io: the robot's socket alone.  Decodes states, hands on the newest; encodes commands. */
struct io_loop {
    struct shared *s;
    struct port   *port;
};
void *io_loop_run(void *io_loop);

/* control: ticks; drives the core. */
struct control_loop {
    struct shared *s;
    struct core    core; /* core_init and core_ready done by main */
};
void *control_loop_run(void *control_loop);

/* planner: waits for a request, plans, publishes after every iteration. */
void *plan_loop_run(void *shared);

/* getrusage of the calling thread, relative to *base where base is given. */
struct usage {
    uint64_t page_faults, voluntary, involuntary;
};
struct usage usage_now(void);
void         usage_publish(struct thread_usage *u, const struct usage *base);

#endif
