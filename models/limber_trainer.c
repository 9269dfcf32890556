/* limber_trainer.c - the background worker: reads experience, fits the ensemble, leaves a candidate file.
 *
 * Started by limberd, one thread, SCHED_IDLE, in a process of its own: its crash, hang or hunger stays here.
 * It writes candidate files and reports, nothing else, and deletes nothing.  Words: models/trainer_protocol.h. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sandbox.h"
#include "daemon/rt/sanitized.h"
#include "models/model_file.h"
#include "models/train_bench.h"
#include "models/trainer_protocol.h"

enum { EXIT_USAGE = 64, EXIT_PROTOCOL = 70, MEMORY_LIMIT = 2 }; /* sysexits.h; GiB */

#define REPORT_NS    (100 * NS_PER_MS)
#define NOTHING_HELD UINT64_MAX

static const char USAGE[] = "usage: limber-trainer < orders > reports\n"
                            "       limber-trainer --bench [--json] [--shape NAME] [--batch N] [--isa NAME]\n"
                            "Fits models for limberd, which starts it by itself and speaks a binary protocol with it; "
                            "there is nothing to type.\n"
                            "--bench measures examples trained per second, and what that is of the core's peak.\n"
                            "See limberd(8), and `limber status` for what it is doing.\n";

/* Experience read so far. */
struct experience {
    int64_t   last_trial; /* everything up to this trial is here */
    int       n, capacity, skipped;
    float    *x, *a, *y;
    int64_t  *trial; /* id */
    uint32_t *step;
    int      *run; /* see train_data */
};

struct worker {
    struct trainer_setup  setup;
    struct store         *store;
    struct trainer       *trainer;
    struct trainer       *spare; /* flat_out: burns time beside the trainer, whose course it must not change */
    uint64_t              held;  /* version of the weights in trainer; 0: fresh ones                         */
    struct experience     data;
    float                 cost_slope2[MAX_OBS]; /* of the newest order */
    struct trainer_report report;
    uint64_t              start_ns, reported_ns;
    bool                  hung_up; /* the other side has closed */
};

/* ---- pipes ---- */

