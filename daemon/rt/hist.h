/* hist.h - latency histogram with fixed memory: 32 linear steps per power of two (3 % resolution), 1 ns to 18 min.
 *
 * One writer; readers see each counter whole, and a sum that may lag by the record being written. */
#ifndef RT_HIST_H
#define RT_HIST_H

#include <stdatomic.h>
#include <stdint.h>

enum { HIST_SUB = 5, HIST_OCTAVES = 36, HIST_BUCKETS = HIST_OCTAVES << HIST_SUB };

struct hist {
    _Atomic uint64_t bucket[HIST_BUCKETS];
    _Atomic uint64_t count;
    _Atomic uint64_t max_ns;
};

static inline int hist_index(uint64_t ns)
{
    if (ns < (1u << HIST_SUB))
        return (int)ns;
    int top = 63 - __builtin_clzll(ns);
    int i   = ((top - HIST_SUB + 1) << HIST_SUB) + (int)((ns >> (top - HIST_SUB)) & ((1u << HIST_SUB) - 1));
    return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

/* Largest value that falls into bucket i. */
static inline uint64_t hist_upper(int i)
{
    int octave = i >> HIST_SUB, sub = i & ((1 << HIST_SUB) - 1);

    if (octave == 0)
        return (uint64_t)sub;
    return (((uint64_t)sub + (1u << HIST_SUB) + 1) << (octave - 1)) - 1;
}

static inline void hist_add(struct hist *h, uint64_t ns)
{
    atomic_fetch_add_explicit(&h->bucket[hist_index(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    if (ns > atomic_load_explicit(&h->max_ns, memory_order_relaxed))
        atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

/* Value below or at which the fraction q of all records lies; 0 without records. */
static inline uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t total = atomic_load_explicit(&h->count, memory_order_relaxed), seen = 0;
    uint64_t max   = atomic_load_explicit(&h->max_ns, memory_order_relaxed);

    for (int i = 0; i < HIST_BUCKETS && total; i++) {
        seen += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        if ((double)seen >= q * (double)total)
            return hist_upper(i) < max ? hist_upper(i) : max;
    }
    return max;
}

#endif
