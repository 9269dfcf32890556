/* cli_run.c - limber run: let a simulated robot learn, from nothing to a learning curve; limber sim. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_plot.h"
#include "daemon/cli_view.h"
#include "daemon/cli_watch.h"
#include "daemon/run_dir.h"

static const char *const RUNS = "build/run";
static const char *const LATEST = "build/run/latest";

/* build/run/20260131-235959, or with -2, -3 ... where that exists. */
static void fresh_dir(char *dir, size_t n)
{
    struct stat st;
    struct tm   tm;
    time_t      now = time(NULL);
    char        stamp[32];

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    snprintf(dir, n, "%s/%s", RUNS, stamp);
    for (int i = 2; stat(dir, &st) == 0; i++)
        snprintf(dir, n, "%s/%s-%d", RUNS, stamp, i);
}

/* Replaced by rename, so that it always points somewhere. */
static void point_latest(const char *run_dir)
{
    const char *name = strrchr(run_dir, '/');
    char        next[64];

    snprintf(next, sizeof next, "%s.%d", LATEST, (int)getpid());
    if (!name || symlink(name + 1, next) != 0 || rename(next, LATEST) != 0) {
        fprintf(stderr, "limber: note: cannot make %s: %s\n", LATEST, strerror(errno));
        unlink(next);
    }
}

static int choose_dir(const char *flag, bool resume, char *dir, size_t n)
{
    char real[PATH_MAX];

    if (flag) {
        snprintf(dir, n, "%s", flag);
        return EXIT_OK;
    }
    if (!resume) {
        fresh_dir(dir, n);
        return EXIT_OK;
    }
    if (!realpath(LATEST, real)) {
        fprintf(stderr, "limber: nothing to resume: %s does not exist; run without --resume first\n", LATEST);
        return EXIT_REFUSED;
    }
    if ((size_t)snprintf(dir, n, "%s", real) >= n) {
        fprintf(stderr, "limber: %s leads to too long a path\n", LATEST);
        return EXIT_REFUSED;
    }
    return EXIT_OK;
}

/* --- the end of a run ----------------------------------------------------------------------------------------- */

static void draw_curve(const struct session *s, const char *store)
{
    struct curve *c = calloc(1, sizeof *c);
    char          why[700], title[128], png[PATH_SIZE + 32];

    snprintf(png, sizeof png, "%s/learning-curve.png", s->run_dir);
    if (!c || curve_load(store, c, why, sizeof why) != 0) {
        printf("no learning curve: %s\n", c ? why : "no memory");
    } else if (c->n > 0) {
        snprintf(title, sizeof title, "%s: return by trial", s->config.robot);
        if (plot_curves(png, title, c, 1, NULL, 0, why, sizeof why) == 0)
            printf("learning curve  %s\n", png);
        else
            printf("no learning curve: %s\n", why);
    }
    free(c);
}

static void summary(const struct session *s, enum session_end end)
{
    struct screen out = { .width = terminal_width(), .colour = terminal_wants_colour() };
    char          store[PATH_SIZE + 32];

    snprintf(store, sizeof store, "%s", js_str(s->status, "store", ""));
    if (!store[0])
        snprintf(store, sizeof store, "%s/experience.db", s->run_dir);
    if (s->phase == PHASE_ARMED && json_array_size(js_at(s->status, "trials.history"))) {
        printf("\n");
        view_trials(&out, s->status);
        view_timing(&out, s->status);
        cli_print(&out, stdout);
        printf("\n");
        draw_curve(s, store);
        printf("experience      %s\n", store);
    }
    printf("logs            %s/limberd.log, sim.log\n", s->run_dir);
    if (end == END_INTERRUPTED)
        printf("interrupted; limber run --resume goes on with what has been learned\n");
}

static int run(const struct session_options *o, bool newest, bool colour)
{
    struct session *s = malloc(sizeof *s);
    struct terminal t;
    char            footer[PATH_SIZE + 64];

    if (!s)
        return EXIT_OSERR;
    if (!colour)
        setenv("NO_COLOR", "1", 1);
    terminal_open(&t, false, colour);

    int rc = session_start(s, o);

    if (rc == EXIT_OK) {
        if (newest)
            point_latest(s->run_dir);
        snprintf(footer, sizeof footer, "%s   Ctrl-C ends", s->run_dir);
        enum session_end end = watch_session(s, &t, &(struct watch){ .footer = footer });

        rc = session_finish(s, end);
        summary(s, end);
        session_free(s);
    }
    terminal_close(&t);
    free(s);
    return rc;
}

