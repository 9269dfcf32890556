/* cli_terminal.h - signals as something to wait for, and a picture redrawn in place.
 *
 * From open to close SIGINT, SIGTERM, SIGHUP (where nohup does not ignore it), SIGQUIT and SIGCHLD are blocked and read here; children must get an empty
 * mask (cli_process does).  close() gives the terminal back as it was, whatever happened in between. */
#ifndef DAEMON_CLI_TERMINAL_H
#define DAEMON_CLI_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

#include "daemon/cli_screen.h"

enum wake {
    WAKE_TIME,      /* the time is over */
    WAKE_CHILD,     /* a child ended */
    WAKE_INTERRUPT, /* Ctrl-C, SIGTERM, the terminal is gone */
    WAKE_KEY,       /* 'q' */
};

struct terminal {
    bool           tty;  /* stdout is one: redraw in place */
    bool           keys; /* stdin is one and read key by key */
    bool           colour;
    int            width, height;
    int            drawn;   /* lines of the picture on the screen */
    int            signals; /* signalfd */
    sigset_t       old_mask;
    struct termios old_keys;
};

/* True where stdout is a terminal that wants colours (NO_COLOR, TERM=dumb). */
bool terminal_wants_colour(void);

/* Columns of stdout; 0 where it is no terminal. */
int terminal_width(void);

/* keys: read single keys (top). */
void terminal_open(struct terminal *t, bool keys, bool colour);
void terminal_close(struct terminal *t);

/* Puts the picture where the last one was; clipped to the terminal.  Reads the terminal's size anew. */
void terminal_draw(struct terminal *t, const struct screen *picture);

/* Takes the picture away, or leaves it and goes on below it. */
void terminal_erase(struct terminal *t);
void terminal_keep(struct terminal *t);

enum wake terminal_wait(struct terminal *t, double seconds);

#endif
