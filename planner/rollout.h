/* rollout.h - the expected cost of candidate action sequences under the packed ensemble.
 *
 * Owned by one planner; one thread, except rollout_pack (planner_pack).  Memory is laid out once.
 * All candidates meet the same noise (common random numbers), drawn once per planning step, so their costs compare
 * and a kept candidate's cost stays true within the step.  Particle p uses member p mod members (TS-infinity, mean) or
 * a member that changes at every step by a seeded permutation, equally often each (TS1). */
#ifndef PLANNER_ROLLOUT_H
#define PLANNER_ROLLOUT_H

#include "planner/lanes.h"
#include "planner/planner.h"

enum { ROLLOUT_SLOTS = 3 };

#define ROLLOUT_WORST 1e6f /* cost of a candidate that is not finite or worse than this (PETS code) */

struct rollout {
    struct team            *team;      /* whoever works on it; the planner's                              */
    const struct lanes_ops *ops;
    struct task             task;
    struct model_dims       dims;
    int                     horizon;
    int                     particles; /* evaluated: one per member for PARTICLES_MEAN                    */
    enum particle_kind      propagation;
    struct lanes_net        net[ROLLOUT_SLOTS];

    uint8_t *member;  /* particles x horizon                                             */
    float   *z;       /* particles x horizon x nx, rounded up to LANES_NORMALS           */
    float   *start;   /* members x nx: state at the plan's beginning, each member's own  */
    float   *act;     /* horizon x na x tile                                             */
    float   *x;       /* nx x tile                                                       */
    float   *buf[2];  /* layer by layer                                                  */
    float   *cost;    /* tile                                                            */
    double  *sum;     /* tile: over particles                                            */
    uint64_t unit_ns; /* longest tile of one particle so far in this step                */
};

/* Takes memory for the given sizes; r->ops may still be NULL while probing. */
void rollout_layout(struct rollout *r, struct arena *a, const struct planner_config *c, const struct model_dims *d);

/* See planner_pack. */
void rollout_pack(struct rollout *r, int slot, const struct ensemble *e);

/* A new planning step: noise and members by the seed; the state, rolled forward under pending (na) unless NULL. */
void rollout_begin(struct rollout *r, int slot, const float *x, const float *pending, uint64_t seed);

/* Expected cost of n candidates (n x horizon x na): 0 .. ROLLOUT_WORST, or negative where a task rewards.
 * Returns how many were done when the next tile would have passed the deadline; n without deadline (UINT64_MAX). */
int rollout_evaluate(struct rollout *r, int slot, int n, const float *act, float *cost, uint64_t deadline_ns);

/* What the members expect of the first action (na): mean over them (nx), and their disagreement (struct plan). */
void rollout_predict(struct rollout *r, int slot, const float *action, float *predicted, double *spread);

#endif
