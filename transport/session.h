/* session.h - the daemon's side of the conversation with one robot side, without any I/O.
 *
 * Fed with every message and its sender, it says what to answer and what is new.  It checks Hello against what
 * robot.yaml expects, grants sessions, refuses a second robot side while the first is alive, drops duplicates, old and
 * reordered states, counts every kind of trouble, says when three of the last ten messages of its robot side came
 * damaged (F2), and bans a peer that sends more than 100 bad messages in a second for 10 s (safety.md S6).  A new session always means: disarmed (the core sees the new id).  io thread only; the
 * counters may be read from any thread. */
#ifndef TRANSPORT_SESSION_H
#define TRANSPORT_SESSION_H

#include <stdatomic.h>

#include "transport/codec.h"

enum {
    PEER_ID_SIZE     = 255,
    SESSION_ALIVE_MS = 1000,
    SESSION_SENDERS  = 8,   /* senders of bad messages remembered at a time               */
    SESSION_BAD_MAX  = 100, /* bad messages within SESSION_BAD_MS that are still put up with */
    SESSION_BAD_MS   = 1000,
    SESSION_BAN_MS   = 10000,
};

/* What happened, counted by kind; session_count_name gives the name shown in status. */
enum session_count {
    COUNT_STATES,  /* good states handed on                          */
    COUNT_GARBAGE, /* not an Envelope                                */
    COUNT_OVERSIZED,
    COUNT_UNKNOWN,     /* body of an unknown kind                        */
    COUNT_SHAPE,       /* counts, enums, names; joint count of a state   */
    COUNT_UNEXPECTED,  /* a message only the daemon may send             */
    COUNT_NO_SESSION,  /* without or with an old session                 */
    COUNT_DUPLICATE,   /* seq seen already                               */
    COUNT_OLD,         /* seq goes back                                  */
    COUNT_GAP,         /* states missing between two                     */
    COUNT_HELLO,       /* hellos answered with Welcome                   */
    COUNT_REFUSED,     /* hellos answered with Refusal                   */
    COUNT_SECOND_PEER, /* a second robot side while the first is alive   */
    COUNT_BANNED,      /* messages dropped from a banned peer            */
    COUNT_TRIAL_EVENTS,
    COUNT_CRC,         /* damaged, truncated, noise                      */
    COUNT_ECHO,        /* the daemon's own, come back                    */
    COUNT_KINDS,
};
const char *session_count_name(enum session_count k);

/* What robot.yaml expects of the robot side. */
struct session_expect {
    char              robot[NAME_SIZE];
    int               nj;
    struct joint_info joint[MAX_JOINTS]; /* limits: what the daemon will use at most */
    int               nextra;
    char              extra[MAX_EXTRA][NAME_SIZE];
    bool              simulated;
    bool              lockstep_allowed;
    double            control_hz, latch_ms;
    double            robot_timeout_max_ms;
};

/* One who sent bad messages: how many of late, when it was last told so, and whether it is banned. */
struct session_sender {
    uint8_t  id[PEER_ID_SIZE];
    size_t   len; /* 0: free */
    int      bad;
    uint64_t bad_since_ns, bad_last_ns, refused_ns, banned_until_ns;
};

struct session {
    struct session_expect expect;
    uint64_t              next_session; /* ids; seeded by the caller, never 0                 */
    uint64_t              id;           /* current session, 0: none                           */
    bool                  lockstep;
    uint8_t               peer[PEER_ID_SIZE];
    size_t                peer_len;
    struct hello          hello; /* of the current session                             */
    uint64_t              last_seq, last_heard_ns;
    int64_t               ready_trial; /* last trial announced READY and not over since, -1  */
    uint32_t              ready_count; /* READY announcements in this session                */
    uint16_t              damaged;     /* of the robot side's last ten messages: bit 0 is the newest */
    struct session_sender sender[SESSION_SENDERS];
    _Atomic uint64_t      count[COUNT_KINDS];
    char                  last_trouble[240]; /* io thread's; copied out by the io loop             */
};

/* What a message means for the daemon. */
struct session_result {
    bool               opened; /* a new session began                                   */
    bool               degraded; /* it came damaged, the third of the robot side's last ten  */
    bool               has_state;
    struct joint_state state; /* received_ns and ready_trial filled in                 */
    bool               has_event;
    struct trial_event event;
    bool               has_reply; /* to be sent back to the sender                         */
    struct message     reply;     /* Welcome or Refusal                                    */
};

void session_init(struct session *s, const struct session_expect *expect, uint64_t first_session);

/* One message from `peer` at now_ns.  Never fails: trouble is counted, and answered or ignored.
 * Refusals for bad states and garbage are rate-limited to one per peer and second. */
void session_receive(struct session *s, const uint8_t *peer, size_t peer_len, const uint8_t *bytes, size_t len,
                     uint64_t now_ns, struct codec_scratch *scratch, struct session_result *r);

/* The rules of a Hello: a second robot side is refused (BUSY) while the first is alive; the same Hello from the same
 * living peer gets the same Welcome again; any other acceptable Hello begins a new session.  A new boot id from the
 * same peer ends its old session even where the new Hello is refused.
 *
 * Whether the robot side has been heard of within SESSION_ALIVE_MS. */
bool session_alive(const struct session *s, uint64_t now_ns);

#endif
