/* cli_operate.c - limber arm, disarm, stop, reset, trial, task: an operator's acts, each one POST to the control socket. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_terminal.h"
#include "daemon/cli_view.h"

/* Says what the daemon said; a refusal comes with the checks that do not hold.  Takes over the answer. */
static int say(enum http_result r, struct http_answer *a)
{
    int rc = EXIT_OK;

    if (r != HTTP_OK)
        return place_trouble(r, a);
    if (a->status == 200 && js_true(a->json, "ok")) {
        printf("%s\n", js_str(a->json, "text", "done"));
    } else {
        const json_t *prearm = js_at(a->json, "prearm");
        struct screen s      = { .colour = terminal_wants_colour() };
        json_t       *bad    = json_array();

        screen_line(&s, "limber: refused: %s", js_str(a->json, "error", "the daemon gave no reason"));
        for (size_t i = 0; i < json_array_size(prearm); i++)
            if (!js_true(json_array_get(prearm, i), "ok"))
                json_array_append(bad, json_array_get(prearm, i));
        view_prearm(&s, bad);
        json_decref(bad);
        cli_print(&s, stderr);
        rc = a->status == 403 ? EXIT_NOPERM : EXIT_REFUSED;
    }
    json_decref(a->json);
    return rc;
}

static int post(const char *dir, const char *verb, json_t *body)
{
    struct http_answer a;
    enum http_result   r = http_post(dir, verb, body, &a);

    json_decref(body);
    return say(r, &a);
}

static int simple(int argc, char **argv, const char *verb, const char *line, const char *text)
{
    struct place_flags place   = { 0 };
    const struct flag  flags[] = { PLACE_FLAGS(&place), { 0 } };
    const struct usage usage   = { .line = line, .text = text, .flags = flags };
    char               dir[512];
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    rc = place_find(&place, dir, sizeof dir);
    return rc != EXIT_OK ? rc : post(dir, verb, NULL);
}

int verb_disarm(int argc, char **argv)
{
    return simple(argc, argv, "/disarm", "disarm [--robot NAME]",
                  "Controlled stop, then disarmed; may be armed again at once.");
}

int verb_reset(int argc, char **argv)
{
    return simple(argc, argv, "/reset", "reset [--robot NAME]",
                  "Clears a latched stop whose cause is gone.  The robot stays disarmed.");
}

/* Whoever types this in a hurry means every robot here. */
int verb_stop(int argc, char **argv)
{
    struct place_flags place   = { 0 };
    const struct flag  flags[] = { PLACE_FLAGS(&place), { 0 } };
    const struct usage usage   = {
          .line  = "stop [--robot NAME]",
          .text  = "Controlled stop, latched until limber reset.  Without flags it stops every robot whose "
                     "daemon runs here.\nIt is no emergency stop: that is a switch in the robot's supply.",
          .flags = flags
    };
    struct daemons *d = malloc(sizeof *d);
    int             n, worst = EXIT_OK, rc = args_read(argc, argv, &usage, NULL, &n);

    if (!d)
        return EXIT_OSERR;
    if (rc < 0 && !place.run_dir && !place.config && !place.robot) {
        place_daemons(d);
        for (int i = 0; i < d->n; i++) {
            if (d->n > 1)
                printf("%s: ", d->dir[i]);
            fflush(stdout);
            rc    = post(d->dir[i], "/stop", NULL);
            worst = rc > worst ? rc : worst;
        }
        rc = d->n ? worst : -1;
    }
    if (rc < 0) {
        rc = place_find(&place, d->dir[0], sizeof d->dir[0]);
        if (rc == EXIT_OK)
            rc = post(d->dir[0], "/stop", NULL);
    }
    free(d);
    return rc;
}

/* --- arm ------------------------------------------------------------------------------------------------------ */

static bool read_line(char *line, size_t n)
{
    if (!fgets(line, (int)n, stdin))
        return false;
    line[strcspn(line, "\r\n")] = 0;
    return true;
}

/* Real hardware: a person at a terminal types the robot's name, whatever the flags say. */
static bool confirm_real(const char *robot)
{
    char line[128];

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "limber: not armed: %s is real hardware, which is armed by a person at a terminal only\n",
                robot);
        return false;
    }
    printf("%s is real hardware and will move.  Is everyone clear, and the emergency stop at hand?\n"
           "Type the robot's name to arm it: ",
           robot);
    fflush(stdout);
    if (read_line(line, sizeof line) && !strcmp(line, robot))
        return true;
    fprintf(stderr, "limber: not armed: that is not \"%s\"\n", robot);
    return false;
}

