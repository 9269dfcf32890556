/* cli_plot.h - learning curves as PNG, and where they come from. */
#ifndef DAEMON_CLI_PLOT_H
#define DAEMON_CLI_PLOT_H

#include <stdbool.h>
#include <stddef.h>

enum { CURVE_MAX = 4096, PLOT_HEIGHT = 720 };

/* Returns of finished trials in the order they were done.  Trials cut short are not results and are left out. */
struct curve {
    char   label[48];
    double random; /* return of the first random trial, NaN: none */
    int    n;
    double ret[CURVE_MAX]; /* of planned trials 1 .. n */
};

/* Running maximum at planned trial i = 0 .. n-1. */
double curve_best(const struct curve *c, int i);

/* Number (from 1) of the first planned trial whose running maximum reaches x; 0: none. */
int curve_first(const struct curve *c, double x);

/* Median over the curves that are at least i+1 trials long of the running maximum; NaN: none. */
double curve_median_best(const struct curve *c, int curves, int i);

/* Mean of the `window` returns that end with planned trial i; NaN before there are so many. */
double curve_window(const struct curve *c, int window, int i);

/* Of the last `window` trials, or of all where there are fewer; NaN: none. */
double curve_last_mean(const struct curve *c, int window);

/* Median over the curves of the returns of planned trial i that are numbers; NaN: none. */
double curve_median(const struct curve *c, int curves, int i);

/* Reads a store (models/store.h) with nothing but SQLite, read-only.  0, or -1 with a sentence. */
int curve_load(const char *store, struct curve *c, char *why, size_t why_size);

/* Mean training time of the models of a store, s; NaN: none or unreadable. */
double store_train_s(const char *store);

/* One curve: returns as dots, running maximum as a line.  Several: running maxima as thin lines and their median.
 * levels (NULL: none) are drawn as faint lines.  0, or -1 with a sentence. */
int plot_curves(const char *png, const char *title, const struct curve *c, int curves, const double *levels,
                int nlevels, char *why, size_t why_size);

/* The same with more to choose. */
struct level {
    double      value;
    const char *what; /* NULL: the number itself, at the left */
};
struct curve_plot {
    const char         *title, *note;
    const struct curve *curve;
    int                 curves;
    const struct level *level;
    int                 levels;
    double              steps_per_trial; /* of the environment, for a second label; 0: none */
    bool                lines;           /* values as lines: neither dots nor running maxima */
    bool                no_median;
};
int plot_learning(const char *png, const struct curve_plot *l, char *why, size_t why_size);

/* Lines over logarithmic axes. */
enum { LINE_MAX_POINTS = 32 };
struct line {
    char   label[48];
    int    n;
    double x[LINE_MAX_POINTS], y[LINE_MAX_POINTS]; /* x > 0; what is not finite is left out */
};
struct line_plot {
    const char        *title, *note, *x, *y; /* of the axes */
    double             y_min;                /* > 0: smaller values are drawn there, on the bottom */
    const struct line *line;
    int                lines;
};

/* 0, or -1 with a sentence. */
int plot_lines(const char *png, const struct line_plot *l, char *why, size_t why_size);

#endif
