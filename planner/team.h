/* team.h - several threads that share the units of one piece of work.
 *
 * The leader calls team_run; it works too, and needs nobody: units are claimed one by one, in order, by whoever is
 * there.  What a unit computes must depend on its number alone, then the result is the same with any number of workers.
 * Workers wait for work by spinning for a moment, then by futex; a worker that is preempted delays only the units it has
 * claimed.  Claimed units are always finished before team_run returns. */
#ifndef PLANNER_TEAM_H
#define PLANNER_TEAM_H

#include "daemon/rt/arena.h"

enum { TEAM_MAX = 16 };

struct team;

/* worker: 0 (the leader) .. workers - 1, each with scratch memory of its own. */
typedef void team_work(void *ctx, int worker, int unit);

/* From a zeroed arena; NULL while probing. */
struct team *team_layout(struct arena *a, int workers);

/* Returns how many units were done: all, or the first so many of them, as no unit is begun that, taking as long as the
 * longest of this run (and then `reserve` nanoseconds), would end after the deadline.  UINT64_MAX: no deadline, and no
 * look at the clock. */
int team_run(struct team *t, team_work *work, void *ctx, int units, uint64_t deadline_ns, uint64_t reserve_ns);

/* Longest unit of the last run with a deadline. */
uint64_t team_unit_ns(const struct team *t);

/* The loop of worker 1 .. workers - 1, on a thread of its own, until team_dismiss. */
void team_member(struct team *t, int worker);
void team_dismiss(struct team *t);

#endif
