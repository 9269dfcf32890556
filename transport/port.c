/* port.c - libzmq, and what has to be true before it is called: it aborts the process where a scheduling request is
 * not granted, and unlinks a socket file whether or not somebody listens on it. */
#include "transport/port.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/rt/explain.h"
#include "transport/auth.h"

struct port {
    void        *context, *socket;
    struct auth *auth; /* NULL: ipc, or not one that listens */
    bool         router;

    /* who connects over tcp */
    void                  *monitor; /* PAIR: handshakes, good and bad */
    char                   where[128], public[KEY_TEXT];
    struct port_handshakes handshakes;
};

enum {
    ROBOT_QUEUE     = 8,   /* messages; newest wins, so a longer queue would only hold old ones */
    TELEMETRY_QUEUE = 256, /* messages a listener may lag behind                                */
    TCP_BACKLOG     = 16,
    CURVE_OVERHEAD  = 64,   /* bytes that CURVE adds to a message: 33, rounded up                */
    HANDSHAKE_MS    = 1000, /* a connection that has not proved who it is by then ends           */
    HEARTBEAT_MS    = 300,  /* a dead connection is noticed when the session notices, after      */
    HEARD_MS        = SESSION_ALIVE_MS,
    RECONNECT_MS    = 50,
    RECONNECT_MOST_MS = 1000, /* on tcp, where a refused client would else knock 20 times a second  */
};

static const char ipc[] = "ipc://", tcp[] = "tcp://", MONITOR[] = "inproc://limber.handshakes";

/* ---- before ZeroMQ --------------------------------------------------------------------------------------------- */

static bool is_tcp(const char *endpoint)
{
    return strncmp(endpoint, tcp, sizeof tcp - 1) == 0;
}

/* HOST:PORT; who listens may say * for either. */
static bool tcp_ok(const char *endpoint, bool listens, char *why, size_t size)
{
    const char *host = endpoint + sizeof tcp - 1, *colon = strrchr(host, ':'), *number = colon ? colon + 1 : "";
    char       *end;
    long        n    = strtol(number, &end, 10);
    bool        good = colon && colon > host && !strpbrk(host, ";[] ");

    if (listens)
        good = good && (strcmp(number, "*") == 0 || (number[0] >= '0' && number[0] <= '9' && !*end && n >= 1 && n <= 65535));
    else
        good = good && host[0] != '*' && number[0] >= '0' && number[0] <= '9' && !*end && n >= 1 && n <= 65535;
    return good ? true : explain(why, size, "%s: expected tcp://%s:PORT, PORT from 1 to 65535", endpoint, listens ? "ADDRESS" : "HOST");
}

bool port_endpoint_ok(const char *endpoint, bool listens, char *why, size_t size)
{
    const size_t most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    const char  *path = endpoint + sizeof ipc - 1;

    if (is_tcp(endpoint))
        return tcp_ok(endpoint, listens, why, size);
    if (strncmp(endpoint, ipc, sizeof ipc - 1) != 0)
        return explain(why, size, "%s: not an endpoint; expected ipc:///path/to/socket or tcp://HOST:PORT", endpoint);
    if (path[0] == 0 || path[0] == '@' || path[0] == '*')
        return explain(why, size, "%s: expected a file after ipc://, whose directory says who may connect", endpoint);
    if (strlen(path) > most)
        return explain(why, size, "%s: the path has %zu bytes, expected at most %zu; choose a shorter run directory",
                       endpoint, strlen(path), most);
    return true;
}

