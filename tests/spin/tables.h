/* tables.h - the mode tables of daemon and receiver as spin reads them (tests/spin/tables.pml). */
#ifndef TESTS_SPIN_TABLES_H
#define TESTS_SPIN_TABLES_H

#include <stdio.h>

#include "daemon/mode.h"

/* The receiver's table comes from its own code; the daemon's from `next`, which is mode_next but in a test that plants a
 * difference. */
void tables_print(FILE *f, enum mode (*next)(enum mode m, enum mode_event e));

#endif
