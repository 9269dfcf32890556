/* team.c - see team.h.
 *
 * One 64-bit word says everything about claiming: which run, the next unit, and whether the run is closed.  A claim is
 * a compare-and-swap of the whole word, so a thread that was stalled since it read the word cannot claim in a later
 * run: the run's number would have to come round, which takes 2^39 runs (17 years of 1000 a second).
 *
 * What a run consists of is written only while the word is closed, and read by members before they claim.  Where the
 * claim succeeds the run was not closed yet, so what was read is this run's: the claim releases, the closing acquires,
 * and the next run is written after that.  Where it fails, what was read is thrown away; hence the atomics. */
#include "planner/team.h"

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/signal.h"

enum { UNIT_BITS = 24, UNITS_MAX = (1 << UNIT_BITS) - 1 };

#define UNIT_MASK ((uint64_t)UNITS_MAX)
#define CLOSED    ((uint64_t)1 << UNIT_BITS)
#define RUN_SHIFT (UNIT_BITS + 1)

/* How long to spin before sleeping, as a wake-up costs 10 to 50 us.  The leader: about as long as a unit may last that
 * another has just begun.  Members: about as long as the leader needs between two iterations of a small plan.  Both are
 * next to nothing of the share that the kernel leaves to real-time threads (95 %). */
enum { LEADER_SPIN_NS = 300000, MEMBER_SPIN_NS = 100000 };

struct team {
    int workers;

    /* The run: written by the leader while `claim` is closed. */
    _Atomic(team_work *) work;
    void *_Atomic        ctx;
    _Atomic uint64_t     units, deadline_ns, reserve_ns;

    _Alignas(64) _Atomic uint64_t claim; /* run << RUN_SHIFT | CLOSED | next unit              */
    _Alignas(64) _Atomic int finished;   /* units of this run done by others than the leader   */
    _Atomic uint64_t unit_ns;            /* longest of this run                                */
    _Atomic bool     leader_waits;
    struct rt_signal over;              /* raised after `finished`, where the leader waits    */
    _Alignas(64) _Atomic bool sleepers; /* somebody may be asleep on `begun`                  */
    _Atomic bool     dismissed;
    struct rt_signal begun;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct team *team_layout(struct arena *a, int workers)
{
    struct team *t = ARENA_ARRAY(a, struct team, 1);

