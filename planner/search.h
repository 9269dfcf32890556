/* search.h - where candidates come from and what is learned from their costs: one row of a table per planner.
 *
 *   random    uniform within the bounds.
 *   cem       PETS (Chua et al. 2018, the published code): normal truncated at two standard deviations, refit on elites.
 *   icem      Pinneri et al. 2020: coloured noise, clipped; shrinking population; elites carried on and shifted.
 *   mppi      Williams et al. 2017: information-theoretic weights, softmax of minus the cost.
 *   pddm      Nagabandi et al. 2019: noise filtered in time, weights exp(kappa (R - max R)).
 *   cmaes     Hansen 2016: covariance matrix adaptation; its diagonal alone (Ros & Hansen 2008) in many dimensions.
 *   gradient  Adam through the model on a few sequences at once.
 *   cemgd     Huang et al. 2021: CEM, then Adam on the best few.
 *
 * The file of each says more.  A sequence is horizon x na floats.  The search may know fewer: a point is `points` x na
 * floats, decisions that are knots of a spline or that are repeated (search_knots.c); as a rule point and sequence are
 * the same.  Cost is to be minimised; one that is not finite is the worst.  Memory is laid out once; one thread.  Random
 * numbers depend on the seed and the iteration alone. */
#ifndef PLANNER_SEARCH_H
#define PLANNER_SEARCH_H

#include <float.h>

#include "planner/lanes.h"
#include "planner/planner.h"

enum {
    SEARCH_POLISH = 16,       /* CEM-GD polishes at most so many                                            */
    SEARCH_FULL   = 32,       /* CMA-ES: dimensions up to which it learns the whole covariance              */
    SEARCH_BANK   = 16 << 20, /* bytes of noise drawn ahead at most; what is beyond is drawn when it is due */
};

#define SEARCH_WORST FLT_MAX /* what a cost that is not finite counts as */

struct search;

/* Unit noise of a candidate, before the mean and the spread of a method make an action of it. */
enum noise_kind {
    NOISE_UNIFORM, /* in (0, 1)                                          */
    NOISE_NORMAL,
    NOISE_TRUNCATED, /* normal, truncated at two                           */
    NOISE_COLOURED,  /* normal, power along time falls as 1 / f^noise_beta */
};

/* One row of the table. */
struct search_kind {
    const char     *name;
    enum noise_kind noise;
    bool            append_zero; /* to the shifted mean, else its last action */
    bool            gradient;    /* wants gradients of some iterations        */

    const char *(*error)(const struct planner_config *c, int na); /* NULL, or what is wrong with the settings         */
    int (*ranked)(const struct planner_config *c);                /* how many of the best a refit looks at            */
    int (*draws)(const struct planner_config *c, int it, bool reset); /* candidates that iteration `it` draws anew    */
    void (*layout)(struct search *s, struct arena *a); /* its own memory; NULL: none                       */
    void (*begin)(struct search *s);                   /* mean has been shifted or reset                   */

    /* Fills x for iteration `it`, from n rows of unit noise where it draws; returns how many candidates.  z may be x. */
    int (*sample)(struct search *s, int it, int n, const float *z);
    bool (*refit)(struct search *s, int it, int n); /* from rank and cost; true: nothing left to gain */
};

struct search {
    const struct search_kind *kind;
    const struct lanes_ops   *ops;
    struct planner_config     config;
    struct action_bounds      bounds;

    int    points;            /* decisions of a point; the horizon as a rule                         */
    int    n, full;           /* floats of a point, of a sequence                                    */
    int    rows;              /* candidates at most                                                  */
    int    iterations;        /* in all, polishing included                                          */
    int    nkeep;             /* iCEM, CEM-GD: candidates carried on                                 */
    float *basis, *inverse;   /* sequence = basis (horizon x points) point; NULL: they are the same  */
    float *low, *high;        /* n                                                                   */
    bool   reset;             /* this planning step began with a reset                               */
    float  previous[MAX_ACT]; /* action executed last; mid-range before there is any                 */
    float *mean, *var, *std;  /* n: what candidates are drawn from; std as used in this iteration    */
    float *x;                 /* rows + nkeep points: candidates                                     */
    float *act, *cost;        /* their sequences (x itself where the same), and their costs          */
    float *slope;             /* rows sequences: gradients of the costs                              */
    bool   gradient;          /* slope is wanted of this iteration                                   */
    int   *rank;              /* indices into x, best first ...                                      */
    int    elites;            /* ... so many of them                                                 */
    float *kept, *kept_cost;  /* nkeep points carried on, best first ...                             */
    int    kept_count;        /* ... so many of them ...                                             */
    int    kept_valid;        /* ... so many floats of each: time has moved on                       */
    int    fixed;             /* candidates that were not drawn, first in x                          */
    float *best;              /* n: best point of this planning step; the mean before there is any   */
    double best_cost;         /* infinite before                                                     */
    double elite_cost;        /* mean cost of what the mean was made of in the last refit            */

