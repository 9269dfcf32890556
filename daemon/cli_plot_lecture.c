/* cli_plot_lecture.c - see cli_plot_lecture.h. */
#include "daemon/cli_plot_lecture.h"

#include <math.h>
#include <stdio.h>

#include "daemon/cli_draw.h"

enum { HEAD = 96, PANEL = 420, TRACK_COLOURS = 4 };

/* ---- dots ---- */

static void column(const struct pane *p, const struct dots *d, double x, double half, int colour)
{
    double mean = 0;
    char   label[32];

    for (int i = 0; i < d->n; i++) {
        double at = x + half * 0.7 * (d->n > 1 ? 2.0 * i / (d->n - 1) - 1 : 0);

        draw_ink(p->c, draw_series(colour), 0.55);
        draw_dot(p, at, d->v[i], 4, false);
        mean += d->v[i] / d->n;
    }
    if (!d->n)
        return;
    draw_ink(p->c, draw_series(colour), 1);
    cairo_set_line_width(p->c, 3);
    draw_line(p->c, pane_x(p, x - half), pane_y(p, mean), pane_x(p, x + half), pane_y(p, mean));
    snprintf(label, sizeof label, "%.3g", mean);
    draw_text(p->c, pane_x(p, x), p->top - 6, 0.5, 13, true, label);
}

int plot_dots(const char *png, const struct dots_plot *d, char *why, size_t why_size)
{
    cairo_t    *c = draw_begin(640, d->title, d->note);
    struct pane p = {
        .c = c, .left = 90, .right = PLOT_WIDTH - 32, .top = HEAD + 60, .bottom = 580, .x1 = d->groups, .y1 = 1e-9
    };

    for (int g = 0; g < d->groups; g++)
        for (int s = 0; s < d->sets; s++)
            for (int i = 0; i < d->dots[g][s].n; i++) {
                p.y0 = fmin(p.y0, d->dots[g][s].v[i]);
                p.y1 = fmax(p.y1, d->dots[g][s].v[i] * 1.05);
            }
    draw_y_axis(&p, 6);
    for (int s = 0; s < d->sets; s++) {
        draw_ink(c, draw_series(s), 1);
        draw_text(c, 90 + 270 * s, HEAD + 16, 0, 15, true, d->set[s]);
    }
    for (int g = 0; g < d->groups; g++) {
        for (int s = 0; s < d->sets; s++)
            column(&p, &d->dots[g][s], g + (s + 1.0) / (d->sets + 1), 0.38 / (d->sets + 1), s);
        draw_ink(c, INK, 1);
        draw_text(c, pane_x(&p, g + 0.5), p.bottom + 28, 0.5, 16, true, d->group[g]);
    }
    draw_ink(c, SOFT, 1);
    draw_text(c, 32, p.top - 24, 0, 13, false, d->y);
    return draw_end(c, png, why, why_size);
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
        (i ? cairo_line_to : cairo_move_to)(p->c, pane_x(p, at[i][0]), pane_y(p, at[i][1]));
    cairo_stroke(p->c);
}

/* Both axes have the same steps. */
static void grid(const struct pane *p)
{
    double step = nice_step(p->y1 - p->y0, 6);
    char   label[32];

    draw_y_axis(p, 6);
    for (double v = ceil(p->x0 / step) * step; v <= p->x1 + 1e-9 * step; v += step) {
        draw_ink(p->c, GRID, 1);
        draw_line(p->c, floor(pane_x(p, v)) + 0.5, p->top, floor(pane_x(p, v)) + 0.5, p->bottom);
        draw_ink(p->c, SOFT, 1);
        draw_text(p->c, pane_x(p, v), p->bottom + 18, 0.5, 12, false, axis_number(label, sizeof label, v, step));
    }
}

static void panel(cairo_t *c, int i, const struct track_panel *t)
{
    static const struct colour PATH = { 0.65, 0.67, 0.69 };
    struct pane                p    = pane_of_grid(c, i, 2, HEAD, PANEL);

    frame(&p, t);
    draw_ink(c, INK, 1);
    draw_text(c, p.left, p.top - 12, 0, 16, true, t->name);
    draw_ink(c, SOFT, 1);
    draw_text(c, p.right, p.top - 12, 1, 13, false, t->figures);
    grid(&p);
    pane_clip(&p);
    draw_ink(c, PATH, 1);
    cairo_set_line_width(c, 9);
    polyline(&p, t->point, t->points);
    for (int k = 0; k < t->points; k++)
        draw_dot(&p, t->point[k][0], t->point[k][1], 7, false);
    cairo_set_line_width(c, 1.8);
    for (int k = 0; k < t->tracks; k++) {
        draw_ink(c, draw_series(k % TRACK_COLOURS), 0.9);
        polyline(&p, t->track[k].at, t->track[k].n);
        if (t->track[k].n) {
            const double *last = t->track[k].at[t->track[k].n - 1];
            draw_dot(&p, last[0], last[1], 4, false);
        }
    }
    cairo_restore(c);
}

int plot_tracks(const char *png, const struct track_plot *t, char *why, size_t why_size)
{
    cairo_t *c = draw_begin(HEAD + (t->panels + 1) / 2 * PANEL, t->title, t->note);

    for (int i = 0; i < t->panels; i++)
        panel(c, i, &t->panel[i]);
    return draw_end(c, png, why, why_size);
}
