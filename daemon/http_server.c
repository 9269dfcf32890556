#include "daemon/http_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS_MAX = 16, IDLE_S = 5, GROUPS_MAX = 256 };
static const uint64_t REQUEST_MS = 10000;

/* A connection: IDLE_S starts again with each byte, this does not. */
struct http_client {
    int      fd;
    uint64_t since_ms; /* of the connection, or the last answer; 0: free */
};

struct http_server {
    struct MHD_Daemon *mhd;
    uv_loop_t         *loop;
    struct http_client client[CLIENTS_MAX];
    uv_poll_t          poll;
    uv_timer_t         timer;
    http_handler      *handler;
    void              *ctx;
    char               path[sizeof((struct sockaddr_un *)0)->sun_path];
    int                closing;
};

struct http_request {
    struct MHD_Connection *connection;
    struct http_server    *server;
    char                   body[HTTP_BODY_MAX + 1];
    size_t                 used;
    bool                   too_long, handled, suspended;
    unsigned               status;  /* 0: not answered yet */
    bool                   plain;
    char                  *json;
};

static void on_timer(uv_timer_t *t);

static struct http_client *client_of(struct http_server *s, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

    for (int i = 0; info && i < CLIENTS_MAX; i++)
        if (s->client[i].since_ms && s->client[i].fd == info->connect_fd)
            return &s->client[i];
    return NULL;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode what)
{
    struct http_server             *s      = cls;
    struct http_client             *client = client_of(s, c);
    const union MHD_ConnectionInfo *info   = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

    (void)ctx;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (client)
            client->since_ms = 0;
        return;
    }
    for (int i = 0; info && !client && i < CLIENTS_MAX; i++)
        client = s->client[i].since_ms ? NULL : &s->client[i];
    if (client)
        *client = (struct http_client){ .fd = info->connect_fd, .since_ms = uv_now(s->loop) };
}

/* Ends connections that have had their time; MHD sees that and closes them. */
static void cut_slow(struct http_server *s)
{
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (s->client[i].since_ms && uv_now(s->loop) - s->client[i].since_ms > REQUEST_MS)
            shutdown(s->client[i].fd, SHUT_RDWR);
}

static void run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    cut_slow(s);
    MHD_run(s->mhd);
    if (MHD_get_timeout(s->mhd, &ms) == MHD_YES)
        ms = ms < 500 ? ms : 500;
    else
        ms = 500;
    uv_timer_start(&s->timer, on_timer, ms ? ms : 1, 0);
}

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    run(p->data);
}

static enum MHD_Result respond(struct http_request *r)
{
    static char          none[]   = "{\"ok\": false, \"error\": \"no memory\"}";
    char                *json     = r->json ? r->json : none;
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(json), json, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", r->plain && r->json ? "text/plain; version=0.0.4" : "application/json");
    enum MHD_Result result = MHD_queue_response(r->connection, r->json ? r->status : 503, response);
    MHD_destroy_response(response);
    return result;
}

void http_answer(struct http_request *r, unsigned status, const char *json)
{
    if (r->status)
        return;
    r->status = status;
    r->json   = json ? strdup(json) : NULL;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        uv_timer_start(&r->server->timer, on_timer, 0, 0);
    }
}

void http_answer_plain(struct http_request *r, const char *text)
{
    r->plain = true;
    http_answer(r, 200, text);
}

bool http_peer_is(const struct http_request *r, gid_t group, uid_t *uid)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred                    who;
    socklen_t                       size = sizeof who;
    gid_t                           also[GROUPS_MAX];
    socklen_t                       n = sizeof also;

    *uid = (uid_t)-1;
    if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return false;
    *uid = who.uid;
    if (who.uid == 0 || who.uid == geteuid() || who.gid == group)
        return true;
    if (getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERGROUPS, also, &n) != 0)
        return false; /* not told, or in more groups than one can ask about */
    for (size_t i = 0; i < n / sizeof *also; i++)
        if (also[i] == group)
            return true;
    return false;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
    struct http_server  *s = cls;
    struct http_request *r = *con_cls;

    (void)version;
    if (!r) {
        r = calloc(1, sizeof *r);
        if (!r)
            return MHD_NO;
        r->connection = connection;
        r->server     = s;
        *con_cls      = r;
        return MHD_YES;
    }
    if (*upload_size) {
        if (r->used + *upload_size > HTTP_BODY_MAX) {
            r->too_long = true;
        } else {
            memcpy(r->body + r->used, upload, *upload_size);
            r->used += *upload_size;
        }
        *upload_size = 0;
        return MHD_YES;
    }
    if (!r->handled) {
        r->handled = true;
        if (r->too_long)
            http_answer(r, 413, "{\"ok\": false, \"error\": \"the body may have 4096 bytes\"}");
        else
            s->handler(s->ctx, r, method, url, r->body);
        if (!r->status) {
            r->suspended = true;
            MHD_suspend_connection(connection);
            return MHD_YES;
        }
    }
    return r->status ? respond(r) : MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls, enum MHD_RequestTerminationCode how)
{
    struct http_request *r = *con_cls;
    struct http_client  *c = client_of(cls, connection);

    (void)how;
    if (c)
        c->since_ms = uv_now(((struct http_server *)cls)->loop);
    if (r) {
        free(r->json);
        free(r);
    }
    *con_cls = NULL;
}

static int listen_on(const char *path, unsigned mode, char *why, size_t why_size)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof addr.sun_path) {
        snprintf(why, why_size, "%s: a socket's path may have %zu bytes; choose a shorter run directory", path,
                 sizeof addr.sun_path - 1);
        return -1;
    }
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    unlink(path); /* ours: the run directory's lock is held */
    int    fd   = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0777 & ~mode);
    int    bad  = fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, CLIENTS_MAX) != 0;
    umask(mask);
    if (bad) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

struct http_server *http_server_start(uv_loop_t *loop, const char *path, unsigned mode, http_handler *handler, void *ctx,
                                      char *why, size_t why_size)
{
    int                 fd = listen_on(path, mode, why, why_size);
    struct http_server *s  = fd < 0 ? NULL : calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->handler = handler;
    s->ctx     = ctx;
    s->loop    = loop;
    snprintf(s->path, sizeof s->path, "%s", path);
    s->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
                              MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX,
                              MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                              MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(64 * 1024), MHD_OPTION_END);
    const union MHD_DaemonInfo *info = s->mhd ? MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        snprintf(why, why_size, "%s: the HTTP server could not be started", path);
        free(s);
        return NULL;
    }
    uv_poll_init(loop, &s->poll, info->epoll_fd);
    uv_timer_init(loop, &s->timer);
    s->poll.data = s->timer.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_poll);
    uv_timer_start(&s->timer, on_timer, 1, 0);
    return s;
}

static void on_closed(uv_handle_t *h)
{
    struct http_server *s = h->data;

    if (++s->closing == 2) {
        MHD_stop_daemon(s->mhd);
        unlink(s->path);
        free(s);
    }
}

void http_server_stop(struct http_server *s)
{
    if (!s)
        return;
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}
