/* why.h - a recording of a stop (stops.h), read back and told in words: what was the first sign, when, which joint, values.
 * Used by `limber why`; needs no daemon.  Malformed recordings are refused or told as far as they go, never a crash. */
#ifndef DAEMON_WHY_H
#define DAEMON_WHY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* RUN/stops/NNN.jsonl as one object: its first line, with the ticks under "ticks".  number 0: the newest.  The caller's;
 * NULL with a sentence in `why`; *none: there is no such recording (and nothing is damaged). */
json_t *why_load(const char *run_dir, int number, bool *none, char *why, size_t why_size);

/* Adds "first_sign" (object or null) and "timeline" (list of sentences, the oldest first) to the recording. */
void why_tell(json_t *recording);

/* What `RUN/stops/alive` says of a daemon that nobody can reach: its process and mode.  False: it ended in order, or never
 * ran. */
bool why_died(const char *run_dir, int *pid, char *mode, size_t mode_size);

/* Numbers of the recordings there are, ascending; returns how many (at most `most`). */
int why_list(const char *run_dir, int *number, int most);

#endif
