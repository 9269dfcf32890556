/* ring.h - every record crosses, in order; one writer, one reader, and a counter for what did not fit.
 *
 * The indices only; the slots belong to the user: `T slot[RING]`, slot[ring_...() % RING]. */
#ifndef RT_RING_H
#define RT_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring {
    uint64_t         size;    /* slots                      */
    _Atomic uint64_t head;    /* next to write; writer's    */
    _Atomic uint64_t tail;    /* next to read; reader's     */
    _Atomic uint64_t dropped; /* records that did not fit   */
};

static inline void ring_init(struct ring *r, uint64_t size)
{
    r->size = size;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    atomic_init(&r->dropped, 0);
}

/* Writer: true and the slot to fill, or false (counted) where the reader is too far behind. */
static inline bool ring_claim(struct ring *r, uint64_t *slot)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= r->size) {
        atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
        return false;
    }
    *slot = head % r->size;
    return true;
}

/* Writer: the claimed slot is full. */
static inline void ring_push(struct ring *r)
{
    atomic_fetch_add_explicit(&r->head, 1, memory_order_release);
}

/* Reader: true and the oldest slot, or false where there is none. */
static inline bool ring_peek(struct ring *r, uint64_t *slot)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
        return false;
    *slot = tail % r->size;
    return true;
}

/* Reader: done with the oldest slot. */
static inline void ring_pop(struct ring *r)
{
    atomic_fetch_add_explicit(&r->tail, 1, memory_order_release);
}

#endif
