/* limberd.c - the daemon: start, the main loop, the end.
 *
 * Start: configuration, run directory and its lock, store, memory laid out and locked, sockets, threads, trainer.
 * Main loop (libuv): drains what the control thread reports into the store, serves the two HTTP sockets, keeps the
 * trainer, feeds systemd's watchdog.  What may wait for the disk is the disk's thread's (disk.h).  End: controlled stop,
 * threads, store.  Exit codes as in sysexits.h. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/run_dir.h"
#include "models/perms.h"
#include "transport/keys.h"

enum { DRAIN_MS = 20, NOTIFY_MS = 200 };
#define SHUTDOWN_NS      NS_PER_S
#define WRITE_ALL_NS     (20 * NS_PER_S) /* less than TimeoutStopSec of the unit */
#define HANGUP_NS        (10 * NS_PER_S)
#define LOCKSTEP_WAIT_NS (6 * NS_PER_S) /* the control thread's own guard, 5 s, and one to be scheduled */

static const char usage[] =
    "limberd - learns a robot's dynamics and controls it by planning with what it learned\n"
    "\n"
    "  limberd --config FILE [--run-dir DIR] [--seed N] [--trials N] [--planner-isa NAME] [--train-flat-out]\n"
    "  limberd --check FILE       only check the configuration\n"
    "\n"
    "  --run-dir DIR        sockets, store and models; default: paths.run, /run/limber/NAME, ...\n"
    "  --seed N             instead of trials.seed\n"
    "  --trials N           instead of trials.count\n"
    "  --planner-isa NAME   avx512, avx2 or portable; default: the best this processor has\n"
    "  --train-flat-out     benchmark: the trainer never rests\n"
    "\n"
    "Exit codes: 0 ended as asked, 64 wrong use, 69 another instance runs, 73 a file or socket cannot be made,\n"
    "74 the store cannot be used, 78 the configuration is wrong.\n";

/* ---- command line ---- */

static int parse_count(const char *text, const char *flag, uint64_t *out)
{
    char *end;

    errno = 0;
    *out  = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text == '-') {
        fprintf(stderr, "limberd: %s: value \"%s\": expected a whole number\n", flag, text);
        return -1;
    }
    return 0;
}

static int parse(int argc, char **argv, struct daemon_options *o)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },   { "check", optional_argument, NULL, 'k' },
        { "run-dir", required_argument, NULL, 'r' },  { "seed", required_argument, NULL, 's' },
        { "trials", required_argument, NULL, 't' },   { "planner-isa", required_argument, NULL, 'i' },
        { "train-flat-out", no_argument, NULL, 'f' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },        { 0 },
    };
    uint64_t n;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c': o->config_file = optarg; break;
        case 'k':
            o->check = true;
            if (optarg)
                o->config_file = optarg;
            break;
        case 'r': o->run_dir = optarg; break;
        case 's':
            if (parse_count(optarg, "--seed", &o->seed))
                return EX_USAGE;
            o->has_seed = true;
            break;
        case 't':
            if (parse_count(optarg, "--trials", &n))
                return EX_USAGE;
            if (n > HISTORY_MAX) {
                fprintf(stderr, "limberd: --trials: value \"%s\": at most %d trials are allowed\n", optarg,
                        HISTORY_MAX);
                return EX_USAGE;
            }
            o->trials     = (int)n;
            o->has_trials = true;
            break;
        case 'i': o->planner_isa = optarg; break;
        case 'f': o->train_flat_out = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        case 'v': puts("limberd " LIMBER_VERSION); exit(0);
        default: fputs("limberd: see limberd --help\n", stderr); return EX_USAGE;
        }
    }
    if (o->check && !o->config_file && optind < argc)
        o->config_file = argv[optind++];
    if (!o->config_file || optind < argc) {
        fputs("limberd: which robot?  limberd --config FILE (see limberd --help)\n", stderr);
        return EX_USAGE;
    }
    return 0;
}

/* ---- start ---- */

