/* judge.h - may this model fly?  Two rules, both visible in status and store.
 *
 * Acceptance, before it flies: every number finite, self-test matches (model_file_load), and its one-step NLL on the
 * newest trials is no worse than the incumbent's by more than 5 % of max(|incumbent|, 1).  Without an incumbent it must
 * beat the best constant prediction (mean and variance of the targets themselves) by that much: a model that learned
 * nothing is refused.  NLL is in units of the targets' own std; targets that are always the same do not count.
 * This catches broken fits only.
 * Prequential, after it flew: each new trial is predicted before it is learned from.  If that error exceeds three times
 * the median of the previous three, the model is rolled back. */
#ifndef MODELS_JUDGE_H
#define MODELS_JUDGE_H

#include "models/train.h"

struct verdict {
    bool   accept;
    double nll, nll_incumbent; /* incumbent: the constant prediction where there is none */
    char   reason[160];        /* one sentence, either way                               */
};

/* data: the transitions of the newest trials (three, or as many as there are). */
void judge_candidate(const struct ensemble *candidate, const struct ensemble *incumbent, const struct train_data *data,
                     struct verdict *v);

/* previous: errors of earlier trials, oldest first, n of them; non-finite ones are passed over.  False while there are
 * fewer than three (*limit is then infinite), but a non-finite rmse always rolls back. */
bool judge_rollback(double rmse, const double *previous, int n, double *limit);

#endif
