/* Claims about what the CRC behind every message keeps out: errors of few bits, bursts, cuts, noise, one's own messages. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "daemon/rt/rng.h"
#include "tests/test.h"
#include "transport/codec.h"

enum { BITS = 4096 };

/* A message of a cart-pole on its way. */
struct frame {
    enum codec_from from;
    size_t          n;
    uint8_t         bytes[CODEC_MAX_BYTES];
};

static struct codec_scratch scratch;

static struct frame frame_of(const struct message *m)
{
    struct frame f = { .from = codec_sender(m->kind) };

    f.n = codec_pack(m, f.bytes);
    return f;
}

static struct frame state(void)
{
    static struct message m = { .kind  = MESSAGE_STATE,
                                .state = { .session             = 0x9f3c0123456789ab,
                                           .seq                 = 5512,
                                           .sample_ns           = 1234567890123,
                                           .nj                  = 2,
                                           .position            = { 0.25, 3.1 },
                                           .velocity            = { -1.5, 0.01 },
                                           .has_effort          = true,
                                           .effort              = { 70, 0 },
                                           .applied_command_seq = 5511,
                                           .applied_effort      = { 70, 0 },
                                           .applied_held        = true } };

    return frame_of(&m);
}

static struct frame command(void)
{
    static struct message m = { .kind    = MESSAGE_COMMAND,
                                .command = { .session   = 0x9f3c0123456789ab,
                                             .seq       = 5512,
                                             .state_seq = 5512,
                                             .valid_ms  = 120,
                                             .mode      = COMMAND_TORQUE,
                                             .nj        = 2,
                                             .torque    = { 70.5, 0 } } };

    return frame_of(&m);
}

static struct message m;

static bool refused(const struct frame *f)
{
    return codec_damaged(codec_unpack(f->from, f->bytes, f->n, &scratch, &m, NULL, 0)) && m.kind == MESSAGE_NONE;
}

