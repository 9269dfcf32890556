/* codec.h - between the plain structs of proto/robot.h and bytes on the wire (proto/limber.proto).
 *
 * Every message ends in a CRC over its sender and all of it (limber.proto says how), so that what was damaged anywhere
 * between two codecs, or is one's own message come back, is refused.  CRC-32 finds every error of up to 3 bits in up to
 * 11 KiB, and every one within 32 bits in a row (Koopman, 32-bit cyclic redundancy codes, 2002: 802.3).
 *
 * Structure is checked here: a message that decodes has counts that agree and fit, names that are short enough and
 * enum values that are known.  Whether numbers are finite and plausible is the core's business (it must see them).
 * Decoding uses the caller's scratch block instead of malloc; any thread, one scratch a thread. */
#ifndef TRANSPORT_CODEC_H
#define TRANSPORT_CODEC_H

#include <stddef.h>

#include "proto/robot.h"

enum { CODEC_MAX_BYTES = 16384, CODEC_SCRATCH = 128 * 1024, CODEC_CRC_BYTES = 5 };

enum codec_from { FROM_ROBOT, FROM_LIMBER };

enum message_kind {
    MESSAGE_NONE = 0, /* did not decode */
    MESSAGE_HELLO,
    MESSAGE_STATE,
    MESSAGE_TRIAL_EVENT,
    MESSAGE_WELCOME,
    MESSAGE_REFUSAL,
    MESSAGE_COMMAND,
    MESSAGE_TRIAL_REQUEST,
};

enum codec_error {
    CODEC_OK = 0,
    CODEC_OVERSIZED, /* more than CODEC_MAX_BYTES                              */
    CODEC_CRC,       /* damaged on the way, cut short, or noise                */
    CODEC_ECHO,      /* whole, but from this end                               */
    CODEC_BARE,      /* no CRC, and the first word of a peer of protocol 1     */
    CODEC_GARBAGE,   /* whole, but not an Envelope                             */
    CODEC_UNKNOWN,   /* an Envelope with a body this version does not know     */
    CODEC_SHAPE,     /* counts that do not agree or do not fit, bad enum, name */
};

struct message {
    enum message_kind kind;
    uint64_t          session; /* of states, commands, trial events and requests, set by codec_unpack; else 0 */
    union {
        struct hello         hello;
        struct joint_state   state;
        struct trial_event   trial_event;
        struct welcome       welcome;
        struct refusal       refusal;
        struct joint_command command;
        struct trial_request trial_request;
    };
};

struct codec_scratch {
    size_t used; /* a multiple of 16 */
    bool   full; /* the message in it needed more */
    _Alignas(16) uint8_t block[CODEC_SCRATCH];
};

/* Bytes written to buf (at least CODEC_MAX_BYTES long); m->kind says what, and with it who sends it.  Any numbers can be
 * packed; counts beyond the arrays and unterminated names are bugs.  `session` beside the union is not looked at. */
size_t codec_pack(const struct message *m, uint8_t *buf);

/* Writes the CRC behind the `len` bytes of an Envelope (buf has room for it); the new length.  For who has no struct. */
size_t codec_seal(enum codec_from from, uint8_t *buf, size_t len);

/* Who sends messages of this kind. */
enum codec_from codec_sender(enum message_kind kind);

/* Fills *m from what `from` must have sent.  A Hello of another protocol version yields its version and boot id only
 * (nj == 0).  On trouble m->kind is MESSAGE_NONE and `why` (may be NULL) says which field, value, expectation; of
 * CODEC_BARE m->session is the protocol that the peer speaks. */
enum codec_error codec_unpack(enum codec_from from, const uint8_t *buf, size_t len, struct codec_scratch *scratch,
                              struct message *m, char *why, size_t why_size);

/* Not what the other end sent: counts towards a link that cannot be trusted (faults.md F2). */
static inline bool codec_damaged(enum codec_error e)
{
    return e == CODEC_CRC || e == CODEC_ECHO || e == CODEC_BARE;
}

#endif
