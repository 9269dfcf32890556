/* hostile.h - numbers that no filter may be fooled by: zeros, NaN, infinities, the ends of double, the limit and its neighbours. */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include <float.h>
#include <math.h>

#include "daemon/rt/rng.h"

/* limit: of the effort; far: scale of the rest. */
static inline double hostile(struct rng *r, double limit, double far)
{
    static const double special[] = { 0,        -0.0,    (double)NAN, -(double)NAN, (double)INFINITY, -(double)INFINITY, DBL_MAX,
                                      -DBL_MAX, DBL_MIN, -DBL_MIN,    5e-324,       -5e-324,          2e-310,            1e300 };
    switch (rng_below(r, 4)) {
    case 0: return special[rng_below(r, sizeof special / sizeof *special)];
    case 1: return limit * (rng_below(r, 2) ? 1 : -1) * (1 + (double)rng_below(r, 3) * DBL_EPSILON - DBL_EPSILON);
    case 2: return 4 * limit * (rng_uniform(r) - 0.5);
    default: return far * rng_normal(r);
    }
}

#endif
