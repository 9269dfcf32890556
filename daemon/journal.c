#include "daemon/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/rt/clock.h"

double unix_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void journal_say(struct journal *j, const char *kind, const char *format, ...)
{
    struct journal_event *e = &j->event[j->count++ % JOURNAL_KEPT];
    va_list               args;

    e->unix_s = unix_now();
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    fprintf(stderr, "limberd: %s: %s\n", e->kind, e->text);
    if (j->store && store_event(j->store, e->unix_s, clock_now_ns(), j->trial, e->kind, e->text) < 0)
        j->store_ok = false;
}
