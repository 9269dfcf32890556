#include "daemon/disk.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/ring.h"
#include "daemon/rt/signal.h"

enum { STACK = 1 << 19, PRINT_MS = 200 };

enum entry_kind { TRIAL_BEGIN, TRIAL_UPDATE, TRANSITION, MODEL, MODEL_STATUS, EVENT, TASK };

struct event {
    unsigned use;
    double   unix_s;
    uint64_t mono_ns;
    int64_t  trial;
    char     kind[NAME_SIZE], text[240];
};

struct status {
    uint64_t version;
    char     status[NAME_SIZE], reason[160];
};

struct task_entry {
    void (*run)(void *ctx, const void *payload);
    void *ctx;
    _Alignas(16) char payload[DISK_TASK_BYTES];
};

struct entry {
    enum entry_kind kind;
    int64_t         trial_id; /* of a transition */
    union {
        struct trial_row  trial;
        struct transition transition;
        struct model_row  model;
        struct status     status;
        struct event      event;
        struct task_entry task;
    };
};

struct disk {
    struct store    *store;
    struct ring      ring;
    struct rt_signal wake, progress;
    _Atomic uint64_t done;     /* places in line, finished                     */
    _Atomic uint64_t since_ns; /* begun or finished something last; 0: idle    */
    _Atomic bool     ending, ended;
    bool             running;
    pthread_t        thread;
    pthread_mutex_t  news_lock; /* held for a copy only */
    struct disk_news news;
    bool             has_news;
    struct entry     entry[DISK_ENTRIES];
};

/* ---- main: the line ---- */

struct disk *disk_new(struct store *s)
{
    struct disk *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->store = s;
    ring_init(&d->ring, DISK_ENTRIES);
    pthread_mutex_init(&d->news_lock, NULL);
    return d;
}

/* A free entry, to be filled and pushed. */
static struct entry *claim(struct disk *d, enum entry_kind kind)
{
    uint64_t slot;

    if (!d)
        return NULL;
    if (kind == TRANSITION && disk_line(d) - atomic_load(&d->ring.tail) >= DISK_ENTRIES - DISK_RESERVED) {
        atomic_fetch_add(&d->ring.dropped, 1);
        return NULL;
    }
    if (!ring_claim(&d->ring, &slot))
        return NULL;
    d->entry[slot].kind = kind;
    return &d->entry[slot];
}

static bool put_trial(struct disk *d, enum entry_kind kind, const struct trial_row *t)
{
    struct entry *e = claim(d, kind);

    if (!e)
        return false;
    e->trial = *t;
    ring_push(&d->ring);
    return true;
}

bool disk_trial_begin(struct disk *d, const struct trial_row *t)
{
    return put_trial(d, TRIAL_BEGIN, t);
}

bool disk_trial_update(struct disk *d, const struct trial_row *t)
{
    return put_trial(d, TRIAL_UPDATE, t);
}

bool disk_transition(struct disk *d, int64_t trial_id, const struct transition *t)
{
    struct entry *e = claim(d, TRANSITION);

    if (!e)
        return false;
    e->trial_id   = trial_id;
    e->transition = *t;
    ring_push(&d->ring);
    return true;
}

bool disk_model(struct disk *d, const struct model_row *m)
{
    struct entry *e = claim(d, MODEL);

    if (!e)
        return false;
    e->model = *m;
    ring_push(&d->ring);
    return true;
}

bool disk_model_status(struct disk *d, uint64_t version, const char *status, const char *reason)
{
    struct entry *e = claim(d, MODEL_STATUS);

    if (!e)
        return false;
    e->status.version = version;
    snprintf(e->status.status, sizeof e->status.status, "%s", status);
    snprintf(e->status.reason, sizeof e->status.reason, "%s", reason);
    ring_push(&d->ring);
    return true;
}

bool disk_event(struct disk *d, unsigned use, double unix_s, int64_t trial, const char *kind, const char *text)
{
    struct entry *e = claim(d, EVENT);

    if (!e)
        return false;
    e->event = (struct event){ .use = use, .unix_s = unix_s, .mono_ns = clock_now_ns(), .trial = trial };
    snprintf(e->event.kind, sizeof e->event.kind, "%s", kind);
    snprintf(e->event.text, sizeof e->event.text, "%s", text);
    ring_push(&d->ring);
    return true;
}

