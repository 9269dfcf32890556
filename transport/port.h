/* port.h - the two ends of the robot's socket: ROUTER (daemon, binds) and DEALER (robot side, connects).
 *
 * ipc://: the socket file is for its owner and group (0660), a file left by a dead process is replaced, one that
 * somebody listens on is not.  tcp://: only with CURVE keys, and only for clients that are listed with the right role
 * (auth.h).  ZeroMQ's own I/O thread gets the real-time priority and core that are asked for.  One thread per port. */
#ifndef TRANSPORT_PORT_H
#define TRANSPORT_PORT_H

#include "transport/codec.h"
#include "transport/session.h"

enum { PORT_MAX_BYTES = 4 * CODEC_MAX_BYTES };

struct port;

/* Files of tcp://, see keys.h; ipc:// does not look at them. */
struct port_keys {
    const char *key;     /* own secret                                        */
    const char *clients; /* who binds: the list of clients                    */
    const char *server;  /* who connects: the server's public key, FILE.pub   */
};

struct port_options {
    const char      *endpoint;
    int              priority; /* SCHED_FIFO of ZeroMQ's I/O thread, 0: leave it alone   */
    int              core;     /* of ZeroMQ's I/O thread, -1: any                        */
    struct port_keys keys;
};

/* Whether it is one that port_bind (listens) or port_connect can be asked for; false with a sentence in `why`. */
bool port_endpoint_ok(const char *endpoint, bool listens, char *why, size_t why_size);

/* NULL with a sentence in `why` (endpoint, reason, what to do).  Where the system does not grant priority or core the
 * port works without, and `why` says so; otherwise it is empty. */
struct port *port_bind(const struct port_options *o, char *why, size_t why_size);    /* ROUTER */
struct port *port_connect(const struct port_options *o, char *why, size_t why_size); /* DEALER */
void         port_close(struct port *p);

/* Sleeps until a message, or wake_fd (an eventfd or timerfd, -1: none; read empty by the port), or timeout_ms (-1: no
 * limit), or a signal.  True where a message waits. */
bool port_wait(struct port *p, int wake_fd, int timeout_ms);

/* Next message without waiting: its length, or -1 where there is none.  ROUTER fills peer (PEER_ID_SIZE bytes) and
 * *peer_len.  Messages of more than one part or longer than size count as oversized: the length returned is
 * CODEC_MAX_BYTES + 1, and buf is worthless.  One longer than PORT_MAX_BYTES costs its sender the connection. */
long port_receive(struct port *p, uint8_t *peer, size_t *peer_len, uint8_t *buf, size_t size);

/* Sends without waiting; a full queue or a peer gone is false.  peer is ignored by DEALER. */
bool port_send(struct port *p, const uint8_t *peer, size_t peer_len, const uint8_t *buf, size_t len);

/* Clients refused so far on tcp://, and the newest one's sentence to `last`; 0 on ipc://.  Any thread. */
uint64_t port_refused(const struct port *p, char *last, size_t size);

/* How the other end of tcp:// takes us, who connect to it. */
struct port_handshakes {
    uint64_t failed;   /* handshakes, ever             */
    uint64_t in_row;   /* of them since the last good one: 0 on ipc://, before the first, and while we are let in */
    char     why[360]; /* the newest failure: endpoint, what happened, our public key */
};

/* As of now; the port's own, until it is closed.  port_connect's only, its thread. */
const struct port_handshakes *port_handshakes(struct port *p);

/* Lets nobody in any more who is not connected yet; tcp:// only. */
void port_lock(struct port *p);

/* Where it listens: with the number that a port `*` became. */
void port_where(const struct port *p, char *endpoint, size_t size);

/* PUB socket for telemetry; a listener that is too slow misses messages, the sender never waits. */
struct port *port_publish(const struct port_options *o, char *why, size_t why_size);
struct port *port_subscribe(const struct port_options *o, char *why, size_t why_size); /* the listener */

#endif
