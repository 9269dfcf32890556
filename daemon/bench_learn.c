/* bench_learn.c - limber bench learn: the flags, and the seeds one after the other or several at a time. */
#include "daemon/bench_learn.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"

static const double LOOK_S = 0.2, HEARTBEAT_S = 30;

enum { TRIES = 3 }; /* a busy moment of the machine must not end a night's work */

struct course {
    struct learn      *l;
    struct terminal    t;
    struct learn_seed *slot[LEARN_JOBS_MAX];
    long               next; /* seed to be started */
    uint64_t           begun_ns, said_ns;
    int                worst; /* exit code so far */
    bool               giving_up;
};

/* --- how far, how long yet --- */

/* Trials done of a seed, the running one by its steps. */
static double progress(const struct learn_seed *s)
{
    const json_t *st = s->session ? s->session->status : NULL;
    double steps = js_num(st, "trials.steps"), step = js_num(st, "trials.step"), done = js_num(st, "trials.done");

    if (!isfinite(done))
        return s->before;
    return done + (step > 0 && steps > 0 ? step / steps : 0);
}

static void time_left(const struct course *c, char *out, size_t n)
{
    double all = 0, now = 0;

    for (long i = 0; i < c->l->seeds; i++) {
        const struct learn_seed *s = &c->l->seed[i];

        if (s->seconds > 0 && !s->session) /* ended in this bench */
            now += s->curve->n - s->before;
        else if (s->session)
            now += progress(s) - s->before;
        if (!s->done && !s->stopped)
            all += (double)c->l->trials - (s->session ? progress(s) : s->before);
    }
    double elapsed = 1e-9 * (double)(clock_now_ns() - c->begun_ns),
           left    = now > 0.5 ? all * elapsed / now : (double)NAN;

    if (!isfinite(left))
        snprintf(out, n, "time left not known yet");
    else if (left < 90)
        snprintf(out, n, "%.0f s left", left);
    else if (left < 5400)
        snprintf(out, n, "%.0f min left", left / 60);
    else
        snprintf(out, n, "%.1f h left", left / 3600);
}

static long seeds_done(const struct course *c)
{
    long n = 0;

    for (long i = 0; i < c->l->seeds; i++)
        n += c->l->seed[i].done || c->l->seed[i].stopped;
    return n;
}

static void seed_line(struct screen *out, const struct course *c, const struct learn_seed *s)
{
    const struct session *run     = s->session;
    struct screen         waiting = { 0 };
    double                best    = js_num(run->status, "trials.best");

    if (run->phase != PHASE_ARMED) {
        session_waiting(run, &waiting);
        if (waiting.text)
            waiting.text[strcspn(waiting.text, "\n")] = 0;
        screen_line(out, "seed %ld: %s", s->seed, waiting.text ? waiting.text : "");
        screen_free(&waiting);
        return;
    }
    char text[32] = "-";

    if (isfinite(best))
        snprintf(text, sizeof text, "%.1f", best);
    screen_line(out, "seed %ld: trial %ld of %ld  step %ld/%ld  best %s  misses %ld", s->seed,
                js_int(run->status, "trials.number"), c->l->trials, js_int(run->status, "trials.step"),
                js_int(run->status, "trials.steps"), text, js_int(run->status, "control.misses"));
}

static void draw(struct course *c)
{
    struct screen out = { .width = c->t.width, .colour = c->t.colour };
    char          left[48];

    time_left(c, left, sizeof left);
    for (int k = 0; k < c->l->jobs; k++)
        if (c->slot[k])
            seed_line(&out, c, c->slot[k]);
    screen_line(&out, DIM "%ld of %ld seeds done, %s   Ctrl-C: goes on where it was when started again", seeds_done(c),
                c->l->seeds, left);
    terminal_draw(&c->t, &out);
    screen_free(&out);
}