uint64_t resident_kb(void)
{
    unsigned long size, resident = 0;
    FILE         *f = fopen("/proc/self/statm", "re");

    if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static int configure(struct daemon *d)
{
    struct robot_config *c = &d->config;
    char                 why[600];

    if (config_load(d->options.config_file, c, why, sizeof why) != 0) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_CONFIG;
    }
    if (d->options.has_seed)
        c->trials.seed = d->options.seed;
    if (d->options.has_trials)
        c->trials.count = d->options.trials;
    c->trainer.flat_out = c->trainer.flat_out || d->options.train_flat_out;
    if (d->options.planner_isa) {
        const char *const *isa = isa_names();
        while (*isa && strcmp(*isa, d->options.planner_isa) != 0)
            isa++;
        if (!*isa) {
            fprintf(stderr, "limberd: --planner-isa: value \"%s\": this processor has", d->options.planner_isa);
            for (isa = isa_names(); *isa; isa++)
                fprintf(stderr, " %s", *isa);
            fputs("\n", stderr);
            return EX_USAGE;
        }
    }
    return 0;
}

/* `given` where there is one, else prefix DIR suffix.  False where it does not fit. */
static bool place(char *out, size_t size, const char *given, const char *prefix, const char *dir, const char *suffix)
{
    int n = *given ? snprintf(out, size, "%s", given) : snprintf(out, size, "%s%s%s", prefix, dir, suffix);

    if (n >= 0 && (size_t)n < size)
        return true;
    fprintf(stderr, "limberd: %s: a path here may have %zu bytes; choose a shorter run directory\n", dir, size - 1);
    return false;
}

/* One daemon per run directory, named by its lock. */
static int places(struct daemon *d)
{
    const struct robot_config *c = &d->config;
    char                       why[600], lock[PATH_SIZE + 16], pid[32] = "";

    int bad = run_dir_find(d->options.run_dir, c->paths.run, c->robot, d->run_dir, sizeof d->run_dir, why, sizeof why);
    if (bad) {
        fprintf(stderr, "limberd: %s\n", why);
        return bad == RUN_DIR_NOT_OURS ? EX_CONFIG : EX_CANTCREAT;
    }
    snprintf(lock, sizeof lock, "%s/lock", d->run_dir);
    d->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (d->lock_fd < 0) {
        fprintf(stderr, "limberd: %s: %s\n", lock, strerror(errno));
        return EX_CANTCREAT;
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n               = read(d->lock_fd, pid, sizeof pid - 1);
        pid[n > 0 ? n : 0]      = 0;
        pid[strcspn(pid, "\n")] = 0;
        fprintf(stderr,
                "limberd: another limberd (process %s) already controls %s in %s; stop it first, or choose another "
                "--run-dir\n",
                pid, c->robot, d->run_dir);
        return EX_UNAVAILABLE;
    }
    if (ftruncate(d->lock_fd, 0) != 0 || dprintf(d->lock_fd, "%d\n", (int)getpid()) < 0) {
        fprintf(stderr, "limberd: %s: %s\n", lock, strerror(errno));
        return EX_CANTCREAT;
    }
    /* Experience outlives the run directory under systemd, which names a place for it. */
    const char *state = getenv("STATE_DIRECTORY");
    if (!place(d->store_path, sizeof d->store_path, c->paths.store, "", state ? state : d->run_dir, "/experience.db") ||
        !place(d->endpoint, sizeof d->endpoint, c->endpoint, "ipc://", d->run_dir, "/robot.sock") ||
        !place(d->telemetry_endpoint, sizeof d->telemetry_endpoint, c->telemetry, "ipc://", d->run_dir,
               "/telemetry.sock"))
        return EX_CANTCREAT;
    return 0;
}

/* Nobody else may have a say in what the robot learns from, or in what drives it. */
static bool only_ours(const struct daemon *d, char *why, size_t size)
{
    static const char *const beside[] = { "", "-wal", "-shm" };
    char                     path[PATH_SIZE + 16], dir[PATH_SIZE];
    uid_t                    us   = geteuid();
    bool                     good = perms_path_good(d->run_dir, us, why, size);

    snprintf(dir, sizeof dir, "%s", d->store_path);
    dirname(dir);
    good = good && perms_path_good(dir, us, why, size);
    for (size_t i = 0; good && i < sizeof beside / sizeof *beside; i++) {
        snprintf(path, sizeof path, "%s%s", d->store_path, beside[i]);
        good = perms_path_good(path, us, why, size);
    }
    snprintf(path, sizeof path, "%s/models", dir);
    return good && perms_entries_good(path, ".model", us, why, size);
}

