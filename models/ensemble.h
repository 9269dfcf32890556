/* ensemble.h - the probabilistic ensemble of PETS (Chua et al. 2018, arXiv 1805.12114) as data.
 *
 * Each member maps an observation x (nx) and an action a (na) to a Gaussian over the target t (nx) of one planner step:
 *
 *     in    = [features(x), a], standardised;  an angle contributes sin and cos, what is no input nothing, else itself
 *     out   = W_L swish(... swish(W_1 in + b_1) ...) + b_L          (2 nx outputs: mean, raw log-variance)
 *     lv    = max - softplus(max - raw);  lv = min + softplus(lv - min)        (bounded log-variance)
 *     t     = out_mean + out_std * (mean + exp(lv / 2) * z),   z ~ N(0, 1)
 *
 * What t means is said per component (enum target_kind): the change, x' = x + t; the next value itself, x' = t (a
 * measurement that has no memory, such as the speed over the step: PETS' half-cheetah); or one half of a displacement in
 * the plane, as seen from the robot: with psi the heading before the step,
 *
 *     x'_ahead = x_ahead + cos(psi) t_ahead - sin(psi) t_aside,   x'_aside = x_aside + sin(psi) t_ahead + cos(psi) t_aside
 *
 * so that a robot which takes neither place nor heading as inputs moves alike everywhere and in every direction.
 *
 * out_mean = 0 and out_std = 1 where targets are not standardised (the paper's recipe).
 * The functions here are the plain-loop truth; planner/rollout has the fast form, models/train the learning one. */
#ifndef MODELS_ENSEMBLE_H
#define MODELS_ENSEMBLE_H

#include <stddef.h>

#include "daemon/rt/rng.h"
#include "proto/robot.h"

enum {
    MAX_MEMBERS = 16,
    MAX_LAYERS  = 5,   /* hidden layers                              */
    MAX_HIDDEN  = 512, /* units of a hidden layer                    */
    MAX_IN      = 2 * MAX_OBS + MAX_ACT,

    SCORE_PRODUCTS = 500000000, /* ensemble_score */
};

enum input_kind { INPUT_IDENTITY = 0, INPUT_ANGLE = 1, INPUT_NONE = 2 };
enum target_kind { TARGET_CHANGE = 0, TARGET_ABSOLUTE = 1, TARGET_AHEAD = 2, TARGET_ASIDE = 3 };

struct model_dims {
    int     nx;             /* observation                                  */
    int     na;             /* action                                       */
    int     members;        /* nets in the ensemble                         */
    int     layers;         /* hidden layers                                */
    int     hidden;         /* units of each                                */
    uint8_t input[MAX_OBS];  /* enum input_kind of each observation         */
    uint8_t target[MAX_OBS]; /* enum target_kind of each                    */
    uint8_t heading;         /* TARGET_AHEAD: the observation that is the heading, rad; else 0 */
};

struct ensemble {
    struct model_dims dims;
    uint64_t          version;         /* counts from 1 per robot; 0: none                */
    float             in_mean[MAX_IN]; /* of [features(x), a]                             */
    float             in_std[MAX_IN];  /* > 0                                             */
    float             out_mean[MAX_OBS];
    float             out_std[MAX_OBS];    /* > 0                                             */
    float             max_logvar[MAX_OBS]; /* shared by all members                           */
    float             min_logvar[MAX_OBS];
    float            *weights; /* members x ensemble_params(): per layer W (out x in, row-major), b (out) */
};

/* Same sizes, input and target kinds? */
bool model_dims_equal(const struct model_dims *a, const struct model_dims *b);

/* Width of the model's input: an angle counts twice, what is no input not at all. */
int ensemble_nin(const struct model_dims *d);

/* Input and output width of layer l = 0 .. layers. */
void ensemble_layer(const struct model_dims *d, int l, int *in, int *out);

/* Floats of one member. */
size_t ensemble_params(const struct model_dims *d);

/* Observation x (nx) and action a (na) to the raw, unstandardised input (nin). */
void ensemble_features(const struct model_dims *d, const float *x, const float *a, float *in);

/* The observation whose target is of this kind (TARGET_AHEAD, TARGET_ASIDE), -1: none. */
int ensemble_planar(const struct model_dims *d, enum target_kind kind);

/* Target t (nx) of the step from x to y, and the other way: where target t leads from x.  y may be t. */
void ensemble_target(const struct model_dims *d, const float *x, const float *y, float *t);
void ensemble_follow(const struct model_dims *d, const float *x, const float *t, float *y);

/* Allocates e->weights (the caller frees it with ensemble_free).  0, or -ENOMEM, or -EINVAL for sizes out of range. */
int  ensemble_alloc(struct ensemble *e, const struct model_dims *d);
void ensemble_free(struct ensemble *e);

/* Fresh weights: truncated normal with std 1 / (2 sqrt(fan in)), biases 0 (PETS code); normaliser to identity;
 * bounds to (0.5, -10). */
void ensemble_init(struct ensemble *e, uint64_t seed);

/* Every weight, bound and normaliser entry finite, every std > 0? */
bool ensemble_finite(const struct ensemble *e);

/* One member's prediction for one (x, a): mean and variance of the target, in its units (nx each).
 * No memory, any thread. */
void ensemble_predict(const struct ensemble *e, int member, const float *x, const float *a, float *mean, float *var);

/* How well the ensemble predicts n transitions (x: n x nx, a: n x na, y: n x nx = next x):
 * *rmse  root mean square error of the members' means, in units of scale[nx] (NULL: e->out_std); a scale of 0 leaves
 *        that component out;
 * *nll   mean over n and nx of 0.5 ((y - mu)^2 / var + log var + log 2 pi), in nats, for targets in units of scale, where
 *        mu and var are the mixture's: the members' mean, and their mean variance plus the variance of their means.  A
 *        single member is sure of itself about what it never saw; together they know better.
 * Where all of them would take more than SCORE_PRODUCTS multiplications (a good part of a second, in which the caller's
 * thread answers nobody), every second, third, ... transition is scored instead.
 * Non-finite predictions, and nothing to compare (n = 0, all components left out), give +infinity. */
void ensemble_score(const struct ensemble *e, int n, const float *x, const float *a, const float *y, const float *scale,
                    double *rmse, double *nll);

#endif
