/* disturb.h - what a running limberd must not notice: each disturbance is a thread of ours (or the trainer let loose) that
 * loads the machine, the disk or the daemon's sockets until it is told to stop. */
#ifndef DAEMON_DISTURB_H
#define DAEMON_DISTURB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum disturbance_kind {
    DISTURB_NOTHING,
    DISTURB_TRAINER,  /* runs flat out; stopped (SIGSTOP) in all other phases  */
    DISTURB_LOG,      /* lines written and synced as fast as the disk takes them */
    DISTURB_CLIENTS,  /* 1,000 status clients: slow readers, half requests, floods */
    DISTURB_MESSAGES, /* garbage on the robot's socket from four peers         */
    DISTURB_DISK,     /* no room for anything the daemon writes                */
    DISTURBANCES,
};
const char *disturbance_name(enum disturbance_kind k);

struct disturbance {
    const char *run_dir;
    pid_t       daemon;
    bool
        small_disk; /* run_dir is a file system of its own that may be filled; else the daemon's file size is limited */
    enum disturbance_kind kind;
    _Atomic bool          stop;
    bool                  running;
    pthread_t             thread;
    unsigned long         trained; /* the trainer's processor time before */
    unsigned long         done;    /* processor time, lines, answers, messages, bytes: that it did something */
};

/* Before limberd starts: mounts 64 MiB of memory on run_dir, seen by this process and its children only; false where that
 * is not permitted. */
bool disturb_small_disk(const char *run_dir);

/* 0 or -errno.  In every phase but its own the trainer is stopped; between phases it runs, as limberd gives up one that it
 * does not hear of for a minute. */
int  disturb_begin(struct disturbance *d, enum disturbance_kind k);
void disturb_end(struct disturbance *d);

/* Once at the end: the trainer goes on. */
void disturb_release(const struct disturbance *d);

#endif
