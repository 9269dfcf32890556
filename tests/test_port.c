/* test_port.c - real ZeroMQ over Unix sockets. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/test.h"
#include "transport/port.h"

static char why[400];

static const char *in_test_dir(const char *name)
{
    static char endpoint[300];

    snprintf(endpoint, sizeof endpoint, "ipc://%s/%s", test_dir(), name);
    return endpoint;
}

static struct port *bind_at(const char *endpoint)
{
    return port_bind(&(struct port_options){ .endpoint = endpoint, .core = -1 }, why, sizeof why);
}

static struct port *connect_at(const char *endpoint)
{
    return port_connect(&(struct port_options){ .endpoint = endpoint, .core = -1 }, why, sizeof why);
}

/* Connecting takes a moment; until then nothing is queued. */
static bool send_soon(struct port *p, const void *bytes, size_t n)
{
    for (int i = 0; i < 500; i++) {
        if (port_send(p, NULL, 0, bytes, n))
            return true;
        usleep(10000);
    }
    return false;
}

struct received {
    uint8_t peer[PEER_ID_SIZE], bytes[CODEC_MAX_BYTES];
    size_t  peer_len;
    long    n;
};

static struct received receive(struct port *p)
{
    static struct received r;

    memset(&r, 0, sizeof r);
    r.n = port_wait(p, -1, 5000) ? port_receive(p, r.peer, &r.peer_len, r.bytes, sizeof r.bytes) : -2;
    return r;
}

TEST(messages_go_both_ways_in_order_and_to_the_right_peer)
{
    const char     *endpoint = in_test_dir("robot.sock");
    struct port    *daemon = bind_at(endpoint), *a = connect_at(endpoint), *b = connect_at(endpoint);
    struct received from_a, from_b;

    EXPECT(daemon && a && b && why[0] == 0);
    EXPECT(send_soon(a, "a1", 2));
    from_a = receive(daemon);
    EXPECT(from_a.n == 2 && memcmp(from_a.bytes, "a1", 2) == 0 && from_a.peer_len > 0);
    EXPECT(send_soon(b, "b1", 2));
    from_b = receive(daemon);
    EXPECT(from_b.n == 2 && memcmp(from_b.bytes, "b1", 2) == 0);
    EXPECT(from_a.peer_len != from_b.peer_len || memcmp(from_a.peer, from_b.peer, from_a.peer_len) != 0);
    for (uint8_t i = 0; i < 5; i++)
        EXPECT(port_send(daemon, from_a.peer, from_a.peer_len, &i, 1));
    EXPECT(port_send(daemon, from_b.peer, from_b.peer_len, (const uint8_t *)"x", 1));
    for (uint8_t i = 0; i < 5; i++) {
        struct received r = receive(a);
        EXPECT(r.n == 1 && r.bytes[0] == i);
    }
    EXPECT(receive(b).bytes[0] == 'x');
    EXPECT(port_receive(a, NULL, NULL, from_a.bytes, sizeof from_a.bytes) == -1); /* nothing left, and no waiting */
    port_close(a), port_close(b), port_close(daemon);
}

TEST(sending_to_a_peer_that_is_gone_says_so)
{
    const char     *endpoint = in_test_dir("robot.sock");
    struct port    *daemon = bind_at(endpoint), *a = connect_at(endpoint);
    struct received r;
    bool            gone = false;

    EXPECT(send_soon(a, "hi", 2));
    r = receive(daemon);
    port_close(a);
    for (int i = 0; i < 500 && !gone; i++, usleep(10000))
        gone = !port_send(daemon, r.peer, r.peer_len, (const uint8_t *)"x", 1);
    EXPECT(gone);
    EXPECT(!port_send(daemon, (const uint8_t *)"nobody", 6, (const uint8_t *)"x", 1));
    port_close(daemon);
}

