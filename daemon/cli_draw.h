/* cli_draw.h - what all pictures have in common (cli_plot*.c): colours, frames, text, lines, axes; drawn with cairo.
 *
 * Lines and text have the colour and width that were set last, unless it says otherwise. */
#ifndef DAEMON_CLI_DRAW_H
#define DAEMON_CLI_DRAW_H

#include <cairo/cairo.h>
#include <stdbool.h>
#include <stddef.h>

enum { PLOT_WIDTH = 1200 }; /* of every picture, pixels */

/* ---- colours ---- */

struct colour {
    double r, g, b;
};

/* Text; numbers and notes; lines of a grid; what a picture is about. */
static const struct colour INK = { 0.13, 0.15, 0.18 }, SOFT = { 0.42, 0.45, 0.50 }, GRID = { 0.90, 0.91, 0.92 },
                           MAIN = { 0.05, 0.38, 0.67 };

/* The colour of the k-th of several, after so many again from the start: dark and light enough to tell apart in grey. */
enum { SERIES_COLOURS = 8 };
struct colour draw_series(int k);

/* The same, paler: for curves below a darker one; recognisable to most eyes. */
struct colour draw_pale(int k);

/* Sets the colour. */
void draw_ink(cairo_t *c, struct colour k, double alpha);

/* ---- pictures ---- */

/* A white picture with a title and a note at the top left; the frames begin below y = 80. */
cairo_t *draw_begin(int height, const char *title, const char *note);

/* Writes the picture and frees it.  0, or -1 with a sentence. */
int draw_end(cairo_t *c, const char *png, char *why, size_t why_size);

/* ---- lines and text ---- */

/* One line of text; y: of its base.  align: 0 left, 0.5 centre, 1 right of x. */
void draw_text(cairo_t *c, double x, double y, double align, double size, bool bold, const char *s);

/* From one point to another. */
void draw_line(cairo_t *c, double x0, double y0, double x1, double y1);

/* Lines are dashed from now on, or no longer. */
void draw_dashes(cairo_t *c, bool on);

/* ---- frames ---- */

struct pane {
    cairo_t *c;
    double   left, right, top, bottom; /* frame, pixels */
    double   x0, x1, y0, y1;           /* what the frame shows */
    double   size;                     /* of the numbers at its axes; 0: 12 */
    bool     log_y;                    /* y0, y1 are log10; what is below 1e-12 is drawn there */
};

/* Pixel of a value. */
double pane_x(const struct pane *p, double x);
double pane_y(const struct pane *p, double y);

/* Frame i of a grid of so many columns below `head`; `height`: of a row with its labels, pixels. */
struct pane pane_of_grid(cairo_t *c, int i, int columns, double head, double height);

/* Nothing is drawn outside the frame until cairo_restore(). */
void pane_clip(const struct pane *p);

/* A disc, or a ring, at values; nothing where y is not finite. */
void draw_dot(const struct pane *p, double x, double y, double radius, bool hollow);

/* ---- ranges and axes ---- */

/* Makes lo .. hi include v if that is finite.  Start with lo = INFINITY, hi = -INFINITY. */
void range_widen(double v, double *lo, double *hi);

/* A range to be seen: not empty, and with a margin, a share of it, on both sides. */
void range_settle(double *lo, double *hi, double margin);

/* 1, 2 or 5 times a power of ten, so that about `count` steps fill the range. */
double nice_step(double range, int count);

/* v as an axis with such steps shows it; returns out. */
const char *axis_number(char *out, size_t n, double v, double step);

/* A line across the frame at y with a label at its left; a tick below the frame at x with its label.  In GRID, SOFT. */
void draw_y_mark(const struct pane *p, double y, const char *label);
void draw_x_mark(const struct pane *p, double x, const char *label);

/* Marks with their numbers, about `count`.  With log_y: at 1, 2 and 5 times the powers of ten, or where these would be
 * more than `count`, at the powers only. */
void draw_y_axis(const struct pane *p, int count);

/* The bottom of the frame, in SOFT; and the same with marks and numbers at multiples of step. */
void draw_x_line(const struct pane *p);
void draw_x_axis(const struct pane *p, double step);

/* ---- labels ---- */

struct end_label {
    const char   *text;
    struct colour colour;
    bool          bold;
    double        y; /* of the line's end, a value; not finite: no label */
};

/* Labels at the right, each beside its line's end but never over the one above.  Sorts them. */
void draw_end_labels(const struct pane *p, struct end_label *label, int n, double size);

#endif
