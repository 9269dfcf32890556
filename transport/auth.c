/* auth.c - see auth.h. */
#include "transport/auth.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "transport/zap.h"

/* A draft option in the headers, but live in the release library: without it libzmq 4.3 lets everybody in where no handler
 * answers (curve_server.cpp, "Stonehouse pattern"). */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

enum { FRAME_MAX = 256 };
static const char HANDLER[] = "inproc://zeromq.zap.01", MONITOR[] = "inproc://limber.monitor";

struct auth {
    void            *handler; /* REP */
    void            *socket;  /* the guarded one, once there is one            */
    void            *monitor; /* PAIR: handshakes that failed without asking us */
    int              stop_fd;
    pthread_t        thread;
    bool             running;
    enum client_role role;

    char               file[4096]; /* the list, and the state of the file that it was read from */
    struct stat        read_as;
    struct client_list list;
    char               fault[300]; /* why the list is empty */
    struct {
        uint64_t since_ns;
        int      n;
    } admitted[CLIENTS_MAX]; /* of late, by place in the list */

    pthread_mutex_t lock; /* of what follows */
    uint64_t        refused;
    char            last[240];
};

__attribute__((format(printf, 2, 3))) static void refuse(struct auth *a, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    pthread_mutex_lock(&a->lock);
    a->refused++;
    vsnprintf(a->last, sizeof a->last, format, args);
    pthread_mutex_unlock(&a->lock);
    va_end(args);
}

uint64_t auth_refused(struct auth *a, char *last, size_t size)
{
    pthread_mutex_lock(&a->lock);
    uint64_t n = a->refused;
    snprintf(last, size, "%s", a->last);
    pthread_mutex_unlock(&a->lock);
    return n;
}

/* ---- the list ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mode == b->st_mode &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The list as the file is now; empty, with the fault, where it cannot be had. */
static void refresh(struct auth *a)
{
    struct stat now;

    memset(&now, 0, sizeof now);
    if (stat(a->file, &now) == 0 && same_file(&now, &a->read_as) && !a->fault[0])
        return;
    a->read_as  = now;
    a->fault[0] = 0;
    memset(a->admitted, 0, sizeof a->admitted);
    clients_load(a->file, &a->list, a->fault, sizeof a->fault);
}

static bool too_often(struct auth *a, int i)
{
    uint64_t now = clock_now_ns();

    if (now - a->admitted[i].since_ns > NS_PER_S) {
        a->admitted[i].since_ns = now;
        a->admitted[i].n        = 0;
    }
    return ++a->admitted[i].n > AUTH_PER_SECOND;
}

/* Whether the key gets in; a refusal is counted. */
static bool admit(struct auth *a, const char *key, const char *address)
{
    int i = 0;

    refresh(a);
    while (i < a->list.n && strcmp(a->list.client[i].key, key) != 0)
        i++;
    if (a->fault[0])
        refuse(a, "%s: nobody gets in: %s", address, a->fault);
    else if (i == a->list.n)
        refuse(a, "%s: key %s is not listed in %.80s", address, key, a->file);
    else if (a->list.client[i].role != a->role)
        refuse(a, "%s: key %s has role %s, this endpoint is for role %s", address, key,
               role_name(a->list.client[i].role), role_name(a->role));
    else if (too_often(a, i))
        refuse(a, "%s: key %s connects more than %d times a second", address, key, AUTH_PER_SECOND);
    else
        return true;
    return false;
}

/* ---- ZAP ---- */

