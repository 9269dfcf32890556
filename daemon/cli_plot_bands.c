/* cli_plot_bands.c - see cli_plot_bands.h. */
#include "daemon/cli_plot_bands.h"

#include <cairo/cairo.h>
#include <math.h>
#include <stdio.h>

struct colour {
    double r, g, b;
};

/* Dark and light enough to tell apart in grey. */
static const struct colour INK = { 0.13, 0.15, 0.18 }, SOFT = { 0.42, 0.45, 0.50 }, GRID = { 0.90, 0.91, 0.92 },
                           MAIN = { 0.05, 0.38, 0.67 }, OTHER = { 0.85, 0.45, 0.10 };

static const struct colour SERIES[] = { { 0.05, 0.38, 0.67 }, { 0.85, 0.45, 0.10 }, { 0.20, 0.55, 0.30 },
                                        { 0.65, 0.25, 0.50 }, { 0.45, 0.40, 0.70 }, { 0.50, 0.45, 0.20 },
                                        { 0.25, 0.55, 0.60 }, { 0.70, 0.25, 0.25 } };
enum { COLOURS = sizeof SERIES / sizeof *SERIES, WIDTH = 1200, HEAD = 112 };

struct pane {
    cairo_t *c;
    double   left, right, top, bottom; /* frame, pixels       */
    double   x0, x1, y0, y1;           /* what the frame shows */
    bool     log_y;                    /* y0, y1 are log10     */
};

