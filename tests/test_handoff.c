/* test_handoff.c - what carries values between threads (daemon/rt/handoff.h, ring.h), between real ones: nothing torn,
 * nothing twice, nothing backwards, nobody waits, and a writer that ends in the middle of a value costs that one. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/handoff.h"
#include "daemon/rt/ring.h"
#include "daemon/rt/rng.h"
#include "daemon/rt/sanitized.h"
#include "tests/test.h"

enum { WORDS = 40, SLOTS = 64 };

/* Every word follows from the number. */
struct item {
    uint64_t n, word[WORDS];
};

static uint64_t word_of(uint64_t n, int i)
{
    return (n + 1) * 0x9e3779b97f4a7c15ull ^ (uint64_t)i << 56;
}

static void item_write(struct item *it, uint64_t n, int words)
{
    it->n = n;
    for (int i = 0; i < words; i++)
        it->word[i] = word_of(n, i);
}

static bool item_whole(const struct item *it)
{
    for (int i = 0; i < WORDS; i++)
        if (it->word[i] != word_of(it->n, i))
            return false;
    return true;
}

/* Now and then a thread loses the processor wherever it is, as a machine does to it. */
static void interrupted(struct rng *r)
{
    if (rng_below(r, 512) == 0)
        sched_yield();
}

enum { PATIENCE_S = 300 };

struct line {
    struct handoff   handoff;
    struct ring      ring;
    struct item      slot[SLOTS];
    uint64_t         rounds;
    _Atomic uint64_t offered; /* numbers up to this were published */
    uint64_t         accepted, refused, broken_off;
    uint64_t         next;     /* number */
    int              lives;    /* writers that follow each other */
    uint64_t         until_ns; /* by then it must be over */
    _Atomic bool     over;
};

/* Nothing came: lets others run.  False: nothing will. */
static bool waits(struct line *l)
{
    sched_yield();
    if (clock_now_ns() > l->until_ns)
        atomic_store(&l->over, true);
    return !atomic_load(&l->over);
}

/* ---- handoff ---- */

/* Publishes the next numbers; a life ends in the middle of writing a value, and the next writer begins there. */
static void *handoff_writer(void *arg)
{
    struct line *l    = arg;
    uint64_t     last = l->next + l->rounds / (uint64_t)l->lives;
    struct rng   r;

    rng_seed(&r, last);
    for (; l->next < last; l->next++) {
        struct item *it = &l->slot[l->handoff.write];

        if (rng_below(&r, 64) == 0) { /* begun, and left like that: another number comes instead */
            item_write(it, ~l->next, (int)rng_below(&r, WORDS));
            l->broken_off++;
            continue;
        }
        item_write(it, l->next, WORDS / 2);
        interrupted(&r);
        item_write(it, l->next, WORDS);
        handoff_publish(&l->handoff);
        atomic_store_explicit(&l->offered, l->next, memory_order_release);
    }
    item_write(&l->slot[l->handoff.write], ~l->next, WORDS / 2);
    return NULL;
}

static void *handoff_writers(void *arg)
{
    struct line *l = arg;

    for (int i = 0; i < l->lives; i++) {
        pthread_t life;

        if (pthread_create(&life, NULL, handoff_writer, l))
            abort();
        pthread_join(life, NULL);
    }
    return NULL;
}

/* Reads until `last` was seen; how often something was wrong. */
static uint64_t handoff_reader(struct line *l, uint64_t last, uint64_t *fresh_ones)
{
    uint64_t   seen = 0, wrong = 0;
    struct rng r;

    rng_seed(&r, 3);
    while (seen < last) {
        bool               fresh;
        uint64_t           offered = atomic_load_explicit(&l->offered, memory_order_acquire);
        const struct item *it      = &l->slot[handoff_latest(&l->handoff, &fresh)];

        if (!fresh && !waits(l))
            return wrong + 1;
        if (!fresh && offered == 0)
            continue;
        wrong += fresh ? it->n <= seen : it->n != seen; /* never back, and not new without saying so */
        wrong += it->n < offered;                       /* the newest that there was when it was asked for */
        interrupted(&r);                                /* it may be read for as long as it takes */
        wrong += !item_whole(it);
        *fresh_ones += fresh;
        seen = it->n;
    }
    return wrong;
}

