/* fake_daemon.h - just enough of limberd to talk to: both sockets, a status document, answers to verbs. */
#ifndef TESTS_FAKE_DAEMON_H
#define TESTS_FAKE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

/* A status document like docs/status.md has it; NULL if it cannot be parsed (a test of its own). */
extern const char FAKE_STATUS[];

struct fake_daemon;

/* `answer` gets method, path and body and writes the reply's body; it returns the HTTP status, or 0 to never answer. */
typedef int fake_answer(void *ctx, const char *path, const char *body, char *reply, size_t n);

/* Serves DIR/status.sock and DIR/control.sock in a thread until fake_end. */
struct fake_daemon *fake_start(const char *dir, fake_answer *answer, void *ctx);
void                fake_end(struct fake_daemon *f);

#endif
