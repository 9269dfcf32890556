/* cli.h - the verbs of `limber`.  Each gets its own argv (argv[0] is the verb), prints, and returns the exit code. */
#ifndef DAEMON_CLI_H
#define DAEMON_CLI_H

#include <jansson.h>

#include "daemon/cli_args.h"
#include "daemon/cli_http.h"
#include "daemon/cli_screen.h"

int verb_status(int argc, char **argv);
int verb_top(int argc, char **argv);
int verb_arm(int argc, char **argv);
int verb_disarm(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_reset(int argc, char **argv);
int verb_why(int argc, char **argv);
int verb_conform(int argc, char **argv);
int verb_trial(int argc, char **argv);
int verb_task(int argc, char **argv);
int verb_sim(int argc, char **argv);
int verb_run(int argc, char **argv);
int verb_key(int argc, char **argv);
int verb_plot(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_bench_cartpole(int argc, char **argv);
int verb_bench_rt(int argc, char **argv);

/* --- shared by the verbs that talk to a daemon ----------------------------------------------------------------- */

enum { DAEMONS_MAX = 64 };

/* Run directories of daemons that accept connections. */
struct daemons {
    int  n;
    char dir[DAEMONS_MAX][512];
};

/* Under the default places, and build/run/latest below the working directory. */
void place_daemons(struct daemons *d);

/* The run directory that the flags mean; without flags the only daemon there is.  0, or the exit code after saying
 * what is wrong. */
int place_find(const struct place_flags *p, char *dir, size_t n);

/* Of the flags alone, one of which is given; with `ended` a directory will do whose daemon has ended.  `why` says what is
 * wrong; 0, or the exit code. */
int place_named(const struct place_flags *p, bool ended, char *dir, size_t n, char *why, size_t size);

/* Its status; 0 and the document (the caller's), or the exit code after saying what is wrong. */
int place_status(const struct place_flags *p, char *dir, size_t n, json_t **status);

/* Exit code for a request that got no answer, after printing why. */
int place_trouble(enum http_result r, const struct http_answer *a);

/* Prints a finished screen and frees it. */
void cli_print(struct screen *s, FILE *f);

#endif