bool disk_task(struct disk *d, void (*run)(void *ctx, const void *payload), void *ctx, const void *payload, size_t size,
               uint64_t *place)
{
    uint64_t unused;

    place  = place ? place : &unused;
    *place = 0;
    if (!disk_running(d)) {
        run(ctx, payload);
        return true;
    }
    CHECK(size <= DISK_TASK_BYTES);
    struct entry *e = claim(d, TASK);

    if (!e)
        return false;
    e->task.run = run;
    e->task.ctx = ctx;
    if (size)
        memcpy(e->task.payload, payload, size);
    ring_push(&d->ring);
    *place = disk_line(d);
    return true;
}

uint64_t disk_line(const struct disk *d)
{
    return d ? atomic_load(&d->ring.head) : 0;
}

void disk_go(struct disk *d)
{
    if (d && disk_line(d) != atomic_load(&d->ring.tail))
        rt_signal_raise(&d->wake);
}

bool disk_done(const struct disk *d, uint64_t place)
{
    return !d || atomic_load(&d->done) >= place;
}

bool disk_wait(struct disk *d, uint64_t place, uint64_t until_ns)
{
    disk_go(d);
    for (;;) {
        uint32_t seen = d ? rt_signal_count(&d->progress) : 0;

        if (disk_done(d, place))
            return true;
        if (!d->running || !rt_signal_wait(&d->progress, seen, until_ns))
            return false;
    }
}

bool disk_news(struct disk *d, struct disk_news *news)
{
    *news = (struct disk_news){ .lost = 0 };
    if (!d)
        return false;
    pthread_mutex_lock(&d->news_lock);
    bool any = d->has_news;
    if (any)
        *news = d->news;
    d->has_news = false;
    pthread_mutex_unlock(&d->news_lock);
    return any;
}

uint64_t disk_waiting(const struct disk *d)
{
    return d ? disk_line(d) - atomic_load(&d->done) : 0;
}

uint64_t disk_dropped(const struct disk *d)
{
    return d ? atomic_load(&d->ring.dropped) : 0;
}

uint64_t disk_busy_ns(const struct disk *d)
{
    uint64_t since = d ? atomic_load(&d->since_ns) : 0;

    return since ? clock_now_ns() - since : 0;
}

