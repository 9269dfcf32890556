/* config.h - robot.yaml, read strictly, as plain data.  Everything limberd does starts from this one struct.
 *
 * An unknown key, a wrong type or unit, NaN, limits out of order, a missing joint: one message naming file, line, key,
 * value and what was expected; nothing is started. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "models/train.h"
#include "planner/planner.h"
#include "planner/task.h"
#include "proto/robot.h"

enum { PATH_SIZE = 512, ENDPOINT_SIZE = 256, REASON_SIZE = 120 };

enum hardware { HARDWARE_SIM = 1, HARDWARE_REAL = 2 };
enum pace { PACE_TIMER = 1, PACE_STATE = 2 };
enum exploration_kind { EXPLORE_NONE = 0, EXPLORE_UNIFORM, EXPLORE_SMOOTH };
enum baseline_kind { BASELINE_ZERO = 1, BASELINE_DAMP, BASELINE_HOLD, BASELINE_POSTURE };
enum trial_next { NEXT_AUTO = 1, NEXT_OPERATOR };
enum measure {
    MEASURE_POSITION = 1,
    MEASURE_VELOCITY,
    MEASURE_AVERAGE_VELOCITY, /* over the last planner step, from positions; 0 at the start of a trial            */
    MEASURE_EXTRA,
    MEASURE_EXTRA_VELOCITY,   /* average velocity of an extra measurement                                      */
    MEASURE_HEADING,          /* of a quaternion among the extra measurements: yaw, rad, without jumps             */
    MEASURE_UP_X,             /* of a quaternion: where up is, as seen from the body, unit vector                 */
    MEASURE_UP_Y,
    MEASURE_UP_Z,
};

/* effort * cos(sum of these joints' positions + offset): a link that is level where the cosine is 1. */
enum { MAX_GRAVITY = 8, MAX_GRAVITY_ANGLES = 8 };
struct gravity_term {
    double effort; /* N m or N */
    double offset; /* rad      */
    int    n, joint[MAX_GRAVITY_ANGLES];
};

struct joint_config {
    char            name[NAME_SIZE];
    enum joint_type type;
    bool            actuated;
    double          position_min, position_max; /* rad or m; infinite for continuous joints            */
    double          velocity;                   /* rad/s or m/s, > 0: beyond it a state is implausible */
    double          resolution;                 /* rad or m, steps in which its position sensor counts */
    double          effort;                     /* N m or N, > 0 if actuated, else 0                   */
    double          effort_rate;                /* N m/s or N/s, > 0 if actuated: away from zero       */
    double          effort_rate_down;           /* the same towards zero, at least effort_rate         */
    double          brake;                      /* rad/s^2 or m/s^2 it can surely brake with; 0: not given */
    double          effort_growth;              /* N m or N within 250 ms; 0: not given                */
    double          power;                      /* W; 0: not given                                     */
    double          effort_error;               /* N m or N that measured effort may be off; 0: not compared */
    double          effort_continuous;          /* N m or N that it can hold for good, at most effort; 0: not given */
    double          heat_s;                     /* thermal time constant; 0: not given, with the one above */
    double          baseline_kd;                /* N m s/rad or N s/m, baseline damping gain           */
    double          baseline_kp;                /* N m/rad or N/m, only for baseline hold and posture  */
    double          baseline_position;          /* rad or m, only for baseline posture                 */
    int                 ngravity;
    struct gravity_term gravity[MAX_GRAVITY];   /* their sum holds the joint against gravity           */
    enum timeout_action timeout_action;         /* what the robot side does when commands stop; 0: timeouts.robot_action */
};

struct action_config {
    int    joint;     /* index                      */
    double low, high; /* of a, low < high           */
    double scale;     /* effort = scale * a, not 0  */
};

struct observation_config {
    char         name[2 * NAME_SIZE]; /* "hinge.position", or the extra's name */
    enum measure measure;
    int          joint; /* index; index into extra, of a quaternion its w                    */
    uint8_t      input;  /* enum input_kind: how it enters the model                          */
    uint8_t      target; /* enum target_kind: how the model predicts it                       */
    bool         ranged; /* predictions are held within ...                                   */
    double       low, high; /* ... these                                                      */
};

/* A gate or filter stage that may be switched off, with the reason kept for status. */
struct gate_config {
    bool   off;
    char   off_reason[REASON_SIZE];
    bool   calibrated; /* threshold: auto; spread and residual only */
    double threshold;  /* 0 when off or calibrated */
};

struct robot_config {
    char          file[PATH_SIZE]; /* absolute path of the file this came from */
    char          robot[NAME_SIZE];
    enum hardware hardware;

    /* rates */
    double    control_hz;
    int       plan_every; /* ticks per planner step                */
    enum pace pace;
    int       delay_steps; /* 1 in real time, 0 in lockstep         */
    bool      lockstep;    /* may be granted; simulation only       */
    double    latch_ms;    /* default 5                             */

    int                       nj;
    struct joint_config       joint[MAX_JOINTS];
    int                       nextra;
    char                      extra[MAX_EXTRA][NAME_SIZE];
    int                       na;
    struct action_config      action[MAX_ACT];
    int                       nx;
    struct observation_config observation[MAX_OBS];
    enum command_mode         command_mode;

    struct {
        enum exploration_kind kind;
        double                amplitude;  /* fraction of the action range, 0 .. 1             */
        double                smoothness; /* smooth: first-order low-pass coefficient, 0 .. 1 */
        double                planned;    /* the same, added to planned actions; 0: none       */
        double                planned_smoothness; /* its low-pass                              */
        int                   planned_trials;     /* it fades, linearly, until this trial      */
    } exploration;
    enum baseline_kind baseline;
    bool               gravity_by_robot; /* the robot side must compensate gravity, or nobody arms     */

