/* Claims about models/peak.c. */
#include <string.h>

#include "models/peak.h"
#include "tests/test.h"

TEST(a_peak_is_a_plausible_number_and_names_its_vectors)
{
    double f32 = peak_f32_gflops(), bf16 = peak_bf16_gflops();

    EXPECT(f32 > 0.01 && f32 < 1e4); /* an emulated CPU .. more than any core has */
    EXPECT(bf16 >= 0 && bf16 < 1e4);
    EXPECT(bf16 == 0 || strcmp(peak_isa(), "avx512") == 0);
}
