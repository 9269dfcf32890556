/* bench_learn_goals.c - goals.json: what a robot should reach, and whether it was. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"

static const char *const KINDS[] = { "max_by_trial", "window_mean", "worst_after", "mean_of_last" };
enum kind { MAX_BY_TRIAL, WINDOW_MEAN, WORST_AFTER, MEAN_OF_LAST, KIND_COUNT };

static int kind_of(const json_t *goal)
{
    for (int k = 0; k < KIND_COUNT; k++)
        if (!strcmp(js_str(goal, "kind", ""), KINDS[k]))
            return k;
    return -1;
}

/* --- reading --- */

__attribute__((format(printf, 3, 4))) static int bad(char *why, size_t n, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, n, format, args);
    va_end(args);
    return -1;
}

static int unknown_key(const json_t *map, const char *const *known, const char *file, const char *where, char *why,
                       size_t n)
{
    const char *key;
    json_t     *v;

    json_object_foreach((json_t *)map, key, v)
    {
        int i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return bad(why, n, "%s: %s%s: unknown key", file, where, key);
    }
    return 0;
}

static int check_goal(const json_t *goal, int i, const char *file, char *why, size_t n)
{
    static const char *const known[] = { "what", "kind", "trial", "window", "value", "seeds", "required", NULL };
    const char              *seeds   = js_str(goal, "seeds", "every");
    char                     where[32];

    snprintf(where, sizeof where, "goals[%d].", i);
    if (!json_is_object(goal))
        return bad(why, n, "%s: goals[%d]: expected an object", file, i);
    if (unknown_key(goal, known, file, where, why, n) < 0)
        return -1;
    if (kind_of(goal) < 0)
        return bad(why, n,
                   "%s: goals[%d].kind: value \"%s\": expected max_by_trial | window_mean | worst_after | mean_of_last",
                   file, i, js_str(goal, "kind", ""));
    if (!isfinite(js_num(goal, "value")))
        return bad(why, n, "%s: goals[%d].value: expected a return", file, i);
    if (js_int(goal, "trial") < 1)
        return bad(why, n, "%s: goals[%d].trial: expected the number of a planned trial, from 1", file, i);
    if (js_at(goal, "window") && js_int(goal, "window") < 1)
        return bad(why, n, "%s: goals[%d].window: expected a number of trials", file, i);
    if (strcmp(seeds, "every") != 0 && strcmp(seeds, "median") != 0)
        return bad(why, n, "%s: goals[%d].seeds: value \"%s\": expected every | median", file, i, seeds);
    return 0;
}

static int check_published(const json_t *list, const char *file, char *why, size_t n)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!isfinite(js_num(json_array_get(list, i), "value")) || !js_str(json_array_get(list, i), "what", NULL))
            return bad(why, n, "%s: published[%zu]: expected {\"what\": TEXT, \"value\": RETURN}", file, i);
    return 0;
}

static int check(const struct learn_goals *g, const char *file, char *why, size_t n)
{
    static const char *const known[] = { "window", "levels", "published", "goals", "steps_per_trial", "posture", NULL };
    const json_t            *list = js_at(g->doc, "goals"), *levels = js_at(g->doc, "levels");

    if (!json_is_object(g->doc))
        return bad(why, n, "%s: expected an object", file);
    if (unknown_key(g->doc, known, file, "", why, n) < 0)
        return -1;
    if (js_at(g->doc, "window") && js_int(g->doc, "window") < 1)
        return bad(why, n, "%s: window: expected a number of trials", file);
    if (json_array_size(levels) > LEVELS_MAX)
        return bad(why, n, "%s: levels: expected at most %d", file, LEVELS_MAX);
    for (size_t i = 0; i < json_array_size(levels); i++)
        if (!json_is_number(json_array_get(levels, i)))
            return bad(why, n, "%s: levels[%zu]: expected a return", file, i);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (check_goal(json_array_get(list, i), (int)i, file, why, n) < 0)
            return -1;
    if (js_at(g->doc, "posture") &&
        (!js_str(g->doc, "posture.observation", NULL) || !(js_num(g->doc, "posture.limit") > 0)))
        return bad(why, n, "%s: posture: expected {\"observation\": NAME, \"limit\": ANGLE}", file);
    return check_published(js_at(g->doc, "published"), file, why, n);
}

int goals_read(struct learn_goals *g, const json_t *doc, const char *file, char *why, size_t why_size)
{
    *g     = (struct learn_goals){ .window = 5 };
    g->doc = json_incref((json_t *)doc);
    if (check(g, file, why, why_size) < 0) {
        goals_free(g);
        return -1;
    }
    g->window = js_at(doc, "window") ? (int)js_int(doc, "window") : 5;
    for (size_t i = 0; i < json_array_size(js_at(doc, "levels")); i++)
        g->level[g->levels++] = json_number_value(json_array_get(js_at(doc, "levels"), i));
    g->steps_per_trial = js_at(doc, "steps_per_trial") ? js_num(doc, "steps_per_trial") : 0;
    snprintf(g->posture, sizeof g->posture, "%s", js_str(doc, "posture.observation", ""));
    g->posture_limit = js_num(doc, "posture.limit");
    return 0;
}

