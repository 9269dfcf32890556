/* judge.c - acceptance and roll-back. */
#include "models/judge.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"

#define MARGIN          0.05 /* of max(|reference|, 1), in nats */
#define ROLLBACK_FACTOR 3
#define CONSTANT_NLL \
    1.4189385332046727 /* 0.5 (1 + log 2 pi): mean and variance of the targets, in units of their std */
#define STD_MIN 1e-12

/* Standard deviation of each component's target, 0 where it is always the same.  Returns how many are not. */
static int target_scale(const struct train_data *data, const struct model_dims *d, float *scale)
{
    double sum[MAX_OBS] = { 0 }, square[MAX_OBS] = { 0 };
    float  first[MAX_OBS], t[MAX_OBS];
    int    nx = d->nx, moving = 0;

    for (int i = 0; i < data->n; i++) {
        ensemble_target(d, data->x + i * nx, data->y + i * nx, i ? t : first);
        for (int k = 0; i && k < nx; k++) {
            double away = (double)t[k] - (double)first[k]; /* from the first: a large constant would cancel */

            sum[k] += away;
            square[k] += away * away;
        }
    }
    for (int k = 0; k < nx; k++) {
        double mean = sum[k] / data->n, q = square[k] / data->n - mean * mean;

        q        = q > 0 ? sqrt(q) : 0;
        scale[k] = q < STD_MIN ? 0 : (float)q;
        moving += scale[k] != 0;
    }
    return moving;
}

void judge_candidate(const struct ensemble *candidate, const struct ensemble *incumbent, const struct train_data *data,
                     struct verdict *v)
{
    const char *rival = incumbent ? "the incumbent's" : "the best constant prediction's";
    float       scale[MAX_OBS];
    double      rmse;

    *v = (struct verdict){ .nll = (double)NAN, .nll_incumbent = (double)NAN };
    if (!ensemble_finite(candidate)) {
        snprintf(v->reason, sizeof v->reason, "refused: a weight or scale is not a finite number");
        return;
    }
    if (data->n < 2 || target_scale(data, &candidate->dims, scale) == 0) {
        snprintf(v->reason, sizeof v->reason, "refused: %d transitions without any change, nothing to judge it by",
                 data->n);
        return;
    }
    ensemble_score(candidate, data->n, data->x, data->a, data->y, scale, &rmse, &v->nll);
    v->nll_incumbent = CONSTANT_NLL;
    if (incumbent) {
        CHECK(model_dims_equal(&candidate->dims, &incumbent->dims));
        ensemble_score(incumbent, data->n, data->x, data->a, data->y, scale, &rmse, &v->nll_incumbent);
    }
    double size   = fabs(v->nll_incumbent) > 1 ? fabs(v->nll_incumbent) : 1;
    double limit  = v->nll_incumbent + (incumbent ? MARGIN : -MARGIN) * size;
    bool   finite = isfinite(v->nll);

    v->accept = finite && v->nll <= limit;
    if (!finite)
        snprintf(v->reason, sizeof v->reason, "refused: its predictions of the newest trials are not finite");
    else
        snprintf(v->reason, sizeof v->reason, "%s: one-step NLL %.3f, %s %.3f, limit %.3f, on %d transitions",
                 v->accept ? "accepted" : "refused", v->nll, rival, v->nll_incumbent, limit, data->n);
}

static double median3(double a, double b, double c)
{
    double lo = a < b ? a : b, hi = a < b ? b : a;

    return c < lo ? lo : c > hi ? hi : c;
}

bool judge_rollback(double rmse, const double *previous, int n, double *limit)
{
    double last[3];
    int    found = 0;

    for (int i = n - 1; i >= 0 && found < 3; i--)
        if (isfinite(previous[i]))
            last[found++] = previous[i];
    *limit = found == 3 ? ROLLBACK_FACTOR * median3(last[0], last[1], last[2]) : (double)INFINITY;
    return !isfinite(rmse) || rmse > *limit;
}
