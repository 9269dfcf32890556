/* gradient.h - the expected cost of candidate action sequences and its gradient by the actions: reverse mode through
 * the unrolled ensemble, batch in vector lanes like the rollout (rollout.h), always f32 with the exact swish.
 *
 * Forwards (notation of models/ensemble.h and lanes.h, z fixed: the draw is the same for every candidate)
 *
 *     x' = x + t,   t = mu + sigma z,   sigma = sqrt(var_min + var_span s),   s = 1 / (1 + e^-r)
 *
 * and backwards, with l = d cost / d x' of all that follows
 *
 *     d mu = l,   d r = l z var_span s (1 - s) / (2 sigma),   d in = W' (slope * ... (slope * W' [d mu, d r])),
 *     d x = l + d in;   an angle takes  cos x (d in of its sine) - sin x (d in of its cosine)
 *
 * A target that is the next value itself leaves d x = d in; a displacement in the plane turns l by the heading, d mu_ahead =
 * cos l_ahead + sin l_aside, d mu_aside = cos l_aside - sin l_ahead, and adds l_aside dx_ahead - l_ahead dx_aside to the
 * heading's d x, where dx is the displacement as seen from the ground.
 *
 * Nothing is computed twice: the way forwards leaves a tape, per step the slopes swish' of every hidden unit, d r / l,
 * sine and cosine of the angles and the gradient of the step's cost.  It is written and read once, in order; the memory it
 * moves costs less than half of what another way forwards would.  Bytes of one tape, one per worker:
 * 4 horizon (layers hidden + 2 nx + 2 angles + 4 with a displacement + 2 ranges) 32.
 *
 * Where a state is held at the end of its range (planner.h, struct state_range) l passes back only if it would lead inside
 * again, as in projected gradients: with none, a plan that leans on the end of a joint would never learn to leave it.  The
 * rate that is held at 0 passes nothing back. */
#ifndef PLANNER_GRADIENT_H
#define PLANNER_GRADIENT_H

#include "planner/rollout.h"

/* A packed model, for both ways; what is folded into the weights is said in lanes.h.
 * ahead: out biases, then in x out weights in panels;  back: in zeros, then out x in weights in panels (the transpose).
 * Biases and panels are padded to LANES_PANEL. */
struct gradient_net {
    struct model_dims dims;
    int               nin;
    float             in_mean[MAX_IN];
    float             var_min[MAX_OBS], var_span[MAX_OBS];
    float             carry[MAX_OBS];         /* see struct lanes_net */
    int               plane_ahead, plane_aside;
    float            *ahead[MAX_MEMBERS][MAX_LAYERS + 1], *back[MAX_MEMBERS][MAX_LAYERS + 1];
};

/* One tile of candidates, one particle, all steps.  Arrays on cache lines. */
struct gradient_job {
    const struct gradient_net *net;
    const struct task         *task;
    int                        horizon;
    int                        rows;   /* of the tile, 1 .. tile; lanes beyond are filler */
    const uint8_t             *member; /* horizon                                         */
    const float               *start;  /* nx                                              */
    const float               *act;    /* horizon x na x tile                             */
    const struct state_range  *range;  /* nrange                                          */
    int                        nrange;
    const float               *z;      /* horizon x nx; NULL: mean                        */
    float                     *x, *dx; /* nx x tile                                       */
    float                     *buf[2]; /* gradient_width() x tile                         */
    float                     *tape;   /* horizon x gradient_tape() x tile                */
    float                     *cost;   /* tile: sum over steps; NaN where x is not finite */
    float                     *dact;   /* horizon x na x tile                             */
};

/* One per instruction set (gradient.c). */
struct lanes_gradient {
    const char *isa;
    int         tile, panel;
    void (*run)(const struct gradient_job *job);
};

/* Rows of the widest layer either way, padded; rows of the tape per step. */
int gradient_width(const struct model_dims *d);
int gradient_tape(const struct model_dims *d, int nrange);

struct gradient {
    struct model_dims   dims;
    int                 horizon, particles, wave, nrange;
    struct gradient_net net[ROLLOUT_SLOTS];
    uint64_t            deadline_ns; /* of the last call ...                        */
    uint64_t            unit_ns;     /* ... and the longest unit met since it was set */
    float              *act;         /* of a wave of tiles, horizon x na x tile each   */
    float              *cost, *dact; /* of a wave of tiles x particles                 */
    struct gradient_scratch {
        float *x, *dx, *buf[2], *tape;
    } scratch[TEAM_MAX];
};

/* Takes memory for c->workers workers and the given sizes.  TS1, TS-infinity and mean particles only. */
void gradient_layout(struct gradient *g, struct arena *a, const struct planner_config *c, const struct model_dims *d);

/* Packs e as planner_pack does, same threads.  ops: the rollout's. */
void gradient_pack(struct gradient *g, int slot, const struct ensemble *e, const struct lanes_ops *ops);

/* After rollout_begin: expected cost of n candidates (act: n x horizon x na) under the same noise and members as
 * rollout_evaluate, and its gradient by the actions (dact: same shape).  A candidate whose cost or gradient is not
 * finite, or whose cost is above ROLLOUT_WORST, costs ROLLOUT_WORST and has the gradient zero.
 * The work is shared by the rollout's team; the leader calls.  Same bits wherever a candidate stands and whatever the
 * number of workers.  Returns how many were done when the next
 * tile would have passed the deadline; n without deadline (UINT64_MAX). */
int gradient_evaluate(struct gradient *g, const struct rollout *r, int slot, int n, const float *act, float *cost,
                      float *dact, uint64_t deadline_ns);

#endif
