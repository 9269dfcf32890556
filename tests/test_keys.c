/* test_keys.c - key files, the list of clients, and limber key. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/test.h"
#include "transport/keys.h"

static char why[700], output[8192];

static const char *in_dir(const char *name)
{
    static char path[4][600];
    static int  i;

    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", test_dir(), name);
    return path[i];
}

static void spill(const char *path, mode_t mode, const char *text)
{
    FILE *f = fopen(path, "we");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0 || chmod(path, mode) != 0)
        abort();
}

static const char *slurp(const char *path)
{
    static char text[4096];
    FILE       *f = fopen(path, "re");
    size_t      n = f ? fread(text, 1, sizeof text - 1, f) : 0;

    text[n] = 0;
    if (f)
        fclose(f);
    return text;
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (unsigned)st.st_mode & 07777 : 0;
}

TEST(a_key_pair_is_made_once_with_its_modes_and_read_back)
{
    const char     *file = in_dir("robot.key");
    struct key_pair made, read;
    char public[KEY_TEXT];
    mode_t mask = umask(0);

    EXPECT(keys_make(file, &made, why, sizeof why));
    umask(mask);
    EXPECT(mode_of(file) == 0600 && mode_of(in_dir("robot.key.pub")) == 0644);
    EXPECT(keys_load(file, &read, why, sizeof why) && memcmp(&made, &read, sizeof made) == 0);
    EXPECT(keys_load_public(in_dir("robot.key.pub"), public, why, sizeof why) && strcmp(public, made.public) == 0);
    EXPECT(!keys_make(file, &read, why, sizeof why));
    EXPECT_STR(why, "never overwritten");
    EXPECT(keys_load(file, &read, why, sizeof why) && strcmp(read.secret, made.secret) == 0);
    EXPECT(keys_make(in_dir("other"), &read, why, sizeof why) && strcmp(read.secret, made.secret) != 0);
}

TEST(a_secret_that_others_can_read_is_refused)
{
    static const unsigned open_modes[] = { 0640, 0604, 0620, 0602, 0610, 0666 };
    const char           *file         = in_dir("robot.key");
    struct key_pair       k;

    EXPECT(keys_make(file, &k, why, sizeof why));
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        chmod(file, open_modes[i]);
        EXPECT(!keys_load(file, &k, why, sizeof why));
        EXPECT_STR(why, "others may know this secret");
    }
    chmod(file, 0400);
    EXPECT(keys_load(file, &k, why, sizeof why));
    if (geteuid() == 0) {
        EXPECT(chown(file, 65534, 65534) == 0);
        EXPECT(!keys_load(file, &k, why, sizeof why));
        EXPECT_STR(why, "belongs to user 65534");
    }
}

TEST(published_keys_keys_of_equal_bytes_and_what_is_no_key_are_refused)
{
    static const struct {
        const char *text, *reason;
    } bad[] = {
        { "secret D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\n", "published example" }, /* zmq_curve(7): client, server */
        { "secret JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6\n", "published example" },
        { "secret Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n", "published example" },
        { "secret 0000000000000000000000000000000000000000\n", "all bytes of this key are equal" },
        { "secret %nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0\n", "all bytes of this key are equal" }, /* 0xff */
        { "public D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\n", "expected \"secret KEY\"" },
        { "secret short\n", "one key of 40 characters" },
        { "secret rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7x\n", "one key of 40 characters" },
        { "secret ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n", "expected a key, 40 characters of Z85" },
        { "", "expected \"secret KEY\"" },
    };
    struct key_pair k;
    char            guise[128];
    uint8_t         byte[32];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spill(in_dir("key"), 0600, bad[i].text);
        EXPECT(!keys_load(in_dir("key"), &k, why, sizeof why));
        EXPECT_STR(why, bad[i].reason);
    }
    /* Curve25519 does not look at the lowest three bits of a secret: the test key with another last bit is the test key. */
    zmq_z85_decode(byte, "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs");
    byte[0] ^= 1;
    memcpy(guise, "secret ", 7);
    zmq_z85_encode(guise + 7, byte, sizeof byte);
    spill(in_dir("key"), 0600, guise);
    EXPECT(!keys_load(in_dir("key"), &k, why, sizeof why));
    EXPECT_STR(why, "published example");
    spill(in_dir("key.pub"), 0644, "public rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n");
    EXPECT(!keys_load_public(in_dir("key.pub"), guise, why, sizeof why));
    EXPECT_STR(why, "published example");
}

