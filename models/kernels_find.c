/* kernels_find.c - which of the kernels this CPU can run; what is the same for all of them. */
#include <math.h>
#include <string.h>

#include "models/kernels.h"

const struct kernels *kernels_find(const char *isa)
{
    static const struct kernels *const all[] = {
#if defined(__x86_64__)
        &kernels_avx512,
        &kernels_avx2,
#elif defined(__aarch64__)
        &kernels_neon,
#endif
        &kernels_portable,
    };
    int found = isa_find(isa);

    for (size_t i = 0; found >= 0 && i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->isa, isa_names()[found]))
            return all[i];
    return NULL;
}

double adam_rate(double learning_rate, long t)
{
    return learning_rate * sqrt(1 - pow(0.999, (double)t)) / (1 - pow(0.9, (double)t));
}
