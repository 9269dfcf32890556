/* targets.c - see targets.h. */
#include "tests/fuzz/targets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"
#include "models/model_file.h"
#include "models/store.h"
#include "models/train.h"
#include "models/trainer_protocol.h"
#include "transport/session.h"
#include "transport/zap.h"

/* A directory of this process in memory. */
static const char *dir(void)
{
    static char d[64];

    if (!d[0]) {
        snprintf(d, sizeof d, "/dev/shm/limber-fuzz-%d", (int)getpid());
        mkdir(d, 0700);
    }
    return d;
}

static const char *file_of(const char *name, const uint8_t *bytes, size_t n)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir(), name);
    FILE *f = fopen(path, "we");
    CHECK(f && (n == 0 || fwrite(bytes, 1, n, f) == n) && fclose(f) == 0);
    return path;
}

void fuzz_end(void)
{
    static const char *const name[] = {
        "robot.yaml",        "task.yaml", "a.model", "experience.db", "experience.db-wal",
        "experience.db-shm", "control",   "a.key",   "clients"
    };

    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[128];

        snprintf(path, sizeof path, "%s/%s", dir(), name[i]);
        unlink(path);
    }
    rmdir(dir());
}

/* ---- codec: what unpacks has a sound shape, and packs and unpacks to the same bytes again; as it is, and with a CRC
 * behind it, so that the fuzzer gets further than to that ---------------------------------------------------------- */

static void codec_of(enum codec_from from, const uint8_t *bytes, size_t n)
{
    static struct codec_scratch scratch;
    static struct message       m, again;
    static uint8_t              one[CODEC_MAX_BYTES], two[CODEC_MAX_BYTES];
    char                        why[240];

    if (codec_unpack(from, bytes, n, &scratch, &m, why, sizeof why) != CODEC_OK) {
        CHECK(m.kind == MESSAGE_NONE && why[0]);
        return;
    }
    if (m.kind == MESSAGE_HELLO && m.hello.protocol != LIMBER_PROTOCOL)
        return; /* of another protocol, nothing else is known */
    size_t a = codec_pack(&m, one);
    CHECK(codec_unpack(codec_sender(m.kind), one, a, &scratch, &again, why, sizeof why) == CODEC_OK && again.kind == m.kind);
    size_t b = codec_pack(&again, two);
    CHECK(a == b && memcmp(one, two, a) == 0);
}

static void codec(const uint8_t *bytes, size_t n)
{
    static uint8_t sealed[CODEC_MAX_BYTES + CODEC_CRC_BYTES];

    for (enum codec_from from = FROM_ROBOT; from <= FROM_LIMBER; from++) {
        codec_of(from, bytes, n);
        if (n <= CODEC_MAX_BYTES) {
            memcpy(sealed, bytes, n);
            codec_of(from, sealed, codec_seal(from, sealed, n));
        }
    }
}

/* ---- session: a stream of messages of two peers; length (2 bytes; its highest bit: as it is, without a CRC), peer and
 * pause (1), message ------------------------------------------------------------------------------------------------ */

static void session(const uint8_t *bytes, size_t n)
{
    static struct codec_scratch  scratch;
    static struct session        s;
    static struct session_result r;
    static uint8_t               sealed[0x8000 + CODEC_CRC_BYTES];
    struct session_expect        e      = { .robot                = "cartpole",
                                            .nj                   = 2,
                                            .control_hz           = 25,
                                            .latch_ms             = 20,
                                            .robot_timeout_max_ms = 1000,
                                            .simulated            = true,
                                            .lockstep_allowed     = true };
    uint64_t                     now_ns = NS_PER_S;

    for (int j = 0; j < 2; j++) {
        snprintf(e.joint[j].name, NAME_SIZE, "%s", j ? "hinge" : "slider");
        e.joint[j].type         = JOINT_PRISMATIC;
        e.joint[j].actuated     = true;
        e.joint[j].position_min = -1, e.joint[j].position_max = 1;
        e.joint[j].velocity_max = e.joint[j].effort_max = e.joint[j].effort_rate_max = 1;
    }
    session_init(&s, &e, 5);
    while (n >= 3) {
        size_t  len  = bytes[0] + 256u * (bytes[1] & 0x7f);
        bool    bare = bytes[1] & 0x80;
        uint8_t peer = bytes[2] & 1;

        now_ns += (uint64_t)(bytes[2] >> 1) * 20 * NS_PER_MS;
        bytes += 3, n -= 3;
        len = len < n ? len : n;
        memcpy(sealed, bytes, len);
        session_receive(&s, &peer, 1, sealed, bare ? len : codec_seal(FROM_ROBOT, sealed, len), now_ns, &scratch, &r);
        CHECK(!r.degraded || (bare && !r.has_state && !r.opened));
        CHECK(!r.has_state || (s.id != 0 && r.state.session == s.id && r.state.nj == 2));
        bytes += len, n -= len;
    }
}