static double px(const struct pane *p, double x)
{
    return p->left + (x - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

static double py(const struct pane *p, double y)
{
    if (p->log_y)
        y = log10(y > 1e-12 ? y : 1e-12);
    return p->bottom - (y - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

static void ink(cairo_t *c, struct colour k, double alpha)
{
    cairo_set_source_rgba(c, k.r, k.g, k.b, alpha);
}

/* align: 0 left, 0.5 centre, 1 right of x. */
static void text(cairo_t *c, double x, double y, double align, double size, bool bold, const char *s)
{
    cairo_text_extents_t e;

    cairo_select_font_face(c, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
    cairo_text_extents(c, s, &e);
    cairo_move_to(c, x - align * e.x_advance, y);
    cairo_show_text(c, s);
    cairo_new_path(c);
}

static void stroke(cairo_t *c, double x0, double y0, double x1, double y1)
{
    cairo_move_to(c, x0, y0);
    cairo_line_to(c, x1, y1);
    cairo_stroke(c);
}

static void dashes(cairo_t *c, bool on)
{
    const double dash[] = { 6, 4 };

    cairo_set_dash(c, dash, on ? 2 : 0, 0);
}

/* ---- pictures ---- */

static cairo_t *begin(int height, const char *title, const char *note)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, height);
    cairo_t         *c     = cairo_create(image);

    cairo_surface_destroy(image); /* c has it */
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    ink(c, INK, 1);
    text(c, 32, 42, 0, 22, true, title);
    ink(c, SOFT, 1);
    text(c, 32, 67, 0, 14, false, note);
    return c;
}

static int end(cairo_t *c, const char *png, char *why, size_t why_size)
{
    cairo_status_t status = cairo_surface_write_to_png(cairo_get_target(c), png);

    cairo_destroy(c);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    snprintf(why, why_size, "cannot write %s: %s", png, cairo_status_to_string(status));
    return -1;
}

/* Panel i of a grid of `columns`, `height` pixels each with its labels. */
static struct pane grid_pane(cairo_t *c, int i, int columns, double height)
{
    double wide = (WIDTH - 40.0) / columns, x = 20 + i % columns * wide, y = HEAD + i / columns * height;

    return (struct pane){ .c = c, .left = x + 58, .right = x + wide - 14, .top = y + 28, .bottom = y + height - 36 };
}

static int grid_columns(int panels)
{
    return panels <= 4 ? 2 : panels <= 9 ? 3 : 4;
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, so that about `count` steps fill the range. */
static double nice_step(double range, int count)
{
    double raw = range / count, ten = pow(10, floor(log10(raw))), m = raw / ten;

    return ten * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void number(const struct pane *p, double x, double y, double align, double v, double step)
{
    char label[32];

    snprintf(label, sizeof label, "%.6g", fabs(v) < 1e-9 * step ? 0.0 : v);
    ink(p->c, SOFT, 1);
    text(p->c, x, y, align, 12, false, label);
}

static void rule(const struct pane *p, double y)
{
    ink(p->c, GRID, 1);
    cairo_set_line_width(p->c, 1);
    stroke(p->c, p->left, floor(py(p, y)) + 0.5, p->right, floor(py(p, y)) + 0.5);
}

static void y_axis(const struct pane *p, int count)
{
    if (p->log_y) {
        bool few = p->y1 - p->y0 < 2;

        for (int e = (int)floor(p->y0); e <= (int)p->y1 + 1; e++)
            for (int k = 0; k < (few ? 3 : 1); k++) {
                double v = pow(10, e) * (k == 0 ? 1 : k == 1 ? 2 : 5);

                if (log10(v) >= p->y0 && log10(v) <= p->y1) {
                    rule(p, v);
                    number(p, p->left - 8, py(p, v) + 4, 1, v, 1e-12);
                }
            }
        return;
    }
    double step = nice_step(p->y1 - p->y0, count);
    for (double v = step * ceil(p->y0 / step - 1e-9); v <= p->y1 + 1e-9 * step; v += step) {
        rule(p, v);
        number(p, p->left - 8, py(p, v) + 4, 1, v, step);
    }
}

static void x_line(const struct pane *p)
{
    ink(p->c, SOFT, 1);
    cairo_set_line_width(p->c, 1);
    stroke(p->c, p->left, floor(p->bottom) + 0.5, p->right, floor(p->bottom) + 0.5);
}

static void x_tick(const struct pane *p, double x, double v, double step)
{
    ink(p->c, SOFT, 1);
    stroke(p->c, floor(px(p, x)) + 0.5, p->bottom, floor(px(p, x)) + 0.5, p->bottom + 5);
    number(p, px(p, x), p->bottom + 19, 0.5, v, step);
}

static void x_axis(const struct pane *p, double step)
{
    x_line(p);
    for (double v = step * ceil(p->x0 / step - 1e-9); v <= p->x1 + 1e-9 * step; v += step)
        x_tick(p, v, v, step);
}

static void widen(double v, double *lo, double *hi)
{
    if (isfinite(v)) {
        *lo = v < *lo ? v : *lo;
        *hi = v > *hi ? v : *hi;
    }
}

/* A range to be seen: not empty, and with a margin. */
static void settle(double *lo, double *hi, double margin)
{
    if (!(*lo <= *hi))
        *lo = 0, *hi = 1;
    if (*hi - *lo < 1e-9 * (1 + fabs(*hi)))
        *lo -= 1, *hi += 1;
    double room = margin * (*hi - *lo);
    *lo -= room;
    *hi += room;
}

/* ---- bands ---- */

/* What really happened and was expected fills most of the panel; bands may be cut off. */
static void band_range(struct pane *p, const struct band_panel *b, int n)
{
    double lo = (double)INFINITY, hi = -lo, low = lo, high = -lo, most;

    for (int i = 0; i < n; i++) {
        widen((double)b->truth[i], &lo, &hi);
        widen((double)b->band[0][i], &low, &high);
        widen((double)b->band[3][i], &low, &high);
    }
    settle(&lo, &hi, 0.04);
    most  = 1.5 * (hi - lo);
    p->y0 = low > lo ? lo : low > lo - most ? low - 0.04 * (hi - lo) : lo - most;
    p->y1 = high < hi ? hi : high < hi + most ? high + 0.04 * (hi - lo) : hi + most;
}

static void band_area(const struct pane *p, const float *low, const float *high, int n, double step, double alpha)
{
    for (int i = 0; i < n; i++)
        cairo_line_to(p->c, px(p, i * step), py(p, (double)high[i]));
    for (int i = n - 1; i >= 0; i--)
        cairo_line_to(p->c, px(p, i * step), py(p, (double)low[i]));
    cairo_close_path(p->c);
    ink(p->c, MAIN, alpha);
    cairo_fill(p->c);
}

static void series(const struct pane *p, const float *v, int n, double step)
{
    for (int i = 0; i < n; i++)
        cairo_line_to(p->c, px(p, i * step), py(p, (double)v[i]));
    cairo_stroke(p->c);
}

static void one_band(struct pane *p, const struct band_plot *b, const struct band_panel *e)
{
    p->x0 = 0;
    p->x1 = (b->n - 1) * b->x_step;
    band_range(p, e, b->n);
    y_axis(p, 5);
    x_axis(p, nice_step(p->x1, 5));
    ink(p->c, INK, 1);
    text(p->c, p->left, p->top - 9, 0, 14, true, e->name);
    cairo_save(p->c);
    cairo_rectangle(p->c, p->left, p->top, p->right - p->left, p->bottom - p->top);
    cairo_clip(p->c);
    band_area(p, e->band[0], e->band[3], b->n, b->x_step, 0.16);
    band_area(p, e->band[1], e->band[2], b->n, b->x_step, 0.30);
    ink(p->c, MAIN, 1);
    cairo_set_line_width(p->c, 1.8);
    series(p, e->mean, b->n, b->x_step);
    ink(p->c, INK, 1);
    cairo_set_line_width(p->c, 2.2);
    dashes(p->c, true);
    series(p, e->truth, b->n, b->x_step);
    dashes(p->c, false);
    cairo_restore(p->c);
}

/* A sample of each thing drawn, at the top right. */
static void band_key(cairo_t *c)
{
    double x = WIDTH - 500;

    ink(c, INK, 1);
    cairo_set_line_width(c, 2.2);
    dashes(c, true);
    stroke(c, x, 88, x + 34, 88);
    dashes(c, false);
    text(c, x + 42, 93, 0, 13, false, "what happened");
    ink(c, MAIN, 1);
    cairo_set_line_width(c, 1.8);
    stroke(c, x + 165, 88, x + 199, 88);
    text(c, x + 207, 93, 0, 13, false, "mean");
    ink(c, MAIN, 0.41);
    cairo_rectangle(c, x + 260, 81, 20, 14);
    cairo_fill(c);
    ink(c, INK, 1);
    text(c, x + 286, 93, 0, 13, false, "25-75 %");
    ink(c, MAIN, 0.16);
    cairo_rectangle(c, x + 362, 81, 20, 14);
    cairo_fill(c);
    ink(c, INK, 1);
    text(c, x + 388, 93, 0, 13, false, "5-95 %");
}

int plot_bands(const char *png, const struct band_plot *b, char *why, size_t why_size)
{
    int      columns = grid_columns(b->panels), rows = (b->panels + columns - 1) / columns;
    double   height = columns == 2 ? 290 : 220;
    cairo_t *c      = begin((int)(HEAD + rows * height + 26), b->title, b->note);

    band_key(c);
    for (int i = 0; i < b->panels && b->n > 1; i++) {
        struct pane p = grid_pane(c, i, columns, height);

        one_band(&p, b, &b->panel[i]);
    }
    ink(c, INK, 1);
    text(c, WIDTH / 2.0, HEAD + rows * height + 10, 0.5, 14, false, b->x);
    return end(c, png, why, why_size);
}

/* ---- reliability ---- */

static void reliability_line(const struct pane *p, const struct reliability_plot *r, const double *cover, bool dashed)
{
    cairo_set_line_width(p->c, dashed ? 1.8 : 2.6);
    dashes(p->c, dashed);
    cairo_move_to(p->c, px(p, 0), py(p, 0));
    for (int i = 0; i < r->levels; i++)
        if (isfinite(cover[i]))
            cairo_line_to(p->c, px(p, r->level[i]), py(p, cover[i]));
    cairo_line_to(p->c, px(p, 1), py(p, 1));
    cairo_stroke(p->c);
    dashes(p->c, false);
}

static void one_reliability(struct pane *p, const struct reliability_plot *r, const struct reliability_panel *e)
{
    p->x1 = p->y1 = 1;
    for (int i = 0; i <= 4; i++) {
        rule(p, 0.25 * i);
        number(p, p->left - 8, py(p, 0.25 * i) + 4, 1, 25.0 * i, 1);
    }
    x_line(p);
    for (int i = 0; i <= 4; i++)
        x_tick(p, 0.25 * i, 25.0 * i, 1);
    ink(p->c, SOFT, 0.6);
    cairo_set_line_width(p->c, 1);
    stroke(p->c, px(p, 0), py(p, 0), px(p, 1), py(p, 1));
    ink(p->c, OTHER, 1);
    reliability_line(p, r, e->alone, true);
    ink(p->c, MAIN, 1);
    reliability_line(p, r, e->together, false);
    ink(p->c, INK, 1);
    text(p->c, p->left, p->top - 9, 0, 14, true, e->name);
    ink(p->c, SOFT, 1);
    text(p->c, p->right - 4, p->bottom - 8, 1, 12, false, e->figures);
}

int plot_reliability(const char *png, const struct reliability_plot *r, char *why, size_t why_size)
{
    int      columns = r->panels <= 6 ? 3 : 4, rows = (r->panels + columns - 1) / columns;
    double   height = columns == 3 ? 360 : 280;
    cairo_t *c      = begin((int)(HEAD + rows * height + 26), r->title, r->note);

    ink(c, MAIN, 1);
    cairo_set_line_width(c, 2.6);
    stroke(c, WIDTH - 470, 88, WIDTH - 436, 88);
    text(c, WIDTH - 428, 93, 0, 13, false, "all nets together");
    ink(c, OTHER, 1);
    cairo_set_line_width(c, 1.8);
    dashes(c, true);
    stroke(c, WIDTH - 280, 88, WIDTH - 246, 88);
    dashes(c, false);
    text(c, WIDTH - 238, 93, 0, 13, false, "each net by its own variance");
    for (int i = 0; i < r->panels; i++) {
        struct pane p = grid_pane(c, i, columns, height);

        one_reliability(&p, r, &r->panel[i]);
    }
    ink(c, INK, 1);
    text(c, WIDTH / 2.0, HEAD + rows * height + 10, 0.5, 14, false,
         "across: probability that the model gives to an interval about the middle, %; up: how often the truth was "
         "inside, %");
    return end(c, png, why, why_size);
}

/* ---- spread ---- */

static void spread_range(struct pane *p, const struct spread_plot *s)
{
    double lo = (double)INFINITY, hi = -lo;

    for (int i = 0; i < s->sets; i++)
        for (int k = 0; k < 5; k++)
            widen(log10(s->set[i].q[k]), &lo, &hi);
    for (int i = 0; i < s->pushes; i++) {
        for (int k = 0; k < 3; k++)
            widen(log10(s->all[i][k]), &lo, &hi);
        for (int k = 0; k < s->lines; k++)
            widen(log10(s->line[k].median[i]), &lo, &hi);
    }
    settle(&lo, &hi, 0.04);
    p->y0    = lo < -6 ? -6 : lo;
    p->y1    = hi;
    p->log_y = true;
}

static void spread_sets(const struct pane *p, const struct spread_plot *s)
{
    char label[32];

    x_line(p);
    for (int i = 0; i < s->sets; i++) {
        const double *q = s->set[i].q;
        double        x = px(p, i);

        ink(p->c, MAIN, 1);
        cairo_set_line_width(p->c, 1.6);
        stroke(p->c, x, py(p, q[0]), x, py(p, q[4]));
        ink(p->c, MAIN, 1);
        cairo_rectangle(p->c, x - 17, py(p, q[3]), 34, py(p, q[1]) - py(p, q[3]));
        cairo_fill(p->c);
        cairo_set_source_rgb(p->c, 1, 1, 1);
        cairo_set_line_width(p->c, 2.4);
        stroke(p->c, x - 17, py(p, q[2]), x + 17, py(p, q[2]));
        ink(p->c, INK, 1);
        snprintf(label, sizeof label, "%.2g", q[2]);
        text(p->c, x + 24, py(p, q[2]) + 5, 0, 14, true, label);
        text(p->c, x, p->bottom + 22, 0.5, 14, false, s->set[i].name);
    }
}

/* Names at the right, each beside its line's end but never over the one before. */
static void spread_labels(const struct pane *p, const struct spread_plot *s)
{
    bool   done[64] = { 0 };
    double free_y   = p->top - 8;
    int    last     = s->pushes - 1;

    for (int turn = 0; turn < s->lines && turn < 64; turn++) {
        int next = -1;

        for (int k = 0; k < s->lines && k < 64; k++)
            if (!done[k] && (next < 0 || s->line[k].median[last] > s->line[next].median[last]))
                next = k;
        double y   = py(p, s->line[next].median[last]) + 4;
        done[next] = true;
        y          = y < free_y ? free_y : y;
        free_y     = y + 15;
        ink(p->c, SERIES[next % COLOURS], 1);
        text(p->c, p->right + 8, y, 0, 12, false, s->line[next].name);
    }
}

static void spread_sweep(const struct pane *p, const struct spread_plot *s)
{
    x_line(p);
    for (int i = 0; i < s->pushes; i++)
        x_tick(p, i, s->push[i], 1);
    for (int i = 0; i < s->pushes; i++)
        cairo_line_to(p->c, px(p, i), py(p, s->all[i][2]));
    for (int i = s->pushes - 1; i >= 0; i--)
        cairo_line_to(p->c, px(p, i), py(p, s->all[i][0]));
    cairo_close_path(p->c);
    ink(p->c, SOFT, 0.15);
    cairo_fill(p->c);
    for (int k = 0; k < s->lines; k++) {
        ink(p->c, SERIES[k % COLOURS], 0.9);
        cairo_set_line_width(p->c, 1.8);
        dashes(p->c, k >= COLOURS);
        for (int i = 0; i < s->pushes; i++)
            cairo_line_to(p->c, px(p, i), py(p, s->line[k].median[i]));
        cairo_stroke(p->c);
    }
    dashes(p->c, false);
    ink(p->c, INK, 1);
    cairo_set_line_width(p->c, 3.2);
    for (int i = 0; i < s->pushes; i++)
        cairo_line_to(p->c, px(p, i), py(p, s->all[i][1]));
    cairo_stroke(p->c);
    spread_labels(p, s);
}

int plot_spread(const char *png, const struct spread_plot *s, char *why, size_t why_size)
{
    enum { HEIGHT = 640 };
    cairo_t    *c    = begin(HEIGHT, s->title, s->note);
    struct pane sets = {
        .c = c, .left = 80, .right = 520, .top = 130, .bottom = HEIGHT - 70, .x0 = -0.5, .x1 = s->sets - 0.5
    };
    struct pane line = {
        .c = c, .left = 610, .right = 1010, .top = 130, .bottom = HEIGHT - 70, .x0 = 0, .x1 = s->pushes - 1
    };

    spread_range(&sets, s);
    spread_range(&line, s);
    y_axis(&sets, 6);
    y_axis(&line, 6);
    spread_sets(&sets, s);
    spread_sweep(&line, s);
    ink(c, INK, 1);
    text(c, sets.left - 40, 112, 0, 14, true, "spread, by where");
    text(c, line.left - 40, 112, 0, 14, true, "spread of seen states, one observation pushed away");
    text(c, 0.5 * (line.left + line.right), HEIGHT - 22, 0.5, 14, false, "pushed by, std of what was seen");
    text(c, 0.5 * (sets.left + sets.right), HEIGHT - 22, 0.5, 14, false,
         "box: half of them, line: nine tenths; number: median");
    return end(c, png, why, why_size);
}

/* ---- returns ---- */

static void return_labels(const struct pane *p, const struct return_line *line, int lines)
{
    bool   done[64] = { 0 };
    double free_y   = p->top;

    for (int turn = 0; turn < lines && turn < 64; turn++) {
        int next = -1;

        for (int k = 0; k < lines && k < 64; k++)
            if (!done[k] && !line[k].thin && line[k].n &&
                (next < 0 || line[k].y[line[k].n - 1] > line[next].y[line[next].n - 1]))
                next = k;
        if (next < 0)
            return;
        double y   = py(p, line[next].y[line[next].n - 1]) + 5;
        done[next] = true;
        y          = y < free_y ? free_y : y;
        free_y     = y + 18;
        ink(p->c, SERIES[line[next].colour % COLOURS], 1);
        text(p->c, p->right + 10, y, 0, 13, !line[next].dashed, line[next].label);
    }
}

static void return_series(const struct pane *p, const struct return_line *l)
{
    ink(p->c, SERIES[l->colour % COLOURS], l->thin ? 0.35 : 1);
    cairo_set_line_width(p->c, l->thin ? 1 : 2.6);
    dashes(p->c, l->dashed);
    for (int i = 0; i < l->n; i++)
        if (isfinite(l->y[i]))
            cairo_line_to(p->c, px(p, i + 1), py(p, l->y[i]));
    cairo_stroke(p->c);
    dashes(p->c, false);
    for (int i = 0; i < l->n && !l->thin; i++) {
        if (!isfinite(l->y[i]))
            continue;
        cairo_arc(p->c, px(p, i + 1), py(p, l->y[i]), 3.5, 0, 6.283185307179586);
        cairo_fill(p->c);
    }
}

int plot_returns(const char *png, const char *title, const char *note, const struct return_line *line, int lines,
                 char *why, size_t why_size)
{
    enum { HEIGHT = 680 };
    cairo_t    *c = begin(HEIGHT, title, note);
    struct pane p = { .c = c, .left = 80, .right = WIDTH - 230, .top = 120, .bottom = HEIGHT - 70, .x0 = 0.7, .x1 = 2 };
    double      lo = (double)INFINITY, hi = -lo;

    for (int k = 0; k < lines; k++)
        for (int i = 0; i < line[k].n; i++) {
            widen(line[k].y[i], &lo, &hi);
            widen(i + 1.3, &p.x0, &p.x1);
        }
    settle(&lo, &hi, 0.04);
    p.y0 = lo;
    p.y1 = hi;
    y_axis(&p, 8);
    x_axis(&p, p.x1 <= 26 ? 1 : nice_step(p.x1, 12));
    for (int thin = 1; thin >= 0; thin--)
        for (int k = 0; k < lines; k++)
            if (line[k].thin == (thin == 1))
                return_series(&p, &line[k]);
    return_labels(&p, line, lines);
    ink(c, INK, 1);
    text(c, 0.5 * (p.left + p.right), HEIGHT - 22, 0.5, 14, false, "planned trial");
    text(c, p.left - 40, p.top - 14, 0, 14, false, "return");
    return end(c, png, why, why_size);
}
