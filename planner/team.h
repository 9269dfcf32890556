/* team.h - several threads that share the units of one piece of work.
 *
 * The leader calls team_run; it works too, and needs nobody: units are claimed one by one, in order, by whoever is
 * there.  What a unit computes must depend on its number alone, then the result is the same with any number of workers.
 * Whoever waits spins for a moment (0.1 to 0.3 ms), then sleeps by futex: no real-time thread ever spins for long, and a team
 * without work costs nothing.  The leader makes a system call only where somebody sleeps (it wakes them) or where it must
 * wait for a claimed unit for longer than that moment.
 * Claimed units are always finished before team_run returns, so their memory is the caller's again.  The price: a worker
 * that is preempted within a unit delays the return until it goes on (one that is preempted elsewhere, or never comes,
 * delays nothing). */
#ifndef PLANNER_TEAM_H
#define PLANNER_TEAM_H

#include "daemon/rt/arena.h"

enum { TEAM_MAX = 16 };

struct team;

/* worker: 0 (the leader) .. workers - 1, each with scratch memory of its own. */
typedef void team_work(void *ctx, int worker, int unit);

/* A team of `workers` (1 .. TEAM_MAX), the leader included; NULL while probing.  The memory is the arena's. */
struct team *team_layout(struct arena *a, int workers);

/* The leader's thread, one run at a time; units: 0 .. 2^24 - 1.  Returns how many units were done: all, or the first so
 * many of them, as no unit is begun that, taking as long as the longest of this run (and then `reserve` nanoseconds),
 * would end after the deadline (CLOCK_MONOTONIC).  UINT64_MAX: no deadline, and no look at the clock. */
int team_run(struct team *t, team_work *work, void *ctx, int units, uint64_t deadline_ns, uint64_t reserve_ns);

/* Longest unit of the last run with a deadline, nanoseconds, over all workers.  The leader's thread, between runs. */
uint64_t team_unit_ns(const struct team *t);

/* The loop of worker 1 .. workers - 1, on a thread of its own, until team_dismiss (any thread; for good).  Members may come
 * at any time and leave at the end of a run; the leader then goes on with whoever is left. */
void team_member(struct team *t, int worker);
void team_dismiss(struct team *t);

#endif
