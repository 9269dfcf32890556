/* cli_plot.c - learning curves drawn with cairo, and `limber plot`. */
#include "daemon/cli_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli.h"
#include "daemon/cli_draw.h"

static const struct colour DOTS = { 0.93, 0.53, 0.18 }, LEVEL = { 0.55, 0.65, 0.55 };

/* The frame of both kinds of picture; `labels`: room at the right, pixels. */
static struct pane frame(cairo_t *c, double labels)
{
    return (struct pane){
        .c = c, .left = 90, .right = PLOT_WIDTH - labels, .top = 122, .bottom = PLOT_HEIGHT - 78, .size = 15
    };
}

static void set_ranges(struct pane *p, const struct curve_plot *l)
{
    const struct curve *c  = l->curve;
    double              lo = (double)INFINITY, hi = -(double)INFINITY;
    int                 longest = 1;

    for (int k = 0; k < l->curves; k++) {
        for (int i = -1; i < c[k].n; i++)
            range_widen(i < 0 ? c[k].random : c[k].ret[i], &lo, &hi);
        longest = c[k].n > longest ? c[k].n : longest;
    }
    if (!(lo <= hi)) /* levels alone are no picture */
        lo = 0, hi = 1;
    for (int i = 0; i < l->levels; i++)
        range_widen(l->level[i].value, &lo, &hi);
    range_settle(&lo, &hi, 0.04);
    p->y0 = lo;
    p->y1 = hi;
    p->x0 = -0.02 * longest;
    p->x1 = longest * 1.02;
}

/* "50k" */
static void short_number(char *out, size_t n, double v)
{
    if (v >= 1e6)
        snprintf(out, n, "%.4gM", v / 1e6);
    else if (v >= 1e3)
        snprintf(out, n, "%.4gk", v / 1e3);
    else
        snprintf(out, n, "%.4g", v);
}

static void axes(const struct pane *p, double steps_per_trial)
{
    double xstep = p->x1 <= 26 ? 1 : fmax(1, nice_step(p->x1 - p->x0, 12));
    char   label[64];

    draw_y_axis(p, 8);
    draw_x_axis(p, xstep);
    if (steps_per_trial > 0) {
        snprintf(label, sizeof label, "%.6g environment steps a trial", steps_per_trial);
        draw_text(p->c, p->right, p->bottom + 68, 1, 13, false, label);
        for (double x = 2 * xstep; x <= p->x1; x += 2 * xstep) {
            short_number(label, sizeof label, x * steps_per_trial);
            draw_text(p->c, pane_x(p, x), p->bottom + 40, 0.5, 11, false, label);
        }
    }
    draw_ink(p->c, INK, 1);
    draw_text(p->c, 0.5 * (p->left + p->right), p->bottom + 62, 0.5, 16, false,
              steps_per_trial > 0 ? "trial (0: random), environment steps" : "trial (0: random)");
    draw_text(p->c, p->left - 58, p->top - 18, 0, 16, false, "return");
}

static void level_lines(const struct pane *p, const struct level *level, int n)
{
    char label[120];

    draw_dashes(p->c, true);
    cairo_set_line_width(p->c, 1.2);
    draw_ink(p->c, LEVEL, 1);
    for (int i = 0; i < n; i++)
        draw_line(p->c, p->left, pane_y(p, level[i].value), p->right, pane_y(p, level[i].value));
    draw_dashes(p->c, false);
    for (int i = 0; i < n; i++) {
        double y = pane_y(p, level[i].value) - 4;

        snprintf(label, sizeof label, "%s%s%.6g", level[i].what ? level[i].what : "", level[i].what ? ": " : "",
                 level[i].value);
        if (level[i].what)
            draw_text(p->c, p->right - 8, y, 1, 12, false, label);
        else
            draw_text(p->c, p->left + 30 + 40 * i, y, 0, 13, false, label); /* beside each other: they may be close */
    }
}

/* The running maximum as a staircase; curve_best at every trial. */
static void staircase(const struct pane *p, const struct curve *c)
{
    double before = (double)NAN;

    cairo_new_path(p->c);
    for (int i = 0; i < c->n; i++) {
        double best = isfinite(c->ret[i]) && !(c->ret[i] <= before) ? c->ret[i] : before;

        if (isfinite(before))
            cairo_line_to(p->c, pane_x(p, i + 1), pane_y(p, before));
        if (isfinite(best))
            (isfinite(before) ? cairo_line_to : cairo_move_to)(p->c, pane_x(p, i + 1), pane_y(p, best));
        before = best;
    }
    cairo_stroke(p->c);
}

