/* fixture.h - the real programs for tests: a limberd process, and a robot side of our own on the real socket. */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "daemon/cli_process.h"
#include "transport/port.h"

struct fixture {
    char         dir[200];      /* run directory, short enough for socket names */
    char         config[256];   /* robot.yaml                                   */
    const char *const *wrapper; /* put before limberd's command line, NULL: nothing */
    bool         bridge_talks;  /* without --quiet                              */
    struct child daemon, bridge;
};

/* Writes robots/cartpole's files into test_dir(), with `from` replaced by `to` in robot.yaml for each pair up to NULL. */
void fixture_init(struct fixture *f, const char *const *edits);

/* Starts limberd (extra: NULL-terminated flags, may be NULL) and waits for its status socket; false: it did not come. */
bool fixture_daemon(struct fixture *f, const char *const *extra);
bool fixture_bridge(struct fixture *f, const char *const *extra); /* limber-bridge sim */
void fixture_end(struct fixture *f);
pid_t fixture_trainer(const struct fixture *f);           /* the daemon's, 0: none         */

/* From here on (NULL: no longer) programs of this name have tests/shim/failing.c loaded, and what it is to do in FAIL_WHAT,
 * FAIL_AT, FAIL_BY; it logs to shim.log in the run directory, where a trainer may write. */
void fixture_failing(const char *program, const char *what, const char *at, const char *by);

/* The status document (json_decref), and waiting until a path in it has a value ("mode", "ADVANCED"). */
json_t *fixture_status(struct fixture *f);
bool    fixture_wait(struct fixture *f, const char *path, const char *value, double seconds);
double  fixture_number(struct fixture *f, const char *path);

/* Are these words anywhere in the status document, now? */
bool fixture_says(struct fixture *f, const char *words);

/* The newest event of this kind that says `part`, within so many seconds; its whole text goes to text (may be NULL). */
bool fixture_event(struct fixture *f, const char *kind, const char *part, double seconds, char *text, size_t n);

/* POST; true if ok.  The daemon's sentence goes to text (may be NULL). */
bool fixture_post(struct fixture *f, const char *verb, const char *body, char *text, size_t n);
bool fixture_arm(struct fixture *f, double seconds); /* again and again until it holds */

/* ---- a robot side of our own ---- */

struct robot {
    struct port         *port;
    struct hello         hello;
    struct joint_state   state;
    uint64_t             session;
    struct codec_scratch scratch;
    uint8_t              buf[CODEC_MAX_BYTES];
    struct message       last;            /* newest Welcome, Refusal, ...             */
    int                  welcomes, refusals, commands, trial_requests;
    struct refusal       refusal;         /* newest                                   */
    struct joint_command command;         /* newest                                   */
    double               effort_max;      /* of all commands                          */
    bool                 nonfinite;       /* any command ever                         */
    double               hz;
    pthread_t            thread;
    _Atomic bool         background;
};

struct robot *robot_new(const struct fixture *f); /* a cart-pole that says what robot.yaml expects */
void          robot_free(struct robot *r);
bool          robot_hello(struct robot *r);       /* sends, waits for an answer; true: Welcome     */
void          robot_raw(struct robot *r, const void *bytes, size_t n);
void          robot_send_state(struct robot *r);  /* seq + 1, as r->state stands                   */
void          robot_listen(struct robot *r, int ms);
void          robot_run(struct robot *r, double seconds); /* states at r->hz, listening in between */
void          robot_begin(struct robot *r);       /* goes on running on a thread of its own ...    */
void          robot_pause(struct robot *r);       /* ... until here; only then touch r again       */

/* tests/shim/clock.c: the file that sets a program's clocks ([0]: wall, [1]: main thread's monotonic; ns), made, mapped, and
 * named in CLOCK_FILE; clock_file_end unmaps it, and programs started later no longer see it. */
_Atomic int64_t *clock_file(void);
void             clock_file_end(_Atomic int64_t *clocks);

#endif
