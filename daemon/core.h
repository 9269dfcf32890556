/* core.h - the controller without a clock, socket, file or thread inside.
 *
 * core_step is the block diagram: joint state in -> estimate -> plan -> safety filter -> torque out -> record.  The
 * control thread of limberd drives it in real time; tests/dst drives the same code with a virtual clock.  Same inputs,
 * same outputs, bit for bit.
 *
 * Words: a tick is one step of the core; a planner step is plan_every ticks; a boundary is the tick that begins one.
 * With delay_steps 1 the plan asked for at boundary k is for k + 1, from the state rolled forward under the action that
 * is in force meanwhile; with 0 (lockstep) it is for k itself and in->solve waits for it. */
#ifndef DAEMON_CORE_H
#define DAEMON_CORE_H

#include "daemon/config.h"
#include "daemon/core_effort.h"
#include "daemon/core_scores.h"
#include "daemon/filter.h"
#include "daemon/mode.h"
#include "models/store.h"

/* What went wrong in a tick: carried, judged, counted. */
enum fault_bit {
    FAULT_STATE_MISSING   = 1 << 0,  /* no new state this tick                                  */
    FAULT_STATE_STALE     = 1 << 1,  /* none for timeouts.state_stale_s, at least three ticks: stop */
    FAULT_STATE_NONFINITE = 1 << 2,  /* state rejected: NaN or infinity                         */
    FAULT_STATE_RANGE     = 1 << 3,  /* state rejected: beyond what the joint can do            */
    FAULT_STATE_JUMP      = 1 << 4,  /* state rejected: further than velocity allows            */
    FAULT_STATE_REJECTED  = 1 << 5,  /* three rejected in a row: stop                           */
    FAULT_POSITION        = 1 << 6,  /* joint beyond its position limit and margin: stop        */
    FAULT_ESTOP           = 1 << 7,  /* emergency stop pressed: fault                           */
    FAULT_ROBOT           = 1 << 8,  /* robot side reports a fault: fault                       */
    FAULT_SESSION         = 1 << 9,  /* robot side restarted while armed: stop                  */
    FAULT_PLAN_LATE       = 1 << 10, /* the plan for this step did not come in time             */
    FAULT_PLAN_BAD        = 1 << 11, /* plan not finite or out of bounds                        */
    FAULT_EFFORT          = 1 << 12, /* the baseline's own effort was not finite: fault         */
    FAULT_GATES           = 1 << 13, /* five gate trips within a minute: fault                  */
    FAULT_STALL           = 1 << 14, /* no tick for as long as makes a state stale: stop        */
    FAULT_SENSOR_STUCK    = 1 << 15, /* a joint's sensor stands still for ten ticks while another says that it moves */
    FAULT_SENSOR          = 1 << 16, /* for fifty: fault                                        */
    FAULT_TICK_LATE       = 1 << 17, /* this tick came more than half a period late             */
    FAULT_TICKS_LATE      = 1 << 18, /* three of the last hundred did                           */
    FAULT_UNCERTAIN       = 1 << 19, /* gate spread: the nets disagree                          */
    FAULT_MISPREDICTED    = 1 << 20, /* gate residual: the last prediction was wrong            */
    FAULT_DRIFT           = 1 << 21, /* gate drift: predictions have become worse               */
    FAULT_UNRECOVERABLE   = 1 << 22, /* gate recoverable: the plan leads where no brake helps   */
    FAULT_SYSCALL         = 1 << 23, /* a real-time thread made an unlisted system call: fault  */
    FAULT_TRACK_ERROR     = 1 << 24, /* measured effort other than commanded for ten states: stop */
    FAULT_LIMIT_DWELL     = 1 << 25, /* a joint's effort has stood at its limit for too long: stop */
    FAULT_OSCILLATION     = 1 << 26, /* a joint's effort goes from side to side too often: stop */
    FAULT_ENERGY          = 1 << 27, /* efforts have put too much energy into the robot: stop   */
    FAULT_LINK_DAMAGED    = 1 << 28, /* three of the robot side's last ten messages came damaged: stop */
    FAULT_ROBOT_CLAMPED   = 1 << 29, /* three of its last ten states: it changed what was commanded: fault */
};
enum { FAULT_COUNT = 30 }; /* names: fault_names.h */

