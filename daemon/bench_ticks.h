/* bench_ticks.h - every tick of a running limberd as its telemetry publishes it. */
#ifndef DAEMON_BENCH_TICKS_H
#define DAEMON_BENCH_TICKS_H

#include "transport/telemetry.h"

struct bench_ticks;

/* Listens to the daemon of run_dir, now or when it begins; NULL after saying why not.  One thread. */
struct bench_ticks *bench_ticks_open(const char *run_dir);
void                bench_ticks_close(struct bench_ticks *t);

/* The next one, without waiting; false: none has come.  At most 256 wait; more are lost. */
bool bench_ticks_next(struct bench_ticks *t, struct telemetry *tick);

#endif
