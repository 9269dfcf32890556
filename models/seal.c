#include "models/seal.h"

#include <sodium.h>

#include "daemon/rt/check.h"

_Static_assert(SEAL_SEED == crypto_sign_ed25519_SEEDBYTES && SEAL_PUBLIC == crypto_sign_ed25519_PUBLICKEYBYTES &&
                   SEAL_SECRET == crypto_sign_ed25519_SECRETKEYBYTES && SEAL_BYTES == crypto_sign_ed25519_BYTES,
               "as RFC 8032 has them");

bool seal_key_of(const uint8_t seed[SEAL_SEED], struct seal_key *k)
{
    return sodium_init() >= 0 && crypto_sign_ed25519_seed_keypair(k->public, k->secret, seed) == 0;
}

void seal_sign(const struct seal_key *k, const uint8_t *bytes, size_t n, uint8_t seal[SEAL_BYTES])
{
    CHECK(crypto_sign_ed25519_detached(seal, NULL, bytes, n, k->secret) == 0);
}

bool seal_good(const struct seal_key *k, const uint8_t *bytes, size_t n, const uint8_t seal[SEAL_BYTES])
{
    return crypto_sign_ed25519_verify_detached(seal, bytes, n, k->public) == 0;
}
