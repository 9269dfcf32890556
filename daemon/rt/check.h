/* check.h - a broken invariant stops the process, in release builds too; the robot side then damps. */
#ifndef RT_CHECK_H
#define RT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                         \
    do {                                                                    \
        if (!(cond)) {                                                      \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                        \
        }                                                                   \
    } while (0)

/* Memory without which a program cannot start, or cannot do the one thing it is there for: no bug, but its end, in words
 * (exit code EX_OSERR). */
#define NEED(memory)                                                                                       \
    do {                                                                                                   \
        if (!(memory)) {                                                                                   \
            fprintf(stderr, "no memory (%s:%d): free some, then start again\n", __FILE__, __LINE__);       \
            exit(71);                                                                                      \
        }                                                                                                  \
    } while (0)

#endif
