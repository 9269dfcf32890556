/* test_cli_run.c - limber run and the benches from start to end, with a fake daemon and a fake robot side
 * (fake_daemon.c): nothing is left behind, whatever happens. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "tests/fake_daemon.h"
#include "tests/test.h"

struct run {
    char  bin[200], dir[200], log[256]; /* limber's own place, the run directory, what it printed */
    pid_t pid;
    int   code;
    char  text[65536];
};

static void copy_file(const char *from, const char *to)
{
    char command[2048];

    snprintf(command, sizeof command, "cp %s %s", from, to);
    EXPECT(system(command) == 0);
}

static void read_text(const char *path, char *out, size_t n)
{
    FILE *f = fopen(path, "r");

    out[f ? fread(out, 1, n - 1, f) : 0] = 0;
    if (f)
        fclose(f);
}

/* A limber whose limberd and limber-bridge, beside it, are this test program under other names. */
static void stage(struct run *r)
{
    char path[1024], self[512];

    snprintf(r->bin, sizeof r->bin, "%s/bin", test_dir());
    snprintf(r->dir, sizeof r->dir, "%s/run", test_dir());
    snprintf(r->log, sizeof r->log, "%s/printed", test_dir());
    mkdir(r->bin, 0755);
    snprintf(self, sizeof self, "%s/limber", test_build_dir());
    snprintf(path, sizeof path, "%s/limber", r->bin);
    copy_file(self, path);

    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n > 0 ? n : 0] = 0;
    snprintf(path, sizeof path, "%s/limberd", r->bin);
    EXPECT(symlink(self, path) == 0);
    snprintf(path, sizeof path, "%s/limber-bridge", r->bin);
    EXPECT(symlink(self, path) == 0);
}

static void start(struct run *r, const char *story, char *const argv[])
{
    char program[256];

    snprintf(program, sizeof program, "%s/limber", r->bin);
    r->pid = fork();
    if (r->pid == 0) {
        int fd = open(r->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        dup2(fd, 1);
        dup2(fd, 2);
        setenv("FAKE_STORY", story, 1);
        execv(program, argv);
        _exit(127);
    }
}

static void finish(struct run *r)
{
    int status = 0;

    waitpid(r->pid, &status, 0);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    read_text(r->log, r->text, sizeof r->text);
}

static const char *noted(const struct run *r, const char *name, char *out, size_t n)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    read_text(path, out, n);
    return out;
}

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

/* False for one that is gone or a corpse nobody has buried yet. */
static bool lives(int pid)
{
    char path[64], text[300];

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    read_text(path, text, sizeof text);
    char *state = strrchr(text, ')');

    return state && state[1] && state[2] != 'Z' && state[2] != 'X';
}

/* Both children have started, and both end; waits for a while, as the kernel's message takes its way. */
static void expect_no_orphans(const struct run *r)
{
    char  text[200];
    int   n = 0;
    char *rest;

    noted(r, "pids", text, sizeof text);
    for (char *word = strtok_r(text, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest), n++) {
        for (int i = 0; i < 250 && lives(atoi(word)); i++)
            nap();
        EXPECT(!lives(atoi(word)));
    }
    EXPECT(n == 2);
}

static void wait_for_verb(const struct run *r, const char *verb)
{
    char text[400];

    for (int i = 0; i < 500 && !strstr(noted(r, "verbs", text, sizeof text), verb); i++)
        nap();
    EXPECT_STR(text, verb);
}

static char *argv_run[] = { (char *)"limber",
                            (char *)"run",
                            (char *)"robots/cartpole/robot.yaml",
                            (char *)"--run-dir",
                            NULL,
                            (char *)"--trials",
                            (char *)"3",
                            (char *)"--seed",
                            (char *)"42",
                            NULL };

static char *const *run_arguments(struct run *r, char *argv[16])
{
    memcpy(argv, argv_run, sizeof argv_run);
    argv[4] = r->dir;
    return argv;
}

static void whole_run(struct run *r, const char *story)
{
    char *argv[16];

    stage(r);
    start(r, story, run_arguments(r, argv));
    finish(r);
}

