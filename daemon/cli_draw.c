/* cli_draw.c - see cli_draw.h. */
#include "daemon/cli_draw.h"

#include <math.h>
#include <stdio.h>

/* ---- colours ---- */

struct colour draw_series(int k)
{
    static const struct colour series[SERIES_COLOURS] = { { 0.05, 0.38, 0.67 }, { 0.85, 0.45, 0.10 },
                                                          { 0.20, 0.55, 0.30 }, { 0.65, 0.25, 0.50 },
                                                          { 0.45, 0.40, 0.70 }, { 0.50, 0.45, 0.20 },
                                                          { 0.25, 0.55, 0.60 }, { 0.70, 0.25, 0.25 } };

    return series[k % SERIES_COLOURS];
}

struct colour draw_pale(int k)
{
    static const struct colour pale[SERIES_COLOURS] = { { 0.30, 0.60, 0.80 }, { 0.85, 0.55, 0.25 },
                                                        { 0.35, 0.65, 0.45 }, { 0.75, 0.45, 0.60 },
                                                        { 0.55, 0.50, 0.75 }, { 0.60, 0.55, 0.35 },
                                                        { 0.45, 0.65, 0.70 }, { 0.75, 0.40, 0.40 } };

    return pale[k % SERIES_COLOURS];
}

void draw_ink(cairo_t *c, struct colour k, double alpha)
{
    cairo_set_source_rgba(c, k.r, k.g, k.b, alpha);
}

/* ---- pictures ---- */

cairo_t *draw_begin(int height, const char *title, const char *note)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, PLOT_WIDTH, height);
    cairo_t         *c     = cairo_create(image);

    cairo_surface_destroy(image); /* c has it */
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    draw_ink(c, INK, 1);
    draw_text(c, 32, 42, 0, 22, true, title);
    draw_ink(c, SOFT, 1);
    draw_text(c, 32, 67, 0, 14, false, note);
    return c;
}

int draw_end(cairo_t *c, const char *png, char *why, size_t why_size)
{
    cairo_status_t status = cairo_surface_write_to_png(cairo_get_target(c), png);

    cairo_destroy(c);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    snprintf(why, why_size, "cannot write %s: %s", png, cairo_status_to_string(status));
    return -1;
}

/* ---- lines and text ---- */

