/* model_error.h - how well the model in use foresaw each trial before it learned from it, observation by observation.
 *
 * Error of a trial: root mean square over its steps and the nets of (target - predicted mean) / out_std, that is, in
 * units of the targets' std (or of the observation, where targets are not standardised).  Main thread only. */
#ifndef DAEMON_MODEL_ERROR_H
#define DAEMON_MODEL_ERROR_H

#include "models/ensemble.h"

enum { MODEL_ERROR_KEPT = 10 };

struct model_error {
    int    n;                                /* trials kept, the newest last */
    double trial[MODEL_ERROR_KEPT][MAX_OBS]; /* not finite: nor was the prediction */
};

/* Predicts n transitions (x: n x nx, a: n x na, y: n x nx; n >= 1) with e and keeps the errors.  Returns the root mean
 * square over all observations, infinite where it is not finite: ensemble_score()'s rmse. */
double model_error_add(struct model_error *m, const struct ensemble *e, int n, const float *x, const float *a,
                       const float *y);

/* Whether observation k's error in the newest trial exceeds *limit, three times the median of the three trials before.
 * Never while there are fewer, nor below a thousandth of the std. */
bool model_error_jumped(const struct model_error *m, int k, double *limit);

#endif
