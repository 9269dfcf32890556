/* bench_rig.h - one measurement of the planner: a model of given sizes, threads on given cores, planning steps one after
 * another, and between them the peak that their speed is a fraction of. */
#ifndef DAEMON_BENCH_RIG_H
#define DAEMON_BENCH_RIG_H

#include "daemon/realtime.h"
#include "planner/planner.h"

struct bench_run {
    const char           *label;     /* shown while it runs                                               */
    struct model_dims     dims;
    struct planner_config config;    /* workers: as many threads, on core[0 ..]                            */
    struct task           task;
    struct action_bounds  bounds;
    const char           *isa;       /* NULL: the best                                                     */
    int                   core[TEAM_MAX];
    struct realtime      *realtime;  /* NULL: ordinary threads, steps without a pause                      */
    int                   priority;  /* realtime: of all threads                                           */
    double                pause;     /* realtime: a step begins this many medians after the last one began */
    int                   min_steps, max_steps;
    double                seconds;   /* after min_steps, no further step once so long has passed           */
    double                cut_s;     /* a step that takes longer is cut and ends the measurement; 0: never */
    bool                  phases;
    int                   paired;    /* instead of all that: so many steps with the peak measured between them */
};

/* Times are of a whole planning step, milliseconds: planner_step, then planner_prepare for the next one. */
struct bench_result {
    int    steps;
    double p50, p99, p999, max, min;
    double cpu;                    /* median of the leader's own processor time            */
    double prepare;                /* median of planner_prepare alone                      */
    double rows, flops;            /* of a step; useful multiply-adds only, counted as two */
    double peak_f32, peak_bf16;    /* GFLOP/s, best of at least five during the run        */
    int    peaks;                  /* measurements of each                                 */
    double near_p50, near_p90;     /* paired: speed of a step as a fraction of the better of the peaks just before and
                                      just after it.  Others on the machine come and go within milliseconds: this leaves
                                      them out on both sides, the 90th percentile nearly all of them */
    bool   cut;
    bool   phased;                 /* phase[] is filled                                    */
    double phase[PLAN_PHASES];     /* ms                                                   */
    char   isa[16];
};

/* Cores this process may use, last first (the first ones meet most interrupts); returns how many, at most max. */
int bench_cores(int *core, int max);

/* Multiply-adds of one row, counted as two each: 2 sum(in out), unpadded. */
double bench_row_flops(const struct model_dims *d);

/* Random weights with the spread of a trained net's, standardised inputs, small steps, so that states stay plausible. */
int bench_model(struct ensemble *e, const struct model_dims *d, uint64_t seed);

/* 0, or -errno; -EINVAL: the planner refuses this, planner_config_error says why.  Shows progress on stderr where that
 * is a terminal. */
int bench_measure(const struct bench_run *run, struct bench_result *out);

#endif