TEST(a_peer_that_does_not_read_costs_messages_and_never_time)
{
    const char     *endpoint = in_test_dir("robot.sock");
    struct port    *daemon = bind_at(endpoint), *a = connect_at(endpoint);
    static uint8_t  block[CODEC_MAX_BYTES];
    struct received r;
    int             sent = 0;

    EXPECT(send_soon(a, "hi", 2));
    r = receive(daemon);
    while (sent < 10000 && port_send(daemon, r.peer, r.peer_len, block, sizeof block))
        sent++;
    EXPECT(sent >= 8 && sent < 10000); /* ends by false, not by blocking */
    port_close(a), port_close(daemon);
}

TEST(oversized_messages_and_those_of_several_parts_are_told_by_their_length)
{
    const char     *endpoint = in_test_dir("robot.sock");
    struct port    *daemon   = bind_at(endpoint);
    void           *context = zmq_ctx_new(), *raw = zmq_socket(context, ZMQ_DEALER);
    static uint8_t  block[PORT_MAX_BYTES];
    struct received r;

    EXPECT(zmq_connect(raw, endpoint) == 0);
    zmq_send(raw, block, CODEC_MAX_BYTES, 0);
    EXPECT(receive(daemon).n == CODEC_MAX_BYTES);
    zmq_send(raw, block, CODEC_MAX_BYTES + 1, 0);
    EXPECT(receive(daemon).n == CODEC_MAX_BYTES + 1);
    zmq_send(raw, block, PORT_MAX_BYTES, 0);
    EXPECT(receive(daemon).n == CODEC_MAX_BYTES + 1);
    zmq_send(raw, "", 0, ZMQ_SNDMORE);
    zmq_send(raw, "two", 3, ZMQ_SNDMORE);
    zmq_send(raw, "three", 5, 0);
    EXPECT(receive(daemon).n == CODEC_MAX_BYTES + 1);
    zmq_send(raw, "", 0, 0);
    EXPECT(receive(daemon).n == 0);
    zmq_send(raw, "whole again", 11, 0);
    r = receive(daemon);
    EXPECT(r.n == 11 && memcmp(r.bytes, "whole again", 11) == 0);
    zmq_close(raw), zmq_ctx_term(context), port_close(daemon);
}

TEST(waiting_ends_by_message_or_wake_or_time)
{
    const char  *endpoint = in_test_dir("robot.sock");
    struct port *daemon = bind_at(endpoint), *a = connect_at(endpoint);
    int          wake = eventfd(0, EFD_NONBLOCK);
    uint64_t     one  = 1;

    EXPECT(!port_wait(daemon, wake, 10));
    EXPECT(write(wake, &one, sizeof one) == sizeof one);
    EXPECT(!port_wait(daemon, wake, -1));
    EXPECT(read(wake, &one, sizeof one) < 0); /* the port emptied it */
    EXPECT(send_soon(a, "hi", 2));
    EXPECT(port_wait(daemon, wake, -1));
    close(wake), port_close(a), port_close(daemon);
}

