/* search.h - where candidates come from and what is learned from their costs: random shooting, CEM, iCEM.
 *
 *   random   uniform within the bounds.
 *   cem      PETS (Chua et al. 2018, the published code): mean shifted, zeros appended; variance (high - low)^2 / 16 at
 *            every planning step, limited so that two standard deviations stay within the bounds; normal noise
 *            truncated at two; refit on the elites; stops when the largest variance falls below epsilon.
 *   icem     Pinneri et al. 2020: noise whose spectrum falls as 1 / f^beta, clipped; shrinking population; the best of
 *            the last iteration carried on with their costs, those of the last planning step shifted in at the first
 *            iteration; the mean itself tried at the last.  Mean shifted, last action repeated.
 *
 * A sequence is horizon x na floats.  Cost is to be minimised and never NaN (rollout.h).  Memory is laid out once; one
 * thread.  Random numbers depend on the seed and the iteration alone. */
#ifndef PLANNER_SEARCH_H
#define PLANNER_SEARCH_H

#include "planner/lanes.h"
#include "planner/planner.h"

struct search;

/* One row of the table. */
struct search_kind {
    const char *name;
    bool        append_zero;                                      /* to the shifted mean, else its last action */
    const char *(*error)(const struct planner_config *c, int na); /* NULL, or what is wrong with the settings  */
    void (*begin)(struct search *s);                              /* mean has been shifted or reset            */
    int (*sample)(struct search *s, int it, uint64_t seed);       /* fills act; returns how many               */
    bool (*refit)(struct search *s);                              /* from rank; true: nothing left to gain     */
};

struct search {
    const struct search_kind *kind;
    const struct lanes_ops   *ops;
    struct planner_config     config;
    struct action_bounds      bounds;

    int    n;                /* floats of a sequence                                              */
    int    nkeep;            /* iCEM: elites carried on                                           */
    int    stride;           /* of a column of colour: horizon rounded up to LANES_BLOCK          */
    float *mean, *var, *std; /* n: what candidates are drawn from; std as used in this iteration  */
    float *act, *cost;       /* population + nkeep sequences, and their costs                     */
    int   *rank;             /* indices into act, best first ...                                  */
    int    elites;           /* ... so many of them                                               */
    float *kept, *kept_cost; /* nkeep sequences carried on, best first ...                        */
    int    kept_count;       /* ... so many of them ...                                           */
    int    kept_valid;       /* ... so many floats of each: time has moved on                     */
    float *best;             /* n: best sequence of this planning step; the mean before there is any */
    double best_cost;        /* infinite before                                                   */
    double elite_cost;       /* mean cost of the elites of the last refit                         */
    float *colour;           /* horizon columns of stride                                         */
    float *z, *y;            /* normals of one sequence, one coloured sequence                    */
};

/* NULL for an unknown name. */
const struct search_kind *search_find(const char *name);

void search_layout(struct search *s, struct arena *a, const struct planner_config *c, int na);

/* After search_layout on real memory; s->ops is set. */
void search_init(struct search *s, const struct action_bounds *bounds);

/* A new planning step, `shift` planner steps after the last one; reset forgets what was learned. */
void search_begin(struct search *s, bool reset, int shift);

/* Draws the candidates of iteration `it`; returns how many are to be evaluated, first in s->act. */
int search_sample(struct search *s, int it, uint64_t seed);

/* Takes the costs of the first n candidates (s->cost).  True: further iterations would change nothing. */
bool search_refit(struct search *s, int it, int n);

#endif
