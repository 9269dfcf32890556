/* zap.c - see zap.h. */
#include "transport/zap.h"

#include <string.h>
#include <zmq.h>

enum { VERSION, ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS };

/* Bytes of frame i that were kept; of a longer one, none. */
static size_t kept(const struct zap_frames *f, int i)
{
    return i < f->n && f->len[i] < ZAP_FRAME_MAX ? f->len[i] : 0;
}

static bool is(const struct zap_frames *f, int i, const char *text)
{
    return kept(f, i) == strlen(text) && memcmp(f->bytes[i], text, strlen(text)) == 0;
}

bool zap_read(const struct zap_frames *f, struct zap_request *q)
{
    memset(q, 0, sizeof *q);
    q->id_len = kept(f, ID);
    memcpy(q->id, f->bytes[ID], q->id_len);
    for (size_t i = 0; i < kept(f, ADDRESS); i++) {
        uint8_t c     = f->bytes[ADDRESS][i];
        q->address[i] = c > ' ' && c < 0x7f ? (char)c : '?';
    }
    if (f->n != ZAP_FRAMES || !is(f, VERSION, "1.0") || !is(f, DOMAIN, ZAP_DOMAIN) || !is(f, MECHANISM, "CURVE") ||
        f->len[ID] >= ZAP_FRAME_MAX || f->len[ADDRESS] >= ZAP_FRAME_MAX || f->len[IDENTITY] >= ZAP_FRAME_MAX ||
        f->len[CREDENTIALS] != 32)
        return false;
    return zmq_z85_encode(q->key, f->bytes[CREDENTIALS], 32) != NULL;
}
