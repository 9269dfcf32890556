/* receiver.h - the reference receiver: what every robot side must enforce on the commands it is sent.
 *
 * Pure: no clock, no I/O, no allocation.  It accepts a JointCommand only with the current session, an advancing seq,
 * a plausible shape and finite numbers, and applies
 *
 *     tau = torque + kp (position - q) + kd (velocity - dq)      clipped to +- effort_max, 0 where not actuated,
 *                                                                0 where it would drive on a joint at velocity_max,
 *                                                                and held to effort_rate
 *
 * for as long as the command is valid.  Nothing it is sent can make it exceed its own limits, and it stops by itself:
 *
 *     OFF    no torque: a session began, or the daemon sent an IDLE heartbeat
 *     LIVE   the newest accepted TORQUE command is applied
 *     DAMP   -damp_kd dq: the daemon asked for it, or no valid new command came in time
 *     LATCH  as DAMP, but only a new session ends it, or an IDLE command that answers a state younger than
 *            command_timeout_ms and sent after the latch began (and then only into OFF)
 *
 *               IDLE   TORQUE  DAMP   expired  silent   e-stop      expired: min(valid_ms, command_timeout_ms) after
 *     OFF       OFF    LIVE    DAMP   -        -        LATCH                the last accepted command
 *     LIVE      OFF    LIVE    DAMP   DAMP     LATCH    LATCH       silent:  5 command_timeout_ms, at least 100 ms
 *     DAMP      OFF    LIVE    DAMP   -        LATCH    LATCH
 *     LATCH     OFF    LATCH   LATCH  -        -        LATCH
 *
 * A message with a wrong CRC changes nothing by itself; three of the last ten are a loss of commands: LIVE becomes DAMP,
 * and no TORQUE is accepted (and none is a sign of life) until fewer are.
 *
 * A pressed e-stop means no torque at all, not even damping, and so does the latch it leaves behind; it cannot be left
 * while it is pressed.
 *
 * Rate: |tau| may fall at once.  It may grow, or begin on the other side of zero, while all growth, less effort_rate
 * for the time that passes (though never less than none), is at most effort_rate command_timeout.  So in any time t
 * it grows by no more than effort_rate (t + command_timeout), however many commands come; and a stream of one command
 * a period T, each at most effort_rate T further from zero than the one before, is applied unchanged where some come
 * up to command_timeout - T later after their time than others; a lost one counts as coming with the next.  The rate
 * is taken a thousandth larger: clocks differ.  LIVE begins at 0, whatever OFF, DAMP or LATCH applied; these are not
 * held to it.
 *
 * The daemon keeps the same limit and rate, so what they change here is told as CHANGED: the two ends disagree.  Not where
 * it cannot know what was in force: after commands were lost or refused, LIVE ran out or receiver_forget_command, until an
 * evaluation finds nothing to slow.
 *
 * A velocity that is not finite is taken as too fast either way where there is a velocity limit.  One thread. */
#ifndef BRIDGE_RECEIVER_H
#define BRIDGE_RECEIVER_H

#include "proto/robot.h"

enum receiver_mode { RECEIVER_OFF, RECEIVER_LIVE, RECEIVER_DAMP, RECEIVER_LATCH, RECEIVER_MODES };

/* What became of commands: the first is acceptance, those up to RECEIVER_DAMAGED refuse, the others say more. */
enum receiver_count {
    RECEIVER_ACCEPTED,
    RECEIVER_SESSION,    /* not of the current session                                   */
    RECEIVER_REPEATED,   /* the number of the last accepted one again                    */
    RECEIVER_SEQ,        /* old, or further ahead than 2^30                              */
    RECEIVER_SHAPE,      /* number of joints                                             */
    RECEIVER_NONFINITE,  /* NaN or infinite anywhere, or a negative gain                 */
    RECEIVER_VALIDITY,   /* valid_ms not finite and positive                             */
    RECEIVER_STALE,      /* TORQUE for a state older than command_timeout_ms, or unknown */
    RECEIVER_DEGRADED,   /* TORQUE while three of the last ten messages were damaged     */
    RECEIVER_DAMAGED,    /* messages with a wrong CRC                                    */
    RECEIVER_LOST,       /* numbers that never came                                      */
    RECEIVER_JUMPED,     /* times that three or more were missing at once                */
    RECEIVER_HELD_BACK,  /* TORQUE, DAMP or an IDLE from before, while latched: taken note of, not applied */
    RECEIVER_UNACTUATED, /* wanted torque on an unactuated joint: 0                      */
    RECEIVER_CLAMPED,    /* evaluations in which the effort limit clipped                */
    RECEIVER_CUT_BACK,   /* the same of the velocity limit                               */
    RECEIVER_SLOWED,     /* the same of the effort rate                                  */
    RECEIVER_CHANGED,    /* commands that effort limit or rate changed although their sender knows these */
    RECEIVER_COUNTS,
};

