/* peak.c - bursts of independent multiply-adds.  Assembly, as a compiler would see that nobody needs the sums. */
#include "models/peak.h"

#include <string.h>

#include "daemon/rt/clock.h"
#include "models/isa.h"

enum { BURSTS = 4, BURST_MFLOP = 100 };

/* clang-format off */
/* Twelve sums at once hide the latency: 2 units x at most 5 cycles.  B: what stands in front of a register's number. */
#define TWELVE(OP, B) \
    OP(B, 0) OP(B, 1) OP(B, 2) OP(B, 3) OP(B, 4) OP(B, 5) OP(B, 6) OP(B, 7) OP(B, 8) OP(B, 9) OP(B, 10) OP(B, 11)

#if defined(__x86_64__)

#define ZERO(B, i) "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n\t"
#define FMA(B, i)  "vfmadd231ps %%" B "13, %%" B "12, %%" B #i "\n\t"
#define DOT(B, i)  "vdpbf16ps %%" B "13, %%" B "12, %%" B #i "\n\t"
#define ROUNDS(OP, B)                                                                                    \
    __asm__ volatile(TWELVE(ZERO, "") ZERO("", 12) ZERO("", 13) "1:\n\t" TWELVE(OP, B) TWELVE(OP, B)     \
                     "dec %0\n\t" "jnz 1b\n\t" "vzeroupper"                                              \
                     : "+r"(rounds) :                                                                    \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                       "xmm10", "xmm11", "xmm12", "xmm13")

__attribute__((target("avx512f"))) static void burst_avx512(long rounds)
{
    ROUNDS(FMA, "zmm");
}

__attribute__((target("avx512f"))) static void burst_bf16(long rounds)
{
    ROUNDS(DOT, "zmm");
}

__attribute__((target("avx2"))) static void burst_avx2(long rounds)
{
    ROUNDS(FMA, "ymm");
}

#elif defined(__aarch64__)

/* Up to 4 units x 4 cycles there. */
#define MORE(OP, B) \
    OP(B, 16) OP(B, 17) OP(B, 18) OP(B, 19) OP(B, 20) OP(B, 21) OP(B, 22) OP(B, 23) OP(B, 24) OP(B, 25) OP(B, 26) OP(B, 27)
#define ZERO(B, i) "movi v" #i ".4s, #0\n\t"
#define FMA(B, i)  "fmla v" #i ".4s, v12.4s, v13.4s\n\t"

static void burst_neon(long rounds)
{
    __asm__ volatile(TWELVE(ZERO, "") MORE(ZERO, "") ZERO("", 12) ZERO("", 13) "1:\n\t" TWELVE(FMA, "") MORE(FMA, "")
                     "subs %0, %0, #1\n\t" "b.ne 1b"
                     : "+r"(rounds) :
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27");
}
/* clang-format on */

#endif

/* What the baseline of this architecture makes of it: SSE2 on x86. */
__attribute__((unused)) static void burst_portable(long rounds)
{
    typedef float         vf __attribute__((vector_size(16)));
    static volatile float zero; /* nothing may be known of the numbers, not even that two are equal */
    vf                    sum[12], a = zero - (vf){ 0 }, b = zero - (vf){ 0 };

    for (int i = 0; i < 12; i++)
        sum[i] = zero - (vf){ 0 };
    for (; rounds > 0; rounds--) {
        for (int k = 0; k < 2; k++) {
#pragma GCC unroll 12
            for (int i = 0; i < 12; i++)
                sum[i] = sum[i] * a + b;
        }
    }
    for (int i = 0; i < 12; i++)
        zero = sum[i][0];
}

/* Best of BURSTS bursts with `flop` operations a round. */
static double best_of(void (*burst)(long rounds), int flop)
{
    long   rounds = BURST_MFLOP * 1000000L / flop;
    double best   = 0;

    for (int i = 0; i < BURSTS; i++) {
        uint64_t start = clock_now_ns();

        burst(rounds);
        double rate = (double)rounds * flop / (double)(clock_now_ns() - start);

        best = rate > best ? rate : best;
    }
    return best;
}

/* On the best of this CPU's instruction sets.  AVX-512 without the parts that isa.c asks for counts as AVX2. */
double peak_f32_gflops(void)
{
#if defined(__x86_64__)
    if (!strcmp(peak_isa(), "avx512"))
        return best_of(burst_avx512, 2 * 12 * 2 * 16);
    if (!strcmp(peak_isa(), "avx2"))
        return best_of(burst_avx2, 2 * 12 * 2 * 8);
#elif defined(__aarch64__)
    return best_of(burst_neon, 2 * 12 * 2 * 4);
#endif
    return best_of(burst_portable, 2 * 12 * 2 * 4);
}

double peak_bf16_gflops(void)
{
#ifdef __x86_64__
    if (isa_bf16())
        return best_of(burst_bf16, 2 * 12 * 4 * 16);
#endif
    return 0;
}

const char *peak_isa(void)
{
    return isa_names()[0];
}
