/* cli_plot_bands.c - see cli_plot_bands.h. */
#include "daemon/cli_plot_bands.h"

#include <math.h>
#include <stdio.h>

#include "daemon/cli_draw.h"

enum { HEAD = 112 };

/* Tells apart from MAIN in grey, too. */
static const struct colour OTHER = { 0.85, 0.45, 0.10 };

static int grid_columns(int panels)
{
    return panels <= 4 ? 2 : panels <= 9 ? 3 : 4;
}

/* ---- bands ---- */

/* What really happened and was expected fills most of the panel; bands may be cut off. */
static void band_range(struct pane *p, const struct band_panel *b, int n)
{
    double lo = (double)INFINITY, hi = -lo, low = lo, high = -lo, most;

    for (int i = 0; i < n; i++) {
        range_widen((double)b->truth[i], &lo, &hi);
        range_widen((double)b->band[0][i], &low, &high);
        range_widen((double)b->band[3][i], &low, &high);
    }
    range_settle(&lo, &hi, 0.04);
    most  = 1.5 * (hi - lo);
    p->y0 = low > lo ? lo : low > lo - most ? low - 0.04 * (hi - lo) : lo - most;
    p->y1 = high < hi ? hi : high < hi + most ? high + 0.04 * (hi - lo) : hi + most;
}

static void band_area(const struct pane *p, const float *low, const float *high, int n, double step, double alpha)
{
    for (int i = 0; i < n; i++)
        if (isfinite(low[i]) && isfinite(high[i]))
            cairo_line_to(p->c, pane_x(p, i * step), pane_y(p, (double)high[i]));
    for (int i = n - 1; i >= 0; i--)
        if (isfinite(low[i]) && isfinite(high[i]))
            cairo_line_to(p->c, pane_x(p, i * step), pane_y(p, (double)low[i]));
    cairo_close_path(p->c);
    draw_ink(p->c, MAIN, alpha);
    cairo_fill(p->c);
}

static void series(const struct pane *p, const float *v, int n, double step)
{
    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            cairo_line_to(p->c, pane_x(p, i * step), pane_y(p, (double)v[i]));
    cairo_stroke(p->c);
}

static void one_band(struct pane *p, const struct band_plot *b, const struct band_panel *e)
{
    p->x0 = 0;
    p->x1 = (b->n - 1) * b->x_step;
    band_range(p, e, b->n);
    draw_y_axis(p, 5);
    draw_x_axis(p, nice_step(p->x1, 5));
    draw_ink(p->c, INK, 1);
    draw_text(p->c, p->left, p->top - 9, 0, 14, true, e->name);
    pane_clip(p);
    band_area(p, e->band[0], e->band[3], b->n, b->x_step, 0.16);
    band_area(p, e->band[1], e->band[2], b->n, b->x_step, 0.30);
    draw_ink(p->c, MAIN, 1);
    cairo_set_line_width(p->c, 1.8);
    series(p, e->mean, b->n, b->x_step);
    draw_ink(p->c, INK, 1);
    cairo_set_line_width(p->c, 2.2);
    draw_dashes(p->c, true);
    series(p, e->truth, b->n, b->x_step);
    draw_dashes(p->c, false);
    cairo_restore(p->c);
}

/* A sample of each thing drawn, at the top right. */
static void band_key(cairo_t *c)
{
    double x = PLOT_WIDTH - 500;

    draw_ink(c, INK, 1);
    cairo_set_line_width(c, 2.2);
    draw_dashes(c, true);
    draw_line(c, x, 88, x + 34, 88);
    draw_dashes(c, false);
    draw_text(c, x + 42, 93, 0, 13, false, "what happened");
    draw_ink(c, MAIN, 1);
    cairo_set_line_width(c, 1.8);
    draw_line(c, x + 165, 88, x + 199, 88);
    draw_text(c, x + 207, 93, 0, 13, false, "mean");
    draw_ink(c, MAIN, 0.41);
    cairo_rectangle(c, x + 260, 81, 20, 14);
    cairo_fill(c);
    draw_ink(c, INK, 1);
    draw_text(c, x + 286, 93, 0, 13, false, "25-75 %");
    draw_ink(c, MAIN, 0.16);
    cairo_rectangle(c, x + 362, 81, 20, 14);
    cairo_fill(c);
    draw_ink(c, INK, 1);
    draw_text(c, x + 388, 93, 0, 13, false, "5-95 %");
}

