/* journal.h - what happened, for people: the last events in memory, all of them in the store and on stderr.
 * Main thread only. */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include "models/store.h"

enum { JOURNAL_KEPT = 32 };

struct journal_event {
    double unix_s;
    char   kind[NAME_SIZE];
    char   text[240];
};

struct journal {
    struct store        *store;   /* may be NULL                            */
    int64_t              trial;   /* number shown with events, -1: none     */
    uint64_t             count;
    struct journal_event event[JOURNAL_KEPT]; /* ring: event[count % KEPT] is next */
    bool                 store_ok;     /* the last batch with anything in it was written   */
    bool                 write_failed; /* one in the open batch                            */
    bool                 probing;      /* the open batch holds an event to see if it works */
    uint64_t             probe_ns;     /* of the last such event                           */
};

/* Writes to memory, stderr (journald when run by systemd) and the store's open batch. */
__attribute__((format(printf, 3, 4))) void journal_say(struct journal *j, const char *kind, const char *format, ...);

/* A write to the store failed (store_error): said once, until writing works again. */
void journal_store_failed(struct journal *j, const char *what);

/* Ends the store's batch and begins the next one, whatever became of it.  -1: what the batch held is lost.  After a
 * failure store_ok is true again when an event, tried once a second, has been written. */
int journal_batch(struct journal *j);

double unix_now(void);

#endif