/* Why the robot was stopped; text in core_stop_text. */
enum stop_code {
    STOP_NONE,
    STOP_OPERATOR,
    STOP_DISARM,
    STOP_SHUTDOWN,
    STOP_STATE_STALE,
    STOP_STATE_REJECTED,
    STOP_POSITION,
    STOP_ESTOP,
    STOP_ROBOT_FAULT,
    STOP_SESSION,
    STOP_EFFORT,
    STOP_GATES,
    STOP_STALL,
    STOP_SYSCALL,
    STOP_SENSOR,
    STOP_TRACK_ERROR,
    STOP_LIMIT_DWELL,
    STOP_OSCILLATION,
    STOP_ENERGY,
    STOP_LINK_DAMAGED,
    STOP_ROBOT_CLAMPED,
    STOP_CODES,
};

struct stop_text {
    const char *name, *cause, *remedy;
};
struct stop_text core_stop_text(enum stop_code c);

/* Pre-arm checks.  The core knows the first ones; the host (main thread) reports the others in core_input.host. */
enum prearm {
    PREARM_SESSION,     /* a robot side is connected and agreed on                  */
    PREARM_STATE_FRESH, /* states for 1 s at 95 %                                   */
    PREARM_NO_FAULTS,   /* robot side reports none                                  */
    PREARM_ESTOP,       /* not pressed                                              */
    PREARM_INSIDE,      /* joints inside their limits                               */
    PREARM_SLOW,        /* joints slower than 1 % of their velocity limit           */
    PREARM_NOT_LATCHED, /* no stop or fault waits for a reset                       */
    PREARM_TIMING,      /* no tick missed in the last 5 s (a simulated robot may do without) */
    PREARM_SENSORS,     /* no joint's sensor is stuck                               */
    PREARM_BASELINE,    /* what the baseline would do is a number within the limits, and can be held for good */
    PREARM_EFFORT,      /* effort is measured where robot.yaml wants it compared    */
    PREARM_CORE_COUNT,
    PREARM_GRAVITY = PREARM_CORE_COUNT, /* compensated by the robot side or by robot.yaml, not both; and not neither
                                           where robot.yaml counts on the robot side  */
    PREARM_TIMEOUT_ACTION, /* the robot side does what robot.yaml says when commands stop; robot.yaml says it where gravity
                              loads a joint (a simulated robot may do without) */
    PREARM_REALTIME,       /* FIFO, pinned (a simulated robot may do without) */
    PREARM_MEMORY,         /* memory locked (likewise)                                 */
    PREARM_STORE,          /* experience can be written                                */
    PREARM_LEARNER,        /* a model is loaded, or exploration is configured          */
    PREARM_SYSCALLS,       /* system calls restricted (likewise), and none refused     */
    PREARM_NUMERIC,        /* rounding, denormals, decimal point as the loop expects   */
    PREARM_CLOCK,          /* the clock that ticks are due by is fine enough (a simulated robot may do without) */
    PREARM_COUNT,
};
const char *prearm_name(enum prearm p);

enum gate {
    GATE_MODEL,     /* a model is loaded                                             */
    GATE_PLAN_AGE,  /* plan not older than the threshold, planner steps              */
    GATE_FINITE,    /* plan finite and inside the action bounds                      */
    GATE_SHADOW,    /* so many plans of this model were good before it may drive     */
    GATE_SPREAD,    /* ensemble agrees: spread below the threshold, target std       */
    GATE_RESIDUAL,  /* last prediction was right: error below the threshold, target std */
    GATE_POSITION,  /* joints inside their limits                                    */
    GATE_DRIFT,     /* no more often surprised than usual: CUSUM below the threshold, usual errors */
    GATE_RECOVERABLE, /* where the plan leads, every joint can still brake before its limit */
    GATE_BASELINE,  /* the baseline's effort is a number, and near enough to change over to, ticks */
    GATE_INTERVENTIONS, /* the filter seldom has to change what the plan wants, ticks per second */
    GATE_LIMIT_DWELL, /* no effort stands at its limit for longer, s             */
    GATE_OSCILLATION, /* nor goes from one side to the other more often, per second */
    GATE_ENERGY,    /* nor do all together put more energy in within about a second, J */
    GATE_COUNT,
};
const char *gate_name(enum gate g);
const char *gate_unit(enum gate g);

enum trial_phase { TRIAL_IDLE, TRIAL_RESETTING, TRIAL_RUNNING };
enum trial_kind { TRIAL_RANDOM, TRIAL_PLANNED };