static int open_store(struct daemon *d, struct store_schema *schema)
{
    char why[600];

    if (!only_ours(d, why, sizeof why)) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_CONFIG;
    }

    config_store_schema(&d->config, schema);
    d->store = store_open(d->store_path, schema, false, why, sizeof why);
    if (!d->store) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_IOERR;
    }
    d->journal.disk = disk_new(d->store);
    NEED(d->journal.disk);
    d->journal.store_ok = true;
    d->journal.trial    = -1;
    return 0;
}

static int find_trainer(char *path, size_t size)
{
    char self[PATH_SIZE] = "";

    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return EX_OSERR;
    return place(path, size, "", "", dirname(self), "/limber-trainer") ? 0 : EX_CANTCREAT;
}

/* Before there is another thread, as what is given up is each thread's own; those that begin later inherit it. */
static int give_up_rights(struct daemon *d)
{
    char store[PATH_SIZE], trainer[PATH_SIZE];
    bool network = strncmp(d->endpoint, "tcp://", 6) == 0 || strncmp(d->telemetry_endpoint, "tcp://", 6) == 0;
    int  bad     = find_trainer(trainer, sizeof trainer);

    if (bad)
        return bad;
    snprintf(store, sizeof store, "%s", d->store_path);
    d->sandbox = sandbox_daemon(d->run_dir, dirname(store), trainer, network);
    return 0;
}

/* Everything the real-time threads touch, in one block. */
static int lay_out(struct daemon *d)
{
    struct robot_config *c      = &d->config;
    struct action_bounds bounds = { .na = c->na };
    struct arena         arena  = ARENA_PROBE;

    for (int i = 0; i < c->na; i++) {
        bounds.low[i]  = (float)c->action[i].low;
        bounds.high[i] = (float)c->action[i].high;
    }
    ARENA_ARRAY(&arena, struct shared, 1);
    ARENA_ARRAY(&arena, struct control_loop, 1);
    size_t fixed = (arena.used + 63) & ~(size_t)63;
    arena.size   = (fixed + planner_memsize(&c->planner, &c->model) + HUGE_PAGE) / HUGE_PAGE * HUGE_PAGE;
    arena.base   = aligned_alloc(HUGE_PAGE, arena.size);
    if (!arena.base) {
        fprintf(stderr, "limberd: no memory for %zu KiB: %s\n", arena.size / 1024, strerror(errno));
        return EX_OSERR;
    }
    /* Large pages, as looking up small ones would hold up the planner; every page present before the threads begin; and
     * not shared with the trainer's fork, after which each first write would fault for a copy. */
    (void)madvise(arena.base, arena.size, MADV_HUGEPAGE);
    memset(arena.base, 0, arena.size);
    (void)madvise(arena.base, arena.size,
                  MADV_NOHUGEPAGE); /* no collapsing of small pages later: that makes them fault */
    madvise(arena.base, arena.size, MADV_DONTFORK);
    arena.used         = 0;
    d->shared          = ARENA_ARRAY(&arena, struct shared, 1);
    d->control         = ARENA_ARRAY(&arena, struct control_loop, 1);
    d->shared->planner = planner_init(&arena, &c->planner, &c->model, &c->task, &bounds, d->options.planner_isa);
    if (shared_init(d->shared, c) < 0)
        return EX_OSERR;
    return 0;
}

static void expect_of(const struct robot_config *c, struct session_expect *e)
{
    memset(e, 0, sizeof *e);
    snprintf(e->robot, sizeof e->robot, "%s", c->robot);
    e->nj                   = c->nj;
    e->nextra               = c->nextra;
    e->simulated            = c->hardware == HARDWARE_SIM;
    e->lockstep_allowed     = c->lockstep;
    e->control_hz           = c->control_hz;
    e->latch_ms             = c->latch_ms;
    e->robot_timeout_max_ms = c->timeouts.robot_timeout_max_s * 1e3;
    memcpy(e->extra, c->extra, sizeof e->extra);
    for (int j = 0; j < c->nj; j++) {
        const struct joint_config *from = &c->joint[j];
        struct joint_info         *to   = &e->joint[j];

        snprintf(to->name, sizeof to->name, "%s", from->name);
        to->type            = from->type;
        to->actuated        = from->actuated;
        to->position_min    = from->position_min;
        to->position_max    = from->position_max;
        to->velocity_max    = from->velocity;
        to->effort_max      = from->effort;
        to->effort_rate_max = from->effort_rate;
    }
}

