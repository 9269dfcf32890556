/* filter.h - the last gate before the motors.  safety.md's order, first form: finite, absolute, rate.
 *
 * Pure: no clock, no I/O, no memory of its own.  For every joint, in this order:
 *
 *     unactuated                 ->  0
 *     non-finite wish            ->  the baseline's effort; that non-finite too -> 0 and FILTER_DAMP
 *     too large                  ->  clipped to +- effort                          FILTER_ABSOLUTE
 *     too fast a change          ->  clipped to last +- rate                       FILTER_RATE
 *     non-finite all the same    ->  0 and FILTER_DAMP (cannot happen; checked because it must not)
 *
 * The rate is judged against the effort actually sent last, so the absolute limit holds after the rate limit too. */
#ifndef DAEMON_FILTER_H
#define DAEMON_FILTER_H

#include "proto/robot.h"

enum { FILTER_NONFINITE = 1, FILTER_ABSOLUTE = 2, FILTER_RATE = 4, FILTER_DAMP = 8 };

struct filter_limits {
    int    nj;
    bool   actuated[MAX_JOINTS];
    double effort[MAX_JOINTS]; /* N m or N                */
    double step[MAX_JOINTS];   /* N m or N per tick       */
};

/* want, baseline, last, out: nj efforts.  Writes efforts that are finite and within limits, whatever came in; `last`
 * must be what this filter wrote before (or zero).  Returns the bits of the stages that changed anything. */
uint32_t filter_effort(const struct filter_limits *lim, const double *want, const double *baseline, const double *last,
                       double *out);

#endif