/* ---- the list ---- */

static char keys[3][KEY_TEXT];

static void make_three(void)
{
    char secret[KEY_TEXT];

    for (int i = 0; i < 3; i++)
        zmq_curve_keypair(keys[i], secret);
}

TEST(a_list_of_clients_is_read_and_grows)
{
    const char        *file = in_dir("clients");
    struct client_list l;
    struct client      c = { .role = ROLE_LISTEN, .name = "the logger" };
    char               text[400];

    make_three();
    snprintf(text, sizeof text, "# who may connect\n\n  robot\t%s  left arm\nlisten %s", keys[0],
             keys[1]); /* no last newline */
    spill(file, 0644, text);
    EXPECT(clients_load(file, &l, why, sizeof why) && l.n == 2);
    EXPECT(l.client[0].role == ROLE_ROBOT && strcmp(l.client[0].key, keys[0]) == 0 &&
           strcmp(l.client[0].name, "left arm") == 0);
    EXPECT(l.client[1].role == ROLE_LISTEN && l.client[1].name[0] == 0);
    snprintf(c.key, sizeof c.key, "%s", keys[2]);
    EXPECT(clients_add(file, &c, why, sizeof why));
    EXPECT(clients_load(file, &l, why, sizeof why) && l.n == 3 && strcmp(l.client[2].name, "the logger") == 0);
    EXPECT(!clients_add(file, &c, why, sizeof why));
    EXPECT_STR(why, "lists this key already, as listen");
    snprintf(c.key, sizeof c.key, "rq:rM>}U?@Lns47E1%%kR.o@n%%FcmmsL/@{H8]yf7");
    EXPECT(!clients_add(file, &c, why, sizeof why));
    EXPECT_STR(why, "published example");
}