static int open_sockets(struct daemon *d)
{
    const struct robot_config *c = &d->config;
    struct session_expect      expect;
    struct port_keys           keys  = { .key = c->curve.key, .clients = c->curve.clients };
    struct port_options        robot = {
               .endpoint = d->endpoint, .priority = c->cores.zmq_priority, .core = c->cores.io, .keys = keys
    };
    struct port_options tele = { .endpoint = d->telemetry_endpoint, .core = c->cores.main, .keys = keys };
    char                why[600];

    expect_of(c, &expect);
    session_init(&d->shared->session, &expect, rng_derive(clock_now_ns(), (uint64_t)getpid(), 1) | 1);
    d->io.s = d->shared;
    if (!(d->io.port = port_bind(&robot, why, sizeof why)) || !(d->telemetry = port_publish(&tele, why, sizeof why))) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_CANTCREAT;
    }
    return 0;
}

/* The planner's other threads. */
static int start_workers(struct daemon *d)
{
    const struct robot_config *c = &d->config;

    for (d->workers = 1; d->workers < c->cores.planners; d->workers++) {
        int  i = d->workers, bad;
        char name[24];

        snprintf(name, sizeof name, "planner-%d", i);
        d->worker[i] = (struct plan_worker){ .s = d->shared, .worker = i };
        bad = realtime_thread(&d->realtime, name, c->cores.planner[i], c->cores.planner_priority, plan_worker_run,
                              &d->worker[i], &d->worker_thread[i]);
        if (bad < 0)
            return bad;
    }
    return 0;
}

static int start_threads(struct daemon *d)
{
    const struct robot_config *c = &d->config;
    struct realtime           *r = &d->realtime;

    d->control->s = d->shared;
    core_init(&d->control->core, c, (uint64_t)store_transition_count(d->store));
    for (int i = 0; i < d->experiment.nhistory; i++)
        core_remember(&d->control->core, d->experiment.history[i].score);
    core_ready(&d->control->core);
    d->core = d->control->core;
    if (realtime_thread(r, "io", c->cores.io, c->cores.io_priority, io_loop_run, &d->io, &d->io_thread) < 0 ||
        realtime_thread(r, "planner", c->cores.planner[0], c->cores.planner_priority, plan_loop_run, d->shared,
                        &d->planner_thread) < 0 ||
        realtime_thread(r, "control", c->cores.control, c->cores.control_priority, control_loop_run, d->control,
                        &d->control_thread) < 0 ||
        start_workers(d) < 0) {
        fputs("limberd: a thread cannot be started; is the process limit reached?\n", stderr);
        return EX_OSERR;
    }
    return 0;
}

/* ---- while it runs ---- */

static void on_drain(uv_timer_t *t)
{
    struct daemon *d = t->data;

    host_watch_look(&d->watch, &d->journal, DRAIN_MS * NS_PER_MS);
    drain(d);
    if (d->stop_asked_ns && ((!mode_armed(d->core.mode) && d->core.mode != MODE_STOPPING) ||
                             clock_now_ns() - d->stop_asked_ns > SHUTDOWN_NS))
        uv_stop(&d->loop);
}

/* The watchdog is fed only by real progress of the control thread; in lockstep that waits for the simulator, for up to
 * LOCKSTEP_WAIT_NS where somebody has paused it. */
static void on_notify(uv_timer_t *t)
{
    struct daemon *d     = t->data;
    uint64_t       ticks = atomic_load(&d->shared->ticks);
    bool           waits = atomic_load(&d->shared->lockstep) && daemon_silent_ns(d) < LOCKSTEP_WAIT_NS;

    if (ticks != d->watchdog_ticks || waits)
        /* What was said once may not have been heard. */
        notify("%s=1\nWATCHDOG=1\nSTATUS=%s, %s, trial %u, model %llu", d->stop_asked_ns ? "STOPPING" : "READY",
               mode_name(d->core.mode), d->link_up ? "robot connected" : "no robot", d->experiment.row.number,
               (unsigned long long)d->learner.incumbent.version);
    d->watchdog_ticks = ticks;
}

