/* bench_model.h - limber bench model: how far can a learned model be trusted?  The parts of it:
 *
 *     bench_model_load.c    a store and a model that was not trained on its last trials (or one trained here)
 *     bench_model_trust.c   the measurements, pure
 *     bench_model.c         the verb: measures
 *     bench_model_report.c  JSON, table, pictures (docs/uncertainty.md) */
#ifndef DAEMON_BENCH_MODEL_H
#define DAEMON_BENCH_MODEL_H

#include "daemon/bench_model_trust.h"
#include "daemon/bench_trained.h"

enum { HELD_MAX = 64, SPREAD_SETS = 3, SPREAD_VALUES = 1000, PUSHES = 5 };

extern const double SPREAD_PUSH[PUSHES]; /* std of what was seen */

struct model_flags {
    struct trained_flags common; /* config, run, model, store, out, seed, json */
    long                 holdout, steps, windows, particles;
    bool                 train;
};

/* Values of one set of states, sorted. */
struct spread_values {
    double v[SPREAD_VALUES];
};

struct model_bench {
    struct robot_config config;
    struct ensemble     model;
    char                file[PATH_SIZE + 64]; /* the model's; empty: trained here                    */
    int64_t             trained_to;           /* id of the newest trial that it was trained on       */
    struct trust_rows   seen, held;           /* what it was trained on; what it was not             */
    int                 held_trials;
    uint32_t            held_number[HELD_MAX];
    struct trust_scale  scale;

    struct trust_open        open;
    int                      steps, start; /* of the window that is drawn: row of held            */
    float                   *picture;      /* 6 x nx x (steps + 1): truth, mean, bands            */
    struct trust_calibration together[MAX_OBS + 1], alone[MAX_OBS + 1]; /* [nx]: of all               */
    struct spread_values     where[SPREAD_SETS]; /* seen, held out, away                                */
    struct spread_values     pushed[PUSHES];     /* any observation                                     */
    double                   pushed_median[MAX_OBS][PUSHES];
};

/* Everything up to `scale`.  0, or an exit code after saying what is wrong; model_bench_close in any case. */
int  model_bench_open(struct model_bench *b, const struct model_flags *f);
void model_bench_close(struct model_bench *b);

/* Measures, on what model_bench_open found.  0, or an exit code after saying what is wrong. */
int model_bench_measure(struct model_bench *b, const struct model_flags *f);

/* Whether observation k can be pushed away from what was seen: it changes, and it is an input of the model. */
bool model_bench_pushes(const struct model_bench *b, int k);

/* The value i of element k of the picture: which = 0 truth, 1 mean, 2 .. 5 bands. */
float *model_bench_picture(const struct model_bench *b, int which, int k);

/* Table on standard output or the JSON document, and pictures.  0 or an exit code, said. */
int model_bench_report(struct model_bench *b, const struct model_flags *f);

#endif
