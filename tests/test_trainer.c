/* Claims about build/limber-trainer, the process. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/model_file.h"
#include "models/trainer_protocol.h"
#include "tests/pendulum.h"
#include "tests/test.h"

enum { PATIENCE_MS = 60000 };

struct process {
    pid_t pid;
    int   in, out; /* our ends of its stdin and stdout */
};

static const char *at(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return path;
}

_Noreturn static void become_trainer(int in, int out, const char *arg)
{
    int  quiet = open("/dev/null", O_WRONLY);
    char path[600];

    snprintf(path, sizeof path, "%s/limber-trainer", test_build_dir());
    dup2(in, 0);
    dup2(out, 1);
    dup2(quiet, 2);
    execl(path, "limber-trainer", arg, (char *)NULL);
    _exit(127);
}

/* middle: the trainer's parent is a process of its own, p.pid, that does nothing. */
static struct process start_under(bool middle, const char *arg)
{
    struct process p = { 0 };
    int            in[2], out[2];

    signal(SIGPIPE, SIG_IGN);
    EXPECT(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    p.pid = fork();
    if (p.pid == 0) {
        if (!middle || fork() == 0)
            become_trainer(in[0], out[1], arg);
        close(in[0]);
        close(out[1]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    close(in[0]);
    close(out[1]);
    p.in  = in[1];
    p.out = out[0];
    return p;
}

static struct process start(const char *arg)
{
    return start_under(false, arg);
}

/* Exit status after its stdin is closed, -1 if it had to be killed. */
static int finish(struct process *p)
{
    int status, waited = 0;

    close(p->in);
    while (waitpid(p->pid, &status, WNOHANG) == 0) {
        if (waited++ > PATIENCE_MS / 10) {
            kill(p->pid, SIGKILL);
            waitpid(p->pid, &status, 0);
            break;
        }
        usleep(10000);
    }
    close(p->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void tell(const struct process *p, const void *message, size_t size)
{
    EXPECT(write(p->in, message, size) == (ssize_t)size);
}

/* The next report; false at its end or when patience is. */
static bool hear(const struct process *p, struct trainer_report *r)
{
    size_t got = 0;

    while (got < sizeof *r) {
        struct pollfd fd = { .fd = p->out, .events = POLLIN };
        ssize_t       n  = poll(&fd, 1, PATIENCE_MS) == 1 ? read(p->out, (char *)r + got, sizeof *r - got) : 0;

        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    EXPECT(r->magic == TRAINER_MAGIC && r->size == sizeof *r);
    return true;
}

/* The report that ends an order; checks that progress before it grows. */
static struct trainer_report result(const struct process *p)
{
    struct trainer_report r    = { 0 };
    double                last = 0;

    while (hear(p, &r)) {
        if (r.stage != TRAINER_PROGRESS)
            return r;
        EXPECT(r.done > last && r.done <= 1);
        last = r.done;
    }
    r.stage = 0; /* it ended, or patience did */
    EXPECT(r.stage == TRAINER_DONE || r.stage == TRAINER_FAILED);
    return r;
}

static struct trainer_setup setup(int steps)
{
    struct trainer_setup s = { .magic  = TRAINER_MAGIC,
                               .size   = sizeof s,
                               .dims   = pendulum_dims,
                               .config = pendulum_recipe(steps),
                               .seed   = 5,
                               .core   = -1 };

    s.schema = (struct store_schema){
        .robot = "pendulum", .nx = 2, .na = 1, .observation = { "angle", "speed" }, .action = { "motor" }
    };
    snprintf(s.store, sizeof s.store, "%s/e.db", test_dir());
    snprintf(s.models, sizeof s.models, "%s", test_dir());
    return s;
}

static struct trainer_order order(uint64_t version, uint64_t base, const char *base_file, int64_t last_trial)
{
    struct trainer_order o = {
        .magic = TRAINER_MAGIC, .size = sizeof o, .version = version, .base_version = base, .last_trial_id = last_trial
    };

    snprintf(o.base_file, sizeof o.base_file, "%s", base_file);
    return o;
}

static struct trainer_report ordered(const struct process *p, struct trainer_order o)
{
    tell(p, &o, sizeof o);
    return result(p);
}

static struct store *experience(void)
{
    struct trainer_setup s = setup(1);
    char                 why[400];
    struct store        *store = store_open(s.store, &s.schema, false, why, sizeof why);

    EXPECT(store != NULL);
    return store;
}

/* One more trial with n transitions of the pendulum, or of one that answers the other way.  Returns its id. */
static int64_t practise_as(struct store *store, int n, uint64_t seed, const char *status, bool reversed)
{
    static struct pendulum_data d;
    struct trial_row            t = { .number = (uint32_t)seed, .kind = "planned" };

    snprintf(t.status, sizeof t.status, "%s", status);
    pendulum_collect(&d, n, seed);
    EXPECT(store_begin(store) == 0 && store_trial_begin(store, &t) == 0);
    for (int i = 0; i < n; i++) {
        struct transition tr = { .step = (uint32_t)i,
                                 .x    = { d.x[2 * i], d.x[2 * i + 1] },
                                 .a    = { d.a[i] },
                                 .y    = { d.y[2 * i], d.y[2 * i + 1] } };

        for (int k = 0; k < 2 && reversed; k++)
            tr.y[k] = 2 * tr.x[k] - tr.y[k];
        EXPECT(store_transition(store, t.id, &tr) == 0);
    }
    EXPECT(store_commit(store) == 0);
    return t.id;
}

static int64_t practise(struct store *store, int n, uint64_t seed, const char *status)
{
    return practise_as(store, n, seed, status, false);
}

/* Error of a candidate on data it has not seen, in units of the targets' std. */
static double error_on_new_data(const char *file, uint64_t version)
{
    static struct pendulum_data fresh;
    struct ensemble             e;
    char                        why[300];
    double                      rmse = (double)INFINITY, nll;

    if (model_file_load(file, "pendulum", &pendulum_dims, &e, why, sizeof why) != 0) {
        printf("%s\n", why);
        test_failures++;
        return rmse;
    }
    EXPECT(e.version == version);
    pendulum_collect(&fresh, 200, 999);
    ensemble_score(&e, fresh.n, fresh.x, fresh.a, fresh.y, NULL, &rmse, &nll);
    ensemble_free(&e);
    return rmse;
}

TEST(an_order_gives_a_candidate_that_predicts_well)
{
    struct store        *store = experience();
    struct trainer_setup s     = setup(1500);
    int64_t              first = practise(store, 300, 1, "finished"), second = practise(store, 150, 2, "aborted");
    struct process       p;

    practise(store, 100, 3, "running"); /* beyond the order: not to be read */
    p = start(NULL);
    tell(&p, &s, sizeof s);
    struct trainer_report r = ordered(&p, order(1, 0, "", first));
    EXPECT(r.stage == TRAINER_DONE && r.version == 1 && r.transitions == 300 && r.steps >= 1500 && r.train_s > 0);
    EXPECT(isfinite(r.loss));
    EXPECT_STR(r.file, "/candidate-1.model");
    EXPECT(error_on_new_data(r.file, 1) < 0.2);

    r = ordered(&p, order(2, 1, r.file, second)); /* the aborted trial's transitions count too */
    EXPECT(r.stage == TRAINER_DONE && r.transitions == 450);
    EXPECT(error_on_new_data(r.file, 2) < 0.2);
    EXPECT(finish(&p) == 0);
    store_close(store);
}

TEST(recent_trials_are_the_newest_that_left_transitions)
{
    struct store  *store = experience();
    struct process p;

    practise_as(store, 300, 1, "finished", true);
    practise(store, 200, 2, "finished");
    int64_t last = practise(store, 200, 3, "aborted");
    for (int trials = 2; trials <= 3; trials++) {
        struct trainer_setup s = setup(1000);

        s.config.recent        = 1; /* everything else is forgotten */
        s.config.recent_trials = trials;
        p                      = start(NULL);
        tell(&p, &s, sizeof s);
        struct trainer_report r = ordered(&p, order(1, 0, "", last));
        EXPECT(r.stage == TRAINER_DONE && r.transitions == 700);
        EXPECT(trials == 2 ? error_on_new_data(r.file, 1) < 0.2 : error_on_new_data(r.file, 1) > 0.5);
        EXPECT(finish(&p) == 0);
    }
    store_close(store);
}

TEST(a_cold_start_makes_the_same_of_any_base_and_of_none)
{
    struct store   *store = experience();
    int64_t         first = practise(store, 200, 1, "finished"), second = practise(store, 100, 2, "finished");
    size_t          bytes = (size_t)pendulum_dims.members * ensemble_params(&pendulum_dims) * sizeof(float);
    struct ensemble e[4];
    char            why[300], base[512];

    for (int warm = 0; warm < 2; warm++)
        for (int from_base = 0; from_base < 2; from_base++) {
            struct trainer_setup s = setup(100);
            struct process       p = start(NULL);

            s.config.warm_start = warm;
            tell(&p, &s, sizeof s);
            struct trainer_report r = ordered(&p, order(1, 0, "", first));
            EXPECT(r.stage == TRAINER_DONE);
            snprintf(base, sizeof base, "%s", r.file);
            r = ordered(&p, from_base ? order(2, 1, base, second) : order(2, 0, "", second));
            EXPECT(r.stage == TRAINER_DONE && r.transitions == 300);
            EXPECT(model_file_load(r.file, "pendulum", &pendulum_dims, &e[2 * warm + from_base], why, sizeof why) == 0);
            EXPECT(finish(&p) == 0);
        }
    EXPECT(memcmp(e[0].weights, e[1].weights, bytes) == 0);
    EXPECT(memcmp(e[2].weights, e[3].weights, bytes) != 0);
    for (int i = 0; i < 4; i++)
        ensemble_free(&e[i]);
    store_close(store);
}

TEST(more_nets_than_the_model_has_are_trained_and_the_file_has_the_model_s)
{
    struct store        *store = experience();
    int64_t              id    = practise(store, 300, 1, "finished");
    struct trainer_setup s     = setup(600);
    struct process       p     = start(NULL);

    s.config.holdout       = 0.1;
    s.config.train_members = 5;
    s.config.patience      = 40;
    s.config.improvement   = 0.01;
    s.config.unroll        = 3;
    s.config.unroll_weight = 5;
    s.config.unroll_grow   = 1;
    s.config.reward_weight = 1;
    s.config.spectral_norm = 5;
    s.config.recent        = 0.25;
    s.config.recent_trials = 1;
    s.config.input_noise   = 0.001;
    tell(&p, &s, sizeof s);
    struct trainer_order o  = order(1, 0, "", id);
    o.cost_slope2[0]        = 1;
    struct trainer_report r = ordered(&p, o);
    EXPECT(r.stage == TRAINER_DONE && r.steps > 0);
    EXPECT(error_on_new_data(r.file, 1) < 0.3); /* loads as a model of pendulum_dims */
    r = ordered(&p, order(2, 1, r.file, id));
    EXPECT(r.stage == TRAINER_DONE);
    EXPECT(error_on_new_data(r.file, 2) < 0.3);
    EXPECT(finish(&p) == 0);
    store_close(store);
}

TEST(a_base_file_is_where_training_starts)
{
    struct store        *store = experience();
    struct trainer_setup s     = setup(1500);
    int64_t              id    = practise(store, 400, 1, "finished");
    struct process       p     = start(NULL);
    char                 base[512];

    tell(&p, &s, sizeof s);
    struct trainer_report r = ordered(&p, order(6, 0, "", id));
    EXPECT(finish(&p) == 0);
    snprintf(base, sizeof base, "%s", r.file);

    /* Another process, so few and small steps that only the base can have taught it. */
    s                      = setup(1);
    s.config.learning_rate = 1e-9;
    p                      = start(NULL);
    tell(&p, &s, sizeof s);
    r = ordered(&p, order(7, 6, base, id));
    EXPECT(r.stage == TRAINER_DONE && r.version == 7);
    EXPECT(error_on_new_data(r.file, 7) < 0.2);
    r = ordered(&p, order(8, 0, "", id)); /* the candidate was refused, there is no incumbent: fresh weights */
    EXPECT(r.stage == TRAINER_DONE);
    EXPECT(error_on_new_data(r.file, 8) > 0.8);
    r = ordered(&p, order(9, 7, at("none.model"), id));
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "none.model: cannot open");
    r = ordered(&p, order(9, 5, base, id)); /* another file was copied over it */
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "holds version 6, not version 5");
    r = ordered(&p, order(10, 6, base, id)); /* and it goes on serving */
    EXPECT(r.stage == TRAINER_DONE);
    EXPECT(error_on_new_data(r.file, 10) < 0.2);
    EXPECT(finish(&p) == 0);
    store_close(store);
}

TEST(what_cannot_be_trained_is_reported_and_the_next_order_served)
{
    struct trainer_setup  s = setup(50);
    struct process        p = start(NULL);
    struct trainer_report r;

    tell(&p, &s, sizeof s);
    r = ordered(&p, order(1, 0, "", 1)); /* no store yet */
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "e.db: cannot open the experience store");

    struct store *store = experience();
    r                   = ordered(&p, order(1, 0, "", 1));
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "cannot train on 0 transitions");

    struct trial_row  t  = { .kind = "planned", .status = "finished" };
    struct transition tr = { .x = { NAN } };
    EXPECT(store_trial_begin(store, &t) == 0 && store_transition(store, t.id, &tr) == 0);
    int64_t id = practise(store, 50, 1, "finished");
    r          = ordered(&p, order(1, 0, "", id)); /* the transition with NaN is left out */
    EXPECT(r.stage == TRAINER_DONE && r.transitions == 50);
    EXPECT(finish(&p) == 0);
    store_close(store);

    s.config.learning_rate = 1e30; /* diverges */
    p                      = start(NULL);
    tell(&p, &s, sizeof s);
    r = ordered(&p, order(2, 0, "", id));
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "diverged");
    EXPECT(access(at("candidate-2.model"), F_OK) != 0);
    EXPECT(finish(&p) == 0);

    s                      = setup(50);
    s.config.learning_rate = 1e-3;
    snprintf(s.models, sizeof s.models, "%s/no-such-directory", test_dir());
    p = start(NULL);
    tell(&p, &s, sizeof s);
    r = ordered(&p, order(3, 0, "", id));
    EXPECT(r.stage == TRAINER_FAILED);
    EXPECT_STR(r.why, "cannot write the candidate: No such file or directory");
    EXPECT(finish(&p) == 0);
}

TEST(running_flat_out_changes_nothing_but_the_load)
{
    struct store         *store = experience();
    int64_t               first = practise(store, 200, 1, "finished"), second = practise(store, 100, 2, "finished");
    struct ensemble       e[2];
    struct trainer_report r;
    char                  why[300];

    for (int flat_out = 0; flat_out < 2; flat_out++) {
        struct trainer_setup s  = setup(300);
        struct process       p  = start(NULL);
        struct pollfd        fd = { .fd = p.out, .events = POLLIN };

        s.config.flat_out = flat_out;
        tell(&p, &s, sizeof s);
        r = ordered(&p, order(1, 0, "", first));
        EXPECT(r.stage == TRAINER_DONE);
        if (flat_out) {
            EXPECT(poll(&fd, 1, 300) == 0); /* says nothing, publishes nothing */
            EXPECT(access(at("candidate-3.model"), F_OK) != 0);
        }
        r = ordered(&p, order(2, 1, r.file, second));
        EXPECT(r.stage == TRAINER_DONE && r.version == 2 && r.transitions == 300);
        EXPECT(model_file_load(r.file, "pendulum", &pendulum_dims, &e[flat_out], why, sizeof why) == 0);
        EXPECT(finish(&p) == 0);
    }
    size_t bytes = (size_t)pendulum_dims.members * ensemble_params(&pendulum_dims) * sizeof(float);
    EXPECT(memcmp(e[0].weights, e[1].weights, bytes) == 0);
    ensemble_free(&e[0]);
    ensemble_free(&e[1]);
    store_close(store);
}

TEST(it_runs_behind_everything_else)
{
    struct store        *store = experience();
    int64_t              id    = practise(store, 100, 1, "finished");
    struct trainer_setup s     = setup(50);
    struct process       p     = start(NULL);
    struct sched_param   param;
    cpu_set_t            mine, its;

    EXPECT(sched_getaffinity(0, sizeof mine, &mine) == 0);
    for (s.core = 0; !CPU_ISSET((size_t)s.core, &mine);)
        s.core++;
    tell(&p, &s, sizeof s);
    EXPECT(ordered(&p, order(1, 0, "", id)).stage == TRAINER_DONE);
    EXPECT(sched_getscheduler(p.pid) == SCHED_IDLE && sched_getparam(p.pid, &param) == 0);
    EXPECT(sched_getaffinity(p.pid, sizeof its, &its) == 0 && CPU_COUNT(&its) == 1 && CPU_ISSET((size_t)s.core, &its));
    EXPECT(finish(&p) == 0);
    store_close(store);
}

TEST(garbage_ends_it_with_70_and_end_of_file_with_0)
{
    struct trainer_setup  s = setup(50), bad;
    struct trainer_order  o = order(1, 0, "", 1);
    struct trainer_report r;
    struct process        p = start(NULL);

    EXPECT(finish(&p) == 0); /* nothing at all */
    for (int i = 0; i < 5; i++) {
        bad = s;
        if (i == 0)
            bad.magic ^= 1;
        if (i == 1)
            bad.size--;
        if (i == 2)
            bad.dims.hidden = MAX_HIDDEN + 1;
        if (i == 3)
            bad.schema.nx = 3; /* disagrees with dims */
        p = start(NULL);
        tell(&p, &bad, i == 4 ? sizeof bad / 2 : sizeof bad);
        EXPECT(finish(&p) == 70);
    }
    p = start(NULL);
    tell(&p, &s, sizeof s);
    o.magic = 0;
    tell(&p, &o, sizeof o);
    EXPECT(!hear(&p, &r)); /* no word, just the end */
    EXPECT(finish(&p) == 70);
}

TEST(closing_its_input_ends_a_long_training)
{
    struct store         *store = experience();
    int64_t               id    = practise(store, 400, 1, "finished");
    struct trainer_setup  s     = setup(100000000);
    struct trainer_report r;
    struct process        p = start(NULL);
    struct trainer_order  o = order(1, 0, "", id);

    tell(&p, &s, sizeof s);
    tell(&p, &o, sizeof o);
    EXPECT(hear(&p, &r) && r.stage == TRAINER_PROGRESS && r.transitions == 400);
    EXPECT(finish(&p) == 0);
    EXPECT(access(at("candidate-1.model"), F_OK) != 0);
    store_close(store);
}

TEST(it_dies_with_its_parent)
{
    struct store         *store = experience();
    int64_t               id    = practise(store, 400, 1, "finished");
    struct trainer_setup  s     = setup(100000000);
    struct trainer_report r;
    struct process        p = start_under(true, NULL);
    struct trainer_order  o = order(1, 0, "", id);

    tell(&p, &s, sizeof s);
    tell(&p, &o, sizeof o);
    EXPECT(hear(&p, &r) && r.stage == TRAINER_PROGRESS);
    kill(p.pid, SIGKILL);
    int reports = 0;
    while (reports < 50 && hear(&p, &r)) /* its input is still open: only the parent's death can end it */
        reports++;
    EXPECT(reports < 50);
    EXPECT(finish(&p) == -1);
    store_close(store);
}

TEST(killing_it_at_random_moments_leaves_only_whole_candidates)
{
    struct store *store = experience();
    int64_t       id    = practise(store, 100, 1, "finished");
    struct rng    r;
    int           found = 0;

    rng_seed(&r, 1);
    for (uint64_t version = 1; version <= 60;) {
        struct trainer_setup s = setup(10);
        struct process       p = start(NULL);

        tell(&p, &s, sizeof s);
        for (int i = 0; i < 6; i++, version++) {
            struct trainer_order o = order(version, version - 1, "", id);

            tell(&p, &o, sizeof o);
        }
        EXPECT(result(&p).stage == TRAINER_DONE); /* it has started: now at any moment */
        usleep(rng_below(&r, 15000));
        kill(p.pid, SIGKILL);
        finish(&p);
    }
    for (uint64_t version = 1; version <= 60; version++) {
        char name[64];

        snprintf(name, sizeof name, "candidate-%llu.model", (unsigned long long)version);
        if (access(at(name), F_OK) != 0)
            continue;
        found++;
        EXPECT(isfinite(error_on_new_data(at(name), version)));
    }
    EXPECT(found > 0);
    store_close(store);
}

TEST(run_by_hand_it_explains_itself)
{
    struct process p        = start("--help");
    char           text[64] = "";

    EXPECT(read(p.out, text, sizeof text - 1) > 0);
    EXPECT_STR(text, "usage: limber-trainer");
    EXPECT(finish(&p) == 0);
    p = start("--frobnicate");
    EXPECT(finish(&p) == 64);
}

TEST(a_terminal_on_its_input_gets_the_usage)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status = 0;