/* ---- operations, end ---- */

uint64_t daemon_operation(struct daemon *d, enum operation_kind kind)
{
    uint64_t slot, none = 0;

    if (kind == OP_STOP && atomic_compare_exchange_strong(&d->shared->stop_id, &none, d->next_operation + 1))
        return ++d->next_operation;
    if (!ring_claim(&d->shared->operation_ring, &slot))
        return 0;
    if (kind == OP_ARM && !mode_armed(d->core.mode))
        threads_count_from_here(d);
    /* What makes the robot safer may always come late. */
    bool     late_is_good = kind == OP_STOP || kind == OP_DISARM || kind == OP_SHUTDOWN;
    uint64_t until        = late_is_good ? 0 : clock_now_ns() + OPERATION_PATIENCE_NS;

    struct operation *op = &d->shared->operation[slot];
    *op                  = (struct operation){ .kind = kind, .id = ++d->next_operation, .expires_ns = until };
    if (kind == OP_TASK) {
        op->nend = d->wanted.task.nend;
        memcpy(op->end, d->wanted.task.end, sizeof op->end);
    }
    ring_push(&d->shared->operation_ring);
    return d->next_operation;
}

void daemon_shutdown(struct daemon *d)
{
    if (d->stop_asked_ns)
        return;
    d->stop_asked_ns = clock_now_ns();
    notify("STOPPING=1");
    journal_say(&d->journal, "daemon", "ending");
    daemon_operation(d, OP_SHUTDOWN);
}

static void on_signal(uv_signal_t *s, int signum)
{
    (void)signum;
    daemon_shutdown(s->data);
}

/* The terminal that it was started from is gone, or somebody wants a daemon to read its files again. */
static void on_hangup(uv_signal_t *s, int signum)
{
    struct daemon *d   = s->data;
    uint64_t       now = clock_now_ns();

    (void)signum;
    if (d->hangups.count++ && now - d->hangups.said_ns < HANGUP_NS)
        return;
    journal_say(&d->journal, "signal",
                "SIGHUP changes nothing (%" PRIu64
                " so far): control goes on; robot.yaml is read at start only, so disarm and "
                "start limberd again for what has changed in it",
                d->hangups.count);
    d->hangups.said_ns = now;
}

static void status_request(void *ctx, struct http_request *r, const char *method, const char *path, const char *body)
{
    (void)body;
    if (strcmp(method, "GET") != 0) {
        http_answer(r, 403,
                    "{\"ok\": false, \"error\": \"this socket is read-only; operator verbs go to control.sock\"}");
    } else if (strcmp(path, "/metrics") == 0) {
        char *text = metrics_text(ctx);
        http_answer_plain(r, text);
        free(text);
    } else if (strcmp(path, "/status") != 0) {
        http_answer(r, 404, "{\"ok\": false, \"error\": \"GET /status and GET /metrics are what there is\"}");
    } else {
        char *json = status_json(ctx);
        http_answer(r, json ? 200 : 503, json);
        free(json);
    }
}

static void every(struct daemon *d, uv_timer_t *t, uv_timer_cb cb, uint64_t ms)
{
    uv_timer_init(&d->loop, t);
    t->data = d;
    uv_timer_start(t, cb, ms, ms);
}

static void on(struct daemon *d, uv_signal_t *s, int signum, uv_signal_cb cb)
{
    uv_signal_init(&d->loop, s);
    s->data = d;
    uv_signal_start(s, cb, signum);
}

static int serve(struct daemon *d)
{
    char path[PATH_SIZE + 16], why[600];

    snprintf(path, sizeof path, "%s/status.sock", d->run_dir);
    d->status_server = http_server_start(&d->loop, path, 0666, status_request, d, why, sizeof why);
    snprintf(path, sizeof path, "%s/control.sock", d->run_dir);
    if (d->status_server)
        d->control_server = http_server_start(&d->loop, path, 0660, operate_request, d, why, sizeof why);
    if (!d->control_server) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_CANTCREAT;
    }
    every(d, &d->drain_timer, on_drain, DRAIN_MS);
    every(d, &d->notify_timer, on_notify, NOTIFY_MS);
    on(d, &d->term, SIGTERM, on_signal);
    on(d, &d->interrupt, SIGINT, on_signal);
    on(d, &d->hangup, SIGHUP, on_hangup);
    return 0;
}

