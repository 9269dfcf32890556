/* test_auth.c - who gets in at a tcp:// endpoint: real ZeroMQ sockets over loopback, every kind of client, with the
 * handler that answers for them and without. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "tests/fixture.h"
#include "tests/test.h"
#include "transport/keys.h"
#include "transport/port.h"

enum { PATIENCE_MS = 10000 };

static char why[700];

static const char *in_dir(const char *name)
{
    static char path[8][600];
    static int  i;

    i = (i + 1) % 8;
    snprintf(path[i], sizeof path[i], "%s/%s", test_dir(), name);
    return path[i];
}

/* ---- a daemon's end, and its keys ---- */

static struct key_pair daemon_key, robot_key, listen_key, unknown_key, other_key;

static void write_list(const char *more)
{
    FILE *f = fopen(in_dir("clients"), "we");

    if (!f)
        abort();
    fprintf(f, "robot %s\nlisten %s\n%s", robot_key.public, listen_key.public, more);
    fclose(f);
    chmod(in_dir("clients"), 0644);
}

static void make_keys(void)
{
    static struct {
        const char      *name;
        struct key_pair *k;
    } all[] = { { "daemon.key", &daemon_key },
                { "robot.key", &robot_key },
                { "listen.key", &listen_key },
                { "unknown.key", &unknown_key },
                { "other.key", &other_key } };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (access(in_dir(all[i].name), F_OK) != 0)
            EXPECT(keys_make(in_dir(all[i].name), all[i].k, why, sizeof why));
    write_list("");
}

static struct port *listen_at(const char *endpoint, bool telemetry)
{
    struct port_options o = { .endpoint = endpoint,
                              .core     = -1,
                              .keys     = { .key = in_dir("daemon.key"), .clients = in_dir("clients") } };

    return telemetry ? port_publish(&o, why, sizeof why) : port_bind(&o, why, sizeof why);
}

/* ---- clients of every kind, made of nothing but libzmq ---- */

static const struct key_pair published = { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
                                           "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs" };

enum kind { NO_CURVE, WRONG_SERVER_KEY, UNKNOWN_KEY, WRONG_ROLE, RIGHT_ROLE, TEST_KEYS, KINDS };

struct peer {
    void *context, *socket, *monitor;
};

static struct peer peer_start(const char *endpoint, enum kind kind, bool telemetry)
{
    const struct key_pair *right = telemetry ? &listen_key : &robot_key, *wrong = telemetry ? &robot_key : &listen_key;
    const struct key_pair *own[KINDS] = { NULL, right, &unknown_key, wrong, right, &published };
    struct peer            p          = { .context = zmq_ctx_new() };
    int                    linger     = 0;

