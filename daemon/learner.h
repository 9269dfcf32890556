/* learner.h - the trainer's keeper: orders trainings, judges what comes back, hands models to the planner, rolls back.
 *
 * Main thread only.  The trainer is a process of its own (models/limber_trainer.c); whatever it does, nothing here waits
 * for it.  A dead trainer is restarted at most three times a minute, then learning is off until the daemon restarts. */
#ifndef DAEMON_LEARNER_H
#define DAEMON_LEARNER_H

#include <uv.h>

#include "daemon/journal.h"
#include "daemon/model_error.h"
#include "daemon/shared.h"
#include "models/judge.h"
#include "models/model_file.h"
#include "models/trainer_protocol.h"

enum learner_state { LEARNER_OFF, LEARNER_IDLE, LEARNER_TRAINING, LEARNER_DEAD };

enum { JUDGE_TRIALS = 3, PREQUENTIAL_KEPT = 64, MODELS_KEPT = 100 };

/* Transitions of one trial, in columns, as the judge wants them. */
struct trial_data {
    int    n, room;
    float *x, *a, *y;
};

/* A candidate on its way to fly: its file is loaded, and, where it was judged good, gets its name.  It takes its place between
 * trials. */
enum adopting { ADOPT_NONE, ADOPT_LOAD, ADOPT_NAME };

struct learner {
    uv_loop_t                 *loop;
    const struct robot_config *config;
    struct shared             *shared;
    struct store              *store;               /* read by learner_start() only */
    struct journal            *journal;
    struct model_dims          dims;
    char                       models[PATH_SIZE];   /* directory               */
    char                       trainer_path[PATH_SIZE];
    const struct seal_key     *seal;                /* models are sealed, and flown only with it; NULL: not */

    enum learner_state state;
    double             progress;                    /* 0 .. 1 while training   */
    struct ensemble    incumbent;                   /* version 0: none         */
    struct ensemble    older;                       /* to roll back to; version 0: none */
    struct {
        enum adopting   step;
        bool            held;                       /* a trial went by since it was judged */
        uint64_t        place;                      /* in the disk's line      */
        struct ensemble candidate;                  /* from here on the disk's thread's, until it is done */
        int             bad;
        char            why[240];
        struct verdict  verdict;
        uint8_t         seal[SEAL_BYTES];           /* of its file; beside it once it takes its place */
    } adopting;
    uid_t              us;
    uint64_t           next_version;
    int64_t            ordered_trial_id;
    bool               want_training;               /* ordered while the trainer was away */
    struct trial_data  recent[JUDGE_TRIALS];        /* oldest first            */
    double             prequential[PREQUENTIAL_KEPT];
    int                nprequential;
    double             last_rmse;                   /* NaN: none               */
    struct model_error error;                       /* of planned trials since the start */
    uint64_t           published, refused, rolled_back;
    struct trainer_report last_report;
    double             train_s_total;
    uint64_t           trainings;
    char               last[240];                   /* sentence for status     */

    /* the process */
    uv_process_t          process;
    uv_pipe_t             to, from;
    bool                  process_up, closing;
    int                   open_handles;
    struct trainer_setup  setup;
    struct trainer_order  order;
    uint8_t               inbox[sizeof(struct trainer_report)];
    size_t                inbox_used;
    double                restart_s[3];             /* newest last */
    uint64_t              heard_ns;                 /* order sent or report read last */
};

/* loop .. seal set by the caller.  Loads the newest published model and the recent trials from the store, starts
 * the trainer.  0, or -1 with `why`. */
int learner_start(struct learner *l, const struct store_schema *schema, const char *store_path, char *why, size_t why_size);

/* A finished trial with its transitions: predicted first (its prequential error is written to row), then, with learn,
 * ordered to be learned.  Random trials have no prediction. */
void learner_trial(struct learner *l, struct trial_row *row, const struct trial_data *data, bool learn);

/* The core says that this model tripped gates twice within a minute: rolled back, where it is still the one in use. */
void learner_unfit(struct learner *l, uint64_t version);

/* Called often: a candidate goes on its way, and takes its place unless a trial begins or is flown (`flies`); a trainer that
 * has been training without a word for a minute is ended. */
void learner_tick(struct learner *l, bool flies);

/* A training is under way or due. */
bool learner_busy(const struct learner *l);

/* Ends the trainer. */
void learner_stop(struct learner *l);

/* Mean square of the slope of the task's cost by each observation (nx, in units of cost per unit of observation), by
 * central differences at up to 200 of the states that d's transitions lead to. */
void learner_cost_slopes(const struct task *task, const struct model_dims *dims, const struct trial_data *d, float *slope2);

void trial_data_clear(struct trial_data *d);
/* False: no memory, nothing was added. */
bool trial_data_add(struct trial_data *d, const struct model_dims *dims, const struct transition *t);
void trial_data_free(struct trial_data *d);

#endif
