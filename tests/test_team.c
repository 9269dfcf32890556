/* The team: every unit once, whoever takes part; and plans that do not depend on who did. */
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "daemon/rt/sanitized.h"
#include "planner/team.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

enum { THREADS = 8, UNITS = 10000, SCRATCH = 16 };

struct crew {
    void        *memory;
    struct team *team;
    int          threads; /* begun */
    pthread_t    thread[THREADS];
    struct crew_member {
        struct crew *crew;
        int          worker;
    } member[THREADS];
};

static void *member_run(void *arg)
{
    struct crew_member *m = arg;

    team_member(m->crew->team, m->worker);
    return NULL;
}

/* A team for `workers`, with nobody there but the leader. */
static void crew_init(struct crew *c, int workers)
{
    struct arena a = ARENA_PROBE;

    *c = (struct crew){ 0 };
    team_layout(&a, workers);
    c->memory = aligned_alloc(64, (a.used + 63) / 64 * 64);
    CHECK(c->memory);
    a       = (struct arena){ .base = c->memory, .size = a.used };
    c->team = team_layout(&a, workers);
}

static void crew_join(struct crew *c)
{
    int i = c->threads++;

    c->member[i] = (struct crew_member){ .crew = c, .worker = i + 1 };
    CHECK(pthread_create(&c->thread[i], NULL, member_run, &c->member[i]) == 0);
}

static void crew_end(struct crew *c)
{
    team_dismiss(c->team);
    for (int i = 0; i < c->threads; i++)
        CHECK(pthread_join(c->thread[i], NULL) == 0);
    free(c->memory);
}

/* One run's work.  Plain memory: the team alone must order who writes and who reads. */
struct job {
    uint64_t seed;
    bool     stalls;
    int      stall_unit, stall_us; /* this unit takes so long; -1: none */
    bool     stall_first;          /* and the first one, too: time for others to come */
    int      units;
    bool     open; /* team_run has not returned yet */
    uint8_t  done[UNITS];
    int      by[UNITS];
    uint64_t result[UNITS];
    uint64_t took_ns[UNITS];
    uint64_t scratch[THREADS + 1][SCRATCH];
};

static void stall(uint64_t us)
{
    for (uint64_t until = clock_now_ns() + us * 1000; clock_now_ns() < until;)
        ;
}

static void work(void *ctx, int worker, int unit)
{
    struct job *j = ctx;
    uint64_t   *s = j->scratch[worker], sum = 0;
    uint64_t    began = clock_now_ns();
    struct rng  rng;

    if (!j->open || unit >= j->units)
        abort(); /* counting would be a race */
    rng_seed(&rng, rng_derive(j->seed, 1, (uint64_t)unit));
    for (int i = 0; i < SCRATCH; i++)
        s[i] = rng_next(&rng);
    if (j->stalls && rng_below(&rng, 64) == 0)
        sched_yield();
    if (j->stalls && rng_below(&rng, 256) == 0)
        stall(rng_below(&rng, 200));
    if (unit == j->stall_unit || (unit == 0 && j->stall_first))
        stall((uint64_t)j->stall_us);
    for (int i = 0; i < SCRATCH; i++)
        sum += s[i] * (uint64_t)(i + 1);
    j->result[unit] = sum;
    j->by[unit]     = worker;
    j->done[unit]++;
    j->took_ns[unit] = clock_now_ns() - began;
}

static void job_init(struct job *j, uint64_t seed, int units, bool stalls)
{
    memset(j->done, 0, (size_t)units);
    memset(j->result, 0, (size_t)units * sizeof *j->result);
    j->seed        = seed;
    j->stalls      = stalls;
    j->stall_unit  = -1;
    j->stall_first = false;
    j->units       = units;
}

static int job_run(struct crew *c, struct job *j, uint64_t deadline_ns, uint64_t reserve_ns)
{
    j->open = true;
    int n   = team_run(c->team, work, j, j->units, deadline_ns, reserve_ns);
    j->open = false;
    return n;
}

/* Units that were not done once (or, from n on, not at all), or whose result is not what one thread computes. */
static int job_wrong(const struct job *j, int n)
{
    int wrong = 0;

    for (int u = 0; u < j->units; u++) {
        struct rng rng;
        uint64_t   sum = 0;

        rng_seed(&rng, rng_derive(j->seed, 1, (uint64_t)u));
        for (int i = 0; i < SCRATCH; i++)
            sum += rng_next(&rng) * (uint64_t)(i + 1);
        wrong += j->done[u] != (u < n) || (u < n && j->result[u] != sum);
    }
    return wrong;
}

static int soak(int times)
{
    return test_rounds(times, 100 * times);
}

