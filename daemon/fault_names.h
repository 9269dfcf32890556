/* fault_names.h - names and words for what a tick can carry: fault bits and filter bits.  Shown by `limber why`, kept in
 * recordings, explained in docs/faults.md (a test holds the three together). */
#ifndef DAEMON_FAULT_NAMES_H
#define DAEMON_FAULT_NAMES_H

#include <stdint.h>

struct fault_text {
    const char *name, *words;
};

/* Of bit i (core.h, enum fault_bit; filter.h), 0 .. count - 1. */
extern const struct fault_text fault_texts[];
extern const int               fault_text_count;
extern const struct fault_text filter_texts[];
extern const int               filter_text_count;

#endif
