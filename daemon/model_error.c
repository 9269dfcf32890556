/* model_error.c - one-step errors by observation, and when one jumps. */
#include "daemon/model_error.h"

#include <string.h>

#include "models/judge.h"

#define WORTH_A_LINE 1e-3 /* of the targets' std */

double model_error_add(struct model_error *m, const struct ensemble *e, int n, const float *x, const float *a,
                       const float *y)
{
    int    nx = e->dims.nx, na = e->dims.na;
    double square[MAX_OBS] = { 0 }, sum = 0;
    size_t products = ensemble_params(&e->dims) * (size_t)e->dims.members * (size_t)n;
    long every = 1 + (long)(products / SCORE_PRODUCTS), count = (n + every - 1) / every; /* as ensemble_score() does */

    for (long i = 0; i < n; i += every, x += every * nx, a += every * na, y += every * nx) {
        float target[MAX_OBS], mean[MAX_OBS], var[MAX_OBS];

        ensemble_target(&e->dims, x, y, target);
        for (int net = 0; net < e->dims.members; net++) {
            ensemble_predict(e, net, x, a, mean, var);
            for (int k = 0; k < nx; k++) {
                double error = ((double)target[k] - (double)mean[k]) / (double)e->out_std[k];

                square[k] += error * error / ((double)count * e->dims.members);
            }
        }
    }
    if (m->n == MODEL_ERROR_KEPT) {
        memmove(m->trial, m->trial + 1, sizeof m->trial - sizeof m->trial[0]);
        m->n--;
    }
    for (int k = 0; k < nx; k++) {
        m->trial[m->n][k] = sqrt(square[k]);
        sum += square[k] / nx;
    }
    m->n++;
    return isfinite(sum) ? sqrt(sum) : (double)INFINITY;
}

bool model_error_jumped(const struct model_error *m, int k, double *limit)
{
    double before[MODEL_ERROR_KEPT];

    for (int i = 0; i < m->n - 1; i++)
        before[i] = m->trial[i][k];
    *limit = (double)INFINITY;
    if (m->n < 1)
        return false;
    double newest = m->trial[m->n - 1][k];
    bool   worse  = judge_rollback(newest, before, m->n - 1, limit);

    return worse && isfinite(*limit) && !(newest < WORTH_A_LINE);
}
