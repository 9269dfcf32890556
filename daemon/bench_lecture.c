/* bench_lecture.c - what the lecture's experiments share: a part's robot.yaml, its run, how far it is. */
#include "daemon/bench_lecture.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_watch.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "daemon/run_dir.h"

static int complain(const struct lecture *l, int code, const char *sentence)
{
    fprintf(stderr, "limber %s: %s\n", l->verb, sentence);
    return code;
}

static int forget_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int make_dirs(const struct lecture *l, const char *dir)
{
    char part[PATH_SIZE + 8], text[PATH_SIZE + 100];

    snprintf(part, sizeof part, "%s/", dir);
    for (char *p = part + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            if (mkdir(part, 0755) != 0 && errno != EEXIST) {
                snprintf(text, sizeof text, "cannot make %s: %s", part, strerror(errno));
                return complain(l, EXIT_CANTCREATE, text);
            }
            *p = '/';
        }
    return EXIT_OK;
}

/* What every part has in common, then what the user set, then what makes the part. */
static int load(const struct lecture *l, const char *const *own, int nown, struct robot_config *c, char **text)
{
    const char           *set[WORDS_MAX + LECTURE_SETS_OWN + 5];
    char                  cores[100], dropped[KEYS_SIZE], why[900];
    int                   n       = 0;
    struct config_changes changes = { .set = set, .task_copy = "task.yaml" };

    CHECK(nown <= LECTURE_SETS_OWN);
    set[n++] = "trials.wait_for_model_s=3600"; /* no result may depend on how long a fit takes on this machine */
    set[n++] = "lockstep=true";
    set[n++] = "rates.delay_steps=0";
    for (int i = 0; i < l->set.n; i++)
        set[n++] = l->set.word[i];
    for (int i = 0; i < nown; i++)
        set[n++] = own[i];
    snprintf(cores, sizeof cores, "cores={main: %d, io: %d, control: %d, planner: %d}", l->core, l->core, l->core,
             l->core);
    if (l->core >= 0)
        set[n++] = cores;
    changes.sets = n;
    int   rc     = config_load_with(l->config_file, &changes, c, text, dropped, why, sizeof why);
    char *task   = rc == 0 ? realpath(c->task_file, NULL) : NULL;

    if (task) { /* all parts follow the same file, where it is */
        free(*text);
        changes.task_copy = task;
        rc                = config_load_with(l->config_file, &changes, c, text, dropped, why, sizeof why);
    }
    free(task);
    return rc == 0 ? EXIT_OK : complain(l, EXIT_CONFIG, why);
}

int lecture_settle(struct lecture *l, const char *bench)
{
    char *text = NULL;

    if (!l->task && !l->config)
        return complain(l, EXIT_USAGE, "--task is missing: a folder of robots/, or --config FILE");
    if (l->config)
        snprintf(l->config_file, sizeof l->config_file, "%s", l->config);
    else
        snprintf(l->config_file, sizeof l->config_file, "robots/%s/robot.yaml", l->task);
    int rc = load(l, NULL, 0, &l->robot, &text);

    free(text);
    if (rc != EXIT_OK)
        return rc;
    if (l->robot.hardware != HARDWARE_SIM)
        return complain(l, EXIT_REFUSED, "hardware: real; only simulated robots are run this way");
    if (l->robot.paths.store[0])
        return complain(l, EXIT_CONFIG, "paths.store is set, but every part has a store of its own; remove it");
    if (l->robot.trials.next != NEXT_AUTO || l->robot.exploration.kind == EXPLORE_NONE)
        return complain(l, EXIT_CONFIG, "expected trials.next: auto and exploration, for random trials");
    snprintf(l->base, sizeof l->base, "%.*s/%s-%s", (int)sizeof l->base - 80, l->out, bench, l->robot.robot);
    l->begun = 1e-9 * (double)clock_now_ns();
    if (l->fresh)
        nftw(l->base, forget_one, 16, FTW_DEPTH | FTW_PHYS);
    return make_dirs(l, l->base);
}