TEST(a_handoff_gives_the_newest_value_whole_and_never_an_older_one_though_its_writers_break_off)
{
    static struct line l;
    uint64_t           fresh = 0;
    pthread_t          writers;

    l = (struct line){ .rounds   = (uint64_t)test_rounds(1000000, 10000000),
                       .lives    = 10,
                       .next     = 1,
                       .until_ns = clock_now_ns() + PATIENCE_S * NS_PER_S };
    handoff_init(&l.handoff);
    EXPECT(!handoff_fresh(&l.handoff));
    if (pthread_create(&writers, NULL, handoff_writers, &l))
        abort();
    /* the last number may be one that was broken off: the reader then waits for the one before it */
    uint64_t wrong = handoff_reader(&l, l.rounds - 20, &fresh);
    pthread_join(writers, NULL);
    EXPECT(wrong == 0);
    EXPECT(fresh > 1000 && l.broken_off > l.rounds / 100); /* or it would prove nothing */

    bool is_new; /* and at the end, the last one that was published whole */
    EXPECT(l.slot[handoff_latest(&l.handoff, &is_new)].n == atomic_load(&l.offered));
    handoff_latest(&l.handoff, &is_new);
    EXPECT(!is_new && !handoff_fresh(&l.handoff));
}

TEST(a_handoffs_reader_waits_for_nobody_while_a_value_stays_half_written)
{
    static struct line l;
    bool               fresh;

    handoff_init(&l.handoff);
    item_write(&l.slot[l.handoff.write], 7, WORDS);
    handoff_publish(&l.handoff);
    item_write(&l.slot[l.handoff.write], 8, WORDS / 2); /* its writer never comes back */
    for (int i = 0; i < 100000; i++) {
        const struct item *it = &l.slot[handoff_latest(&l.handoff, &fresh)];

        EXPECT(fresh == (i == 0) && it->n == 7 && item_whole(it));
        if (test_failures)
            return;
    }
}

TEST(a_handoffs_writer_waits_for_nobody_while_its_reader_sits_on_a_value)
{
    static struct line l;
    bool               fresh;

    handoff_init(&l.handoff);
    item_write(&l.slot[l.handoff.write], 1, WORDS);
    handoff_publish(&l.handoff);
    const struct item *held = &l.slot[handoff_latest(&l.handoff, &fresh)];
    for (uint64_t n = 2; n < 100000; n++) {
        EXPECT(&l.slot[l.handoff.write] != held);
        item_write(&l.slot[l.handoff.write], n, WORDS);
        handoff_publish(&l.handoff);
        EXPECT(handoff_fresh(&l.handoff) && held->n == 1 && item_whole(held));
        if (test_failures)
            return;
    }
    EXPECT(l.slot[handoff_latest(&l.handoff, &fresh)].n == 99999 && fresh);
}

/* ---- ring ---- */

static void *ring_writer(void *arg)
{
    struct line *l = arg;
    struct rng   r;

    rng_seed(&r, 4);
    while (l->accepted < l->rounds && !atomic_load(&l->over)) {
        uint64_t slot;

        if (!ring_claim(&l->ring, &slot)) {
            l->refused++;
            sched_yield();
            continue;
        }
        if (rng_below(&r, 64) == 0) { /* begun, and left like that: the next one takes its place */
            item_write(&l->slot[slot], ~l->accepted, (int)rng_below(&r, WORDS));
            l->broken_off++;
            continue;
        }
        item_write(&l->slot[slot], l->accepted, WORDS / 2);
        interrupted(&r);
        item_write(&l->slot[slot], l->accepted++, WORDS);
        ring_push(&l->ring);
    }
    return NULL;
}

