/* cli_session.h - one run of a simulated robot from start to end: limberd and limber-bridge sim as children, armed once,
 * watched until the trials are done or something happens.
 *
 *     daemon answers -> robot side linked -> pre-arm checks hold -> armed -> trials ... -> finished
 *
 * Simulation only.  A latched stop ends the run; nothing here arms twice.  Children end with us (cli_process.h). */
#ifndef DAEMON_CLI_SESSION_H
#define DAEMON_CLI_SESSION_H

#include <jansson.h>

#include "daemon/cli_process.h"
#include "daemon/cli_screen.h"
#include "daemon/cli_sim_keys.h"
#include "daemon/cli_terminal.h"
#include "daemon/config.h"

enum { TRIALS_MAX = 4096 }; /* what limberd --trials takes */

struct session_options {
    const char *config;         /* robot.yaml, hardware: sim */
    const char *run_dir;        /* made if need be */
    long        seed;           /* of daemon and simulator; -1: the configuration's */
    long        trials;         /* 0: the configuration's */
    const char *key;            /* tcp://: the simulated robot's key file, else NULL */
    bool        lockstep;       /* the simulator asks for it */
    bool        train_flat_out; /* the trainer never rests (bench-rt) */
    const char *drill;          /* socket of one who orders faults of the simulator, NULL: none (bench_drills.h) */
    const char *fault;          /* what is wrong with the simulated robot, of its --fault; NULL: nothing */
    bool        ordinary;       /* without real-time priorities, for several in lockstep on their own cores */
};

enum session_phase { PHASE_DAEMON, PHASE_LINK, PHASE_PREARM, PHASE_ARMED };

enum session_end {
    END_NOT_YET,
    END_FINISHED,    /* all trials done */
    END_ENOUGH,      /* the caller has seen enough */
    END_INTERRUPTED, /* Ctrl-C, SIGTERM */
    END_STOPPED,     /* a latched stop */
    END_DISARMED,    /* somebody else disarmed it */
    END_CHILD,       /* one of the two programs ended by itself */
    END_TROUBLE,     /* see session.why */
};

struct session {
    struct robot_config config;
    struct child        daemon, sim;
    bool                lockstep;
    char                run_dir[PATH_SIZE];
    char                why[700];
    enum session_phase  phase;
    uint64_t            phase_ns;  /* when the phase began */
    uint64_t            answer_ns; /* when the daemon last answered */
    uint64_t            idle_ns;   /* since when no trial is under way, 0: one is */
    bool                moved;     /* has been seen armed */
    json_t             *status;    /* newest, NULL before the first */
    json_t             *reported;  /* the last trial that session_next_trial gave */
    double              best;      /* of the planned trials reported, NaN: none */
};

/* Reads the configuration and starts both programs.  0, or an exit code after saying what is wrong; nothing is left
 * running then. */
int session_start(struct session *s, const struct session_options *o);

/* Looks at everything, takes the next step towards armed trials. */
enum session_end session_look(struct session *s);

/* Waits `seconds`, then looks. */
enum session_end session_step(struct session *s, struct terminal *t, double seconds);

/* Seconds since it was armed, 0 before. */
double session_armed_s(const struct session *s);

/* What is being waited for, before it is armed. */
void session_waiting(const struct session *s, struct screen *out);

/* The next finished or aborted trial of the history that was not given before, owned by the session's status; NULL: none. */
const json_t *session_next_trial(struct session *s);

/* Ends the run in the order that suits `end`, prints what a person must know, returns the exit code.  The newest status
 * stays readable until session_free. */
int  session_finish(struct session *s, enum session_end end);
void session_free(struct session *s);

/* argv of limber-bridge sim for a robot; the strings live in `b`.  endpoint as the daemon binds it in run_dir, key for tcp://. */
struct sim_command {
    bool            tcp;
    struct sim_keys keys;
    char  program[PATH_SIZE], endpoint[PATH_SIZE + 32], seed[24], timestep[32], timeout[32], priority[16], core[16];
    char  effort_rate[MAX_JOINTS * 26], velocity[MAX_JOINTS * 26];
    char  joints[MAX_JOINTS * NAME_SIZE], extra[MAX_EXTRA * NAME_SIZE];
    char           *argv[40];
};
int sim_command(struct sim_command *b, const struct robot_config *c, const char *run_dir, const char *key, long seed,
                bool lockstep, const char *picture, char *why, size_t why_size);

#endif