TEST(the_socket_file_is_for_owner_and_group_only)
{
    const char  *endpoint = in_test_dir("robot.sock");
    mode_t       mask     = umask(0);
    struct port *daemon   = bind_at(endpoint);
    struct stat  st;

    EXPECT(umask(mask) == 0); /* and the process's umask is as it was */
    EXPECT(stat(endpoint + 6, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0660);
    port_close(daemon);
}

TEST(a_living_daemon_keeps_its_socket)
{
    const char  *endpoint = in_test_dir("robot.sock");
    struct port *daemon   = bind_at(endpoint), *a;

    EXPECT(bind_at(endpoint) == NULL);
    EXPECT_STR(why, "another process listens there");
    EXPECT_STR(why, endpoint + 6);
    a = connect_at(endpoint);
    EXPECT(send_soon(a, "hi", 2) && receive(daemon).n == 2);
    port_close(a), port_close(daemon);
}

TEST(a_dead_daemons_socket_is_replaced_and_a_file_is_not)
{
    const char        *endpoint = in_test_dir("robot.sock");
    struct sockaddr_un at       = { .sun_family = AF_UNIX };
    int                fd       = socket(AF_UNIX, SOCK_STREAM, 0);
    struct port       *daemon;

    for (size_t i = 0; endpoint[6 + i] && i + 1 < sizeof at.sun_path; i++)
        at.sun_path[i] = endpoint[6 + i];
    EXPECT(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0);
    close(fd); /* as after kill -9: the file stays */
    daemon = bind_at(endpoint);
    EXPECT(daemon != NULL);
    port_close(daemon);

    unlink(endpoint + 6);
    fd = open(endpoint + 6, O_CREAT | O_WRONLY, 0600);
    close(fd);
    EXPECT(bind_at(endpoint) == NULL);
    EXPECT_STR(why, "exists and is not a socket");
    EXPECT(access(endpoint + 6, F_OK) == 0);
}

TEST(endpoints_that_cannot_be_had_are_refused_with_a_reason)
{
    char long_path[300] = "ipc:///tmp/";

    memset(long_path + 11, 'x', 150);
    EXPECT(!bind_at("tcp://127.0.0.1:5555"));
    EXPECT_STR(why, "tcp is refused without keys");
    EXPECT(!connect_at("tcp://127.0.0.1:5555"));
    EXPECT_STR(why, "tcp is refused without keys");
    EXPECT(!bind_at("/tmp/robot.sock"));
    EXPECT_STR(why, "expected ipc:///path/to/socket or tcp://HOST:PORT");
    static const char *const wrong[] = { "tcp://", "tcp://:5", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:0",
                                         "tcp://127.0.0.1:65536", "tcp://127.0.0.1:5x", "tcp://a;b:5", "tcp://[::1]:5" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        EXPECT(!bind_at(wrong[i]) && !connect_at(wrong[i]));
        EXPECT_STR(why, "expected tcp://HOST:PORT, PORT from 1 to 65535");
    }
    EXPECT(!connect_at("tcp://*:5555") && !connect_at("tcp://127.0.0.1:*"));
    EXPECT(!bind_at("ipc://@limber")); /* abstract: nothing says who may connect */
    EXPECT(!bind_at("ipc://*") && !bind_at("ipc://"));
    EXPECT_STR(why, "expected a file");
    EXPECT(!bind_at(long_path) && !connect_at(long_path));
    EXPECT_STR(why, "155 bytes, expected at most 107");
    EXPECT(!bind_at("ipc:///nonexistent/robot.sock"));
    EXPECT_STR(why, "does the directory exist");
}

TEST(a_priority_that_is_not_granted_is_a_warning_and_the_port_works)
{
    const char         *endpoint = in_test_dir("robot.sock");
    struct port_options o        = { .endpoint = endpoint, .priority = 1000, .core = 0 };
    struct port        *daemon   = port_bind(&o, why, sizeof why), *a;

    EXPECT(daemon != NULL); /* libzmq itself would abort the process */
    EXPECT_STR(why, "priority 1000, which the system does not grant");
    a = connect_at(endpoint);
    EXPECT(send_soon(a, "hi", 2) && receive(daemon).n == 2);
    port_close(a), port_close(daemon);
}

TEST(listeners_hear_what_is_published)
{
    const char  *endpoint = in_test_dir("telemetry.sock");
    struct port *pub      = port_publish(&(struct port_options){ .endpoint = endpoint, .core = -1 }, why, sizeof why);
    void        *context = zmq_ctx_new(), *sub = zmq_socket(context, ZMQ_SUB);
    int          wait_ms = 20, n = -1;
    char         buf[8];

    EXPECT(pub != NULL);
    EXPECT(port_send(pub, NULL, 0, (const uint8_t *)"x", 1)); /* nobody listens: no error */
    zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0);
    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    EXPECT(zmq_connect(sub, endpoint) == 0);
    for (int i = 0; i < 200 && n < 0; i++) {
        port_send(pub, NULL, 0, (const uint8_t *)"tick", 4);
        n = zmq_recv(sub, buf, sizeof buf, 0);
    }
    EXPECT(n == 4 && memcmp(buf, "tick", 4) == 0);
    zmq_close(sub), zmq_ctx_term(context), port_close(pub);
}