int plot_bands(const char *png, const struct band_plot *b, char *why, size_t why_size)
{
    int      columns = grid_columns(b->panels), rows = (b->panels + columns - 1) / columns;
    double   height = columns == 2 ? 290 : 220;
    cairo_t *c      = draw_begin((int)(HEAD + rows * height + 26), b->title, b->note);

    band_key(c);
    for (int i = 0; i < b->panels && b->n > 1; i++) {
        struct pane p = pane_of_grid(c, i, columns, HEAD, height);

        one_band(&p, b, &b->panel[i]);
    }
    draw_ink(c, INK, 1);
    draw_text(c, PLOT_WIDTH / 2.0, HEAD + rows * height + 10, 0.5, 14, false, b->x);
    return draw_end(c, png, why, why_size);
}

/* ---- reliability ---- */

static void reliability_line(const struct pane *p, const struct reliability_plot *r, const double *cover, bool dashed)
{
    cairo_set_line_width(p->c, dashed ? 1.8 : 2.6);
    draw_dashes(p->c, dashed);
    cairo_move_to(p->c, pane_x(p, 0), pane_y(p, 0));
    for (int i = 0; i < r->levels; i++)
        if (isfinite(cover[i]))
            cairo_line_to(p->c, pane_x(p, r->level[i]), pane_y(p, cover[i]));
    cairo_line_to(p->c, pane_x(p, 1), pane_y(p, 1));
    cairo_stroke(p->c);
    draw_dashes(p->c, false);
}

static void one_reliability(struct pane *p, const struct reliability_plot *r, const struct reliability_panel *e)
{
    char label[32];

    p->x1 = p->y1 = 1;
    for (int i = 0; i <= 4; i++) {
        snprintf(label, sizeof label, "%d", 25 * i);
        draw_y_mark(p, 0.25 * i, label);
        draw_x_mark(p, 0.25 * i, label);
    }
    draw_x_line(p);
    draw_ink(p->c, SOFT, 0.6);
    cairo_set_line_width(p->c, 1);
    draw_line(p->c, pane_x(p, 0), pane_y(p, 0), pane_x(p, 1), pane_y(p, 1));
    draw_ink(p->c, OTHER, 1);
    reliability_line(p, r, e->alone, true);
    draw_ink(p->c, MAIN, 1);
    reliability_line(p, r, e->together, false);
    draw_ink(p->c, INK, 1);
    draw_text(p->c, p->left, p->top - 9, 0, 14, true, e->name);
    draw_ink(p->c, SOFT, 1);
    draw_text(p->c, p->right - 4, p->bottom - 8, 1, 12, false, e->figures);
}

int plot_reliability(const char *png, const struct reliability_plot *r, char *why, size_t why_size)
{
    int      columns = r->panels <= 6 ? 3 : 4, rows = (r->panels + columns - 1) / columns;
    double   height = columns == 3 ? 360 : 280;
    cairo_t *c      = draw_begin((int)(HEAD + rows * height + 26), r->title, r->note);

    draw_ink(c, MAIN, 1);
    cairo_set_line_width(c, 2.6);
    draw_line(c, PLOT_WIDTH - 470, 88, PLOT_WIDTH - 436, 88);
    draw_text(c, PLOT_WIDTH - 428, 93, 0, 13, false, "all nets together");
    draw_ink(c, OTHER, 1);
    cairo_set_line_width(c, 1.8);
    draw_dashes(c, true);
    draw_line(c, PLOT_WIDTH - 280, 88, PLOT_WIDTH - 246, 88);
    draw_dashes(c, false);
    draw_text(c, PLOT_WIDTH - 238, 93, 0, 13, false, "each net by its own variance");
    for (int i = 0; i < r->panels; i++) {
        struct pane p = pane_of_grid(c, i, columns, HEAD, height);

        one_reliability(&p, r, &r->panel[i]);
    }
    draw_ink(c, INK, 1);
    draw_text(
        c, PLOT_WIDTH / 2.0, HEAD + rows * height + 10, 0.5, 14, false,
        "across: probability that the model gives to an interval about the middle, %; up: how often the truth was "
        "inside, %");
    return draw_end(c, png, why, why_size);
}