void disk_print(const char *kind, const char *text)
{
    static _Atomic bool stuck;
    struct pollfd       p = { .fd = STDERR_FILENO, .events = POLLOUT };
    char                line[PIPE_BUF];

    int n = snprintf(line, sizeof line, "limberd: %s: %s\n", kind, text);
    n     = n < (int)sizeof line ? n : (int)sizeof line - 1;
    stuck = poll(&p, 1, stuck ? 0 : PRINT_MS) <= 0;
    if (!stuck && write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nobody is there */
}

/* ---- the thread ---- */

/* The first reason is kept, and the transitions that are lost are counted. */
static void tell(struct disk *d, const char *what, int64_t trial_id, int lost)
{
    pthread_mutex_lock(&d->news_lock);
    if (!d->has_news) {
        d->news = (struct disk_news){ .trial_id = trial_id };
        snprintf(d->news.what, sizeof d->news.what, "%s", what);
        snprintf(d->news.why, sizeof d->news.why, "%s", store_error(d->store));
    }
    if (lost && d->news.trial_id != trial_id) {
        d->news.trial_id = trial_id;
        d->news.lost     = 0;
    }
    d->news.lost += lost;
    d->has_news = true;
    pthread_mutex_unlock(&d->news_lock);
}

static int write_row(struct store *s, struct entry *e, const char **what)
{
    switch (e->kind) {
    case TRIAL_BEGIN: *what = "beginning a trial"; return store_trial_begin(s, &e->trial);
    case TRIAL_UPDATE: *what = "storing a trial"; return store_trial_update(s, &e->trial);
    case TRANSITION: *what = "storing a transition"; return store_transition(s, e->trial_id, &e->transition);
    case MODEL: *what = "recording a model"; return store_model(s, &e->model);
    case MODEL_STATUS:
        *what = "recording a roll-back";
        return store_model_status(s, e->status.version, e->status.status, e->status.reason);
    case EVENT:
        *what = "storing an event";
        return store_event(s, e->event.unix_s, e->event.mono_ns, e->event.trial, e->event.kind, e->event.text);
    case TASK: break;
    }
    return 0;
}

/* Rows up to the first task, in one transaction: all of it, or where the commit fails nothing.  What a statement's failure
 * rolled back is not gone on with row by row: a trial is stored in order, or it is known where it ends. */
static void write_batch(struct disk *d, uint64_t until)
{
    uint64_t slot;
    int64_t  trial_id = 0;
    int      n        = 0;
    bool     open = false, broken = false;

    while (atomic_load(&d->ring.tail) != until && ring_peek(&d->ring, &slot) && d->entry[slot].kind != TASK) {
        struct entry *e    = &d->entry[slot];
        const char   *what = "beginning a batch";

        if (e->kind == EVENT && e->event.use & DISK_PRINT)
            disk_print(e->event.kind, e->event.text);
        if (e->kind != EVENT || e->event.use & DISK_STORE) {
            if (!open && !broken)
                broken = !(open = store_begin(d->store) == 0);
            bool failed = broken || write_row(d->store, e, &what) < 0;

            if (failed)
                tell(d, what, e->trial_id, e->kind == TRANSITION);
            else if (e->kind == TRANSITION)
                trial_id = e->trial_id, n++;
            broken = broken || (failed && !store_in_batch(d->store));
        }
        ring_pop(&d->ring);
    }
    if (open && store_commit(d->store) < 0)
        tell(d, "committing", trial_id, n);
}

static void finished(struct disk *d)
{
    atomic_store(&d->done, atomic_load(&d->ring.tail));
    atomic_store(&d->since_ns, clock_now_ns());
    rt_signal_raise_all(&d->progress);
}

static void work(struct disk *d)
{
    uint64_t slot, until = disk_line(d);

    while (atomic_load(&d->ring.tail) != until && ring_peek(&d->ring, &slot)) {
        if (d->entry[slot].kind == TASK) {
            d->entry[slot].task.run(d->entry[slot].task.ctx, d->entry[slot].task.payload);
            ring_pop(&d->ring);
        } else {
            write_batch(d, until);
        }
        finished(d);
    }
}

static void *run(void *arg)
{
    struct disk *d = arg;

    for (;;) {
        uint32_t seen   = rt_signal_count(&d->wake);
        bool     ending = atomic_load(&d->ending); /* before the line is looked at */

        atomic_store(&d->since_ns, clock_now_ns());
        work(d);
        atomic_store(&d->since_ns, 0);
        if (ending)
            break;
        rt_signal_wait(&d->wake, seen, UINT64_MAX);
    }
    store_close(d->store);
    atomic_store(&d->ended, true);
    rt_signal_raise_all(&d->progress);
    return NULL;
}

/* ---- main: begin and end ---- */

int disk_start(struct disk *d)
{
    pthread_attr_t attr;
    sigset_t       all, before;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int bad = pthread_create(&d->thread, &attr, run, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (bad)
        return -bad;
    pthread_setname_np(d->thread, "disk");
    d->running = true;
    disk_go(d);
    return 0;
}

bool disk_running(const struct disk *d)
{
    return d && d->running;
}

bool disk_end(struct disk *d, uint64_t until_ns)
{
    if (!atomic_exchange(&d->ending, true))
        rt_signal_raise(&d->wake);
    for (;;) {
        uint32_t seen = rt_signal_count(&d->progress);

        if (atomic_load(&d->ended))
            break;
        if (!rt_signal_wait(&d->progress, seen, until_ns))
            return false;
    }
    pthread_join(d->thread, NULL);
    pthread_mutex_destroy(&d->news_lock);
    free(d);
    return true;
}
