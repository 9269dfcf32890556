/* test_core_claims.c - claims about the core that changed code would have survived without (`make mutate`). */
#include "tests/test.h"