void draw_text(cairo_t *c, double x, double y, double align, double size, bool bold, const char *s)
{
    cairo_text_extents_t e;

    cairo_select_font_face(c, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
    cairo_text_extents(c, s, &e);
    cairo_move_to(c, x - align * e.x_advance, y);
    cairo_show_text(c, s);
    cairo_new_path(c); /* text leaves a current point, which an arc would be joined to */
}

void draw_line(cairo_t *c, double x0, double y0, double x1, double y1)
{
    cairo_move_to(c, x0, y0);
    cairo_line_to(c, x1, y1);
    cairo_stroke(c);
}

void draw_dashes(cairo_t *c, bool on)
{
    const double dash[] = { 6, 4 };

    cairo_set_dash(c, dash, on ? 2 : 0, 0);
}

/* ---- frames ---- */

double pane_x(const struct pane *p, double x)
{
    return p->left + (x - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

double pane_y(const struct pane *p, double y)
{
    if (p->log_y)
        y = log10(y > 1e-12 ? y : 1e-12);
    return p->bottom - (y - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

struct pane pane_of_grid(cairo_t *c, int i, int columns, double head, double height)
{
    double wide = (PLOT_WIDTH - 40.0) / columns, x = 20 + i % columns * wide, y = head + i / columns * height;

    return (struct pane){ .c = c, .left = x + 58, .right = x + wide - 14, .top = y + 28, .bottom = y + height - 36 };
}

void pane_clip(const struct pane *p)
{
    cairo_save(p->c);
    cairo_rectangle(p->c, p->left, p->top, p->right - p->left, p->bottom - p->top);
    cairo_clip(p->c);
}

void draw_dot(const struct pane *p, double x, double y, double radius, bool hollow)
{
    if (!isfinite(y))
        return;
    cairo_new_path(p->c);
    cairo_arc(p->c, pane_x(p, x), pane_y(p, y), radius, 0, 6.283185307179586);
    if (hollow) {
        cairo_set_line_width(p->c, 2);
        cairo_stroke(p->c);
    } else {
        cairo_fill(p->c);
    }
}

/* ---- ranges and axes ---- */

void range_widen(double v, double *lo, double *hi)
{
    if (isfinite(v)) {
        *lo = v < *lo ? v : *lo;
        *hi = v > *hi ? v : *hi;
    }
}

void range_settle(double *lo, double *hi, double margin)
{
    if (!(*lo <= *hi))
        *lo = 0, *hi = 1;
    if (*hi - *lo < 1e-9 * (1 + fabs(*hi)))
        *lo -= 1, *hi += 1;
    double room = margin * (*hi - *lo);
    *lo -= room;
    *hi += room;
}

double nice_step(double range, int count)
{
    double raw = range / count, ten = pow(10, floor(log10(raw))), m = raw / ten;

    return ten * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

const char *axis_number(char *out, size_t n, double v, double step)
{
    snprintf(out, n, "%.6g", fabs(v) < 1e-9 * step ? 0.0 : v);
    return out;
}

static double size_of(const struct pane *p)
{
    return p->size > 0 ? p->size : 12;
}

void draw_y_mark(const struct pane *p, double y, const char *label)
{
    double at = pane_y(p, y), size = size_of(p);

    draw_ink(p->c, GRID, 1);
    cairo_set_line_width(p->c, 1);
    draw_line(p->c, p->left, floor(at) + 0.5, p->right, floor(at) + 0.5);
    draw_ink(p->c, SOFT, 1);
    draw_text(p->c, p->left - size * 2 / 3, at + size / 3, 1, size, false, label);
}

void draw_x_mark(const struct pane *p, double x, const char *label)
{
    double at = pane_x(p, x), size = size_of(p);

    draw_ink(p->c, SOFT, 1);
    cairo_set_line_width(p->c, 1);
    draw_line(p->c, floor(at) + 0.5, p->bottom, floor(at) + 0.5, p->bottom + size / 3 + 1);
    draw_text(p->c, at, p->bottom + floor(1.6 * size), 0.5, size, false, label);
}

static void log_y_axis(const struct pane *p, int count)
{
    static const double times[] = { 1, 2, 5 };
    int                 n       = 3 * (p->y1 - p->y0) < count ? 3 : 1;
    char                label[32];

    for (int e = (int)floor(p->y0); e <= (int)p->y1 + 1; e++)
        for (int k = 0; k < n; k++) {
            double v = pow(10, e) * times[k];

            if (log10(v) >= p->y0 && log10(v) <= p->y1)
                draw_y_mark(p, v, axis_number(label, sizeof label, v, 0));
        }
}

void draw_y_axis(const struct pane *p, int count)
{
    double step = nice_step(p->y1 - p->y0, count);
    char   label[32];

    if (p->log_y) {
        log_y_axis(p, count);
        return;
    }
    for (double v = step * ceil(p->y0 / step - 1e-9); v <= p->y1 + 1e-9 * step; v += step)
        draw_y_mark(p, v, axis_number(label, sizeof label, v, step));
}

void draw_x_line(const struct pane *p)
{
    draw_ink(p->c, SOFT, 1);
    cairo_set_line_width(p->c, 1);
    draw_line(p->c, p->left, floor(p->bottom) + 0.5, p->right, floor(p->bottom) + 0.5);
}

void draw_x_axis(const struct pane *p, double step)
{
    char label[32];

    draw_x_line(p);
    for (double v = step * ceil(p->x0 / step - 1e-9); v <= p->x1 + 1e-9 * step; v += step)
        draw_x_mark(p, v, axis_number(label, sizeof label, v, step));
}

/* ---- labels ---- */

void draw_end_labels(const struct pane *p, struct end_label *label, int n, double size)
{
    double free_y = p->top;
    int    kept   = 0;

    for (int i = 0; i < n; i++)
        if (isfinite(label[i].y))
            label[kept++] = label[i];
    for (int i = 1; i < kept; i++) /* highest first, equal ones in their order */
        for (int k = i; k > 0 && label[k].y > label[k - 1].y; k--) {
            struct end_label l = label[k];

            label[k]     = label[k - 1];
            label[k - 1] = l;
        }
    for (int i = 0; i < kept; i++) {
        double y = pane_y(p, label[i].y) + size / 3;

        y      = y < free_y ? free_y : y;
        free_y = y + size * 4 / 3;
        draw_ink(p->c, label[i].colour, 1);
        draw_text(p->c, p->right + 0.8 * size, y, 0, size, label[i].bold, label[i].text);
    }
}