/* Bytes read: n, fewer at the end of the file. */
static size_t read_all(int fd, void *to, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = read(fd, (char *)to + got, n - got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return got;
}

/* A reader that is gone means that limberd is gone. */
static void send_report(struct worker *w)
{
    const char *p = (const char *)&w->report;
    size_t      n = sizeof w->report;

    w->reported_ns = clock_now_ns();
    while (n > 0) {
        ssize_t r = write(STDOUT_FILENO, p, n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            exit(0);
        p += r;
        n -= (size_t)r;
    }
}

_Noreturn static void protocol_error(const char *what, uint32_t magic, uint32_t size, size_t want)
{
    fprintf(stderr,
            "limber-trainer: %s has magic %08x and size %u, expected %08x and %zu: not the limberd of this build\n",
            what, magic, size, (unsigned)TRAINER_MAGIC, want);
    exit(EXIT_PROTOCOL);
}

/* false: end of file, before the first byte. */
static bool receive(const char *what, void *message, size_t size)
{
    uint32_t head[2] = { 0 };
    size_t   got     = read_all(STDIN_FILENO, message, size);

    if (got == 0)
        return false;
    memcpy(head, message, got < sizeof head ? got : sizeof head);
    if (!trainer_head_good(message, got, size))
        protocol_error(what, head[0], head[1], size);
    return true;
}

/* ---- experience ---- */

static bool reserve(struct experience *d, int nx, int na)
{
    size_t rows = d->capacity ? 2 * (size_t)d->capacity : 1024;

    if (d->n < d->capacity)
        return true;
    float *x = realloc(d->x, rows * (size_t)nx * sizeof *x);
    if (x)
        d->x = x;
    float *a = realloc(d->a, rows * (size_t)na * sizeof *a);
    if (a)
        d->a = a;
    float *y = realloc(d->y, rows * (size_t)nx * sizeof *y);
    if (y)
        d->y = y;
    int64_t *trial = realloc(d->trial, rows * sizeof *trial);
    if (trial)
        d->trial = trial;
    uint32_t *step = realloc(d->step, rows * sizeof *step);
    if (step)
        d->step = step;
    int *run = realloc(d->run, rows * sizeof *run);
    if (run)
        d->run = run;
    if (!x || !a || !y || !trial || !step || !run)
        return false;
    d->capacity = (int)rows;
    return true;
}

struct reading {
    struct worker *w;
    int64_t        last;
    bool           out_of_memory;
};

static bool all_finite(const float *v, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool take(void *ctx, int64_t trial_id, const struct transition *t)
{
    struct reading    *r  = ctx;
    struct experience *d  = &r->w->data;
    int                nx = r->w->setup.dims.nx, na = r->w->setup.dims.na;
    size_t             sx = (size_t)nx, sa = (size_t)na;

    if (trial_id > r->last)
        return false;
    if (!all_finite(t->x, nx) || !all_finite(t->a, na) || !all_finite(t->y, nx)) {
        d->skipped++;
        return true;
    }
    if (!reserve(d, nx, na)) {
        r->out_of_memory = true;
        return false;
    }
    memcpy(d->x + (size_t)d->n * sx, t->x, sx * sizeof *t->x);
    memcpy(d->a + (size_t)d->n * sa, t->a, sa * sizeof *t->a);
    memcpy(d->y + (size_t)d->n * sx, t->y, sx * sizeof *t->y);
    d->trial[d->n] = trial_id;
    d->step[d->n]  = t->step;
    d->n++;
    return true;
}

/* Adds the trials that are not here yet, up to `last`.  false with report.why. */
static bool read_experience(struct worker *w, int64_t last)
{
    struct reading r       = { .w = w, .last = last };
    int            n       = w->data.n;
    int            skipped = w->data.skipped;

    if (!w->store)
        w->store = store_open(w->setup.store, &w->setup.schema, true, w->report.why, sizeof w->report.why);
    if (!w->store)
        return false;
    if (last <= w->data.last_trial)
        return true;
    if (store_transitions(w->store, w->data.last_trial + 1, take, &r) < 0 || r.out_of_memory) {
        w->data.n       = n; /* all of it or nothing: the next order reads it again */
        w->data.skipped = skipped;
        snprintf(w->report.why, sizeof w->report.why, "%.80s: %.100s", w->setup.store,
                 r.out_of_memory ? "out of memory while reading the experience" : store_error(w->store));
        return false;
    }
    w->data.last_trial = last;
    if (w->data.skipped > skipped)
        fprintf(stderr, "limber-trainer: left out %d transitions with non-finite numbers\n", w->data.skipped - skipped);
    return true;
}

/* Rows of the newest so many trials. */
static int recent_rows(const struct experience *d, int trials)
{
    int n = 0;

    for (int i = d->n - 1; i >= 0; i--, n++)
        if ((i == d->n - 1 || d->trial[i] != d->trial[i + 1]) && trials-- == 0)
            break;
    return n;
}

static struct train_data training_data(const struct worker *w)
{
    const struct experience *d = &w->data;

    train_runs(d->n, d->trial, d->step, d->run);
    return (struct train_data){ .n           = d->n,
                                .x           = d->x,
                                .a           = d->a,
                                .y           = d->y,
                                .nrecent     = recent_rows(d, w->setup.config.recent_trials),
                                .cost_slope2 = w->cost_slope2,
                                .run         = d->run };
}

/* ---- training ---- */

static short stdin_events(void)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN | POLLRDHUP };

    return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static bool on_progress(void *ctx, double done)
{
    struct worker *w = ctx;

    if (clock_now_ns() - w->reported_ns < REPORT_NS)
        return true;
    w->report.stage   = TRAINER_PROGRESS;
    w->report.done    = done;
    w->report.train_s = 1e-9 * (double)(clock_now_ns() - w->start_ns);
    send_report(w);
    w->hung_up = stdin_events() & (POLLHUP | POLLRDHUP);
    return !w->hung_up;
}

static bool until_ordered(void *ctx, double done)
{
    (void)ctx, (void)done;
    return stdin_events() == 0;
}

/* Makes the trainer start from the order's base.  false with report.why. */
static bool load_base(struct worker *w, const struct trainer_order *o)
{
    struct model_trust base = { .version = o->base_version, .us = geteuid() };
    struct ensemble    e;
    int                err;

    if (w->held == o->base_version)
        return true;
    w->held = NOTHING_HELD;
    if (o->base_file[0]) {
        err = model_file_load_trusted(o->base_file, &base, w->setup.schema.robot, &w->setup.dims, &e,
                                      w->report.why, sizeof w->report.why);
    } else if ((err = ensemble_alloc(&e, &w->setup.dims)) == 0) {
        ensemble_init(&e, rng_derive(w->setup.seed, 3, o->version));
    } else {
        snprintf(w->report.why, sizeof w->report.why, "cannot make fresh weights: %s", strerror(-err));
    }
    if (err)
        return false;
    trainer_load(w->trainer, &e);
    ensemble_free(&e);
    w->held = o->base_version;
    return true;
}

/* The trainer's weights, validated, as a file.  false with report.why. */
static bool save_candidate(struct worker *w, uint64_t version)
{
    struct ensemble e;
    int             err = ensemble_alloc(&e, &w->setup.dims);

    if (!err) {
        trainer_export(w->trainer, &e);
        e.version = version;
        trainer_candidate(w->setup.models, version, w->report.file, sizeof w->report.file);
        err = model_file_save(w->report.file, &e, w->setup.schema.robot);
        ensemble_free(&e);
    }
    if (err == -EINVAL)
        snprintf(w->report.why, sizeof w->report.why, "training diverged: the weights are not finite numbers any more");
    else if (err)
        snprintf(w->report.why, sizeof w->report.why, "%.150s: cannot write the candidate: %s", w->report.file,
                 strerror(-err));
    return !err;
}

/* Everything an order asks for.  false with report.why. */
static bool carry_out(struct worker *w, const struct trainer_order *o)
{
    if (!read_experience(w, o->last_trial_id) || !load_base(w, o))
        return false;
    w->report.transitions = w->data.n;

    memcpy(w->cost_slope2, o->cost_slope2, sizeof w->cost_slope2);
    struct train_data data = training_data(w);

    w->held   = NOTHING_HELD; /* until it has a name again */
    int steps = trainer_fit(w->trainer, &data, on_progress, w, &w->report.loss);
    if (w->hung_up)
        return true;
    if (steps < 0) {
        snprintf(w->report.why, sizeof w->report.why, "cannot train on %d transitions up to trial id %lld: %s", data.n,
                 (long long)o->last_trial_id, steps == -EINVAL ? "at least 2 are needed" : strerror(-steps));
        return false;
    }
    w->report.steps = steps;
    if (!save_candidate(w, o->version))
        return false;
    w->held = o->version;
    return true;
}

/* Benchmark mode: the same work again and again until something arrives. */
static void burn(struct worker *w)
{
    struct train_data data = training_data(w);

    if (!w->spare)
        w->spare = trainer_new(&w->setup.dims, &w->setup.config, w->setup.seed);
    while (w->spare && stdin_events() == 0 && trainer_fit(w->spare, &data, until_ordered, NULL, NULL) > 0)
        ;
}

static void serve(struct worker *w)
{
    struct trainer_order o;

    while (!w->hung_up && receive("an order", &o, sizeof o)) {
        const char *fault = trainer_order_fault(&o);

        if (fault) {
            fprintf(stderr, "limber-trainer: an order makes no sense: %s\n", fault);
            exit(EXIT_PROTOCOL);
        }
        w->report   = (struct trainer_report){ .magic = TRAINER_MAGIC, .size = sizeof w->report, .version = o.version };
        w->start_ns = clock_now_ns();
        w->reported_ns = w->start_ns;
        bool good      = carry_out(w, &o);

        if (w->hung_up)
            return;
        w->report.stage   = good ? TRAINER_DONE : TRAINER_FAILED;
        w->report.done    = good;
        w->report.train_s = 1e-9 * (double)(clock_now_ns() - w->start_ns);
        send_report(w);
        if (good && w->setup.config.flat_out)
            burn(w);
    }
}

/* ---- start ---- */

static void note(const char *what)
{
    fprintf(stderr, "limber-trainer: %s: %s; going on without\n", what, strerror(errno));
}

/* Behind everything else on its core, first to go when memory is short, never alive without limberd. */
static void take_back_seat(int core)
{
    struct sched_param idle  = { 0 };
    struct rlimit      limit = { (rlim_t)MEMORY_LIMIT << 30, (rlim_t)MEMORY_LIMIT << 30 };
    cpu_set_t          cpus;

    /* Limberd's terminal closes, or Ctrl-C there: limberd decides what becomes of the trainer. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        note("cannot tie itself to limberd's life");
    if (sched_setscheduler(0, SCHED_IDLE, &idle) != 0)
        note("cannot run at idle priority");
    umask(0027);
    CPU_ZERO(&cpus);
    if (core >= 0 && core < CPU_SETSIZE) {
        CPU_SET((size_t)core, &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus) != 0)
            note("cannot keep to its core");
    }
    /* A sanitizer reserves terabytes of address space: no limit there. */
    if (!RT_SANITIZED && setrlimit(RLIMIT_AS, &limit) != 0)
        note("cannot limit its memory");

    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "500", 3) != 3)
        note("cannot offer itself to the out-of-memory killer");
    if (fd >= 0)
        close(fd);
}

