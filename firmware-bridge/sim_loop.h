/* sim_loop.h - a simulated robot on the wire: Hello until welcomed, then states out and commands in, in real time or
 * in lockstep.  One thread, which may be a real-time one. */
#ifndef BRIDGE_SIM_LOOP_H
#define BRIDGE_SIM_LOOP_H

#include <signal.h>

#include "firmware-bridge/faulty.h"
#include "firmware-bridge/sim.h"

struct sim_loop_options {
    const char                  *robot, *endpoint;
    const char                  *key, *server_key; /* files, with tcp://             */
    double                       command_timeout_ms;
    bool                         lockstep;
    bool                         rt;
    int                          priority, core; /* with rt                          */
    const char                  *picture;        /* PNG file of each trial, or NULL  */
    bool                         quiet;
    uint64_t                     max_states; /* end after so many, 0: never      */
    const volatile sig_atomic_t *stop;       /* set by a signal handler          */
    const volatile sig_atomic_t *estop;      /* pressed, by a signal handler     */
    struct faulty               *faulty;     /* faults on purpose, NULL: none    */
    uint64_t                     fault_seed;
    const char                  *drill; /* socket of one who orders faults, NULL: none (drill.h) */
};

/* Runs until *stop or max_states.  Returns an exit code of sysexits.h; trouble has been printed. */
int sim_loop(const struct sim_loop_options *o, struct sim *sim);

#endif
