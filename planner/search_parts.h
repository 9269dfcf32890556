/* search_parts.h - what the files of the search share; see search.h. */
#ifndef PLANNER_SEARCH_PARTS_H
#define PLANNER_SEARCH_PARTS_H

#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "planner/rollout.h"
#include "planner/search.h"

extern const struct search_kind search_random, search_cem, search_icem, search_mppi, search_pddm, search_cmaes,
    search_gradient, search_cemgd;

/* Comparisons, so that a NaN would stay one. */
static inline float search_clip(const struct search *s, int i, float x)
{
    return x < s->low[i] ? s->low[i] : x > s->high[i] ? s->high[i] : x;
}

static inline double search_half(const struct search *s, int i)
{
    return 0.5 * ((double)s->high[i] - (double)s->low[i]);
}

static inline float search_middle(const struct search *s, int i)
{
    return search_clip(s, i, (float)(0.5 * ((double)s->high[i] + (double)s->low[i])));
}

static inline float *search_row(const struct search *s, float *base, int i)
{
    return base + (size_t)i * (size_t)s->n;
}

static inline const float *search_noise(const struct search *s, const float *z, int i)
{
    return z + (size_t)i * (size_t)s->n;
}

static inline void search_copy(const struct search *s, float *to, const float *from)
{
    memcpy(to, from, (size_t)s->n * sizeof *to);
}

/* A cost that says that something was not finite; its gradient says nothing. */
static inline bool search_failed(float cost)
{
    return cost >= SEARCH_WORST || cost == ROLLOUT_WORST;
}

/* Initial standard deviation of coordinate i. */
static inline double search_std(const struct search *s, int i)
{
    return s->config.init_std[i % s->bounds.na] * search_half(s, i);
}

/* For the table. */
int         search_one(const struct planner_config *c);
int         search_elites(const struct planner_config *c);
int         search_population(const struct planner_config *c, int it, bool reset);
const char *search_no_error(const struct planner_config *c, int na);
const char *search_init_std_error(const struct planner_config *c, int na);
const char *search_elites_error(const struct planner_config *c); /* alpha and elites */

/* The first n candidates: mean + std times their noise, within the bounds. */
void search_draw(struct search *s, int n, const float *z);

/* mppi and pddm: std of iteration `it`, smaller by `anneal` each time; errors of its settings; memory for the scores. */
void        search_anneal(struct search *s, int it);
const char *search_weighted_error(const struct planner_config *c, int na);
void        search_weighted_layout(struct search *s, struct arena *a);

/* var <- (init_std half range)^2. */
void search_begin_var(struct search *s);

/* mean <- alpha mean + (1 - alpha) (mean of elites), var likewise with their population variance. */
void search_refit_elites(struct search *s);

/* mean <- mean + sum of w (x - mean), for weights w = e^-(score - least) / their sum; n scores, any of them infinite.
 * Nothing changes if none is finite.  `add` is added to the sum of the weights. */
void search_refit_weighted(struct search *s, int n, const double *score, double add);

/* The best elites are carried on: kept. */
void search_keep(struct search *s);

/* Puts those carried on from the last planning step at x[at], as many as fit below count; returns how many. */
int search_put_kept(struct search *s, int at, int count);

/* search_knots.c */
int         search_points(const struct planner_config *c);
const char *search_knots_error(const struct planner_config *c);
void        search_knots_init(struct search *s); /* basis and inverse */
void        search_expand(const struct search *s, const float *x, float *sequence);
void        search_project(const struct search *s, const float *sequence, float *x);

/* g (n) = gradient of the cost in the point of candidate c, per half range; false if it is not finite. */
bool search_slope(const struct search *s, int c, float *g);

/* search_gradient.c: memory for so many points; forget point k; one step of Adam's moments with the gradient in g; and
 * x <- from - rate (half range) m / sqrt(v), within the bounds. */
void search_adam_layout(struct search *s, struct arena *a, int rows);
void search_adam_reset(struct search *s, int k);
void search_adam_learn(struct search *s, int k);
void search_adam_step(const struct search *s, int k, double rate, const float *from, float *x);

#endif