/* ---- spread ---- */

static void spread_range(struct pane *p, const struct spread_plot *s)
{
    double lo = (double)INFINITY, hi = -lo;

    for (int i = 0; i < s->sets; i++)
        for (int k = 0; k < 5; k++)
            range_widen(log10(s->set[i].q[k]), &lo, &hi);
    for (int i = 0; i < s->pushes; i++) {
        for (int k = 0; k < 3; k++)
            range_widen(log10(s->all[i][k]), &lo, &hi);
        for (int k = 0; k < s->lines; k++)
            range_widen(log10(s->line[k].median[i]), &lo, &hi);
    }
    range_settle(&lo, &hi, 0.04);
    p->y0    = lo < -6 ? -6 : lo;
    p->y1    = hi;
    p->log_y = true;
}

static void spread_sets(const struct pane *p, const struct spread_plot *s)
{
    char label[32];

    draw_x_line(p);
    for (int i = 0; i < s->sets; i++) {
        const double *q = s->set[i].q;
        double        x = pane_x(p, i);

        draw_ink(p->c, MAIN, 1);
        cairo_set_line_width(p->c, 1.6);
        draw_line(p->c, x, pane_y(p, q[0]), x, pane_y(p, q[4]));
        draw_ink(p->c, MAIN, 1);
        cairo_rectangle(p->c, x - 17, pane_y(p, q[3]), 34, pane_y(p, q[1]) - pane_y(p, q[3]));
        cairo_fill(p->c);
        cairo_set_source_rgb(p->c, 1, 1, 1);
        cairo_set_line_width(p->c, 2.4);
        draw_line(p->c, x - 17, pane_y(p, q[2]), x + 17, pane_y(p, q[2]));
        draw_ink(p->c, INK, 1);
        snprintf(label, sizeof label, "%.2g", q[2]);
        draw_text(p->c, x + 24, pane_y(p, q[2]) + 5, 0, 14, true, label);
        draw_text(p->c, x, p->bottom + 22, 0.5, 14, false, s->set[i].name);
    }
}

static void spread_labels(const struct pane *p, const struct spread_plot *s)
{
    struct end_label label[64];
    int              n = s->lines < 64 ? s->lines : 64;

    for (int k = 0; k < n; k++)
        label[k] = (struct end_label){ .text   = s->line[k].name,
                                       .colour = draw_series(k),
                                       .y      = s->line[k].median[s->pushes - 1] };
    draw_end_labels(p, label, n, 12);
}

static void spread_sweep(const struct pane *p, const struct spread_plot *s)
{
    char label[32];

    draw_x_line(p);
    for (int i = 0; i < s->pushes; i++)
        draw_x_mark(p, i, axis_number(label, sizeof label, s->push[i], 1));
    for (int i = 0; i < s->pushes; i++)
        cairo_line_to(p->c, pane_x(p, i), pane_y(p, s->all[i][2]));
    for (int i = s->pushes - 1; i >= 0; i--)
        cairo_line_to(p->c, pane_x(p, i), pane_y(p, s->all[i][0]));
    cairo_close_path(p->c);
    draw_ink(p->c, SOFT, 0.15);
    cairo_fill(p->c);
    for (int k = 0; k < s->lines; k++) {
        draw_ink(p->c, draw_series(k), 0.9);
        cairo_set_line_width(p->c, 1.8);
        draw_dashes(p->c, k >= SERIES_COLOURS);
        for (int i = 0; i < s->pushes; i++)
            cairo_line_to(p->c, pane_x(p, i), pane_y(p, s->line[k].median[i]));
        cairo_stroke(p->c);
    }
    draw_dashes(p->c, false);
    draw_ink(p->c, INK, 1);
    cairo_set_line_width(p->c, 3.2);
    for (int i = 0; i < s->pushes; i++)
        cairo_line_to(p->c, pane_x(p, i), pane_y(p, s->all[i][1]));
    cairo_stroke(p->c);
    spread_labels(p, s);
}

