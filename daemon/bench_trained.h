/* bench_trained.h - what benchmarks on trained models share: a model, states it was used in, a planner to try on them.
 *
 *     limber bench budget    cost reached against model evaluations, every planner (bench_budget.c)
 *     limber bench accuracy  what the fast activation and bfloat16 do to the ranking of candidates (bench_accuracy.c) */
#ifndef DAEMON_BENCH_TRAINED_H
#define DAEMON_BENCH_TRAINED_H

#include <stdbool.h>

#include "daemon/config.h"
#include "models/ensemble.h"

/* Where the model comes from: a run's directory, or model and store by name, or (all NULL) a run in lockstep. */
struct trained_flags {
    const char *config, *run, *model, *store, *out;
    long        states, seed, trials;
    bool        json;
};

#define TRAINED_FLAGS(f)                                                                                              \
    { .name = "config", .value = "FILE", .what = "robot.yaml", .text = &(f)->config },                                \
        { .name  = "run",                                                                                             \
          .value = "DIR",                                                                                             \
          .what  = "directory of a finished run (default: run one now, in lockstep)",                                 \
          .text  = &(f)->run },                                                                                        \
        { .name = "model", .value = "FILE", .what = "this model instead of the run's newest", .text = &(f)->model },  \
        { .name = "store", .value = "DB", .what = "experience.db, instead of the run's", .text = &(f)->store },       \
        { .name   = "trials",                                                                                         \
          .value  = "N",                                                                                              \
          .what   = "planned trials of a run made now",                                                               \
          .number = &(f)->trials,                                                                                     \
          .min    = 1,                                                                                                \
          .max    = 1000 },                                                                                              \
        { .name   = "states",                                                                                         \
          .value  = "N",                                                                                              \
          .what   = "how many of the stored states",                                                                  \
          .number = &(f)->states,                                                                                     \
          .min    = 2,                                                                                                \
          .max    = 1000 },                                                                                              \
        { .name = "seed", .value = "N", .what = "of everything random", .number = &(f)->seed, .min = 0, .max = 1e9 }, \
        { .name = "json", .what = "print the JSON document only", .on = &(f)->json },                                 \
    {                                                                                                                 \
        .name = "out", .value = "DIR", .what = "directory for reports (build/bench)", .text = &(f)->out               \
    }

struct trained {
    struct robot_config  config;
    struct action_bounds bounds;
    struct ensemble      model;
    char                 file[PATH_SIZE]; /* the model's                                            */
    int                  transitions;     /* in the store                                           */
    int                  n;               /* states                                                 */
    float               *x;               /* n x nx: evenly over the first thirds of planned trials */
};

/* Reads or makes everything.  0, or an exit code after saying what is wrong; trained_close in any case. */
int  trained_open(struct trained *t, const struct trained_flags *f);
void trained_close(struct trained *t);

/* The first of `take` indices spread evenly and without repetition over 0 .. n-1, from an offset by the seed: entry i. */
int trained_pick(int i, int take, int n, uint64_t seed);

/* A planner of any name with its own defaults, and horizon, particles, propagation and init_std as this robot's: what two
 * planners must have in common to be compared.  The robot's own planner is as configured.  False: unknown name. */
bool trained_defaults(const struct robot_config *c, const char *name, struct planner_config *p);

/* A planner with the model in slot 0, in memory of its own (free(*memory)). */
struct planner *trained_planner(const struct trained *t, const struct planner_config *c, void **memory);

/* Median, and in general the q-quantile (linear between values) of n >= 1 numbers, which are sorted. */
double quantile(double *v, int n, double q);

/* Spearman's rank correlation of a and b, ties with their mean rank; NaN where one of them is constant. */
double rank_correlation(const float *a, const float *b, int n);

/* OUT/NAME, the directory made if need be, or standard output with json.  0 or an exit code, said. */
struct json_t;
int trained_report(const struct trained_flags *f, const char *name, const struct json_t *report);

#endif
