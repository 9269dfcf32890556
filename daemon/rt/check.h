/* check.h - a broken invariant stops the process, in release builds too; the robot side then damps. */
#ifndef RT_CHECK_H
#define RT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Says where on stderr and aborts.  Out of line, so that real-time objects need neither stdio nor abort by name. */
__attribute__((cold)) _Noreturn void check_failed(const char *file, int line, const char *condition);

#define CHECK(cond)                                    \
    do {                                               \
        if (!(cond))                                   \
            check_failed(__FILE__, __LINE__, #cond);   \
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