TEST(a_run_arms_once_shows_every_trial_and_leaves_nothing_running)
{
    struct run *r = calloc(1, sizeof *r);
    char        text[400];

    whole_run(r, "");
    EXPECT(r->code == 0);
    EXPECT_STR(r->text, "trial   0  random   finished  return     1.00");
    EXPECT_STR(r->text, "trial   3  planned  finished  return   190.00  best   190.00");
    EXPECT(!strchr(r->text, '\033'));
    EXPECT(!strcmp(noted(r, "verbs", text, sizeof text), "/arm\n/disarm\n/shutdown\n"));
    EXPECT(!strcmp(noted(r, "seeds", text, sizeof text), "42\n42\n"));
    expect_no_orphans(r);
    free(r);
}

TEST(a_refused_arming_is_tried_again_while_the_checks_hold)
{
    struct run *r = calloc(1, sizeof *r);
    char        text[400];

    whole_run(r, "refuse");
    EXPECT(r->code == 0);
    EXPECT(!strcmp(noted(r, "verbs", text, sizeof text), "/arm\n/arm\n/disarm\n/shutdown\n"));
    free(r);
}

TEST(a_latched_stop_ends_the_run_explained_and_is_never_armed_again)
{
    struct run *r = calloc(1, sizeof *r);
    char        text[400];

    whole_run(r, "latch");
    EXPECT(r->code == 1);
    EXPECT_STR(r->text, "state_stale");
    EXPECT_STR(r->text, "no state for 0.2 s");
    EXPECT_STR(r->text, "check the cable");
    EXPECT_STR(r->text, "trial 2, step 7");
    EXPECT(!strcmp(noted(r, "verbs", text, sizeof text), "/arm\n/stop\n/shutdown\n"));
    expect_no_orphans(r);
    free(r);
}

TEST(a_daemon_that_dies_is_named_with_its_status_and_last_words)
{
    struct run *r = calloc(1, sizeof *r);

    whole_run(r, "crash");
    EXPECT(r->code == 1);
    EXPECT_STR(r->text, "limberd ended by itself: exit status 3");
    EXPECT_STR(r->text, "the fake daemon gives up");
    EXPECT(!strstr(r->text, "limber-bridge sim ended by itself"));
    expect_no_orphans(r);
    free(r);
}

static void interrupted_by(int signal_number, const char *story)
{
    struct run *r = calloc(1, sizeof *r);
    char       *argv[16], text[400];

    stage(r);
    start(r, story, run_arguments(r, argv));
    wait_for_verb(r, "/arm");
    kill(r->pid, signal_number);
    finish(r);
    EXPECT(r->code == 130);
    EXPECT(!strcmp(noted(r, "verbs", text, sizeof text), "/arm\n/stop\n/shutdown\n"));
    EXPECT_STR(r->text, "interrupted");
    expect_no_orphans(r);
    free(r);
}

TEST(ctrl_c_stops_the_robot_first_and_then_everything)
{
    interrupted_by(SIGINT, "forever");
}

TEST(sigterm_ends_a_run_like_ctrl_c)
{
    interrupted_by(SIGTERM, "forever");
}

TEST(a_terminal_that_closes_ends_a_run_like_ctrl_c)
{
    interrupted_by(SIGHUP, "forever");
}

TEST(a_daemon_deaf_to_everything_is_killed_in_the_end)
{
    struct run *r = calloc(1, sizeof *r);

    whole_run(r, "deaf");
    EXPECT(r->code == 0);
    expect_no_orphans(r);
    free(r);
}

TEST(children_end_when_limber_itself_is_killed)
{
    struct run *r = calloc(1, sizeof *r);
    char       *argv[16];

    stage(r);
    start(r, "forever", run_arguments(r, argv));
    wait_for_verb(r, "/arm");
    kill(r->pid, SIGKILL);
    finish(r);
    EXPECT(r->code == -SIGKILL);
    expect_no_orphans(r);
    free(r);
}

TEST(real_hardware_is_refused_before_anything_is_started)
{
    struct run *r = calloc(1, sizeof *r);
    char        command[800], config[300], text[100];
    char       *argv[16];

    stage(r);
    snprintf(config, sizeof config, "%s/robot.yaml", test_dir());
    snprintf(command, sizeof command,
             "cp -r robots/cartpole/* %s/ && sed -i 's/^hardware: sim/hardware: real/; s/^lockstep: true/lockstep: "
             "false/' %s",
             test_dir(), config);
    EXPECT(system(command) == 0);
    run_arguments(r, argv);
    argv[2] = config;
    start(r, "", argv);
    finish(r);
    EXPECT(r->code == 1 || r->code == 78);
    EXPECT(!noted(r, "pids", text, sizeof text)[0]);
    EXPECT_STR(r->text, "real");
    free(r);
}

