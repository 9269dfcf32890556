/* bench.h - limber bench WHAT: figures about this machine and this planner (docs/benchmarks.md).  Each gets its own argv
 * (argv[0] is its name), reports progress on stderr, prints a table or one JSON value, returns the exit code. */
#ifndef DAEMON_BENCH_H
#define DAEMON_BENCH_H

#include <stdbool.h>

int bench_learn(int argc, char **argv);
int bench_gates(int argc, char **argv);
int bench_changed(int argc, char **argv);
int bench_plan(int argc, char **argv);
int bench_train(int argc, char **argv);
int bench_budget(int argc, char **argv);
int bench_accuracy(int argc, char **argv);
int bench_trust(int argc, char **argv);
int bench_data(int argc, char **argv);
int bench_surfaces(int argc, char **argv);
int bench_paths(int argc, char **argv);
int bench_interference(int argc, char **argv);

/* Does this machine hold what robot.yaml asks?  0 it does, 1 it does not. */
int bench_config(const char *config, bool json, bool quick);

#endif
