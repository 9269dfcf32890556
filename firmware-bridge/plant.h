/* plant.h - the simulated robot in time: which command acts on which part of which interval.  No clock, no I/O.
 *
 * State k stands for the robot at t_k.  The interval [t_k, t_k+1) is integrated at its end, when everything that was
 * received during it is known.  A command received within min(latch, period) of sending state k acts from t_k; a later
 * one from the next sub-step boundary after it came, and is counted as late.  Before any, the previous command holds
 * for as long as the receiver lets it.  All commands pass the reference receiver (receiver.h).  One thread. */
#ifndef BRIDGE_PLANT_H
#define BRIDGE_PLANT_H

#include "firmware-bridge/sim.h"

enum { PLANT_PENDING = 32 };

struct plant {
    struct sim     *sim;
    struct receiver receiver;
    double          share[MAX_JOINTS]; /* of its effort that a motor gives: 1, or less on purpose */
    int             substeps;
    uint64_t        period_ns, latch_ns;

    /* the running interval */
    uint64_t start_ns, sent_ns, state_seq;
    struct {
        uint64_t             at_ns;
        bool                 late, damaged; /* damaged: there is no command */
        struct joint_command command;
    } pending[PLANT_PENDING];
    int npending;

    /* the interval that ended */
    uint64_t applied_command_seq;
    bool     applied_held;
    double   applied_effort[MAX_JOINTS];  /* what the receiver wanted   */
    double   measured_effort[MAX_JOINTS]; /* what the motors gave       */
    uint64_t silent_ns;                   /* since the last command, when its running out ended LIVE; 0: it did not */

    uint32_t late_commands;   /* since the session began                          */
    uint64_t before[RECEIVER_COUNTS]; /* the receiver's counts then               */
    int      diverged_states; /* states that will still carry ROBOT_FAULT_DIVERGED */
};

void plant_init(struct plant *p, struct sim *sim, double command_timeout_ms);

/* A session begins.  False with a sentence where the daemon's rate does not fit the simulation. */
bool plant_session(struct plant *p, const struct welcome *w, char *why, size_t why_size);

/* The robot as it is now; seq, sample_ns and session are the caller's. */
void plant_state(const struct plant *p, struct joint_state *s);

/* The interval from start_ns begins; its state `state_seq` (0: none) was sent at sent_ns. */
void plant_begin(struct plant *p, uint64_t start_ns, uint64_t sent_ns, uint64_t state_seq);

/* A command came in at received_ns. */
void plant_command(struct plant *p, const struct joint_command *c, uint64_t received_ns);

/* A message with a wrong CRC did. */
void plant_damaged(struct plant *p, uint64_t received_ns);

/* Integrates the interval.  False: the simulation diverged and is back at its start pose; see sim_trouble. */
bool plant_run(struct plant *p);

/* Between two intervals: start pose of a trial, no command in force. */
void plant_reset(struct plant *p, const struct trial_request *q);

#endif