/* Whether a file says exactly this; -1: there is no such file. */
static int says(const char *path, const char *text)
{
    FILE  *f = fopen(path, "re");
    size_t n = strlen(text);
    int    same;

    if (!f)
        return -1;
    char *is = malloc(n + 2);
    CHECK(is);
    same = fread(is, 1, n + 1, f) == n && !memcmp(is, text, n);
    fclose(f);
    free(is);
    return same;
}

bool lecture_fit(long steps, char fit[2][LECTURE_FIT_SIZE])
{
    if (steps > LECTURE_FIT_MOST)
        steps = LECTURE_FIT_MOST;
    snprintf(fit[0], LECTURE_FIT_SIZE, "trainer.min_steps=%ld", steps);
    snprintf(fit[1], LECTURE_FIT_SIZE, "trainer.max_steps=%ld", steps);
    return steps > 0;
}

int lecture_config(const struct lecture *l, const char *dir, const char *name, const char *const *set, int sets)
{
    struct robot_config *c    = malloc(sizeof *c);
    char                *text = NULL, path[PATH_SIZE + 64], why[2 * PATH_SIZE];
    int                  is, rc = make_dirs(l, dir);

    CHECK(c);
    rc = rc == EXIT_OK ? load(l, set, sets, c, &text) : rc;
    free(c);
    if (rc == EXIT_OK) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        is = says(path, text);
        if (is == 0) {
            snprintf(why, sizeof why,
                     "%s was begun with other settings; --fresh forgets it, --out DIR is another place", dir);
            rc = complain(l, EXIT_REFUSED, why);
        } else if (is < 0) {
            FILE *f    = fopen(path, "we");
            bool  good = f && fputs(text, f) >= 0;

            if ((f && fclose(f) != 0) || !good) {
                snprintf(why, sizeof why, "cannot write %s: %s", path, strerror(errno));
                rc = complain(l, EXIT_CANTCREATE, why);
            }
        }
    }
    free(text);
    return rc;
}

int lecture_run(struct lecture *l, const char *dir, const char *name, const char *label, long trials, long seed)
{
    struct session *s = malloc(sizeof *s);
    char            config[PATH_SIZE + 64], store[PATH_SIZE + 64];
    double          ret[CELL_MAX];

    CHECK(s);
    snprintf(config, sizeof config, "%s/%s", dir, name);
    snprintf(store, sizeof store, "%s/experience.db", dir);
    if (store_returns(store, trials, ret, CELL_MAX) > 0) { /* the last one is there */
        free(s);
        return EXIT_OK;
    }
    int rc = session_start(s, &(struct session_options){ .config   = config,
                                                         .run_dir  = dir,
                                                         .seed     = seed,
                                                         .trials   = trials,
                                                         .lockstep = true,
                                                         .ordinary = l->core >= 0 });
    if (rc == EXIT_OK) {
        rc = session_finish(s, watch_session(s, &l->terminal, &(struct watch){ .label = label }));
        session_free(s);
    }
    free(s);
    return rc;
}

void lecture_progress(struct lecture *l, const char *label, double trials)
{
    l->done += trials;
    double spent = 1e-9 * (double)clock_now_ns() - l->begun;

    fprintf(stderr, "%s done; %.0f of %.0f trials, %.0f min left\n", label, l->done, l->all,
            ceil(spent / l->done * (l->all - l->done) / 60));
}

int lecture_write(const struct lecture *l, const char *file, const json_t *report)
{
    char path[PATH_SIZE + 100], why[PATH_SIZE + 200];

    snprintf(path, sizeof path, "%s/%s", l->out, file);
    if (json_dump_file(report, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0) {
        snprintf(why, sizeof why, "cannot write %s: %s", path, strerror(errno));
        return complain(l, EXIT_CANTCREATE, why);
    }
    fprintf(l->say, "%s\n", path);
    return EXIT_OK;
}