static bool confirm_sim(const char *robot)
{
    char line[128];

    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "limber: not armed: nobody to ask; use --yes for a simulated robot\n");
        return false;
    }
    printf("Arm the simulated robot %s? [y/N] ", robot);
    fflush(stdout);
    if (read_line(line, sizeof line) && (!strcmp(line, "y") || !strcmp(line, "Y") || !strcmp(line, "yes")))
        return true;
    fprintf(stderr, "limber: not armed\n");
    return false;
}

static int arm_checked(const char *dir, const json_t *status, bool yes, bool explore)
{
    struct screen s                = { .width = terminal_width(), .colour = terminal_wants_colour() };
    const char   *robot            = js_str(status, "robot", "");
    bool          by_configuration = !strcmp(js_str(status, "hardware", ""), "sim");
    bool          sim              = by_configuration && js_true(status, "link.simulated");

    screen_line(&s, "pre-arm checks of %s (%s):", robot,
                sim                ? "simulated"
                : by_configuration ? "simulated by its configuration, but the robot side does not say so"
                                   : "real hardware");

    int failing = view_prearm(&s, js_at(status, "prearm"));

    if (js_true(status, "latched"))
        view_stop(&s, status);
    cli_print(&s, stdout);
    fflush(stdout);
    if (failing) {
        fprintf(stderr, "limber: not armed: %d pre-arm check%s above\n", failing, failing == 1 ? " fails" : "s fail");
        return EXIT_REFUSED;
    }
    if (sim ? !yes && !confirm_sim(robot) : !confirm_real(robot))
        return EXIT_REFUSED;
    return post(dir, "/arm", json_pack("{s:s, s:b, s:b}", "robot", robot, "yes", yes && sim, "explore", explore));
}

int verb_arm(int argc, char **argv)
{
    struct place_flags place = { 0 };
    bool               yes = false, explore = false;
    const struct flag  flags[] = { PLACE_FLAGS(&place),
                                   { .name = "yes", .what = "do not ask (simulated robots only)", .on = &yes },
                                   { .name = "explore",
                                     .what = "allow exploration above 20 % of the effort limit on real hardware",
                                     .on   = &explore },
                                   { 0 } };
    const struct usage usage   = {
          .line  = "arm [--yes] [--explore] [--robot NAME]",
          .text  = "Shows the pre-arm checks, asks, and arms into the baseline controller.  Real hardware wants a\n"
                     "person at a terminal who types the robot's name.",
          .flags = flags
    };
    char    dir[512];
    json_t *status;
    int     n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    rc = place_status(&place, dir, sizeof dir, &status);
    if (rc != EXIT_OK)
        return rc;
    rc = arm_checked(dir, status, yes, explore);
    json_decref(status);
    return rc;
}

/* --- trial ---------------------------------------------------------------------------------------------------- */

