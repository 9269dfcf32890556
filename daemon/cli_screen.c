/* cli_screen.c - see cli_screen.h. */
#include "daemon/cli_screen.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"

enum { LINE_MAX_BYTES = 4096 };

static const char *const escape[] = {
    [1] = "\033[0m", [2] = "\033[1m", [3] = "\033[2m", [4] = "\033[32m", [5] = "\033[33m", [6] = "\033[31m"
};

void screen_clear(struct screen *s)
{
    s->len   = 0;
    s->lines = 0;
    if (s->text)
        s->text[0] = 0;
}

void screen_free(struct screen *s)
{
    free(s->text);
    s->text = NULL;
    s->len = s->room = 0;
    s->lines         = 0;
}

static void put(struct screen *s, const char *bytes, size_t n)
{
    if (s->len + n + 1 > s->room) {
        s->room = 2 * (s->len + n + 1);
        s->text = realloc(s->text, s->room);
        CHECK(s->text);
    }
    memcpy(s->text + s->len, bytes, n);
    s->len += n;
    s->text[s->len] = 0;
}

/* Bytes of the character at p: one that is printable or a mark, otherwise 0 = drop one byte. */
static size_t character(const char *p)
{
    unsigned char c = (unsigned char)*p;
    size_t        n = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;

    if (c >= 0xf8 || c == 0x7f || (c < 0x20 && c != '\t' && !(c >= 1 && c <= 6)))
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return 0;
    if (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0) /* C1 controls */
        return 0;
    return n;
}

static bool is_mark(const char *p)
{
    return *p >= 1 && *p <= 6;
}

int screen_columns(const char *text)
{
    int columns = 0;

    for (const char *p = text; *p;) {
        if (*p == '\033') {
            p += strcspn(p, "m");
            p += *p == 'm';
            continue;
        }
        size_t n = character(p);

        if (n && !is_mark(p) && *p != '\t')
            columns++;
        p += n ? n : 1;
    }
    return columns;
}

static void newline(struct screen *s)
{
    if (s->colour)
        put(s, escape[1], strlen(escape[1]));
    put(s, "\n", 1);
    s->lines++;
}

void screen_line(struct screen *s, const char *format, ...)
{
    char    line[LINE_MAX_BYTES];
    va_list ap;
    int     column = 0;

    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);

    for (const char *p = line; *p;) {
        size_t n = character(p);

        if (n && *p == '\t') {
            int gap = s->width ? s->width - column - screen_columns(p + 1) : 3;

            for (int i = 0; i < (gap > 1 ? gap : 1) && (!s->width || column < s->width); i++, column++)
                put(s, " ", 1);
        } else if (n && is_mark(p)) {
            if (s->colour)
                put(s, escape[(int)*p], strlen(escape[(int)*p]));
        } else if (n) {
            if (s->width && column >= s->width)
                break;
            put(s, p, n);
            column++;
        }
        p += n ? n : 1;
    }
    newline(s);
}

void screen_wrap(struct screen *s, int indent, const char *format, ...)
{
    char    text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list ap;
    size_t  used = 0;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (s->width && indent > s->width / 2)
        indent = 0;

    line[0] = 0;
    for (const char *p = text; *p;) {
        size_t gap = strspn(p, " "), word = strcspn(p + gap, " ");
        char   piece[LINE_MAX_BYTES];

        snprintf(piece, sizeof piece, "%.*s", (int)(gap + word), p);
        if (s->width && used && screen_columns(line) + screen_columns(piece) > s->width) {
            screen_line(s, "%s", line);
            used = (size_t)snprintf(line, sizeof line, "%*s%.*s", indent, "", (int)word, p + gap);
        } else {
            used += (size_t)snprintf(line + used, sizeof line - used, "%s", piece);
        }
        p += gap + word;
    }
    screen_line(s, "%s", line);
}

/* --- small drawings ------------------------------------------------------------------------------------------- */

static void append(char *out, size_t n, const char *piece)
{
    size_t used = strlen(out);

    if (used + strlen(piece) < n)
        memcpy(out + used, piece, strlen(piece) + 1);
}

void spark(char *out, size_t n, const double *v, int count, int width)
{
    static const char *const block[8] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };

    int    first = count > width ? count - width : 0;
    double lo = (double)INFINITY, hi = -(double)INFINITY;

    out[0] = 0;
    for (int i = first; i < count; i++) {
        if (isfinite(v[i])) {
            lo = v[i] < lo ? v[i] : lo;
            hi = v[i] > hi ? v[i] : hi;
        }
    }
    for (int i = first; i < count; i++) {
        /* halves first: hi - lo may overflow */
        double share = hi > lo ? (v[i] / 2 - lo / 2) / (hi / 2 - lo / 2) : 0.5;

        append(out, n, isfinite(v[i]) ? block[(int)(share * 7 + 0.5)] : " ");
    }
}

void bar(char *out, size_t n, double share, int width)
{
    static const char *const part[8] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };

    if (!(share > 0))
        share = 0;
    if (share > 1)
        share = 1;
    int eighths = (int)(share * 8 * width + 0.5), column = 0;

    out[0] = 0;
    for (; column < eighths / 8; column++)
        append(out, n, "█");
    if (eighths % 8) {
        append(out, n, part[eighths % 8]);
        column++;
    }
    for (; column < width; column++)
        append(out, n, "░");
}
