/* core_effort.h - whether efforts stand at their limit, jump from one side to the other, or do too much work.  The core's
 * own, and of `limber bench gates`, which looks at recorded runs with it.  No clock, no memory of its own. */
#ifndef DAEMON_CORE_EFFORT_H
#define DAEMON_CORE_EFFORT_H

#include "daemon/filter.h"

struct effort_watch {
    int    end[MAX_JOINTS];       /* of its limit at which the effort in force stands: -1, 1; 0: at neither       */
    double stood_s[MAX_JOINTS];   /* there, when that effort was sent                                            */
    int    side[MAX_JOINTS];      /* on which it was beyond half its limit last: -1, 1; 0: on neither so far      */
    double reversals[MAX_JOINTS]; /* from one side to the other, per second: mean over about one                  */
    double work[MAX_JOINTS];      /* J by which it drove the joint on in about the last second; braking counts 0  */
};

struct effort_tick {
    const double *in_force, *effort, *velocity; /* nj each: sent before, about to be sent, measured */
};

/* Of the joint that is worst, and which one that is. */
struct effort_worst {
    int    dwell_joint, reversals_joint, work_joint;
    double dwell_s;   /* that the effort in force until now stood at one end */
    double reversals; /* per second                                          */
    double work;      /* J, of all joints together                           */
};

/* Efforts (nj, finite) are about to be sent, gap_s after those that are in force, with the joints at these velocities (nj,
 * finite, rad/s or m/s).  Reversals are counted where `count` says so, else forgotten. */
struct effort_worst effort_watch(struct effort_watch *w, const struct filter_limits *lim,
                                 const struct filter_window *window, const struct effort_tick *now, double gap_s,
                                 bool count);

#endif