/* A line for every trial that ended, where nothing is redrawn in place. */
static void tell_trials(struct course *c, struct learn_seed *s)
{
    const json_t *trial;
    char          left[48];

    while ((trial = session_next_trial(s->session))) {
        bool planned = !strcmp(js_str(trial, "kind", ""), "planned");

        if (c->t.tty || (s->resumed && js_int(trial, "number") <= s->before && (planned ? s->before > 0 : true)))
            continue;
        time_left(c, left, sizeof left);
        fprintf(c->l->say, "seed %ld  trial %3ld of %ld  %s  return %8.2f", s->seed, js_int(trial, "number"),
                c->l->trials, js_str(trial, "status", ""), js_num(trial, "return"));
        if (isfinite(s->session->best))
            fprintf(c->l->say, "  best %8.2f", s->session->best);
        fprintf(c->l->say, "   %ld of %ld seeds done, %s\n", seeds_done(c), c->l->seeds, left);
        fflush(c->l->say);
        c->said_ns = clock_now_ns();
    }
}

static void heartbeat(struct course *c)
{
    struct screen out = { 0 };

    if (c->t.tty || 1e-9 * (double)(clock_now_ns() - c->said_ns) < HEARTBEAT_S)
        return;
    for (int k = 0; k < c->l->jobs; k++)
        if (c->slot[k])
            seed_line(&out, c, c->slot[k]);
    fputs(out.text ? out.text : "", c->l->say);
    fflush(c->l->say);
    screen_free(&out);
    c->said_ns = clock_now_ns();
}

/* --- the course --- */

static void end_seed(struct course *c, int k, enum session_end end)
{
    struct learn_seed *s = c->slot[k];

    terminal_erase(&c->t);
    int rc = seed_finish(c->l, s, end);

    c->slot[k] = NULL;
    if (!s->report && end == END_TROUBLE && ++s->tries < TRIES && !c->giving_up) {
        fprintf(stderr, "limber %s: seed %ld could not be armed; trying again\n", c->l->verb, s->seed);
        rc         = seed_start(c->l, s, k);
        c->slot[k] = rc == EXIT_OK ? s : NULL;
        if (rc == EXIT_OK)
            return;
    }
    if (s->report)
        seed_print(c->l, s);
    else if (rc != EXIT_OK)
        c->giving_up = true; /* interrupted, or never armed: the others would fare no better */
    if (rc != EXIT_OK && c->worst == EXIT_OK)
        c->worst = rc;
    if (s->report && learn_write(c->l, false) != EXIT_OK)
        c->worst = EXIT_CANTCREATE, c->giving_up = true;
}

static void fill_slots(struct course *c)
{
    for (int k = 0; k < c->l->jobs; k++) {
        while (!c->slot[k] && !c->giving_up && c->next < c->l->seeds) {
            struct learn_seed *s = &c->l->seed[c->next++];

            if (s->done)
                continue;
            int rc = seed_start(c->l, s, k);

            if (rc == EXIT_OK) {
                c->slot[k] = s;
            } else {
                c->worst     = rc;
                c->giving_up = true;
            }
        }
    }
}

static bool running(const struct course *c)
{
    for (int k = 0; k < c->l->jobs; k++)
        if (c->slot[k])
            return true;
    return false;
}

static void run_seeds(struct course *c)
{
    c->begun_ns = c->said_ns = clock_now_ns();
    for (fill_slots(c); running(c); fill_slots(c)) {
        if (c->t.tty)
            draw(c);
        bool interrupted = terminal_wait(&c->t, LOOK_S) == WAKE_INTERRUPT;

        for (int k = 0; k < c->l->jobs; k++) {
            if (!c->slot[k])
                continue;
            enum session_end end = interrupted || c->giving_up ? END_INTERRUPTED : session_look(c->slot[k]->session);

            tell_trials(c, c->slot[k]);
            if (end != END_NOT_YET)
                end_seed(c, k, end);
        }
        heartbeat(c);
    }
}

/* Two benches in one place would overwrite each other. */
static int lock_base(const struct learn *l)
{
    char path[PATH_SIZE + 32];

    snprintf(path, sizeof path, "%s/lock", l->base);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0) {
        fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "limber %s: another one is running in %s; --name LABEL gives this one a place of its own\n",
                l->verb, l->base);
        close(fd);
        fd = -1;
    }
    return fd;
}

