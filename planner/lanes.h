/* lanes.h - the planner's arithmetic, batch in vector lanes: one source (lanes.c) compiled once per instruction set.
 *
 * A tile is a block of candidates evaluated together: value i of row b stands at p[i * tile + b].  All layers of a tile
 * are done before the next tile, so activations stay in the nearest cache.  Weights are packed in panels: the weights
 * of `panel` outputs for one input stand side by side.
 *
 * What is folded into the packed weights, exact algebra all of it (notation of models/ensemble.h):
 *   first layer   1 / in_std;  in_mean is subtracted from the features (folding it too would cancel badly)
 *   last layer    out_std and out_mean into the mean; -max_logvar into the raw log-variance r
 *   variance      the two softplus bounds and exp reduce to  var = e^min + e^max / (1 + e^-r)
 * Every function is free of memory and state of its own; any thread. */
#ifndef PLANNER_LANES_H
#define PLANNER_LANES_H

#include "models/ensemble.h"
#include "planner/task.h"

enum {
    LANES_TILE    = 32, /* rows of the largest tile of all instruction sets              */
    LANES_PANEL   = 8,  /* every panel width divides it; outputs are padded to it        */
    LANES_STREAMS = 16, /* generators side by side, the same on every instruction set    */
    LANES_NORMALS = 32, /* normals come in multiples of                                  */
    LANES_BLOCK   = 16, /* other arrays of floats come in multiples of                   */
};

/* A packed model.  layer[m][l]: out biases, then in x out weights in panels, out padded to LANES_PANEL. */
struct lanes_net {
    struct model_dims dims;
    uint64_t          version;
    int               nin;
    float             in_mean[MAX_IN];
    float             out_std[MAX_OBS];
    float             var_min[MAX_OBS];  /* out_std^2 e^min_logvar, units of x squared */
    float             var_span[MAX_OBS]; /* out_std^2 e^max_logvar                     */
    float            *layer[MAX_MEMBERS][MAX_LAYERS + 1];
};

/* One tile of candidates, one particle, all steps.  Arrays on cache lines. */
struct lanes_job {
    const struct lanes_net *net;
    const struct task      *task; /* NULL: no cost                                   */
    int                     horizon;
    int                     rows;   /* of the tile, 1 .. tile; lanes beyond are filler */
    const uint8_t          *member; /* horizon                                         */
    const float            *start;  /* nx                                              */
    const float            *act;    /* horizon x na x tile                             */
    const float            *z;      /* horizon x nx, the same for all rows; NULL: mean */
    float                  *x;      /* nx x tile: state at the end                     */
    float                  *buf[2]; /* lanes_width() x tile each                       */
    float                  *cost;   /* tile: sum over steps; NaN where x is not finite */
};

struct lanes_rng {
    uint32_t s[4][LANES_STREAMS];
} __attribute__((aligned(64)));

struct lanes_ops {
    const char *isa;
    int         lanes, tile, panel;
    void (*rollout)(const struct lanes_job *job);

    /* n standard normals, n a multiple of LANES_NORMALS; same numbers on every instruction set up to rounding. */
    void (*normal)(struct lanes_rng *r, int n, float *z);

    /* y = sum over k < n of w[k] * column k; columns of `stride` floats, a multiple of LANES_BLOCK, as is y. */
    void (*combine)(int n, int stride, const float *columns, const float *w, float *y);

    /* The functions of vmath.h for its tests; n a multiple of LANES_BLOCK. */
    void (*exp)(int n, const float *x, float *y);
    void (*swish)(int n, const float *x, float *y);
    void (*log)(int n, const float *x, float *y);
    void (*sincos)(int n, const float *x, float *s, float *c);
};

extern const struct lanes_ops lanes_ops_portable;
#if defined(__x86_64__)
extern const struct lanes_ops lanes_ops_avx2, lanes_ops_avx512;
#endif

/* Instruction sets this CPU can run, best first, NULL-terminated. */
const char *const *lanes_isas(void);

/* NULL: the best.  NULL is returned for one this CPU cannot run. */
const struct lanes_ops *lanes_find(const char *isa);

void lanes_seed(struct lanes_rng *r, uint64_t seed);

/* Floats of one packed layer, of one packed member; width of the widest layer. */
size_t lanes_layer_params(const struct model_dims *d, int l);
size_t lanes_params(const struct model_dims *d);
int    lanes_width(const struct model_dims *d);

/* Packs e into n, whose layer pointers are set. */
void lanes_pack(const struct lanes_ops *ops, const struct ensemble *e, struct lanes_net *n);

#endif
