/* keys.c - see keys.h. */
#include "transport/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/rt/explain.h"

enum { FILE_MAX = 16 * 1024 };

static const char *const roles[] = { [ROLE_ROBOT] = "robot", [ROLE_LISTEN] = "listen" };

/* The keys that zmq_curve(7) prints "for test cases"; half of the world's examples use them. */
static const char *const published[] = {
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
};

const char *role_name(enum client_role r)
{
    return roles[r];
}

bool role_of_name(const char *name, enum client_role *r)
{
    for (int i = ROLE_ROBOT; i <= ROLE_LISTEN; i++)
        if (strcmp(name, roles[i]) == 0) {
            *r = (enum client_role)i;
            return true;
        }
    return false;
}

/* NULL, or what is wrong with the key. */
static const char *key_fault(const char *key)
{
    uint8_t byte[KEY_BYTES];
    int     equal = 1;

    if (strlen(key) != KEY_TEXT - 1 || !zmq_z85_decode(byte, key))
        return "expected a key, 40 characters of Z85";
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strcmp(key, published[i]) == 0)
            return "this key is a published example, which everybody has; make one with limber key";
    while (equal < KEY_BYTES && byte[equal] == byte[0])
        equal++;
    return equal == KEY_BYTES ? "all bytes of this key are equal; make one with limber key" : NULL;
}

/* ---- files ---- */

/* The whole text of a small regular file; *st is what it is. */
static bool read_text(const char *file, char text[FILE_MAX], struct stat *st, char *why, size_t size)
{
    int     fd   = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n    = -1;
    size_t  used = 0;

    if (fd < 0)
        return explain(why, size, "%s: %s", file, strerror(errno));
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        return explain(why, size, "%s: expected an ordinary file", file);
    }
    while (used < FILE_MAX - 1 && (n = read(fd, text + used, FILE_MAX - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    text[used] = 0;
    if (n != 0 || strlen(text) != used)
        return explain(why, size, "%s: %s", file, n < 0 ? strerror(errno) : "expected a text of at most 16 KiB");
    return true;
}

/* A new file of exactly this mode with this text, on disk. */
static bool write_new(const char *file, mode_t mode, const char *text, char *why, size_t size)
{
    size_t n  = strlen(text);
    int    fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return explain(why, size, "%s: %s", file,
                       errno == EEXIST ? "is there already; a key is never overwritten, remove it first"
                                       : strerror(errno));
    bool good  = fchmod(fd, mode) == 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    int  error = errno;
    close(fd);
    if (good)
        return true;
    unlink(file);
    return explain(why, size, "%s: cannot be written: %s", file, strerror(error));
}

/* ---- keys ---- */

/* "WORD KEY" and nothing else. */
static bool parse_key(const char *file, const char *text, const char *word, char key[KEY_TEXT], char *why, size_t size)
{
    size_t      len = strlen(word);
    const char *fault, *at = text + len + 1;

    if (strncmp(text, word, len) != 0 || text[len] != ' ')
        return explain(why, size, "%s: expected \"%s KEY\", as limber key writes it", file, word);
    if (strlen(at) < KEY_TEXT - 1 || at[KEY_TEXT - 1 + strspn(at + KEY_TEXT - 1, "\n")])
        return explain(why, size, "%s: expected one key of 40 characters after \"%s\"", file, word);
    snprintf(key, KEY_TEXT, "%s", at);
    if ((fault = key_fault(key)))
        return explain(why, size, "%s: %s", file, fault);
    return true;
}

/* The key of a file that nobody else may read. */
static bool load_secret(const char *file, const char *word, char key[KEY_TEXT], char *why, size_t size)
{
    char        text[FILE_MAX];
    struct stat st;
    bool        good = true;

    if (!read_text(file, text, &st, why, size))
        return false;
    if (st.st_mode & 077)
        good =
            explain(why, size, "%s: its mode is %04o, so others may know this secret: chmod 600 it, or make a new one",
                    file, (unsigned)st.st_mode & 07777);
    else if (st.st_uid != geteuid() && st.st_uid != 0)
        good = explain(why, size, "%s: belongs to user %u, expected %u, who runs this", file, (unsigned)st.st_uid,
                       (unsigned)geteuid());
    else
        good = parse_key(file, text, word, key, why, size);
    explicit_bzero(text, sizeof text);
    return good;
}

bool keys_load(const char *file, struct key_pair *k, char *why, size_t size)
{
    const char *fault;

    memset(k, 0, sizeof *k);
    if (!load_secret(file, "secret", k->secret, why, size))
        return false;
    if (zmq_curve_public(k->public, k->secret) != 0)
        return explain(why, size, "%s: this libzmq has no CURVE", file);
    if ((fault = key_fault(k->public))) /* the same secret in another guise */
        return explain(why, size, "%s: %s", file, fault);
    return true;
}

bool keys_load_signing(const char *file, uint8_t key[KEY_BYTES], char *why, size_t size)
{
    char text[KEY_TEXT];
    bool good = load_secret(file, "signing", text, why, size) && zmq_z85_decode(key, text);

    explicit_bzero(text, sizeof text);
    return good;
}

bool keys_load_public(const char *file, char public[KEY_TEXT], char *why, size_t size)
{
    char        text[FILE_MAX];
    struct stat st;

    return read_text(file, text, &st, why, size) && parse_key(file, text, "public", public, why, size);
}

bool keys_make(const char *file, struct key_pair *k, char *why, size_t size)
{
    char path[4096], text[KEY_TEXT + 16];

    if (snprintf(path, sizeof path, "%s.pub", file) >= (int)sizeof path)
        return explain(why, size, "%s: expected a shorter path", file);
    if (access(path, F_OK) == 0)
        return explain(why, size, "%s: is there already; a key is never overwritten, remove it first", path);
    if (zmq_curve_keypair(k->public, k->secret) != 0)
        return explain(why, size, "this libzmq has no CURVE");
    snprintf(text, sizeof text, "secret %s\n", k->secret);
    bool good = write_new(file, 0600, text, why, size);
    explicit_bzero(text, sizeof text);
    if (!good)
        return false;
    snprintf(text, sizeof text, "public %s\n", k->public);
    if (write_new(path, 0644, text, why, size))
        return true;
    unlink(file);
    return false;
}

bool keys_make_signing(const char *file, char *why, size_t size)
{
    uint8_t key[KEY_BYTES];
    char    z85[KEY_TEXT], text[KEY_TEXT + 16];

    if (getrandom(key, sizeof key, 0) != sizeof key)
        return explain(why, size, "no random bytes: %s", strerror(errno));
    snprintf(text, sizeof text, "signing %s\n", zmq_z85_encode(z85, key, sizeof key));
    bool good = write_new(file, 0600, text, why, size);
    explicit_bzero(key, sizeof key);
    explicit_bzero(z85, sizeof z85);
    explicit_bzero(text, sizeof text);
    return good;
}

/* ---- clients ---- */

/* NULL, or what is wrong with this line; blank lines and comments leave the list as it is. */
static const char *parse_client(char *line, struct client_list *l)
{
    static const char blank[] = " \t\r";
    char             *rest, *role, *key;
    const char       *fault;

    line += strspn(line, blank);
    if (!*line || *line == '#')
        return NULL;
    role = strtok_r(line, blank, &rest);
    key  = strtok_r(NULL, blank, &rest);
    if (!key)
        return "expected ROLE KEY [name]";
    if (l->n == CLIENTS_MAX)
        return "at most 64 clients can be listed";
    struct client *c = &l->client[l->n];
    memset(c, 0, sizeof *c);
    if (!role_of_name(role, &c->role))
        return "expected a role, robot or listen, at the start of the line";
    if ((fault = key_fault(key)))
        return fault;
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->client[i].key, key) == 0)
            return "this key is listed already, and a key has one role";
    snprintf(c->key, sizeof c->key, "%s", key);
    snprintf(c->name, sizeof c->name, "%s", rest ? rest + strspn(rest, blank) : "");
    l->n++;
    return NULL;
}