static void one_curve(const struct pane *p, const struct curve *c)
{
    char label[64];

    draw_ink(p->c, MAIN, 1);
    cairo_set_line_width(p->c, 2.6);
    staircase(p, c);
    draw_ink(p->c, DOTS, 1);
    draw_dot(p, 0, c->random, 5.5, true);
    for (int i = 0; i < c->n; i++)
        draw_dot(p, i + 1, c->ret[i], c->n > 200 ? 2.5 : 5, false);
    if (!c->n)
        return;
    snprintf(label, sizeof label, "best so far %.1f", curve_best(c, c->n - 1));
    draw_ink(p->c, MAIN, 1);
    draw_text(p->c, p->right + 12, pane_y(p, curve_best(c, c->n - 1)) + 5, 0, 15, true, label);

    double gap = pane_y(p, c->ret[c->n - 1]) - pane_y(p, curve_best(c, c->n - 1));

    snprintf(label, sizeof label, "this trial %.1f", c->ret[c->n - 1]);
    draw_ink(p->c, DOTS, 1);
    draw_text(p->c, p->right + 12, pane_y(p, c->ret[c->n - 1]) + 5 + (gap < 22 ? 22 - gap : 0), 0, 15, true, label);
}

/* From point to point; a gap where there is no number. */
static void polyline(const struct pane *p, const struct curve *c)
{
    bool down = false;

    cairo_new_path(p->c);
    for (int i = 0; i < c->n; i++) {
        if (isfinite(c->ret[i]))
            (down ? cairo_line_to : cairo_move_to)(p->c, pane_x(p, i + 1), pane_y(p, c->ret[i]));
        down = isfinite(c->ret[i]);
    }
    cairo_stroke(p->c);
}

static double median_at(const struct curve_plot *l, int i)
{
    return l->lines ? curve_median(l->curve, l->curves, i) : curve_median_best(l->curve, l->curves, i);
}

static void median_line(const struct pane *p, const struct curve_plot *l, int longest)
{
    char   label[64];
    double last = (double)NAN;

    draw_ink(p->c, INK, 1);
    cairo_set_line_width(p->c, 3.2);
    cairo_new_path(p->c);
    for (int i = 0; i < longest; i++)
        if (isfinite(median_at(l, i)))
            cairo_line_to(p->c, pane_x(p, i + 1), pane_y(p, last = median_at(l, i)));
    cairo_stroke(p->c);
    if (isfinite(last)) {
        snprintf(label, sizeof label, "median %.1f", last);
        draw_text(p->c, p->right + 12, pane_y(p, last) + 5, 0, 15, true, label);
    }
}

static void legend(const struct pane *p, const struct curve_plot *l)
{
    int  n = l->curves < 16 ? l->curves : 16;
    char label[80];

    for (int k = 0; k < n; k++) {
        const struct curve *c    = &l->curve[k];
        double              last = !c->n ? (double)NAN : l->lines ? c->ret[c->n - 1] : curve_best(c, c->n - 1);

        draw_ink(p->c, draw_pale(k), 1);
        if (isfinite(last))
            snprintf(label, sizeof label, "%s  %.1f", c->label, last);
        else
            snprintf(label, sizeof label, "%s", c->label);
        draw_text(p->c, p->right + 12, p->bottom - 20.0 * (n - 1 - k) - 12, 0, 13, false, label);
    }
}

static void many_curves(const struct pane *p, const struct curve_plot *l)
{
    int longest = 0;

    for (int k = 0; k < l->curves; k++) {
        const struct curve *c = &l->curve[k];

        longest = c->n > longest ? c->n : longest;
        cairo_set_line_width(p->c, l->no_median ? 2.4 : 1.4);
        if (l->lines) {
            draw_ink(p->c, draw_pale(k), 0.9);
            polyline(p, c);
            continue;
        }
        draw_ink(p->c, draw_pale(k), 0.75);
        draw_dot(p, 0, c->random, 4, true);
        for (int i = 0; i < c->n; i++)
            draw_dot(p, i + 1, c->ret[i], c->n > 60 ? 1.8 : 2.6, false);
        draw_ink(p->c, draw_pale(k), 0.9);
        cairo_set_line_width(p->c, 1.4);
        staircase(p, c);
    }
    if (!l->no_median)
        median_line(p, l, longest);
    legend(p, l);
}

int plot_learning(const char *png, const struct curve_plot *l, char *why, size_t why_size)
{
    struct pane p = frame(draw_begin(PLOT_HEIGHT, l->title, l->note), 190);

    set_ranges(&p, l);
    axes(&p, l->steps_per_trial);
    level_lines(&p, l->level, l->levels);
    if (l->curves == 1 && !l->lines)
        one_curve(&p, l->curve);
    else
        many_curves(&p, l);
    return draw_end(p.c, png, why, why_size);
}

int plot_curves(const char *png, const char *title, const struct curve *c, int curves, const double *levels,
                int nlevels, char *why, size_t why_size)
{
    struct level      level[16];
    struct curve_plot l = { .title = title, .curve = c, .curves = curves, .level = level };

    l.note = curves == 1 ? "dots: return of each trial; line: best so far; ring: the random trial"
                         : "thin lines: best so far of each seed; dots: returns; thick line: median over the seeds";
    for (; l.levels < nlevels && l.levels < 16; l.levels++)
        level[l.levels] = (struct level){ .value = levels[l.levels] };
    return plot_learning(png, &l, why, why_size);
}

