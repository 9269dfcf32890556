/* metrics.c - GET /metrics: what one would draw over time, in Prometheus' text format (version 0.0.4). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/daemon.h"

static void family(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
    family(f, name, type, help);
    fprintf(f, "%s %" PRIu64 "\n", name, value);
}

static void latency(FILE *f, const char *what, const struct hist *h)
{
    static const double quantile[] = { 0.5, 0.99, 0.999 };

    for (int i = 0; i < 3; i++)
        fprintf(f, "limber_latency_seconds{of=\"%s\",quantile=\"%g\"} %g\n", what, quantile[i],
                (double)hist_quantile(h, quantile[i]) * 1e-9);
    fprintf(f, "limber_latency_seconds_count{of=\"%s\"} %" PRIu64 "\n", what,
            atomic_load((_Atomic uint64_t *)(uintptr_t)&h->count));
}

static void threads(FILE *f, const struct daemon *d)
{
    family(f, "limber_thread_page_faults", "gauge",
           "Page faults of a real-time thread since arming was last asked for.");
    for (int i = 0; i < THREAD_PLANNER + d->workers; i++) {
        struct usage u = threads_usage(d, i);

        fprintf(f, "limber_thread_page_faults{thread=\"%s\",kind=\"minor\"} %" PRIu64 "\n", rt_thread_name(i), u.minor);
        fprintf(f, "limber_thread_page_faults{thread=\"%s\",kind=\"major\"} %" PRIu64 "\n", rt_thread_name(i), u.major);
    }
    family(f, "limber_thread_switches", "gauge",
           "Context switches of a real-time thread since arming was last asked for.");
    for (int i = 0; i < THREAD_PLANNER + d->workers; i++) {
        struct usage u = threads_usage(d, i);

        fprintf(f, "limber_thread_switches{thread=\"%s\",kind=\"voluntary\"} %" PRIu64 "\n", rt_thread_name(i),
                u.voluntary);
        fprintf(f, "limber_thread_switches{thread=\"%s\",kind=\"involuntary\"} %" PRIu64 "\n", rt_thread_name(i),
                u.involuntary);
    }
    family(f, "limber_thread_stack_bytes", "gauge", "The most that a real-time thread has used of its stack.");
    for (int i = 0; i < THREAD_PLANNER + d->workers; i++)
        fprintf(f, "limber_thread_stack_bytes{thread=\"%s\"} %zu\n", rt_thread_name(i), threads_stack(d, i));
}

char *metrics_text(const struct daemon *d)
{
    struct shared *s    = d->shared;
    char          *text = NULL;
    size_t         size;
    FILE          *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    one(f, "limber_armed", "gauge", "1 while armed.", mode_armed(d->core.mode));
    one(f, "limber_latched", "gauge", "1 while a stop waits for limber reset.", d->core.latched);
    one(f, "limber_ticks_total", "counter", "Ticks of the control thread.", atomic_load(&s->ticks));
    one(f, "limber_misses_total", "counter", "Commands late or never sent, ticks lost.", atomic_load(&s->misses));
    one(f, "limber_plans_total", "counter", "Plans.", atomic_load(&s->plans));
    one(f, "limber_plans_late_total", "counter", "Plans after the step they were for had begun.",
        atomic_load(&s->plans_late));
    one(f, "limber_model_version", "gauge", "Model in use, 0: none.", atomic_load(&s->model_version));
    one(f, "limber_resident_bytes", "gauge", "Resident memory.", resident_kb() * 1024);
    one(f, "limber_syscalls_restricted", "gauge", "1 where every real-time thread is held to its list of system calls.",
        threads_restricted(d));
    one(f, "limber_syscalls_refused", "gauge", "1 where one of them made another.", atomic_load(&s->refused) != 0);
    family(f, "limber_latency_seconds", "summary",
           "Since the daemon started: control thread's wake-up and computation, state "
           "received to command sent, planning.");
    latency(f, "wake", &s->wake);
    latency(f, "compute", &s->compute);
    latency(f, "loop", &s->loop);
    latency(f, "plan", &s->plan_time);
    threads(f, d);
    one(f, "limber_disk_waiting", "gauge", "Rows on their way to the store.", disk_waiting(d->journal.disk));
    one(f, "limber_disk_dropped_total", "counter", "Rows that found no place in that line.",
        disk_dropped(d->journal.disk));
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