    struct {
        int             count; /* planned trials to run with next: auto            */
        int             random; /* random trials before them                        */
        int             steps; /* planner steps of a trial                         */
        enum trial_next next;
        double          wait_for_model_s;
        uint64_t        seed;
    } trials;

    char        task_file[PATH_SIZE];
    struct task task;

    struct model_dims     model;
    struct planner_config planner;
    double                planner_budget; /* share of a planner step until the deadline, 0 .. 1 */
    struct train_config   trainer;
    bool                  aggregate; /* false: nothing is learned from planned trials */

    struct {
        struct gate_config plan_age;        /* planner steps a plan may be old, never off above 2       */
        struct gate_config spread;          /* ensemble spread in units of target std                   */
        struct gate_config residual;        /* one-step prediction error in units of target std         */
        struct gate_config position;        /* margin beyond a position limit, fraction of its range    */
        struct gate_config drift;           /* CUSUM of prediction errors, in units of the usual one   */
        struct gate_config interventions;   /* ticks a second in which the filter changes a plan's effort */
        struct gate_config limit_dwell;     /* s that an effort may stand at its limit                  */
        struct gate_config oscillation;     /* times a second that it may go from side to side          */
        struct gate_config energy;          /* J that all efforts may put in within about a second      */
        struct gate_config recoverable;     /* joints can brake where the plan leads; no threshold      */
        struct gate_config baseline;        /* ticks of effort_rate from the plan's effort to the baseline's */
        int                min_transitions; /* spread and residual only count until then              */
        double             promote_s;       /* gates good for this long before BASELINE -> ADVANCED     */
    } gates;

    struct {                                /* stages of the torque filter that no joint may need    */
        struct gate_config envelope, thermal, window, power; /* without thresholds: those are the joints' */
    } filter;

    struct {
        double state_stale_s;       /* no good state for this long: STOPPING                    */
        double command_valid_s;     /* validity of a command                                    */
        double robot_timeout_max_s; /* Hello.command_timeout_ms may not exceed this             */
        enum timeout_action robot_action; /* what the robot side does then; 0: not said, where gravity loads no joint */
        double stop_ramp_s;         /* 0.3                                                      */
        double stop_cap_s;          /* 0.5                                                      */
        double reset_s;             /* RESETTING may last this long                             */
    } timeouts;

    struct {
        int io, control, main;            /* -1: any                                                  */
        int planner[TEAM_MAX], planners;  /* one thread plans on each; the first one leads            */
        int control_priority, planner_priority, io_priority, zmq_priority, sim_priority;
    } cores;

    struct {
        char run[PATH_SIZE];   /* empty: see design, decided by run_dir                    */
        char store[PATH_SIZE]; /* empty: RUN/experience.db                                 */
        char model_key[PATH_SIZE]; /* what seals models (transport/keys.h); empty: nothing     */
    } paths;
    struct {                       /* limber-bridge sim's robot                                    */
        char   model[PATH_SIZE];   /* MJCF; default model.xml beside robot.yaml                    */
        double timestep;           /* s; 0: the model's own                                        */
        double command_timeout_ms; /* it damps by itself after this; what Hello will say           */
    } sim;
    char endpoint[ENDPOINT_SIZE];  /* empty: ipc://RUN/robot.sock; tcp:// only with curve      */
    char telemetry[ENDPOINT_SIZE]; /* empty: ipc://RUN/telemetry.sock; the same                */
    struct {                       /* of tcp://, see transport/keys.h; empty: none             */
        char key[PATH_SIZE];       /* the daemon's secret                                      */
        char clients[PATH_SIZE];   /* the list of public keys that may connect                 */
    } curve;
};

/* Reads a task file and checks it against the robot's joints and observations.  0, or -1 with one message (file:line: key:
 * ...) in `why`, and nothing usable in *t. */
int config_task(const char *path, const struct robot_config *c, struct task *t, char *why, size_t why_size);

/* Reads and checks `path` and the task file it names.  0, or -1 with one message (file:line: key: ...) in `why`. */
int config_load(const char *path, struct robot_config *c, char *why, size_t why_size);

/* The same as if every KEY=VALUE of `set` stood in the file (--set; complaints name it so), with planner `planner` (NULL:
 * the file's) and without keys of the file that this planner does not use: those are listed in `dropped` (size
 * KEYS_SIZE).  *text, the caller's to free: the whole effective file, in which `task` is called `task_copy` and sim.model
 * is absolute. */
enum { KEYS_SIZE = 400 };
struct config_changes {
    const char *const *set;
    int                sets;
    const char        *planner;
    const char        *task_copy;
};
int config_load_with(const char *path, const struct config_changes *changes, struct robot_config *c, char **text,
                     char dropped[KEYS_SIZE], char *why, size_t why_size);

/* Whether planner.KEY means something to the planner of that name. */
bool config_planner_uses(const char *name, const char *key);

/* The defaults of a planner for na actions, but particles are per member of the ensemble.  -1 for an unknown name. */
int config_planner(const char *name, int na, struct planner_config *c);

/* What the robot's store is called and has for columns. */
struct store_schema;
void config_store_schema(const struct robot_config *c, struct store_schema *s);

/* robot.yaml says how gravity loads the joints, so the baseline compensates it. */
bool config_gravity_terms(const struct robot_config *c);

/* What is to become of joint j when commands stop; 0: not said, and then gravity does not load it, as far as robot.yaml knows. */
enum timeout_action config_timeout_action(const struct robot_config *c, int j);

#endif
