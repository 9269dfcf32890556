/* bench_rig.c - see bench_rig.h. */
#include "daemon/bench_rig.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/rt/arena.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "models/peak.h"

enum { PEAKS_MIN = 5, SLOT = 0 };

/* Between two measurements of the peak: long enough not to matter, short enough to meet the same clock. */
#define CHUNK_NS (50 * NS_PER_MS)

struct rig {
    const struct bench_run *run;
    struct bench_result    *out;
    struct planner         *p;
    uint64_t               *ns, *cpu, *prepare; /* max_steps */
    _Atomic int             steps;
    _Atomic bool            done;
};

struct member {
    struct rig *rig;
    int         worker;
};

int bench_cores(int *core, int max)
{
    cpu_set_t set;
    int       n = 0;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    for (int i = CPU_SETSIZE - 1; i >= 0 && n < max; i--)
        if (CPU_ISSET((size_t)i, &set))
            core[n++] = i;
    return n;
}

double bench_row_flops(const struct model_dims *d)
{
    double sum = 0;

    for (int l = 0; l <= d->layers; l++) {
        int in, out;

        ensemble_layer(d, l, &in, &out);
        sum += 2.0 * in * out;
    }
    return sum;
}

int bench_model(struct ensemble *e, const struct model_dims *d, uint64_t seed)
{
    struct rng r;
    int        bad = ensemble_alloc(e, d);

    if (bad)
        return bad;
    ensemble_init(e, seed);
    e->version = 1;
    rng_seed(&r, seed);
    for (int i = 0; i < d->nx; i++) {
        e->out_std[i]    = 0.1f;
        e->max_logvar[i] = -1;
        e->min_logvar[i] = -8;
    }
    for (size_t i = 0; i < (size_t)d->members * ensemble_params(d); i++)
        e->weights[i] += (float)(0.02 * rng_uniform(&r) - 0.01);
    return 0;
}

