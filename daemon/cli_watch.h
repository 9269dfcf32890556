/* cli_watch.h - a session on the screen: a live picture on a terminal, plain lines elsewhere. */
#ifndef DAEMON_CLI_WATCH_H
#define DAEMON_CLI_WATCH_H

#include "daemon/cli_session.h"

struct watch {
    const char *label;   /* NULL: the whole live view and a line per trial; else one line starting with this */
    double      armed_s; /* enough after so many seconds armed; 0: until the trials are done */
    const char *footer;  /* last line of the live view, or NULL */
};

/* Steps the session until it ends. */
enum session_end watch_session(struct session *s, struct terminal *t, const struct watch *w);

#endif
