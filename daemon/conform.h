/* conform.h - does a robot side keep the receiver contract?  Plays the daemon's part on the wire and looks at nothing but
 * what the robot side sends: joint states with what was applied (firmware-bridge/receiver.h, docs/conform.md).
 *
 * Each clause is one claim, tried on its own after the robot side was put at rest (IDLE; a reset where it is simulated).
 * Efforts are a small share of the robot side's own limits.  A clause that fails is tried again: a stall of this machine
 * looks like a fault of the robot side, but a fault of the robot side comes back.  One thread. */
#ifndef DAEMON_CONFORM_H
#define DAEMON_CONFORM_H

#include <stdbool.h>
#include <stddef.h>

#include "transport/port.h"

enum conform_verdict { CONFORM_NOT_TRIED, CONFORM_PASS, CONFORM_FAIL, CONFORM_SKIP };

struct conform_options {
    const char *endpoint;   /* ipc:// to bind                                                     */
    double      hz;         /* rate granted in Welcome                                            */
    double      latch_ms;
    double      share;      /* of each joint's effort_max that is commanded, 0 .. 1               */
    double      wait_s;     /* for the first Hello                                                */
    int         attempts;   /* per clause                                                         */
    const char *hardware;   /* name of the robot, where it may be real hardware; NULL: only simulated */
    bool        estop;      /* somebody will press the emergency stop when told to                */
    const char *only;       /* "a,b": these clauses; NULL: all                                    */
};

struct conform {
    struct conform_options o;
    struct port           *port;
    uint8_t                peer[PEER_ID_SIZE];
    size_t                 peer_len;
    struct hello           hello;
    int                    hellos;      /* heard since the last Welcome            */
    uint64_t               session, seq;
    struct joint_state     state, before; /* newest, and the one before it         */
    int                    states;      /* of this session                         */
    int                    gaps;        /* states missing between those            */
    bool                   wrong_state; /* of this session: shape, number, session, seq; said in `trouble` */
    char                   trouble[160];
    uint64_t               heard_ns;
    int64_t                ready;       /* trial of the newest READY, -1           */
    uint32_t               trial;
    struct joint_command   last;        /* sent                                    */
    char                   seen[240];   /* what the running clause saw             */
    struct codec_scratch   scratch;
    uint8_t                buf[PORT_MAX_BYTES];
};

struct conform_clause {
    const char *name, *claim;
    enum conform_verdict (*try)(struct conform *c, int which);
    int which; /* told to `try`: variants of a clause */
};

/* In the order in which they are tried; ends with a NULL name. */
extern const struct conform_clause conform_clauses[];

/* Binds, waits for a Hello and a second one, welcomes.  0; 1: nobody came, or not one that may be tested; -1: the
 * endpoint cannot be had.  A sentence in `why` unless 0. */
int  conform_open(struct conform *c, const struct conform_options *o, char *why, size_t why_size);
void conform_close(struct conform *c);

/* Tries one clause, up to o.attempts times; *attempts: how often it was. */
enum conform_verdict conform_try(struct conform *c, const struct conform_clause *k, int *attempts);

/* ---- for the clauses ---- */

/* The next state, handling everything else that comes; false: none for ms. */
bool conform_next(struct conform *c, int ms);
/* Listens for ms, whatever comes. */
void conform_listen(struct conform *c, int ms);
void conform_send(struct conform *c, const struct message *m);
void conform_welcome(struct conform *c); /* a new session, as the answer to Hello */

/* The next command of this session, answering the newest state: `sign` times the test effort on actuated joints. */
struct joint_command conform_command(struct conform *c, enum command_mode mode, double sign);
void                 conform_say(struct conform *c, const struct joint_command *cmd); /* sends it; kept in c->last */

/* n states, each answered with such a command.  False: states stopped coming. */
bool conform_drive(struct conform *c, int n, enum command_mode mode, double sign);
/* At rest, unlatched, where it began. */
bool conform_settle(struct conform *c);

/* The newest state says that every actuated joint had `sign` times the test effort over the last interval (within 20 %),
 * or that none had any (below 1 % of it). */
bool   conform_applied(const struct conform *c, double sign);
bool   conform_no_effort(const struct conform *c);
double conform_effort(const struct conform *c, int joint); /* the test effort */
double conform_period_ms(const struct conform *c);
bool   conform_latched(const struct conform *c);

__attribute__((format(printf, 3, 4))) enum conform_verdict conform_saw(struct conform *c, enum conform_verdict v,
                                                                       const char *format, ...);

#endif
