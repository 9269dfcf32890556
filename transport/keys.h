/* keys.h - CURVE key files and the list of clients that may connect, as kept on disk.
 *
 * A key pair is two text files: FILE, "secret KEY", for its owner alone (0600), and FILE.pub, "public KEY", for
 * everyone.  The key that seals models (models/seal.h) is one, "signing KEY", likewise 0600.  KEY is 40 characters of Z85
 * (rfc.zeromq.org/spec/32).  The list has one client a line, "ROLE KEY [name]",
 * and lines that begin with #.  A key that the whole world knows (the test keys of zmq_curve(7)) or that is no key (all
 * bytes equal) is refused wherever it turns up.  Any thread; false and a sentence in `why` on trouble. */
#ifndef TRANSPORT_KEYS_H
#define TRANSPORT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_TEXT = 41, KEY_BYTES = 32, CLIENTS_MAX = 64, CLIENT_NAME = 48 };

/* What the owner of a key may do. */
enum client_role {
    ROLE_ROBOT = 1, /* be the robot side: send states, receive torques */
    ROLE_LISTEN,    /* hear the telemetry                              */
};
const char *role_name(enum client_role r);
bool        role_of_name(const char *name, enum client_role *r);

struct key_pair {
    char public[KEY_TEXT], secret[KEY_TEXT];
};

/* Makes a new pair and both files; neither may be there already. */
bool keys_make(const char *file, struct key_pair *k, char *why, size_t why_size);

/* Reads FILE; refuses one that others than its owner can read or write, or that is not ours (or root's). */
bool keys_load(const char *file, struct key_pair *k, char *why, size_t why_size);

/* Reads FILE.pub (or whatever it is called now). */
bool keys_load_public(const char *file, char public[KEY_TEXT], char *why, size_t why_size);

/* Makes FILE, of random bytes, which may not be there already. */
bool keys_make_signing(const char *file, char *why, size_t why_size);

/* Its bytes, with the same refusals as keys_load. */
bool keys_load_signing(const char *file, uint8_t key[KEY_BYTES], char *why, size_t why_size);

struct client {
    enum client_role role;
    char             key[KEY_TEXT];
    char             name[CLIENT_NAME]; /* for people, may be empty */
};

struct client_list {
    int           n;
    struct client client[CLIENTS_MAX];
};

/* All or nothing: one line that is wrong, one key twice, or a file that its group or others can write, and the list is
 * empty.  A list without clients is none either. */
bool clients_load(const char *file, struct client_list *l, char *why, size_t why_size);

/* Adds a client; makes the file (0644) where there is none.  Refuses a key that is there, or a list that is wrong. */
bool clients_add(const char *file, const struct client *c, char *why, size_t why_size);

#endif
