/* peak.h - how fast one core can multiply and add: the yardstick of the benchmarks.
 *
 * A core that others share, or that is hot, slows down and recovers within seconds.  So a benchmark measures between
 * its own repetitions, at least five times in all, on the thread it runs on, and divides by the best. */
#ifndef MODELS_PEAK_H
#define MODELS_PEAK_H

/* One measurement: GFLOP/s of independent fused multiply-adds in registers on the widest vectors this CPU has, a
 * multiply-add counted as two (without a fused one: a multiplication and an addition).  The best of four bursts;
 * about 3 ms where a core reaches 150 GFLOP/s, longer on slower ones.  No memory, any thread. */
double peak_f32_gflops(void);

/* The same for products of bf16 pairs summed in f32 (VDPBF16PS), four operations a pair; 0: no AVX512_BF16 here. */
double peak_bf16_gflops(void);

/* What peak_f32_gflops uses: "avx512", "avx2", "neon", "portable". */
const char *peak_isa(void);

#endif
