/* isa.h - which instruction sets this CPU has, for all that is compiled once per instruction set.  Any thread. */
#ifndef MODELS_ISA_H
#define MODELS_ISA_H

#include <stdbool.h>

/* Names, best first, NULL-terminated: "avx512", "avx2" or "neon", and always "portable". */
const char *const *isa_names(void);

/* Place of a name in isa_names(); NULL: the best, 0.  -1: this CPU cannot run it. */
int isa_find(const char *name);

/* Products of bfloat16 pairs (AVX512_BF16)? */
bool isa_bf16(void);

#endif
