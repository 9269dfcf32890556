/* bench_lecture_table.c - costs of the table of surfaces, and whether it has the lecture's shape. */
#include <math.h>

#include "daemon/bench_lecture.h"

static const double OWN = 0.5, MIXED = 2; /* docs/lecture.md: the lecture's are 0.26 and 0.44, 1.32 and 1.93 */

static void cell_cost(struct surfaces_cell *c, double reference)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < c->n; i++)
        sum += reference - c->ret[i];
    c->mean = c->n ? sum / c->n : (double)NAN;
    for (int i = 0; i < c->n; i++)
        squares += (reference - c->ret[i] - c->mean) * (reference - c->ret[i] - c->mean);
    c->std = c->n > 1 ? sqrt(squares / (c->n - 1)) : (double)NAN;
}

void surfaces_costs(struct surfaces_table *t, double reference)
{
    for (int on = 0; on < SURFACES; on++) {
        double best = (double)NAN;

        for (int set = 0; set < t->sets; set++)
            for (int i = 0; i < t->cell[set][on].n; i++)
                best = !(best >= t->cell[set][on].ret[i]) ? t->cell[set][on].ret[i] : best;
        t->reference[on] = isfinite(reference) ? reference : best;
        for (int set = 0; set < t->sets; set++)
            cell_cost(&t->cell[set][on], t->reference[on]);
    }
}

/* NaN where one of them is no cost. */
static double ratio(double a, double b)
{
    return a >= 0 && b > 0 ? a / b : (double)NAN;
}

void surfaces_check(const struct surfaces_table *t, struct surfaces_checks *c)
{
    c->own_met = c->mixed_met = true;
    for (int on = 0; on < SURFACES; on++) {
        double own = t->cell[on][on].mean;

        c->own_to_other[on] = ratio(own, t->cell[1 - on][on].mean);
        c->mixed_to_own[on] = ratio(t->cell[2][on].mean, own);
        c->own_met          = c->own_met && c->own_to_other[on] <= OWN;
        c->mixed_met        = c->mixed_met && c->mixed_to_own[on] <= MIXED;
    }
}
