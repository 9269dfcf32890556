/* dst.h - deterministic simulation: the real core, planner and reference receiver, a simulated plant, a lossy link and a
 * virtual clock, all from one seed.  The same seed gives the same torque bytes; invariants are checked at every tick by
 * the environment, which keeps its own books (ghosts) and does not read the core's. */
#ifndef TESTS_DST_H
#define TESTS_DST_H

#include "daemon/core.h"
#include "firmware-bridge/receiver.h"

/* Faults, as probabilities per tick unless said otherwise. */
struct dst_faults {
    double state_lost, state_twice, state_late; /* link                                  */
    double state_nan, state_range, state_jump;  /* sensor                                */
    double command_lost;
    double plan_lost, plan_nan, plan_wild;      /* planner: nothing, NaN, out of bounds  */
    double estop, robot_fault;                  /* robot side                            */
    double restart;                             /* robot side starts anew: new session   */
    double stop, disarm, reset, arm;            /* a restless operator                   */
    double silence;                             /* the robot side goes quiet for a while */
};

struct dst_options {
    uint64_t                   seed;
    uint64_t                   ticks;
    const struct robot_config *config;
    struct dst_faults          faults;
    bool                       operator_arms; /* arms once at the beginning           */
    uint64_t                   stop_at;       /* ticks at which one thing happens, 0: never */
    uint64_t                   silent_from;
    uint64_t                   estop_at;
};

struct dst_result {
    uint64_t hash;            /* FNV-1a over every effort byte at the motors        */
    uint64_t armed_ticks, advanced_ticks, driven_ticks, transitions, trials;
    uint64_t violations;      /* of any invariant below; the first is described     */
    char     first[160];
    uint64_t silent_to_damp;  /* ticks from the last state to the last TORQUE command, where silent_from was set */
    uint64_t mode_ticks[MODE_COUNT];
    double   effort_max;
    uint64_t steps, ended;       /* of finished trials; trials that the task ended     */
    uint64_t requests, foretold; /* of plans; with the seed that the request before had announced */
};

/* A small cart-pole configuration at 25 Hz with a cheap planner. */
void dst_config(struct robot_config *c);

void dst_run(const struct dst_options *o, struct dst_result *r);

#endif