    p.socket = zmq_socket(p.context, telemetry ? ZMQ_SUB : ZMQ_DEALER);
    zmq_setsockopt(p.socket, ZMQ_LINGER, &linger, sizeof linger);
    if (telemetry)
        zmq_setsockopt(p.socket, ZMQ_SUBSCRIBE, "", 0);
    if (own[kind]) {
        zmq_setsockopt(p.socket, ZMQ_CURVE_SERVERKEY, kind == WRONG_SERVER_KEY ? other_key.public : daemon_key.public,
                       KEY_TEXT);
        zmq_setsockopt(p.socket, ZMQ_CURVE_PUBLICKEY, own[kind]->public, KEY_TEXT);
        zmq_setsockopt(p.socket, ZMQ_CURVE_SECRETKEY, own[kind]->secret, KEY_TEXT);
    }
    zmq_socket_monitor(p.socket, "inproc://peer.monitor",
                       ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    p.monitor = zmq_socket(p.context, ZMQ_PAIR);
    zmq_connect(p.monitor, "inproc://peer.monitor");
    zmq_connect(p.socket, endpoint);
    if (!telemetry)
        zmq_send(p.socket, "hello", 5, 0); /* goes out as soon as it is let in */
    return p;
}

static void peer_end(struct peer *p)
{
    zmq_socket_monitor(p->socket, NULL, 0);
    zmq_close(p->monitor);
    zmq_close(p->socket);
    zmq_ctx_term(p->context);
}

/* The first thing that becomes of its connection. */
static int peer_event(struct peer *p)
{
    uint8_t  head[6];
    uint16_t event;
    int      ms = PATIENCE_MS;

    zmq_setsockopt(p->monitor, ZMQ_RCVTIMEO, &ms, sizeof ms);
    if (zmq_recv(p->monitor, head, sizeof head, 0) != (int)sizeof head)
        return 0;
    zmq_recv(p->monitor, NULL, 0, 0);
    memcpy(&event, head, sizeof event);
    return event;
}

/* Whether the daemon hears it and it hears the daemon. */
static bool talks(struct port *daemon, struct peer *p, bool telemetry)
{
    uint8_t id[PEER_ID_SIZE], in[CODEC_MAX_BYTES];
    size_t  id_len;
    int     ms = telemetry ? 20 : PATIENCE_MS, n = -1;

    zmq_setsockopt(p->socket, ZMQ_RCVTIMEO, &ms, sizeof ms);
    if (!telemetry) {
        if (!port_wait(daemon, -1, PATIENCE_MS) || port_receive(daemon, id, &id_len, in, sizeof in) != 5)
            return false;
        EXPECT(port_send(daemon, id, id_len, (const uint8_t *)"torque", 6));
        return zmq_recv(p->socket, in, sizeof in, 0) == 6 && memcmp(in, "torque", 6) == 0;
    }
    for (int i = 0; i < PATIENCE_MS / 20 && n != 4; i++) { /* the subscription takes a moment to arrive */
        port_send(daemon, NULL, 0, (const uint8_t *)"tick", 4);
        n = zmq_recv(p->socket, in, sizeof in, 0);
    }
    return n == 4;
}

/* Whether anything at all got through, a while after its connection was refused: it has tried again since. */
static bool leaks(struct port *daemon, struct peer *p, bool telemetry)
{
    uint8_t id[PEER_ID_SIZE], in[CODEC_MAX_BYTES];
    size_t  id_len;

    for (int i = 0; i < 30; i++) {
        if (telemetry && port_send(daemon, NULL, 0, (const uint8_t *)"tick", 4) &&
            zmq_recv(p->socket, in, sizeof in, ZMQ_DONTWAIT) >= 0)
            return true;
        if (!telemetry && port_wait(daemon, -1, 10) && port_receive(daemon, id, &id_len, in, sizeof in) >= 0)
            return true;
        usleep(telemetry ? 10000 : 0);
    }
    return false;
}

/* One cell: whether this client gets through, with the handler up or dead. */
static bool cell(enum kind kind, bool handler, bool telemetry)
{
    struct port *daemon = listen_at("tcp://127.0.0.1:*", telemetry);
    char         endpoint[100], last[240];
    bool         through;

    EXPECT(daemon != NULL);
    if (!daemon)
        return false;
    port_where(daemon, endpoint, sizeof endpoint);
    if (!handler)
        port_lock(daemon);
    struct peer p     = peer_start(endpoint, kind, telemetry);
    int         event = peer_event(&p);

    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        through = talks(daemon, &p, telemetry);
    } else {
        EXPECT(event != 0); /* it was told so, or cut off, within the patience */
        through = leaks(daemon, &p, telemetry);
        EXPECT(!handler || port_refused(daemon, last, sizeof last) > 0);
    }
    peer_end(&p);
    port_close(daemon);
    return through;
}

static void matrix(bool telemetry)
{
    int passed = 0;

    make_keys();
    for (int handler = 0; handler < 2; handler++)
        for (int kind = 0; kind < KINDS; kind++) {
            bool got = cell((enum kind)kind, handler, telemetry), want = handler && kind == RIGHT_ROLE;

            passed += got;
            if (got != want)
                printf("    client %d, handler %s: %s\n", kind, handler ? "up" : "dead",
                       got ? "got in" : "did not get in");
            EXPECT(got == want);
        }
    EXPECT(passed == 1);
}

TEST(of_twelve_ways_to_the_robots_socket_one_is_open)
{
    matrix(false);
}

TEST(of_twelve_ways_to_the_telemetry_one_is_open)
{
    matrix(true);
}

/* ---- how a refusal reads, and the list that changes ---- */

static bool wait_refused(struct port *daemon, uint64_t n, char last[240])
{
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        if (port_refused(daemon, last, 240) >= n)
            return true;
        usleep(10000);
    }
    return false;
}

