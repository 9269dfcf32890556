/* cli_screen.h - lines for a terminal, built in memory: never wider than asked, safe whatever the text contains.
 *
 * Text may hold the style marks below; they become colours, or nothing.  Other control characters are dropped, so that
 * nothing a daemon says can drive the terminal. */
#ifndef DAEMON_CLI_SCREEN_H
#define DAEMON_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#define PLAIN "\001"
#define BOLD  "\002"
#define DIM   "\003"
#define GOOD  "\004" /* green */
#define WARN  "\005" /* yellow */
#define BAD   "\006" /* red */

struct screen {
    char  *text; /* lines ending in '\n'; NULL while empty */
    size_t len, room;
    int    lines;
    int    width; /* columns; 0: as long as it takes */
    bool   colour;
};

void screen_clear(struct screen *s);
void screen_free(struct screen *s);

/* One line, cut at the width.  A '\t' in the text moves what follows it to the right edge. */
__attribute__((format(printf, 2, 3))) void screen_line(struct screen *s, const char *format, ...);

/* The same, but what does not fit goes on in lines indented by `indent` columns. */
__attribute__((format(printf, 3, 4))) void screen_wrap(struct screen *s, int indent, const char *format, ...);

/* Columns that UTF-8 text takes, marks and escape sequences not counted. */
int screen_columns(const char *text);

/* The last `width` values as blocks, scaled from the smallest to the largest; a gap for NaN. */
void spark(char *out, size_t n, const double *v, int count, int width);

/* A bar of `width` columns, share 0 .. 1; NaN is empty. */
void bar(char *out, size_t n, double share, int width);

#endif
