/* bench_stubs.c - what the planner does not have yet. */
#include <string.h>

#include "planner/planner.h"

__attribute__((weak)) void planner_prepare(struct planner *p, uint64_t seed)
{
    (void)p, (void)seed;
}

__attribute__((weak)) void planner_worker(struct planner *p, int worker)
{
    (void)p, (void)worker;
}

__attribute__((weak)) void planner_dismiss(struct planner *p)
{
    (void)p;
}

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