static struct job *new_job(void)
{
    struct job *j = calloc(1, sizeof *j);

    CHECK(j);
    return j;
}

TEST(every_unit_is_done_once_and_alike_by_any_number_of_workers)
{
    struct job *j = new_job();
    struct rng  rng;

    rng_seed(&rng, 1);
    for (int threads = 0; threads <= THREADS; threads++) {
        struct crew c;
        int         wrong = 0;

        crew_init(&c, threads + 1);
        for (int i = 0; i < threads; i++)
            crew_join(&c);
        for (int i = 0; i < soak(30); i++) {
            job_init(j, rng_next(&rng), (int)rng_below(&rng, i % 10 ? 300 : UNITS + 1), i % 2);
            wrong += job_run(&c, j, UINT64_MAX, 0) != j->units;
            wrong += job_wrong(j, j->units);
            if (i % 7 == 0)
                usleep(200); /* let them fall asleep */
        }
        EXPECT(wrong == 0);
        crew_end(&c);
    }
    free(j);
}

TEST(a_late_worker_never_takes_a_unit_of_another_run)
{
    struct job *j[2] = { new_job(), new_job() };
    struct crew c;
    int         wrong = 0;

    crew_init(&c, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        crew_join(&c);
    for (int i = 0; i < soak(20000); i++) { /* work() aborts where the run is over */
        job_init(j[i % 2], (uint64_t)i, i % 5, false);
        wrong += job_run(&c, j[i % 2], i % 3 ? UINT64_MAX : clock_now_ns() + NS_PER_S, 0) > i % 5;
        wrong += i % 3 && job_wrong(j[i % 2], i % 5);
    }
    EXPECT(wrong == 0);
    crew_end(&c);
    free(j[0]);
    free(j[1]);
}

TEST(workers_may_come_and_leave_while_the_leader_goes_on)
{
    struct job *j = new_job();
    struct rng  rng;

    rng_seed(&rng, 3);
    for (int round = 0; round < soak(10); round++) {
        struct crew c;
        int         wrong = 0, dismiss = (int)rng_below(&rng, 40);

        crew_init(&c, THREADS + 1);
        for (int i = 0; i < 40; i++) {
            if (c.threads < THREADS && rng_below(&rng, 4) == 0)
                crew_join(&c); /* some after team_dismiss: they return at once */
            if (i == dismiss)
                team_dismiss(c.team);
            job_init(j, rng_next(&rng), (int)rng_below(&rng, 200), true);
            wrong += job_run(&c, j, UINT64_MAX, 0) != j->units;
            wrong += job_wrong(j, j->units);
        }
        EXPECT(wrong == 0);
        crew_end(&c);
    }
    free(j);
}

TEST(workers_that_never_come_are_not_waited_for)
{
    struct job *j = new_job();
    struct crew c;

    crew_init(&c, THREADS + 1);
    for (int units = 0; units <= UNITS; units = units * 3 + 1) {
        job_init(j, 5, units, false);
        EXPECT(job_run(&c, j, UINT64_MAX, 0) == units);
        EXPECT(job_wrong(j, units) == 0);
        EXPECT(job_run(&c, j, 0, 0) == 0);
    }
    crew_end(&c);
    free(j);
}

TEST(a_worker_stalled_in_a_unit_is_waited_for_and_the_others_are_done_meanwhile)
{
    struct job *j = new_job();
    struct crew c;
    struct rng  rng;
    int         helped = 0;

    rng_seed(&rng, 7);
    crew_init(&c, 3);
    crew_join(&c);
    crew_join(&c);
    for (int i = 0; i < soak(20) || (helped == 0 && i < 2000); i++) {
        job_init(j, (uint64_t)i, 500, false);
        j->stall_unit  = i % 2 ? i % 3 : 100 + (int)rng_below(&rng, 400);
        j->stall_first = true;
        j->stall_us    = 1000; /* longer than anyone spins */
        EXPECT(job_run(&c, j, UINT64_MAX, 0) == 500);
        EXPECT(job_wrong(j, 500) == 0);
        helped += j->by[j->stall_unit] > 0;
    }
    EXPECT(helped > 0);
    crew_end(&c);
    free(j);
}

TEST(a_deadline_leaves_a_done_prefix_and_the_longest_unit_is_known)
{
    struct job *j = new_job();
    struct rng  rng;
    int         cut = 0;

    rng_seed(&rng, 4);
    for (int threads = 0; threads <= 4; threads++) {
        struct crew c;

        crew_init(&c, threads + 1);
        for (int i = 0; i < threads; i++)
            crew_join(&c);
        for (int i = 0; i < soak(30); i++) {
            uint64_t longest = 0;

            job_init(j, rng_next(&rng), 2000, true);
            int n = job_run(&c, j, clock_now_ns() + rng_below(&rng, 2000000), rng_below(&rng, 100000));

            EXPECT(n >= 0 && n <= 2000);
            EXPECT(job_wrong(j, n) == 0);
            cut += n < 2000;
            for (int u = 0; u < n; u++)
                longest = j->took_ns[u] > longest ? j->took_ns[u] : longest;
            EXPECT(team_unit_ns(c.team) >= longest);
        }
        crew_end(&c);
    }
    EXPECT(cut > 0);
    free(j);
}

static void sleepy(void *ctx, int worker, int unit)
{
    (void)ctx, (void)worker, (void)unit;
    for (uint64_t until = clock_now_ns() + 5 * NS_PER_MS; clock_now_ns() < until;)
        usleep(1000);
}

TEST(no_unit_begins_that_would_end_after_the_deadline)
{
    for (int threads = 0; threads <= 2; threads++) {
        struct crew c;

        crew_init(&c, threads + 1);
        for (int i = 0; i < threads; i++)
            crew_join(&c);
        /* Of units of 5 ms each thread begins at most two in 12 ms: at 10 ms there is no time for a third.  The same
         * where all but 12 ms are reserved. */
        for (int i = 0; i < 5; i++) {
            uint64_t reserve = i % 2 ? 1000 * NS_PER_S : 0;

            EXPECT(team_run(c.team, sleepy, NULL, 100, clock_now_ns() + reserve + 12 * NS_PER_MS, reserve) <=
                   2 * (threads + 1));
        }
        crew_end(&c);
    }
}

/* Plain computing: what a unit may do where no system call is allowed. */
static void count(void *ctx, int worker, int unit)
{
    (void)worker;
    *(uint64_t *)ctx += (uint64_t)unit;
}

TEST(a_leader_on_its_own_makes_no_system_call)
{
    struct crew c;
    int         status;

    if (RT_SANITIZED)
        return; /* its runtime makes some */
    crew_init(&c, THREADS + 1);
    pid_t child = fork();
    if (child == 0) {
        uint64_t sum = 0;

        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
            _exit(2);
        for (int i = 0; i < 1000; i++)
            team_run(c.team, count, &sum, 100, UINT64_MAX, 0);
        syscall(SYS_exit, sum == 1000 * 4950 ? 0 : 1); /* any other call but read and write kills */
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2));
    crew_end(&c);
}

