/* cli_plot.c - learning curves drawn with cairo, and `limber plot`. */
#include "daemon/cli_plot.h"

#include <cairo/cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli.h"

struct colour {
    double r, g, b;
};

static const struct colour INK = { 0.13, 0.15, 0.18 }, SOFT = { 0.42, 0.45, 0.50 }, GRID = { 0.90, 0.91, 0.92 },
                           MAIN = { 0.05, 0.38, 0.67 }, DOTS = { 0.93, 0.53, 0.18 }, LEVEL = { 0.55, 0.65, 0.55 };

/* One colour per curve where there are several; recognisable to most eyes, then again from the start. */
static const struct colour SERIES[] = { { 0.30, 0.60, 0.80 }, { 0.85, 0.55, 0.25 }, { 0.35, 0.65, 0.45 },
                                        { 0.75, 0.45, 0.60 }, { 0.55, 0.50, 0.75 }, { 0.60, 0.55, 0.35 },
                                        { 0.45, 0.65, 0.70 }, { 0.75, 0.40, 0.40 } };

struct plot {
    cairo_t *c;
    double   left, right, top, bottom; /* frame, pixels */
    double   x0, x1, y0, y1;           /* what the frame shows */
};

static double px(const struct plot *p, double x)
{
    return p->left + (x - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

static double py(const struct plot *p, double y)
{
    return p->bottom - (y - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

static void ink(const struct plot *p, struct colour k, double alpha)
{
    cairo_set_source_rgba(p->c, k.r, k.g, k.b, alpha);
}

/* align: 0 left, 0.5 centre, 1 right of x. */
static double text(const struct plot *p, double x, double y, double align, double size, bool bold, const char *s)
{
    cairo_text_extents_t e;

    cairo_select_font_face(p->c, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(p->c, size);
    cairo_text_extents(p->c, s, &e);
    cairo_move_to(p->c, x - align * e.x_advance, y);
    cairo_show_text(p->c, s);
    return e.x_advance;
}

/* 1, 2 or 5 times a power of ten, so that about `count` steps fill the range. */
static double nice_step(double range, int count)
{
    double raw = range / count, ten = pow(10, floor(log10(raw))), m = raw / ten;

    return ten * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void set_ranges(struct plot *p, const struct curve_plot *l)
{
    const struct curve *c = l->curve;
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    int    longest = 1;

    for (int k = 0; k < l->curves; k++) {
        for (int i = -1; i < c[k].n; i++) {
            double y = i < 0 ? c[k].random : c[k].ret[i];

            if (isfinite(y)) {
                lo = y < lo ? y : lo;
                hi = y > hi ? y : hi;
            }
        }
        longest = c[k].n > longest ? c[k].n : longest;
    }
    if (!(lo <= hi)) {
        lo = 0;
        hi = 1;
    }
    for (int i = 0; i < l->levels; i++) {
        lo = l->level[i].value < lo ? l->level[i].value : lo;
        hi = l->level[i].value > hi ? l->level[i].value : hi;
    }
    if (hi - lo < 1e-9 * (1 + fabs(hi))) {
        lo -= 1;
        hi += 1;
    }
    p->y0 = lo - 0.04 * (hi - lo);
    p->y1 = hi + 0.04 * (hi - lo);
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

static void axes(const struct plot *p, double steps_per_trial)
{
    double ystep = nice_step(p->y1 - p->y0, 8), xstep = p->x1 <= 26 ? 1 : nice_step(p->x1 - p->x0, 12);
    char   label[64];

    if (xstep < 1)
        xstep = 1;
    cairo_set_line_width(p->c, 1);
    for (double y = ystep * ceil(p->y0 / ystep - 1e-9); y <= p->y1 + 1e-9 * ystep; y += ystep) {
        ink(p, GRID, 1);
        cairo_move_to(p->c, p->left, floor(py(p, y)) + 0.5);
        cairo_line_to(p->c, p->right, floor(py(p, y)) + 0.5);
        cairo_stroke(p->c);
        ink(p, SOFT, 1);
        snprintf(label, sizeof label, "%.6g", fabs(y) < 1e-9 * ystep ? 0.0 : y);
        text(p, p->left - 10, py(p, y) + 5, 1, 15, false, label);
    }
    for (double x = 0; x <= p->x1; x += xstep) {
        ink(p, SOFT, 1);
        cairo_move_to(p->c, floor(px(p, x)) + 0.5, p->bottom);
        cairo_line_to(p->c, floor(px(p, x)) + 0.5, p->bottom + 6);
        cairo_stroke(p->c);
        snprintf(label, sizeof label, "%.0f", x);
        text(p, px(p, x), p->bottom + 24, 0.5, 15, false, label);
    }
    if (steps_per_trial > 0) {
        snprintf(label, sizeof label, "%.6g environment steps a trial", steps_per_trial);
        text(p, p->right, p->bottom + 68, 1, 13, false, label);
        for (double x = 2 * xstep; x <= p->x1; x += 2 * xstep) {
            short_number(label, sizeof label, x * steps_per_trial);
            text(p, px(p, x), p->bottom + 40, 0.5, 11, false, label);
        }
    }
    ink(p, SOFT, 1);
    cairo_move_to(p->c, p->left, floor(p->bottom) + 0.5);
    cairo_line_to(p->c, p->right, floor(p->bottom) + 0.5);
    cairo_stroke(p->c);
    ink(p, INK, 1);
    text(p, 0.5 * (p->left + p->right), p->bottom + 62, 0.5, 16, false,
         steps_per_trial > 0 ? "trial (0: random), environment steps" : "trial (0: random)");
    text(p, p->left - 58, p->top - 18, 0, 16, false, "return");
}

static void level_lines(const struct plot *p, const struct level *level, int n)
{
    const double dash[] = { 5, 5 };
    char         label[120];

    cairo_set_dash(p->c, dash, 2, 0);
    cairo_set_line_width(p->c, 1.2);
    ink(p, LEVEL, 1);
    for (int i = 0; i < n; i++) {
        cairo_move_to(p->c, p->left, py(p, level[i].value));
        cairo_line_to(p->c, p->right, py(p, level[i].value));
    }
    cairo_stroke(p->c);
    cairo_set_dash(p->c, NULL, 0, 0);
    for (int i = 0; i < n; i++) {
        double y = py(p, level[i].value) - 4;

        snprintf(label, sizeof label, "%s%s%.6g", level[i].what ? level[i].what : "", level[i].what ? ": " : "",
                 level[i].value);
        if (level[i].what)
            text(p, p->right - 8, y, 1, 12, false, label);
        else
            text(p, p->left + 30 + 40 * i, y, 0, 13, false, label); /* beside each other: they may be close */
    }
}

/* The running maximum as a staircase; curve_best at every trial. */
static void staircase(const struct plot *p, const struct curve *c)
{
    double before = (double)NAN;

    cairo_new_path(p->c);
    for (int i = 0; i < c->n; i++) {
        double best = isfinite(c->ret[i]) && !(c->ret[i] <= before) ? c->ret[i] : before;

        if (isfinite(before))
            cairo_line_to(p->c, px(p, i + 1), py(p, before));
        if (isfinite(best))
            (isfinite(before) ? cairo_line_to : cairo_move_to)(p->c, px(p, i + 1), py(p, best));
        before = best;
    }
    cairo_stroke(p->c);
}

static void dot(const struct plot *p, double x, double y, double radius, bool hollow)
{
    if (!isfinite(y))
        return;
    cairo_new_path(p->c); /* text leaves a current point, which an arc would be joined to */
    cairo_arc(p->c, px(p, x), py(p, y), radius, 0, 6.283185307179586);
    if (hollow) {
        cairo_set_line_width(p->c, 2);
        cairo_stroke(p->c);
    } else {
        cairo_fill(p->c);
    }
}

static void one_curve(const struct plot *p, const struct curve *c)
{
    char label[64];

    ink(p, MAIN, 1);
    cairo_set_line_width(p->c, 2.6);
    staircase(p, c);
    ink(p, DOTS, 1);
    dot(p, 0, c->random, 5.5, true);
    for (int i = 0; i < c->n; i++)
        dot(p, i + 1, c->ret[i], c->n > 200 ? 2.5 : 5, false);
    if (!c->n)
        return;
    snprintf(label, sizeof label, "best so far %.1f", curve_best(c, c->n - 1));
    ink(p, MAIN, 1);
    text(p, p->right + 12, py(p, curve_best(c, c->n - 1)) + 5, 0, 15, true, label);

    double gap = py(p, c->ret[c->n - 1]) - py(p, curve_best(c, c->n - 1));

    snprintf(label, sizeof label, "this trial %.1f", c->ret[c->n - 1]);
    ink(p, DOTS, 1);
    text(p, p->right + 12, py(p, c->ret[c->n - 1]) + 5 + (gap < 22 ? 22 - gap : 0), 0, 15, true, label);
}

/* From point to point; a gap where there is no number. */
static void polyline(const struct plot *p, const struct curve *c)
{
    bool down = false;

    cairo_new_path(p->c);
    for (int i = 0; i < c->n; i++) {
        if (isfinite(c->ret[i]))
            (down ? cairo_line_to : cairo_move_to)(p->c, px(p, i + 1), py(p, c->ret[i]));
        down = isfinite(c->ret[i]);
    }
    cairo_stroke(p->c);
}

static double median_at(const struct curve_plot *l, int i)
{
    return l->lines ? curve_median(l->curve, l->curves, i) : curve_median_best(l->curve, l->curves, i);
}

static void median_line(const struct plot *p, const struct curve_plot *l, int longest)
{
    char   label[64];
    double last = (double)NAN;

    ink(p, INK, 1);
    cairo_set_line_width(p->c, 3.2);
    cairo_new_path(p->c);
    for (int i = 0; i < longest; i++)
        if (isfinite(median_at(l, i)))
            cairo_line_to(p->c, px(p, i + 1), py(p, last = median_at(l, i)));
    cairo_stroke(p->c);
    if (isfinite(last)) {
        snprintf(label, sizeof label, "median %.1f", last);
        text(p, p->right + 12, py(p, last) + 5, 0, 15, true, label);
    }
}

static void legend(const struct plot *p, const struct curve_plot *l)
{
    int  n = l->curves < 16 ? l->curves : 16, colours = (int)(sizeof SERIES / sizeof *SERIES);
    char label[80];

    for (int k = 0; k < n; k++) {
        const struct curve *c    = &l->curve[k];
        double              last = !c->n ? (double)NAN : l->lines ? c->ret[c->n - 1] : curve_best(c, c->n - 1);

        ink(p, SERIES[k % colours], 1);
        if (isfinite(last))
            snprintf(label, sizeof label, "%s  %.1f", c->label, last);
        else
            snprintf(label, sizeof label, "%s", c->label);
        text(p, p->right + 12, p->bottom - 20.0 * (n - 1 - k) - 12, 0, 13, false, label);
    }
}

static void many_curves(const struct plot *p, const struct curve_plot *l)
{
    int longest = 0, colours = (int)(sizeof SERIES / sizeof *SERIES);

    for (int k = 0; k < l->curves; k++) {
        const struct curve *c = &l->curve[k];

        longest = c->n > longest ? c->n : longest;
        cairo_set_line_width(p->c, l->no_median ? 2.4 : 1.4);
        if (l->lines) {
            ink(p, SERIES[k % colours], 0.9);
            polyline(p, c);
            continue;
        }
        ink(p, SERIES[k % colours], 0.75);
        dot(p, 0, c->random, 4, true);
        for (int i = 0; i < c->n; i++)
            dot(p, i + 1, c->ret[i], c->n > 60 ? 1.8 : 2.6, false);
        ink(p, SERIES[k % colours], 0.9);
        cairo_set_line_width(p->c, 1.4);
        staircase(p, c);
    }
    if (!l->no_median)
        median_line(p, l, longest);
    legend(p, l);
}

int plot_learning(const char *png, const struct curve_plot *l, char *why, size_t why_size)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, PLOT_WIDTH, PLOT_HEIGHT);
    struct plot      p     = {
                 .c = cairo_create(image), .left = 90, .right = PLOT_WIDTH - 190, .top = 122, .bottom = PLOT_HEIGHT - 78
    };

    cairo_set_source_rgb(p.c, 1, 1, 1);
    cairo_paint(p.c);
    cairo_set_line_join(p.c, CAIRO_LINE_JOIN_ROUND);
    set_ranges(&p, l);
    axes(&p, l->steps_per_trial);
    level_lines(&p, l->level, l->levels);
    if (l->curves == 1 && !l->lines)
        one_curve(&p, l->curve);
    else
        many_curves(&p, l);
    ink(&p, INK, 1);
    text(&p, 32, 42, 0, 22, true, l->title);
    ink(&p, SOFT, 1);
    text(&p, 32, 66, 0, 15, false, l->note);

    cairo_status_t status = cairo_surface_write_to_png(image, png);

    cairo_destroy(p.c);
    cairo_surface_destroy(image);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    snprintf(why, why_size, "cannot write %s: %s", png, cairo_status_to_string(status));
    return -1;
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

static void widen(double v, double *lo, double *hi)
{
    if (isfinite(v)) {
        *lo = v < *lo ? v : *lo;
        *hi = v > *hi ? v : *hi;
    }
}

static double log_y(const struct line_plot *l, double y)
{
    return log10(y > l->y_min ? y : l->y_min);
}

static void log_ranges(struct plot *p, const struct line_plot *l)
{
    p->x0 = p->y0 = (double)INFINITY;
    p->x1 = p->y1 = -(double)INFINITY;
    for (int k = 0; k < l->lines; k++)
        for (int i = 0; i < l->line[k].n; i++) {
            widen(log10(l->line[k].x[i]), &p->x0, &p->x1);
            widen(log_y(l, l->line[k].y[i]), &p->y0, &p->y1);
        }
    if (!(p->x0 <= p->x1)) /* nothing to draw */
        p->x0 = p->y0 = 0, p->x1 = p->y1 = 1;
    p->x0 -= 0.08;
    p->x1 += 0.08;
    p->y0 -= 0.08;
    p->y1 += 0.08;
}

/* A line and a number at 1, 2 and 5 times the powers of ten. */
static void log_axes(const struct plot *p, const struct line_plot *l)
{
    static const double steps[] = { 1, 2, 5 };
    char                label[32];

    cairo_set_line_width(p->c, 1);
    for (int e = -9; e < 12; e++)
        for (int k = 0; k < 3; k++) {
            double v = steps[k] * pow(10, e), at = log10(v);

            if (at >= p->y0 && at <= p->y1) {
                ink(p, GRID, 1);
                cairo_move_to(p->c, p->left, floor(py(p, at)) + 0.5);
                cairo_line_to(p->c, p->right, floor(py(p, at)) + 0.5);
                cairo_stroke(p->c);
                ink(p, SOFT, 1);
                snprintf(label, sizeof label, "%.4g", v);
                text(p, p->left - 10, py(p, at) + 5, 1, 15, false, label);
            }
            if (at >= p->x0 && at <= p->x1) {
                ink(p, SOFT, 1);
                cairo_move_to(p->c, floor(px(p, at)) + 0.5, p->bottom);
                cairo_line_to(p->c, floor(px(p, at)) + 0.5, p->bottom + 6);
                cairo_stroke(p->c);
                short_number(label, sizeof label, v);
                text(p, px(p, at), p->bottom + 24, 0.5, 15, false, label);
            }
        }
    ink(p, INK, 1);
    text(p, 0.5 * (p->left + p->right), p->bottom + 52, 0.5, 16, false, l->x);
    text(p, p->left - 58, p->top - 18, 0, 16, false, l->y);
}

/* Labels at the right, each beside its line's end but never over the one before. */
static void line_labels(const struct plot *p, const struct line_plot *l)
{
    bool   done[64] = { 0 };
    double free_y   = p->top - 20;
    int    colours  = (int)(sizeof SERIES / sizeof *SERIES);

    for (int turn = 0; turn < l->lines && turn < 64; turn++) {
        int    next = -1;
        double y    = 0;

        for (int k = 0; k < l->lines && k < 64; k++) {
            const struct line *e = &l->line[k];

            if (done[k] || !e->n)
                continue;
            double at = py(p, log_y(l, e->y[e->n - 1]));
            if (next < 0 || at < y) {
                next = k;
                y    = at;
            }
        }
        if (next < 0)
            return;
        done[next] = true;
        y          = y + 5 < free_y ? free_y : y + 5;
        free_y     = y + 20;
        ink(p, SERIES[next % colours], 1);
        text(p, p->right + 12, y, 0, 15, true, l->line[next].label);
    }
}

int plot_lines(const char *png, const struct line_plot *l, char *why, size_t why_size)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, PLOT_WIDTH, PLOT_HEIGHT);
    struct plot      p     = {
                 .c = cairo_create(image), .left = 90, .right = PLOT_WIDTH - 130, .top = 122, .bottom = PLOT_HEIGHT - 78
    };
    int colours = (int)(sizeof SERIES / sizeof *SERIES);

    cairo_set_source_rgb(p.c, 1, 1, 1);
    cairo_paint(p.c);
    cairo_set_line_join(p.c, CAIRO_LINE_JOIN_ROUND);
    log_ranges(&p, l);
    log_axes(&p, l);
    for (int k = 0; k < l->lines; k++) {
        const struct line *e = &l->line[k];

        ink(&p, SERIES[k % colours], 1);
        cairo_set_line_width(p.c, 2.4);
        cairo_new_path(p.c);
        for (int i = 0; i < e->n; i++)
            if (isfinite(e->y[i]))
                cairo_line_to(p.c, px(&p, log10(e->x[i])), py(&p, log_y(l, e->y[i])));
        cairo_stroke(p.c);
        for (int i = 0; i < e->n; i++)
            if (isfinite(e->y[i]))
                dot(&p, log10(e->x[i]), log_y(l, e->y[i]), 3.5, false);
    }
    line_labels(&p, l);
    ink(&p, INK, 1);
    text(&p, 32, 42, 0, 22, true, l->title);
    ink(&p, SOFT, 1);
    text(&p, 32, 66, 0, 14, false, l->note);

    cairo_status_t status = cairo_surface_write_to_png(image, png);

    cairo_destroy(p.c);
    cairo_surface_destroy(image);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    snprintf(why, why_size, "cannot write %s: %s", png, cairo_status_to_string(status));
    return -1;
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
