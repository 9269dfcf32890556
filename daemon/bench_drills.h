/* bench_drills.h - faults that the simulated robot is ordered to have (limber-bridge sim --drill), whether each stopped the
 * robot in time, and arming again between them. */
#ifndef DAEMON_BENCH_DRILLS_H
#define DAEMON_BENCH_DRILLS_H

#include <jansson.h>

#include "daemon/cli_session.h"

enum drill_kind { DRILL_ESTOP, DRILL_FAULT, DRILL_NAN, DRILL_OUTSIDE, DRILL_SILENCE, DRILL_KINDS };

/* Reactions of one kind of phase, all its rounds together. */
struct drill_found {
    struct drill_one {
        enum drill_kind kind;
        double ms;    /* from when it was due to the first command that shows it, as received; infinite: none came */
        long   after; /* torque commands that answer a state with the fault */
    } * one;
    int n, room;
    int next; /* kind that is drilled next */
};

struct drills {
    char   path[PATH_SIZE + 32];
    int    listener, robot; /* -1: none */
    double bound_ms;        /* how much later than due a reaction may come */
    double stale_ms;        /* states that do not come must be noticed within */
};

/* A socket in run_dir for the simulator to be started with (session_options.drill), false after saying why not. */
bool drills_open(struct drills *d, const char *run_dir);
void drills_close(struct drills *d);

/* Once the robot is linked: takes its connection and the bounds from its configuration; bound_ms 0: the usual one. */
bool drills_begin(struct drills *d, const struct session *s, double bound_ms);

/* Waits; END_NOT_YET: nothing happened meanwhile. */
enum session_end drills_wait(struct session *s, struct terminal *t, double seconds);

/* One fault.  1: what came of it is noted in `found`; 0: not done, as the robot was not armed, or for the reason in *end. */
int drills_one(struct drills *d, struct session *s, struct terminal *t, struct drill_found *found,
               enum session_end *end);

/* Resets the robot and arms it again, as soon as the checks hold. */
enum session_end drills_arm(struct session *s, struct terminal *t);

/* A reaction that came too late, not at all, or after torque for a state with the fault. */
bool drill_missed(const struct drills *d, const struct drill_one *one);

/* Counts, quantiles of all but silence ("told_ms") and of silence ("silence_ms"), worst of each kind, and ratios to
 * `quiet`, the same of another phase (NULL: to itself). */
json_t *drills_json(const struct drills *d, const struct drill_found *found, const json_t *quiet);

/* A table of these objects: head (row NULL), then row by row. */
void drills_print(const char *with, const json_t *row);

#endif