    float   *bank;        /* noise drawn ahead ...                                               */
    size_t   bank_floats; /* ... room for so much ...                                            */
    int      bank_its;    /* ... so many iterations of ...                                       */
    uint64_t bank_seed;   /* ... this seed                                                       */
    int      stride;      /* of a column of colour: horizon rounded up to LANES_BLOCK            */
    float   *colour;      /* points columns of stride                                            */
    float   *z, *y;       /* noise of one point, one action's                                    */
    double  *sum;         /* 2 n                                                                 */
    double  *score;       /* MPPI, PDDM: rows: what the weights are made of                      */
    float   *sequence;    /* full: search_plan's answer                                          */

    struct {              /* Adam on several points (search_gradient.c, search_cemgd.c) */
        float *m, *v;     /* rows of it x n: moments of the gradient, units of cost per half range */
        int   *t;         /* rows of it: steps taken                                               */
        float *g, *start; /* n: one gradient; where the search began                               */
    } adam;
    struct {
        int    who[SEARCH_POLISH]; /* which kept point a candidate wants to replace */
        int    tries[SEARCH_POLISH];
        double rate[SEARCH_POLISH]; /* of half the range                             */
    } polish;
    struct {           /* search_cmaes.c; coordinates are in initial standard deviations */
        bool    whole; /* C and axes are n x n, else n: the diagonal   */
        double  sigma;
        double *C, *axes, *work; /* axes: eigenvectors by row; work like C       */
        double *length;          /* n: square roots of the eigenvalues           */
        double *ps, *pc, *y, *w; /* n, n, 3 n, ranked                            */
        double  stale;           /* iterations since the axes are of C           */
    } cma;
};

/* NULL for an unknown name. */
const struct search_kind *search_find(const char *name);
const char *const        *search_names(void);

/* Whether a planner ever asks for gradients; false for an unknown name. */
bool search_wants_gradient(const char *name);

/* What is wrong with the settings of the search, as "KEY: expected ...", or NULL; c->name is known. */
const char *search_error(const struct planner_config *c, int na);

void search_layout(struct search *s, struct arena *a, const struct planner_config *c, int na);

/* After search_layout on real memory; s->ops is set. */
void search_init(struct search *s, const struct action_bounds *bounds);

/* Draws the noise of a planning step with this seed ahead, as much of it as the bank holds.  Between planning steps. */
void search_prepare(struct search *s, uint64_t seed);

/* A new planning step, `shift` planner steps after the last one; reset forgets what was learned.  executed (na): the
 * action before the plan begins; NULL: that of the last plan. */
void search_begin(struct search *s, bool reset, int shift, const float *executed);

/* Draws the candidates of iteration `it`; returns how many are to be evaluated, first in s->act.  With s->gradient,
 * s->slope is wanted too. */
int search_sample(struct search *s, int it, uint64_t seed);

/* Puts n sequences in the place of candidates just drawn, as many as there are; of those the first may be displaced that
 * search_sample did not draw.  A number that is not finite leaves the candidate as it was drawn; out of bounds is clipped. */
void search_propose(struct search *s, int count, int n, const float *sequences);

/* Takes the costs of the first n candidates (s->cost).  True: further iterations would change nothing. */
bool search_refit(struct search *s, int it, int n);

/* The sequence that is executed, best or mean, and what it is expected to cost; the search's until its next call. */
const float *search_plan(struct search *s, double *cost);

#endif