TEST(a_ring_carries_every_record_once_in_order_and_whole_and_counts_those_that_do_not_fit)
{
    static struct line l;
    uint64_t           wrong = 0, most = 0;
    pthread_t          writer;
    struct rng         r;

    l = (struct line){ .rounds   = (uint64_t)test_rounds(1000000, 10000000),
                       .until_ns = clock_now_ns() + PATIENCE_S * NS_PER_S };
    ring_init(&l.ring, SLOTS);
    rng_seed(&r, 5);
    if (pthread_create(&writer, NULL, ring_writer, &l))
        abort();
    for (uint64_t n = 0; n < l.rounds;) {
        uint64_t slot, behind = atomic_load(&l.ring.head) - n;

        most = behind > most ? behind : most;
        if (!ring_peek(&l.ring, &slot)) {
            if (!waits(&l))
                break;
            continue;
        }
        const struct item *it = &l.slot[slot];
        wrong += it->n != n;
        interrupted(&r);
        wrong += !item_whole(it);
        ring_pop(&l.ring);
        n++;
    }
    pthread_join(writer, NULL);
    uint64_t slot;
    EXPECT(wrong == 0 && !atomic_load(&l.over) && !ring_peek(&l.ring, &slot));
    EXPECT(most <= SLOTS && l.broken_off > l.rounds / 100);
    EXPECT(atomic_load(&l.ring.dropped) == l.refused); /* whether any was is a matter of luck */
}

TEST(a_ring_shows_nothing_of_a_record_that_is_half_written_and_refuses_only_what_does_not_fit)
{
    static struct line l;
    uint64_t           slot = 0;

    ring_init(&l.ring, 2);
    EXPECT(!ring_peek(&l.ring, &slot));
    EXPECT(ring_claim(&l.ring, &slot));
    item_write(&l.slot[slot], 1, WORDS / 2);
    for (int i = 0; i < 1000; i++)
        EXPECT(!ring_peek(&l.ring, &slot));
    for (uint64_t n = 1; n <= 2; n++) {
        EXPECT(ring_claim(&l.ring, &slot));
        item_write(&l.slot[slot], n, WORDS);
        ring_push(&l.ring);
    }
    EXPECT(!ring_claim(&l.ring, &slot) && atomic_load(&l.ring.dropped) == 1);
    EXPECT(ring_peek(&l.ring, &slot) && l.slot[slot].n == 1);
    ring_pop(&l.ring);
    EXPECT(ring_claim(&l.ring, &slot)); /* there is room again */
    EXPECT(ring_peek(&l.ring, &slot) && l.slot[slot].n == 2);
}

/* ---- the tests above, by the thread sanitizer ---- */

/* They, with `script` applied by sed to both headers: the exit code, or -1; what was said is in `said`. */
static int sanitized(const char *script, char *said, size_t size)
{
    char command[3000];

    snprintf(command, sizeof command,
             "cd %s/.. && d=%s/headers && mkdir -p $d/daemon/rt && for h in handoff ring; do "
             "sed '%s' daemon/rt/$h.h >$d/daemon/rt/$h.h; done && "
             "gcc -std=gnu11 -D_GNU_SOURCE -w -O1 -g -fsanitize=thread -I$d -I. -o $d/run tests/main.c "
             "tests/test_handoff.c -lm && "
             "LIMBER_QUICK=1 TSAN_OPTIONS=halt_on_error=1 $d/run a_handoff_ a_ring_ 2>&1",
             test_build_dir(), test_dir(), script);
    return test_command(command, said, size);
}

/* This machine's processor keeps an order that the code does not ask for; the sanitizer does not. */
TEST(the_thread_sanitizer_finds_no_race_in_what_crosses_and_finds_each_order_that_is_left_out)
{
    static const char *const left_out[] = { "s/memory_order_acq_rel/memory_order_relaxed/",
                                            "s/memory_order_release/memory_order_relaxed/",
                                            "s/memory_order_acquire/memory_order_relaxed/" };
    static char              said[65536];

    if (RT_SANITIZED)
        return;
    int rc = sanitized("", said, sizeof said);
    EXPECT(rc == 0);
    if (rc)
        printf("%s", said);
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++) {
        EXPECT(sanitized(left_out[i], said, sizeof said) != 0);
        EXPECT_STR(said, "ThreadSanitizer: data race");
    }
}
