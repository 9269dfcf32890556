/* bench_lecture.h - two experiments of the lecture on model-based learning (CMU 10-703), each with one command:
 *
 *     limber bench surfaces   a model of one floor on another floor, and one of both   (bench_lecture_surfaces.c)
 *     limber bench paths      one model, several paths, nothing learned in between      (bench_lecture_paths.c)
 *
 * Both are made of parts, each a run of the real daemon and a simulated robot in a directory of its own.  What a part did
 * stands in its store; a part whose store has all its trials is not done again. */
#ifndef DAEMON_BENCH_LECTURE_H
#define DAEMON_BENCH_LECTURE_H

#include <stdio.h>

#include "daemon/cli_args.h"
#include "daemon/cli_plot_lecture.h"
#include "daemon/cli_session.h"

enum { LECTURE_EVAL_MAX = LECTURE_DOTS_MAX, LECTURE_SETS_OWN = 16 };

/* One of the two, as asked for. */
struct lecture {
    const char         *verb, *task, *config, *out;
    long                random, trials, eval, seeds, first;
    bool                fresh, json;
    struct words        set;
    char                config_file[PATH_SIZE], base[PATH_SIZE];
    int                 core; /* >= 0: everything of a run on this one */
    FILE               *say;
    struct robot_config robot; /* as configured, with set */
    struct terminal     terminal;
    double              all, done, begun; /* trials of all parts, of those done; s */
};

/* Flags of both; --seeds and --first last. */
#define LECTURE_FLAGS(l)                                                                                          \
    { .name = "task", .value = "T", .what = "a folder of robots/", .text = &(l)->task },                          \
        { .name = "config", .value = "FILE", .what = "robot.yaml, instead", .text = &(l)->config },               \
        { .name   = "random",                                                                                     \
          .value  = "N",                                                                                          \
          .what   = "random trials of a learning run",                                                            \
          .number = &(l)->random,                                                                                 \
          .min    = 1,                                                                                            \
          .max    = 1000 },                                                                                          \
        { .name   = "trials",                                                                                     \
          .value  = "K",                                                                                          \
          .what   = "planned trials of a learning run",                                                           \
          .number = &(l)->trials,                                                                                 \
          .min    = 1,                                                                                            \
          .max    = 1000 },                                                                                          \
        { .name   = "eval",                                                                                       \
          .value  = "M",                                                                                          \
          .what   = "trials afterwards, each time, that nothing is learned from",                                 \
          .number = &(l)->eval,                                                                                   \
          .min    = 1,                                                                                            \
          .max    = 100 },                                                                                           \
        { .name = "seeds", .value = "S", .what = "how many", .number = &(l)->seeds, .min = 1, .max = 20 },        \
        { .name = "first", .value = "S", .what = "first seed (1)", .number = &(l)->first, .min = 0, .max = 1e9 }, \
        { .name  = "set",                                                                                         \
          .value = "KEY=VALUE",                                                                                   \
          .what  = "as if it stood in robot.yaml; may be given again",                                            \
          .words = &(l)->set },                                                                                   \
        { .name = "fresh", .what = "forget what was begun", .on = &(l)->fresh },                                  \
        { .name = "json", .what = "print the JSON document at the end", .on = &(l)->json },                       \
    {                                                                                                             \
        .name = "out", .value = "DIR", .what = "directory for runs and report (build/bench)", .text = &(l)->out   \
    }

/* Finds robot.yaml, reads it, makes OUT/BENCH-ROBOT.  0 or an exit code, said. */
int lecture_settle(struct lecture *l, const char *bench);

/* Writes DIR/NAME: the robot.yaml with l->set and these; the directory is made.  A file that is there and says something
 * else belongs to other settings: refused.  0 or an exit code, said. */
int lecture_config(const struct lecture *l, const char *dir, const char *name, const char *const *set, int sets);

enum { LECTURE_FIT_SIZE = 48, LECTURE_FIT_MOST = 1000000 };

/* A model that is trained once, on all of a run's experience, gets as many gradient steps as the run's own models got one
 * after the other, each from the last: the steps of one of those would leave it far from what they knew.  Two changes of
 * robot.yaml to `fit`; false, and none: nothing was trained. */
bool lecture_fit(long steps, char fit[2][LECTURE_FIT_SIZE]);

/* Runs DIR/NAME until its store has so many planned trials.  Nothing happens if it has them.  0 or an exit code, said. */
int lecture_run(struct lecture *l, const char *dir, const char *name, const char *label, long trials, long seed);

/* Counts trials as done, and says how far it is. */
void lecture_progress(struct lecture *l, const char *label, double trials);

int lecture_write(const struct lecture *l, const char *file,
                  const json_t *report); /* in OUT; 0 or an exit code, said */

/* --- stores (bench_lecture_store.c) ----------------------------------------------------------------------------- */

/* Finished planned trials of a store, those numbered from the given one on: their returns to ret, at most max.  -1: no
 * readable store. */
int store_returns(const char *store, long from_number, double *ret, int max);

/* Puts the experience of n stores of one robot together into a new one: finished trials with their transitions, as
 * exploration (number 0), so that a daemon that starts from it has everything to learn and nothing planned.  Trials keep
 * together; first ones of each store, then second ones ..., so that none of them has the newest.  Of every `every` trials
 * of a store one is taken, of store k the (k mod every)th.  The number of transitions, or -1 with a sentence. */
long store_merge(const char *const *from, int n, int every, const char *to, char *why, size_t why_size);

/* How many model versions planned the trials numbered from .. to, and the first of them; 0: a step that none planned. */
struct store_versions {
    long first;
    int  versions;
};
int store_versions(const char *store, long from, long to, struct store_versions *v);

/* Gradient steps of all models of a store; 0 where there is none. */
long store_training_steps(const char *store);

/* Two observations of a planned trial: the first state and every next one.  Number of points, -1: no such trial. */
int store_track(const char *store, long number, const char *x, const char *y, double (*track)[2], int max);

/* File name of the newest published model; false: none. */
bool store_model_file(const char *store, char *file, size_t size);

/* --- the table of surfaces, pure (bench_lecture_table.c) -------------------------------------------------------- */

enum { SURFACES = 2, SETS_MAX = 4, CELL_MAX = LECTURE_DOTS_MAX };

/* Training sets: of surface 0, of surface 1, of both, of both with half of each's trials. */
struct surfaces_cell {
    int    n;
    double ret[CELL_MAX]; /* of every trial and seed */
    double mean, std;     /* of the cost             */
    double error;         /* one-step, of held-out trials; NaN: none */
};
struct surfaces_table {
    int                  sets;
    struct surfaces_cell cell[SETS_MAX][SURFACES];
    double               reference[SURFACES]; /* cost = reference - return */
};
struct surfaces_checks {
    double own_to_other[SURFACES]; /* cost of its own model / of the other's: at most 0.5 */
    double mixed_to_own[SURFACES]; /* cost of the model of both / of its own: at most 2   */
    bool   own_met, mixed_met;     /* on both; false where a figure does not exist        */
};

/* reference: NaN: the best return in each surface's column. */
void surfaces_costs(struct surfaces_table *t, double reference);
void surfaces_check(const struct surfaces_table *t, struct surfaces_checks *c);

#endif
