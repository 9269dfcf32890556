/* test_codec.c - messages survive the wire; nothing else gets through it. */
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/rng.h"
#include "tests/test.h"
#include "transport/codec.h"

static struct codec_scratch scratch;

static double any_number(struct rng *r)
{
    static const double special[] = { 0, -0.0, 1, -1, HUGE_VAL, -HUGE_VAL, (double)NAN, 5e-324, 1e308, 0.1 };
    uint64_t            bits      = rng_next(r);
    double              out;

    if (rng_below(r, 3) == 0)
        return special[rng_below(r, sizeof special / sizeof special[0])];
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* A single double: there the encoding does not tell -0 from 0. */
static double any_single(struct rng *r)
{
    double x = any_number(r);

    return x == 0 ? 0 : x;
}

static void any_numbers(struct rng *r, double *v, int n)
{
    bool zero = rng_below(r, 4) == 0;

    for (int i = 0; i < n; i++)
        v[i] = zero ? 0 : any_number(r);
}

static void any_text(struct rng *r, char *out, size_t size, bool name)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:";
    size_t            n    = (name ? 1 : 0) + rng_below(r, (uint32_t)size - (name ? 1 : 0));

    for (size_t i = 0; i < n; i++)
        out[i] = ok[rng_below(r, sizeof ok - 1)];
}

static void any_hello(struct rng *r, struct hello *h)
{
    h->protocol = LIMBER_PROTOCOL;
    any_text(r, h->robot, NAME_SIZE, true);
    h->boot_id = rng_next(r) | 1;
    h->nj      = 1 + (int)rng_below(r, MAX_JOINTS);
    for (int j = 0; j < h->nj; j++) {
        any_text(r, h->joint[j].name, NAME_SIZE, true);
        h->joint[j].type            = (enum joint_type)(1 + rng_below(r, 3));
        h->joint[j].actuated        = rng_below(r, 2);
        h->joint[j].position_min    = any_single(r);
        h->joint[j].position_max    = any_single(r);
        h->joint[j].velocity_max    = any_single(r);
        h->joint[j].effort_max      = any_single(r);
        h->joint[j].effort_rate_max = any_single(r);
        h->joint[j].timeout_action  = (enum timeout_action)rng_below(r, 5);
    }
    h->nextra = (int)rng_below(r, MAX_EXTRA + 1);
    for (int i = 0; i < h->nextra; i++)
        any_text(r, h->extra[i], NAME_SIZE, true);
    h->command_timeout_ms  = any_single(r);
    h->timeout_action      = (enum timeout_action)(1 + rng_below(r, 4));
    h->gravity_compensated = rng_below(r, 2);
    h->simulated           = rng_below(r, 2);
    h->lockstep            = rng_below(r, 2);
    any_text(r, h->software, NAME_SIZE, false);
}

static void any_state(struct rng *r, struct joint_state *s)
{
    s->session   = rng_next(r);
    s->seq       = rng_next(r);
    s->sample_ns = rng_next(r);
    s->nj        = 1 + (int)rng_below(r, MAX_JOINTS);
    any_numbers(r, s->position, s->nj);
    any_numbers(r, s->velocity, s->nj);
    s->has_effort = rng_below(r, 2);
    if (s->has_effort)
        any_numbers(r, s->effort, s->nj);
    s->applied_command_seq = rng_next(r);
    any_numbers(r, s->applied_effort, s->nj);
    s->applied_held = rng_below(r, 2);
    s->has_imu      = rng_below(r, 2);
    if (s->has_imu) {
        any_numbers(r, s->quat_wxyz, 4);
        any_numbers(r, s->gyro, 3);
        any_numbers(r, s->accel, 3);
    }
    s->nextra = (int)rng_below(r, MAX_EXTRA + 1);
    any_numbers(r, s->extra, s->nextra);
    s->faults        = (uint32_t)rng_next(r);
    s->estop         = rng_below(r, 2);
    s->late_commands = (uint32_t)rng_next(r);
    s->changed_commands = (uint32_t)rng_next(r);
    s->damaged_commands = (uint32_t)rng_next(r);
    s->lost_commands    = (uint32_t)rng_next(r);
    s->ready_trial   = -1;
}