/* Removes a socket file nobody listens on. */
static bool free_path(const char *endpoint, char *why, size_t size)
{
    const char        *path = endpoint + sizeof ipc - 1;
    struct sockaddr_un at   = { .sun_family = AF_UNIX };
    struct stat        st;
    int                fd, error;

    if (lstat(path, &st) != 0)
        return true; /* nothing there; a missing directory is bind's to report */
    if (!S_ISSOCK(st.st_mode))
        return explain(why, size, "%s: exists and is not a socket; remove it or choose another path", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return explain(why, size, "%s: no socket to probe it with: %s", path, strerror(errno));
    memcpy(at.sun_path, path, strlen(path) + 1);
    error = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? 0 : errno;
    close(fd);
    if (error != ECONNREFUSED)
        return explain(why, size, "%s: another process listens there%s%s; stop it or choose another run directory",
                       path, error ? " or may: " : "", error ? strerror(error) : "");
    if (unlink(path) != 0)
        return explain(why, size, "%s: left over, and cannot be removed: %s", path, strerror(errno));
    return true;
}

/* Whether a thread of ours may have this priority and this core: tried on the calling thread, then undone. */
static bool priority_granted(int priority)
{
    struct sched_param before, want = { .sched_priority = priority };
    int                policy;

    if (pthread_getschedparam(pthread_self(), &policy, &before) != 0 ||
        pthread_setschedparam(pthread_self(), SCHED_FIFO, &want) != 0)
        return false;
    pthread_setschedparam(pthread_self(), policy, &before);
    return true;
}

static bool core_granted(int core)
{
    cpu_set_t before, want;

    CPU_ZERO(&want);
    CPU_SET((size_t)core, &want);
    if (core >= CPU_SETSIZE || pthread_getaffinity_np(pthread_self(), sizeof before, &before) != 0 ||
        pthread_setaffinity_np(pthread_self(), sizeof want, &want) != 0)
        return false;
    pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    return true;
}

static void schedule_io(void *context, const struct port_options *o, char *why, size_t size)
{
    if (o->priority <= 0)
        return;
    if (!priority_granted(o->priority)) {
        explain(
            why, size,
            "%s: ZeroMQ's thread runs without real-time priority %d, which the system does not grant; allow it with "
            "LimitRTPRIO= or in /etc/security/limits.conf",
            o->endpoint, o->priority);
        return;
    }
    zmq_ctx_set(context, ZMQ_THREAD_SCHED_POLICY, SCHED_FIFO);
    zmq_ctx_set(context, ZMQ_THREAD_PRIORITY, o->priority);
    if (o->core < 0)
        return;
    if (core_granted(o->core))
        zmq_ctx_set(context, ZMQ_THREAD_AFFINITY_CPU_ADD, o->core);
    else
        explain(why, size, "%s: ZeroMQ's thread is not pinned: core %d does not exist or is not ours; change `core`",
                o->endpoint, o->core);
}

/* ---- the port -------------------------------------------------------------------------------------------------- */

static void set(struct port *p, int option, int value)
{
    zmq_setsockopt(p->socket, option, &value, sizeof value);
}

static bool set_key(struct port *p, int option, const char key[KEY_TEXT])
{
    return zmq_setsockopt(p->socket, option, key, KEY_TEXT) == 0;
}

/* What a connection over a network needs besides keys. */
static void harden(struct port *p)
{
    int64_t most = CODEC_MAX_BYTES + CURVE_OVERHEAD;

    zmq_setsockopt(p->socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    set(p, ZMQ_BACKLOG, TCP_BACKLOG);
    set(p, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set(p, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set(p, ZMQ_HEARTBEAT_TIMEOUT, HEARD_MS);
    set(p, ZMQ_HEARTBEAT_TTL, HEARD_MS);
    set(p, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MOST_MS);
}

/* The options of every socket; those of its kind. */
static void configure(struct port *p, int type, bool network)
{
    int64_t most = PORT_MAX_BYTES;

    set(p, ZMQ_LINGER, 0);
    set(p, ZMQ_SNDHWM, type == ZMQ_PUB ? TELEMETRY_QUEUE : ROBOT_QUEUE);
    set(p, ZMQ_RCVHWM, type == ZMQ_SUB ? TELEMETRY_QUEUE : ROBOT_QUEUE);
    zmq_setsockopt(p->socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    p->router = type == ZMQ_ROUTER;
    if (p->router) /* port_send can say that the peer is gone; with DONTWAIT it never blocks */
        set(p, ZMQ_ROUTER_MANDATORY, 1);
    if (type == ZMQ_DEALER) { /* nothing is queued for a daemon that is not there */
        set(p, ZMQ_IMMEDIATE, 1);
        set(p, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    }
    if (network)
        harden(p);
}

/* The socket; where `role` is not 0, the handler that says who may connect to it is there before it. */
static struct port *port_new(const struct port_options *o, int type, enum client_role role, char *why, size_t size)
{
    struct port *p = calloc(1, sizeof *p);

    if (p)
        p->context = zmq_ctx_new();
    if (p && p->context) {
        schedule_io(p->context, o, why, size);
        if (role && !(p->auth = auth_new(p->context, o->keys.clients, role, why, size))) {
            port_close(p);
            return NULL;
        }
        p->socket = zmq_socket(p->context, type);
    }
    if (!p || !p->socket) {
        explain(why, size, "%s: no ZeroMQ socket: %s", o->endpoint, zmq_strerror(errno));
        port_close(p);
        return NULL;
    }
    configure(p, type, is_tcp(o->endpoint));
    return p;
}

/* Own keys, from their file. */
static bool own_keys(const struct port_options *o, const char *other, struct key_pair *own, char *why, size_t size)
{
    if (!o->keys.key || !o->keys.key[0] || !other || !other[0])
        return explain(why, size, "%s: tcp is refused without keys, as nothing would say who is on the other end; see docs/security.md", o->endpoint);
    return keys_load(o->keys.key, own, why, size);
}

static struct port *port_listen(const struct port_options *o, int type, enum client_role role, char *why, size_t size)
{
    struct port    *p;
    struct key_pair own;
    mode_t          mask;
    int             rc;
    bool            network = is_tcp(o->endpoint);

    why[0] = 0;
    if (!port_endpoint_ok(o->endpoint, true, why, size) ||
        !(network ? own_keys(o, o->keys.clients, &own, why, size) : free_path(o->endpoint, why, size)))
        return NULL;
    p = port_new(o, type, network ? role : 0, why, size);
    if (p && network && !auth_guard(p->auth, p->socket, &own, why, size)) {
        port_close(p);
        p = NULL;
    }
    explicit_bzero(&own, sizeof own);
    if (!p)
        return NULL;
    mask = umask(0117); /* the file is never there with other rights than 0660 */
    rc   = zmq_bind(p->socket, o->endpoint);
    umask(mask);
    if (rc != 0) {
        explain(why, size, "%s: cannot listen there: %s; %s", o->endpoint, zmq_strerror(errno),
                network ? "is the address this machine's, and the port free?"
                        : "does the directory exist, and may this user write to it?");
        port_close(p);
        return NULL;
    }
    return p;
}

struct port *port_bind(const struct port_options *o, char *why, size_t why_size)
{
    return port_listen(o, ZMQ_ROUTER, ROLE_ROBOT, why, why_size);
}

struct port *port_publish(const struct port_options *o, char *why, size_t why_size)
{
    return port_listen(o, ZMQ_PUB, ROLE_LISTEN, why, why_size);
}

/* Makes the socket a CURVE client of exactly this server. */
static bool trust(struct port *p, const struct port_options *o, char *why, size_t size)
{
    struct key_pair own;
    char            server[KEY_TEXT];
    bool            good = own_keys(o, o->keys.server, &own, why, size) && keys_load_public(o->keys.server, server, why, size);

    if (good && !(set_key(p, ZMQ_CURVE_SERVERKEY, server) && set_key(p, ZMQ_CURVE_PUBLICKEY, own.public) &&
                  set_key(p, ZMQ_CURVE_SECRETKEY, own.secret)))
        good = explain(why, size, "%s: the keys cannot be used: %s", o->endpoint, zmq_strerror(errno));
    memcpy(p->public, own.public, sizeof p->public);
    explicit_bzero(&own, sizeof own);
    return good;
}

/* Has libzmq, which tries again and again in silence, tell what becomes of each handshake. */
static bool monitor(struct port *p, const struct port_options *o, char *why, size_t size)
{
    const int unlimited = 0; /* a full queue would hold up ZeroMQ's own thread */

    snprintf(p->where, sizeof p->where, "%s", o->endpoint);
    p->monitor = zmq_socket(p->context, ZMQ_PAIR);
    return (p->monitor && zmq_setsockopt(p->monitor, ZMQ_RCVHWM, &unlimited, sizeof unlimited) == 0 &&
            zmq_socket_monitor(p->socket, MONITOR,
                               ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                   ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0 &&
            zmq_connect(p->monitor, MONITOR) == 0) ||
           explain(why, size, "%s: ZeroMQ does not tell about handshakes: %s", o->endpoint, zmq_strerror(errno));
}

/* A peer that will not have us hangs up and says nothing, so as not to tell strangers more. */
static void handshake(struct port *p, uint16_t event)
{
    struct port_handshakes *h = &p->handshakes;

    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        h->in_row = 0;
        return;
    }
    h->failed++;
    h->in_row++;
    snprintf(h->why, sizeof h->why, "%s %s (our public key: %s)", p->where,
             event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
                 ? "does not speak CURVE as limberd does: is it limberd's endpoint?"
             : event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
                 ? "says that our key may not connect"
                 : "hangs up: our key is not on its list for this endpoint, or its own is not the one we expect",
             p->public);
}

const struct port_handshakes *port_handshakes(struct port *p)
{
    uint8_t  head[6], where[256];
    uint16_t event;

    while (p->monitor && zmq_recv(p->monitor, head, sizeof head, ZMQ_DONTWAIT) == (int)sizeof head) {
        if (zmq_recv(p->monitor, where, sizeof where, ZMQ_DONTWAIT) < 0)
            break;
        memcpy(&event, head, sizeof event);
        handshake(p, event);
    }
    return &p->handshakes;
}

static struct port *port_join(const struct port_options *o, int type, char *why, size_t why_size)
{
    struct port *p;

    why[0] = 0;
    if (!port_endpoint_ok(o->endpoint, false, why, why_size))
        return NULL;
    p = port_new(o, type, 0, why, why_size);
    if (p && type == ZMQ_SUB)
        zmq_setsockopt(p->socket, ZMQ_SUBSCRIBE, "", 0);
    if (p && is_tcp(o->endpoint) &&
        !(trust(p, o, why, why_size) && (type == ZMQ_SUB || monitor(p, o, why, why_size)))) {
        port_close(p);
        return NULL;
    }
    if (p && zmq_connect(p->socket, o->endpoint) != 0) {
        explain(why, why_size, "%s: cannot connect: %s", o->endpoint, zmq_strerror(errno));
        port_close(p);
        return NULL;
    }
    return p;
}

struct port *port_connect(const struct port_options *o, char *why, size_t why_size)
{
    return port_join(o, ZMQ_DEALER, why, why_size);
}

struct port *port_subscribe(const struct port_options *o, char *why, size_t why_size)
{
    return port_join(o, ZMQ_SUB, why, why_size);
}

void port_lock(struct port *p)
{
    auth_end(p->auth);
    p->auth = NULL;
}

uint64_t port_refused(const struct port *p, char *last, size_t size)
{
    last[0] = 0;
    return p->auth ? auth_refused(p->auth, last, size) : 0;
}

void port_where(const struct port *p, char *endpoint, size_t size)
{
    if (zmq_getsockopt(p->socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        endpoint[0] = 0;
}

void port_close(struct port *p)
{
    if (!p)
        return;
    auth_end(p->auth);
    if (p->monitor) { /* as auth_end does: first the one that writes to it */
        zmq_socket_monitor(p->socket, NULL, 0);
        zmq_close(p->monitor);
    }
    if (p->socket)
        zmq_close(p->socket);
    if (p->context)
        while (zmq_ctx_term(p->context) != 0 && errno == EINTR)
            ;
    free(p);
}

bool port_wait(struct port *p, int wake_fd, int timeout_ms)
{
    zmq_pollitem_t item[2] = { { .socket = p->socket, .events = ZMQ_POLLIN }, { .fd = wake_fd, .events = ZMQ_POLLIN } };
    uint64_t       drop;

    if (zmq_poll(item, wake_fd >= 0 ? 2 : 1, timeout_ms) <= 0)
        return false;
    if (wake_fd >= 0 && (item[1].revents & ZMQ_POLLIN) && read(wake_fd, &drop, sizeof drop) < 0)
        return item[0].revents & ZMQ_POLLIN; /* somebody else emptied it: as good */
    return item[0].revents & ZMQ_POLLIN;
}

/* One part without waiting; its full length, or -1. */
static long receive_part(struct port *p, void *buf, size_t size)
{
    int n;

    do
        n = zmq_recv(p->socket, buf, size, ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool more_parts(struct port *p)
{
    int    more = 0;
    size_t size = sizeof more;

    return zmq_getsockopt(p->socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

long port_receive(struct port *p, uint8_t *peer, size_t *peer_len, uint8_t *buf, size_t size)
{
    long n;
    bool one = true;

    if (p->router) {
        n = receive_part(p, peer, PEER_ID_SIZE);
        if (n < 0)
            return -1;
        *peer_len = (size_t)n;
        if (!more_parts(p))
            return CODEC_MAX_BYTES + 1;
    }
    n = receive_part(p, buf, size);
    if (n < 0)
        return -1;
    while (more_parts(p)) { /* the parts of one message arrive together */
        one = false;
        if (receive_part(p, NULL, 0) < 0)
            break;
    }
    return one && n <= (long)size ? n : CODEC_MAX_BYTES + 1;
}

static bool send_part(struct port *p, const void *buf, size_t len, int flags)
{
    int n;

    do
        n = zmq_send(p->socket, buf, len, flags | ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

bool port_send(struct port *p, const uint8_t *peer, size_t peer_len, const uint8_t *buf, size_t len)
{
    if (p->router && !send_part(p, peer, peer_len, ZMQ_SNDMORE))
        return false;
    return send_part(p, buf, len, 0);
}
