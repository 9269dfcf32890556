/* cli_status.c - limber status, limber top. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_terminal.h"
#include "daemon/cli_view.h"

int verb_status(int argc, char **argv)
{
    struct place_flags place   = { 0 };
    bool               json    = false;
    const struct flag  flags[] = { PLACE_FLAGS(&place),
                                   { .name = "json", .what = "the whole status document as JSON", .on = &json },
                                   { 0 } };
    const struct usage usage   = { .line = "status [--json] [--robot NAME]",
                                   .text =
                                       "One screen about the daemon: mode, trial, model, planner, timing, link, gates.",
                                   .flags = flags };
    char               dir[512];
    json_t            *status;
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    rc = place_status(&place, dir, sizeof dir, &status);
    if (rc != EXIT_OK)
        return rc;
    if (json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        struct screen s = { .width = terminal_width(), .colour = terminal_wants_colour() };

        view_status(&s, status);
        cli_print(&s, stdout);
    }
    json_decref(status);
    return EXIT_OK;
}

/* A picture also where the daemon is away: it may come back. */
static void top_picture(struct screen *s, const char *dir, struct http_answer *a, enum http_result r)
{
    screen_clear(s);
    if (r == HTTP_OK)
        view_live(s, a->json);
    else
        screen_wrap(s, 0, BAD "%s", a->why);
    screen_line(s, DIM "%s\tq ends", dir);
    json_decref(a->json);
}

int verb_top(int argc, char **argv)
{
    struct place_flags place   = { 0 };
    const struct flag  flags[] = { PLACE_FLAGS(&place), { 0 } };
    const struct usage usage   = { .line  = "top [--robot NAME]",
                                   .text  = "Live view of the daemon, five times a second, until q or Ctrl-C.",
                                   .flags = flags };
    char               dir[512];
    json_t            *status;
    struct terminal    t;
    struct screen      s = { 0 };
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    rc = place_status(&place, dir, sizeof dir, &status);
    if (rc != EXIT_OK)
        return rc;
    json_decref(status);
    if (!terminal_width()) {
        fprintf(stderr, "limber top: stdout is not a terminal; use limber status, or limber status --json\n");
        return EXIT_USAGE;
    }

    terminal_open(&t, true, true);
    for (enum wake w = WAKE_TIME; w != WAKE_INTERRUPT && w != WAKE_KEY; w = terminal_wait(&t, 0.2)) {
        struct http_answer a;
        enum http_result   r = http_status(dir, &a);

        s.width  = t.width;
        s.colour = t.colour;
        top_picture(&s, dir, &a, r);
        terminal_draw(&t, &s);
    }
    terminal_close(&t);
    screen_free(&s);
    return EXIT_OK;
}
