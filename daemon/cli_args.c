/* cli_args.c - see cli_args.h. */
#include "daemon/cli_args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 32, FLAGS_MAX = 32 };

/* Edits that turn a into b: insert, delete, replace, swap of neighbours (optimal string alignment). */
static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    int    d[WORD_MAX + 1][WORD_MAX + 1];

    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *args_nearest(const char *word, const char *const *known)
{
    const char *best = NULL;
    int         near = strlen(word) < 4 ? 2 : 3; /* one more than what may differ */

    for (int i = 0; known && known[i]; i++) {
        int d = distance(word, known[i]);

        if (strlen(word) >= 2 && !strncmp(word, known[i], strlen(word)) && d > 1)
            d = 1;
        if (d < near) {
            near = d;
            best = known[i];
        }
    }
    return best;
}

int args_unknown(const char *what, const char *word, const char *const *known, const char *help)
{
    const char *near = args_nearest(word, known);

    fprintf(stderr, "limber: unknown %s \"%s\"", what, word);
    if (near)
        fprintf(stderr, "; did you mean \"%s\"?\n", near);
    else
        fprintf(stderr, "; %s lists what there is\n", help);
    return EXIT_USAGE;
}

void args_help(FILE *f, const struct usage *u)
{
    fprintf(f, "usage: limber %s\n\n%s\n", u->line, u->text);
    if (!u->flags || !u->flags->name)
        return;
    fprintf(f, "\n");
    for (const struct flag *g = u->flags; g->name; g++) {
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", g->name, g->value ? " " : "", g->value ? g->value : "");
        fprintf(f, "  %-18s %s\n", left, g->what);
    }
}

static int flag_number(const struct flag *g, const char *value)
{
    char  *end;
    double x;

    errno = 0;
    if (g->number) {
        *g->number = strtol(value, &end, 10);
        x          = (double)*g->number;
    } else {
        *g->real = x = strtod(value, &end);
    }
    if (end == value || *end || errno || !(x >= g->min && x <= g->max)) {
        fprintf(stderr, "limber: --%s %s: expected %s in %.10g .. %.10g\n", g->name, value,
                g->number ? "a whole number" : "a number", g->min, g->max);
        return EXIT_USAGE;
    }
    return -1;
}

/* `arg` is "--name" or "--name=value"; takes the next argument where a value is needed. */
static int flag_read(const struct usage *u, int argc, char **argv, int *i)
{
    const char *arg   = argv[*i] + 2;
    const char *equal = strchr(arg, '=');
    size_t      len   = equal ? (size_t)(equal - arg) : strlen(arg);
    const char *names[FLAGS_MAX];
    int         n = 0;

    for (const struct flag *g = u->flags; g && g->name; g++) {
        if (n < FLAGS_MAX - 1)
            names[n++] = g->name;
        if (strlen(g->name) != len || strncmp(g->name, arg, len) != 0)
            continue;
        if (g->on) {
            if (equal) {
                fprintf(stderr, "limber: --%s takes no value\n", g->name);
                return EXIT_USAGE;
            }
            *g->on = true;
            return -1;
        }
        const char *value = equal ? equal + 1 : *i + 1 < argc ? argv[++*i] : NULL;

        if (!value || !value[0]) {
            fprintf(stderr, "limber: --%s wants a value: --%s %s\n", g->name, g->name, g->value);
            return EXIT_USAGE;
        }
        if (g->words && g->words->n == WORDS_MAX) {
            fprintf(stderr, "limber: --%s %s: at most %d of them\n", g->name, value, WORDS_MAX);
            return EXIT_USAGE;
        }
        if (g->words) {
            g->words->word[g->words->n++] = value;
            return -1;
        }
        if (!g->text)
            return flag_number(g, value);
        *g->text = value;
        return -1;
    }
    names[n] = NULL;

    char word[WORD_MAX + 1], help[64];

    snprintf(word, sizeof word, "%.*s", (int)(len < WORD_MAX ? len : WORD_MAX), arg);
    snprintf(help, sizeof help, "limber %s --help", argv[0]);
    const char *near = args_nearest(word, names);

    if (near)
        fprintf(stderr, "limber: unknown flag \"--%s\"; did you mean \"--%s\"?\n", word, near);
    else
        fprintf(stderr, "limber: unknown flag \"--%s\"; %s lists what there is\n", word, help);
    return EXIT_USAGE;
}

int args_read(int argc, char **argv, const struct usage *u, const char **operand, int *count)
{
    bool only_operands = false;

    *count = 0;
    for (int i = 1; i < argc; i++) {
        if (!only_operands && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            args_help(stdout, u);
            return EXIT_OK;
        }
        if (!only_operands && !strcmp(argv[i], "--")) {
            only_operands = true;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1] == '-') {
            int rc = flag_read(u, argc, argv, &i);

            if (rc >= 0)
                return rc;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            fprintf(stderr, "limber: unknown flag \"%s\"; limber %s --help lists what there is\n", argv[i], argv[0]);
            return EXIT_USAGE;
        } else if (*count >= u->max_operands) {
            fprintf(stderr, "limber %s: \"%s\" is one argument too many; usage: limber %s\n", argv[0], argv[i],
                    u->line);
            return EXIT_USAGE;
        } else {
            operand[(*count)++] = argv[i];
        }
    }
    return -1;
}
