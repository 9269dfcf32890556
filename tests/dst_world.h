/* dst_world.h - what the files of the simulation share; nobody else includes it.
 *
 *     dst.c          the world: plant, robot side, operator, planner; one run
 *     dst_weather.c  what goes wrong: link, sensors, plans, plant, clock
 *     dst_check.c    invariants and bounds of reactions, judged from outside
 *     dst_verbs.c    the faults by name; runs as text, to be run again */
#ifndef TESTS_DST_WORLD_H
#define TESTS_DST_WORLD_H

#include "tests/dst.h"

enum { NX = 4, HISTORY = 8, GROWTHS = 64 };

/* A mean over about a second is beyond gates.oscillation, 5, after so many reversals within one: each counts for a third or
 * more. */
enum { DST_REVERSALS = 16, DST_WORKS = 64 };

/* Cart and pole, hanging at theta = 0. */
struct plant {
    double q[2], v[2];
    double mass, friction; /* times the pole's, and the cart's          */
    bool   changed;
};

struct world {
    const struct dst_options *o;
    struct dst_result        *r;
    struct rng                rng;
    struct plant              plant;
    struct receiver           receiver;
    uint64_t                  now_ns, tick_ns, tick;
    uint64_t                  session, seq;
    int64_t                   ready_trial;
    uint32_t                  ready_count;
    bool                      reset_wanted; /* the robot side takes a few ticks to get there */
    uint64_t                  reset_tick;
    uint32_t                  reset_trial;
    struct joint_state        sent[HISTORY]; /* recent states, for repetition     */
    struct joint_state        state;         /* what the core's io thread holds   */
    bool                      state_new;
    uint64_t                  silent_until;
    uint64_t                  states_bad_until, commands_bad_until; /* most of them come damaged */
    uint64_t                  clamps_until;
    bool                      link_damaged; /* the io thread says so, in this tick  */
    uint16_t                  came;         /* the robot side's last ten messages as the io thread sees them */
    bool                      estop;
    bool                      refused;    /* a system call, ever since limberd was started     */
    uint64_t                  refused_tick, born_again; /* since when; when limberd is started again */
    uint64_t                  applied_seq;
    double                    applied[2], given[2]; /* as the robot side believes, as its motors gave it */
    double                    force[DST_DELAY];     /* over the last ticks, newest first                 */
    struct core               core;
    struct core_output        out;
    struct planner           *planner;
    void                     *block;
    struct plan               plan, late_plan;
    uint64_t                  limit_until, reverse_until, pump_until; /* the planner is not itself */
    uint64_t                  late_until; /* late_plan comes then, 0: there is none */
    uint64_t                  late_asked; /* when it was asked for             */
    bool                      have_plan;
    uint64_t                  foretold_seed;
    uint64_t                  model, model_tick; /* in use; when one that was called unfit gives way */
    struct {                                     /* what a sensor does until a tick   */
        uint64_t until[DST_SENSORS];
        int      joint[DST_SENSORS];
        double   value[DST_SENSORS];
    } sensor;
    struct joint_command commands[HISTORY]; /* recent ones, for repetition       */
    /* ghosts: kept here, never read by the code under test */
    bool               g_armed, g_latched;
    uint64_t           g_last_good; /* tick                              */
    double             g_last_effort[2];
    bool               g_last_torque;
    double             g_heat[2]; /* of motors that can be too hot, 1: as effort_continuous makes them in the end */
    uint64_t           g_gap;          /* ticks of time since the last tick */
    uint64_t           g_late[100];    /* ticks that came late, newest last */
    int                g_bad_states;   /* implausible in a row              */
    int                g_still[2];     /* states with the same position although it moves, in a row */
    struct joint_state g_before;       /* last plausible state              */
    int                g_bad_plan;     /* good states in a row that met a bad plan */
    uint64_t           g_plan_tick;    /* when the newest plan that came was asked for */
    uint64_t           g_command_tick; /* when a valid, new command last reached the motors */
    uint64_t           g_command_seq;
    bool               g_trouble;      /* while stopping: an operator's ramp is over          */
    uint64_t           g_healthy;    /* ticks flown on the plant that was learned */
    uint64_t           g_heavy_tick, g_heavy_before; /* good states since the plant changed while a plan drove */
    int                g_weak;       /* states in a row with another effort than commanded */
    int                g_end;        /* of the limit at which the command stands ...      */
    uint64_t           g_end_ns;     /* ... since then                                     */
    int                g_side;       /* beyond half the limit last                         */
    uint64_t           g_reversal_ns[DST_REVERSALS]; /* the newest, newest first           */
    struct {
        uint64_t ns;
        double   joule;
    } g_work[DST_WORKS];             /* that commands did, by what was measured: newest first */
    double             g_command;    /* effort of the last one                             */
    int                g_states[10], g_commands[10]; /* of the last messages either way, newest first: 1 damaged */
    int                g_clamped[10]; /* of the last good states, newest first: the robot side clipped what was in force */
    bool               g_clamps;      /* it did so in this tick                         */
    uint64_t           g_told_clamped; /* ticks in which the core saw that              */
    uint64_t           g_unfit;      /* model that may not fly, 0: none   */
    uint64_t           g_counts;     /* sum of all counters before        */
    enum mode          g_mode;       /* before this tick                  */
    double             g_motor;      /* what drove the motor over the last tick ... */
    double             g_grown[GROWTHS]; /* ... and by how much that grew, over the last ticks, newest first */
};

__attribute__((format(printf, 2, 3))) void violated(struct world *w, const char *format, ...);

static inline bool chance(struct world *w, double p)
{
    return p > 0 && rng_uniform(&w->rng) < p;
}

/* dst.c */
void plant_step(struct plant *p, double force, double dt);

/* dst_weather.c */
void weather_sensors(struct world *w, struct joint_state *s);
void weather_link(struct world *w, const struct joint_state *s);
void weather_plan(struct world *w, const struct plan_request *req, bool cheap);
bool weather_command(struct world *w);
void weather_clock(struct world *w);
void weather_motor(struct world *w); /* w->given is what is left of w->applied */
void weather_host(struct world *w);
void weather_limits(struct world *w);

/* dst_check.c */
void check_input(struct world *w, const struct core_input *in);   /* before the core sees it */
void check_command(struct world *w, const struct core_input *in); /* after its step          */
void check_motor(struct world *w, const double *tau);
void check_growth(struct world *w, double tau); /* every tick of the motor */
void check_end(struct world *w, const struct notice *n);

#endif
