/* test_realtime.c - what a real-time thread is given, and what it used of that. */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>

#include "daemon/realtime.h"
#include "tests/test.h"

enum { KIB = 1024, FRAMES = 2 * KIB };

struct worker {
    size_t    kib;
    sem_t     begun, go, done, end;
    uintptr_t painted;
};

__attribute__((noinline)) static void use(size_t kib)
{
    volatile uint8_t deep[400 * KIB];

    for (size_t i = 0; i < kib * KIB; i++)
        deep[sizeof deep - 1 - i] = 1;
}

static void *work(void *arg)
{
    struct worker *w = arg;

    w->painted = realtime_thread_begin();
    sem_post(&w->begun);
    sem_wait(&w->go);
    use(w->kib);
    sem_post(&w->done);
    sem_wait(&w->end);
    return NULL;
}

TEST(the_stack_that_a_thread_used_is_known_while_it_runs)
{
    static const size_t kib[] = { 0, 1, 16, 100, 200, 240, 300 };

    for (size_t i = 0; i < sizeof kib / sizeof *kib; i++) {
        struct worker w = { .kib = kib[i] };
        pthread_t     thread;

        sem_init(&w.begun, 0, 0), sem_init(&w.go, 0, 0), sem_init(&w.done, 0, 0), sem_init(&w.end, 0, 0);
        EXPECT(pthread_create(&thread, NULL, work, &w) == 0);
        sem_wait(&w.begun);
        EXPECT(realtime_stack_used(w.painted) <= FRAMES);
        sem_post(&w.go);
        sem_wait(&w.done);
        size_t used = realtime_stack_used(w.painted);
        EXPECT(kib[i] * KIB >= STACK_PAINTED ? used == STACK_PAINTED
                                             : used + FRAMES >= kib[i] * KIB && used <= kib[i] * KIB + FRAMES);
        sem_post(&w.end);
        pthread_join(thread, NULL);
    }
}