static bool within(const char *file, const char *dir)
{
    char  *f = realpath(file, NULL), *d = realpath(dir, NULL);
    size_t n   = d ? strlen(d) : 0;
    bool   yes = f && d && strncmp(f, d, n) == 0 && (f[n] == '/' || n == 1);

    free(f);
    free(d);
    return yes;
}

/* The key is of use where what runs in the trainer can read neither it nor change the files that ask for it. */
static bool beyond_trainer(const struct daemon *d, char *why, size_t size)
{
    const char *file[] = { d->config.paths.model_key, d->options.config_file, d->config.task_file };
    char        dir[PATH_SIZE];

    snprintf(dir, sizeof dir, "%s", d->store_path);
    dirname(dir);
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        if (within(file[i], dir) || within(file[i], d->learner.models)) {
            snprintf(why, size, "%s: is in a directory that limber-trainer may read and write, that of the store; keep one of "
                                "them elsewhere", file[i]);
            return false;
        }
    if (!d->sandbox.files && d->config.hardware == HARDWARE_REAL) {
        snprintf(why, size, "limber-trainer may read the key here, as %s", d->sandbox.why);
        return false;
    }
    return true;
}

static int load_seal(struct daemon *d)
{
    const char         *file = d->config.paths.model_key;
    const struct rlimit none = { 0, 0 };
    uint8_t             seed[SEAL_SEED];
    char                why[PATH_SIZE * 2 + 200];

    if (!file[0])
        return 0;
    setrlimit(RLIMIT_CORE, &none); /* it is in memory from here on */
    bool good = keys_load_signing(file, seed, why, sizeof why) && beyond_trainer(d, why, sizeof why);
    if (good && !(good = seal_key_of(seed, &d->seal)))
        snprintf(why, sizeof why, "models cannot be sealed: libsodium does not begin");
    explicit_bzero(seed, sizeof seed);
    if (!good)
        fprintf(stderr, "limberd: paths.model_key: %s\n", why);
    d->learner.seal = &d->seal;
    return good ? 0 : EX_CONFIG;
}

static int start_learning(struct daemon *d, const struct store_schema *schema)
{
    struct learner    *l = &d->learner;
    struct experiment *e = &d->experiment;
    char               beside[PATH_SIZE], why[600];

    *l = (struct learner){ .loop    = &d->loop,
                           .config  = &d->config,
                           .shared  = d->shared,
                           .store   = d->store,
                           .journal = &d->journal,
                           .dims    = d->config.model };
    *e = (struct experiment){ .config  = &d->config,
                              .shared  = d->shared,
                              .store   = d->store,
                              .journal = &d->journal,
                              .learner = l,
                              .count   = d->config.trials.count };
    snprintf(beside, sizeof beside, "%s", d->store_path);
    if (!place(l->models, sizeof l->models, "", "", dirname(beside), "/models") ||
        find_trainer(l->trainer_path, sizeof l->trainer_path))
        return EX_CANTCREAT;
    int bad = load_seal(d);
    if (bad)
        return bad;
    if (experiment_start(e) < 0) {
        fprintf(stderr, "limberd: %s: %s\n", d->store_path, store_error(d->store));
        return EX_IOERR;
    }
    if (learner_start(l, schema, d->store_path, why, sizeof why) < 0) {
        fprintf(stderr, "limberd: %s\n", why);
        return EX_IOERR;
    }
    experiment_wait(e); /* where experience waits for its model */
    return 0;
}

/* Not those of signals: a second SIGTERM would otherwise kill before the store is closed. */
static void close_handle(uv_handle_t *h, void *unused)
{
    (void)unused;
    if (!uv_is_closing(h) && uv_handle_get_type(h) != UV_SIGNAL)
        uv_close(h, NULL);
}

/* What is in line, then what follows from its being written: the last trial's end, the recording of a stop.  The watchdog is
 * fed: the disk takes its time, and it is known for how long at most. */