static void flip(struct frame *f, size_t bit)
{
    f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void one_two_and_some_three(struct frame f)
{
    size_t     bits     = 8 * f.n;
    long       accepted = 0, n = test_rounds(300000, 20000000);
    struct rng g;

    EXPECT(!refused(&f) && bits < BITS);
    for (size_t a = 0; a < bits; a++) {
        flip(&f, a);
        accepted += !refused(&f);
        for (size_t b = a + 1; b < bits; b++) {
            flip(&f, b);
            accepted += !refused(&f);
            flip(&f, b);
        }
        flip(&f, a);
    }
    rng_seed(&g, 1);
    for (long i = 0; i < n; i++) {
        size_t a = rng_below(&g, (uint32_t)bits), b = rng_below(&g, (uint32_t)bits), c = rng_below(&g, (uint32_t)bits);

        flip(&f, a), flip(&f, b), flip(&f, c);
        accepted += !refused(&f); /* where two are the same bit, one is left */
        flip(&f, a), flip(&f, b), flip(&f, c);
    }
    EXPECT(accepted == 0 && !refused(&f));
}

TEST(every_error_of_one_or_two_bits_and_hundreds_of_thousands_of_three_are_refused)
{
    one_two_and_some_three(state());
    one_two_and_some_three(command());
}

/* Such a peer is told what is missing and given up on: damage must not pass for that. */
TEST(no_error_of_a_bit_makes_a_hello_or_refusal_one_of_a_peer_without_a_crc)
{
    const struct message hello   = { .kind  = MESSAGE_HELLO,
                                     .hello = { .protocol = LIMBER_PROTOCOL, .boot_id = 7, .robot = "rail", .nj = 1,
                                                .joint = { { .name = "slider" } } } };
    const struct message refusal = { .kind    = MESSAGE_REFUSAL,
                                     .refusal = { .code = REFUSAL_SESSION, .sentence = "say Hello",
                                                  .daemon_protocol = LIMBER_PROTOCOL } };
    struct frame         frames[] = { frame_of(&hello), frame_of(&refusal) };

    for (int k = 0; k < 2; k++) {
        for (size_t bit = 0; bit < 8 * frames[k].n; bit++) {
            flip(&frames[k], bit);
            enum codec_error e = codec_unpack(frames[k].from, frames[k].bytes, frames[k].n, &scratch, &m, NULL, 0);
            EXPECT(e == CODEC_CRC || e == CODEC_ECHO);
            flip(&frames[k], bit);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The CRC is linear: an error is accepted where what its bits change in the CRC, each alone, cancels out. */
static void no_three_cancel(struct frame f)
{
    static uint32_t change[BITS], sorted[BITS];
    const char     *id   = f.from == FROM_ROBOT ? "robot>limber" : "limber>robot";
    uLong           head = crc32(0, (const Bytef *)id, 12), good = crc32(head, f.bytes, (uInt)f.n - 4);
    size_t          bits = 8 * f.n, covered = bits - 32;
    long            cancel = 0;

    for (size_t a = 0; a < bits; a++) {
        flip(&f, a);
        change[a] = sorted[a] =
            a < covered ? (uint32_t)(crc32(head, f.bytes, (uInt)f.n - 4) ^ good) : 1u << (a - covered);
        flip(&f, a);
    }
    qsort(sorted, bits, sizeof *sorted, by_value);
    for (size_t a = 0; a < bits; a++) {
        cancel += change[a] == 0;
        for (size_t b = a + 1; b < bits; b++) {
            uint32_t both = change[a] ^ change[b];

            cancel += both == 0 || bsearch(&both, sorted, bits, sizeof both, by_value) != NULL;
        }
    }
    EXPECT(cancel == 0);
}

TEST(no_error_of_three_bits_of_any_is_accepted)
{
    no_three_cancel(state());
    no_three_cancel(command());
}

static void bursts(struct frame f)
{
    long       accepted = 0;
    struct rng g;

    rng_seed(&g, 2);
    for (size_t at = 0; at < 8 * f.n; at++)
        for (size_t length = 1; length <= 32 && at + length <= 8 * f.n; length++)
            for (int i = 0; i < 4; i++) {
                struct frame burst = f;
                uint32_t     inner = (uint32_t)rng_next(&g);

                for (size_t k = 0; k < length; k++) /* its first and last bit are wrong, and any between */
                    if (k == 0 || k == length - 1 || inner >> k & 1)
                        flip(&burst, at + k);
                accepted += !refused(&burst);
            }
    EXPECT(accepted == 0);
}

TEST(bursts_of_up_to_32_bits_anywhere_are_refused)
{
    bursts(state());
    bursts(command());
}

static void cut_and_joined(struct frame f)
{
    struct frame x = f;

    for (x.n = 0; x.n < f.n; x.n++)
        EXPECT(refused(&x));
    for (size_t from = 1; from < f.n; from++) { /* its beginning is lost */
        x.n = f.n - from;
        memcpy(x.bytes, f.bytes + from, x.n);
        EXPECT(refused(&x));
    }
    for (size_t part = 1; part <= f.n; part++) { /* and some of the next one behind it, or before it */
        x = f, x.n += part;
        memcpy(x.bytes + f.n, f.bytes, part);
        EXPECT(refused(&x));
        memcpy(x.bytes, f.bytes + f.n - part, part);
        memcpy(x.bytes + part, f.bytes, f.n);
        EXPECT(part == f.n || refused(&x));
    }
}

TEST(messages_cut_or_joined_at_any_byte_are_refused)
{
    cut_and_joined(state());
    cut_and_joined(command());
}

TEST(noise_is_refused_though_it_has_the_mark_of_a_crc)
{
    struct frame f        = command();
    long         accepted = 0, n = test_rounds(500000, 50000000);
    struct rng   g;

    rng_seed(&g, 3);
    for (long i = 0; i < n; i++) {
        f.n = 8 + rng_below(&g, 120);
        for (size_t k = 0; k < f.n; k += 8) {
            uint64_t eight = rng_next(&g);
            memcpy(f.bytes + k, &eight, 8);
        }
        f.bytes[f.n - CODEC_CRC_BYTES] = 0x7d;
        accepted += !refused(&f);
    }
    EXPECT(accepted == 0);
}

TEST(ones_own_messages_come_back_are_refused_as_such_whatever_they_say)
{
    char why[200];

    for (int kind = MESSAGE_HELLO; kind <= MESSAGE_TRIAL_REQUEST; kind++) {
        struct message any = { .kind = (enum message_kind)kind };
        struct frame   f   = frame_of(&any);

        EXPECT(codec_unpack(!f.from, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_ECHO && m.kind == MESSAGE_NONE);
        EXPECT_STR(why, "of this end, come back");
    }
}

TEST(what_a_peer_of_protocol_1_says_first_is_understood_and_nothing_else_without_a_crc)
{
    char           why[400];
    struct message h  = { .kind = MESSAGE_HELLO, .hello = { .protocol = 1, .boot_id = 5 } };
    struct message no = { .kind = MESSAGE_REFUSAL, .refusal = { .code = REFUSAL_PROTOCOL, .daemon_protocol = 1 } };
    struct frame   f  = frame_of(&h);

    f.n -= CODEC_CRC_BYTES;
    EXPECT(codec_unpack(FROM_ROBOT, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_BARE);
    EXPECT(m.kind == MESSAGE_NONE && m.session == 1);
    EXPECT_STR(why, "hello.protocol: 1, expected 2");
    EXPECT(codec_unpack(FROM_LIMBER, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_CRC && m.session == 0);
    snprintf(no.refusal.sentence, sizeof no.refusal.sentence, "hello.protocol: 2, expected 1");
    f = frame_of(&no);
    f.n -= CODEC_CRC_BYTES;
    EXPECT(codec_unpack(FROM_LIMBER, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_BARE && m.session == 1);
    EXPECT_STR(why, "limberd speaks protocol 1, expected 2, whose messages end in a CRC; it says: hello.protocol: 2, expected 1");
    EXPECT(codec_unpack(FROM_ROBOT, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_CRC);
    f = state();
    f.n -= CODEC_CRC_BYTES;
    EXPECT(refused(&f) && codec_unpack(FROM_ROBOT, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_CRC);
    EXPECT_STR(why, "without a CRC at the end");
    h.hello.protocol = no.refusal.daemon_protocol = 2; /* they have CRCs: this is damage */
    f = frame_of(&h), f.n -= CODEC_CRC_BYTES;
    EXPECT(codec_unpack(FROM_ROBOT, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_CRC);
    f = frame_of(&no), f.n -= CODEC_CRC_BYTES;
    EXPECT(codec_unpack(FROM_LIMBER, f.bytes, f.n, &scratch, &m, why, sizeof why) == CODEC_CRC);
}
