/* isa.c - see isa.h. */
#include "models/isa.h"

#include <stddef.h>
#include <string.h>

const char *const *isa_names(void)
{
#if defined(__x86_64__)
    static const char *const all[] = { "avx512", "avx2", "portable", NULL };

    bool avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");

    return avx512 ? all : avx2 ? all + 1 : all + 2;
#elif defined(__aarch64__)
    static const char *const all[] = { "neon", "portable", NULL }; /* every aarch64 has NEON */

    return all;
#else
    static const char *const all[] = { "portable", NULL };

    return all;
#endif
}

int isa_find(const char *name)
{
    const char *const *names = isa_names();

    for (int i = 0; names[i]; i++)
        if (!name || !strcmp(names[i], name))
            return i;
    return -1;
}

bool isa_bf16(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
