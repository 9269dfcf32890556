/* cli_args.h - flags of a verb as a table: parsing, --help and "did you mean" come from the same rows. */
#ifndef DAEMON_CLI_ARGS_H
#define DAEMON_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* sysexits.h, and the shell's 128 + SIGINT */
enum {
    EXIT_OK          = 0,
    EXIT_REFUSED     = 1, /* the daemon, a check or a person said no; a run that ended in a stop */
    EXIT_USAGE       = 64,
    EXIT_UNAVAILABLE = 69, /* no daemon */
    EXIT_OSERR       = 71,
    EXIT_CANTCREATE  = 73,
    EXIT_NOPERM      = 77,
    EXIT_CONFIG      = 78,
    EXIT_INTERRUPTED = 130,
};

/* Values of a flag that may be given several times, in their order. */
enum { WORDS_MAX = 64 };
struct words {
    int         n;
    const char *word[WORDS_MAX];
};

/* Exactly one of the pointers is set: that is the flag's type. */
struct flag {
    const char  *name;  /* without the dashes; NULL ends the table */
    const char  *value; /* placeholder in the help, NULL for a switch */
    const char  *what;  /* for the help */
    bool        *on;
    const char **text;
    struct words *words;
    long        *number; /* decimal integer in min .. max */
    double      *real;   /* finite number in min .. max */
    double       min, max;
};

struct usage {
    const char        *line; /* after "limber ", e.g. "status [--json]" */
    const char        *text; /* paragraph */
    const struct flag *flags;
    int                max_operands;
};

/* Reads argv[1..]; operands go to operand[0 .. max_operands).  -1: go on (number of operands in *count);
 * otherwise the exit code, with help or the error printed. */
int args_read(int argc, char **argv, const struct usage *u, const char **operand, int *count);

void args_help(FILE *f, const struct usage *u);

/* The known word nearest to `word`, or NULL where none is near enough to be meant. */
const char *args_nearest(const char *word, const char *const *known);

/* Prints "limber: unknown WHAT "WORD"; did you mean ...?" and returns EXIT_USAGE. */
int args_unknown(const char *what, const char *word, const char *const *known, const char *help);

/* Which daemon; the three flags that most verbs share. */
struct place_flags {
    const char *run_dir, *config, *robot;
};

#define PLACE_FLAGS(p)                                                                                 \
    { .name = "run-dir", .value = "D", .what = "run directory of the daemon", .text = &(p)->run_dir }, \
        { .name  = "config",                                                                           \
          .value = "FILE",                                                                             \
          .what  = "robot.yaml that the daemon was started with",                                      \
          .text  = &(p)->config },                                                                      \
    {                                                                                                  \
        .name = "robot", .value = "NAME", .what = "name of the robot", .text = &(p)->robot             \
    }

#endif