int verb_run(int argc, char **argv)
{
    const char *config = NULL, *run_dir = NULL, *key = NULL;
    bool        resume = false, no_color = false, lockstep = false;
    long        trials = 0, seed = -1;

    const struct flag flags[] = {
        { .name = "resume", .what = "go on with the last run", .on = &resume },
        { .name   = "trials",
          .value  = "N",
          .what   = "planned trials instead of the configuration's",
          .number = &trials,
          .min    = 1,
          .max    = TRIALS_MAX },
        { .name   = "seed",
          .value  = "N",
          .what   = "instead of the configuration's",
          .number = &seed,
          .min    = 0,
          .max    = 4294967295.0 },
        { .name = "lockstep", .what = "the simulator waits for every command: no real time", .on = &lockstep },
        { .name = "run-dir", .value = "D", .what = "instead of build/run/TIME", .text = &run_dir },
        { .name  = "key",
          .value = "F",
          .what  = "endpoint tcp://: the simulated robot's key, see limber key",
          .text  = &key },
        { .name = "no-color", .what = "no colours", .on = &no_color },
        { 0 }
    };
    const struct usage usage = {
        .line         = "run CONFIG [--resume] [--trials N] [--seed N] [--run-dir D] [--key F]",
        .text         = "Starts limberd and a simulated robot, arms it, lets it learn, draws its learning curve.\n"
                        "Only for hardware: sim.  Ctrl-C stops the robot and ends everything.",
        .flags        = flags,
        .max_operands = 1
    };
    char dir[PATH_SIZE];
    int  n, rc = args_read(argc, argv, &usage, &config, &n);

    if (rc >= 0)
        return rc;
    if (n == 0) {
        fprintf(stderr, "limber run: which robot?  usage: limber %s\n", usage.line);
        return EXIT_USAGE;
    }
    rc = choose_dir(run_dir, resume, dir, sizeof dir);
    if (rc != EXIT_OK)
        return rc;
    return run(
        &(struct session_options){
            .config = config, .run_dir = dir, .key = key, .seed = seed, .trials = trials, .lockstep = lockstep },
        !run_dir && !resume, !no_color);
}

/* --- limber sim ------------------------------------------------------------------------------------------------ */

/* The configuration of a robot whose daemon is running, from its status. */
static int config_of_daemon(const struct place_flags *place, char *config, size_t n, char *dir, size_t dir_size)
{
    json_t *status;
    int     rc = place_status(place, dir, dir_size, &status);

    if (rc != EXIT_OK)
        return rc;
    snprintf(config, n, "%s", js_str(status, "config", ""));
    json_decref(status);
    return EXIT_OK;
}

int verb_sim(int argc, char **argv)
{
    struct place_flags place    = { 0 };
    bool               lockstep = false;
    const char        *picture = NULL, *key = NULL;
    long               seed     = -1;
    const struct flag  flags[]  = {
          PLACE_FLAGS(&place),
          { .name = "lockstep", .what = "wait for every command: no real time", .on = &lockstep },
          { .name = "key", .value = "F", .what = "endpoint tcp://: its own key, see limber key", .text = &key },
          { .name = "picture", .value = "F", .what = "write a picture of the robot now and then", .text = &picture },
          { .name   = "seed",
            .value  = "N",
            .what   = "of the starting states",
            .number = &seed,
            .min    = 0,
            .max    = 4294967295.0 },
          { 0 }
    };
    const struct usage usage = {
        .line  = "sim [--config FILE | --robot NAME] [--lockstep] [--picture F] [--seed N] [--key F]",
        .text  = "Becomes the simulated robot of a daemon: limber-bridge sim with what robot.yaml says.",
        .flags = flags
    };
    struct robot_config *c = malloc(sizeof *c);
    struct sim_command   command;
    char                 file[PATH_SIZE], dir[PATH_SIZE], why[700];
    int                  n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0 || !c) {
        free(c);
        return c ? rc : EXIT_OSERR;
    }
    if (place.config) {
        snprintf(file, sizeof file, "%s", place.config);
        rc = EXIT_OK;
    } else {
        rc = config_of_daemon(&place, file, sizeof file, dir, sizeof dir);
    }
    if (rc == EXIT_OK && config_load(file, c, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", why);
        rc = EXIT_CONFIG;
    }
    if (rc == EXIT_OK && c->hardware != HARDWARE_SIM) {
        fprintf(stderr, "limber: %s says hardware: real; a simulated robot would be refused\n", file);
        rc = EXIT_REFUSED;
    }
    if (rc == EXIT_OK && place.config)
        rc = place_find(&place, dir, sizeof dir);
    if (rc == EXIT_OK && sim_command(&command, c, dir, key, seed, lockstep, picture, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", why);
        rc = EXIT_OSERR;
    }
    if (rc == EXIT_OK) {
        execv(command.program, command.argv);
        fprintf(stderr, "limber: cannot start %s: %s\n", command.program, strerror(errno));
        rc = EXIT_OSERR;
    }
    free(c);
    return rc;
}