int plot_spread(const char *png, const struct spread_plot *s, char *why, size_t why_size)
{
    enum { HEIGHT = 640 };
    cairo_t    *c    = draw_begin(HEIGHT, s->title, s->note);
    struct pane sets = {
        .c = c, .left = 80, .right = 520, .top = 130, .bottom = HEIGHT - 70, .x0 = -0.5, .x1 = s->sets - 0.5
    };
    struct pane line = {
        .c = c, .left = 610, .right = 1010, .top = 130, .bottom = HEIGHT - 70, .x0 = 0, .x1 = s->pushes - 1
    };

    spread_range(&sets, s);
    spread_range(&line, s);
    draw_y_axis(&sets, 6);
    draw_y_axis(&line, 6);
    spread_sets(&sets, s);
    spread_sweep(&line, s);
    draw_ink(c, INK, 1);
    draw_text(c, sets.left - 40, 112, 0, 14, true, "spread, by where");
    draw_text(c, line.left - 40, 112, 0, 14, true, "spread of seen states, one observation pushed away");
    draw_text(c, 0.5 * (line.left + line.right), HEIGHT - 22, 0.5, 14, false, "pushed by, std of what was seen");
    draw_text(c, 0.5 * (sets.left + sets.right), HEIGHT - 22, 0.5, 14, false,
              "box: half of them, line: nine tenths; number: median");
    return draw_end(c, png, why, why_size);
}

/* ---- returns ---- */

static void return_labels(const struct pane *p, const struct return_line *line, int lines)
{
    struct end_label label[64];
    int              n = 0;

    for (int k = 0; k < lines && n < 64; k++)
        if (!line[k].thin && line[k].n)
            label[n++] = (struct end_label){ .text   = line[k].label,
                                             .colour = draw_series(line[k].colour),
                                             .bold   = !line[k].dashed,
                                             .y      = line[k].y[line[k].n - 1] };
    draw_end_labels(p, label, n, 13);
}

static void return_series(const struct pane *p, const struct return_line *l)
{
    draw_ink(p->c, draw_series(l->colour), l->thin ? 0.35 : 1);
    cairo_set_line_width(p->c, l->thin ? 1 : 2.6);
    draw_dashes(p->c, l->dashed);
    for (int i = 0; i < l->n; i++)
        if (isfinite(l->y[i]))
            cairo_line_to(p->c, pane_x(p, i + 1), pane_y(p, l->y[i]));
    cairo_stroke(p->c);
    draw_dashes(p->c, false);
    for (int i = 0; i < l->n && !l->thin; i++)
        draw_dot(p, i + 1, l->y[i], 3.5, false);
}

int plot_returns(const char *png, const char *title, const char *note, const struct return_line *line, int lines,
                 char *why, size_t why_size)
{
    enum { HEIGHT = 680 };
    cairo_t    *c = draw_begin(HEIGHT, title, note);
    struct pane p = {
        .c = c, .left = 80, .right = PLOT_WIDTH - 230, .top = 120, .bottom = HEIGHT - 70, .x0 = 0.7, .x1 = 2
    };
    double lo = (double)INFINITY, hi = -lo;

    for (int k = 0; k < lines; k++)
        for (int i = 0; i < line[k].n; i++) {
            range_widen(line[k].y[i], &lo, &hi);
            range_widen(i + 1.3, &p.x0, &p.x1);
        }
    range_settle(&lo, &hi, 0.04);
    p.y0 = lo;
    p.y1 = hi;
    draw_y_axis(&p, 8);
    draw_x_axis(&p, p.x1 <= 26 ? 1 : nice_step(p.x1, 12));
    for (int thin = 1; thin >= 0; thin--)
        for (int k = 0; k < lines; k++)
            if (line[k].thin == (thin == 1))
                return_series(&p, &line[k]);
    return_labels(&p, line, lines);
    draw_ink(c, INK, 1);
    draw_text(c, 0.5 * (p.left + p.right), HEIGHT - 22, 0.5, 14, false, "planned trial");
    draw_text(c, p.left - 40, p.top - 14, 0, 14, false, "return");
    return draw_end(c, png, why, why_size);
}