static void write_all(struct daemon *d)
{
    struct disk *disk  = d->journal.disk;
    uint64_t     until = clock_now_ns() + WRITE_ALL_NS, now;
    int          round = 0;
    bool         ended = false;

    while (!ended && (now = clock_now_ns()) < until) {
        notify("WATCHDOG=1");
        if (round == 2) {
            ended = disk_end(disk, now + NOTIFY_MS * NS_PER_MS);
        } else if (disk_wait(disk, disk_line(disk), now + NOTIFY_MS * NS_PER_MS)) {
            experiment_commit(&d->experiment);
            stops_settle(&d->stops, &d->core);
            round++;
        }
    }
    if (!ended && disk_waiting(disk)) {
        char text[100];

        snprintf(text, sizeof text, "the disk is too slow: %" PRIu64 " rows are not in the store", disk_waiting(disk));
        disk_print("store", text);
    }
    d->journal.disk = NULL;
}

static void finish(struct daemon *d)
{
    atomic_store(&d->shared->stop_threads, true);
    uint64_t one = 1;
    if (write(d->shared->io_wake_fd, &one, sizeof one) < 0)
        fputs("limberd: the io thread ends a little later\n", stderr);
    rt_signal_raise(&d->shared->state_signal);
    rt_signal_raise(&d->shared->request_signal);
    pthread_join(d->control_thread, NULL);
    pthread_join(d->planner_thread, NULL);
    planner_dismiss(d->shared->planner);
    for (int i = 1; i < d->workers; i++)
        pthread_join(d->worker_thread[i], NULL);
    pthread_join(d->io_thread, NULL);
    drain(d);
    operate_end(d);
    uv_run(&d->loop, UV_RUN_NOWAIT); /* sends the answers: no request may be suspended when the servers end */
    learner_stop(&d->learner);
    http_server_stop(d->status_server);
    http_server_stop(d->control_server);
    uv_run(&d->loop, UV_RUN_NOWAIT);
    uv_walk(&d->loop, close_handle, NULL);
    uv_run(&d->loop, UV_RUN_NOWAIT);
    write_all(d);
    stops_close(&d->stops);
    port_close(d->io.port);
    port_close(d->telemetry);
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct store_schema  schema;
    int                  bad;

    if ((bad = parse(argc, argv, &d.options)) || (bad = configure(&d)))
        return bad;
    if (d.options.check) {
        printf("%s: good: robot %s, %d joints, %d observations, %d actions, task %s, planner %s\n",
               d.options.config_file, d.config.robot, d.config.nj, d.config.nx, d.config.na, d.config.task.name,
               d.config.planner.name);
        return 0;
    }
    d.started_ns = clock_now_ns();
    signal(SIGHUP, SIG_IGN); /* until serve() */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a failed write, like a full disk */
    uv_loop_init(&d.loop);
    if ((bad = places(&d)))
        return bad;
    realtime_start(&d.realtime);
    if ((bad = open_store(&d, &schema)) || (bad = give_up_rights(&d)) || (bad = lay_out(&d)) ||
        (bad = open_sockets(&d)) || (bad = start_learning(&d, &schema)) || (bad = start_threads(&d)) ||
        (bad = serve(&d)))
        return bad;
    for (int i = 0; i < d.realtime.nwarning; i++)
        journal_say(&d.journal, "realtime", "%s", d.realtime.warning[i]);
    if (d.sandbox.why[0])
        journal_say(&d.journal, "sandbox", "%s", d.sandbox.why);
    journal_say(&d.journal, "daemon", "limberd %s controls %s (%s), planner %s on %s, in %s", LIMBER_VERSION,
                d.config.robot, d.config.hardware == HARDWARE_SIM ? "simulated" : "real hardware",
                d.config.planner.name, planner_isa(d.shared->planner), d.run_dir);
    stops_open(&d.stops, &d.config, d.run_dir, &d.journal);
    if (disk_start(d.journal.disk) < 0) {
        fputs("limberd: a thread cannot be started; is the process limit reached?\n", stderr);
        return EX_OSERR;
    }
    d.resident_start_kb = resident_kb();
    notify("READY=1\nSTATUS=disarmed, waiting for the robot side");
    uv_run(&d.loop, UV_RUN_DEFAULT);
    finish(&d);
    return 0;
}
