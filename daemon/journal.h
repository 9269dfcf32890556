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
    bool                 store_ok;
};

/* Writes to memory, stderr (journald when run by systemd) and the store's open batch. */
__attribute__((format(printf, 3, 4))) void journal_say(struct journal *j, const char *kind, const char *format, ...);

double unix_now(void);

#endif