static void any_command(struct rng *r, struct joint_command *c)
{
    c->session   = rng_next(r);
    c->seq       = rng_next(r);
    c->state_seq = rng_next(r);
    c->valid_ms  = any_single(r);
    c->mode      = (enum command_mode)rng_below(r, 3);
    c->nj        = (int)rng_below(r, MAX_JOINTS + 1);
    any_numbers(r, c->torque, c->nj);
    any_numbers(r, c->kp, c->nj);
    any_numbers(r, c->kd, c->nj);
    any_numbers(r, c->position, c->nj);
    any_numbers(r, c->velocity, c->nj);
}

/* A random message of the kind, as the wire can carry it. */
static void any_message(struct rng *r, enum message_kind kind, struct message *m)
{
    memset(m, 0, sizeof *m);
    m->kind = kind;
    switch (kind) {
    case MESSAGE_HELLO: any_hello(r, &m->hello); break;
    case MESSAGE_STATE: any_state(r, &m->state), m->session = m->state.session; break;
    case MESSAGE_COMMAND: any_command(r, &m->command), m->session = m->command.session; break;
    case MESSAGE_TRIAL_EVENT:
        m->session = m->trial_event.session = rng_next(r);
        m->trial_event.trial                = (uint32_t)rng_next(r);
        m->trial_event.kind                 = (enum trial_event_kind)(1 + rng_below(r, 3));
        m->trial_event.has_return           = rng_below(r, 2);
        m->trial_event.reported_return      = m->trial_event.has_return ? any_number(r) : 0;
        any_text(r, m->trial_event.reason, sizeof m->trial_event.reason, false);
        break;
    case MESSAGE_WELCOME:
        m->welcome.protocol   = (uint32_t)rng_next(r);
        m->welcome.session    = rng_next(r) | 1;
        m->welcome.control_hz = any_single(r);
        m->welcome.latch_ms   = any_single(r);
        m->welcome.simulated  = rng_below(r, 2);
        m->welcome.lockstep   = rng_below(r, 2);
        break;
    case MESSAGE_REFUSAL:
        m->refusal.code = (enum refusal_code)(1 + rng_below(r, REFUSAL_MALFORMED));
        any_text(r, m->refusal.sentence, sizeof m->refusal.sentence, false);
        m->refusal.daemon_protocol = (uint32_t)rng_next(r);
        m->refusal.peer_protocol   = (uint32_t)rng_next(r);
        break;
    case MESSAGE_TRIAL_REQUEST:
        m->session = m->trial_request.session = rng_next(r);
        m->trial_request.trial                = (uint32_t)rng_next(r);
        m->trial_request.kind                 = (enum trial_request_kind)(1 + rng_below(r, 2));
        m->trial_request.seed                 = rng_next(r);
        break;
    case MESSAGE_NONE: break;
    }
}

static bool is_text(const char *s, size_t size, bool name)
{
    const char *end = memchr(s, 0, size);

    if (!end || (name && end == s))
        return false;
    for (; s < end; s++)
        if (*s < ' ' || *s > '~' || (name && (*s == ' ' || *s == '"' || *s == '\\')))
            return false;
    return true;
}

static bool in(int value, int low, int high)
{
    return value >= low && value <= high;
}

/* What codec.h promises of anything that decodes. */
static bool is_valid(const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_HELLO:
        if (m->hello.protocol != LIMBER_PROTOCOL)
            return m->hello.nj == 0 && m->hello.nextra == 0;
        if (!in(m->hello.nj, 1, MAX_JOINTS) || !in(m->hello.nextra, 0, MAX_EXTRA) || m->hello.boot_id == 0)
            return false;
        for (int j = 0; j < m->hello.nj; j++)
            if (!is_text(m->hello.joint[j].name, NAME_SIZE, true) || !in((int)m->hello.joint[j].type, 1, 3) ||
                !in((int)m->hello.joint[j].timeout_action, 0, 4))
                return false;
        for (int i = 0; i < m->hello.nextra; i++)
            if (!is_text(m->hello.extra[i], NAME_SIZE, true))
                return false;
        return is_text(m->hello.robot, NAME_SIZE, true) && is_text(m->hello.software, NAME_SIZE, false) &&
               in((int)m->hello.timeout_action, 0, 4);
    case MESSAGE_STATE: return in(m->state.nj, 1, MAX_JOINTS) && in(m->state.nextra, 0, MAX_EXTRA);
    case MESSAGE_COMMAND:
        return in(m->command.nj, 0, MAX_JOINTS) && in((int)m->command.mode, 0, 2) && m->session == m->command.session;
    case MESSAGE_TRIAL_EVENT:
        return in((int)m->trial_event.kind, 1, 3) &&
               is_text(m->trial_event.reason, sizeof m->trial_event.reason, false);
    case MESSAGE_WELCOME: return m->welcome.session != 0;
    case MESSAGE_REFUSAL:
        return in((int)m->refusal.code, 1, 10) && is_text(m->refusal.sentence, sizeof m->refusal.sentence, false);
    case MESSAGE_TRIAL_REQUEST: return in((int)m->trial_request.kind, 1, 2);
    case MESSAGE_NONE: break;
    }
    return false;
}

