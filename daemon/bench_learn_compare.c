/* bench_learn_compare.c - several reports of limber bench learn in one table and one picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"

struct compared {
    char          label[48];
    json_t       *report;
    struct curve *seed; /* [seeds] */
    int           seeds;
    struct curve  median; /* of the running maxima */
};

static void median_curve(struct compared *e)
{
    struct curve *m = &e->median;

    m->random = (double)NAN;
    for (int k = 0; k < e->seeds; k++)
        m->n = e->seed[k].n > m->n ? e->seed[k].n : m->n;
    for (int i = 0; i < m->n; i++)
        m->ret[i] = curve_median_best(e->seed, e->seeds, i);
    snprintf(m->label, sizeof m->label, "%s", e->label);
}

/* The name, or how the file is called. */
static void label_of(struct compared *e, const char *file)
{
    const char *slash = strrchr(file, '/'), *name = js_str(e->report, "name", NULL);

    snprintf(e->label, sizeof e->label, "%s", name ? name : slash ? slash + 1 : file);
    if (!name && strlen(e->label) > 5 && !strcmp(e->label + strlen(e->label) - 5, ".json"))
        e->label[strlen(e->label) - 5] = 0;
}

static int load(struct compared *e, const char *file)
{
    json_error_t error;

    e->report = json_load_file(file, 0, &error);

    const json_t *seeds = js_at(e->report, "seeds");

    if (!json_array_size(seeds) || !json_is_array(js_at(json_array_get(seeds, 0), "returns"))) {
        fprintf(stderr, "limber bench learn: %s: %s\n", file, e->report ? "not a report of bench learn" : error.text);
        return EXIT_CONFIG;
    }
    label_of(e, file);
    e->seeds = (int)json_array_size(seeds);
    e->seed  = calloc((size_t)e->seeds, sizeof *e->seed);
    if (!e->seed)
        return EXIT_OSERR;
    for (int k = 0; k < e->seeds; k++) {
        const json_t *returns = js_at(json_array_get(seeds, (size_t)k), "returns");
        struct curve *c       = &e->seed[k];

        for (size_t i = 0; i < json_array_size(returns) && c->n < CURVE_MAX; i++)
            c->ret[c->n++] = js_num(json_array_get(returns, i), "");
    }
    median_curve(e);
    return EXIT_OK;
}

/* --- the table --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static json_t *with_median(double *v, int n)
{
    json_t *each = json_array();
    int     m    = 0;

    for (int k = 0; k < n; k++)
        json_array_append_new(each, js_real(v[k]));
    for (int k = 0; k < n; k++)
        if (!isnan(v[k]))
            v[m++] = v[k];
    qsort(v, (size_t)m, sizeof *v, by_value);

    double median = !m ? (double)NAN : m % 2 ? v[m / 2] : 0.5 * (v[m / 2 - 1] + v[m / 2]);

    return json_pack("{s:o, s:o}", "seeds", each, "median", js_real(median));
}

static json_t *row(const struct compared *e, const double *level, int levels)
{
    double *v      = calloc((size_t)e->seeds + 1, sizeof *v);
    int     window = js_at(e->report, "window") ? (int)js_int(e->report, "window") : 5;
    json_t *reach  = json_array(), *max, *last;

    for (int i = 0; v && i < levels; i++) {
        for (int k = 0; k < e->seeds; k++) {
            int trial = curve_first(&e->seed[k], level[i]);

            v[k] = trial ? trial : (double)INFINITY; /* never: later than any, so that half of them count as never */
        }
        json_t *r = with_median(v, e->seeds);

        json_object_set_new(r, "level", js_real(level[i]));
        json_array_append_new(reach, r);
    }
    for (int k = 0; v && k < e->seeds; k++)
        v[k] = e->seed[k].n ? curve_best(&e->seed[k], e->seed[k].n - 1) : (double)NAN;
    max = with_median(v, v ? e->seeds : 0);
    for (int k = 0; v && k < e->seeds; k++)
        v[k] = curve_last_mean(&e->seed[k], window);
    last = with_median(v, v ? e->seeds : 0);
    free(v);
    return json_pack("{s:s, s:o, s:o, s:o, s:i}", "label", e->label, "first_trial_ge", reach, "max", max, "last_mean",
                     last, "window", window);
}

