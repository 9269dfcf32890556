/* shared.h - everything the threads of one limberd share, and how it crosses.
 *
 *     io      -> control   newest state                  handoff + signal
 *     control -> io        newest command                handoff + eventfd;  trial requests: ring
 *     control -> planner   newest plan request           handoff + signal
 *     planner -> control   newest plan                   handoff (+ signal in lockstep)
 *     main    -> planner   newest model                  handoff (slots live in the planner)
 *     main    -> planner   newest task                   handoff
 *     main    -> control   operations                    ring
 *     control -> main      reports (notices, transitions), records: rings;  the core's state: handoff
 *     io      -> main      sentences about the link      ring;   counters: atomics
 *
 * One writer and one reader each; nobody waits for anybody. */
#ifndef DAEMON_SHARED_H
#define DAEMON_SHARED_H

#include "daemon/core.h"
#include "daemon/rt/handoff.h"
#include "daemon/rt/hist.h"
#include "daemon/rt/ring.h"
#include "daemon/rt/signal.h"
#include "transport/session.h"

enum { OPERATIONS = 16, REPORTS = 1024, RECORDS = 1024, TRIAL_REQUESTS = 16, LINK_NOTES = 32 };

/* What main must learn in order: a trial's transitions between its beginning and its end. */
struct report {
    bool is_transition;
    union {
        struct notice     notice;
        struct transition transition;
    };
};

enum { THREAD_IO, THREAD_CONTROL, THREAD_PLANNER, RT_THREADS = THREAD_PLANNER + TEAM_MAX }; /* planner-1, ... follow */

/* What a real-time thread says about itself to main. */
struct rt_thread {
    _Atomic int       tid;        /* 0: not running yet                                              */
    _Atomic int       restricted; /* 1: its system calls are (syscalls.h), 0: not yet, -errno: refused */
    _Atomic bool      numeric;    /* its floating point unit is set as expected (rt/numeric.h)        */
    _Atomic uintptr_t stack;      /* where what it painted of its stack begins (realtime.h); 0: not yet */
};

enum link_note_kind { LINK_OPENED, LINK_TROUBLE, LINK_TRIAL_EVENT };

struct link_note {
    enum link_note_kind kind;
    uint64_t            session;
    struct hello        hello; /* LINK_OPENED      */
    struct trial_event  event; /* LINK_TRIAL_EVENT */
    char                text[240];
};

struct shared {
    const struct robot_config *config;
    _Atomic bool               stop_threads;

    /* io -> control */
    struct handoff     state_handoff;
    struct joint_state state[3];
    struct rt_signal   state_signal;
    _Atomic bool       lockstep;               /* granted to the current session     */
    _Atomic int64_t    aborted_trial;          /* the robot side cannot go on with it; -1: none; taken once */
    _Atomic bool       estop_seen, fault_seen; /* in any state; taken once */
    _Atomic bool       link_damaged;           /* too many messages were; likewise */

    /* control -> io */
    struct handoff       command_handoff;
    struct joint_command command[3];
    uint64_t             command_due_ns[3]; /* it is a miss if it leaves after this */
    struct ring          trial_request_ring;
    struct trial_request trial_request[TRIAL_REQUESTS];
    int                  io_wake_fd; /* eventfd */

    /* control <-> planner */
    struct handoff      request_handoff;
    struct plan_request request[3];
    struct rt_signal    request_signal;
    struct handoff      plan_handoff;
    struct plan         plan[3];
    struct rt_signal    plan_signal;
    _Atomic uint64_t    planned_id; /* newest request whose final plan is published */

    /* main -> planner */
    struct planner  *planner;
    struct handoff   model_handoff;
    _Atomic uint64_t model_slot_version[3];
    _Atomic uint64_t model_version; /* newest handed over, 0: none        */

    struct handoff task_handoff;
    struct task    task[3];

    /* main -> control */
    struct ring      operation_ring;
    struct operation operation[OPERATIONS];
    _Atomic uint64_t stop_id;     /* of an OP_STOP that comes before what waits in the ring; 0: none */
    _Atomic uint32_t host_prearm; /* bits of enum prearm the host vouches for */

    /* control -> main */
    struct ring        report_ring;
    struct report      report[REPORTS];
    struct ring        record_ring;
    struct tick_record record[RECORDS];
    struct handoff     core_handoff;
    struct core        core[3];

    /* io -> main */
    struct ring      link_ring;
    struct link_note link_note[LINK_NOTES];
    struct session   session; /* io's; main reads its counters only */
    _Atomic uint64_t last_heard_ns;

    /* figures */
    struct hist      wake, compute, loop, plan_time;
    _Atomic uint64_t ticks, misses;     /* misses: commands that left after the next tick was due */
    _Atomic uint64_t plans, plans_late; /* late: finished after the step it was for had begun     */
    _Atomic uint64_t plans_cut;         /* ended by their deadline before the last iteration      */
    _Atomic uint64_t last_miss_ns;
    _Atomic int      plan_iterations, plan_candidates;
    _Atomic uint64_t plan_spread_micro; /* spread * 1e6 */

    /* the threads themselves */
    struct rt_thread rt_thread[RT_THREADS];
    _Atomic uint32_t refused; /* first system call refused to one of them (syscalls.h), 0: none */
};

/* Rings, handoffs and the eventfd.  0 or -errno. */
int shared_init(struct shared *s, const struct robot_config *config);

#endif
