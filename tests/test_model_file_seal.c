/* Claims about signatures of model files (models/seal.h): what is signed with another key, or not at all, does not load. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/seal_kit.h"

/* ---- the signature ---- */

static void bytes_of(const char *hex, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;

        EXPECT(sscanf(hex + 2 * i, "%2x", &byte) == 1);
        out[i] = (uint8_t)byte;
    }
}

TEST(a_seal_is_the_ed25519_signature_of_rfc_8032)
{
    /* Its section 7.1, tests 1 to 3: secret key, public key, message, signature. */
    static const struct {
        const char *seed, *public, *message, *signature;
    } row[] = {
        { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
          "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
          "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b"
          "be24655"
          "141438e7a100b" },
        { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
          "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
          "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb430"
          "2aeeb00"
          "d291612bb0c00" },
        { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
          "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
          "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716e"
          "d28dc02"
          "7beceea1ec40a" },
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint8_t         seed[SEAL_SEED], public[SEAL_PUBLIC], message[2], wanted[SEAL_BYTES], got[SEAL_BYTES];
        size_t          n = strlen(row[i].message) / 2;
        struct seal_key k;

        bytes_of(row[i].seed, seed, sizeof seed);
        bytes_of(row[i].public, public, sizeof public);
        bytes_of(row[i].message, message, n);
        bytes_of(row[i].signature, wanted, sizeof wanted);
        EXPECT(seal_key_of(seed, &k) && memcmp(k.public, public, sizeof public) == 0);
        seal_sign(&k, message, n, got);
        EXPECT(memcmp(got, wanted, sizeof wanted) == 0 && seal_good(&k, message, n, wanted));
    }
}

/* ---- the file ---- */

TEST(what_was_not_sealed_with_this_key_does_not_load)
{
    struct seal_key ours = key_from(1), other = key_from(2);
    char            why[400], command[1600];

    save("a.model", 7, 1, &ours);
    EXPECT(load("a.model", &ours, why, sizeof why) == 0);
    EXPECT(load("a.model", NULL, why, sizeof why) == 0); /* where no seal is wanted none is looked at */
    EXPECT(load("a.model", &other, why, sizeof why) == -EPERM);
    EXPECT_STR(why, "is not what was sealed with paths.model_key");

    save("b.model", 7, 2, NULL); /* whole, of the right robot and version, and nobody judged it */
    EXPECT(load("b.model", &ours, why, sizeof why) == -ENOENT);
    EXPECT_STR(why, "b.model: has no seal");
    snprintf(command, sizeof command, "cp %s %s", at("a.model.sig"), at("b.model.sig"));
    EXPECT(system(command) == 0);
    EXPECT(load("b.model", &ours, why, sizeof why) == -EPERM);

    save("a.model", 7, 2, &other);
    EXPECT(load("a.model", &ours, why, sizeof why) == -EPERM);
    EXPECT(unlink(at("b.model.sig")) == 0 && mkfifo(at("b.model.sig"), 0600) == 0);
    EXPECT(load("b.model", &ours, why, sizeof why) == -EPERM); /* and does not wait for a writer */
}

TEST(every_flipped_bit_and_every_other_length_of_a_seal_is_refused)
{
    struct seal_key ours                 = key_from(1);
    uint8_t         seal[SEAL_BYTES + 1] = { 0 };
    char            why[400];

    save("c.model", 7, 1, &ours);
    int fd = open(at("c.model.sig"), O_RDWR);
    EXPECT(fd >= 0 && read(fd, seal, sizeof seal) == SEAL_BYTES);
    for (size_t bit = 0; bit < 8 * SEAL_BYTES; bit++) {
        uint8_t flipped = seal[bit / 8] ^ (uint8_t)(1 << bit % 8);

        EXPECT(pwrite(fd, &flipped, 1, (off_t)(bit / 8)) == 1);
        EXPECT(load("c.model", &ours, why, sizeof why) == -EPERM);
        EXPECT(pwrite(fd, &seal[bit / 8], 1, (off_t)(bit / 8)) == 1);
    }
    EXPECT(load("c.model", &ours, why, sizeof why) == 0);
    for (off_t n = 0; n <= SEAL_BYTES + 1; n++) {
        EXPECT(ftruncate(fd, 0) == 0 && pwrite(fd, seal, (size_t)n, 0) == n);
        EXPECT((load("c.model", &ours, why, sizeof why) == 0) == (n == SEAL_BYTES));
    }
    close(fd);
}

/* `name` in the test's directory by a path of `length` bytes. */
static const char *far(const char *name, size_t length)
{
    static char path[5000];
    size_t      n = (size_t)snprintf(path, sizeof path, "%s/", test_dir());

    while (n + strlen(name) + 2 <= length)
        n += (size_t)snprintf(path + n, sizeof path - n, "./");
    while (n + strlen(name) < length)
        path[n++] = '/';
    snprintf(path + n, sizeof path - n, "%s", name);
    return path;
}

TEST(a_seal_that_cannot_be_written_or_found_is_said_and_no_model_flies_without)
{
    struct seal_key    ours  = key_from(1);
    struct model_trust trust = { .version = 7, .us = geteuid(), .seal = &ours };
    struct ensemble    e;
    char               why[6000];

    EXPECT(ensemble_alloc(&e, &small) == 0);
    ensemble_init(&e, 1);
    e.version = 7;
    EXPECT(model_file_put_seal(far("e.model", 4094), (uint8_t[SEAL_BYTES]){ 0 }) == -ENAMETOOLONG); /* with .sig after it */
    EXPECT(model_file_save(at("e.model"), &e, "robot") == 0);
    EXPECT(model_file_load_trusted(far("e.model", 4094), &trust, "robot", &small, &e, why, sizeof why) ==
           -ENAMETOOLONG);
    EXPECT_STR(why, "its name is too long");
    EXPECT(model_file_seal(far("e.model", 4094), &ours, why, sizeof why) == -ENAMETOOLONG);
    EXPECT_STR(why, "its seal cannot be written");
    EXPECT(model_file_seal(at("none.model"), &ours, why, sizeof why) == -ENOENT);

    EXPECT(mkdir(at("e.model.sig.tmp"), 0700) == 0); /* in the way of the seal */
    EXPECT(model_file_seal(at("e.model"), &ours, why, sizeof why) == -EISDIR && access(at("e.model.sig"), F_OK) != 0);
    EXPECT(load("e.model", &ours, why, sizeof why) == -ENOENT);
    EXPECT(rmdir(at("e.model.sig.tmp")) == 0 && model_file_seal(at("e.model"), &ours, why, sizeof why) == 0);
    EXPECT(load("e.model", &ours, why, sizeof why) == 0);
    ensemble_free(&e);

    int fd = open(at("g.model"), O_WRONLY | O_CREAT, 0600);
    EXPECT(fd >= 0 && write(fd, "LIMBERNN", 8) == 8);
    EXPECT(model_file_seal(at("g.model"), &ours, why, sizeof why) == -EBADMSG); /* nothing after the magic */
    EXPECT(pwrite(fd, "LIMBERNO and more", 17, 0) == 17);
    EXPECT(model_file_seal(at("g.model"), &ours, why, sizeof why) == -EBADMSG);
    close(fd);
}