    EXPECT(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    pid_t child = fork();
    if (child == 0) {
        int side = open(ptsname(terminal), O_RDWR | O_NOCTTY), quiet = open("/dev/null", O_WRONLY);

        become_trainer(side, quiet, NULL);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 64);
    close(terminal);
}

/* ---- limber-trainer --bench ---- */

/* Runs it with these arguments: exit status, and its output in text. */
static int bench(const char *arguments, char *text, size_t n)
{
    char  command[700];
    FILE *f;

    snprintf(command, sizeof command, "%s/limber-trainer --bench %s 2>&1", test_build_dir(), arguments);
    f          = popen(command, "r");
    text[0]    = 0;
    size_t got = f ? fread(text, 1, n - 1, f) : 0;
    text[got]  = 0;
    int status = f ? pclose(f) : -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(the_training_bench_prints_a_row_whose_numbers_agree_with_each_other)
{
    char   text[2000];
    double rate = 0, gflops = 0, peak = 0, fraction = 0;

    EXPECT(bench("--json --shape cartpole-2x64 --batch 48 --isa portable", text, sizeof text) == 0);
    EXPECT(sscanf(text,
                  "{\"what\": \"train\", \"shape\": \"cartpole-2x64\", \"batch\": 48, \"examples_per_s\": %lf, "
                  "\"gflops\": %lf, \"peak_gflops\": %lf, \"peak_fraction\": %lf, \"isa\": \"portable\"}",
                  &rate, &gflops, &peak, &fraction) == 4);
    EXPECT_NEAR(gflops, rate * 5 * 6 * (6 * 64 + 64 * 64 + 64 * 8) * 1e-9, 0.01 + 0.01 * gflops);
    EXPECT_NEAR(fraction, gflops / peak, 0.001 + 0.01 * fraction);
    EXPECT(fraction > 0 && fraction < 1.5);
}

TEST(the_training_bench_refuses_what_it_does_not_know)
{
    char text[2000];

    EXPECT(bench("--shape triangle", text, sizeof text) == 64);
    EXPECT_STR(text, "no shape \"triangle\"; there are cartpole reacher");
    EXPECT(bench("--isa avx1024", text, sizeof text) == 64);
    EXPECT_STR(text, "portable");
    EXPECT(bench("--batch 0", text, sizeof text) == 64);
    EXPECT(bench("--batch", text, sizeof text) == 64);
    EXPECT_STR(text, "usage");
}
