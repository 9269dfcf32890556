/* rollout.h - the expected cost of candidate action sequences under the packed ensemble.
 *
 * Owned by one planner; called by one thread, except rollout_pack (planner_pack).  Memory is laid out once.
 * The work is cut into units for a team (team.h): a tile of candidates with one particle (MM: with all), candidates in
 * order, so that the first so many units are the first so many candidates.  What a unit computes does not depend on who
 * does it, and costs are added up in a fixed order: the same bits with any number of workers.
 * All candidates meet the same noise (common random numbers), drawn once per planning step, so their costs compare
 * and a kept candidate's cost stays true within the step.  Particle p uses member p mod members (TS-infinity, mean) or
 * a member that changes at every step by a seeded permutation, equally often each (TS1). */
#ifndef PLANNER_ROLLOUT_H
#define PLANNER_ROLLOUT_H

#include "planner/lanes.h"
#include "planner/planner.h"

enum { ROLLOUT_SLOTS = 3 };

#define ROLLOUT_WORST 1e6f /* cost of a candidate that is not finite or worse than this (PETS code) */

/* What one worker works with. */
struct rollout_scratch {
    float   *act;                         /* horizon x na x tile: the candidates of ... */
    int      held;                        /* ... this whole tile; -1: others            */
    float   *x, *noise, *moment, *buf[2], *cost; /* see struct lanes_job                */
    uint64_t ticks[LANES_TICKS];
};

struct rollout {
    const struct lanes_ops *ops;
    struct task             task;
    struct model_dims       dims;
    int                     horizon;
    int                     particles; /* evaluated: one per member for PARTICLES_MEAN                  */
    enum particle_kind      propagation;
    double                  risk;
    int                     nrange;
    struct state_range      range[MAX_OBS];
    bool                    exact;
    bool                    timed; /* add up ticks                                                      */
    struct lanes_net        net[ROLLOUT_SLOTS];
    struct team            *team; /* the planner's; set before rollout_layout                            */
    int                     workers;

    bool     drawn;   /* z and member are those of ...                                          */
    uint64_t seed;    /* ... this seed                                                          */
    uint8_t *member;  /* particles x horizon                                                    */
    float   *z;       /* particles x horizon x nx (MM: twice), rounded up to LANES_NORMALS      */
    float   *start;   /* members x nx: state at the plan's beginning, each member's own         */
    int      most;    /* candidates that are evaluated at a time                                */
    float   *cost;    /* particles (MM: 1) x most                                               */
    uint64_t unit_ns; /* longest unit of the last evaluation with a deadline                    */

    /* Of the evaluation that the team is at: */
    int          slot, n;
    const float *candidates;
    int          per_tile; /* units of a whole tile                                             */
    int          whole;    /* whole tiles; what is left over is packed: see lay_rest            */
    int          sets;     /* particles of one member that the rest packs side by side          */

    struct rollout_scratch scratch[TEAM_MAX]; /* by worker */
};

/* Takes memory for the given sizes; r->ops may still be NULL while probing. */
void rollout_layout(struct rollout *r, struct arena *a, const struct planner_config *c, const struct model_dims *d);

/* See planner_pack. */
void rollout_pack(struct rollout *r, int slot, const struct ensemble *e);

/* Draws noise and members of a planning step with this seed ahead; rollout_begin draws them itself otherwise. */
void rollout_prepare(struct rollout *r, uint64_t seed);

/* A new planning step: noise and members by the seed; the state, rolled forward under pending (na) unless NULL. */
void rollout_begin(struct rollout *r, int slot, const float *x, const float *pending, uint64_t seed);

/* Expected cost of n candidates (n x horizon x na): 0 .. ROLLOUT_WORST, or negative where a task rewards.
 * Returns how many were done when the next unit would have passed the deadline; n without deadline (UINT64_MAX). */
int rollout_evaluate(struct rollout *r, int slot, int n, const float *act, float *cost, uint64_t deadline_ns);

/* Rows of the nets for n candidates: one per candidate, particle and step (DS: and member). */
uint64_t rollout_rows(const struct rollout *r, int n);

/* With timed set, ticks of all workers by phase since the last call, any unit; LANES_TICKS of them. */
void rollout_ticks(struct rollout *r, uint64_t *ticks);

/* What the members expect of the first action (na): at most so many steps of each. */
enum { ROLLOUT_PREDICT_STEPS = 3 };
void rollout_predict(struct rollout *r, int slot, const float *action, struct expectation *p);

/* Standard deviation about their mean of n costs, `next` floats apart: what risk is counted in. */
double rollout_deviation(const float *cost, int n, int next, double mean);

#endif