TEST(the_cartpole_bench_writes_one_entry_a_seed_with_every_key)
{
    static const char *const keys[] = { "seed",
                                        "random_return",
                                        "returns",
                                        "running_max",
                                        "first_trial_ge_170",
                                        "first_trial_ge_175",
                                        "first_trial_ge_180",
                                        "last5_mean",
                                        "ticks",
                                        "misses",
                                        "planner_ms",
                                        "trainer_s_mean",
                                        "models" };
    struct run              *r      = calloc(1, sizeof *r);
    char                     out[256], path[300];
    char                    *argv[] = { (char *)"limber",
                                        (char *)"bench-cartpole",
                                        (char *)"--config",
                                        (char *)"robots/cartpole/robot.yaml",
                                        (char *)"--seeds",
                                        (char *)"2",
                                        (char *)"--first",
                                        (char *)"5",
                                        (char *)"--trials",
                                        (char *)"3",
                                        (char *)"--out",
                                        out,
                                        NULL };

    stage(r);
    snprintf(out, sizeof out, "%s/b", test_dir());
    start(r, "", argv);
    finish(r);
    EXPECT(r->code == 0);
    snprintf(path, sizeof path, "%s/cartpole.json", out);
    json_t *report = json_load_file(path, 0, NULL), *seeds = json_object_get(report, "seeds");

    EXPECT(json_array_size(seeds) == 2);
    EXPECT(!strcmp(js_str(report, "mode", ""), "real-time"));
    EXPECT(js_str(report, "machine.cpu", NULL) && js_str(report, "machine.kernel", NULL) &&
           js_int(report, "machine.cores") > 0);
    EXPECT(!strcmp(js_str(report, "machine.isa", ""), "avx2"));
    for (size_t i = 0; i < json_array_size(seeds); i++) {
        const json_t *s = json_array_get(seeds, i);

        EXPECT(json_object_size(s) >= sizeof keys / sizeof *keys);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            EXPECT(js_at(s, keys[k]) != NULL);
        EXPECT(js_int(s, "seed") == 5 + (long)i);
        EXPECT(json_array_size(js_at(s, "returns")) == 3); /* 170, 180, 190; the random trial apart */
        EXPECT(js_int(s, "random_return") == 1);
        EXPECT(js_int(s, "first_trial_ge_170") == 1 && js_int(s, "first_trial_ge_175") == 2 &&
               js_int(s, "first_trial_ge_180") == 2);
        EXPECT_NEAR(js_num(s, "last5_mean"), 180, 1e-9);
        EXPECT_NEAR(js_num(s, "planner_ms.p999"), 3, 0);
    }
    snprintf(path, sizeof path, "%s/cartpole.png", out);
    EXPECT(access(path, R_OK) == 0);
    json_decref(report);
    free(r);
}

TEST(the_timing_bench_reports_and_ends_after_its_minutes)
{
    struct run *r = calloc(1, sizeof *r);
    char        out[256], path[300];
    char       *argv[] = { (char *)"limber",
                           (char *)"bench-rt",
                           (char *)"--config",
                           (char *)"robots/cartpole/robot.yaml",
                           (char *)"--minutes",
                           (char *)"0.02",
                           (char *)"--out",
                           out,
                           NULL };

    stage(r);
    snprintf(out, sizeof out, "%s/b", test_dir());
    start(r, "forever", argv);
    finish(r);
    EXPECT(r->code == 0);
    snprintf(path, sizeof path, "%s/rt.json", out);
    json_t *report = json_load_file(path, 0, NULL);

    EXPECT(js_int(report, "ticks") > 0);
    EXPECT_NEAR(js_num(report, "planner_ms.max"), 4, 0);
    EXPECT(json_is_null(js_at(report, "wake_us.p99"))); /* the fake says nothing about it: no number is made up */
    EXPECT(js_str(report, "machine.cpu", NULL) != NULL);
    json_decref(report);
    free(r);
}
