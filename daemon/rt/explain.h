/* explain.h - writes the sentence of a failure and returns false, for `return explain(...)`. */
#ifndef RT_EXPLAIN_H
#define RT_EXPLAIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4), unused)) static bool explain(char *why, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return false;
}

#endif
