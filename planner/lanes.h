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
#include "models/isa.h"
#include "planner/planner.h"

enum {
    LANES_TILE    = 32, /* rows of the largest tile of all instruction sets              */
    LANES_PANEL   = 8,  /* every panel width divides it; outputs are padded to it        */
    LANES_STREAMS = 16, /* generators side by side, the same on every instruction set    */
    LANES_NORMALS = 32, /* normals come in multiples of                                  */
    LANES_BLOCK   = 16, /* other arrays of floats come in multiples of                   */
};

/* A packed model.  layer[m][l]: out biases, then in x out weights in panels, out padded to LANES_PANEL.
 *
 * bf16: weights are rounded to bfloat16 there, and every layer's inputs are rounded as they are made; biases, sums, the
 * head and the state stay f32.  A CPU that multiplies bfloat16 itself uses pair[m][l]: biases as before, then for two
 * inputs at a time, 2 q in the low and 2 q + 1 in the high half of a word, the panels (an input that is not there: 0). */
struct lanes_net {
    struct model_dims dims;
    uint64_t          version;
    int               nin;
    bool              bf16;
    float             in_mean[MAX_IN];
    float             out_std[MAX_OBS];
    float             carry[MAX_OBS];    /* 1, or 0 where the target is the next value itself         */
    int               ahead, aside;      /* observations of the displacement in the plane, -1: none   */
    float             var_min[MAX_OBS];  /* out_std^2 e^min_logvar, units of x squared; >= 2^-100     */
    float             var_span[MAX_OBS]; /* out_std^2 e^max_logvar                                    */
    float            *layer[MAX_MEMBERS][MAX_LAYERS + 1];
    float            *pair[MAX_MEMBERS][MAX_LAYERS + 1]; /* NULL without bf16                         */
};

/* One tile of rows, all steps.  A row is a candidate with a particle; all rows have the same members.  Arrays on cache
 * lines.  rollout_mm and rollout_ds say what is different for them. */
struct lanes_job {
    const struct lanes_net *net;
    const struct task      *task; /* NULL: no cost                                               */
    int                     horizon;
    int                     rows;     /* of the tile, 1 .. tile; lanes beyond are filler          */
    bool                    exact;    /* see v_swish2_fast, v_sigma_fast                          */
    const uint8_t          *member;   /* horizon                                                  */
    const float            *start;    /* nx                                                       */
    const float            *act;      /* horizon x na x tile                                      */
    const struct state_range *range;    /* nrange, see planner.h                                    */
    int                       nrange;
    const float            *z;        /* [particles x] horizon x nx; NULL: mean                   */
    const uint8_t          *particle; /* tile: each row's, of z; NULL: the first for all          */
    int                     particles;
    float                  *x;        /* nx x tile: state at the end                              */
    float                  *noise;    /* nx x tile                                                */
    float                  *moment;   /* rollout_ds: (members + 1) x nx x tile                    */
    float                  *buf[2];   /* lanes_width() x tile each                                */
    float                  *cost;     /* tile: sum over steps; NaN where x is not finite          */
    uint64_t               *ticks;    /* LANES_TICKS: time by phase is added (any unit), or NULL  */
};

enum { LANES_TICKS = PLAN_PHASES + 1 }; /* the last holds the time of the last look at the clock */

struct lanes_rng {
    uint32_t s[4][LANES_STREAMS];
} __attribute__((aligned(64)));

struct lanes_ops {
    const char *isa;
    int         lanes, tile, panel;
    bool        pairs; /* multiplies bfloat16: lanes_net.pair */
    void (*rollout)(const struct lanes_job *job);

    /* Moment matching: all particles of a tile of candidates.  member: particles x horizon; start: members x nx, particle
     * p begins as member p mod members; x: particles x nx x tile; z: particles x horizon x nx for the model's noise, then
     * as many for drawing anew; cost: mean over particles. */
    void (*rollout_mm)(const struct lanes_job *job);

    /* Distribution sampling: one particle, every step by all members; member is not read. */
    void (*rollout_ds)(const struct lanes_job *job);

    /* n standard normals, n a multiple of LANES_NORMALS; same numbers on every instruction set up to rounding. */
    void (*normal)(struct lanes_rng *r, int n, float *z);

    /* y = sum over k < n of w[k] * column k; columns of `stride` floats, a multiple of LANES_BLOCK, as is y. */
    void (*combine)(int n, int stride, const float *columns, const float *w, float *y);

    /* The functions of vmath.h for its tests; n a multiple of LANES_BLOCK. */
    void (*exp)(int n, const float *x, float *y);
    void (*swish)(int n, const float *x, float *y);
    void (*swish_fast)(int n, const float *x, float *y);
    void (*sigma)(int n, float low, float span, const float *x, float *y);
    void (*sigma_fast)(int n, float low, float span, const float *x, float *y);
    void (*log)(int n, const float *x, float *y);
    void (*sincos)(int n, const float *x, float *s, float *c);
};

extern const struct lanes_ops lanes_ops_portable;
#if defined(__x86_64__)
extern const struct lanes_ops lanes_ops_avx2, lanes_ops_avx512, lanes_ops_avx512bf16;
#elif defined(__aarch64__)
extern const struct lanes_ops lanes_ops_neon;
#endif

/* NULL: the best.  NULL is returned for one this CPU cannot run. */
const struct lanes_ops *lanes_find(const char *isa);

/* The same instruction set with products of bfloat16 if this CPU has them, else ops itself. */
const struct lanes_ops *lanes_bf16(const struct lanes_ops *ops);

/* x rounded to bfloat16, to the nearest, ties to even. */
float lanes_round(float x);

void lanes_seed(struct lanes_rng *r, uint64_t seed);

/* Floats of one packed layer, of one packed member; width of the widest layer. */
size_t lanes_layer_params(const struct model_dims *d, int l);
size_t lanes_params(const struct model_dims *d);
int    lanes_width(const struct model_dims *d);

/* What is folded in, for whoever packs.  lanes_weight: of output i by input k of layer l, whose parameters in e begin at W;
 * k = the number of inputs: the bias.  lanes_variance: nx numbers each, see struct lanes_net. */
float lanes_weight(const struct ensemble *e, int l, const float *W, int i, int k);
void  lanes_variance(const struct ensemble *e, float *var_min, float *var_span);

/* Packs e into n, whose bf16 and layer pointers are set, and pair's if ops->pairs and bf16. */
void lanes_pack(const struct lanes_ops *ops, const struct ensemble *e, struct lanes_net *n);

#endif
