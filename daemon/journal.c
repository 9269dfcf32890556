#include "daemon/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/rt/clock.h"

#define STALLED_NS (5 * NS_PER_S)

double unix_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show(struct journal *j, unsigned use, const char *kind, const char *text)
{
    struct journal_event *e = &j->event[j->count++ % JOURNAL_KEPT];

    e->unix_s = unix_now();
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    snprintf(e->text, sizeof e->text, "%s", text);
    if (!disk_running(j->disk)) {
        fprintf(stderr, "limberd: %s: %s\n", e->kind, e->text);
        use &= ~(unsigned)DISK_PRINT;
    }
    if (j->disk && use && !disk_event(j->disk, use, e->unix_s, j->trial, kind, text))
        journal_full(j, "storing an event");
}

void journal_say(struct journal *j, const char *kind, const char *format, ...)
{
    char    text[sizeof j->event->text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    show(j, DISK_STORE | DISK_PRINT, kind, text);
}

void journal_store_failed(struct journal *j, const char *what, const char *why)
{
    j->failed = true;
    if (!j->store_ok)
        return;
    j->store_ok = false; /* first: the event about it may fail too */
    journal_say(j, "store", "%s failed: %s; robots cannot be armed until it works", what, why);
}

void journal_full(struct journal *j, const char *what)
{
    char why[80];

    snprintf(why, sizeof why, "the disk is too slow, %llu rows wait for it", (unsigned long long)disk_waiting(j->disk));
    journal_store_failed(j, what, why);
}

int journal_batch(struct journal *j, int64_t trial_id)
{
    static const char works[] = "writing works again";
    struct disk_news  news;
    uint64_t          now = clock_now_ns();
    bool              probed = j->probe && disk_done(j->disk, j->probe); /* before asking what is lost */

    if (disk_news(j->disk, &news))
        journal_store_failed(j, news.what, news.why);
    else if (disk_busy_ns(j->disk) > STALLED_NS)
        journal_store_failed(j, "writing", "the disk has taken nothing for 5 s");
    if (probed) {
        j->probe = 0;
        if (!j->failed) {
            j->store_ok = true;
            show(j, DISK_PRINT, "store", works); /* the attempt itself stored it */
        }
    }
    if (!j->store_ok && !j->probe && now - j->probe_ns > NS_PER_S) { /* an empty batch proves nothing */
        j->probe_ns = now;
        j->failed   = false;
        if (disk_event(j->disk, DISK_STORE, unix_now(), j->trial, "store", works))
            j->probe = disk_line(j->disk);
    }
    disk_go(j->disk);
    return news.trial_id == trial_id ? news.lost : 0;
}
