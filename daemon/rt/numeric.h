/* numeric.h - how the floating point unit of a real-time thread is set: rounds to nearest, flushes denormals to zero (they
 * would cost a hundred times as much), raises nothing.  x86-64 only; elsewhere as the system set it. */
#ifndef RT_NUMERIC_H
#define RT_NUMERIC_H

#include <stdbool.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* MXCSR: exceptions masked (0x1f80), flush to zero (0x8000), denormals are zero (0x40), rounding 0.  The lowest six bits
 * only say what has been seen.  Intel SDM vol. 1, 10.2.3. */
enum { NUMERIC_MXCSR = 0x9fc0, NUMERIC_SEEN = 0x3f };

static inline void numeric_set(void)
{
#if defined(__x86_64__)
    _mm_setcsr(NUMERIC_MXCSR);
#endif
}

/* Is the calling thread's unit still set like that?  A few ns. */
static inline bool numeric_ok(void)
{
#if defined(__x86_64__)
    return (_mm_getcsr() & ~(unsigned)NUMERIC_SEEN) == NUMERIC_MXCSR;
#else
    return true;
#endif
}

#endif
