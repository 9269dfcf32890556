/* cli_plot_lecture.h - pictures of the lecture's experiments (bench_lecture.h).  PNG; 0, or -1 with a sentence in `why`. */
#ifndef DAEMON_CLI_PLOT_LECTURE_H
#define DAEMON_CLI_PLOT_LECTURE_H

#include <stddef.h>

enum { LECTURE_DOTS_MAX = 1024, LECTURE_GROUPS_MAX = 4, LECTURE_SETS_MAX = 4 };

/* A column of dots per set in every group, with a bar for their mean. */
struct dots {
    int           n;
    const double *v;
};
struct dots_plot {
    const char *title, *note, *y;
    int         groups, sets;
    const char *group[LECTURE_GROUPS_MAX], *set[LECTURE_SETS_MAX];
    struct dots dots[LECTURE_GROUPS_MAX][LECTURE_SETS_MAX];
};
int plot_dots(const char *png, const struct dots_plot *p, char *why, size_t why_size);

/* Seen from above: a panel per path, with its waypoints and the tracks along it. */
struct track {
    int n;
    const double (*at)[2]; /* m */
};
struct track_panel {
    const char *name;
    char        figures[80];
    int         points;
    const double (*point)[2];
    int                 tracks;
    const struct track *track;
};
struct track_plot {
    const char               *title, *note;
    const struct track_panel *panel;
    int                       panels;
};
int plot_tracks(const char *png, const struct track_plot *p, char *why, size_t why_size);

#endif
