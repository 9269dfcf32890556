/* robot.h - the plain structs that the wire messages mirror, and the sizes everything is built for.
 *
 * SI units: rad, rad/s, N m for revolute and continuous joints; m, m/s, N for prismatic ones.
 * Per-joint arrays are parallel to `joints` in robot.yaml.  Fixed sizes: no pointer ever crosses a thread. */
#ifndef PROTO_ROBOT_H
#define PROTO_ROBOT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LIMBER_PROTOCOL = 2,  /* version of proto/limber.proto             */
    MAX_JOINTS      = 32, /* joints of one robot                       */
    MAX_ACT         = 32, /* components of an action                   */
    MAX_OBS         = 64, /* components of an observation              */
    MAX_EXTRA       = 32, /* extra measurements                        */
    NAME_SIZE       = 48, /* bytes of a name, terminating zero counted */
};

enum joint_type { JOINT_REVOLUTE = 1, JOINT_CONTINUOUS = 2, JOINT_PRISMATIC = 3 };
enum timeout_action { TIMEOUT_DAMP = 1, TIMEOUT_HOLD = 2, TIMEOUT_BRAKE = 3, TIMEOUT_OFF = 4 };
enum command_mode { COMMAND_IDLE = 0, COMMAND_TORQUE = 1, COMMAND_DAMP = 2 };

/* joint_state.faults, bits every robot side shares (limber.proto). */
enum { ROBOT_FAULT_DIVERGED = 1, ROBOT_FAULT_LATCHED = 2 };

struct joint_info {
    char            name[NAME_SIZE];
    enum joint_type type;
    bool            actuated;
    double          position_min, position_max; /* rad or m, infinite where there is none */
    double          velocity_max;               /* rad/s or m/s                           */
    double          effort_max;                 /* N m or N                               */
    double          effort_rate_max;            /* N m/s or N/s, 0 where there is none    */
    enum timeout_action timeout_action;         /* 0: that of hello                       */
};

struct hello {
    uint32_t            protocol;
    char                robot[NAME_SIZE];
    uint64_t            boot_id;
    int                 nj;
    struct joint_info   joint[MAX_JOINTS];
    int                 nextra;
    char                extra[MAX_EXTRA][NAME_SIZE];
    double              command_timeout_ms;
    enum timeout_action timeout_action;
    bool                gravity_compensated;
    bool                simulated;
    bool                lockstep;
    char                software[NAME_SIZE];
};

struct welcome {
    uint32_t protocol;
    uint64_t session;
    double   control_hz;
    double   latch_ms;
    bool     simulated;
    bool     lockstep;
};

enum refusal_code {
    REFUSAL_PROTOCOL = 1,
    REFUSAL_ROBOT,
    REFUSAL_JOINTS,
    REFUSAL_LIMITS,
    REFUSAL_SIMULATED,
    REFUSAL_LOCKSTEP,
    REFUSAL_BUSY,
    REFUSAL_TIMEOUT_POLICY,
    REFUSAL_SESSION,
    REFUSAL_MALFORMED,
};

struct refusal {
    enum refusal_code code;
    char              sentence[240];
    uint32_t          daemon_protocol, peer_protocol;
};

struct joint_state {
    uint64_t session;
    uint64_t seq;
    uint64_t sample_ns;   /* robot side's clock: logged, and `now` in lockstep; never used for age */
    uint64_t received_ns; /* CLOCK_MONOTONIC of the receiver                                      */
    int      nj;
    double   position[MAX_JOINTS];
    double   velocity[MAX_JOINTS];
    bool     has_effort; /* it is measured */
    double   effort[MAX_JOINTS];
    uint64_t applied_command_seq;
    double   applied_effort[MAX_JOINTS];
    bool     applied_held;
    bool     has_imu;
    double   quat_wxyz[4], gyro[3], accel[3];
    int      nextra;
    double   extra[MAX_EXTRA];
    uint32_t faults;
    bool     estop;
    uint32_t late_commands;
    uint32_t changed_commands; /* clipped by the robot side's own limit of effort or its rate, this session        */
    uint32_t damaged_commands; /* messages that came to it with a wrong CRC, likewise                              */
    uint32_t lost_commands;    /* numbers that never came, likewise                                                */
    int64_t  ready_trial; /* set by the receiver: the trial announced READY on this session and not over since, -1: none */
    uint32_t ready_count; /* set by the receiver: READY announcements on this session                      */
};

struct joint_command {
    uint64_t          session;
    uint64_t          seq;
    uint64_t          state_seq;
    double            valid_ms;
    enum command_mode mode;
    int               nj;
    double            torque[MAX_JOINTS];
    double            kp[MAX_JOINTS];
    double            kd[MAX_JOINTS];
    double            position[MAX_JOINTS];
    double            velocity[MAX_JOINTS];
};

enum trial_request_kind { TRIAL_RESET = 1, TRIAL_END = 2 };
enum trial_event_kind { TRIAL_READY = 1, TRIAL_ENDED = 2, TRIAL_ABORTED = 3 };

struct trial_request {
    uint64_t                session;
    uint32_t                trial;
    enum trial_request_kind kind;
    uint64_t                seed;
};

struct trial_event {
    uint64_t              session;
    uint32_t              trial;
    enum trial_event_kind kind;
    bool                  has_return;
    double                reported_return;
    char                  reason[120];
};

#endif