enum operation_kind {
    OP_NONE,
    OP_ARM,
    OP_DISARM,
    OP_STOP,
    OP_SHUTDOWN,
    OP_RESET,
    OP_TRIAL_START,
    OP_TRIAL_STOP,
    OP_TRIAL_READY,
    OP_TASK,    /* another task: refused while a trial is under way                   */
    OP_EXPIRED, /* an operation that the driver found too old: refused                */
};

/* An operator's (or the trial manager's) wish; at most one a tick; answered in the same tick. */
struct operation {
    enum operation_kind kind;
    uint64_t            id;           /* echoed in the answer                       */
    uint64_t            expires_ns;   /* CLOCK_MONOTONIC after which it is refused, 0: never */
    uint32_t            trial;        /* OP_TRIAL_START                             */
    enum trial_kind     trial_kind;
    int                 steps;
    uint64_t            seed;
    int                 nend; /* OP_TASK: what ends its trials              */
    struct task_end     end[MAX_ENDS];
};

/* What the main thread must know, in order and without loss. */
enum notice_kind {
    NOTICE_ANSWER,      /* to operation `id`: ok or the reason in `text`            */
    NOTICE_MODE,        /* from -> to, stop code                                    */
    NOTICE_TRIAL_BEGIN, /* RUNNING begins                                           */
    NOTICE_TRIAL_END,   /* finished: all steps, or the task ended it; or aborted with a reason */
    NOTICE_GATE,        /* a gate tripped                                           */
    NOTICE_UNFIT,       /* this model tripped gates twice within a minute           */
    NOTICE_FAULT,       /* a fault bit (`fault`) that stops nothing by itself has come up; at most once in ten seconds */
};

struct notice {
    enum notice_kind kind;
    uint64_t         tick, now_ns;
    uint64_t         id;
    bool             ok;
    enum mode        from, to;
    enum stop_code   stop;
    enum gate        gate;
    int              fault, count; /* NOTICE_FAULT: its bit's index; ticks with it since it was told last */
    int              trips;  /* NOTICE_TRIAL_END: of gates during the trial                  */
    struct score_sum score[SCORE_KINDS]; /* NOTICE_TRIAL_END: what the gates saw in it      */
    uint64_t         model;  /* NOTICE_UNFIT                                                 */
    uint32_t         trial, step;
    enum trial_kind  trial_kind;
    int              ended; /* NOTICE_TRIAL_END: 1 + index of the task's end that did it, 0: none ... */
    float            value; /* ... and what was observed                       */
    char             text[120];
};

/* What is wrong with a state that was rejected: the first number of it that cannot be; or with efforts: the joint that is
 * worst. */
struct core_blame {
    int    joint;        /* -1: none of a joint, an extra measurement      */
    char   what;         /* 'q' position, 'v' velocity, 'e' applied effort, 'm' measured effort, 'x' extra: rejected; 't'
                            effort other than commanded, 'd' it stands at its limit, 'o' it reverses, 'w' all did
                            too much work, this joint most; 0: nothing                                              */
    double value, limit; /* limit: how far it may be from zero; 'q': from where it was, or its end; 't': commanded;
                            'd', 'o', 'w': the gate's threshold                                                       */
};

/* One record a tick: telemetry, black box, replay input. */
struct tick_record {
    uint64_t           tick, now_ns;
    enum mode          mode;
    enum trial_phase   phase;
    uint32_t           trial, step;
    uint32_t           faults, filter;
    uint64_t           state_seq, command_seq;
    uint64_t           model_version, plan_id, plan_seed;
    int                plan_iterations;
    int                nj;
    double             position[MAX_JOINTS], velocity[MAX_JOINTS];
    double             want[MAX_JOINTS], effort[MAX_JOINTS];
    struct core_blame  blame;
    uint64_t           wake_ns, compute_ns; /* filled in by the thread that drives the core */
};

struct core_input {
    uint64_t                  now_ns;
    const struct joint_state *state;      /* newest received, NULL: none ever                          */
    bool                      state_new;  /* not seen by an earlier tick                               */
    double                    state_age_s; /* since it was received; 0 in lockstep                     */
    bool                      slept;      /* the machine was suspended since the tick before           */
    bool                      lockstep;   /* granted to the state's session: delay 0, now is simulated time */
    const struct plan        *plan;       /* newest published, NULL: none; ignored without delay       */
    const struct plan *(*solve)(void *ctx, const struct plan_request *req); /* without delay           */
    void                     *solve_ctx;
    uint64_t                  model_version; /* loaded for planning, 0: none                           */
    uint32_t                  host;       /* bit p set: pre-arm check p (>= PREARM_CORE_COUNT) holds   */
    bool                      timing_clean; /* no tick missed in the last 5 s                          */
    int64_t                   aborted_trial; /* robot side said it cannot go on with it; -1: none     */
    bool                      estop_seen, fault_seen; /* in any state since the last tick, however short */
    bool                      link_damaged; /* the third of the robot side's last ten messages, since the last tick */
    bool                      syscall_refused; /* to any real-time thread, ever                        */
    struct operation          op;
};