static void print_values(const char *what, const json_t *v, const char *format)
{
    char text[32];

    printf("  %-18s", what);
    for (size_t k = 0; k <= json_array_size(js_at(v, "seeds")); k++) {
        bool   last = k == json_array_size(js_at(v, "seeds"));
        double x    = last ? js_num(v, "median") : js_num(json_array_get(js_at(v, "seeds"), k), "");

        snprintf(text, sizeof text, format, x);
        printf("%s %8s", last ? "   median" : "", isfinite(x) ? text : "-");
    }
    printf("\n");
}

static void print_row(const json_t *r)
{
    const json_t *reach = js_at(r, "first_trial_ge");
    char          what[48];

    printf("%s\n", js_str(r, "label", ""));
    for (size_t i = 0; i < json_array_size(reach); i++) {
        snprintf(what, sizeof what, "first trial >= %g", js_num(json_array_get(reach, i), "level"));
        print_values(what, json_array_get(reach, i), "%.3g");
    }
    print_values("max", js_at(r, "max"), "%.2f");
    snprintf(what, sizeof what, "mean of last %ld", js_int(r, "window"));
    print_values(what, js_at(r, "last_mean"), "%.2f");
}

/* Those of the first report: its keys first_trial_ge_X. */
static int levels_of(const json_t *report, double *level)
{
    const char *key;
    json_t     *v;
    int         n = 0;

    json_object_foreach(json_array_get(js_at(report, "seeds"), 0), key, v)
    {
        if (n < LEVELS_MAX && sscanf(key, "first_trial_ge_%lf", &level[n]) == 1)
            n++;
    }
    return n;
}

static int draw(const struct compared *e, int n, const double *level, int levels, const char *out, FILE *say)
{
    struct curve *c = calloc((size_t)n, sizeof *c);
    struct level  at[LEVELS_MAX];
    char          png[PATH_SIZE], why[700];

    if (!c)
        return EXIT_OSERR;
    for (int k = 0; k < n; k++)
        c[k] = e[k].median;
    for (int i = 0; i < levels; i++)
        at[i] = (struct level){ .value = level[i] };
    snprintf(png, sizeof png, "%s/learn-compare.png", out);

    int rc = plot_learning(png,
                           &(struct curve_plot){ .title           = "Medians over the seeds",
                                                 .note            = "lines: median over the seeds of the best so far",
                                                 .curve           = c,
                                                 .curves          = n,
                                                 .level           = at,
                                                 .levels          = levels,
                                                 .steps_per_trial = js_num(e[0].report, "steps_per_trial"),
                                                 .lines           = true,
                                                 .no_median       = true },
                           why, sizeof why);

    free(c);
    if (rc == 0)
        fprintf(say, "%s\n", png);
    else
        fprintf(stderr, "limber: %s\n", why);
    return rc == 0 ? EXIT_OK : EXIT_CANTCREATE;
}

int learn_compare(const char *const *file, int files, const char *out, bool json)
{
    struct compared *e = calloc((size_t)files + 1, sizeof *e);
    double           level[LEVELS_MAX];
    json_t          *rows = json_array();
    int              rc = EXIT_OK, levels = 0;

    if (files < 1) {
        fprintf(stderr, "limber bench learn: --compare: which reports?  learn-*.json\n");
        rc = EXIT_USAGE;
    }
    for (int k = 0; e && k < files && rc == EXIT_OK; k++) {
        rc = load(&e[k], file[k]);
        if (rc == EXIT_OK && k == 0)
            levels = levels_of(e[0].report, level);
        if (rc == EXIT_OK)
            json_array_append_new(rows, row(&e[k], level, levels));
    }
    if (rc == EXIT_OK && json) {
        json_dumpf(rows, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
        printf("\n");
    }
    for (size_t k = 0; rc == EXIT_OK && !json && k < json_array_size(rows); k++)
        print_row(json_array_get(rows, k));
    if (rc == EXIT_OK)
        rc = draw(e, files, level, levels, out, json ? stderr : stdout);
    for (int k = 0; e && k < files; k++) {
        free(e[k].seed);
        json_decref(e[k].report);
    }
    free(e);
    json_decref(rows);
    return rc;
}
