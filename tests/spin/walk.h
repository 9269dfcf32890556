/* walk.h - random ways through the model of tests/spin, as text. */
#ifndef TESTS_SPIN_WALK_H
#define TESTS_SPIN_WALK_H

/* n walks of 10,000 ticks each, as limber.pml tells them, of "BOTH" sides or of the "DAEMON"; the caller frees. */
char *spin_walks(const char *variant, int first_seed, int n);

#endif
