/* train.h - fitting the ensemble: Gaussian negative log-likelihood, Adam, bootstrap, weight decay; through models/kernels.
 *
 * Loss per member and batch:  mean over batch and nx of  (mu - y)^2 exp(-lv) + lv,  summed over members,
 * + sum over layers wd_l |W_l|^2 / 2 ; with learned bounds also 0.01 sum(max) - 0.01 sum(min)   (PETS code).
 * Runs in limber-trainer only, one thread, deterministic by seed on one instruction set. */
#ifndef MODELS_TRAIN_H
#define MODELS_TRAIN_H

#include "models/ensemble.h"

struct train_config {
    char   recipe[NAME_SIZE]; /* "steps" (default) or "paper": sets the defaults below          */
    double learning_rate;     /* Adam                                                           */
    int    batch;
    int    epochs;     /* passes over the data; at least this many ...                   */
    int    min_steps;  /* ... and at least this many gradient steps per training         */
    bool   warm_start; /* go on from the incumbent's weights                             */
    bool   bootstrap;  /* each member its own resample, drawn anew at every training     */
    bool   standardise_targets;
    bool   learned_bounds;               /* log-variance bounds are trained too                            */
    double weight_decay[MAX_LAYERS + 1]; /* per layer, input to output                                     */
    double holdout;                      /* share of the rows that nobody learns from, 0 .. 0.5            */
    int    patience;                     /* with holdout: epochs without improvement that end it; 0: never */
    double improvement;                  /* of a net's score that counts, as a share of it                 */
    int    train_members;                /* nets trained; of more than dims.members the best are exported  */
    double learning_rate_final;          /* share of the rate that it falls to, linearly, in one training  */
    int    max_steps;                    /* gradient steps of a training at most; 0: no limit              */
    double reward_weight;                /* of the squared error by cost_slope2; 0: none                   */
    double spectral_norm;                /* at most, of every layer's weights; 0: no limit                 */
    int    unroll;                       /* steps of the multi-step loss (train_unroll.c); up to 1: none   */
    int    unroll_grow;                  /* epochs of a training per further step; 0: all from the start   */
    double unroll_weight;                /* of the multi-step loss                                         */
    double recent;                       /* share of every batch from the newest rows, 0: as they come     */
    int    recent_trials;                /* how many trials these are: for who fills train_data            */
    double nll_beta;                     /* errors weighed by variance^nll_beta; 0: the likelihood's own   */
    double input_noise;                  /* std of noise on inputs, as a share of each input's own std     */
    bool   flat_out;                     /* benchmark: train again and again, publish only what was asked  */
};

/* n transitions, row-major.  x: n x nx, a: n x na, y: n x nx (next observation). */
struct train_data {
    int          n;
    const float *x, *a, *y;
    int          nrecent;     /* the last so many rows are the newest trials', for recent; 0: nobody knows */
    const float *cost_slope2; /* nx: mean square of the cost's slope by each observation; NULL: nobody knows */
    const int   *run;         /* n: how many rows after this one go on where it ends, for unroll; NULL: none      */
};

/* reward_weight r adds  r / (n nx)  sum over rows and k of  v_k ((mu_k - y_k) / std_k)^2  to the loss, where v_k is
 * cost_slope2_k std_k^2, scaled to the mean 1: the diagonal of the squared error of the cost, linearised. */

/* run of rows with these trials and steps: one goes on where the last ended if it is the next step of the same trial. */
void train_runs(int n, const int64_t *trial, const uint32_t *step, int *run);

struct trainer;

/* With holdout (mbrl-lib's early stop and elites): every fit draws the rows held out anew, the same for all nets.  After
 * each epoch a net's score is the mean squared error of its mean on them, in units of the targets' std; the fit ends with
 * every net's weights of its best score.  With train_members more nets are trained than the model has; all stay in the
 * trainer from fit to fit, but those that were not exported start fresh after trainer_load(). */

/* Allocates; NULL when out of memory or where sizes are out of range. */
struct trainer *trainer_new(const struct model_dims *d, const struct train_config *c, uint64_t seed);
void            trainer_free(struct trainer *t);

/* The same with the kernels of that name (isa_names()), also NULL if this CPU cannot run them. */
struct trainer *trainer_new_on(const char *isa, const struct model_dims *d, const struct train_config *c,
                               uint64_t seed);

/* Starts from these weights (dims of trainer_new()) instead of fresh ones; Adam's moments are cleared.  Between successive fits
 * they are kept.  The normaliser is renewed by every fit and the weights keep their meaning in standardised units. */
void trainer_load(struct trainer *t, const struct ensemble *e);

/* One training on all data.  progress (may be NULL) is called about every 50 steps with 0 .. 1; returning false ends
 * the training early.  Returns gradient steps taken, or -EINVAL where the data is unusable (n < 2, non-finite),
 * or -ENOMEM.
 * *loss (may be NULL): mean over members of the data part of the loss, over the last epoch, whole or cut by max_steps; NaN: none. */
int trainer_fit(struct trainer *t, const struct train_data *data, bool (*progress)(void *ctx, double done), void *ctx,
                double *loss);

/* Copies the current weights, the best nets' where there are more, bounds and normaliser into e (allocated by the
 * caller, dims of trainer_new()); not the version. */
void trainer_export(const struct trainer *t, struct ensemble *e);

/* For tests: the loss above, all parts, with data (n <= batch) as one batch for every member, under the normaliser in
 * force, nothing held out; and its gradient by the weights (members x params), max and min log-variance (nx each). */
double trainer_gradient(struct trainer *t, const struct train_data *data, float *dweights, float *dmax, float *dmin);

#endif
