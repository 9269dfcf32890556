/* libfuzzer.c - the target named by FUZZ_TARGET as a libFuzzer program (`make fuzz`); run from the top folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct fuzz_target *t;
    static int                       begun;
    const char                      *name = getenv("FUZZ_TARGET");

    for (int i = 0; i < fuzz_targets && !t && name; i++)
        t = strcmp(fuzz_target[i].name, name) == 0 ? &fuzz_target[i] : NULL;
    if (!t) {
        fprintf(stderr, "fuzz: FUZZ_TARGET names no target of tests/fuzz/targets.c\n");
        exit(2);
    }
    if (!begun++)
        atexit(fuzz_end);
    t->run(bytes, n);
    return 0;
}
