/* test_swap.c - M8 of the fault model: models change place while the planner plans.  As in limberd: one thread packs into
 * the handoff's slot and publishes, the planner takes the newest at the beginning of each plan. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "daemon/rt/handoff.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

enum { MODELS = 3 };

struct swap {
    struct kit       kit, model[MODELS];
    struct handoff   handoff;
    uint64_t         swaps;
    _Atomic uint64_t newest;
    _Atomic bool     done;
    uint64_t         seen, plans, versions, mixed, backwards; /* the planner's */
    struct plan      want[MODELS];                            /* version n has the weights of model n % MODELS */
};

static bool same_plan(const struct plan *a, const struct plan *b)
{
    return memcmp(a->action, b->action, sizeof a->action) == 0 && a->iterations == b->iterations &&
           memcmp(&a->cost, &b->cost, sizeof a->cost) == 0 && memcmp(&a->spread, &b->spread, sizeof a->spread) == 0 &&
           memcmp(a->predicted, b->predicted, sizeof a->predicted) == 0 &&
           memcmp(a->predicted_std, b->predicted_std, sizeof a->predicted_std) == 0 &&
           memcmp(a->out_std, b->out_std, sizeof a->out_std) == 0;
}

static struct plan_request request_of(const struct kit *k)
{
    struct plan_request req = kit_request(k, 0); /* forgets: a plan depends on the model alone */

    req.id = 1;
    return req;
}

static void published(void *ctx, const struct plan *plan)
{
    struct swap *s = ctx;

    s->backwards += plan->model_version < s->seen;
    s->seen = plan->model_version;
}

static void *planning(void *arg)
{
    struct swap              *s      = arg;
    const struct plan_request req    = request_of(&s->kit);
    uint64_t                  before = 0;
    struct plan               plan;

    while (!atomic_load(&s->done)) {
        bool     fresh;
        uint64_t newest = atomic_load(&s->newest);

        if (!newest)
            continue;
        planner_step(s->kit.p, (int)handoff_latest(&s->handoff, &fresh), &req, published, s, &plan);
        published(s, &plan); /* no other version than what was published of it on the way */
        s->backwards += plan.model_version < newest;
        s->mixed += !same_plan(&plan, &s->want[plan.model_version % MODELS]);
        s->versions += plan.model_version != before;
        before = plan.model_version;
        s->plans++;
    }
    return NULL;
}

/* What takes little time to pack and to plan with. */
static void small(struct kit *k)
{
    kit_defaults(k, 2, 1);
    k->d.members    = 2;
    k->d.layers     = 1;
    k->d.hidden     = 8;
    k->c.particles  = 2;
    k->c.population = 16;
    k->c.iterations = 2;
    k->c.elites     = 4;
}

static void swap_open(struct swap *s)
{
    handoff_init(&s->handoff);
    small(&s->kit);
    kit_open(&s->kit, NULL);
    for (uint64_t i = 0; i < MODELS; i++) {
        struct plan_request req = request_of(&s->kit);

        small(&s->model[i]);
        kit_model(&s->model[i], 3 + i);
        planner_pack(s->kit.p, (int)i, &s->model[i].e);
        planner_step(s->kit.p, (int)i, &req, NULL, NULL, &s->want[i]);
        for (uint64_t j = 0; j < i; j++)
            EXPECT(!same_plan(&s->want[i], &s->want[j])); /* or a mixture would not show */
    }
}

TEST(a_plan_belongs_to_one_model_however_often_models_change_place_meanwhile)
{
    static struct swap s;
    pthread_t          planner;

    s.swaps = (uint64_t)test_rounds(100000, 1000000);
    swap_open(&s);
    if (pthread_create(&planner, NULL, planning, &s))
        abort();
    for (uint64_t n = 1; n <= s.swaps; n++) {
        struct ensemble *e = &s.model[n % MODELS].e;

        e->version = n;
        planner_pack(s.kit.p, (int)s.handoff.write, e);
        handoff_publish(&s.handoff);
        atomic_store(&s.newest, n);
        if (n % 16 == 0) /* where there is one processor only, they take turns */
            sched_yield();
    }
    atomic_store(&s.done, true);
    pthread_join(planner, NULL);
    EXPECT(s.mixed == 0 && s.backwards == 0);
    EXPECT(s.plans > 100 && s.versions > 100);
    for (int i = 0; i < MODELS; i++)
        ensemble_free(&s.model[i].e);
    kit_close(&s.kit);
}