/* ---- planners ---- */

struct kit_member {
    struct planner *p;
    int             worker;
};

static void *plan_member(void *arg)
{
    struct kit_member *m = arg;

    planner_worker(m->p, m->worker);
    return NULL;
}

/* Five plans in a row, by `threads` workers beside the leader. */
static void plan_with(struct kit *k, int threads, struct plan *plan)
{
    struct kit_member member[THREADS];
    pthread_t         thread[THREADS];

    k->c.workers = threads + 1;
    kit_open(k, NULL);
    for (int i = 0; i < threads; i++) {
        member[i] = (struct kit_member){ .p = k->p, .worker = i + 1 };
        CHECK(pthread_create(&thread[i], NULL, plan_member, &member[i]) == 0);
    }
    for (int i = 0; i < 5; i++) {
        struct plan_request q = kit_request(k, (uint64_t)i);

        q.next_seed = q.seed + 1;
        planner_step(k->p, 0, &q, NULL, NULL, &plan[i]);
        if (i % 2)
            planner_prepare(k->p, q.next_seed);
    }
    planner_dismiss(k->p);
    for (int i = 0; i < threads; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    kit_close(k);
}

TEST(a_plan_is_the_same_to_the_bit_by_any_number_of_workers)
{
    for (const char *const *name = planner_names(); *name; name++)
        for (int kind = PARTICLES_TSINF; kind <= PARTICLES_DS; kind++) {
            static struct plan alone[5], together[5];
            struct kit         k;

            kit_defaults(&k, 4, 2);
            snprintf(k.c.name, sizeof k.c.name, "%s", *name);
            k.c.population  = 150;
            k.c.particles   = 6;
            k.c.propagation = (enum particle_kind)kind;
            k.c.dtype       = kind % 2 ? DTYPE_BF16 : DTYPE_F32;
            if (planner_config_error(&k.c, &k.d))
                continue; /* not every planner takes every kind */
            kit_model(&k, 5);
            plan_with(&k, 0, alone);
            for (int threads = 1; threads <= THREADS; threads += threads) {
                plan_with(&k, threads, together);
                EXPECT(memcmp(alone, together, sizeof alone) == 0);
            }
            ensemble_free(&k.e);
        }
}
