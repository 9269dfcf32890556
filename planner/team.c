/* team.c - see team.h. */
#include "planner/team.h"

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

struct team {
    int      workers;
    uint64_t unit_ns;
};

struct team *team_layout(struct arena *a, int workers)
{
    struct team *t = ARENA_ARRAY(a, struct team, 1);

    CHECK(workers >= 1 && workers <= TEAM_MAX);
    if (t)
        *t = (struct team){ .workers = workers };
    return t;
}

int team_run(struct team *t, team_work *work, void *ctx, int units, uint64_t deadline_ns, uint64_t reserve_ns)
{
    uint64_t began = 0;

    t->unit_ns = 0;
    for (int unit = 0; unit < units; unit++) {
        if (deadline_ns != UINT64_MAX) {
            uint64_t now = clock_now_ns();

            if (unit > 0 && now - began > t->unit_ns)
                t->unit_ns = now - began;
            began = now;
            if (now >= deadline_ns || t->unit_ns + reserve_ns >= deadline_ns - now)
                return unit;
        }
        work(ctx, 0, unit);
    }
    return units;
}

uint64_t team_unit_ns(const struct team *t)
{
    return t->unit_ns;
}

void team_member(struct team *t, int worker)
{
    CHECK(worker > 0 && worker < t->workers);
}

void team_dismiss(struct team *t)
{
    (void)t;
}
