/* bench_learn_report.c - what a bench leaves: one JSON document and two pictures. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench_learn.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/config_lines.h"

/* --- robot.yaml as JSON --- */

static json_t *scalar_json(const struct node *n)
{
    char  *end;
    double v = strtod(n->text, &end);

    if (!n->quoted && *n->text && !*end && isfinite(v))
        return v == floor(v) && fabs(v) < 1e15 ? json_integer((json_int_t)v) : json_real(v);
    if (!n->quoted && (!strcmp(n->text, "true") || !strcmp(n->text, "false")))
        return json_boolean(n->text[0] == 't');
    return json_string(n->text);
}

static json_t *node_json(const struct node *n)
{
    if (n->kind == NODE_SCALAR)
        return scalar_json(n);
    json_t *v = n->kind == NODE_MAP ? json_object() : json_array();

    for (const struct node *c = n->child; c; c = c->next)
        if (n->kind == NODE_MAP)
            json_object_set_new(v, c->key, node_json(c));
        else
            json_array_append_new(v, node_json(c));
    return v;
}

/* What lies in the folder of `file` is called as from there: a report is read elsewhere than it was made. */
static const char *from_folder(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    size_t      n     = slash ? (size_t)(slash + 1 - file) : 0;

    return strncmp(file, path, n) == 0 ? path + n : path;
}

static json_t *settings_json(const struct learn *l)
{
    char            why[400];
    struct document d     = { .file = l->config_file, .why = why, .why_size = sizeof why };
    char           *text  = strdup(l->text[0]);
    json_t         *found = NULL;

    if (text && document_parse(&d, text, strlen(text)) == 0 && d.root)
        found = node_json(d.root);
    document_free(&d);
    if (found) {
        const char *model = js_str(found, "sim.model", "");

        json_object_set_new(found, "task", json_string(from_folder(l->config_file, l->robot.task_file)));
        json_object_set_new(json_object_get(found, "sim"), "model", json_string(from_folder(l->robot.file, model)));
    }
    return found ? found : json_null();
}

/* --- the report --- */

static int curves_of(const struct learn *l, struct curve *out)
{
    int n = 0;

    for (long i = 0; i < l->seeds; i++)
        if (l->seed[i].report)
            out[n++] = *l->seed[i].curve;
    return n;
}

static void add_posture(json_t *r, const struct learn *l)
{
    int on_feet = 0, flipped = 0;

    if (!l->goals.posture[0])
        return;
    for (long i = 0; i < l->seeds; i++) {
        const char *verdict = js_str(l->seed[i].report, "posture.verdict", "");

        on_feet += !strcmp(verdict, "on_feet");
        flipped += !strcmp(verdict, "flipped");
    }
    json_object_set_new(r, "posture",
                        json_pack("{s:s, s:f, s:i, s:i}", "observation", l->goals.posture, "limit",
                                  l->goals.posture_limit, "on_feet", on_feet, "flipped", flipped));
}

json_t *learn_report(const struct learn *l)
{
    struct curve *c   = calloc((size_t)l->seeds, sizeof *c);
    json_t       *set = json_array(), *seeds = json_array(), *r;
    int           n = c ? curves_of(l, c) : 0;

    for (int i = 0; i < l->set.n; i++)
        json_array_append_new(set, json_string(l->set.word[i]));
    for (long i = 0; i < l->seeds; i++)
        if (l->seed[i].report)
            json_array_append(seeds, l->seed[i].report);
    r = json_pack("{s:o, s:s, s:s, s:s?, s:s, s:o, s:s, s:s, s:I, s:I, s:f, s:i, s:o?, s:o, s:o, s:o}", "machine",
                  machine_json(l->isa[0] ? l->isa : NULL), "mode", l->mode, "task", l->task, "name", l->name, "config",
                  l->config_file, "set", set, "planner", l->robot.planner.name, "robot", l->robot.robot, "jobs",
                  (json_int_t)l->jobs, "trials", (json_int_t)l->trials, "steps_per_trial",
                  (double)l->robot.trials.steps, "window", l->goals.window, "commit",
                  l->commit[0] ? json_string(l->commit) : NULL, "seeds", seeds, "goals", goals_judge(&l->goals, c, n),
                  "settings", settings_json(l));
    if (l->jobs > 1)
        json_object_set_new(r, "note",
                            json_string("several seeds shared the machine: times are of no meaning, returns are"));
    add_posture(r, l);
    free(c);
    return r;
}

/* --- pictures --- */

static int levels_of(const struct learn *l, struct level *level, int room)
{
    const json_t *published = js_at(l->goals.doc, "published");
    int           n         = 0;

    for (int i = 0; i < l->goals.levels && n < room; i++)
        level[n++] = (struct level){ .value = l->goals.level[i] };
    for (size_t i = 0; i < json_array_size(published) && n < room; i++)
        level[n++] = (struct level){ .value = js_num(json_array_get(published, i), "value"),
                                     .what  = js_str(json_array_get(published, i), "what", "published") };
    return n;
}

static int draw(const struct learn *l, const char *suffix, const struct curve_plot *p)
{
    char png[PATH_SIZE + 32], why[700];

    snprintf(png, sizeof png, "%s%s.png", l->base, suffix);
    if (plot_learning(png, p, why, sizeof why) == 0) {
        fprintf(l->say, "%s\n", png);
        return EXIT_OK;
    }
    fprintf(stderr, "limber: %s\n", why);
    return EXIT_CANTCREATE;
}

static int draw_all(const struct learn *l)
{
    struct curve *c = calloc((size_t)l->seeds, sizeof *c);
    struct level  level[24];
    char          title[300], note[200];
    int           rc, n = c ? curves_of(l, c) : 0;

    snprintf(title, sizeof title, "%s%s%s, planner %s, %d seed%s, %s", l->cartpole ? "Cart-pole" : l->task,
             l->name ? " " : "", l->name ? l->name : "", l->robot.planner.name, n, n == 1 ? "" : "s", l->mode);

    struct curve_plot p = {
        .title           = title,
        .note            = n == 1 ? "dots: return of each trial; line: best so far; ring: the random trial"
                                  : "thin lines: best so far of each seed; dots: returns; thick line: median over the seeds",
        .curve           = c,
        .curves          = n,
        .level           = level,
        .levels          = levels_of(l, level, 24),
        .steps_per_trial = (double)l->robot.trials.steps
    };

    rc = n ? draw(l, "", &p) : EXIT_OK;
    for (int k = 0; k < n; k++) {
        struct curve *whole = &c[k], before = *whole;

        for (int i = 0; i < whole->n; i++)
            whole->ret[i] = curve_window(&before, l->goals.window, i);
        whole->random = (double)NAN;
    }
    snprintf(note, sizeof note,
             "thin lines: mean of the last %d trials of each seed; thick line: median over the seeds", l->goals.window);
    p.note  = note;
    p.lines = true;
    if (n && !l->cartpole && rc == EXIT_OK)
        rc = draw(l, "-window", &p);
    free(c);
    return rc;
}

int learn_write(const struct learn *l, bool pictures)
{
    char    path[PATH_SIZE + 32];
    json_t *r = learn_report(l);

    snprintf(path, sizeof path, "%s.json", l->base);
    int bad = json_dump_file(r, path, JSON_INDENT(2) | JSON_REAL_PRECISION(8));

    json_decref(r);
    if (bad) {
        fprintf(stderr, "limber: cannot write %s: %s\n", path, strerror(errno));
        return EXIT_CANTCREATE;
    }
    if (!pictures)
        return EXIT_OK;
    fprintf(l->say, "%s\n", path);
    return draw_all(l);
}