/* From here on it can read experience and write candidates, and nothing else. */
static void give_up_rights(const struct trainer_setup *s)
{
    char store[sizeof s->store];

    memcpy(store, s->store, sizeof store);
    struct sandbox box = sandbox_trainer(dirname(store), s->models);
    if (box.why[0])
        fprintf(stderr, "limber-trainer: %s; going on without\n", box.why);
}

/* Takes a whole number from 1 on; 0: it is none. */
static int positive(const char *text)
{
    char *end;
    long  n = strtol(text, &end, 10);

    return *end || n < 1 || n > 1 << 20 ? 0 : (int)n;
}

static int bench(int argc, char **argv)
{
    struct train_bench b = { 0 };

    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--json") == 0) {
            b.json = true;
            continue;
        }
        if (value && strcmp(argv[i], "--shape") == 0)
            b.shape = value;
        else if (value && strcmp(argv[i], "--isa") == 0)
            b.isa = value;
        else if (value && strcmp(argv[i], "--batch") == 0 && positive(value))
            b.batch = positive(value);
        else {
            fprintf(stderr, "limber-trainer: cannot make sense of %s\n%s", argv[i], USAGE);
            return EXIT_USAGE;
        }
        i++;
    }
    int err = train_bench(&b);

    return err == -EINVAL ? EXIT_USAGE : err != 0;
}

