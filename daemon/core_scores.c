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
        n += log->n[i];
        *sum += log->sum[i];
        *worst = log->worst[i] > *worst ? log->worst[i] : *worst;
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
    log->live_sum += value;
    log->live_worst = value > log->live_worst ? value : log->live_worst;
    log->live_n++;
}

void scores_close(struct score_log *log)
{
    const int last = SCORE_TRIALS - 1;

    if (!log->live_n)
        return;
    if (log->n[last] >= SCORES_LUMP) {
        memmove(log->n, log->n + 1, sizeof log->n - sizeof log->n[0]);
        memmove(log->worst, log->worst + 1, sizeof log->worst - sizeof log->worst[0]);
        memmove(log->sum, log->sum + 1, sizeof log->sum - sizeof log->sum[0]);
        log->n[last]     = 0;
        log->worst[last] = log->sum[last] = 0;
    }
    log->n[last] += log->live_n;
    log->sum[last] += log->live_sum;
    log->worst[last] = log->live_worst > log->worst[last] ? log->live_worst : log->worst[last];
    log->live_n      = 0;
    log->live_sum = log->live_worst = 0;
}

double scores_drift(const struct score_log *log, double drift, double error)
{
    double usual = scores_usual(log);

    if (!(usual > 0))
        return 0;
    double beyond = error / usual - SCORES_SLACK, sum = drift + (beyond <= 1 ? beyond : 1);

    return sum > 0 ? sum : 0;
}