/* From whoever sends such, or (from this end) from nobody. */
static enum codec_from from;

/* Decodes bytes from the end of an exact heap block, so that a sanitizer sees any step beyond them. */
static enum codec_error decode(const uint8_t *bytes, size_t len, struct message *m, char *why, size_t size)
{
    uint8_t         *exact = malloc(len ? len : 1);
    enum codec_error error;

    memcpy(exact, bytes, len);
    error = codec_unpack(from, exact, len, &scratch, m, why, size);
    free(exact);
    return error;
}

/* The same with a CRC behind the bytes, so that what is wrong in them is found. */
static enum codec_error decode_sealed(const uint8_t *bytes, size_t len, struct message *m, char *why, size_t size)
{
    static uint8_t sealed[CODEC_MAX_BYTES + 2 * CODEC_CRC_BYTES];

    memcpy(sealed, bytes, len);
    return decode(sealed, codec_seal(from, sealed, len), m, why, size);
}

static size_t pack(const struct message *m, uint8_t *bytes)
{
    from = codec_sender(m->kind);
    return codec_pack(m, bytes);
}

/* Either refused with a sentence, or valid and stable: what it decodes to packs, and decodes to itself. */
static void expect_valid_or_refused(const uint8_t *bytes, size_t len)
{
    static struct message m, again;
    static uint8_t        packed[CODEC_MAX_BYTES];
    char                  why[200];
    enum codec_error      error = decode_sealed(bytes, len, &m, why, sizeof why);

    EXPECT((error == CODEC_OK) == (m.kind != MESSAGE_NONE));
    if (error != CODEC_OK) {
        EXPECT(why[0] != 0);
        return;
    }
    EXPECT(is_valid(&m));
    size_t n = codec_pack(&m, packed);
    EXPECT(n <= CODEC_MAX_BYTES && codec_unpack(codec_sender(m.kind), packed, n, &scratch, &again, NULL, 0) == CODEC_OK);
    EXPECT(memcmp(&m, &again, sizeof m) == 0);
}

TEST(every_message_survives_the_wire_bit_for_bit)
{
    static struct message m, back;
    static uint8_t        bytes[CODEC_MAX_BYTES];
    struct rng            r;

    rng_seed(&r, 1);
    for (int i = 0; i < 7000; i++) {
        any_message(&r, (enum message_kind)(1 + i % 7), &m);
        size_t n = pack(&m, bytes);
        EXPECT(n > 0 && n <= CODEC_MAX_BYTES);
        EXPECT(decode(bytes, n, &back, NULL, 0) == CODEC_OK);
        EXPECT(memcmp(&m, &back, sizeof m) == 0);
    }
}

TEST(the_bytes_are_those_of_protobuf_and_the_crc_that_of_zlib)
{
    /* Written down by hand from the encoding's specification: field 19, length 10, then fields 1 to 4; behind them the CRC,
     * which is Python's zlib.crc32 of b"limber>robot" and everything before it. */
    static const uint8_t  want[] = { 0x9a, 0x01, 10, 0x08, 0x96, 0x01, 0x10, 0x07, 0x18, 0x01, 0x20, 0xac, 0x02,
                                     0x7d, 0xe4, 0x22, 0x3e, 0xd0 };
    static uint8_t        bytes[CODEC_MAX_BYTES];
    static struct message m;

    m.kind          = MESSAGE_TRIAL_REQUEST;
    m.trial_request = (struct trial_request){ .session = 150, .trial = 7, .kind = TRIAL_RESET, .seed = 300 };
    EXPECT(codec_pack(&m, bytes) == sizeof want && memcmp(bytes, want, sizeof want) == 0);

    char  hex[3 * sizeof want + 2] = "\n", page[65536];
    FILE *f                        = fopen("docs/connecting.md", "re");

    for (size_t i = 0; i < sizeof want; i++)
        snprintf(hex + strlen(hex), 4, "%02x%c", want[i], i + 1 < sizeof want ? ' ' : '\n');
    page[f ? fread(page, 1, sizeof page - 1, f) : 0] = 0;
    EXPECT(f && strstr(page, hex)); /* and the page's example */
    if (f)
        fclose(f);
}

