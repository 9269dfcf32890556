/* zap.h - the frames of a ZAP request, libzmq's question about a client (rfc.zeromq.org/spec/27), read without a socket. */
#ifndef TRANSPORT_ZAP_H
#define TRANSPORT_ZAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/keys.h"

enum { ZAP_FRAME_MAX = 256, ZAP_FRAMES = 7 };
#define ZAP_DOMAIN "limber"

/* As received: n may be more than are kept, a length more than is kept of a frame. */
struct zap_frames {
    int     n;
    size_t  len[ZAP_FRAMES];
    uint8_t bytes[ZAP_FRAMES][ZAP_FRAME_MAX];
};

struct zap_request {
    uint8_t id[ZAP_FRAME_MAX]; /* to be echoed */
    size_t  id_len;
    char    address[ZAP_FRAME_MAX]; /* printable, for people */
    char    key[KEY_TEXT];          /* the client's public key; empty where the request is none */
};

/* True: version 1.0, our domain, CURVE, a key.  The id and the address are there in any case, as far as they can be. */
bool zap_read(const struct zap_frames *f, struct zap_request *q);

#endif
