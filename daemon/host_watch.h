/* host_watch.h - what the main thread notices about itself and its machine: that it hung, that the wall clock was set, that
 * file descriptors run out.  Control depends on none of these; a person who reads the journal does.  Main thread only. */
#ifndef DAEMON_HOST_WATCH_H
#define DAEMON_HOST_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/journal.h"

struct host_watch {
    uint64_t looked_ns;                                  /* when the loop last came by, 0: never      */
    uint64_t stalls, stall_ns;                           /* how often it hung, the longest of them    */
    uint64_t stall_said_ns, stalls_said, stall_worst_ns; /* worst: since it was said */

    uint64_t second_ns; /* when clock and descriptors were looked at */
    int64_t  wall_ns;   /* wall clock less the one that only counts  */
    bool     wall_known;
    uint64_t clock_steps;
    double   clock_step_s; /* the last one                              */

    uint64_t fd_low; /* how often descriptors began to run out    */
    bool     fds_are_low;
};

/* Called every period_ns, or as soon as the loop gets to it.  Events `loop_stall` (250 ms late and more, at most one every
 * ten seconds), `clock_step` (the wall clock was set by more than 0.1 s; a machine that slept does not count) and `fd_low`
 * (fewer than 8 descriptors are left; again once there were 16). */
void host_watch_look(struct host_watch *w, struct journal *j, uint64_t period_ns);

#endif
