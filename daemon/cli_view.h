/* cli_view.h - a status document (docs/status.md) as lines for a person.  Pure: the same document and width give the
 * same text.  Every part copes with missing keys: they show as "-". */
#ifndef DAEMON_CLI_VIEW_H
#define DAEMON_CLI_VIEW_H

#include <jansson.h>

#include "daemon/cli_screen.h"

/* `limber status`: everything on one screen. */
void view_status(struct screen *s, const json_t *status);

/* `limber top` and `limber run`: what changes. */
void view_live(struct screen *s, const json_t *status);

/* Pre-arm checks, one line each with a tick or a cross; returns how many do not hold. */
int view_prearm(struct screen *s, const json_t *prearm);

/* The stop that is latched: code, cause, remedy, where; nothing where there is none. */
void view_stop(struct screen *s, const json_t *status);

/* The trials so far as a table. */
void view_trials(struct screen *s, const json_t *status);

/* Planner and control timing, two lines. */
void view_timing(struct screen *s, const json_t *status);

/* One finished trial of the history in one line, for a terminal that is none; best is NaN where there is none. */
void view_trial_line(struct screen *s, const json_t *status, const json_t *trial, double best);

/* Where it stands, in one line. */
void view_heartbeat(struct screen *s, const json_t *status);

#endif