int main(int argc, char **argv)
{
    struct worker w = { 0 };

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(USAGE, stdout) < 0;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(argc, argv);
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a failed write, like a full disk */
    if (!receive("the setup", &w.setup, sizeof w.setup))
        return 0;
    const char *fault = trainer_setup_fault(&w.setup);
    if (fault) {
        fprintf(stderr, "limber-trainer: the setup makes no sense: %s\n", fault);
        return EXIT_PROTOCOL;
    }
    take_back_seat(w.setup.core);
    w.trainer = trainer_new(&w.setup.dims, &w.setup.config, w.setup.seed);
    if (!w.trainer) {
        fprintf(stderr,
                "limber-trainer: the setup makes no sense or needs more than %d GiB: %d observations, %d actions, "
                "%d nets of %d x %d, batch %d\n",
                MEMORY_LIMIT, w.setup.dims.nx, w.setup.dims.na, w.setup.dims.members, w.setup.dims.layers,
                w.setup.dims.hidden, w.setup.config.batch);
        return EXIT_PROTOCOL;
    }
    give_up_rights(&w.setup);
    serve(&w);
    trainer_free(w.trainer);
    trainer_free(w.spare);
    store_close(w.store);
    free(w.data.x);
    free(w.data.a);
    free(w.data.y);
    free(w.data.trial);
    free(w.data.step);
    free(w.data.run);
    return 0;
}