/* ---- receiver: a stream of commands, states and presses --------------------------------------------------------- */

static void receiver(const uint8_t *bytes, size_t n)
{
    struct receiver_limits l = {
        .nj = 2, .actuated = { true, false }, .effort_max = { 10, 0 }, .damp_kd = { 2, 0 }, .command_timeout_ms = 20
    };
    struct receiver r;
    uint64_t        now_ns = NS_PER_S, states = 0;
    double          last = 0, grown = 0;

    receiver_unlimited(&l);
    l.effort_rate[0] = 100, l.velocity_max[0] = 3;
    receiver_init(&r, &l);
    receiver_session(&r, 1);
    for (; n >= 12; bytes += 12, n -= 12) {
        struct joint_command c    = { .session   = bytes[1] & 1 ? 1 : bytes[1],
                                      .seq       = r.seq + bytes[2] - 8,
                                      .valid_ms  = 100,
                                      .mode      = (enum command_mode)(bytes[3] & 3),
                                      .nj        = bytes[1] >> 6,
                                      .state_seq = states - (bytes[3] >> 4) };
        double               q[2] = { 0 }, dq[2] = { 1, 1 }, tau[2] = { 0 }, value;

        memcpy(&value, bytes + 4, sizeof value);
        now_ns += (bytes[0] >> 3) * NS_PER_MS;
        switch (bytes[0] & 7) {
        case 0: receiver_estop(&r, bytes[1] & 1); break;
        case 1: receiver_session(&r, 1 + (bytes[1] & 1)); break;
        case 2: receiver_forget_command(&r); break;
        case 3: dq[0] = value; break;
        default:
            receiver_state_sent(&r, ++states, now_ns);
            c.torque[0] = bytes[2] & 1 ? value : 0;
            c.kd[0]     = bytes[2] & 1 ? 0 : value;
            receiver_command(&r, &c, now_ns);
        }
        receiver_effort(&r, q, dq, now_ns, tau);
        for (int j = 0; j < 2; j++)
            CHECK(isfinite(tau[j]) && fabs(tau[j]) <= l.effort_max[j]);
        CHECK(!r.estop || (r.mode == RECEIVER_LATCH && tau[0] == 0));
        CHECK(r.mode != RECEIVER_LIVE || fabs(dq[0]) < 3 || tau[0] == 0 || tau[0] * dq[0] < 0);
        double live = r.mode == RECEIVER_LIVE ? tau[0] : 0, from = live * last > 0 ? fabs(last) : 0;

        grown += fabs(live) > from ? fabs(live) - from : 0;
        last = live;
        CHECK(grown <= 100.11 * (1e-9 * (double)(now_ns - NS_PER_S) + 0.02));
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void robot_yaml(const uint8_t *bytes, size_t n)
{
    static struct robot_config c;
    char                       why[800] = "";

    if (config_load(file_of("robot.yaml", bytes, n), &c, why, sizeof why) != 0)
        CHECK(why[0]);
    else
        CHECK(c.nj >= 1 && c.nj <= MAX_JOINTS && c.na >= 1 && isfinite(c.control_hz) && c.control_hz > 0);
}

static void task_yaml(const uint8_t *bytes, size_t n)
{
    static struct robot_config c;
    static struct task         t;
    char                       why[800] = "";

    if (!c.nj)
        CHECK(config_load("robots/cartpole/robot.yaml", &c, why, sizeof why) == 0);
    if (config_task(file_of("task.yaml", bytes, n), &c, &t, why, sizeof why) != 0)
        CHECK(why[0]);
}

static void model(const uint8_t *bytes, size_t n)
{
    struct model_dims small = {
        .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3, .input = { INPUT_ANGLE, INPUT_IDENTITY }
    };
    struct ensemble e;
    char            why[800] = "";

    if (model_file_load(file_of("a.model", bytes, n), "cartpole", &small, &e, why, sizeof why) != 0)
        CHECK(why[0]);
    else
        ensemble_free(&e);
}

static bool any_trial(void *ctx, const struct trial_row *t)
{
    CHECK(memchr(t->kind, 0, sizeof t->kind) && memchr(t->reason, 0, sizeof t->reason));
    return ++*(int *)ctx < 1000;
}

static bool any_model(void *ctx, const struct model_row *m)
{
    CHECK(memchr(m->file, 0, sizeof m->file));
    return ++*(int *)ctx < 1000;
}

static bool any_transition(void *ctx, int64_t trial, const struct transition *t)
{
    (void)trial, (void)t;
    return ++*(int *)ctx < 1000;
}

static void store(const uint8_t *bytes, size_t n)
{
    struct store_schema schema   = { .robot       = "cartpole",
                                     .nx          = 2,
                                     .na          = 1,
                                     .observation = { "hinge.position", "hinge.velocity" },
                                     .action      = { "slider" } };
    char                why[800] = "";
    int                 rows     = 0;
    struct store       *s        = store_open(file_of("experience.db", bytes, n), &schema, true, why, sizeof why);

    if (!s) {
        CHECK(why[0]);
        return;
    }
    store_trials(s, any_trial, &rows);
    store_models(s, any_model, &rows);
    store_transitions(s, 0, any_transition, &rows);
    store_close(s);
}

/* ---- the operator's socket: bytes of an HTTP connection, to the server and the verbs of limberd ---------------- */

static void verbs(void *daemon, struct http_request *r, const char *method, const char *path, const char *body)
{
    if (strcmp(path, "/status") == 0 || strcmp(path, "/shutdown") == 0)
        http_answer(r, 200, "{}"); /* these need the rest of the daemon */
    else
        operate_request(daemon, r, method, path, body);
}

static int ask(const char *path, const uint8_t *bytes, size_t n)
{
    struct sockaddr_un a  = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, path, strlen(path) + 1);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    while (n) { /* as much as the socket takes: the server's patience ends before */
        ssize_t sent = send(fd, bytes, n < 8192 ? n : 8192, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        bytes += sent, n -= (size_t)sent;
    }
    shutdown(fd, SHUT_WR);
    return fd;
}

static void operate(const uint8_t *bytes, size_t n)
{
    static struct daemon       d;
    static struct http_server *s;
    static uv_loop_t           loop;
    static char                path[100];
    char                       why[800], reply[4096];

    if (!s) {
        snprintf(path, sizeof path, "%s/control", dir());
        CHECK(config_load("robots/cartpole/robot.yaml", &d.config, why, sizeof why) == 0 && uv_loop_init(&loop) == 0);
        d.threads_ended = true; /* nobody is there to carry anything out: verbs are answered at once */
        s               = http_server_start(&loop, path, 0600, verbs, &d, why, sizeof why);
        CHECK(s);
    }
    int fd = ask(path, bytes, n);
    for (int i = 0; i < 50; i++) {
        ssize_t got = recv(fd, reply, sizeof reply, 0);
        if (got == 0)
            break; /* served, and closed */
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    close(fd);
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* ---- who may connect -------------------------------------------------------------------------------------------- */

/* Frames of a request: length (1 byte), then so many; 255: one that is longer than is kept. */
static void zap(const uint8_t *bytes, size_t n)
{
    static struct zap_frames  f;
    static struct zap_request q;

    memset(&f, 0, sizeof f);
    for (; n > 0; f.n++) {
        size_t len = bytes[0];

        bytes++, n--;
        len = len < n ? len : n;
        if (f.n < ZAP_FRAMES) {
            memcpy(f.bytes[f.n], bytes, len);
            f.len[f.n] = len == 255 ? 1000 : len;
        }
        bytes += len, n -= len;
    }
    bool good = zap_read(&f, &q);
    CHECK(q.id_len < sizeof q.id && memchr(q.address, 0, sizeof q.address));
    for (const char *c = q.address; *c; c++)
        CHECK(*c > ' ' && *c < 0x7f);
    CHECK(good ? strlen(q.key) == KEY_TEXT - 1 && f.n == ZAP_FRAMES : !q.key[0]);
}

static void key(const uint8_t *bytes, size_t n)
{
    struct key_pair k;
    char            why[800] = "", public[KEY_TEXT];
    const char     *path     = file_of("a.key", bytes, n);

    CHECK(chmod(path, 0600) == 0);
    uint8_t signing[KEY_BYTES];
    if (!keys_load_signing(path, signing, why, sizeof why))
        CHECK(why[0]);
    else
        CHECK(!memcmp(bytes, "signing ", 8));
    why[0] = 0;
    if (!keys_load(path, &k, why, sizeof why))
        CHECK(why[0]);
    else
        CHECK(strlen(k.secret) == KEY_TEXT - 1 && strlen(k.public) == KEY_TEXT - 1 && !memcmp(bytes, "secret ", 7));
    why[0] = 0;
    if (!keys_load_public(path, public, why, sizeof why))
        CHECK(why[0]);
    else
        CHECK(strlen(public) == KEY_TEXT - 1 && !memcmp(bytes, "public ", 7));
}

static void clients(const uint8_t *bytes, size_t n)
{
    static struct client_list l, again;
    char                      why[800] = "", line[KEY_TEXT + CLIENT_NAME + 16], text[CLIENTS_MAX * sizeof line];
    size_t                    used     = 0;

    if (!clients_load(file_of("clients", bytes, n), &l, why, sizeof why)) {
        CHECK(why[0] && l.n == 0);
        return;
    }
    CHECK(l.n >= 1 && l.n <= CLIENTS_MAX);
    for (int i = 0; i < l.n; i++) { /* what was read, written out, is the same list */
        const struct client *c = &l.client[i];

        CHECK(strlen(c->key) == KEY_TEXT - 1 && memchr(c->name, 0, sizeof c->name));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s %s\n", role_name(c->role), c->key, c->name);
    }
    CHECK(clients_load(file_of("clients", (const uint8_t *)text, used), &again, why, sizeof why) && again.n == l.n);
    for (int i = 0; i < l.n; i++)
        CHECK(again.client[i].role == l.client[i].role && strcmp(again.client[i].key, l.client[i].key) == 0);
}

/* ---- the trainer's pipe: which message, then its bytes, as they are read at its other end ----------------------- */

static void trainer_setup(const uint8_t *bytes, size_t n)
{
    static struct trainer_setup s;

    memset(&s, 0, sizeof s);
    memcpy(&s, bytes, n < sizeof s ? n : sizeof s);
    if (!trainer_head_good(&s, n, sizeof s) || trainer_setup_fault(&s))
        return;
    CHECK(strlen(s.store) < sizeof s.store && strlen(s.models) < sizeof s.models && strlen(s.schema.robot) < NAME_SIZE);
    if (s.dims.hidden > 32 || s.config.batch > 64) /* more takes long, and does the same */
        return;
    trainer_free(trainer_new(&s.dims, &s.config, s.seed));
}

static void trainer_order(const uint8_t *bytes, size_t n)
{
    static struct trainer_order o;

    memset(&o, 0, sizeof o);
    memcpy(&o, bytes, n < sizeof o ? n : sizeof o);
    if (trainer_head_good(&o, n, sizeof o) && !trainer_order_fault(&o))
        CHECK(strlen(o.base_file) < sizeof o.base_file && isfinite(o.cost_slope2[MAX_OBS - 1]));
}

static void trainer_report(const uint8_t *bytes, size_t n)
{
    static struct trainer_report r;

    memset(&r, 0, sizeof r);
    memcpy(&r, bytes, n < sizeof r ? n : sizeof r);
    if (!trainer_head_good(&r, n, sizeof r) || trainer_report_fault(&r, "/run/limber/models"))
        return;
    CHECK(strlen(r.why) < sizeof r.why && isfinite(r.done) && isfinite(r.train_s) && r.steps >= 0);
    if (r.stage == TRAINER_DONE) /* nothing else is opened, renamed or removed */
        CHECK(!strncmp(r.file, "/run/limber/models/candidate-", 29) && !strchr(r.file + 29, '/'));
}

static void trainer(const uint8_t *bytes, size_t n)
{
    static void (*const end[])(const uint8_t *, size_t) = { trainer_setup, trainer_order, trainer_report };

    if (n > 0)
        end[bytes[0] % 3](bytes + 1, n - 1);
}

const struct fuzz_target fuzz_target[] = {
    { "codec", codec },
    { "session", session },
    { "receiver", receiver },
    { "robot_yaml", robot_yaml },
    { "task_yaml", task_yaml },
    { "model", model },
    { "store", store },
    { "operate", operate },
    { "zap", zap },
    { "key", key },
    { "clients", clients },
    { "trainer", trainer },
};
const int fuzz_targets = sizeof fuzz_target / sizeof *fuzz_target;
