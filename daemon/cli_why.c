/* cli_why.c - limber why: what stopped the robot, in words.  Reads the run directory; the daemon may be dead. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_terminal.h"
#include "daemon/config.h"
#include "daemon/run_dir.h"
#include "daemon/why.h"

enum { LIST_MAX = 64 };

/* The run directory whose daemon ran last. */
struct newest {
    char            dir[512];
    struct timespec at;
};

static void look_at(void *ctx, const char *dir)
{
    struct newest *w = ctx;
    char           path[PATH_MAX], real[PATH_MAX];
    struct stat    st;

    snprintf(path, sizeof path, "%s/stops", dir);
    if (stat(path, &st) != 0 || !realpath(dir, real) || strlen(real) >= sizeof w->dir)
        return;
    if (!w->dir[0] || st.st_mtim.tv_sec > w->at.tv_sec ||
        (st.st_mtim.tv_sec == w->at.tv_sec && st.st_mtim.tv_nsec > w->at.tv_nsec)) {
        snprintf(w->dir, sizeof w->dir, "%s", real);
        w->at = st.st_mtim;
    }
}

/* Without flags: the only daemon that runs, else the directory that was used last. */
static int place_without_flags(char *dir, size_t n)
{
    struct daemons *d = malloc(sizeof *d);
    struct newest   w = { 0 };

    if (!d)
        return EXIT_OSERR;
    place_daemons(d);
    int running = d->n;

    free(d);
    if (running)
        return place_find(&(struct place_flags){ 0 }, dir, n);
    run_dir_each_with("stops", look_at, &w);
    look_at(&w, "build/run/latest");
    if (!w.dir[0]) {
        fprintf(stderr, "limber: no daemon is running, and none has left recordings where daemons leave them; say where with "
                        "--run-dir\n");
        return EXIT_UNAVAILABLE;
    }
    snprintf(dir, n, "%s", w.dir);
    return EXIT_OK;
}

/* Like place_find, but a directory will do whose daemon has ended. */
static int find(const struct place_flags *p, char *dir, size_t n)
{
    char        why[600], path[PATH_MAX];
    struct stat st;

    if (!p->run_dir && !p->config && !p->robot)
        return place_without_flags(dir, n);

    int rc = place_named(p, true, dir, n, why, sizeof why);

    if (rc != EXIT_OK) {
        fprintf(stderr, "limber: %s\n", why);
        return rc;
    }
    snprintf(path, sizeof path, "%s/stops", dir);
    if (stat(path, &st) != 0) {
        fprintf(stderr, "limber: %s: %s; no limberd has run there\n", path, strerror(errno));
        return EXIT_UNAVAILABLE;
    }
    return EXIT_OK;
}

