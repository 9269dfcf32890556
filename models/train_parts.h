/* train_parts.h - what train.c (the course of a training), train_data.c (rows, normaliser, batches) and train_unroll.c (the
 * multi-step loss) share. */
#ifndef MODELS_TRAIN_PARTS_H
#define MODELS_TRAIN_PARTS_H

#include "models/kernels.h"
#include "models/train.h"

struct trainer {
    struct train_config      c;
    const struct kernels    *k;
    struct model_dims        published; /* what trainer_export() gives: perhaps fewer nets than are trained           */
    struct ensemble          e;         /* bounds, normaliser; its weights are only a copy on the way                 */
    size_t                   params;    /* of one member, as the kernels lay them out                                 */
    size_t                   offset[MAX_LAYERS + 1]; /* of a layer in them                                            */
    uint64_t                 seed;
    const struct train_data *data;   /* of this fit */
    int                      unroll; /* steps of the multi-step loss in this epoch */
    struct rng               rng;    /* of this fit                                                  */
    uint64_t                 fits;   /* so far                                                       */
    long                     adam_t; /* steps since the moments were cleared                         */
    void                    *memory; /* the arrays below, up to vmin                                 */
    size_t                   memory_size;

    float *w, *m, *v;           /* members x params: weights, Adam's moments of them            */
    float *best;                /* members x params: weights of the best score; with holdout    */
    float *h[MAX_LAYERS + 1];   /* tiles: input of layer l                                      */
    float *slope[MAX_LAYERS];   /* tiles: swish'                                                */
    float *out;                 /* tiles: mean, raw log-variance                                */
    float *target;              /* tiles                                                        */
    float *dz[2];               /* tiles: gradient by a layer's z, and by the one's before it   */
    float *dzs[MAX_LAYERS + 1]; /* the rest of this block: only with unroll.  unroll x tiles like h, which then has
                                         so many too: gradient by a layer's z                         */
    float *state, *pull;        /* unroll x batch x nx: states after each step, gradient of their own error */
    float *carry;               /* batch x nx: gradient by the state                            */
    float *dh, *ones;           /* tiles: gradient by the inputs; 1                             */
    float *power;               /* members x layers x widest output: power iterations; with spectral_norm */
    float *scratch;             /* of the kernels                                               */
    float *dmax, *dmin;         /* nx: gradient by the bounds                                   */
    float *mmax, *vmax, *mmin, *vmin; /* nx: their moments                                            */

    double score[MAX_MEMBERS];  /* of best, mean squared error on the held-out rows; infinite: none     */
    double mark[MAX_MEMBERS];   /* the score that has to be improved on                                 */
    float  noise[MAX_IN];       /* std of the noise on each standardised input; constant ones have none */
    float  reward[MAX_OBS];     /* weight of each output's squared error in the loss; 0: none */
    float  target_std[MAX_OBS]; /* of the targets, standardised or not                                  */

    int    capacity;        /* rows of the arrays below                                       */
    float *in_all;          /* n x nin, standardised                                          */
    float *target_all;      /* n x nx, standardised                                           */
    int   *rows;            /* n: those to learn from, then those held out                    */
    int    nkept, nheld;    /* how many of each                                               */
    int   *recent, nrecent; /* members x nrecent: each net's rows of the newest trials; with recent */
    int   *batch;           /* rows of the batch                                              */
    int   *reach;           /* n: steps that can be unrolled from a row; 0: held out          */
    int   *order;           /* members x nkept: rows in the order of this epoch               */
};

/* ---- train_data.c ---- */

bool trainer_data_good(const struct train_data *data, const struct model_dims *d);

/* Room for n rows.  false: out of memory. */
bool trainer_reserve(struct trainer *t, int n);

void trainer_data_free(struct trainer *t);

/* Inputs and targets of all rows, under a normaliser made from them (renew) or the one in force. */
void trainer_prepare(struct trainer *t, const struct train_data *data, bool renew);

/* Draws the rows held out, and from the others what each net learns from. */
void trainer_split(struct trainer *t, const struct train_data *data);

/* Every net's rows in another order. */
void trainer_shuffle(struct trainer *t);

/* The rows of a batch: from .. from + n of the member's order, with recent a share of them replaced by newer ones.  The
 * caller's until the next call. */
const int *trainer_draw(struct trainer *t, int member, int from, int n);

/* Inputs and targets of these rows side by side in tiles. */
void trainer_gather(struct trainer *t, const int *rows, int n);

/* Adds noise to the inputs gathered, new at every call. */
void trainer_add_noise(struct trainer *t, int n);

/* ---- train.c ---- */

/* All layers for `some` tiles from tile `at` of h on, into out. */
void trainer_forward(struct trainer *t, int member, int at, int some);

/* Loss of the first step for n rows gathered and gone through trainer_forward(), and its gradient by the outputs. */
double trainer_first_loss(struct trainer *t, int n, float *dz);

/* What becomes of the gradient by layer l's weights: Adam's step, or a copy in grad (params), where that is given. */
struct kernels_update trainer_update(const struct trainer *t, int member, int l, float rate, float *grad);

/* ---- train_unroll.c ---- */

/* Like train_member() for the n rows gathered, these ones, with the multi-step loss. */
double trainer_unroll(struct trainer *t, int member, const int *rows, int n, float rate, float *grad);

static inline int trainer_tiles(const struct trainer *t, int n)
{
    return (n + t->k->tile - 1) / t->k->tile;
}

#endif