int goals_load(struct learn_goals *g, const char *config_file, const char *task, char *why, size_t why_size)
{
    char         file[PATH_SIZE];
    const char  *slash = strrchr(config_file, '/');
    json_error_t e;

    *g = (struct learn_goals){ .window = 5 };
    snprintf(file, sizeof file, "%.*sgoals.json", slash ? (int)(slash + 1 - config_file) : 0, config_file);
    if (access(file, F_OK) != 0)
        return 0;
    json_t *doc = json_load_file(file, JSON_REJECT_DUPLICATES, &e);

    if (!doc)
        return bad(why, why_size, "%s:%d: %s", file, e.line, e.text);
    bool    several = !js_at(doc, "goals") && !js_at(doc, "levels");
    json_t *mine    = several ? json_object_get(doc, task) : doc;
    int     rc      = mine ? goals_read(g, mine, file, why, why_size) : 0;

    json_decref(doc);
    return rc;
}

void goals_free(struct learn_goals *g)
{
    json_decref(g->doc);
    g->doc = NULL;
}

/* --- judging --- */

/* What one seed reached; NaN: cannot be said yet.  *open: more trials may change a miss. */
static double figure(const json_t *goal, int kind, int window, const struct curve *c, bool *open)
{
    int    trial = (int)js_int(goal, "trial"), until = c->n < trial ? c->n : trial;
    double worst = (double)INFINITY, best = (double)NAN;

    *open = c->n < trial;
    switch ((enum kind)kind) {
    case MAX_BY_TRIAL: return until ? curve_best(c, until - 1) : (double)NAN;
    case WINDOW_MEAN:
        for (int i = 0; i < until; i++)
            if (isfinite(curve_window(c, window, i)) && !(curve_window(c, window, i) <= best))
                best = curve_window(c, window, i);
        return best;
    case MEAN_OF_LAST: return c->n < trial ? (double)NAN : curve_window(c, window, trial - 1);
    case WORST_AFTER:
        *open = c->n <= trial;
        for (int i = trial; i < c->n; i++)
            worst = c->ret[i] < worst ? c->ret[i] : worst;
        return isfinite(worst) ? worst : (double)NAN;
    case KIND_COUNT: break;
    }
    return (double)NAN;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of those that are numbers. */
static double median(const double *v, int n)
{
    double sorted[LEARN_SEEDS_MAX];
    int    m = 0;

    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            sorted[m++] = v[i];
    qsort(sorted, (size_t)m, sizeof *sorted, by_value);
    return !m ? (double)NAN : m % 2 ? sorted[m / 2] : 0.5 * (sorted[m / 2 - 1] + sorted[m / 2]);
}

static json_t *judge(const struct learn_goals *g, const json_t *goal, const struct curve *c, int curves)
{
    int     kind = kind_of(goal), window = js_at(goal, "window") ? (int)js_int(goal, "window") : g->window;
    double  value       = js_num(goal, "value"), v[LEARN_SEEDS_MAX], middle;
    bool    median_only = !strcmp(js_str(goal, "seeds", "every"), "median"), undecided = false, missed = false;
    json_t *r = json_copy((json_t *)goal), *figures = json_array();

    for (int k = 0; k < curves; k++) {
        bool open;

        v[k] = figure(goal, kind, window, &c[k], &open);
        undecided |= open && !(v[k] >= value);
        missed |= !open && !(v[k] >= value);
        json_array_append_new(figures, js_real(v[k]));
    }
    middle = median(v, curves);
    if (median_only) {
        undecided = undecided && !(middle >= value);
        missed    = !undecided && !(middle >= value);
    }
    json_object_set_new(r, "figures", figures);
    json_object_set_new(r, "median", js_real(middle));
    json_object_set_new(r, "result", json_string(missed ? "missed" : undecided || !curves ? "open" : "met"));
    return r;
}

json_t *goals_judge(const struct learn_goals *g, const struct curve *c, int curves)
{
    json_t       *list  = json_array();
    const json_t *goals = js_at(g->doc, "goals");

    for (size_t i = 0; i < json_array_size(goals); i++)
        json_array_append_new(list, judge(g, json_array_get(goals, i), c, curves));
    return list;
}

void goals_print(FILE *f, const json_t *judged)
{
    for (size_t i = 0; i < json_array_size(judged); i++) {
        const json_t *g = json_array_get(judged, i), *figures = js_at(g, "figures");

        fprintf(f, "  %-7s %s%s (%s %.6g, %s):", js_str(g, "result", ""), js_str(g, "what", js_str(g, "kind", "")),
                json_is_false(js_at(g, "required")) ? " [wished]" : "", js_str(g, "kind", ""), js_num(g, "value"),
                !strcmp(js_str(g, "seeds", "every"), "median") ? "median" : "every seed");
        for (size_t k = 0; k < json_array_size(figures); k++)
            if (json_is_number(json_array_get(figures, k)))
                fprintf(f, " %.2f", json_number_value(json_array_get(figures, k)));
            else
                fprintf(f, " -");
        if (json_is_number(js_at(g, "median")))
            fprintf(f, "; median %.2f", js_num(g, "median"));
        fprintf(f, "\n");
    }
}
