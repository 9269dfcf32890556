/* filter.h - the last gate before the motors.
 *
 * No clock, no I/O; what it must remember, its caller keeps in a struct filter_window.  For every joint, in this order:
 *
 *     unactuated               ->  0
 *     1 non-finite wish        ->  the baseline's effort; that non-finite too -> 0 and FILTER_DAMP     FILTER_NONFINITE
 *     2 near a position limit  ->  no effort towards it where v^2 > 2 brake (distance - 2 ticks' way)  FILTER_ENVELOPE
 *     3 too large              ->  clipped to +- effort                                                FILTER_ABSOLUTE
 *     4 too fast a change      ->  since the effort sent last: away from zero by at most `up`,
 *                                  towards it by at most `down`                                        FILTER_RATE
 *     5 too much growth        ->  by at most `growth` above the least of the last 250 ms              FILTER_WINDOW
 *     6 too much power         ->  clipped to |effort x velocity| <= power                             FILTER_POWER
 *     7 non-finite after all   ->  0 and FILTER_DAMP (cannot happen; checked because it must not)
 *
 * Stages 2, 3, 5 and 6 each leave an interval around zero, so they never contradict each other.  They can ask for less
 * effort than stage 4 lets go at once: then the effort falls by exactly `down` a tick until it is where they want it.
 * What was sent last is within the absolute limit, so that one holds at every tick.
 *
 * 2: braking distance, safety.md 3.3; the way of two ticks is what a joint goes before an effort asked for now has acted.
 * 5: as real-time limits on steering torque work (opendbc, safety.h: rt_torque_rate_limit_check): slow pumping. */
#ifndef DAEMON_FILTER_H
#define DAEMON_FILTER_H

#include "proto/robot.h"

/* No configuration can ask for more: N m, or N.  Build with less for a robot that is to be limited for good. */
#ifndef FILTER_EFFORT_CEILING
#define FILTER_EFFORT_CEILING 1e5
#endif

enum filter_stage {
    STAGE_NONFINITE,
    STAGE_ENVELOPE,
    STAGE_ABSOLUTE,
    STAGE_RATE,
    STAGE_WINDOW,
    STAGE_POWER,
    STAGE_DAMP,
    FILTER_STAGES,
};
enum {
    FILTER_NONFINITE = 1 << STAGE_NONFINITE,
    FILTER_ENVELOPE  = 1 << STAGE_ENVELOPE,
    FILTER_ABSOLUTE  = 1 << STAGE_ABSOLUTE,
    FILTER_RATE      = 1 << STAGE_RATE,
    FILTER_WINDOW    = 1 << STAGE_WINDOW,
    FILTER_POWER     = 1 << STAGE_POWER,
    FILTER_DAMP      = 1 << STAGE_DAMP,
};

/* Per joint; of stages 2, 5 and 6 infinity says that the joint has none. */
struct filter_limits {
    int    nj;
    double tick_s;
    bool   actuated[MAX_JOINTS];
    double effort[MAX_JOINTS]; /* N m or N                                          */
    double up[MAX_JOINTS];     /* N m or N per tick, away from zero                 */
    double down[MAX_JOINTS];   /* the same towards zero; at least `up`              */
    double low[MAX_JOINTS];    /* position limits, rad or m                         */
    double high[MAX_JOINTS];
    double brake[MAX_JOINTS];  /* rad/s^2 or m/s^2 that the joint can surely brake with */
    double growth[MAX_JOINTS]; /* N m or N within 250 ms                            */
    double power[MAX_JOINTS];  /* W                                                 */
};

/* Least and greatest effort sent in each eighth of the last 250 ms, and in the one under way. */
enum { WINDOW_PARTS = 9 };
struct filter_window {
    int    part, ticks; /* under way; ticks in it so far                     */
    double least[WINDOW_PARTS][MAX_JOINTS], most[WINDOW_PARTS][MAX_JOINTS];
};

/* What the filter judges: nj each.  last: sent at the tick before, 0 where that was no torque. */
struct filter_input {
    const double *want, *baseline, *last, *position, *velocity;
};

/* A joint at this distance from a limit, rad or m, and moving towards it at v could still stop before it; false where a
 * number is none. */
bool filter_can_stop(double distance, double v, double brake, double tick_s);

/* Writes nj efforts that are finite and within limits, whatever came in; returns the bits of the stages that changed any.
 * `window` must be of the last ticks: filter_sent() after every one of them. */
uint32_t filter_effort(const struct filter_limits *lim, const struct filter_window *window,
                       const struct filter_input *in, double *out);

/* This tick sent these efforts (zeros where it was no torque). */
void filter_sent(const struct filter_limits *lim, struct filter_window *window, const double *sent);

#endif