/* All frames of a request.  False: they did not come. */
static bool receive_request(void *handler, struct zap_frames *f)
{
    int    more = 1;
    size_t size = sizeof more;

    memset(f, 0, sizeof *f);
    for (; more; f->n++) {
        uint8_t drop[ZAP_FRAME_MAX], *to = f->n < ZAP_FRAMES ? f->bytes[f->n] : drop;
        int     len = zmq_recv(handler, to, ZAP_FRAME_MAX - 1, ZMQ_DONTWAIT);

        if (len < 0 || zmq_getsockopt(handler, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
        if (f->n < ZAP_FRAMES)
            f->len[f->n] = (size_t)len;
    }
    return true;
}

static void answer(struct auth *a)
{
    struct zap_frames  f;
    struct zap_request q;
    bool               all = receive_request(a->handler, &f);
    bool               in  = zap_read(&f, &q) && all;

    if (in)
        in = admit(a, q.key, q.address);
    else
        refuse(a, "%s: a request that makes no sense", q.address);
    /* 300, "temporary failure", not 400: libzmq's client never tries again after 400, though its key may be listed soon. */
    const struct {
        const void *bytes;
        size_t      n;
    } frame[] = { { "1.0", 3 },
                  { q.id, q.id_len },
                  { in ? "200" : "300", 3 },
                  { in ? "OK" : "no", 2 },
                  { q.key, in ? strlen(q.key) : 0 },
                  { "", 0 } };
    for (size_t i = 0; i < sizeof frame / sizeof *frame; i++)
        if (zmq_send(a->handler, frame[i].bytes, frame[i].n, (i < 5 ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT) < 0)
            break; /* the asker is gone */
}

/* One event of the monitor: a handshake that failed.  Those that we refused are counted already. */
static void watch(struct auth *a)
{
    uint8_t  head[6] = { 0 };
    char     endpoint[FRAME_MAX];
    uint16_t event;
    uint32_t value;
    int      n = zmq_recv(a->monitor, head, sizeof head, ZMQ_DONTWAIT),
        m      = zmq_recv(a->monitor, endpoint, sizeof endpoint - 1, ZMQ_DONTWAIT);

    if (n != (int)sizeof head || m < 0)
        return;
    endpoint[m < FRAME_MAX ? m : FRAME_MAX - 1] = 0;
    memcpy(&event, head, sizeof event);
    memcpy(&value, head + 2, sizeof value);
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        refuse(a, "%s: %s", endpoint,
               value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? "a peer that does not speak CURVE"
               : value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC ? "a peer that has another public key for this server"
                                                                : "a peer that breaks the rules of CURVE");
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        refuse(a, "%s: a peer that did not finish the CURVE handshake: %s", endpoint,
               value ? strerror((int)value) : "it went away");
}

static void *run(void *arg)
{
    struct auth   *a      = arg;
    zmq_pollitem_t item[] = { { .socket = a->handler, .events = ZMQ_POLLIN },
                              { .socket = a->monitor, .events = ZMQ_POLLIN },
                              { .fd = a->stop_fd, .events = ZMQ_POLLIN } };

    for (;;) {
        if (zmq_poll(item, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return NULL; /* the context ends */
        }
        if (item[2].revents)
            return NULL;
        if (item[0].revents & ZMQ_POLLIN)
            answer(a);
        if (item[1].revents & ZMQ_POLLIN)
            watch(a);
    }
}

/* ---- beginning and end ---- */

struct auth *auth_new(void *context, const char *clients_file, enum client_role role, char *why, size_t size)
{
    struct auth *a = calloc(1, sizeof *a);

    CHECK(a && strlen(clients_file) < sizeof a->file);
    memcpy(a->file, clients_file, strlen(clients_file) + 1);
    a->role    = role;
    a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&a->lock, NULL);
    refresh(a);
    a->handler = zmq_socket(context, ZMQ_REP);
    a->monitor = zmq_socket(context, ZMQ_PAIR);
    if (a->fault[0])
        snprintf(why, size, "%s", a->fault);
    else if (a->stop_fd < 0 || !a->handler || !a->monitor || zmq_bind(a->handler, HANDLER) != 0)
        snprintf(why, size, "no handler for ZeroMQ's questions about clients: %s", zmq_strerror(errno));
    else
        return a;
    auth_end(a);
    return NULL;
}

static bool set(void *socket, int option, const void *value, size_t size)
{
    return zmq_setsockopt(socket, option, value, size) == 0;
}

bool auth_guard(struct auth *a, void *socket, const struct key_pair *own, char *why, size_t size)
{
    const int one = 1, unlimited = 0, linger = 0;
    sigset_t  all, before;

    a->socket = socket;
    set(a->handler, ZMQ_LINGER, &linger, sizeof linger);
    set(a->monitor, ZMQ_RCVHWM, &unlimited, sizeof unlimited); /* a full queue would hold up ZeroMQ's own thread */
    bool good = set(socket, ZMQ_CURVE_SERVER, &one, sizeof one) &&
                set(socket, ZMQ_CURVE_SECRETKEY, own->secret, KEY_TEXT) &&
                set(socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) &&
                set(socket, ZMQ_ZAP_ENFORCE_DOMAIN, &one, sizeof one) &&
                zmq_socket_monitor(socket, MONITOR,
                                   ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) == 0 &&
                zmq_connect(a->monitor, MONITOR) == 0;
    if (good) {
        sigfillset(&all); /* signals are for the main thread */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        errno = pthread_create(&a->thread, NULL, run, a);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        good = a->running = errno == 0;
    }
    if (good)
        pthread_setname_np(a->thread, "auth");
    else
        snprintf(why, size, "ZeroMQ cannot be made to ask who connects: %s", zmq_strerror(errno));
    return good;
}

void auth_end(struct auth *a)
{
    uint64_t one = 1;

    if (!a)
        return;
    if (a->running && write(a->stop_fd, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(a->thread, NULL);
    if (a->socket) /* before its reader goes: the monitor would block without one */
        zmq_socket_monitor(a->socket, NULL, 0);
    if (a->monitor)
        zmq_close(a->monitor);
    if (a->handler)
        zmq_close(a->handler);
    if (a->stop_fd >= 0)
        close(a->stop_fd);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
