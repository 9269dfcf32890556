/* cli_conform.c - limber conform: tests somebody's robot side against the receiver contract. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_terminal.h"
#include "daemon/conform.h"

static const char *const words[] = { "not tried", "pass", "FAIL", "skipped" };

static bool wanted(const char *only, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = only; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (!strncmp(at, name, n) && (at[n] == ',' || !at[n]))
            return true;
    return !only;
}

/* The first word of `only` that is no clause, or NULL. */
static const char *unknown_clause(const char *only, const char *const *known)
{
    static char word[64];

    for (const char *at = only; at && *at; at += strcspn(at, ","), at += *at == ',') {
        bool found = false;

        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
        for (int i = 0; known[i]; i++)
            found = found || !strcmp(known[i], word);
        if (!found)
            return word;
    }
    return NULL;
}

static int check_only(const char *only)
{
    const char *known[64] = { 0 }, *bad;

    for (int i = 0; i < 63 && conform_clauses[i].name; i++)
        known[i] = conform_clauses[i].name;
    bad = unknown_clause(only, known);
    return bad ? args_unknown("clause", bad, known, "limber conform --list") : EXIT_OK;
}

static int list(void)
{
    for (const struct conform_clause *k = conform_clauses; k->name; k++)
        printf("%-15s %s\n", k->name, k->claim);
    return EXIT_OK;
}

/* The Hello has been heard.  Everything else needs the session that "states" opens. */
static int run(struct conform *c, bool json)
{
    json_t       *rows   = json_array();
    int           failed = 0, passed = 0, skipped = 0, attempts;
    struct screen s = { .width = json ? 0 : terminal_width(), .colour = terminal_wants_colour() };

    if (!wanted(c->o.only, "states"))
        conform_welcome(c);
    for (const struct conform_clause *k = conform_clauses; k->name; k++) {
        if (!wanted(c->o.only, k->name))
            continue;
        enum conform_verdict v = conform_try(c, k, &attempts);

        failed += v == CONFORM_FAIL;
        passed += v == CONFORM_PASS;
        skipped += v == CONFORM_SKIP;
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:i}", "clause", k->name, "verdict",
                                              v == CONFORM_FAIL ? "fail" : words[v], "expected", k->claim, "seen", c->seen,
                                              "attempts", attempts));
        if (json)
            continue;
        screen_wrap(&s, 25, "%s%-8s" PLAIN " %-15s %s", v == CONFORM_FAIL ? BAD : v == CONFORM_PASS ? GOOD : DIM, words[v], k->name,
                    k->claim);
        if (v != CONFORM_PASS || attempts > 1)
            screen_wrap(&s, 25, "%*s" DIM "seen%s: %s", 25, "", attempts > 1 ? " (several attempts)" : "", c->seen);
        cli_print(&s, stdout);
        fflush(stdout);
    }
    if (json) {
        json_t *all = json_pack("{s:s, s:s, s:i, s:i, s:i, s:o}", "robot", c->hello.robot, "software", c->hello.software, "passed",
                                passed, "failed", failed, "skipped", skipped, "clauses", json_incref(rows));
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        printf("%s (%s): %d passed, %d failed, %d skipped\n", c->hello.robot, c->hello.software, passed, failed, skipped);
    }
    json_decref(rows);
    return failed ? EXIT_REFUSED : EXIT_OK;
}

int verb_conform(int argc, char **argv)
{
    struct conform_options o    = { .hz = 50, .latch_ms = 5, .share = 0.02, .wait_s = 10, .attempts = 3 };
    bool                   json = false, names = false;
    long                   attempts = o.attempts;
    const struct flag flags[] = {
        { .name = "endpoint", .value = "E", .what = "ipc://PATH to listen at, as the daemon would", .text = &o.endpoint },
        { .name = "hz", .value = "N", .what = "rate to ask for (default 50)", .real = &o.hz, .min = 1, .max = 2000 },
        { .name = "effort", .value = "S", .what = "share of each effort limit that is commanded (default 0.02)", .real = &o.share,
          .min = 1e-4, .max = 1 },
        { .name = "latch-ms", .value = "MS", .what = "latch_ms of Welcome (default 5)", .real = &o.latch_ms, .min = 0, .max = 1000 },
        { .name = "wait", .value = "S", .what = "for the first Hello (default 10)", .real = &o.wait_s, .min = 0.1, .max = 3600 },
        { .name = "attempts", .value = "N", .what = "at each clause, as this machine may stall (default 3)", .number = &attempts,
          .min = 1, .max = 100 },
        { .name = "only", .value = "A,B", .what = "these clauses", .text = &o.only },
        { .name = "estop", .what = "test the emergency stop: asks for it to be pressed", .on = &o.estop },
        { .name = "hardware", .value = "NAME", .what = "allow real hardware of this name, which will move", .text = &o.hardware },
        { .name = "list", .what = "the clauses, and nothing else", .on = &names },
        { .name = "json", .what = "one JSON object", .on = &json },
        { 0 }
    };
    const struct usage usage = { .line = "conform --endpoint ipc://PATH [--hz N] [--only A,B] [--json]",
                                 .text = "Tests a robot side, in any language, against the receiver contract: plays the daemon's "
                                         "part and prints\na line a clause (docs/conform.md).  Start the robot side with the same "
                                         "endpoint.\nexit status: 0 all clauses hold, 1 one does not, 69 no robot side came, 73 no "
                                         "endpoint",
                                 .flags = flags };
    char why[600];
    int  n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (names)
        return list();
    if (!o.endpoint) {
        fprintf(stderr, "limber conform: --endpoint is missing, e.g. --endpoint ipc:///tmp/robot.sock\n");
        return EXIT_USAGE;
    }
    o.attempts = (int)attempts;
    rc         = check_only(o.only);
    if (rc != EXIT_OK)
        return rc;
    struct conform *c = calloc(1, sizeof *c);

    if (!c)
        return EXIT_OSERR;
    int bad = conform_open(c, &o, why, sizeof why);

    if (bad)
        fprintf(stderr, "limber conform: %s\n", why);
    rc = bad < 0 ? EXIT_CANTCREATE : bad > 0 ? EXIT_UNAVAILABLE : run(c, json);
    conform_close(c);
    free(c);
    return rc;
}
