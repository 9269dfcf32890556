/* kernels_find.c - which of the kernels this CPU can run; what is the same for all of them. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "models/kernels.h"

const char *const *kernels_isas(void)
{
    static const char *const all[] = { "avx512", "avx2", "portable", NULL };

#ifdef __x86_64__
    bool avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");

    return avx512 ? all : avx2 ? all + 1 : all + 2;
#else
    return all + 2;
#endif
}

const struct kernels *kernels_find(const char *isa)
{
    const char *const *can = kernels_isas();

    if (!isa)
        isa = can[0];
    while (*can && strcmp(*can, isa) != 0)
        can++;
    if (!*can)
        return NULL;
#ifdef __x86_64__
    if (!strcmp(isa, "avx512"))
        return &kernels_avx512;
    if (!strcmp(isa, "avx2"))
        return &kernels_avx2;
#endif
    return &kernels_portable;
}

double adam_rate(double learning_rate, long t)
{
    return learning_rate * sqrt(1 - pow(0.999, (double)t)) / (1 - pow(0.9, (double)t));
}