    CHECK(workers >= 1 && workers <= TEAM_MAX);
    if (t)
        *t = (struct team){ .workers = workers, .claim = CLOSED };
    return t;
}

static void record(struct team *t, uint64_t ns)
{
    uint64_t longest = atomic_load_explicit(&t->unit_ns, memory_order_relaxed);

    while (ns > longest && !atomic_compare_exchange_weak_explicit(&t->unit_ns, &longest, ns, memory_order_relaxed,
                                                                  memory_order_relaxed))
        ;
}

/* Works on the current run while there are units to claim.  Returns how many it did; *run: which run it was. */
static int take_part(struct team *t, int worker, uint64_t *run)
{
    uint64_t now  = 0; /* when the last unit ended */
    int      done = 0;

    for (;;) {
        uint64_t   claim    = atomic_load_explicit(&t->claim, memory_order_acquire);
        uint64_t   deadline = atomic_load_explicit(&t->deadline_ns, memory_order_relaxed);
        uint64_t   reserve  = atomic_load_explicit(&t->reserve_ns, memory_order_relaxed);
        uint64_t   next     = claim + 1;
        team_work *work     = atomic_load_explicit(&t->work, memory_order_relaxed);
        void      *ctx      = atomic_load_explicit(&t->ctx, memory_order_relaxed);

        *run = claim >> RUN_SHIFT;
        if (claim & CLOSED || (claim & UNIT_MASK) >= atomic_load_explicit(&t->units, memory_order_relaxed))
            return done;
        if (deadline != UINT64_MAX) {
            uint64_t longest = atomic_load_explicit(&t->unit_ns, memory_order_relaxed);

            if (!now)
                now = clock_now_ns();
            if (now >= deadline || longest + reserve >= deadline - now)
                next = claim | CLOSED;
        }
        if (!atomic_compare_exchange_strong_explicit(&t->claim, &claim, next, memory_order_acq_rel,
                                                     memory_order_relaxed)) {
            now = 0;
            continue;
        }
        if (next & CLOSED)
            return done;
        rt_body_begin();
        work(ctx, worker, (int)(claim & UNIT_MASK));
        rt_body_end();
        if (deadline != UINT64_MAX) {
            uint64_t end = clock_now_ns();

            record(t, end - now);
            now = end;
        }
        done++;
        if (worker > 0) {
            atomic_fetch_add(&t->finished, 1);
            if (atomic_load(&t->leader_waits))
                rt_signal_raise(&t->over);
        }
    }
}

/* The leader: until the others have done `count` units. */
static void await_others(struct team *t, int count)
{
    if (atomic_load_explicit(&t->finished, memory_order_acquire) == count)
        return;
    for (uint64_t until = clock_now_ns() + LEADER_SPIN_NS; clock_now_ns() < until; relax())
        if (atomic_load_explicit(&t->finished, memory_order_acquire) == count)
            return;
    atomic_store(&t->leader_waits, true);
    for (;;) {
        uint32_t seen = rt_signal_count(&t->over);

        if (atomic_load(&t->finished) == count)
            break;
        rt_signal_wait(&t->over, seen, UINT64_MAX);
    }
    atomic_store_explicit(&t->leader_waits, false, memory_order_relaxed);
}

int team_run(struct team *t, team_work *work, void *ctx, int units, uint64_t deadline_ns, uint64_t reserve_ns)
{
    uint64_t run = (atomic_load_explicit(&t->claim, memory_order_relaxed) >> RUN_SHIFT) + 1;

    CHECK(units >= 0 && units <= UNITS_MAX);
    atomic_store_explicit(&t->work, work, memory_order_relaxed);
    atomic_store_explicit(&t->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&t->units, (uint64_t)units, memory_order_relaxed);
    atomic_store_explicit(&t->deadline_ns, deadline_ns, memory_order_relaxed);
    atomic_store_explicit(&t->reserve_ns, reserve_ns, memory_order_relaxed);
    atomic_store_explicit(&t->finished, 0, memory_order_relaxed);
    if (deadline_ns != UINT64_MAX)
        atomic_store_explicit(&t->unit_ns, 0, memory_order_relaxed);

    /* In one order with `sleepers`: who says that it will sleep sees the run afterwards, or is seen here. */
    atomic_store(&t->claim, run << RUN_SHIFT);
    if (units > 1 && atomic_load(&t->sleepers)) {
        atomic_store(&t->sleepers, false);
        rt_signal_raise_all(&t->begun);
    }
    int mine    = take_part(t, 0, &run);
    int claimed = (int)(atomic_fetch_or_explicit(&t->claim, CLOSED, memory_order_acq_rel) & UNIT_MASK);
    await_others(t, claimed - mine);
    return claimed;
}

uint64_t team_unit_ns(const struct team *t)
{
    return atomic_load_explicit(&t->unit_ns, memory_order_relaxed);
}

/* Is there nothing for a member that has seen the end of `run`? */
static bool idle(struct team *t, uint64_t run)
{
    return atomic_load(&t->claim) >> RUN_SHIFT == run && !atomic_load(&t->dismissed);
}

static void await_run(struct team *t, uint64_t run)
{
    for (uint64_t until = clock_now_ns() + MEMBER_SPIN_NS; clock_now_ns() < until; relax())
        if (!idle(t, run))
            return;
    for (;;) {
        uint32_t seen = rt_signal_count(&t->begun);

        atomic_store(&t->sleepers, true);
        if (!idle(t, run))
            return;
        rt_signal_wait(&t->begun, seen, UINT64_MAX);
    }
}

void team_member(struct team *t, int worker)
{
    uint64_t run;

    CHECK(worker > 0 && worker < t->workers);
    while (!atomic_load(&t->dismissed)) {
        take_part(t, worker, &run);
        await_run(t, run);
    }
}

void team_dismiss(struct team *t)
{
    atomic_store(&t->dismissed, true);
    rt_signal_raise_all(&t->begun);
}
