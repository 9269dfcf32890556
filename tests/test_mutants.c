/* test_mutants.c - claims that changed code would have survived without (`make mutate`). */
#include <string.h>

#include "daemon/filter.h"
#include "daemon/mode.h"
#include "tests/test.h"

TEST(mode_names_and_who_may_move)
{
    static const char *const name[MODE_COUNT] = { "BOOT",     "DISARMED", "BASELINE", "EXPLORE",
                                                  "ADVANCED", "STOPPING", "FAULT" };

    for (int m = 0; m < MODE_COUNT; m++) {
        EXPECT(strcmp(mode_name((enum mode)m), name[m]) == 0);
        EXPECT(mode_armed((enum mode)m) == (m >= MODE_BASELINE && m <= MODE_ADVANCED));
    }
}
