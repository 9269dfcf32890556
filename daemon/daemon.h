/* daemon.h - limberd's main thread: everything that is not real time, in one struct, driven by one libuv loop. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <jansson.h>

#include "daemon/experiment.h"
#include "daemon/host_watch.h"
#include "daemon/http_server.h"
#include "daemon/loops.h"
#include "daemon/realtime.h"
#include "daemon/rt/sandbox.h"
#include "daemon/stops.h"

enum { WAITERS = 8 }; /* of the 16 connections (http_server.c): the others are for a stop, and for whoever looks */

/* An operator's wish that was not answered for so long is refused, and does not happen later. */
#define OPERATION_PATIENCE_NS (2 * NS_PER_S)

/* An operator's request that waits for the control thread's answer. */
struct waiter {
    struct http_request *request; /* NULL: free */
    uint64_t             id;
    uint64_t             since_ns;
    enum operation_kind  kind;
};

/* What the command line said. */
struct daemon_options {
    const char *config_file;
    const char *run_dir;      /* NULL: by the rules of run_dir.h     */
    const char *planner_isa;  /* NULL: the best                      */
    bool        check;
    bool        train_flat_out;
    bool        has_seed, has_trials;
    uint64_t    seed;
    int         trials;
};

/* Clients that a tcp:// endpoint did not let in. */
struct refusals {
    uint64_t count, said, said_ns; /* said: count when an event was last made of it */
    char     last[240];
};

/* Requests on the operators' socket by who is none. */
struct operator_refusals {
    uint64_t count, said_ns;
};

/* SIGHUPs, which change nothing. */
struct hangups {
    uint64_t count, said_ns;
};

struct daemon {
    struct robot_config config;
    struct daemon_options options;
    char                run_dir[PATH_SIZE], store_path[PATH_SIZE];
    char                endpoint[ENDPOINT_SIZE], telemetry_endpoint[ENDPOINT_SIZE];
    int                 lock_fd;
    uint64_t            started_ns;

    struct shared      *shared;      /* in the locked block       */
    struct realtime     realtime;
    struct io_loop      io;
    struct control_loop *control;    /* in the locked block       */
    pthread_t           io_thread, control_thread, planner_thread;
    struct plan_worker  worker[TEAM_MAX];        /* the planner's other threads: 1 .. workers - 1 */
    pthread_t           worker_thread[TEAM_MAX];
    int                 workers;

    uv_loop_t           loop;
    uv_timer_t          drain_timer, notify_timer;
    uv_signal_t         term, interrupt, hangup;
    struct http_server *status_server, *control_server;
    struct port        *telemetry;
    struct refusals     refused_robots, refused_listeners;

    struct store       *store;
    struct journal      journal;
    struct learner      learner;
    struct seal_key     seal;         /* learner's, where robot.yaml names a key */
    struct experiment   experiment;
    struct stops        stops;

    struct core         core;        /* newest copy               */
    struct hello        hello;       /* of the current session    */
    bool                has_hello, link_up;
    char                link_trouble[240];
    struct {
        uint64_t said_ns, pause_ns;
        int      more; /* since then, this one included */
    } trouble;
    struct waiter       waiter[WAITERS];
    struct operator_refusals refused_operators;
    uint64_t            next_operation;
    struct {            /* the task that the control thread is asked for */
        uint64_t    id; /* of the operation; 0: none                     */
        char        file[PATH_SIZE];
        struct task task;
    } wanted;
    struct sandbox      sandbox;
    uint64_t            resident_start_kb;
    struct usage        usage_base[RT_THREADS];   /* when arming was last asked for */
    bool                armed_ever;
    uint32_t            refused_said;             /* shared.refused as the journal knows it */
    uint64_t            watchdog_ticks;
    uint64_t            stop_asked_ns; /* 0: running              */
    struct hangups      hangups;
    struct host_watch   watch;
    bool                threads_ended; /* nobody is left to answer operations */
    double              stop_unix_s;   /* of the last stop        */
};

/* status.c: the document of docs/status.md; the caller frees it.  NULL: no memory. */
char *status_json(const struct daemon *d);

/* metrics.c: GET /metrics; the caller frees it.  NULL: no memory. */
char *metrics_text(const struct daemon *d);

/* operate.c: the control socket. */
void operate_request(void *daemon, struct http_request *r, const char *method, const char *path, const char *body);
void operate_answer(struct daemon *d, const struct notice *n);
void operate_expire(struct daemon *d);
void operate_end(struct daemon *d); /* the threads have ended: whoever still waits is told so */

/* Puts an operation before the control thread; 0 where its ring is full.  OP_TASK: that of d->wanted. */
uint64_t daemon_operation(struct daemon *d, enum operation_kind kind);

/* threads.c: the real-time threads as main sees them, THREAD_IO .. (shared.h). */
bool    threads_fifo(const struct daemon *d);       /* every one runs at SCHED_FIFO                          */
bool    threads_restricted(const struct daemon *d); /* every one is held to its list of system calls         */
const char *threads_waiting(const struct daemon *d); /* one that has not run at all yet; NULL: all have */
bool    threads_numeric(const struct daemon *d);    /* their floating point, and the decimal point, are as expected */
void    threads_count_from_here(struct daemon *d);  /* page faults and context switches                      */
void    threads_refused(struct daemon *d);          /* a system call was refused: says so, once              */
json_t *threads_json(const struct daemon *d);       /* status.realtime.threads                               */
json_t *threads_syscalls_json(const struct daemon *d);
/* Since arming was last asked for (before: zeros); page faults of several threads. */
struct usage threads_usage(const struct daemon *d, int thread);
uint64_t     threads_page_faults(const struct daemon *d, int first, int last);
/* Bytes of its stack that a thread has used since it began; 0: it has not begun, or is to end.  STACK_PAINTED (realtime.h): at least. */
size_t threads_stack(const struct daemon *d, int thread);

/* drain.c: takes what the other threads report; the journal, the store's line, status and telemetry have it then. */
void drain(struct daemon *d);

/* Begins the end: controlled stop, then the loop stops. */
void daemon_shutdown(struct daemon *d);

/* What the robot side says that it does with each actuated joint when commands stop is what robot.yaml says; where that says
 * nothing, as far as is known gravity does not load it.  False: *joint is the first one for which that does not hold. */
bool                daemon_timeout_action(const struct daemon *d, int *joint);
enum timeout_action daemon_joint_action(const struct daemon *d, int joint); /* that the robot side says */

/* Since the robot side was last heard. */
uint64_t daemon_silent_ns(const struct daemon *d);

uint64_t resident_kb(void);

#endif
