/* handoff.h - the newest value crosses a thread boundary; nobody waits.
 *
 * One writer, one reader, three slots: one being written, one being read, and one in the middle.  `middle` holds
 * that slot's index, plus FRESH when the writer has left something the reader has not seen. */
#ifndef RT_HANDOFF_H
#define RT_HANDOFF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { HANDOFF_FRESH = 4, HANDOFF_SLOT = 3 };

struct handoff {
    _Atomic uint32_t middle;
    uint32_t         write; /* touched by the writer only */
    uint32_t         read;  /* touched by the reader only */
};

static inline void handoff_init(struct handoff *h)
{
    h->write = 0;
    atomic_init(&h->middle, 1);
    h->read = 2;
}

/* Writer: offer slot h->write; returns the slot to fill next. */
static inline uint32_t handoff_publish(struct handoff *h)
{
    h->write = HANDOFF_SLOT & atomic_exchange_explicit(&h->middle, h->write | HANDOFF_FRESH, memory_order_acq_rel);
    return h->write;
}

/* Has the writer left something the reader has not taken?  Any thread. */
static inline bool handoff_fresh(struct handoff *h)
{
    return atomic_load_explicit(&h->middle, memory_order_relaxed) & HANDOFF_FRESH;
}

/* Reader: slot of the newest value published so far; *fresh says whether it is a new one. */
static inline uint32_t handoff_latest(struct handoff *h, bool *fresh)
{
    *fresh = atomic_load_explicit(&h->middle, memory_order_relaxed) & HANDOFF_FRESH;
    if (*fresh)
        h->read = HANDOFF_SLOT & atomic_exchange_explicit(&h->middle, h->read, memory_order_acq_rel);
    return h->read;
}

#endif