TEST(one_wrong_line_makes_the_whole_list_empty)
{
    struct client_list l;
    char               text[600], good[100];
    static const struct {
        const char *line, *reason;
    } bad[] = {
        { "operator %s", "expected a role, robot or listen" },
        { "robot", "expected ROLE KEY" },
        { "robot %.39s", "expected a key, 40 characters of Z85" },
        { "robot %sx", "expected a key, 40 characters of Z85" },
        { "Robot %s", "expected a role" },
        { "robot Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "published example" },
        { "robot 0000000000000000000000000000000000000000", "all bytes of this key are equal" },
    };

    make_three();
    snprintf(good, sizeof good, "robot %s", keys[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *slot = strstr(bad[i].line, "%s") ? "%s" : strstr(bad[i].line, "%.39s") ? "%.39s" : NULL;
        int         head = slot ? (int)(strstr(bad[i].line, slot) - bad[i].line) : (int)strlen(bad[i].line);

        snprintf(text, sizeof text, "%s\n%.*s%.*s%s\n", good, head, bad[i].line, slot && slot[1] == '.' ? 39 : 40,
                 slot ? keys[1] : "", slot ? bad[i].line + head + strlen(slot) : "");
        spill(in_dir("clients"), 0644, text);
        EXPECT(!clients_load(in_dir("clients"), &l, why, sizeof why) && l.n == 0);
        EXPECT_STR(why, "clients:2: ");
        EXPECT_STR(why, bad[i].reason);
    }
    snprintf(text, sizeof text, "%s\nlisten %s\n", good, keys[0]);
    spill(in_dir("clients"), 0644, text);
    EXPECT(!clients_load(in_dir("clients"), &l, why, sizeof why) && l.n == 0);
    EXPECT_STR(why, "a key has one role");
}

TEST(a_list_that_others_can_write_or_without_clients_is_none)
{
    struct client_list l;
    char               text[100];

    make_three();
    snprintf(text, sizeof text, "robot %s\n", keys[0]);
    spill(in_dir("clients"), 0664, text);
    EXPECT(!clients_load(in_dir("clients"), &l, why, sizeof why) && l.n == 0);
    EXPECT_STR(why, "others may add themselves");
    chmod(in_dir("clients"), 0640);
    EXPECT(clients_load(in_dir("clients"), &l, why, sizeof why));
    spill(in_dir("clients"), 0644, "# nobody\n");
    EXPECT(!clients_load(in_dir("clients"), &l, why, sizeof why));
    EXPECT_STR(why, "lists no client");
    EXPECT(!clients_load(in_dir("missing"), &l, why, sizeof why));
    EXPECT(!clients_load(test_dir(), &l, why, sizeof why));
    EXPECT_STR(why, "expected an ordinary file");
}

/* ---- limber key ---- */

static int limber(const char *arguments)
{
    char command[2000];

    snprintf(command, sizeof command, "cd %s && %s/limber key %s 2>&1", test_dir(), test_build_dir(), arguments);
    return test_command(command, output, sizeof output);
}

TEST(three_commands_make_keys_for_both_sides_and_list_the_robot)
{
    struct client_list l;
    struct key_pair    daemon, robot;

    EXPECT(limber("daemon.key") == 0);
    EXPECT(keys_load(in_dir("daemon.key"), &daemon, why, sizeof why));
    EXPECT_STR(output, daemon.public);
    EXPECT(strstr(output, daemon.secret) == NULL);
    EXPECT(limber("robot.key") == 0 && limber("--allow clients --role robot --name 'left arm' robot.key.pub") == 0);
    EXPECT(keys_load(in_dir("robot.key"), &robot, why, sizeof why));
    EXPECT(clients_load(in_dir("clients"), &l, why, sizeof why) && l.n == 1 && l.client[0].role == ROLE_ROBOT);
    EXPECT(strcmp(l.client[0].key, robot.public) == 0 && strcmp(l.client[0].name, "left arm") == 0);
    EXPECT(strstr(slurp(in_dir("clients")), robot.secret) == NULL);
    EXPECT(limber("--public robot.key") == 0 && strncmp(output, robot.public, KEY_TEXT - 1) == 0);
    EXPECT(limber("--public robot.key.pub") == 0 && strncmp(output, robot.public, KEY_TEXT - 1) == 0);
}

TEST(wrong_use_of_limber_key_changes_nothing_and_says_why)
{
    EXPECT(limber("daemon.key") == 0);
    EXPECT(limber("daemon.key") == 73);
    EXPECT_STR(output, "never overwritten");
    EXPECT(limber("") == 64 && limber("--role robot daemon.key") == 64);
    EXPECT(limber("--allow clients daemon.key.pub") == 64);
    EXPECT_STR(output, "--role is missing: expected robot");
    EXPECT(limber("--allow clients --role operator daemon.key.pub") == 64);
    EXPECT(limber("--allow clients --role robot --name 'two\nlines' daemon.key.pub") == 64);
    EXPECT(access(in_dir("clients"), F_OK) != 0);
    EXPECT(limber("--allow clients --role robot daemon.key.pub") == 0);
    EXPECT(limber("--allow clients --role listen daemon.key.pub") == 78);
    EXPECT_STR(output, "lists this key already, as robot");
    chmod(in_dir("daemon.key"), 0644);
    EXPECT(limber("--public daemon.key") == 78);
    EXPECT_STR(output, "chmod 600");
}
