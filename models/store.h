/* store.h - experience on disk: one SQLite database (WAL) per robot, written in batches by one thread (daemon/disk.h).
 *
 * Tables (anyone may open the file with sqlite3 while the daemon runs):
 *   meta        key, value                 schema version, robot, names of observations and actions
 *   trials      number, attempt, kind, status, reason, seed, steps, return, reported_return, model_first, model_last,
 *               prequential_rmse, started, ended (unix s), task, gate_trips, and of spread, residual and surprise
 *               (prediction errors in predicted deviations): spread_scores, spread_worst, spread_sum, ...
 *   transitions id, trial_id, step, model_version, seed, iterations, one column per observation ("hinge.position"),
 *               per action ("a.slider") and per next observation ("next.hinge.position")
 *   models      version, parent, trial_id, transitions, steps, train_s, file, crc, status, reason, nll, nll_incumbent,
 *               created (unix s)
 *   events      id, unix_s, mono_ns, trial, kind, text
 * A database made for another robot or other columns is refused by name, never altered. */
#ifndef MODELS_STORE_H
#define MODELS_STORE_H

#include "models/ensemble.h"

enum { EVENTS_KEPT = 20000 };

struct store;

struct store_schema {
    char robot[NAME_SIZE];
    int  nx, na;
    char observation[MAX_OBS][2 * NAME_SIZE];
    char action[MAX_ACT][NAME_SIZE]; /* joint names */
};

struct transition {
    uint32_t trial, step;   /* trial number, planner step                  */
    uint64_t model_version; /* 0: none (exploration, baseline)             */
    uint64_t seed;          /* of the plan                                 */
    int      iterations;    /* of the plan                                 */
    float    x[MAX_OBS];
    float    a[MAX_ACT]; /* applied effort / scale                      */
    float    y[MAX_OBS]; /* next x                                      */
};

/* What the gates that calibrate themselves saw in a trial (daemon/core_scores.h): how many scores, the worst, their sum. */
enum score_kind { SCORE_SPREAD, SCORE_RESIDUAL, SCORE_SURPRISE, SCORE_KINDS };
struct score_sum {
    int    n;
    double worst, sum;
};

struct trial_row {
    int64_t  id;                /* set by store_trial_begin                    */
    uint32_t number;            /* 0: exploration                              */
    char     kind[NAME_SIZE];   /* "random" or "planned"                       */
    char     status[NAME_SIZE]; /* "running", "finished", "aborted"            */
    char     reason[120];       /* why aborted, or finished early              */
    uint64_t seed;
    int      steps;            /* transitions stored                          */
    double   ret;              /* return by the task; NaN: none               */
    double   reported_return;  /* the robot side's; NaN: none                 */
    double   prequential_rmse; /* NaN: none                                   */
    uint64_t model_first, model_last;
    double   started, ended;  /* unix s                                      */
    char     task[NAME_SIZE]; /* name; empty in stores of before there was one */
    int      gate_trips;      /* during it; -1 in stores of before they were kept */
    struct score_sum score[SCORE_KINDS]; /* likewise; n 0: none */
};

struct model_row {
    uint64_t version, parent;
    int64_t  trial_id; /* newest trial it was trained on              */
    int      transitions, steps;
    double   train_s;
    char     file[256];
    uint32_t crc;
    char     status[NAME_SIZE]; /* "published", "refused", "rolled_back"      */
    char     reason[160];
    double   nll, nll_incumbent; /* NaN: none                                 */
    double   created;
};

/* Opens or creates.  read_only for the trainer.  NULL with a sentence in `why`. */
struct store *store_open(const char *path, const struct store_schema *schema, bool read_only, char *why,
                         size_t why_size);
void          store_close(struct store *s);

/* Writers gather in one transaction; commit makes it durable (synchronous=NORMAL in WAL, checkpoint now and then).
 * All return 0 or -1 with store_error(). */
int         store_begin(struct store *s);
int         store_commit(struct store *s);
const char *store_error(const struct store *s);

/* The batch is open: a statement that found the disk full may have ended it, with nothing of it written. */
bool store_in_batch(const struct store *s);

int store_trial_begin(struct store *s, struct trial_row *t);        /* inserts with t->id, 0: one is made and set */
int store_trial_update(struct store *s, const struct trial_row *t); /* by id               */
int store_transition(struct store *s, int64_t trial_id, const struct transition *t);
int store_model(struct store *s, const struct model_row *m); /* insert or replace by version */
int store_model_status(struct store *s, uint64_t version, const char *status, const char *reason); /* rest unchanged */
/* Of events about the newest EVENTS_KEPT stay. */
int store_event(struct store *s, double unix_s, uint64_t mono_ns, int64_t trial, const char *kind, const char *text);

/* On start: trials left "running" become "aborted" (reason: the daemon ended).  Returns their count or -1. */
int store_recover(struct store *s);

/* Readers.  The callback returns false to stop.  Each returns the number of rows given, or -1. */
int     store_trials(struct store *s, bool (*row)(void *ctx, const struct trial_row *), void *ctx); /* by id      */
int     store_models(struct store *s, bool (*row)(void *ctx, const struct model_row *), void *ctx); /* by version */
int     store_transitions(struct store *s,
                          int64_t       first_trial_id, /* this trial and later; 0: all; aborted trials' steps included */
                          bool (*row)(void *ctx, int64_t trial_id, const struct transition *), void *ctx);
int64_t store_transition_count(struct store *s);

#endif
