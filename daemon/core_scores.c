/* core_scores.c - scores of finished trials, thresholds from them, drift. */
#include "daemon/core_scores.h"

#include <math.h>
#include <string.h>

enum { SCORES_LUMP = 32 }; /* shorter trials are taken together */

/* The newest trials that have enough scores together; how many these are, 0: there are not enough. */
static int newest(const struct score_log *log, double *worst, double *sum)
{
    int n = 0;

    *worst = *sum = 0;
    for (int i = SCORE_TRIALS - 1; i >= 0 && n < SCORES_CALIBRATED; i--) {
        const struct score_sum *t = &log->trial[i];

        n += t->n;
        *sum += t->sum;
        *worst = t->worst > *worst ? t->worst : *worst;
    }
    return n >= SCORES_CALIBRATED ? n : 0;
}

double scores_threshold(const struct score_log *log)
{
    double worst, sum;

    return newest(log, &worst, &sum) ? SCORES_SLACK * worst : (double)INFINITY;
}

double scores_usual(const struct score_log *log)
{
    double worst, sum;
    int    n = newest(log, &worst, &sum);

    return n ? sum / n : 0;
}

void scores_add(struct score_log *log, double value)
{
    double most = scores_threshold(log);

    value = value <= most ? value : most;
    log->live.sum += value;
    log->live.worst = value > log->live.worst ? value : log->live.worst;
    log->live.n++;
}

void scores_close(struct score_log *log)
{
    struct score_sum *last = &log->trial[SCORE_TRIALS - 1];

    if (!log->live.n)
        return;
    if (last->n >= SCORES_LUMP) {
        memmove(log->trial, log->trial + 1, sizeof log->trial - sizeof log->trial[0]);
        *last = (struct score_sum){ 0 };
    }
    last->n += log->live.n;
    last->sum += log->live.sum;
    last->worst = log->live.worst > last->worst ? log->live.worst : last->worst;
    log->live   = (struct score_sum){ 0 };
}

double scores_drift(const struct score_log *log, double drift, double error)
{
    double usual = scores_usual(log);

    if (!(usual > 0))
        return 0;
    double beyond = error / usual - SCORES_SLACK, sum = drift + (beyond <= 1 ? beyond : 1);

    return sum > 0 ? sum : 0;
}
