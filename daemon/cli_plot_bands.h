/* cli_plot_bands.h - pictures about a learned model (bench_model.c) and what it was learned from (bench_data.c).
 *
 * All write a PNG; 0, or -1 with a sentence in `why`.  Values that are not finite are left out. */
#ifndef DAEMON_CLI_PLOT_BANDS_H
#define DAEMON_CLI_PLOT_BANDS_H

#include <stdbool.h>
#include <stddef.h>

/* Small multiples over time: truth, mean and two bands. */
struct band_panel {
    const char  *name;
    const float *truth, *mean, *band[4]; /* n each; quantiles 0.05, 0.25, 0.75, 0.95 */
};
struct band_plot {
    const char              *title, *note, *x; /* of the axis */
    double                   x_step;           /* value i stands at i x_step */
    int                      n;
    const struct band_panel *panel;
    int                      panels;
};
int plot_bands(const char *png, const struct band_plot *p, char *why, size_t why_size);

/* Small multiples of nominal against observed coverage. */
struct reliability_panel {
    const char   *name;
    char          figures[48]; /* in the corner */
    const double *together, *alone;
};
struct reliability_plot {
    const char                     *title, *note;
    const double                   *level;
    int                             levels;
    const struct reliability_panel *panel;
    int                             panels;
};
int plot_reliability(const char *png, const struct reliability_plot *p, char *why, size_t why_size);

/* Left: quantiles 0.05, 0.25, 0.5, 0.75, 0.95 of some sets.  Right: the median against a distance, a line per name. */
struct spread_set {
    const char *name;
    double      q[5];
};
struct spread_line {
    const char *name;
    double      median[8];
};
struct spread_plot {
    const char               *title, *note;
    const struct spread_set  *set;
    int                       sets;
    int                       pushes; /* <= 8 */
    double                    push[8];
    double                    all[8][3]; /* quantiles 0.05, 0.5, 0.95 over all lines */
    const struct spread_line *line;
    int                       lines;
};
int plot_spread(const char *png, const struct spread_plot *p, char *why, size_t why_size);

/* Returns of planned trials: lines of one colour belong together. */
enum { RETURN_LINE_MAX = 256 };
struct return_line {
    char   label[48];
    int    colour;
    bool   dashed, thin; /* thin: no label */
    int    n;
    double y[RETURN_LINE_MAX];
};
int plot_returns(const char *png, const char *title, const char *note, const struct return_line *line, int lines,
                 char *why, size_t why_size);

#endif
