/* elementwise.h - the parts of training that are not matrix products.
 *
 * Compiled for the baseline and for wider vectors, chosen at run time; products and sums are never contracted, so every
 * version gives the same bits.  All arrays are the caller's and do not overlap. */
#ifndef MODELS_ELEMENTWISE_H
#define MODELS_ELEMENTWISE_H

#include <stddef.h>

/* Forward.  In: z (rows x width) = W h, bias (width).  Out: h = swish(z + bias), z = swish'(z + bias). */
void elementwise_swish(int rows, int width, const float *bias, float *z, float *h);

/* Backward.  In: dh = dL/dh and slope = swish' (rows x width).  Out: dh = dL/dz, db (width) = its sum over rows. */
void elementwise_swish_back(int rows, int width, const float *slope, float *dh, float *db);

/* db (width) = sum over rows of dz (rows x width). */
void elementwise_sum_rows(int rows, int width, const float *dz, float *db);

/* Adam's step number t (from 1; Kingma & Ba 2015, beta 0.9 and 0.999) for n parameters p with gradient g + decay p:
 * m, v are the moments.  rate: adam_rate(learning rate, t). */
void   elementwise_adam(size_t n, float *p, float *m, float *v, const float *g, float decay, float rate);
double adam_rate(double learning_rate, long t);

#endif