/* ---- lines over logarithmic axes ---- */

/* What is too small is drawn at the bottom. */
static double held(const struct line_plot *l, double y)
{
    return y > l->y_min ? y : l->y_min;
}

static void log_ranges(struct pane *p, const struct line_plot *l)
{
    p->x0 = p->y0 = (double)INFINITY;
    p->x1 = p->y1 = -(double)INFINITY;
    for (int k = 0; k < l->lines; k++)
        for (int i = 0; i < l->line[k].n; i++) {
            range_widen(log10(l->line[k].x[i]), &p->x0, &p->x1);
            range_widen(log10(held(l, l->line[k].y[i])), &p->y0, &p->y1);
        }
    if (!(p->x0 <= p->x1)) /* nothing to draw */
        p->x0 = p->y0 = 0, p->x1 = p->y1 = 1;
    p->x0 -= 0.08;
    p->x1 += 0.08;
    p->y0 -= 0.08;
    p->y1 += 0.08;
    p->log_y = true;
}

/* Marks at 1, 2 and 5 times the powers of ten. */
static void log_axes(const struct pane *p, const struct line_plot *l)
{
    static const double times[] = { 1, 2, 5 };
    char                label[32];

    draw_y_axis(p, 36); /* enough for twelve powers */
    for (int e = (int)floor(p->x0); e <= (int)p->x1 + 1; e++)
        for (int k = 0; k < 3; k++) {
            double v = times[k] * pow(10, e);

            if (log10(v) < p->x0 || log10(v) > p->x1)
                continue;
            short_number(label, sizeof label, v);
            draw_x_mark(p, log10(v), label);
        }
    draw_ink(p->c, INK, 1);
    draw_text(p->c, 0.5 * (p->left + p->right), p->bottom + 52, 0.5, 16, false, l->x);
    draw_text(p->c, p->left - 58, p->top - 18, 0, 16, false, l->y);
}

static void line_labels(const struct pane *p, const struct line_plot *l)
{
    struct end_label label[64];
    int              n = 0;

    for (int k = 0; k < l->lines && n < 64; k++) {
        const struct line *e = &l->line[k];

        if (e->n)
            label[n++] = (struct end_label){
                .text = e->label, .colour = draw_pale(k), .bold = true, .y = held(l, e->y[e->n - 1])
            };
    }
    draw_end_labels(p, label, n, 15);
}

int plot_lines(const char *png, const struct line_plot *l, char *why, size_t why_size)
{
    struct pane p = frame(draw_begin(PLOT_HEIGHT, l->title, l->note), 130);

    log_ranges(&p, l);
    log_axes(&p, l);
    for (int k = 0; k < l->lines; k++) {
        const struct line *e = &l->line[k];

        draw_ink(p.c, draw_pale(k), 1);
        cairo_set_line_width(p.c, 2.4);
        for (int i = 0; i < e->n; i++)
            if (isfinite(e->y[i]))
                cairo_line_to(p.c, pane_x(&p, log10(e->x[i])), pane_y(&p, held(l, e->y[i])));
        cairo_stroke(p.c);
        for (int i = 0; i < e->n; i++)
            if (isfinite(e->y[i]))
                draw_dot(&p, log10(e->x[i]), held(l, e->y[i]), 3.5, false);
    }
    line_labels(&p, l);
    return draw_end(p.c, png, why, why_size);
}

int verb_plot(int argc, char **argv)
{
    const char        *store = NULL, *out = NULL;
    const struct flag  flags[] = { { .name = "store", .value = "DB", .what = "experience.db of a run", .text = &store },
                                   { .name = "out", .value = "PNG", .what = "picture to write", .text = &out },
                                   { 0 } };
    const struct usage usage   = { .line  = "plot --store DB --out PNG",
                                   .text  = "Draws the learning curve of a store; the daemon may be running.",
                                   .flags = flags };
    struct curve      *c       = calloc(1, sizeof *c);
    char               why[700], title[600];
    int                n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc < 0 && (!store || !out)) {
        fprintf(stderr, "limber plot: --%s is missing; usage: limber %s\n", store ? "out" : "store", usage.line);
        rc = EXIT_USAGE;
    }
    if (rc < 0 && (!c || curve_load(store, c, why, sizeof why) != 0)) {
        fprintf(stderr, "limber: %s\n", c ? why : "no memory");
        rc = EXIT_REFUSED;
    }
    if (rc < 0) {
        snprintf(title, sizeof title, "Learning curve: %d trial%s", c->n, c->n == 1 ? "" : "s");
        rc = plot_curves(out, title, c, 1, NULL, 0, why, sizeof why) == 0 ? EXIT_OK : EXIT_CANTCREATE;
        if (rc == EXIT_OK)
            printf("%s\n", out);
        else
            fprintf(stderr, "limber: %s\n", why);
    }
    free(c);
    return rc;
}
