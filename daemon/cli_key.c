/* cli_key.c - limber key: makes key pairs for tcp:// endpoints, and lists who may connect. */
#include <ctype.h>
#include <string.h>

#include "daemon/cli.h"
#include "models/model_file.h"
#include "transport/keys.h"

/* Makes FILE and FILE.pub. */
static int make(const char *file)
{
    struct key_pair k;
    char            why[700];
    bool            good = keys_make(file, &k, why, sizeof why);

    if (good)
        printf("%s\n", k.public);
    else
        fprintf(stderr, "limber: %s\n", why);
    explicit_bzero(&k, sizeof k);
    if (good)
        fprintf(stderr, "limber: %s is secret and stays on this machine; give %s.pub to the other side\n", file, file);
    return good ? EXIT_OK : EXIT_CANTCREATE;
}

/* The public key of a key pair's file, or of a FILE.pub. */
static bool public_of(const char *file, char public[KEY_TEXT])
{
    struct key_pair k;
    char            why[700];
    size_t          n = strlen(file);
    bool            good;

    if (n > 4 && strcmp(file + n - 4, ".pub") == 0) {
        good = keys_load_public(file, public, why, sizeof why);
    } else {
        good = keys_load(file, &k, why, sizeof why);
        memcpy(public, k.public, KEY_TEXT);
        explicit_bzero(&k, sizeof k);
    }
    if (!good)
        fprintf(stderr, "limber: %s\n", why);
    return good;
}

static int show(const char *file)
{
    char public[KEY_TEXT];

    if (!public_of(file, public))
        return EXIT_CONFIG;
    printf("%s\n", public);
    return EXIT_OK;
}

/* Adds the key of `file` to the list. */
static int allow(const char *list, const char *role, const char *name, const char *file)
{
    struct client c = { 0 };
    char          why[700];

    if (!role || !role_of_name(role, &c.role)) {
        fprintf(stderr, "limber: --role %s: expected robot (sends states, receives torques) or listen (telemetry)\n",
                role ? role : "is missing");
        return EXIT_USAGE;
    }
    for (const char *p = name; p && *p; p++)
        if (!isprint((unsigned char)*p) || strlen(name) >= sizeof c.name) {
            fprintf(stderr, "limber: --name: expected at most %zu printable characters\n", sizeof c.name - 1);
            return EXIT_USAGE;
        }
    snprintf(c.name, sizeof c.name, "%s", name ? name : "");
    if (!public_of(file, c.key))
        return EXIT_CONFIG;
    if (!clients_add(list, &c, why, sizeof why)) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_CONFIG;
    }
    printf("%s %s\n", role_name(c.role), c.key);
    return EXIT_OK;
}

/* The key that limberd seals models with. */
static int make_signing(const char *file)
{
    char why[700];

    if (!keys_make_signing(file, why, sizeof why)) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_CANTCREATE;
    }
    fprintf(stderr, "limber: %s is secret; name it in robot.yaml, paths.model_key, on every robot that is to fly the others' models\n",
            file);
    return EXIT_OK;
}

/* Says that a model may fly where this key counts. */
static int seal(const char *key, const char *model)
{
    uint8_t         seed[KEY_BYTES];
    struct seal_key k;
    char            why[700];
    bool            good = keys_load_signing(key, seed, why, sizeof why);

    if (good && !(good = seal_key_of(seed, &k)))
        snprintf(why, sizeof why, "libsodium does not begin");
    good = good && model_file_seal(model, &k, why, sizeof why) == 0;
    explicit_bzero(seed, sizeof seed);
    explicit_bzero(&k, sizeof k);
    if (!good)
        fprintf(stderr, "limber: %s\n", why);
    return good ? EXIT_OK : EXIT_CONFIG;
}

int verb_key(int argc, char **argv)
{
    bool public            = false, signing = false;
    const char       *list = NULL, *role = NULL, *name = NULL, *with = NULL, *file = NULL;
    const struct flag flags[] = {
        { .name = "public", .what = "print the public key of FILE, which is there already", .on = &public },
        { .name  = "allow",
          .value = "LIST",
          .what  = "add FILE's public key to this list of clients (robot.yaml: curve.clients)",
          .text  = &list },
        { .name  = "role",
          .value = "R",
          .what  = "with --allow: robot (states, torques) or listen (telemetry)",
          .text  = &role },
        { .name = "name", .value = "TEXT", .what = "with --allow: whose it is, for people", .text = &name },
        { .name = "signing", .what = "make FILE, the secret that limberd seals models with (robot.yaml: paths.model_key)", .on = &signing },
        { .name = "seal", .value = "KEY", .what = "FILE is a model: let it fly where KEY is paths.model_key", .text = &with },
        { 0 }
    };
    const struct usage usage = {
        .line  = "key FILE | --public FILE | --allow LIST --role robot|listen FILE | --signing FILE | --seal KEY FILE",
        .text  = "Makes a key pair for tcp:// endpoints: FILE (secret, mode 0600) and FILE.pub, and prints the public "
                 "key. FILE may be FILE.pub for --public and --allow. Or keys and seals of models. See docs/security.md.",
        .flags = flags,
        .max_operands = 1,
    };
    int n, rc = args_read(argc, argv, &usage, &file, &n);

    if (rc >= 0)
        return rc;
    if (n != 1 || public + signing + (list != NULL) + (with != NULL) > 1 || (!list && (role || name))) {
        fprintf(stderr, "limber: key: expected %s; see limber key --help\n",
                n != 1 ? "one FILE" : "one of the five forms");
        return EXIT_USAGE;
    }
    if (signing || with)
        return signing ? make_signing(file) : seal(with, file);
    return list ? allow(list, role, name, file) : public ? show(file) : make(file);
}
