/* filter.h - the last gate before the motors.
 *
 * No clock, no I/O; what it must remember, its caller keeps in a struct filter_window.  For every joint, in this order:
 *
 *     unactuated               ->  0
 *     1 non-finite wish        ->  the baseline's effort; that non-finite too -> 0 and FILTER_DAMP     FILTER_NONFINITE
 *     2 near a position limit  ->  no effort towards it where v^2 > 2 brake (distance - 2 ticks' way)  FILTER_ENVELOPE
 *     3 too large              ->  clipped to +- effort                                                FILTER_ABSOLUTE
 *       too large for its heat ->  clipped to +- what lies between effort and `continuous`, see below  FILTER_THERMAL
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
 * 3: heat h is 1 where `continuous` would bring it in the end.  With u = |effort| / continuous, dh/dt = (u^2 - h) / heat_s: the
 *    first-order thermal model of servo drives' I2t protection (Parker, AC30 series manual, Motor Load: rated current and
 *    thermal time constant, "a simple 1st order low pass filter"), here solved for what each tick sends: h' = keep h +
 *    (1 - keep) u^2.  The limit is `effort` up to h = 0.8, then falls linearly, and is `continuous` from h = 1 on.
 *    Bound, with P = effort / continuous: in one tick the limit falls by at most the share s = 5 (1 - keep) (P^2 - 0.8) of
 *    effort - continuous.  Where s <= 1 and s (effort - continuous) <= down, as config_load() insists, what is sent stays
 *    within it, and h never exceeds 1 (but for rounding): at h = 1 - x, 0 <= x <= 0.2, u <= 1 + 5 (P - 1) x, so that
 *    h' - h <= (1 - keep) (u^2 - 1 + x) <= (1 - keep) (5 P^2 - 4) x = s x <= x; below, h' <= 0.8 + s / 5 <= 1.
 *    Whatever the limits are, one tick at P and the way down from there are all that comes on top of 1:
 *    h <= 1 + (1 - keep) sum of (P - i down / continuous)^2 - 1 over i = 0, 1, ... while the root is above 1.
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
    STAGE_THERMAL, /* after STAGE_ABSOLUTE in the filter; here, so that bits of recordings keep their meaning */
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
    FILTER_THERMAL   = 1 << STAGE_THERMAL,
};

/* Per joint; brake, growth, power and continuous: infinity says that the joint has none. */
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
    double continuous[MAX_JOINTS]; /* N m or N that the motor can hold for good     */
    double keep[MAX_JOINTS];   /* share of its heat that it has left after a tick at rest: exp(-tick_s / heat_s) */
};

/* What was sent, as far as it still matters: the least and greatest effort in each eighth of the last 250 ms and in the one
 * under way, and the heat.  Zeros are a robot at rest whose motors are hot: how warm they were before, nobody knows. */
enum { WINDOW_PARTS = 9 };
struct filter_window {
    int    part, ticks; /* under way; ticks in it so far                     */
    double least[WINDOW_PARTS][MAX_JOINTS], most[WINDOW_PARTS][MAX_JOINTS];
    double cool[MAX_JOINTS]; /* 1 - heat, of joints with `continuous`        */
    double late_s;           /* that ticks came late, less what was made up for; below 0: early */
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

/* The most that joint j gets now, N m or N: its limit, or less where it is hot. */
double filter_most(const struct filter_limits *lim, const struct filter_window *window, int j);

/* gap_s since the tick before, in which these efforts (nj, sent then) were in force: heat goes by time, not by ticks.  What is
 * late or early adds up until it makes a tick; of a gap of more than a hundred ticks (nothing is in force for so long) no more
 * counts.  At the beginning of every tick but the first. */
void filter_time(const struct filter_limits *lim, struct filter_window *window, const double *in_force, double gap_s);

/* This tick sent these efforts (zeros where it was no torque). */
void filter_sent(const struct filter_limits *lim, struct filter_window *window, const double *sent);

#endif