static void measure_peak(struct bench_result *out)
{
    double f32 = peak_f32_gflops(), bf16 = peak_bf16_gflops();

    out->peak_f32  = f32 > out->peak_f32 ? f32 : out->peak_f32;
    out->peak_bf16 = bf16 > out->peak_bf16 ? bf16 : out->peak_bf16;
    out->peaks++;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Value below or at which the fraction q lies, ms; sorted. */
static double quantile(const uint64_t *ns, int n, double q)
{
    int i = (int)(q * n);

    return 1e-6 * (double)ns[i < n ? i : n - 1];
}

static struct plan_request request(const struct rig *g, uint64_t id)
{
    const struct bench_run *run = g->run;
    struct plan_request     q   = { .id = id, .seed = 1 + id, .next_seed = 2 + id, .deadline_ns = UINT64_MAX, .reset = id == 0 };

    for (int i = 0; i < run->dims.nx; i++)
        q.x[i] = 0.1f * (float)((id + (uint64_t)i) % 5) - 0.2f;
    q.requested_ns = clock_now_ns();
    if (run->cut_s > 0)
        q.deadline_ns = q.requested_ns + (uint64_t)(run->cut_s * 1e9);
    return q;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Planning step `id` with the preparation of the next; its times go to place n. */
static void step(struct rig *g, uint64_t id, struct plan *plan, int n)
{
    struct plan_request q     = request(g, id);
    uint64_t            spent = cpu_ns(), begun = clock_now_ns();

    planner_step(g->p, SLOT, &q, NULL, NULL, plan);
    uint64_t planned = clock_now_ns();

    planner_prepare(g->p, q.next_seed);
    uint64_t ended = clock_now_ns();

    g->ns[n]      = ended - begun;
    g->prepare[n] = ended - planned;
    g->cpu[n]     = cpu_ns() - spent;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Steps one by one, each between two measurements of the peak. */
static void pair(struct rig *g)
{
    enum { MOST = 1000 };
    double      near[MOST], flops = bench_row_flops(&g->run->dims);
    bool        bf16 = g->run->config.dtype == DTYPE_BF16 && g->out->peak_bf16 > 0;
    struct plan plan;
    int         n = g->run->paired < MOST ? g->run->paired : MOST;
    double      before = bf16 ? peak_bf16_gflops() : peak_f32_gflops();

    for (int i = 0; i < n; i++) {
        step(g, (uint64_t)i + 1, &plan, 0);
        double after = bf16 ? peak_bf16_gflops() : peak_f32_gflops();

        near[i] = (double)plan.rows * flops / (double)g->ns[0] / (before > after ? before : after);
        before  = after;
    }
    qsort(near, (size_t)n, sizeof *near, by_size);
    g->out->near_p50 = near[n / 2];
    g->out->near_p90 = near[n * 9 / 10];
}

static void *lead(void *arg)
{
    struct rig             *g   = arg;
    const struct bench_run *run = g->run;
    struct bench_result    *out = g->out;
    struct plan             plan;
    double                  rows = 0;
    uint64_t                id = 0;

    realtime_thread_begin();
    measure_peak(out);
    step(g, id++, &plan, 0); /* caches, branches, the first reset */
    if (run->paired) {
        pair(g);
        atomic_store(&g->done, true);
        return NULL;
    }
    uint64_t begun = clock_now_ns(), peaked = begun, due = begun, period = (uint64_t)(run->pause * (double)g->ns[0]);
    int      n = 0;

    out->cut = plan.cut;
    while (!out->cut && n < run->max_steps) {
        uint64_t now = clock_now_ns();

        if (n >= run->min_steps && (double)(now - begun) > 1e9 * run->seconds)
            break;
        if (!run->realtime && now - peaked > CHUNK_NS) {
            measure_peak(out);
            peaked = clock_now_ns();
        }
        if (run->realtime) {
            if (n == 100) { /* the first step was the slowest */
                uint64_t sorted[100];

                memcpy(sorted, g->ns, sizeof sorted);
                qsort(sorted, 100, sizeof *sorted, by_value);
                period = (uint64_t)(run->pause * (double)sorted[50]);
            }
            due = due + period > now ? due + period : now + period / 20; /* never without a pause: FIFO is throttled */
            clock_sleep_until(due);
        }
        step(g, id++, &plan, n);
        rows += (double)plan.rows;
        out->cut = plan.cut;
        n++;
        atomic_store_explicit(&g->steps, n, memory_order_relaxed);
    }
    while (out->peaks < PEAKS_MIN)
        measure_peak(out);
    out->steps = n > 0 ? n : 1;
    out->rows  = n > 0 ? rows / n : 0;
    out->flops = out->rows * bench_row_flops(&run->dims);
    if (run->phases && !out->cut) {
        struct plan_request q = request(g, id);

        planner_phases(g->p, SLOT, &q, out->phase);
        for (int i = 0; i < PLAN_PHASES; i++) {
            out->phased = out->phased || out->phase[i] > 0;
            out->phase[i] *= 1e3;
        }
    }
    snprintf(out->isa, sizeof out->isa, "%s", planner_isa(g->p));
    atomic_store(&g->done, true);
    return NULL;
}

static void *assist(void *arg)
{
    struct member *m = arg;

    realtime_thread_begin();
    planner_worker(m->rig->p, m->worker);
    return NULL;
}

/* An ordinary thread on a core, or one of the real-time ones. */
static int start(const struct bench_run *run, int worker, void *(*body)(void *), void *arg, pthread_t *t)
{
    cpu_set_t set;

    if (run->realtime)
        return realtime_thread(run->realtime, worker ? "bench-worker" : "bench", run->core[worker], run->priority, body, arg, t);
    int bad = pthread_create(t, NULL, body, arg);

    if (!bad && run->core[worker] >= 0) {
        CPU_ZERO(&set);
        CPU_SET((size_t)run->core[worker], &set);
        pthread_setaffinity_np(*t, sizeof set, &set);
    }
    return -bad;
}

static void watch(const struct rig *g)
{
    bool live = isatty(2);

    for (int tick = 0; !atomic_load(&g->done); tick++) {
        struct timespec nap = { .tv_nsec = 20000000 };

        nanosleep(&nap, NULL);
        if (live && tick % 10 == 9)
            fprintf(stderr, "\r\033[K%s: step %d", g->run->label, atomic_load(&g->steps));
    }
    if (live)
        fprintf(stderr, "\r\033[K");
}

static int run_threads(struct rig *g)
{
    const struct bench_run *run = g->run;
    struct member           member[TEAM_MAX];
    pthread_t               thread[TEAM_MAX];
    int                     n = 1, bad = 0;

    for (; n < run->config.workers && !bad; n++) {
        member[n] = (struct member){ g, n };
        bad       = start(run, n, assist, &member[n], &thread[n]);
        if (bad)
            break;
    }
    if (!bad)
        bad = start(run, 0, lead, g, &thread[0]);
    if (!bad) {
        watch(g);
        pthread_join(thread[0], NULL);
    }
    planner_dismiss(g->p);
    while (--n > 0)
        pthread_join(thread[n], NULL);
    return bad;
}

static void summarise(struct rig *g)
{
    struct bench_result *out = g->out;
    int                  n   = out->steps;

    qsort(g->ns, (size_t)n, sizeof *g->ns, by_value);
    qsort(g->cpu, (size_t)n, sizeof *g->cpu, by_value);
    qsort(g->prepare, (size_t)n, sizeof *g->prepare, by_value);
    out->p50     = quantile(g->ns, n, 0.5);
    out->p99     = quantile(g->ns, n, 0.99);
    out->p999    = quantile(g->ns, n, 0.999);
    out->min     = quantile(g->ns, n, 0);
    out->max     = quantile(g->ns, n, 1);
    out->cpu     = quantile(g->cpu, n, 0.5);
    out->prepare = quantile(g->prepare, n, 0.5);
}

int bench_measure(const struct bench_run *run, struct bench_result *out)
{
    struct rig      g = { .run = run, .out = out };
    struct ensemble e;
    int             bad;

    memset(out, 0, sizeof *out);
    CHECK(run->min_steps >= 1 && run->max_steps >= run->min_steps);
    if (planner_config_error(&run->config, &run->dims))
        return -EINVAL;
    if ((bad = bench_model(&e, &run->dims, 1)) != 0)
        return bad;
    size_t size   = (planner_memsize(&run->config, &run->dims) + HUGE_PAGE) / HUGE_PAGE * HUGE_PAGE;
    void  *memory = aligned_alloc(HUGE_PAGE, size); /* as limberd does */

    g.ns      = calloc((size_t)run->max_steps, sizeof *g.ns);
    g.cpu     = calloc((size_t)run->max_steps, sizeof *g.cpu);
    g.prepare = calloc((size_t)run->max_steps, sizeof *g.prepare);
    if (memory && g.ns && g.cpu && g.prepare) {
        (void)madvise(memory, size, MADV_HUGEPAGE);
        memset(memory, 0, size);
        struct arena a = { .base = memory, .size = size };

        g.p = planner_init(&a, &run->config, &run->dims, &run->task, &run->bounds, run->isa);
        planner_pack(g.p, SLOT, &e);
        bad = run_threads(&g);
        if (!bad && !run->paired)
            summarise(&g);
    } else {
        bad = -ENOMEM;
    }
    free(g.prepare);
    free(g.cpu);
    free(g.ns);
    free(memory);
    ensemble_free(&e);
    return bad;
}
