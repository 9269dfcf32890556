/* core_scores.h - what good operation looks like, in numbers: the scores of finished trials, from which gates take their
 * thresholds.  The core's own, and of `limber bench gates`, which judges recorded runs by it.  No clock, no memory.
 *
 * Calibration is split conformal prediction (Vovk et al. 2005): where scores of good operation are exchangeable, the next
 * one exceeds the ceil(0.999 (n + 1))-th smallest of n with a probability of at most 0.1 %.  With n = 999 that is the
 * largest, so it is the largest of the newest finished trials that have 999 together.  One false trip in a thousand would be
 * one in 40 s at 25 Hz, and two in a minute cost the model its place; and a robot that learns does not do tomorrow what it
 * did today.  So the threshold is SCORES_SLACK times that.  The trial under way is judged by those before it, whose states no
 * model in force was trained on when it met them; what trips enters as the threshold, so that a fault cannot make itself the
 * rule at once. */
#ifndef DAEMON_CORE_SCORES_H
#define DAEMON_CORE_SCORES_H

#include "models/store.h"

/* Trial by trial; newest last. */
enum { SCORE_TRIALS = 32, SCORES_CALIBRATED = 999, SCORES_SLACK = 3 };
struct score_log {
    struct score_sum trial[SCORE_TRIALS];
    struct score_sum live; /* of the trial under way: judged by those before it only */
};

/* One more of the trial under way, finite. */
void scores_add(struct score_log *log, double value);

/* The trial is over: its scores are from now on what others are judged by. */
void scores_close(struct score_log *log);

/* SCORES_SLACK times the largest of the newest finished trials that have SCORES_CALIBRATED together; infinite while there are
 * fewer. */
double scores_threshold(const struct score_log *log);

/* Average over the same trials, or 0 while there are fewer. */
double scores_usual(const struct score_log *log);

/* One-sided cumulative sum (Page 1954) of errors in units of the usual one, beyond SCORES_SLACK of them: the next one after
 * `drift`.  A single error counts as at most one more than that.  Stays 0 where nothing is known to be usual; an error that
 * is no number counts as the largest. */
double scores_drift(const struct score_log *log, double drift, double error);

#endif
