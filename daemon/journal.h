/* journal.h - what happened, for people: the last events in memory, all of them in the store and on stderr.
 * Main thread only, which never waits: from disk_start() on both are written by the disk's thread. */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include "daemon/disk.h"

enum { JOURNAL_KEPT = 32 };

struct journal_event {
    double unix_s;
    char   kind[NAME_SIZE];
    char   text[240];
};

struct journal {
    struct disk         *disk;    /* may be NULL                            */
    int64_t              trial;   /* number shown with events, -1: none     */
    uint64_t             count;
    struct journal_event event[JOURNAL_KEPT]; /* ring: event[count % KEPT] is next */
    bool                 store_ok;     /* writing works, as far as is known            */
    bool                 failed;       /* since the last attempt was begun             */
    uint64_t             probe;        /* place of that attempt, an event; 0: none     */
    uint64_t             probe_ns;     /* when                                         */
};

/* Writes to memory, stderr (journald when run by systemd) and the store, the latter two with the next batch. */
__attribute__((format(printf, 3, 4))) void journal_say(struct journal *j, const char *kind, const char *format, ...);

/* A write failed, and why: said once, until writing works again. */
void journal_store_failed(struct journal *j, const char *what, const char *why);

/* The line of the disk is full. */
void journal_full(struct journal *j, const char *what);

/* Takes what became of earlier batches, and has what is in line written: transitions of that trial that are lost.  A disk
 * that has taken nothing for five seconds has failed until it does.  After a failure store_ok is true again when an event,
 * tried once a second, has been written. */
int journal_batch(struct journal *j, int64_t trial_id);

double unix_now(void);

#endif
