/* train_bench.h - limber-trainer --bench: how fast this machine trains, as a fraction of what its core can multiply. */
#ifndef MODELS_TRAIN_BENCH_H
#define MODELS_TRAIN_BENCH_H

#include <stdbool.h>

struct train_bench {
    const char *shape; /* NULL: all             */
    int         batch; /* 0: 32 and 256         */
    const char *isa;   /* NULL: the best        */
    bool        json;  /* one object a line     */
};

/* Prints a row a shape and batch: examples/s (an example goes through all nets: forward, loss, backward, Adam; shuffling
 * and gathering included), the GFLOP/s that is, counting 6 in x out a layer, net and example (2 each for the forward
 * pass and the two of the backward pass), the core's peak, and the fraction.  Each the best of 100 repetitions of about
 * 10 ms of the thread's time on its core, with 25 measurements of the peak between them.  0, or -EINVAL after a message where a name is unknown, or -ENOMEM. */
int train_bench(const struct train_bench *b);

#endif