bool clients_load(const char *file, struct client_list *l, char *why, size_t size)
{
    char        text[FILE_MAX], *rest = text, *line;
    const char *fault;
    struct stat st;

    memset(l, 0, sizeof *l);
    if (!read_text(file, text, &st, why, size))
        return false;
    if (st.st_mode & 022)
        return explain(why, size, "%s: its mode is %04o, so others may add themselves: chmod go-w it", file,
                       (unsigned)st.st_mode & 07777);
    for (int number = 1; (line = strsep(&rest, "\n")); number++)
        if ((fault = parse_client(line, l))) {
            memset(l, 0, sizeof *l);
            return explain(why, size, "%s:%d: %s", file, number, fault);
        }
    if (l->n == 0)
        return explain(why, size, "%s: lists no client; limber key --allow adds one", file);
    return true;
}

bool clients_add(const char *file, const struct client *c, char *why, size_t size)
{
    struct client_list l;
    const char        *fault = key_fault(c->key);
    char               line[KEY_TEXT + CLIENT_NAME + 16];

    if (fault)
        return explain(why, size, "%s: %s", c->key, fault);
    snprintf(line, sizeof line, "%s %s%s%s\n", role_name(c->role), c->key, c->name[0] ? " " : "", c->name);
    if (access(file, F_OK) != 0)
        return write_new(file, 0644, line, why, size);
    if (!clients_load(file, &l, why, size))
        return false;
    for (int i = 0; i < l.n; i++)
        if (strcmp(l.client[i].key, c->key) == 0)
            return explain(why, size, "%s: lists this key already, as %s", file, role_name(l.client[i].role));
    if (l.n == CLIENTS_MAX)
        return explain(why, size, "%s: at most %d clients can be listed", file, CLIENTS_MAX);
    int  fd   = open(file, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    char last = '\n';
    bool good = fd >= 0 && lseek(fd, -1, SEEK_END) >= 0 && read(fd, &last, 1) == 1;
    if (good && last != '\n') /* an editor left the last line open */
        good = write(fd, "\n", 1) == 1;
    good      = good && write(fd, line, strlen(line)) == (ssize_t)strlen(line) && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return good ? true : explain(why, size, "%s: cannot be written: %s", file, strerror(error));
}
