/* bench_stubs.c - what the planner does not have yet. */
#include <string.h>

#include "planner/planner.h"

__attribute__((weak)) const char *planner_phase_name(enum plan_phase phase)
{
    static const char *const name[] = { "noise", "sample", "features", "layers", "activation", "head", "cost", "refit" };

    return name[phase];
}

__attribute__((weak)) void planner_phases(struct planner *p, int slot, const struct plan_request *req, double seconds[PLAN_PHASES])
{
    (void)p, (void)slot, (void)req;
    memset(seconds, 0, PLAN_PHASES * sizeof *seconds);
}
