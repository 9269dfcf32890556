/* faulty.h - faults of the link and of the simulated robot, on purpose and from one seed: what `limber-bridge sim --fault`
 * can do, so that everything that answers to faults can be tried with real programs.
 *
 * A fault is WHAT[=VALUE][:JOINT][@FROM[+FOR]]; FROM and FOR in seconds since the session began (default: always).
 *
 *     lose-states=P  lose-commands=P         each is lost with probability P
 *     double-states=P  double-commands=P     each comes twice
 *     damage-states=P  damage-commands=P     one random bit of it is flipped
 *     delay-states=MS  delay-commands=MS     each is held back so long (up to 64 at a time; more are lost)
 *     silent                                 nothing goes out and nothing comes in
 *     frozen                                 the robot side does nothing at all; once
 *     restart                                it starts anew, with a new boot id; once
 *     stuck:JOINT                            position and velocity stay what they were
 *     nan:JOINT                              its velocity is NaN
 *     offset=V:JOINT                         V is added to its position
 *     heavy=FACTOR                           every body has so many times its mass and inertia
 *     weak=SHARE:JOINT                       its motor gives only so much of its effort, and measures that
 *     clips=SHARE:JOINT                      its driver lets only so much of the effort limit through that Hello tells
 *     estop                                  the emergency stop is pressed
 *     fault                                  the robot side reports a fault (bit 8)
 *
 * Same seed, same faults, as long as the same messages pass.  One thread. */
#ifndef BRIDGE_FAULTY_H
#define BRIDGE_FAULTY_H

#include "transport/port.h"

enum { FAULTS_MAX = 16, FAULTY_HELD = 64, FAULTY_BYTES = 4096, ROBOT_FAULT_ON_PURPOSE = 1 << 8 };

enum faulty_kind {
    FAULTY_LOSE,
    FAULTY_DOUBLE,
    FAULTY_DAMAGE,
    FAULTY_DELAY,
    FAULTY_SILENT,
    FAULTY_FROZEN,
    FAULTY_RESTART,
    FAULTY_STUCK,
    FAULTY_NAN,
    FAULTY_OFFSET,
    FAULTY_HEAVY,
    FAULTY_WEAK,
    FAULTY_CLIPS,
    FAULTY_ESTOP,
    FAULTY_FAULT,
};

struct faulty_item {
    enum faulty_kind kind;
    bool             out; /* of states (true) or commands */
    bool             done; /* those that happen once      */
    double           value, from_s, for_s;
    char             joint[NAME_SIZE];
    int              index; /* of the joint               */
};

/* Messages on their way, in one direction. */
struct faulty_queue {
    int      n;
    uint64_t due_ns[FAULTY_HELD];
    size_t   len[FAULTY_HELD];
    uint8_t  bytes[FAULTY_HELD][FAULTY_BYTES];
};

struct faulty {
    int                 n;
    struct faulty_item  item[FAULTS_MAX];
    uint64_t            seed, draws;
    uint64_t            session_ns; /* 0: no session so far, no faults */
    struct joint_state  frozen_state; /* last one before a sensor got stuck */
    struct faulty_queue out, in;
};

/* Adds one fault.  False with a sentence. */
bool faulty_add(struct faulty *f, const char *text, char *why, size_t why_size);

/* Joints by name; false with a sentence where there is none of that name.  Then the faults begin. */
bool faulty_begin(struct faulty *f, const struct hello *h, uint64_t seed, char *why, size_t why_size);
void faulty_session(struct faulty *f, uint64_t now_ns);

/* port_send and port_receive of a robot side, with faults.  Hello and its answers always pass but in silence. */
bool faulty_send(struct faulty *f, struct port *p, const uint8_t *bytes, size_t len, bool is_state, uint64_t now_ns);
long faulty_receive(struct faulty *f, struct port *p, uint8_t *bytes, size_t size, uint64_t now_ns);

/* Something is held back: do not sleep for long. */
bool faulty_holds(const struct faulty *f);

/* What the sensors say instead of *s. */
void faulty_state(struct faulty *f, struct joint_state *s, uint64_t now_ns);

/* How many times its own mass the robot has. */
double faulty_mass(const struct faulty *f, uint64_t now_ns);

/* The share of its effort that the motor of joint j gives, and of its effort limit that its driver lets through, 0 to 1. */
double faulty_share(const struct faulty *f, int j, uint64_t now_ns);
double faulty_clips(const struct faulty *f, int j, uint64_t now_ns);

bool faulty_estop(const struct faulty *f, uint64_t now_ns);

/* True once when it is time; *for_s: how long. */
bool faulty_happens(struct faulty *f, enum faulty_kind kind, uint64_t now_ns, double *for_s);

#endif
