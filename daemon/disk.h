/* disk.h - the one thread that waits for the disk, so that neither control nor the main loop does (but for a task file that an
 * operator asks for).
 *
 * It owns the store from disk_start() on.  The main thread puts rows and tasks in line, in memory, and never waits; what was
 * put in line up to a disk_go() is written in that order, rows in one transaction until a task is due.  disk_line() is
 * the place of the newest: disk_done() says when everything up to there is written, or lost and told by disk_news().
 *
 * The line has DISK_ENTRIES places; the last DISK_RESERVED are not for transitions, so that where the disk is too slow for
 * all of it, the newest steps of a trial go first.  What does not fit is counted (disk_dropped) and the put says false.
 * All but the thread itself: main thread only.  A disk that is NULL does tasks at once and drops rows: for tests. */
#ifndef DAEMON_DISK_H
#define DAEMON_DISK_H

#include "models/store.h"

enum { DISK_ENTRIES = 4096, DISK_RESERVED = 512, DISK_TASK_BYTES = 640 };

struct disk;

/* What could not be written since it was last asked: the first reason, and how many transitions of which trial. */
struct disk_news {
    char    what[40], why[320];
    int64_t trial_id;
    int     lost;
};

/* NULL: no memory.  Rows may be put in line from here on. */
struct disk *disk_new(struct store *s);

/* From here on the store is the thread's.  0 or -errno. */
int  disk_start(struct disk *d);
bool disk_running(const struct disk *d);

/* Puts.  False: there is no place. */
bool disk_trial_begin(struct disk *d, const struct trial_row *t); /* with its id */
bool disk_trial_update(struct disk *d, const struct trial_row *t);
bool disk_transition(struct disk *d, int64_t trial_id, const struct transition *t);
bool disk_model(struct disk *d, const struct model_row *m);
bool disk_model_status(struct disk *d, uint64_t version, const char *status, const char *reason);

enum disk_event_use {
    DISK_STORE = 1,
    DISK_PRINT = 2
}; /* to the store, to stderr: which may be a file, or a pipe that is full */
bool disk_event(struct disk *d, unsigned use, double unix_s, int64_t trial, const char *kind, const char *text);

/* run(ctx, a copy of payload) on the thread, or at once where there is none yet; size at most DISK_TASK_BYTES.  *place, which
 * may be NULL, is its place in line, once there is a thread. */
bool disk_task(struct disk *d, void (*run)(void *ctx, const void *payload), void *ctx, const void *payload, size_t size,
               uint64_t *place);

uint64_t disk_line(const struct disk *d); /* place of the newest put */
void     disk_go(struct disk *d);
bool     disk_done(const struct disk *d, uint64_t place);
bool     disk_wait(struct disk *d, uint64_t place, uint64_t until_ns); /* at the end only: the one that does wait */
bool     disk_news(struct disk *d, struct disk_news *news);            /* false: nothing failed                */

/* A line to stderr, from any thread; none where that would have to wait for longer than a moment: a pipe that nobody reads. */
void disk_print(const char *kind, const char *text);

uint64_t disk_waiting(const struct disk *d); /* rows and tasks in line           */
uint64_t disk_dropped(const struct disk *d);
uint64_t disk_busy_ns(const struct disk *d); /* since nothing was finished; 0: idle */

/* Writes what is in line, closes the store, ends the thread, frees d: true.  False: not by until_ns; ask again, or leave it
 * where it is when the process ends. */
bool disk_end(struct disk *d, uint64_t until_ns);

#endif
