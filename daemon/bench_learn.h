/* bench_learn.h - the parts of `limber bench learn`: several seeds of one robot learning from nothing (docs/benchmarks.md).
 *
 * One thread; everything a seed has learned is in BASE/seed-S (store, models, robot.yaml, task.yaml, report.json), so that
 * whatever ends the bench, the next one goes on from there. */
#ifndef DAEMON_BENCH_LEARN_H
#define DAEMON_BENCH_LEARN_H

#include "daemon/cli_args.h"
#include "daemon/cli_plot.h"
#include "daemon/cli_session.h"

enum { LEARN_SEEDS_MAX = 100, LEARN_JOBS_MAX = 32, LEVELS_MAX = 8 };

/* --- goals: robots/NAME/goals.json ------------------------------------------------------------------------------ */

struct learn_goals {
    json_t *doc; /* NULL: the robot has none */
    int     window;
    int     levels;
    double  level[LEVELS_MAX];
    double  steps_per_trial;        /* 0: not said */
    char    posture[2 * NAME_SIZE]; /* an observation, an angle that is 0 upright; empty: none */
    double  posture_limit;          /* rad */
};

/* Reads goals.json beside the robot's file, its part named after the task where there are several.  None: the defaults.
 * 0, or -1 with a sentence that names the file. */
int  goals_load(struct learn_goals *g, const char *config_file, const char *task, char *why, size_t why_size);
int  goals_read(struct learn_goals *g, const json_t *doc, const char *file, char *why, size_t why_size);
void goals_free(struct learn_goals *g);

/* Every goal with what was reached: [{what, kind, trial, value, seeds, required, figures, median, result}], where result
 * is "met", "missed" or "open" (too few trials so far). */
json_t *goals_judge(const struct learn_goals *g, const struct curve *c, int curves);
void    goals_print(FILE *f, const json_t *judged);

/* --- what a store says ------------------------------------------------------------------------------------------ */

struct learn_facts {
    int    trials;     /* planned and finished */
    int    aborted;    /* cut short, of any kind */
    int    missing;    /* steps not stored, over all finished trials */
    double iterations; /* mean over planned steps; NaN: none */
    double train_s_mean, train_s_total;
    long   published, refused, rolled_back; /* -1: not known */
    double beyond; /* share of the steps of the last five planned trials beyond the posture's limit; NaN: none */
};

/* The curve and the facts of BASE/seed-S/experience.db.  0, or -1 with a sentence. */
int learn_store(const char *store, const struct learn_goals *g, struct curve *c, struct learn_facts *f, char *why,
                size_t why_size);

/* Gate trips of every planned and finished trial, NULL in JSON where the store does not say. */
json_t *learn_trips(const char *store);

/* --- the bench --------------------------------------------------------------------------------------------------- */

struct learn_seed {
    long            seed;
    char            dir[PATH_SIZE];
    bool            done, resumed, stopped; /* stopped: ended early, tried again by the next bench */
    int             before;                 /* planned trials that its store had already */
    int             slot;                   /* of the running session */
    int             tries;                  /* that never came to be armed */
    struct session *session;                /* NULL: not running */
    uint64_t        started_ns;
    double          seconds;
    struct curve   *curve;
    json_t         *report; /* NULL: none yet */
};

struct learn {
    /* what was asked */
    const char  *task, *config, *out, *name, *planner, *verb;
    struct words set;
    long         seeds, first, trials, jobs;
    bool         lockstep, real_time, fresh, json, cartpole;

    /* what follows from it */
    char                config_file[PATH_SIZE], base[PATH_SIZE - 64];
    struct robot_config robot;
    char               *text[LEARN_JOBS_MAX]; /* the effective robot.yaml of each slot; only cores differ */
    char               *task_text;
    struct learn_goals  goals;
    struct learn_seed  *seed; /* [seeds] */
    char                commit[64], isa[32];
    const char         *mode;
    FILE               *say; /* stdout, or stderr beside --json */
};

/* bench_learn_config.c: the robot's file, the effective configurations, goals.  0, or an exit code after the error. */
int  learn_settle(struct learn *l);
void learn_unsettle(struct learn *l);

/* bench_learn_seed.c */
int  seed_open(struct learn *l, struct learn_seed *s); /* what is there already; 0 or an exit code */
int  seed_start(struct learn *l, struct learn_seed *s, int slot);
int  seed_finish(struct learn *l, struct learn_seed *s, enum session_end end);
void seed_close(struct learn_seed *s);
void seed_print(const struct learn *l, const struct learn_seed *s);

/* bench_learn_report.c: BASE.json, BASE.png, BASE-window.png with the seeds that have a report. */
json_t *learn_report(const struct learn *l);
int     learn_write(const struct learn *l, bool pictures);

/* bench_learn_compare.c */
int learn_compare(const char *const *file, int files, const char *out, bool json);

#endif
