/* cli_plot_lecture.c - see cli_plot_lecture.h. */
#include "daemon/cli_plot_lecture.h"

#include <cairo/cairo.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

enum { WIDTH = 1200, HEAD = 96, PANEL = 420 };

static const double SERIES[][3] = {
    { 0.05, 0.38, 0.67 }, { 0.85, 0.45, 0.10 }, { 0.20, 0.55, 0.30 }, { 0.65, 0.25, 0.50 }
};
enum { COLOURS = sizeof SERIES / sizeof *SERIES };

/* What a frame shows, in pixels and in its own units. */
struct pane {
    cairo_t *c;
    double   left, right, top, bottom, x0, x1, y0, y1;
};

static double px(const struct pane *p, double x)
{
    return p->left + (x - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

static double py(const struct pane *p, double y)
{
    return p->bottom - (y - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

static void grey(cairo_t *c, double v)
{
    cairo_set_source_rgb(c, v, v + 0.02, v + 0.04);
}

static void series(cairo_t *c, int k, double alpha)
{
    const double *s = SERIES[k % COLOURS];

    cairo_set_source_rgba(c, s[0], s[1], s[2], alpha);
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

static cairo_t *begin(int height, const char *title, const char *note)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, height);
    cairo_t         *c     = cairo_create(image);

    cairo_surface_destroy(image); /* c has it */
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    grey(c, 0.13);
    text(c, 32, 42, 0, 22, true, title);
    grey(c, 0.42);
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

/* 1, 2 or 5 times a power of ten, so that about `count` steps fill the range. */
static double nice_step(double range, int count)
{
    double raw = range / count, ten = pow(10, floor(log10(raw))), m = raw / ten;

    return ten * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

/* Grid and numbers; x: along the bottom as well. */
static void axes(const struct pane *p, bool x)
{
    double step = nice_step(p->y1 - p->y0, 6);
    char   label[32];

    cairo_set_line_width(p->c, 1);
    for (double v = ceil(p->y0 / step) * step; v <= p->y1 + 1e-9 * step; v += step) {
        grey(p->c, 0.9);
        stroke(p->c, p->left, py(p, v), p->right, py(p, v));
        snprintf(label, sizeof label, "%.6g", fabs(v) < 1e-9 * step ? 0.0 : v);
        grey(p->c, 0.42);
        text(p->c, p->left - 8, py(p, v) + 4, 1, 12, false, label);
    }
    for (double v = ceil(p->x0 / step) * step; x && v <= p->x1 + 1e-9 * step; v += step) {
        grey(p->c, 0.9);
        stroke(p->c, px(p, v), p->top, px(p, v), p->bottom);
        snprintf(label, sizeof label, "%.6g", fabs(v) < 1e-9 * step ? 0.0 : v);
        grey(p->c, 0.42);
        text(p->c, px(p, v), p->bottom + 18, 0.5, 12, false, label);
    }
}

/* ---- dots ---- */

static void column(const struct pane *p, const struct dots *d, double x, double half, int colour)
{
    double mean = 0;
    char   label[32];

    for (int i = 0; i < d->n; i++) {
        double at = px(p, x + half * 0.7 * (d->n > 1 ? 2.0 * i / (d->n - 1) - 1 : 0));

        series(p->c, colour, 0.55);
        cairo_arc(p->c, at, py(p, d->v[i]), 4, 0, 6.2832);
        cairo_fill(p->c);
        mean += d->v[i] / d->n;
    }
    if (!d->n)
        return;
    series(p->c, colour, 1);
    cairo_set_line_width(p->c, 3);
    stroke(p->c, px(p, x - half), py(p, mean), px(p, x + half), py(p, mean));
    snprintf(label, sizeof label, "%.3g", mean);
    text(p->c, px(p, x), p->top - 6, 0.5, 13, true, label);
}

int plot_dots(const char *png, const struct dots_plot *d, char *why, size_t why_size)
{
    cairo_t    *c = begin(640, d->title, d->note);
    struct pane p = {
        .c = c, .left = 90, .right = WIDTH - 32, .top = HEAD + 60, .bottom = 580, .x1 = d->groups, .y1 = 1e-9
    };

    for (int g = 0; g < d->groups; g++)
        for (int s = 0; s < d->sets; s++)
            for (int i = 0; i < d->dots[g][s].n; i++) {
                p.y0 = fmin(p.y0, d->dots[g][s].v[i]);
                p.y1 = fmax(p.y1, d->dots[g][s].v[i] * 1.05);
            }
    axes(&p, false);
    for (int s = 0; s < d->sets; s++) {
        series(c, s, 1);
        text(c, 90 + 270 * s, HEAD + 16, 0, 15, true, d->set[s]);
    }
    for (int g = 0; g < d->groups; g++) {
        for (int s = 0; s < d->sets; s++)
            column(&p, &d->dots[g][s], g + (s + 1.0) / (d->sets + 1), 0.38 / (d->sets + 1), s);
        grey(c, 0.13);
        text(c, px(&p, g + 0.5), p.bottom + 28, 0.5, 16, true, d->group[g]);
    }
    grey(c, 0.42);
    text(c, 32, p.top - 24, 0, 13, false, d->y);
    return end(c, png, why, why_size);
}

/* ---- tracks ---- */

/* What all tracks cover, and the origin; then as square as the frame. */
static void frame(struct pane *p, const struct track_panel *t)
{
    double x0 = -0.5, x1 = 1, y0 = -0.5, y1 = 0.5;

    for (int k = 0; k < t->tracks; k++)
        for (int i = 0; i < t->track[k].n; i++) {
            const double *at = t->track[k].at[i];

            x0 = fmin(x0, at[0] - 0.3), x1 = fmax(x1, at[0] + 0.3);
            y0 = fmin(y0, at[1] - 0.3), y1 = fmax(y1, at[1] + 0.3);
        }
    double wide = p->right - p->left, high = p->bottom - p->top, scale = fmax((x1 - x0) / wide, (y1 - y0) / high);

    p->x0 = (x0 + x1 - scale * wide) / 2, p->x1 = (x0 + x1 + scale * wide) / 2;
    p->y0 = (y0 + y1 - scale * high) / 2, p->y1 = (y0 + y1 + scale * high) / 2;
}

static void polyline(const struct pane *p, const double (*at)[2], int n)
{
    for (int i = 0; i < n; i++)
        (i ? cairo_line_to : cairo_move_to)(p->c, px(p, at[i][0]), py(p, at[i][1]));
    cairo_stroke(p->c);
}

static void panel(cairo_t *c, int i, const struct track_panel *t)
{
    double      wide = (WIDTH - 40) / 2.0, x = 20 + i % 2 * wide, y = HEAD + (double)(i / 2) * PANEL;
    struct pane p = { .c = c, .left = x + 58, .right = x + wide - 14, .top = y + 30, .bottom = y + PANEL - 40 };

    frame(&p, t);
    grey(c, 0.13);
    text(c, p.left, y + 18, 0, 16, true, t->name);
    grey(c, 0.42);
    text(c, p.right, y + 18, 1, 13, false, t->figures);
    axes(&p, true);
    cairo_save(c);
    cairo_rectangle(c, p.left, p.top, p.right - p.left, p.bottom - p.top);
    cairo_clip(c);
    grey(c, 0.65);
    cairo_set_line_width(c, 9);
    polyline(&p, t->point, t->points);
    for (int k = 0; k < t->points; k++) {
        cairo_arc(c, px(&p, t->point[k][0]), py(&p, t->point[k][1]), 7, 0, 6.2832);
        cairo_fill(c);
    }
    cairo_set_line_width(c, 1.8);
    for (int k = 0; k < t->tracks; k++) {
        series(c, k, 0.9);
        polyline(&p, t->track[k].at, t->track[k].n);
        if (t->track[k].n) {
            const double *last = t->track[k].at[t->track[k].n - 1];
            cairo_arc(c, px(&p, last[0]), py(&p, last[1]), 4, 0, 6.2832);
            cairo_fill(c);
        }
    }
    cairo_restore(c);
}

int plot_tracks(const char *png, const struct track_plot *t, char *why, size_t why_size)
{
    cairo_t *c = begin(HEAD + (t->panels + 1) / 2 * PANEL, t->title, t->note);

    for (int i = 0; i < t->panels; i++)
        panel(c, i, &t->panel[i]);
    return end(c, png, why, why_size);
}
