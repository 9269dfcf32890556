/* seal.h - who says that a model file may fly: an Ed25519 signature (RFC 8032, by libsodium) over all of the file's bytes, 64 bytes
 * in FILE.sig beside it.  The header's robot and version are among those bytes, so a seal is for one model of one robot.
 *
 * The key is a secret that the trainer, which makes the files, cannot read: what limberd judged is what it loads again. */
#ifndef MODELS_SEAL_H
#define MODELS_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEAL_SEED = 32, SEAL_PUBLIC = 32, SEAL_SECRET = 64, SEAL_BYTES = 64 };
#define SEAL_SUFFIX ".sig"

struct seal_key {
    uint8_t public[SEAL_PUBLIC], secret[SEAL_SECRET]; /* secret: forget it with explicit_bzero */
};

/* Both halves of a key, from what it is kept as.  Any thread.  False: libsodium cannot begin. */
bool seal_key_of(const uint8_t seed[SEAL_SEED], struct seal_key *k);

void seal_sign(const struct seal_key *k, const uint8_t *bytes, size_t n, uint8_t seal[SEAL_BYTES]);
bool seal_good(const struct seal_key *k, const uint8_t *bytes, size_t n, const uint8_t seal[SEAL_BYTES]);

#endif
