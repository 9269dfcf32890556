/* experiment.h - the course of learning: which trial comes next, its return, what goes into the store.
 *
 * Main thread only.  Takes what the control thread reports (notices, transitions), keeps the books, and asks the core
 * for the next trial when the learner is done with the last one. */
#ifndef DAEMON_EXPERIMENT_H
#define DAEMON_EXPERIMENT_H

#include "daemon/learner.h"

enum { HISTORY_MAX = 4096 };

struct experiment {
    const struct robot_config *config;
    struct shared             *shared;
    struct store              *store;        /* read by experiment_start() only                */
    struct journal            *journal;
    struct learner            *learner;
    int                        count;        /* planned trials wanted                          */

    struct trial_row   row;                  /* the running or last trial                      */
    int64_t            next_id;              /* of a row                                       */
    bool               open;                 /* row is running, or on its way to the disk      */
    bool               stored;               /* the store takes its transitions                */
    bool               ending;               /* it has, and its rows are on their way          */
    uint64_t           ending_place;         /* of the last of them; then of how it ended      */
    struct notice      ended;                /* how                                            */
    double             reported;             /* the robot side's return meanwhile; NaN: none   */
    struct trial_data  data;                 /* its transitions                                */
    uint64_t           unremembered;         /* transitions that there was no memory for       */
    struct trial_row  *history;              /* ended trials, oldest first (HISTORY_MAX)       */
    int                nhistory;
    double             best;                 /* of planned, finished, complete trials of this task; NaN: none */
    int                lost_in_a_row;        /* planned trials that a gate or a stop took from the plan */
    uint32_t           next_number;          /* of the next trial                              */
    int                queued;               /* trials asked for by the operator               */
    enum trial_kind    queued_kind;
    double             waiting_since_s;      /* for the model after a trial; 0: not waiting    */
    double             unripe_since_s;       /* gates not good for long enough yet; 0: not waiting */
    uint64_t           seed;                 /* of the trial asked for last                    */
    bool               start_sent;           /* OP_TRIAL_START under way                       */
    uint64_t           next_operation;       /* ids of our own operations, high bit set        */
    bool               stopped_by_operator;  /* trial/stop: no automatic next trial            */
};

/* Reads trials from the store.  0 or -1 (store_error). */
int experiment_start(struct experiment *e);

void experiment_notice(struct experiment *e, const struct notice *n);
void experiment_transition(struct experiment *e, const struct transition *t);
void experiment_reported_return(struct experiment *e, const struct trial_event *event);

/* Steps of a finished trial that are not in the store (late commands, lost states, failed writes): its return is not
 * comparable. */
int experiment_missing(const struct trial_row *t);

/* Called often: what became of the rows, and has the new ones written.  A trial ends here, when all of it is on disk or
 * known to be lost: only then is it learned from, and may the next one begin. */
void experiment_commit(struct experiment *e);

/* At start: no trial before a training ordered from the store's experience is done. */
void experiment_wait(struct experiment *e);

/* Called often: asks for the next trial when it is time. */
void experiment_advance(struct experiment *e, const struct core *core);

/* A trial runs, is on its way to the disk, or has been asked of the core. */
bool experiment_under_way(const struct experiment *e);

/* A trial is about to begin, or a planned one has begun: not the moment for another model. */
bool experiment_flies(const struct experiment *e);

/* config->task is another one from here on; none is under way. */
void experiment_task(struct experiment *e);

/* All planned trials have been run, and all of them is in the store. */
bool experiment_finished(const struct experiment *e);

/* Operator: n more trials of this kind, now.  NULL or why not. */
const char *experiment_ask(struct experiment *e, enum trial_kind kind, int n);

#endif
