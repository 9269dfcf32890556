/* auth.h - who may connect to a CURVE endpoint: a thread that answers libzmq's question (ZAP, rfc.zeromq.org/spec/27).
 *
 * CURVE alone encrypts and lets anybody in.  Here a client gets in only if its public key is in the list of clients with
 * the role that the endpoint asks for.  It fails closed: the handler is bound before the socket; without an answer
 * (thread ended, file gone, a line of it wrong) nobody new gets in.  The list is read again when the file has changed,
 * so a key counts from the next connection on; who is connected stays until the connection ends.
 *
 * Refusals are counted, those that libzmq decides by itself (no CURVE, another server key, garbage) as well. */
#ifndef TRANSPORT_AUTH_H
#define TRANSPORT_AUTH_H

#include <stdint.h>

#include "transport/keys.h"

/* Connections of one key within a second beyond which it is refused: it is broken, or evades a ban. */
enum { AUTH_PER_SECOND = 10 };

struct auth;

/* Binds the handler in this context, which has no other.  The list must be good now; later trouble refuses.  NULL with a
 * sentence in `why`. */
struct auth *auth_new(void *context, const char *clients_file, enum client_role role, char *why, size_t why_size);

/* Makes `socket`, not bound yet, a CURVE server that asks the handler, and starts the thread. */
bool auth_guard(struct auth *a, void *socket, const struct key_pair *own, char *why, size_t why_size);

/* Ends the handler; nobody new gets in any more.  The socket must still be open, or never have been guarded. */
void auth_end(struct auth *a);

/* Refusals so far; the newest one's sentence to `last`.  Any thread. */
uint64_t auth_refused(struct auth *a, char *last, size_t size);

#endif