TEST(a_message_cut_short_is_refused_at_every_length_before_it_was_sealed_and_after)
{
    static struct message m, back;
    static uint8_t        bytes[CODEC_MAX_BYTES];
    struct rng            r;

    rng_seed(&r, 2);
    for (int kind = 1; kind <= 7; kind++) {
        any_message(&r, (enum message_kind)kind, &m);
        size_t n = pack(&m, bytes);
        for (size_t len = 0; len < n; len++) {
            EXPECT(decode(bytes, len, &back, NULL, 0) == CODEC_CRC);
            EXPECT(back.kind == MESSAGE_NONE);
            if (len < n - CODEC_CRC_BYTES) {
                EXPECT(decode_sealed(bytes, len, &back, NULL, 0) == CODEC_GARBAGE);
                EXPECT(back.kind == MESSAGE_NONE);
            }
        }
    }
}

TEST(no_flipped_bit_yields_an_invalid_structure)
{
    static struct message m;
    static uint8_t        bytes[CODEC_MAX_BYTES];
    struct rng            r;

    rng_seed(&r, 3);
    for (int kind = 1; kind <= 7; kind++) {
        any_message(&r, (enum message_kind)kind, &m);
        size_t n = pack(&m, bytes) - CODEC_CRC_BYTES;
        for (size_t bit = 0; bit < 8 * n; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            expect_valid_or_refused(bytes, n);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

TEST(no_garbage_yields_an_invalid_structure)
{
    static struct message m;
    static uint8_t        bytes[CODEC_MAX_BYTES];
    struct rng            r;

    rng_seed(&r, 4);
    for (int i = 0; i < 20000; i++) {
        size_t n = 1 + rng_below(&r, 400);

        for (size_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)rng_next(&r);
        expect_valid_or_refused(bytes, n);
        /* A real message with a few bytes changed gets further in. */
        any_message(&r, (enum message_kind)(1 + i % 7), &m);
        n = pack(&m, bytes) - CODEC_CRC_BYTES;
        for (int k = 0; k < 4; k++)
            bytes[rng_below(&r, (uint32_t)n)] = (uint8_t)rng_next(&r);
        expect_valid_or_refused(bytes, n);
    }
}

TEST(a_message_that_unfolds_without_end_is_refused)
{
    static uint8_t bytes[CODEC_MAX_BYTES + 1];
    struct message m;
    size_t         n = CODEC_MAX_BYTES - CODEC_CRC_BYTES - 1, body = n - 4;
    char           why[200];

    /* Envelope.hello (1), three bytes of length, then joints (4) of length 0 to the end. */
    bytes[0] = 0x0a, bytes[1] = (uint8_t)(body | 0x80), bytes[2] = (uint8_t)(body >> 7 | 0x80),
    bytes[3] = (uint8_t)(body >> 14);
    for (size_t i = 4; i < n; i += 2)
        bytes[i] = 0x22, bytes[i + 1] = 0;
    from = FROM_ROBOT;
    EXPECT(decode_sealed(bytes, n, &m, why, sizeof why) == CODEC_SHAPE);
    EXPECT_STR(why, "unfold");
    EXPECT(decode(bytes, CODEC_MAX_BYTES + 1, &m, why, sizeof why) == CODEC_OVERSIZED);
    EXPECT_STR(why, "16385 bytes");
}

TEST(an_unknown_body_is_told_from_garbage)
{
    static const uint8_t later[] = { 0xa2, 0x06, 1, 0 }, empty_hello[] = { 0x0a, 0 };
    struct message       m;
    char                 why[200];

    from = FROM_ROBOT;
    EXPECT(decode_sealed(later, sizeof later, &m, why, sizeof why) == CODEC_UNKNOWN);
    EXPECT_STR(why, "kind 100");
    EXPECT(decode_sealed(later, 0, &m, why, sizeof why) == CODEC_GARBAGE);
    /* An empty Hello says protocol 0: decodes, so that it can be answered with both versions. */
    EXPECT(decode_sealed(empty_hello, sizeof empty_hello, &m, why, sizeof why) == CODEC_OK && m.hello.protocol == 0);
}

/* Packs m, which breaks one rule of shape, and expects a sentence about it. */
static void expect_shape(const struct message *m, const char *part)
{
    static uint8_t bytes[CODEC_MAX_BYTES];
    struct message back;
    char           why[200];

    EXPECT(decode(bytes, pack(m, bytes), &back, why, sizeof why) == CODEC_SHAPE);
    EXPECT_STR(why, part);
}

TEST(shape_errors_name_field_value_and_expectation)
{
    static struct message good, m;
    struct rng            r;

    rng_seed(&r, 5);
    any_message(&r, MESSAGE_HELLO, &good);
    m = good, m.hello.boot_id = 0;
    expect_shape(&m, "hello.boot_id: 0, expected");
    m = good, m.hello.nj = 0;
    expect_shape(&m, "hello.joints: 0 joints, expected 1 to 32");
    m = good, m.hello.joint[0].type = 0;
    expect_shape(&m, "hello.joints[0].type: 0, expected 1 to 3");
    m = good, m.hello.joint[0].name[0] = 0;
    expect_shape(&m, "hello.joints[0].name: 0 characters, expected 1 to 47");
    m = good, memcpy(m.hello.robot, "a\033[2J", 6);
    expect_shape(&m, "hello.robot: byte 0x1b at 1, expected printable");
    m = good, memcpy(m.hello.robot, "a\"b", 4);
    expect_shape(&m, "hello.robot: byte 0x22");
    m = good, m.hello.timeout_action = 5;
    expect_shape(&m, "hello.timeout_action: 5, expected 0 to 4");
    m = good, m.hello.joint[m.hello.nj - 1].timeout_action = 5;
    expect_shape(&m, ".timeout_action: 5, expected 0 to 4");

    any_message(&r, MESSAGE_STATE, &m);
    m.state.nj = 0;
    expect_shape(&m, "state.position: 0 values, expected 1 to 32");
    any_message(&r, MESSAGE_COMMAND, &m);
    m.command.mode = 3;
    expect_shape(&m, "command.mode: 3, expected 0 to 2");
    any_message(&r, MESSAGE_TRIAL_EVENT, &m);
    m.trial_event.kind = 0;
    expect_shape(&m, "trial_event.kind: 0, expected 1 to 3");
    any_message(&r, MESSAGE_TRIAL_REQUEST, &m);
    m.trial_request.kind = 3;
    expect_shape(&m, "trial_request.kind: 3, expected 1 to 2");
    any_message(&r, MESSAGE_REFUSAL, &m);
    m.refusal.code = 11;
    expect_shape(&m, "refusal.code: 11, expected 1 to 10");
    any_message(&r, MESSAGE_WELCOME, &m);
    m.welcome.session = 0;
    expect_shape(&m, "welcome.session: 0, expected");
}

TEST(arrays_of_a_state_must_agree)
{
    /* Envelope.state: position of two values, velocity of one (fields 4 and 5, packed doubles). */
    uint8_t        bytes[2 + 18 + 10] = { 0x12, 28, 0x22, 16, [20] = 0x2a, 8 };
    struct message m;
    char           why[200];

    from = FROM_ROBOT;
    EXPECT(decode_sealed(bytes, sizeof bytes, &m, why, sizeof why) == CODEC_SHAPE);
    EXPECT_STR(why, "state.velocity: 1 values, expected 2 as in position");
}

TEST(free_text_cannot_move_a_cursor)
{
    static uint8_t        bytes[CODEC_MAX_BYTES];
    static struct message m, back;

    m.kind         = MESSAGE_REFUSAL;
    m.refusal.code = REFUSAL_BUSY;
    memcpy(m.refusal.sentence, "one\033[2Jtwo\nthree", 17);
    EXPECT(decode(bytes, pack(&m, bytes), &back, NULL, 0) == CODEC_OK);
    EXPECT_STR(back.refusal.sentence, "one?[2Jtwo?three");
}