TEST(every_refusal_is_counted_and_says_who_and_why)
{
    static const struct {
        enum kind   kind;
        const char *reason;
    } c[] = { { NO_CURVE, "CURVE" }, /* one end or the other sees it first */
              { WRONG_SERVER_KEY, "another public key for this server" },
              { UNKNOWN_KEY, "is not listed in" },
              { WRONG_ROLE, "has role listen, this endpoint is for role robot" },
              { TEST_KEYS, "key Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID is not listed" } };
    char endpoint[100], last[240];

    make_keys();
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct port *daemon = listen_at("tcp://127.0.0.1:*", false);
        port_where(daemon, endpoint, sizeof endpoint);
        EXPECT(port_refused(daemon, last, sizeof last) == 0);
        struct peer p = peer_start(endpoint, c[i].kind, false);
        EXPECT(wait_refused(daemon, 1, last));
        EXPECT_STR(last, c[i].reason);
        EXPECT(strstr(last, daemon_key.secret) == NULL);
        peer_end(&p);
        port_close(daemon);
    }
}

TEST(a_key_counts_from_the_next_connection_and_a_broken_list_lets_nobody_in)
{
    struct port *daemon;
    char         endpoint[100], last[240], line[100];

    make_keys();
    daemon = listen_at("tcp://127.0.0.1:*", false);
    port_where(daemon, endpoint, sizeof endpoint);
    struct peer p = peer_start(endpoint, UNKNOWN_KEY, false);
    EXPECT(wait_refused(daemon, 1, last));
    snprintf(line, sizeof line, "robot %s\n", unknown_key.public);
    write_list(line);
    EXPECT(talks(daemon, &p, false)); /* it knocks again by itself */
    write_list("robt nonsense\n");
    struct peer q = peer_start(endpoint, RIGHT_ROLE, false);
    EXPECT(wait_refused(daemon, port_refused(daemon, last, sizeof last) + 1, last));
    EXPECT_STR(last, "nobody gets in");
    EXPECT_STR(last, "clients:3: expected a role");
    unlink(in_dir("clients"));
    EXPECT(wait_refused(daemon, port_refused(daemon, last, sizeof last) + 1, last));
    EXPECT_STR(last, "nobody gets in");
    write_list("");
    EXPECT(talks(daemon, &q, false));
    peer_end(&p), peer_end(&q);
    port_close(daemon);
}

TEST(a_key_that_connects_all_the_time_is_held_back)
{
    enum { MANY = 40 };
    struct port *daemon;
    void        *context = zmq_ctx_new(), *socket[MANY];
    char         endpoint[100], last[240];
    uint8_t      id[PEER_ID_SIZE], in[CODEC_MAX_BYTES];
    size_t       id_len;
    int          zero = 0, heard = 0;

    make_keys();
    daemon = listen_at("tcp://127.0.0.1:*", false);
    port_where(daemon, endpoint, sizeof endpoint);
    for (int i = 0; i < MANY; i++) {
        socket[i] = zmq_socket(context, ZMQ_DEALER);
        zmq_setsockopt(socket[i], ZMQ_LINGER, &zero, sizeof zero);
        zmq_setsockopt(socket[i], ZMQ_CURVE_SERVERKEY, daemon_key.public, KEY_TEXT);
        zmq_setsockopt(socket[i], ZMQ_CURVE_PUBLICKEY, robot_key.public, KEY_TEXT);
        zmq_setsockopt(socket[i], ZMQ_CURVE_SECRETKEY, robot_key.secret, KEY_TEXT);
        zmq_connect(socket[i], endpoint);
        zmq_send(socket[i], "hello", 5, 0);
    }
    EXPECT(wait_refused(daemon, 1, last));
    EXPECT_STR(last, "connects more than 10 times a second");
    while (heard < MANY && port_wait(daemon, -1, PATIENCE_MS)) /* held back, not shut out: they try again */
        heard += port_receive(daemon, id, &id_len, in, sizeof in) == 5;
    EXPECT(heard == MANY);
    for (int i = 0; i < MANY; i++)
        zmq_close(socket[i]);
    zmq_ctx_term(context);
    port_close(daemon);
}

TEST(a_port_on_tcp_is_not_opened_without_good_keys)
{
    static const struct port_keys none;
    struct port_options           o = { .endpoint = "tcp://127.0.0.1:*", .core = -1 };

    make_keys();
    o.keys = none;
    EXPECT(!port_bind(&o, why, sizeof why));
    EXPECT_STR(why, "tcp is refused without keys");
    o.keys.key = in_dir("daemon.key");
    EXPECT(!port_bind(&o, why, sizeof why));
    o.keys.clients = in_dir("nothing");
    EXPECT(!port_publish(&o, why, sizeof why));
    EXPECT_STR(why, "nothing: No such file");
    o.keys.clients = in_dir("clients");
    write_list("robot Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n");
    EXPECT(!port_bind(&o, why, sizeof why));
    EXPECT_STR(why, "clients:3: this key is a published example");
    write_list("");
    chmod(in_dir("daemon.key"), 0640);
    EXPECT(!port_bind(&o, why, sizeof why));
    EXPECT_STR(why, "chmod 600");
    chmod(in_dir("daemon.key"), 0600);
    struct port *good = port_bind(&o, why, sizeof why);
    EXPECT(good != NULL);
    port_close(good);
}