static void when(const json_t *r, char *out, size_t n)
{
    time_t    t = (time_t)js_num(r, "unix_s");
    struct tm tm;

    if (!localtime_r(&t, &tm) || strftime(out, n, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, n, "?");
}

static void show(struct screen *s, json_t *r)
{
    const json_t *sign = json_object_get(r, "first_sign"), *timeline = json_object_get(r, "timeline");
    char          at[40];

    when(r, at, sizeof at);
    screen_line(s, BOLD "stop %ld" PLAIN "  " BAD "%s" PLAIN "  %s\t%s", js_int(r, "number"), js_str(r, "code", "?"),
                js_str(r, "robot", "?"), at);
    screen_wrap(s, 8, "cause   %s", js_str(r, "cause", "?"));
    screen_wrap(s, 8, "remedy  %s", js_str(r, "remedy", "?"));
    screen_wrap(s, 8, "when    %s -> %s at tick %ld, step %ld of trial %ld, model %ld, task %s", js_str(r, "from", "?"),
                js_str(r, "to", "?"), js_int(r, "tick"), js_int(r, "step"), js_int(r, "trial"), js_int(r, "model"),
                js_str(r, "task", "?"));
    if (json_is_object(sign))
        screen_wrap(s, 8, "sign    " BOLD "%.3f s before" PLAIN ": %s", -js_num(sign, "t"), js_str(sign, "text", "?"));
    screen_line(s, DIM "        limberd %s, %s, configuration %s", js_str(r, "version", "?"), js_str(r, "config", "?"),
                js_str(r, "config_hash", "?"));
    screen_line(s, " ");
    for (size_t i = 0; i < json_array_size(timeline); i++) {
        const char *line = json_string_value(json_array_get(timeline, i));

        screen_wrap(s, 13, "%s", line ? line : "?");
    }
    if (!json_array_size(json_object_get(r, "ticks")))
        screen_line(s, DIM "no ticks were kept");
}

static int list(const char *dir, bool json)
{
    int           number[LIST_MAX], n = why_list(dir, number, LIST_MAX);
    json_t       *all = json_array();
    struct screen s   = { .width = terminal_width(), .colour = terminal_wants_colour() };

    for (int i = 0; i < n; i++) {
        char    why[600], at[40];
        bool    none;
        json_t *r = why_load(dir, number[i], &none, why, sizeof why);

        if (!r) {
            screen_line(&s, BAD "%4d  %s", number[i], why);
            continue;
        }
        when(r, at, sizeof at);
        screen_line(&s, "%4ld  %s  " BOLD "%-16s" PLAIN " %s -> %s", js_int(r, "number"), at, js_str(r, "code", "?"),
                    js_str(r, "from", "?"), js_str(r, "to", "?"));
        json_object_del(r, "ticks");
        json_array_append_new(all, r);
    }
    if (json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        if (!n)
            screen_line(&s, "nothing has stopped the robot so far");
        cli_print(&s, stdout);
    }
    screen_free(&s);
    json_decref(all);
    return EXIT_OK;
}

/* A daemon that died and was not started again has no recording of that yet. */
static void say_if_dead(const char *dir)
{
    char mode[16];
    int  pid;

    if (!run_dir_alive(dir) && why_died(dir, &pid, mode, sizeof mode))
        fprintf(stderr, "limber: the limberd of %s (process %d) died in %s without an orderly end; the robot side damps by "
                        "itself; started again it is disarmed and keeps a recording of this\n", dir, pid, mode);
}

static int one(const char *dir, int number, bool json)
{
    char    why[600];
    bool    none;
    json_t *r = why_load(dir, number, &none, why, sizeof why);

    say_if_dead(dir);
    if (why[0])
        fprintf(stderr, "limber: %s\n", why);
    if (!r)
        return EXIT_REFUSED;
    why_tell(r);
    if (json) {
        json_dumpf(r, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        struct screen s = { .width = terminal_width(), .colour = terminal_wants_colour() };

        show(&s, r);
        cli_print(&s, stdout);
    }
    json_decref(r);
    return why[0] ? EXIT_REFUSED : EXIT_OK;
}

int verb_why(int argc, char **argv)
{
    struct place_flags place   = { 0 };
    bool               json = false, all = false;
    const struct flag  flags[] = { PLACE_FLAGS(&place),
                                   { .name = "list", .what = "every recording there is, a line each", .on = &all },
                                   { .name = "json", .what = "the whole recording as JSON", .on = &json },
                                   { 0 } };
    const struct usage usage   = { .line = "why [N] [--list] [--json] [--robot NAME]",
                                   .text = "What stopped the robot: cause, remedy, the first sign of it and the last two "
                                           "seconds in words.\nN is the number of a recording (default: the newest).  The "
                                           "daemon need not run.\nexit status: 0 told, 1 no such recording or a damaged one, "
                                           "69 no run directory",
                                   .flags = flags, .max_operands = 1 };
    const char        *operand = NULL;
    char               dir[512], *end;
    long               number = 0;
    int                n, rc = args_read(argc, argv, &usage, &operand, &n);

    if (rc >= 0)
        return rc;
    if (n) {
        number = strtol(operand, &end, 10);
        if (end == operand || *end || number < 1 || number > 999999) {
            fprintf(stderr, "limber: why %s: expected the number of a recording; limber why --list shows them\n", operand);
            return EXIT_USAGE;
        }
    }
    rc = find(&place, dir, sizeof dir);
    if (rc != EXIT_OK)
        return rc;
    return all ? list(dir, json) : one(dir, (int)number, json);
}
