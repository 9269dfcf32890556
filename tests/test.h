/* test.h - TEST(name) registers itself; EXPECT_* report and carry on.  A name is a claim about behaviour. */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

struct test {
    const char  *name, *file;
    void       (*run)(void);
    struct test *next;
};
extern struct test *test_list;
extern int          test_failures; /* in the running test */

/* A fresh directory for the running test, removed afterwards when it passed; and where the programs were built. */
const char *test_dir(void);
const char *test_build_dir(void);

#define TEST(id)                                                 \
    static void        id(void);                                 \
    static struct test test_##id = { #id, __FILE__, id, NULL };  \
    __attribute__((constructor)) static void add_##id(void)      \
    {                                                            \
        test_##id.next = test_list;                              \
        test_list      = &test_##id;                             \
    }                                                            \
    static void id(void)

#define EXPECT(cond)                                             \
    do {                                                         \
        if (!(cond)) {                                           \
            test_failures++;                                     \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #cond);    \
        }                                                        \
    } while (0)

#define EXPECT_NEAR(got, want, tol)                                                                        \
    do {                                                                                                   \
        double g_ = (double)(got), w_ = (double)(want), t_ = (double)(tol);                                \
        if (!(fabs(g_ - w_) <= t_)) {                                                                      \
            test_failures++;                                                                               \
            printf("%s:%d: %s is %.9g, want %.9g +- %g\n", __FILE__, __LINE__, #got, g_, w_, t_);          \
        }                                                                                                  \
    } while (0)

#define EXPECT_STR(got, want_part)                                                                         \
    do {                                                                                                   \
        const char *g_ = (got), *w_ = (want_part);                                                         \
        if (!g_ || !test_contains(g_, w_)) {                                                               \
            test_failures++;                                                                               \
            printf("%s:%d: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, g_ ? g_ : "(null)", w_); \
        }                                                                                                  \
    } while (0)

/* How often a test with random inputs tries: `usual`, or `soak` under LIMBER_SOAK, or a tenth of `usual` under
 * LIMBER_QUICK (in an emulator). */
int test_rounds(int usual, int soak);

bool test_contains(const char *text, const char *part);

/* Runs a shell command; its exit code, -1 where a signal ended it.  What it said stands in `out`, as far as there is room. */
int test_command(const char *command, char *out, size_t size);

/* Runs it in a child process: does a CHECK whose text contains `condition` end that one? */
bool test_breaks(void (*run)(const void *), const void *arg, const char *condition);

#endif
