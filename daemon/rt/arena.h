/* arena.h - one block of memory, carved up at start-up and never again.
 *
 * A module describes its workspace in one layout function, which runs twice: on a probe (base == NULL) to learn
 * the size, then on real memory to bind the pointers.  Size and layout cannot disagree: they are the same text. */
#ifndef RT_ARENA_H
#define RT_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/rt/check.h"

struct arena {
    uint8_t *base; /* NULL while probing                 */
    size_t   size; /* bytes in the block                 */
    size_t   used; /* bytes handed out, padding included */
};

/* A block of megabytes begins on a large page (bytes; x86-64 and most of aarch64) and is advised MADV_HUGEPAGE. */
enum { HUGE_PAGE = 2 << 20 };

#define ARENA_PROBE ((struct arena){ .size = SIZE_MAX / 2 })
#define ARENA_ARRAY(a, T, n) ((T *)arena_take((a), (size_t)(n) * sizeof(T)))

/* Next `bytes` bytes, on a cache line; NULL while probing. */
static inline void *arena_take(struct arena *a, size_t bytes)
{
    size_t at = (a->used + 63) & ~(size_t)63;

    CHECK(at <= a->size && bytes <= a->size - at);
    a->used = at + bytes;
    return a->base ? a->base + at : NULL;
}

#endif