enum { RECEIVER_STATES = 64 }; /* sent states whose time is remembered */

struct receiver_limits {
    int    nj;
    bool   actuated[MAX_JOINTS];
    double effort_max[MAX_JOINTS];   /* N m or N, finite                                        */
    double effort_rate[MAX_JOINTS];  /* N m/s or N/s, > 0, away from zero; infinity: none       */
    double velocity_max[MAX_JOINTS]; /* rad/s or m/s, > 0; infinity: none                       */
    double damp_kd[MAX_JOINTS];      /* N m s/rad or N s/m, >= 0; 0: the timeout action is OFF  */
    double command_timeout_ms;       /* finite, > 0                                             */
};

struct receiver {
    struct receiver_limits limits;
    enum receiver_mode     mode;
    bool                   estop;        /* pressed now                                  */
    bool                   estop_latch;  /* the latch was left by an e-stop: no damping  */
    uint64_t               session, seq; /* of the last accepted command                 */
    uint64_t               heard_ns;     /* when it came                                 */
    uint64_t               valid_until_ns;
    struct joint_command   command;           /* what LIVE applies                            */
    uint64_t               came;              /* highest seq of this session that came */
    uint16_t               damaged;           /* of the last ten messages: bit 0 is the newest */
    bool                   behind;            /* the daemon may not know what is in force  */
    uint64_t               changed;           /* seq that was counted as changed last      */
    double                 live[MAX_JOINTS];  /* effort applied last, 0 where that was not LIVE    */
    double                 grown[MAX_JOINTS]; /* by how much it grew, less what the rate gives ... */
    uint64_t               grown_ns;          /* ... until then                                    */
    uint64_t               state_seq[RECEIVER_STATES], state_ns[RECEIVER_STATES];
    uint64_t               newest_state; /* last one sent in this session                */
    uint64_t               latch_state;  /* last one sent before the latch               */
    uint64_t               count[RECEIVER_COUNTS];
};

/* No limit of rate or velocity on any joint; the rest of *l stays as it is. */
void receiver_unlimited(struct receiver_limits *l);

/* Limits that are not finite (but for those that may be infinite) or not in range are a bug. */
void receiver_init(struct receiver *r, const struct receiver_limits *limits);

/* A new session: OFF, whatever was before, unless the e-stop is pressed. */
void receiver_session(struct receiver *r, uint64_t session);

/* A state went out: TORQUE commands must answer one that is younger than command_timeout_ms. */
void receiver_state_sent(struct receiver *r, uint64_t state_seq, uint64_t now_ns);

/* A command came in.  Times given to the receiver never go back.  True: accepted. */
bool receiver_command(struct receiver *r, const struct joint_command *c, uint64_t now_ns);

/* A message came with a wrong CRC. */
void receiver_damaged(struct receiver *r, uint64_t now_ns);

/* The e-stop as it is now. */
void receiver_estop(struct receiver *r, bool pressed);

/* The robot was put somewhere else (a reset between trials): LIVE and DAMP become OFF, a latch stays. */
void receiver_forget_command(struct receiver *r);

/* Effort at now_ns for joints at q, moving at dq: always finite, within limits.  Moves on to DAMP and LATCH in time. */
void receiver_effort(struct receiver *r, const double *q, const double *dq, uint64_t now_ns, double *tau);

/* "accepted", "session", ...: for logs. */
const char *receiver_count_name(enum receiver_count c);

#endif
