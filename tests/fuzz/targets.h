/* targets.h - what reads bytes that others wrote: each target takes any bytes, and may refuse them but never break.
 *
 * tests/test_fuzz.c runs every committed input (tests/fuzz/corpus/NAME) and seeded changes of them; libfuzzer.c makes the
 * same targets a libFuzzer program (`make fuzz`). */
#ifndef TESTS_FUZZ_TARGETS_H
#define TESTS_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_target {
    const char *name;
    void (*run)(const uint8_t *bytes, size_t n); /* aborts where what it reads breaks a promise */
};

extern const struct fuzz_target fuzz_target[];
extern const int                fuzz_targets;

/* Removes what the targets wrote (a directory of this process under /dev/shm). */
void fuzz_end(void);

#endif
