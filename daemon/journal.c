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

static void show(struct journal *j, const char *kind, const char *text)
{
    struct journal_event *e = &j->event[j->count++ % JOURNAL_KEPT];

    e->unix_s = unix_now();
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    snprintf(e->text, sizeof e->text, "%s", text);
    fprintf(stderr, "limberd: %s: %s\n", e->kind, e->text);
}

void journal_say(struct journal *j, const char *kind, const char *format, ...)
{
    char    text[sizeof j->event->text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    show(j, kind, text);
    if (j->store && store_event(j->store, unix_now(), clock_now_ns(), j->trial, kind, text) < 0)
        journal_store_failed(j, "storing an event");
}

void journal_store_failed(struct journal *j, const char *what)
{
    j->write_failed = true;
    if (!j->store_ok)
        return;
    j->store_ok = false; /* first: the event about it may fail too */
    journal_say(j, "store", "%s failed: %s; robots cannot be armed until it works", what, store_error(j->store));
}

int journal_batch(struct journal *j)
{
    static const char works[] = "writing works again";
    uint64_t          now     = clock_now_ns();
    bool              lost    = store_commit(j->store) < 0;
    bool              proved  = j->probing && !lost && !j->write_failed;

    if (lost)
        journal_store_failed(j, "committing");
    j->write_failed = j->probing = false;
    if (store_begin(j->store) < 0)
        journal_store_failed(j, "beginning a batch");
    if (proved) {
        j->store_ok = !j->write_failed;
        show(j, "store", works);
    } else if (!j->store_ok && now - j->probe_ns > NS_PER_S) { /* an empty batch proves nothing */
        j->probe_ns = now;
        j->probing  = store_event(j->store, unix_now(), now, j->trial, "store", works) == 0;
    }
    return lost ? -1 : 0;
}