static int open_seeds(struct learn *l)
{
    int rc = EXIT_OK;

    l->seed = calloc((size_t)l->seeds, sizeof *l->seed);
    if (!l->seed)
        return EXIT_OSERR;
    for (long i = 0; i < l->seeds && rc == EXIT_OK; i++) {
        l->seed[i].seed = l->first + i;
        rc              = seed_open(l, &l->seed[i]);
    }
    for (long i = 0; i < l->seeds && rc == EXIT_OK; i++) {
        const struct learn_seed *s = &l->seed[i];

        if (s->done)
            fprintf(l->say, "seed %ld was done already\n", s->seed);
        else if (s->resumed)
            fprintf(l->say, "seed %ld goes on after trial %d\n", s->seed, s->before);
    }
    return rc;
}

static int report(struct learn *l)
{
    bool any = false;

    for (long i = 0; i < l->seeds; i++)
        any |= l->seed[i].report != NULL;
    if (!any)
        return EXIT_OK;
    json_t *r  = learn_report(l);
    int     rc = learn_write(l, true);

    if (json_array_size(js_at(r, "goals")))
        fprintf(l->say, "goals\n");
    goals_print(l->say, js_at(r, "goals"));
    if (l->goals.steps_per_trial > 0 && (int)l->goals.steps_per_trial != l->robot.trials.steps)
        fprintf(l->say, "  but they are meant for trials of %.0f steps, and these have %d\n", l->goals.steps_per_trial,
                l->robot.trials.steps);
    if (js_at(r, "posture"))
        fprintf(l->say, "posture: %ld on their feet, %ld flipped\n", js_int(r, "posture.on_feet"),
                js_int(r, "posture.flipped"));
    if (l->json) {
        json_dumpf(r, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
        printf("\n");
    }
    json_decref(r);
    return rc;
}

static int make_base(const struct learn *l)
{
    char part[PATH_SIZE];

    snprintf(part, sizeof part, "%s/", l->base);
    for (char *p = part + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            if (mkdir(part, 0755) != 0 && errno != EEXIST) {
                fprintf(stderr, "limber: cannot make %s: %s\n", part, strerror(errno));
                return EXIT_CANTCREATE;
            }
            *p = '/';
        }
    return EXIT_OK;
}

static int bench(struct learn *l)
{
    struct course c  = { .l = l };
    int           rc = learn_settle(l), lock = -1;

    if (rc == EXIT_OK)
        rc = make_base(l);
    if (rc == EXIT_OK && (lock = lock_base(l)) < 0)
        rc = EXIT_REFUSED;
    if (rc == EXIT_OK)
        rc = open_seeds(l);
    if (rc == EXIT_OK) {
        terminal_open(&c.t, false, true);
        c.t.tty &= !l->json;
        run_seeds(&c);
        terminal_close(&c.t);
        rc = report(l);
        rc = c.worst != EXIT_OK ? c.worst : rc;
    }
    for (long i = 0; l->seed && i < l->seeds; i++)
        seed_close(&l->seed[i]);
    free(l->seed);
    learn_unsettle(l);
    if (lock >= 0)
        close(lock);
    return rc;
}

/* --- flags --- */

static int refuse(const struct learn *l, const char *sentence)
{
    fprintf(stderr, "limber %s: %s\n", l->verb, sentence);
    return EXIT_USAGE;
}

static int check_flags(const struct learn *l)
{
    if (!l->task && !l->config)
        return refuse(l,
                      l->cartpole ? "--config is missing" : "--task is missing: a folder of robots/, or --config FILE");
    if (l->lockstep && l->real_time)
        return refuse(l, "--lockstep or --real-time, not both");
    if (l->jobs > 1 && !l->lockstep)
        return refuse(l, "--jobs needs --lockstep: in real time several would disturb each other");
    if (l->jobs > sysconf(_SC_NPROCESSORS_ONLN))
        return refuse(l, "--jobs: more than this machine has cores");
    if ((l->task && strchr(l->task, '/')) || (l->name && strchr(l->name, '/')))
        return refuse(l, "--task and --name: expected names without /");
    return EXIT_OK;
}

static int run_learn(struct learn *l)
{
    int rc = check_flags(l);

    l->say = l->json ? stderr : stdout;
    return rc == EXIT_OK ? bench(l) : rc;
}

#define SEED_FLAGS(l)                                                                                                  \
    {                                                                                                                  \
        .name = "seeds", .value = "N", .what = "how many (1)", .number = &(l)->seeds, .min = 1, .max = LEARN_SEEDS_MAX \
    },                                                                                                                 \
        { .name = "first", .value = "S", .what = "first seed (1)", .number = &(l)->first, .min = 0, .max = 1e9 },      \
        { .name   = "trials",                                                                                          \
          .value  = "K",                                                                                               \
          .what   = "planned trials of each",                                                                          \
          .number = &(l)->trials,                                                                                      \
          .min    = 1,                                                                                                 \
          .max    = TRIALS_MAX },                                                                                         \
        { .name = "config", .value = "FILE", .what = "robot.yaml", .text = &(l)->config },                             \
        { .name = "out", .value = "D", .what = "directory for runs and reports (build/bench)", .text = &(l)->out },    \
    {                                                                                                                  \
        .name = "lockstep", .what = "no delay, no real time; said in the report", .on = &(l)->lockstep                 \
    }

int bench_learn(int argc, char **argv)
{
    struct learn l       = { .verb = "bench learn", .out = "build/bench", .seeds = 1, .first = 1, .jobs = 1 };
    bool         compare = false;
    const char  *files[WORDS_MAX];

    const struct flag flags[] = {
        { .name = "task", .value = "T", .what = "a folder of robots/", .text = &l.task },
        SEED_FLAGS(&l),
        { .name = "real-time", .what = "against the clock (default)", .on = &l.real_time },
        { .name = "planner", .value = "P", .what = "instead of planner.name", .text = &l.planner },
        { .name  = "set",
          .value = "KEY=VALUE",
          .what  = "as if it stood in robot.yaml; may be given again",
          .words = &l.set },
        { .name   = "jobs",
          .value  = "J",
          .what   = "seeds at a time, each on one core (lockstep)",
          .number = &l.jobs,
          .min    = 1,
          .max    = LEARN_JOBS_MAX },
        { .name = "name", .value = "LABEL", .what = "tells this setting from others", .text = &l.name },
        { .name = "fresh", .what = "forget what was begun", .on = &l.fresh },
        { .name = "compare", .what = "reports side by side instead", .on = &compare },
        { .name = "json", .what = "one JSON value on standard output", .on = &l.json },
        { 0 }
    };
    const struct usage usage = { .line = "bench learn --task T [--seeds N] [--trials K] [--lockstep] [--set KEY=VALUE] "
                                         "  (or: --compare A.json B.json)",
                                 .text = "Lets a simulated robot learn, every seed from nothing; writes "
                                         "OUT/learn-T[-LABEL].json and pictures.  Started again\n"
                                         "after an interruption it goes on where it was.",
                                 .flags        = flags,
                                 .max_operands = WORDS_MAX };
    int                n, rc = args_read(argc, argv, &usage, files, &n);

    if (rc >= 0)
        return rc;
    if (compare)
        return learn_compare(files, n, l.out, l.json);
    if (n) {
        fprintf(stderr, "limber bench learn: \"%s\" is one argument too many; usage: limber %s\n", files[0],
                usage.line);
        return EXIT_USAGE;
    }
    return run_learn(&l);
}

int verb_bench_cartpole(int argc, char **argv)
{
    struct learn l = { .verb     = "bench-cartpole",
                       .out      = "build/bench",
                       .seeds    = 1,
                       .first    = 1,
                       .trials   = 15,
                       .jobs     = 1,
                       .cartpole = true,
                       .fresh    = true };

    const struct flag  flags[] = { SEED_FLAGS(&l), { 0 } };
    const struct usage usage   = {
          .line  = "bench-cartpole --config FILE [--seeds N] [--first S] [--trials 15] [--lockstep] [--out D]",
          .text  = "limber bench learn, always from nothing, under the names cartpole.json and cartpole.png.",
          .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    return rc >= 0 ? rc : run_learn(&l);
}
