/* bench_model_trust.h - what can be measured about a learned model on transitions that it was not trained on.
 *
 *     open loop    particles (TS-infinity: each keeps its net, and draws the net's noise) under the actions really applied,
 *                  against what really happened
 *     calibration  is the truth as often within the predicted intervals as they promise?  By the probability integral
 *                  transform (Gneiting et al. 2007, J. R. Stat. Soc. B 69): u = F(target) of the predicted distribution F
 *                  is uniform on [0, 1] where that is right, and the central interval of probability p holds the
 *                  target if |2 u - 1| <= p (reliability of regression: Kuleshov et al. 2018, arXiv 1807.00263)
 *     spread       disagreement of the nets, as gates.spread means it: low on what was seen, high away from it?
 *
 * Pure: no files, no clock; the same numbers for the same seed.  Any thread.  Everything about the model goes through
 * trust_predict, trust_next and trust_target. */
#ifndef DAEMON_BENCH_MODEL_TRUST_H
#define DAEMON_BENCH_MODEL_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#include "models/ensemble.h"

enum { TRUST_LEVELS = 19, TRUST_BANDS = 4 };

/* Transitions in columns, in the order in which they happened. */
struct trust_rows {
    int       nx, na, n, room;
    float    *x, *a, *y; /* n x nx, n x na, n x nx (next observation) */
    int64_t  *trial;     /* id                                        */
    uint32_t *step;
};

void trust_rows_add(struct trust_rows *r, const float *x, const float *a, const float *y, int64_t trial, uint32_t step);
void trust_rows_free(struct trust_rows *r);

/* Whether row i + 1 goes on where row i ends. */
bool trust_rows_follow(const struct trust_rows *r, int i);

/* ---- the model ---- */

/* A member's mean and variance of the target (nx each). */
void trust_predict(const struct ensemble *e, int member, const float *x, const float *a, float *mean, float *var);

/* What the model is asked to predict of the transition from x to y (nx). */
void trust_target(const struct ensemble *e, const float *x, const float *y, float *target);

/* The state that follows x under a by one member, with noise z (nx, standard normal).  next may be x. */
void trust_next(const struct ensemble *e, int member, const float *x, const float *a, const float *z, float *next);

/* ---- yardsticks, from what was seen in training ---- */

struct trust_scale {
    float state[MAX_OBS], target[MAX_OBS]; /* standard deviations                                        */
    bool  constant[MAX_OBS];               /* the target never changed: nothing to predict, left out      */
    float low[MAX_OBS], high[MAX_OBS], a_low[MAX_ACT], a_high[MAX_ACT]; /* the box of what was seen       */
};

/* seen: at least one row. */
void trust_scale(const struct ensemble *e, const struct trust_rows *seen, struct trust_scale *s);

/* ---- open loop ---- */

/* Rolls particles from x (nx) under act (steps x na).  cloud: steps x nx x particles; what is not finite or beyond 1e9 stays
 * there.  Particle p is one of member p mod members.  Returns how many left the numbers. */
int trust_roll(const struct ensemble *e, const float *x, const float *act, int steps, int particles, uint64_t seed,
               float *cloud);

/* Mean, and the quantiles 0.05, 0.25, 0.75, 0.95 of n values, which are sorted.  The quantile q stands at q (n + 1), so that
 * another draw lies within 0.05 .. 0.95 with probability 0.9 for any n >= 19. */
void trust_bands(float *v, int n, float *mean, float band[TRUST_BANDS]);

/* Sums over windows, steps x nx each, of what trust_open_add finds. */
struct trust_open {
    int     nx, steps, windows, particles, lost;
    double *square; /* ((mean - truth) / std)^2                    */
    double *still;  /* ((start - truth) / std)^2: nothing moves    */
    double *inside; /* 1 where the truth is within 0.05 .. 0.95    */
    double *width;  /* of that band, in std                        */
};

void trust_open_init(struct trust_open *o, int nx, int steps, int particles);
void trust_open_free(struct trust_open *o);

/* One window: truth is steps x nx; cloud is sorted along particles. */
void trust_open_add(struct trust_open *o, const float *start, float *cloud, const float *truth,
                    const struct trust_scale *s);

/* ---- calibration ---- */

struct trust_calibration {
    long   n;                   /* targets (times members, of members alone)                         */
    double cover[TRUST_LEVELS]; /* share within the central interval of probability trust_level(i)   */
    double error;               /* mean of |cover - level|                                           */
    double z_rms, beyond;       /* z = error / predicted std: root mean square; share of |z| > 2      */
    double nll;                 /* nats, of the target in units of its std                           */
};

double trust_level(int i);

/* Of every element, and of all together at [nx].  together: the mixture of the members, z by its mean and variance;
 * alone: each member by itself, as if there were no others. */
void trust_calibrate(const struct ensemble *e, const struct trust_rows *r, const struct trust_scale *s,
                     struct trust_calibration *together, struct trust_calibration *alone);

/* ---- spread ---- */

/* Std over members of the mean, in units of out_std, mean over nx: struct plan's spread, for any x and a. */
double trust_spread(const struct ensemble *e, const float *x, const float *a);

/* n values for x and a: of rows picked evenly; uniform in the box of what was seen, `wide` times as wide; of rows with
 * observation k pushed up or down by `push` of its std (k < 0: any observation that is an input and not constant in s,
 * of which there must be one). */
void trust_spread_rows(const struct ensemble *e, const struct trust_rows *r, int n, uint64_t seed, double *out);
void trust_spread_box(const struct ensemble *e, const struct trust_scale *s, double wide, int n, uint64_t seed,
                      double *out);
void trust_spread_pushed(const struct ensemble *e, const struct trust_rows *r, const struct trust_scale *s, int k,
                         double push, int n, uint64_t seed, double *out);

/* Probability that one of `high` is above one of `low`, ties half: the area under the ROC curve. */
double trust_auc(const double *low, int nlow, const double *high, int nhigh);

#endif