enum { NOTICE_MAX = 24 };

struct core_output {
    bool                 has_command;
    struct joint_command command;
    bool                 has_trial_request;
    struct trial_request trial_request;
    bool                 has_plan_request;   /* with delay: publish after sending the command */
    struct plan_request  plan_request;
    bool                 has_transition;
    struct transition    transition;
    int                  nnotice;
    struct notice        notice[NOTICE_MAX];
    struct tick_record   record;
};

struct core_gate {
    bool     ok, off;
    double   threshold, value;
    uint64_t trips;
};

/* What a joint's sensor said in a row without a change. */
struct stuck_watch {
    int    position, velocity;  /* good states with the same position, the same velocity != 0 */
    double way;                 /* that the velocity says it went meanwhile, rad or m        */
    double start;               /* position when the velocity began to stand still           */
    double hidden;              /* way that it says since the position changed last          */
};

enum { TRACK_KEPT = 3 };

/* Everything the core knows.  Readable by its owner only; the control thread publishes copies. */
struct core {
    /* from the configuration, unchanging */
    const struct robot_config *config;
    struct filter_limits       limits;
    int                        obs_position[MAX_JOINTS], obs_velocity[MAX_JOINTS]; /* index in x, -1: none */
    double                     tick_s;
    uint64_t                   tick_ns;

    enum mode      mode;
    bool           latched;
    enum stop_code stop;               /* last stop or fault                       */
    uint64_t       stop_tick, stop_ns;
    uint32_t       stop_trial, stop_step;
    bool           stop_latches;       /* this stop latches when it ends           */
    uint64_t       tick, now_ns;

    /* estimator */
    bool               have_state;      /* a good state since the session began    */
    struct joint_state state;           /* last good one                           */
    uint64_t           state_ns;        /* `now` of the tick that took it          */
    uint64_t           session;
    uint64_t           session_ns;      /* when this session began                 */
    int                delay;           /* planner steps: 1, or 0 in lockstep              */
    int                stale_ticks;     /* missing in a row that make the state stale */
    int                missing, rejected; /* in a row                              */
    uint64_t           fresh_bits[2];   /* last 128 ticks, newest in bit 0         */
    float              x[MAX_OBS];
    struct {                            /* where the planner step began, for average velocities    */
        bool     known;                 /* not since the last reset                                 */
        uint64_t at;                    /* state seq (pace state) or tick (timer)                   */
        double   position[MAX_JOINTS];
        double   extra[MAX_EXTRA];
    } step_start;
    bool               good;            /* this tick has a new good state          */
    struct core_blame  blame;           /* of this tick's state                    */
    bool               outside;         /* a joint beyond its limit and margin            */
    struct stuck_watch stuck[MAX_JOINTS];
    int                stuck_ticks;     /* of the worst of them                           */
    uint64_t           late_bits[2];    /* last 128 ticks, newest in bit 0: came late     */
    bool               estop, robot_fault; /* as the newest state said, however implausible the rest */
    uint32_t           robot_faults;    /* its fault bits, with robot_fault               */
    double             hold[MAX_JOINTS]; /* positions at arming or last demotion    */

    /* planner steps */
    uint64_t phase_origin;              /* state seq (pace state) or tick (timer) of a step 0     */
    uint64_t phase;                     /* ticks since then, at the last good state               */
    uint64_t phase_step;                /* planner steps since then, at the last boundary         */
    bool     boundary;                  /* this tick begins a planner step                        */
    uint64_t step_id;                   /* planner steps since start; names plans                 */
    uint64_t plan_from_id;              /* plans for earlier steps belong to another life         */
    bool     reset_planner;             /* the next request asks the planner to forget            */
    struct plan plan;                   /* newest taken                                           */
    bool     have_plan;
    double   action_effort[MAX_JOINTS]; /* wanted over this planner step                          */
    uint64_t predicted_id;              /* step_id at whose boundary x should be `predicted`; 0: none */
    float    predicted[MAX_OBS];        /* x at the coming boundary                               */
    float    predicted_std[MAX_OBS];    /* how sure the model that said so was of it              */
    float    target_std[MAX_OBS];       /* ... and its yardstick for errors                       */