static int trial_list(const struct place_flags *place, bool as_json)
{
    char    dir[512];
    json_t *status;
    int     rc = place_status(place, dir, sizeof dir, &status);

    if (rc != EXIT_OK)
        return rc;
    if (as_json) {
        const json_t *history = js_at(status, "trials.history");

        json_dumpf(history ? history : json_null(), stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
    } else {
        struct screen s = { .width = terminal_width(), .colour = terminal_wants_colour() };

        view_trials(&s, status);
        cli_print(&s, stdout);
    }
    json_decref(status);
    return EXIT_OK;
}

int verb_trial(int argc, char **argv)
{
    static const char *const acts[] = { "start", "stop", "ready", "list", NULL };

    struct place_flags place  = { 0 };
    bool               random = false, json = false;
    long               count   = 0;
    const struct flag  flags[] = {
         PLACE_FLAGS(&place),
         { .name = "random", .what = "start: an exploring trial instead of a planned one", .on = &random },
         { .name   = "count",
           .value  = "N",
           .what   = "start: so many trials, one after the other",
           .number = &count,
           .min    = 1,
           .max    = 1000000 },
         { .name = "json", .what = "list: as JSON", .on = &json },
         { 0 }
    };
    const struct usage usage = {
        .line  = "trial start|stop|ready|list [--random] [--count N] [--json] [--robot NAME]",
        .text  = "start  the next trial            stop  abort the running one; the baseline holds, still armed\n"
                 "ready  the robot stands at its start pose   list  returns of the trials so far",
        .flags = flags,
        .max_operands = 1
    };
    const char *act;
    char        dir[512], path[64];
    int         n, rc = args_read(argc, argv, &usage, &act, &n);

    if (rc >= 0)
        return rc;
    if (n == 0) {
        fprintf(stderr, "limber trial: say what: start, stop, ready or list\n");
        return EXIT_USAGE;
    }
    for (int i = 0; acts[i]; i++) {
        if (strcmp(act, acts[i]) != 0)
            continue;
        if (!strcmp(act, "list"))
            return trial_list(&place, json);
        rc = place_find(&place, dir, sizeof dir);
        if (rc != EXIT_OK)
            return rc;

        json_t *body = NULL;

        if (!strcmp(act, "start")) {
            body = json_object();
            if (random)
                json_object_set_new(body, "kind", json_string("random"));
            if (count)
                json_object_set_new(body, "count", json_integer(count));
        }
        snprintf(path, sizeof path, "/trial/%s", act);
        return post(dir, path, body);
    }
    return args_unknown("trial verb", act, acts, "limber trial --help");
}

/* --- task ----------------------------------------------------------------------------------------------------- */

/* A name is a task beside the daemon's robot.yaml, anything else a file, which the daemon reads. */
static int task_set(const struct place_flags *place, const char *which)
{
    size_t len   = strlen(which);
    bool   named = !strchr(which, '/') && (len < 5 || strcmp(which + len - 5, ".yaml") != 0);
    char   dir[512], full[PATH_MAX];

    if (!named && !realpath(which, full)) {
        fprintf(stderr, "limber: %s: %s\n", which, strerror(errno));
        return EXIT_CONFIG;
    }
    int rc = place_find(place, dir, sizeof dir);

    return rc != EXIT_OK ? rc : post(dir, "/task", json_pack("{s:s}", named ? "name" : "file", named ? which : full));
}

static int is_yaml(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return len > 5 && !strcmp(e->d_name + len - 5, ".yaml");
}

/* The tasks beside robot.yaml, as names for task set: an array of { name, file, in_force }. */
static json_t *tasks_beside(const json_t *status)
{
    const char     *config = js_str(status, "config", ""), *now = js_str(status, "task.file", "");
    const char     *slash = strrchr(config, '/');
    json_t         *list  = json_array();
    struct dirent **found = NULL;
    char            dir[PATH_MAX], file[PATH_MAX + 300];

    snprintf(dir, sizeof dir, "%.*s/tasks", slash ? (int)(slash - config) : 0, config);
    int n = scandir(dir, &found, is_yaml, alphasort);

    for (int i = 0; i < n; i++) {
        const char *name = found[i]->d_name;

        snprintf(file, sizeof file, "%s/%s", dir, name);
        json_array_append_new(list, json_pack("{s:s%, s:s, s:b}", "name", name, strlen(name) - 5, "file", file,
                                              "in_force", !strcmp(file, now)));
        free(found[i]);
    }
    free(found);
    return list;
}

static void print_json(const json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
}

static int task_tell(const struct place_flags *place, bool list, bool as_json)
{
    char    dir[512];
    json_t *status;
    int     rc = place_status(place, dir, sizeof dir, &status);

    if (rc != EXIT_OK)
        return rc;
    if (!list && as_json) {
        print_json(js_at(status, "task"));
    } else if (!list) {
        printf("%s, from %s\n", js_str(status, "task.name", "-"), js_str(status, "task.file", "-"));
    } else {
        json_t *tasks = tasks_beside(status), *t;
        size_t  i;

        if (as_json)
            print_json(tasks);
        else
            json_array_foreach(tasks, i, t)
                printf("%s %s\n", js_true(t, "in_force") ? "*" : " ", js_str(t, "name", "-"));
        json_decref(tasks);
    }
    json_decref(status);
    return EXIT_OK;
}

int verb_task(int argc, char **argv)
{
    static const char *const acts[] = { "set", "show", "list", NULL };

    struct place_flags place   = { 0 };
    bool               json    = false;
    const struct flag  flags[] = { PLACE_FLAGS(&place),
                                   { .name = "json", .what = "show, list: as JSON", .on = &json },
                                   { 0 } };
    const struct usage usage   = {
          .line  = "task set NAME|FILE | show | list [--json] [--robot NAME]",
          .text  = "set   from the next trial on another task, with what has been learned: NAME is tasks/NAME.yaml\n"
                     "      beside robot.yaml; between trials only, and until the daemon ends\n"
                     "show  the task in force      list  the tasks beside robot.yaml, * the one in force",
          .flags = flags,
          .max_operands = 2
    };
    const char *word[2] = { NULL, NULL };
    int         n, rc = args_read(argc, argv, &usage, word, &n);

    if (rc >= 0)
        return rc;
    if (n == 0) {
        fprintf(stderr, "limber task: say what: set NAME, show or list\n");
        return EXIT_USAGE;
    }
    bool set = !strcmp(word[0], "set"), list = !strcmp(word[0], "list");

    if (!set && !list && strcmp(word[0], "show") != 0)
        return args_unknown("task verb", word[0], acts, "limber task --help");
    if (n != (set ? 2 : 1)) {
        fprintf(stderr, set ? "limber task set: say which: NAME or FILE (limber task list)\n"
                            : "limber task: show and list take nothing more\n");
        return EXIT_USAGE;
    }
    return set ? task_set(&place, word[1]) : task_tell(&place, list, json);
}
