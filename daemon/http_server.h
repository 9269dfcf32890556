/* http_server.h - HTTP over a Unix socket for limberd's main loop (libmicrohttpd driven by libuv, no extra thread).
 *
 * A request is answered at once, or kept and answered later (an operation waits for the control thread's answer).  At
 * most 16 clients, 5 s of idling, 10 s from a request's first byte to its answer's last, 4 KiB of body: a client, however
 * slow or many, disturbs nobody, and those of one socket not those of another. */
#ifndef DAEMON_HTTP_SERVER_H
#define DAEMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

enum { HTTP_BODY_MAX = 4096 };

struct http_server;
struct http_request; /* lives until answered */

/* method, path and body (zero-terminated) are valid during the call only.  Must call http_answer now or later. */
typedef void http_handler(void *ctx, struct http_request *r, const char *method, const char *path, const char *body);

/* Binds `path` with `mode`; a stale socket of a dead process is replaced.  NULL with a sentence in `why`. */
struct http_server *http_server_start(uv_loop_t *loop, const char *path, unsigned mode, http_handler *handler, void *ctx,
                                      char *why, size_t why_size);
void                http_server_stop(struct http_server *s);

/* Who sent the request, as the kernel knows it since the connection began: true where that is root, this process's own
 * user, or a member of `group`.  *uid is who it is, (uid_t)-1 where the kernel does not say. */
bool http_peer_is(const struct http_request *r, gid_t group, uid_t *uid);

/* The text is copied. */
void http_answer(struct http_request *r, unsigned status, const char *json);
void http_answer_plain(struct http_request *r, const char *text); /* 200, text/plain */

#endif
