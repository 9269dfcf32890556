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
    double state_old;                           /* an old state instead of this one      */
    double state_nan, state_range, state_jump;  /* sensor                                */
    double sensor_stuck, velocity_stuck;        /* a joint's for some ticks              */
    double sensor_slow, sensor_garbage;         /* lags; plausible noise; for some ticks */
    double sender_clock;                        /* sample time is nonsense               */
    double command_lost, command_twice, command_old, command_garbage;
    double state_corrupt, command_corrupt;      /* damaged on the way; at times nearly half of them */
    double robot_clamps;                        /* by a lower limit than it told, for some ticks */
    double plan_lost, plan_nan, plan_wild;      /* planner: nothing, NaN, out of bounds  */
    double plan_late, spread_nan;               /* one or two steps late; spread no number */
    double plan_limit, plan_reverse;            /* for some ticks: all it can, one way; all it can, to and fro */
    double plan_pump;                           /* for some ticks: all it can, the way that the cart goes      */
    double motor_weak;                          /* gives, and measures, a share of its effort; for some ticks  */
    double plant_heavy;                         /* another mass, friction or delay, until the next reset */
    double tick_late;                           /* the core is not run for up to six ticks */
    double estop, robot_fault;                  /* robot side                            */
    double restart;                             /* robot side starts anew: new session   */
    double stop, disarm, reset, arm;            /* a restless operator                   */
    double silence;                             /* the robot side goes quiet for a while */
    double syscall_refused;                     /* to a real-time thread; limberd is started again some ticks later */
};

/* Of a plant that is not the one that was learned: factors of the pole's mass and of the cart's friction, and ticks by
 * which its effort comes later. */
enum { DST_DELAY = 4 };
struct dst_change {
    double mass, friction;
    int    delay;
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
    bool                       cheap;         /* plans are drawn, not searched; predictions those of the healthy plant */
    struct dst_change          change;        /* what plant_heavy makes of the plant; all 0: three times mass and friction */
};

/* sensor_stuck, velocity_stuck, sensor_slow, sensor_garbage, motor_weak */
enum { DST_SENSORS = 5, DST_WEAK = 4 };

enum { DST_NOTICED = 50 };

struct dst_result {
    uint64_t hash;            /* FNV-1a over every effort byte at the motors        */
    uint64_t armed_ticks, advanced_ticks, driven_ticks, transitions, trials;
    uint64_t violations;      /* of any invariant below; the first is described     */
    char     first[160];
    uint64_t first_tick;
    uint64_t dropped;         /* states that were not newer than the last           */
    uint64_t events;          /* times that any fault was put in                    */
    uint64_t fault[FAULT_COUNT]; /* ticks in which the core saw each                */
    uint64_t filter[FILTER_STAGES]; /* ticks in which each stage changed something  */
    uint64_t gate_trips, unfit;
    uint64_t slowed, changed; /* evaluations that the receiver's rate held back; commands it told of as changed */
    /* Good states on a changed plant while a plan drives, the change included: gates that tripped at the n-th, and flights
     * that went on after it. */
    uint64_t noticed[DST_NOTICED + 1], unnoticed[DST_NOTICED + 1];
    uint64_t silent_to_damp;  /* ticks from the last state to the last TORQUE command, where silent_from was set */
    uint64_t mode_ticks[MODE_COUNT];
    double   effort_max;
    uint64_t steps, ended;       /* of finished trials; trials that the task ended     */
    uint64_t requests, foretold; /* of plans; with the seed that the request before had announced */
};

/* A small cart-pole configuration at 25 Hz with a cheap planner. */
void dst_config(struct robot_config *c);

/* A core that drives a planned trial by model 1, hanging at rest at 1000 s, with a plan that fits. */
void dst_driving(struct core *core, const struct robot_config *c);

/* The answer to a request, of model 1: five steps of one action, all 0, nothing predicted. */
struct plan dst_plan(const struct plan_request *req);

void dst_run(const struct dst_options *o, struct dst_result *r);

/* The faults by name, with the rate that runs by name use and the fault bits of which the core must raise one (0: none, the
 * link or the robot side deals with it). */
struct dst_verb {
    const char *name;
    size_t      at; /* of its probability in struct dst_faults */
    double      rate;
    uint32_t    bits;
};
extern const struct dst_verb dst_verbs[];
int                          dst_verb_count(void);

/* Cheap plans, an operator who arms again and again, gates calibrated, and these verbs (bit i: dst_verbs[i]). */
void dst_verb_run(uint64_t seed, uint64_t ticks, uint64_t verbs, struct dst_result *r);

/* The same where effort may grow by 40 N a tick only, so that both ends have something to agree about; F7 is not watched. */
void dst_slow_run(uint64_t seed, uint64_t ticks, uint64_t verbs, struct dst_result *r);

/* The same with nothing but plants that change like this. */
void dst_change_run(uint64_t seed, uint64_t ticks, const struct dst_change *change, struct dst_result *r);

/* Of flights on a changed plant that lasted for n good states, the share in which a gate tripped by then; *of: how many. */
double dst_noticed(const struct dst_result *r, int n, uint64_t *of);

/* The same as a line for the environment of the test program, and back: -1 with a complaint printed. */
void dst_line(uint64_t seed, uint64_t ticks, uint64_t verbs, char *line, size_t size);
int  dst_line_run(const char *line, struct dst_result *r);

#endif