/* ---- garbage ---- */

static int tcp_to(const char *endpoint)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1)) };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A ZMTP 3 greeting that asks for CURVE, so that what follows reaches the parser of handshakes. */
static void greet(int fd)
{
    uint8_t hello[64] = { 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E' };

    send(fd, hello, sizeof hello, MSG_NOSIGNAL);
}

TEST(garbage_on_the_port_is_refused_and_the_robot_still_gets_in)
{
    struct port *daemon;
    struct rng   g;
    char         endpoint[100], last[240];
    uint8_t      junk[4096];
    int          rounds = test_rounds(200, 20000), opened = 0;

    make_keys();
    rng_seed(&g, 7);
    daemon = listen_at("tcp://127.0.0.1:*", false);
    port_where(daemon, endpoint, sizeof endpoint);
    for (int i = 0; i < rounds; i++) {
        int    fd = tcp_to(endpoint);
        size_t n  = rng_next(&g) % sizeof junk;

        if (fd < 0)
            continue;
        opened++;
        for (size_t k = 0; k < sizeof junk; k++)
            junk[k] = (uint8_t)rng_next(&g);
        if (i % 2) {
            greet(fd);
            if (i % 4 == 1) { /* a command frame of the right length, of the right name, and nonsense behind */
                memcpy(junk, "\x04\xc8\x05HELLO", 8);
                n = 202;
            }
        }
        send(fd, junk, n, MSG_NOSIGNAL);
        close(fd);
    }
    EXPECT(opened > rounds / 2);
    EXPECT(wait_refused(daemon, 1, last));
    struct peer p = peer_start(endpoint, RIGHT_ROLE, false);
    EXPECT(talks(daemon, &p, false));
    peer_end(&p);
    port_close(daemon);
}

TEST(a_message_that_is_too_long_ends_its_connection)
{
    struct port   *daemon;
    char           endpoint[100];
    uint8_t        id[PEER_ID_SIZE];
    static uint8_t block[2 * CODEC_MAX_BYTES];
    size_t         id_len;

    make_keys();
    daemon = listen_at("tcp://127.0.0.1:*", false);
    port_where(daemon, endpoint, sizeof endpoint);
    struct peer p = peer_start(endpoint, RIGHT_ROLE, false);
    EXPECT(peer_event(&p) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    EXPECT(talks(daemon, &p, false));
    zmq_send(p.socket, block, CODEC_MAX_BYTES, 0); /* the longest there may be */
    EXPECT(port_wait(daemon, -1, PATIENCE_MS) &&
           port_receive(daemon, id, &id_len, block, sizeof block) == CODEC_MAX_BYTES);
    zmq_send(p.socket, block, sizeof block, 0);
    EXPECT(peer_event(&p) == ZMQ_EVENT_DISCONNECTED);
    peer_end(&p);
    port_close(daemon);
}

/* ---- the programs ---- */

static int free_port(void)
{
    struct sockaddr_in at   = { .sin_family = AF_INET };
    socklen_t          size = sizeof at;
    int                fd   = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        abort();
    close(fd);
    return ntohs(at.sin_port);
}

TEST(limberd_and_the_simulated_robot_talk_over_tcp_and_a_stranger_is_an_event)
{
    struct fixture f;
    char           robot[100], telemetry[100], curve[400];
    uint8_t        tick[CODEC_MAX_BYTES];
    int            n = -1, ms = 100;

    snprintf(robot, sizeof robot, "tcp://127.0.0.1:%d", free_port());
    snprintf(telemetry, sizeof telemetry, "tcp://127.0.0.1:%d", free_port());
    snprintf(curve, sizeof curve, "curve: {key: daemon.key, clients: clients}\nendpoint: %s\ntelemetry: %s\ncores: {",
             robot, telemetry);
    const char *const edits[] = { "cores: {", curve, "steps: 200", "steps: 50", NULL };
    fixture_init(&f, edits);
    make_keys();
    EXPECT(fixture_daemon(&f, NULL));
    const char *const stranger[] = { "--connect",           robot, "--server-key", in_dir("daemon.key.pub"), "--key",
                                     in_dir("unknown.key"), NULL };
    EXPECT(fixture_bridge(&f, stranger));
    EXPECT(fixture_wait(&f, "link.auth_refused", "1", 20));
    EXPECT(fixture_wait(&f, "link.connected", "false", 1));
    json_t *status = fixture_status(&f);
    char   *text   = json_dumps(status, JSON_COMPACT);
    EXPECT_STR(text, "\"kind\":\"auth_refused\"");
    EXPECT_STR(text, "is not listed in");
    EXPECT(strstr(text, daemon_key.secret) == NULL && strstr(text, unknown_key.secret) == NULL);
    free(text);
    json_decref(status);
    child_stop(&f.bridge, 0, 2);
    const char *const known[] = { "--connect",         robot, "--server-key", in_dir("daemon.key.pub"), "--key",
                                  in_dir("robot.key"), NULL };
    EXPECT(fixture_bridge(&f, known));
    EXPECT(fixture_wait(&f, "link.connected", "true", 20));
    EXPECT(fixture_arm(&f, 20));
    EXPECT(fixture_wait(&f, "trials.step", "5", 30)); /* torques go out, states come in */
    struct peer p = peer_start(telemetry, RIGHT_ROLE, true);
    zmq_setsockopt(p.socket, ZMQ_RCVTIMEO, &ms, sizeof ms);
    for (int i = 0; i < PATIENCE_MS / ms && n < 0; i++)
        n = zmq_recv(p.socket, tick, sizeof tick, 0);
    EXPECT(n > 0);
    peer_end(&p);
    fixture_end(&f);
    char command[800];
    snprintf(command, sizeof command, "cd %s && ! grep -lF -e '%s' -e '%s' *.log", test_dir(), daemon_key.secret,
             robot_key.secret);
    EXPECT(system(command) == 0); /* no secret in what either program says */
}

/* ---- the one who is turned away hears of it ---- */

/* How often; `how` is grep's: -F for keys, which have all kinds of characters. */
static int said(const char *how, const char *words)
{
    char command[800], text[100];

    snprintf(command, sizeof command, "grep -c %s -e '%s' %s/limber-bridge.log", how, words, test_dir());
    return test_command(command, text, sizeof text) < 0 ? -1 : atoi(text);
}

static bool says(const char *words)
{
    for (int i = 0; i < 200 && said("-G", words) < 1; i++)
        usleep(50000);
    return said("-G", words) == 1;
}

static void start_on_tcp(struct fixture *f, char *endpoint, size_t size)
{
    char curve[400];

    snprintf(endpoint, size, "tcp://127.0.0.1:%d", free_port());
    snprintf(curve, sizeof curve, "curve: {key: daemon.key, clients: clients}\nendpoint: %s\ncores: {", endpoint);
    const char *const edits[] = { "cores: {", curve, "steps: 200", "steps: 50", NULL };
    fixture_init(f, edits);
    make_keys();
    EXPECT(fixture_daemon(f, NULL));
}

TEST(a_bridge_that_limberd_does_not_let_in_says_so_once_and_goes_in_when_its_key_is_listed)
{
    struct fixture f;
    char           endpoint[100], line[100];

    start_on_tcp(&f, endpoint, sizeof endpoint);
    const char *const stranger[] = { "--connect",           endpoint, "--server-key", in_dir("daemon.key.pub"), "--key",
                                     in_dir("unknown.key"), NULL };
    EXPECT(fixture_bridge(&f, stranger));
    EXPECT(says("not let in: .* hangs up: our key is not on its list"));
    EXPECT(said("-F", unknown_key.public) == 1);
    EXPECT(said("-G", "limber key --allow LIST --role robot .*unknown.key.pub") == 1);
    EXPECT(said("-F", unknown_key.secret) == 0);
    EXPECT(fixture_wait(&f, "link.auth_refused", "4", 20)); /* it goes on trying, and says no more */
    EXPECT(said("-F", "not let in") == 1);
    snprintf(line, sizeof line, "robot %s\n", unknown_key.public);
    write_list(line);
    EXPECT(fixture_wait(&f, "link.connected", "true", 20));
    EXPECT(says("let in after .* handshakes that failed"));
    child_stop(&f.daemon, 0, 3); /* a daemon that ends turns nobody away */
    usleep(1500000);
    EXPECT(said("-F", "not let in") == 1);
    fixture_end(&f);
}

TEST(a_bridge_with_another_daemons_key_says_so_too)
{
    struct fixture f;
    char           endpoint[100];

    start_on_tcp(&f, endpoint, sizeof endpoint);
    const char *const wrong[] = { "--connect",         endpoint, "--server-key", in_dir("other.key.pub"), "--key",
                                  in_dir("robot.key"), NULL };
    EXPECT(fixture_bridge(&f, wrong));
    EXPECT(says("not let in: .* its own is not the one we expect.*check --server-key"));
    EXPECT(fixture_wait(&f, "link.auth_refused", "2", 20));
    EXPECT(fixture_wait(&f, "link.connected", "false", 1));
    fixture_end(&f);
}

/* ---- limber sim and limber run ---- */

static int limber(const char *verb, const char *config, const char *more, char *out, size_t size)
{
    char command[2000];

    snprintf(command, sizeof command, "cd %s && timeout 90 %s/limber %s %s --run-dir %s/run %s 2>&1", test_dir(),
             test_build_dir(), verb, config, test_dir(), more);
    return test_command(command, out, size);
}

TEST(limber_run_and_limber_sim_use_the_simulators_own_key_and_say_what_to_type_where_it_is_missing)
{
    struct fixture f;
    char           curve[300], config[300], key[700], out[4000];

    snprintf(curve, sizeof curve, "curve: {key: daemon.key, clients: clients}\nendpoint: tcp://*:%d\ncores: {",
             free_port());
    const char *const edits[] = { "cores: {", curve, "steps: 200", "steps: 50", NULL };
    fixture_init(&f, edits);
    make_keys();
    snprintf(config, sizeof config, "--config %s", f.config);
    EXPECT(limber("run", f.config, "", out, sizeof out) != 0);
    EXPECT_STR(out, "limber key robot.key && limber key --allow ");
    EXPECT_STR(out, "clients --role robot --name simulator robot.key.pub");
    EXPECT_STR(out, "--key robot.key");
    EXPECT(limber("sim", config, "", out, sizeof out) != 0);
    EXPECT_STR(out, "limber key robot.key && limber key --allow ");
    EXPECT(limber("run", f.config, "--key unknown.key", out, sizeof out) != 0);
    EXPECT_STR(out, "unknown.key: ");
    EXPECT_STR(out, "does not list this key as a robot");
    EXPECT(limber("run", f.config, "--key listen.key", out, sizeof out) != 0);
    EXPECT_STR(out, "does not list this key as a robot");
    EXPECT(limber("sim", config, "--key nothing.key", out, sizeof out) != 0);
    EXPECT_STR(out, "nothing.key");
    rename(in_dir("daemon.key.pub"), in_dir("elsewhere.pub"));
    EXPECT(limber("sim", config, "--key robot.key", out, sizeof out) != 0);
    EXPECT_STR(out, "daemon.key.pub");
    rename(in_dir("elsewhere.pub"), in_dir("daemon.key.pub"));
    snprintf(key, sizeof key, "--trials 1 --lockstep --key %s", in_dir("robot.key"));
    EXPECT(limber("run", f.config, key, out, sizeof out) == 0);
    EXPECT_STR(out, "planned  finished");
}

TEST(limberd_does_not_start_on_tcp_with_a_key_that_others_can_read)
{
    struct fixture f;
    char           curve[400], command[1500], out[2000];

    snprintf(curve, sizeof curve, "curve: {key: daemon.key, clients: clients}\nendpoint: tcp://127.0.0.1:%d\ncores: {",
             free_port());
    const char *const edits[] = { "cores: {", curve, "steps: 200", "steps: 50", NULL };
    fixture_init(&f, edits);
    make_keys();
    chmod(in_dir("daemon.key"), 0644);
    snprintf(command, sizeof command, "timeout 60 %s/limberd --config %s --run-dir %s 2>&1", test_build_dir(), f.config,
             f.dir);
    FILE  *p = popen(command, "re");
    size_t n = p ? fread(out, 1, sizeof out - 1, p) : 0;
    out[n]   = 0;
    int rc   = p ? pclose(p) : -1;
    EXPECT(WIFEXITED(rc) && WEXITSTATUS(rc) == 73);
    EXPECT_STR(out, "others may know this secret");
}