    /* gates */
    struct core_gate gate[GATE_COUNT];
    double   good_s, need_s;            /* gates good for so long; needed for promotion           */
    double   calm_s;                    /* good since the last trip, or since need_s was halved   */
    struct score_log scores[SCORE_KINDS]; /* as the gates'; surprise: prediction errors in predicted_std */
    double   drift;                     /* CUSUM of these, in units of the usual one              */
    double   interventions;             /* ticks a second in which the filter changed a plan's effort: mean over about one s */
    uint64_t model_trip_ns, tripped_model; /* the last trip that speaks against a model           */
    uint64_t unfit_model;               /* told the main thread already                           */
    int      trial_trips;
    uint64_t shadow_model;              /* model whose plans are being watched                    */
    int      shadow_plans;              /* good ones so far                                       */
    uint64_t trip_ns[5];
    int      trips;
    uint64_t transitions;               /* stored since start of the daemon, plus what the store held */

    /* trial */
    enum trial_phase trial_phase;
    enum trial_kind  trial_kind;
    uint32_t         trial, step;
    int              trial_steps;
    uint64_t         trial_seed, trial_ns;
    uint32_t         ready_before;      /* READY announcements when the reset was asked for       */
    bool             operator_ready;    /* `limber trial ready` was said                          */
    int              nend;              /* what ends the task's trials (planner/task.h)           */
    struct task_end  end[MAX_ENDS];
    double           explore[MAX_ACT];  /* last exploration action, fraction of the half range    */
    struct {                            /* the transition being lived through                     */
        bool     open, held, any;       /* started; one command held so far; effort[] is set      */
        uint64_t phase, model, seed;
        int      iterations;
        float    x[MAX_OBS];
        double   effort[MAX_JOINTS];
    } live;

    /* output */
    uint64_t command_seq;
    uint64_t answered_seq;              /* command that answered the last good state              */
    double   sent[MAX_JOINTS];          /* effort sent last                                       */
    struct filter_window window;        /* ... and over the last 250 ms, and the motors' heat     */
    struct effort_watch watch;          /* ... since no torque was sent last                      */
    struct {                            /* measured effort against what was commanded             */
        int    n;                       /* torque commands in a row so far, at most TRACK_KEPT    */
        double commanded[TRACK_KEPT][MAX_JOINTS]; /* by them, newest first                        */
        int    differ[MAX_JOINTS];      /* judged states in a row that say something else         */
        int    growing;                 /* states until effort can have grown to what is wanted   */
        uint16_t changed;               /* of the last ten states, newest in bit 0: the robot side changed a command */
    } track;
    double   stop_effort[MAX_JOINTS];   /* when stopping began                                    */
    uint64_t stopping_ns;

    /* counters */
    uint64_t count_missing, count_late, count_nonfinite, count_range, count_jump, count_plan_late;
    uint64_t count_judged;              /* states whose measured effort could be compared        */
    uint64_t count_filter[FILTER_STAGES]; /* ticks in which each stage changed something         */
    uint64_t count_fault[FAULT_COUNT];  /* ticks in which each bit was set                        */
    uint32_t standing;                  /* bits of the tick before                                */
    int      untold[FAULT_COUNT];       /* ticks in which each bit was set since a notice told of it */
    uint64_t told_ns[FAULT_COUNT];
    uint32_t prearm;                    /* bit p: check p has held for a second                   */
    uint64_t prearm_since_ns[PREARM_COUNT]; /* 0: does not hold now                              */
};

/* The configuration must outlive the core.  transitions: how many the store holds already. */
void core_init(struct core *c, const struct robot_config *config, uint64_t transitions);

/* Before the first step, oldest trial first: what the gates saw in trials of before this start, so that they do not have to
 * learn anew what is usual. */
void core_remember(struct core *c, const struct score_sum score[SCORE_KINDS]);

/* Self-tests are done: BOOT -> DISARMED. */
void core_ready(struct core *c);

/* One tick.  Never allocates, locks, logs or fails. */
void core_step(struct core *c, const struct core_input *in, struct core_output *out);

#endif
