/* bench_learn_config.c - from what was asked to the robot.yaml that every seed runs with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"

enum { OWN_SETS = 4 };

static int complain(const struct learn *l, int code, const char *sentence)
{
    fprintf(stderr, "limber %s: %s\n", l->verb, sentence);
    return code;
}

/* robots/TASK/robot.yaml here, else where `make install` puts it: ../share/limber/robots beside the program's folder. */
static int find_config(struct learn *l)
{
    char    self[PATH_SIZE], text[PATH_SIZE + 300], *slash = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (l->config) {
        snprintf(l->config_file, sizeof l->config_file, "%s", l->config);
        return EXIT_OK;
    }
    snprintf(l->config_file, sizeof l->config_file, "robots/%s/robot.yaml", l->task);
    if (access(l->config_file, R_OK) == 0)
        return EXIT_OK;
    self[n > 0 ? n : 0] = 0;
    for (int i = 0; i < 2 && (slash = strrchr(self, '/')); i++)
        *slash = 0;
    if (snprintf(l->config_file, sizeof l->config_file, "%s/share/limber/robots/%s/robot.yaml", self, l->task) <
            (int)sizeof l->config_file &&
        access(l->config_file, R_OK) == 0)
        return EXIT_OK;
    snprintf(text, sizeof text, "--task %s: neither robots/%s/robot.yaml nor %s is there; --config FILE names another",
             l->task, l->task, l->config_file);
    return complain(l, EXIT_CONFIG, text);
}

/* --set arguments of our own come first, so that those of the user win; the core of a job comes last. */
static int effective(struct learn *l, int slot)
{
    const char *set[WORDS_MAX + OWN_SETS];
    char        cores[100], dropped[KEYS_SIZE], why[900];
    int         n = 0;

    if (l->lockstep) /* no result may depend on how long a fit takes on this machine */
        set[n++] = "trials.wait_for_model_s=3600";
    if (l->lockstep && !l->cartpole) {
        set[n++] = "lockstep=true";
        set[n++] = "rates.delay_steps=0";
    }
    for (int i = 0; i < l->set.n; i++)
        set[n++] = l->set.word[i];
    snprintf(cores, sizeof cores, "cores={main: %d, io: %d, control: %d, planner: %d}", slot, slot, slot, slot);
    if (l->jobs > 1)
        set[n++] = cores;

    const struct config_changes with = { .set = set, .sets = n, .planner = l->planner, .task_copy = "task.yaml" };

    if (config_load_with(l->config_file, &with, &l->robot, &l->text[slot], dropped, why, sizeof why) != 0)
        return complain(l, EXIT_CONFIG, why);
    if (dropped[0] && slot == 0)
        fprintf(stderr, "limber %s: planner %s does not use %s of %s: left out\n", l->verb, l->planner, dropped,
                l->config_file);
    return EXIT_OK;
}

static int allowed(const struct learn *l)
{
    char text[PATH_SIZE + 300];

    if (l->robot.paths.store[0]) {
        snprintf(text, sizeof text, "%s sets paths.store, but every seed must start with an empty store; remove it",
                 l->config_file);
        return complain(l, EXIT_CONFIG, text);
    }
    if (l->robot.hardware != HARDWARE_SIM) {
        snprintf(text, sizeof text, "%s says hardware: real; only simulated robots are run this way", l->config_file);
        return complain(l, EXIT_REFUSED, text);
    }
    if (l->lockstep && !l->robot.lockstep) {
        snprintf(text, sizeof text, "%s says lockstep: false; run it without --lockstep", l->config_file);
        return complain(l, EXIT_CONFIG, text);
    }
    if (l->real_time && l->robot.delay_steps == 0) {
        snprintf(text, sizeof text,
                 "%s says rates.delay_steps: 0, which there is in lockstep only; add --set rates.delay_steps=1",
                 l->config_file);
        return complain(l, EXIT_CONFIG, text);
    }
    return EXIT_OK;
}

static char *read_whole(const char *path)
{
    FILE  *f = fopen(path, "re");
    char  *text;
    size_t n = 0;

    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (text) {
        n       = fread(text, 1, (size_t)size, f);
        text[n] = 0;
    }
    fclose(f);
    return text;
}

/* What the figures were made with; empty outside a git tree. */
static void read_commit(char *out, size_t n)
{
    FILE *git = popen("git describe --always --dirty --exclude='*' 2>/dev/null", "re");

    out[0] = 0;
    if (git && !fgets(out, (int)n, git))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (git)
        pclose(git);
}

int learn_settle(struct learn *l)
{
    char why[700];
    int  rc = find_config(l);

    for (int slot = 0; rc == EXIT_OK && slot < l->jobs; slot++)
        rc = effective(l, slot);
    if (rc == EXIT_OK)
        rc = allowed(l);
    if (rc != EXIT_OK)
        return rc;
    if (!l->trials)
        l->trials = l->robot.trials.count < TRIALS_MAX ? l->robot.trials.count : TRIALS_MAX;
    if (!l->task)
        l->task = l->robot.robot;
    if (l->cartpole)
        snprintf(l->base, sizeof l->base, "%s/cartpole", l->out);
    else
        snprintf(l->base, sizeof l->base, "%s/learn-%s%s%s", l->out, l->task, l->name ? "-" : "",
                 l->name ? l->name : "");
    l->task_text = read_whole(l->robot.task_file);
    if (!l->task_text) {
        snprintf(why, sizeof why, "cannot read %s: %s", l->robot.task_file, strerror(errno));
        return complain(l, EXIT_CONFIG, why);
    }
    if (goals_load(&l->goals, l->config_file, l->robot.task.name, why, sizeof why) != 0)
        return complain(l, EXIT_CONFIG, why);
    if (!l->goals.levels && l->cartpole) {
        static const double levels[] = { 170, 175, 180 };

        memcpy(l->goals.level, levels, sizeof levels);
        l->goals.levels = 3;
    }
    read_commit(l->commit, sizeof l->commit);
    l->mode = l->lockstep || l->robot.delay_steps == 0 ? "lockstep" : "real-time";
    return EXIT_OK;
}

void learn_unsettle(struct learn *l)
{
    for (int i = 0; i < LEARN_JOBS_MAX; i++)
        free(l->text[i]);
    free(l->task_text);
    goals_free(&l->goals);
}
