/* cli_process.h - children that never outlive us: each in a process group of its own, with its output in a log file,
 * told to end (SIGTERM) by the kernel when we die. */
#ifndef DAEMON_CLI_PROCESS_H
#define DAEMON_CLI_PROCESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct child {
    char  name[32];
    char  log[512];
    pid_t pid; /* 0: not started, or stopped */
    bool  ordinary; /* set before the start: never a real-time priority */
    bool  ended;
    int   status; /* where it ended by itself */
    int   signal; /* that ended it, 0: none */
};

/* Full path of one of our programs: beside this one, else in PATH.  0 or -1 with a sentence. */
int program_find(const char *name, char *out, size_t n, char *why, size_t why_size);

/* 0, or -1 with a sentence; a program that cannot be executed is reported here. */
int child_start(struct child *c, const char *name, char *const argv[], const char *log, char *why, size_t why_size);

/* True once it has ended (never for one that was not started). */
bool child_ended(struct child *c);

/* Ends it and whatever it started: waits up to grace_s, then SIGTERM, then after term_s SIGKILL. */
void child_stop(struct child *c, double grace_s, double term_s);

/* "exit status 3", "killed by signal 11 (Segmentation fault)" */
void child_how(const struct child *c, char *out, size_t n);

/* The last lines of its log, indented. */
void child_tail(const struct child *c, int lines, FILE *f);

#endif
