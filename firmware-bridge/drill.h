/* drill.h - a fault on order, and how long its answer takes: `limber-bridge sim --drill SOCKET`.
 *
 * The robot side connects to SOCKET (Unix, SOCK_SEQPACKET).  An order is "NAME SECONDS": while torque is commanded, the
 * fault begins with the next state and lasts until a command that is not torque comes, SECONDS at most.  The answer:
 *
 *     NAME MS AFTER   MS from when the reaction was due to that command, as received; AFTER: torque commands that answer
 *                     a state in which the fault stood
 *     NAME never AFTER
 *     NAME idle -     no torque was commanded, nothing was done
 *     NAME unknown -
 *
 *     name      the fault                                       due
 *     estop     the emergency stop is pressed                   when the first state that says so is sent
 *     fault     the robot side reports a fault (bit 8)          likewise
 *     nan       velocities are NaN                              when the third such state is sent
 *     outside   a joint far beyond its limits                   likewise
 *     silence   no states                                       when the last one was sent
 *
 * One thread, that of the simulated robot. */
#ifndef BRIDGE_DRILL_H
#define BRIDGE_DRILL_H

#include <stddef.h>

#include "proto/robot.h"

enum drill_kind { DRILL_NONE, DRILL_ESTOP, DRILL_FAULT, DRILL_NAN, DRILL_OUTSIDE, DRILL_SILENCE, DRILL_KINDS };

struct drill {
    int             fd; /* -1: the giver of orders is gone                  */
    enum drill_kind kind;
    uint64_t        until_ns; /* then nobody waits any more                 */
    uint64_t        due_ns;   /* 0: not yet                                 */
    int             states;   /* with the fault so far                      */
    uint64_t        first_seq;
    unsigned long   after;
    uint64_t        sent_ns; /* of the newest state                         */
    bool            torque;  /* the newest command's mode                   */
};

/* False with a sentence. */
bool drill_open(struct drill *d, const char *path, char *why, size_t why_size);
void drill_close(struct drill *d);

/* Between two states: takes an order, gives up a fault that nothing answers. */
void drill_orders(struct drill *d, uint64_t now_ns);

/* What the next state says; true: it is not to be sent at all. */
bool drill_pressed(const struct drill *d);
bool drill_state(struct drill *d, const struct hello *h, struct joint_state *s, uint64_t now_ns);

/* A command of this session was received. */
void drill_command(struct drill *d, const struct joint_command *c, uint64_t now_ns);

#endif
