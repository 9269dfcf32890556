/* test_access.c - who may do what on limberd's two HTTP sockets, and what rude clients can (not) do: a real daemon, other
 * users by setpriv. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fixture.h"
#include "tests/test.h"

enum { MANY = 64 };

static char output[65536];

static int shell(const char *format, const char *a, const char *b, const char *c)
{
    char command[2048];

    snprintf(command, sizeof command, format, a, b, c);
    return test_command(command, output, sizeof output);
}

/* curl's exit code as another user (setpriv's flags); the answer is in output. */
static int as(const char *who, const char *socket_path, const char *request)
{
    return shell("setpriv %s curl -sS -m 30 --unix-socket %s %s 2>&1", who, socket_path, request);
}

static const char *socket_of(const struct fixture *f, const char *name)
{
    static char path[2][300];
    static int  i;

    i ^= 1;
    snprintf(path[i], sizeof path[i], "%s/%s", f->dir, name);
    return path[i];
}

TEST(the_operators_socket_is_for_the_daemons_user_root_and_group_whatever_its_mode)
{
    struct fixture f;
    struct stat    st;
    char           member[200];
    const char    *nobody = "--reuid=65534 --regid=65534 --clear-groups";

    if (geteuid() != 0) {
        printf("    only root can be somebody else: not tried\n");
        return;
    }
    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    chmod(test_dir(), 0755);
    chmod(f.dir, 0755);
    const char *control = socket_of(&f, "control.sock"), *status = socket_of(&f, "status.sock");
    EXPECT(stat(control, &st) == 0 && (st.st_mode & 0777) == 0660 && st.st_gid == getegid());
    EXPECT(stat(status, &st) == 0 && (st.st_mode & 0777) == 0666);

    EXPECT(as(nobody, status, "http://limber/status") == 0);
    EXPECT_STR(output, "\"mode\"");
    EXPECT(as(nobody, status, "-d '{}' http://limber/stop") == 0);
    EXPECT_STR(output, "this socket is read-only");
    EXPECT(as(nobody, control, "-d '{}' http://limber/stop") == 7); /* curl: cannot connect */

    EXPECT(chmod(control, 0666) == 0); /* somebody opens it up */
    EXPECT(as(nobody, control, "-d '{}' http://limber/stop") == 0);
    EXPECT_STR(output, "user 65534 may not operate this robot");
    EXPECT(as(nobody, control, "http://limber/status") == 0);
    EXPECT_STR(output, "may not operate");
    snprintf(member, sizeof member, "--reuid=65534 --regid=65534 --groups=65534,%d", (int)getegid());
    EXPECT(as(member, control, "-d '{}' http://limber/disarm") == 0);
    EXPECT_STR(output, "\"ok\":true");
    EXPECT(as("--reuid=65534 --regid=0 --clear-groups", control, "-d '{}' http://limber/disarm") == 0);
    EXPECT_STR(output, getegid() == 0 ? "\"ok\":true" : "may not operate");
    EXPECT(fixture_post(&f, "/disarm", NULL, NULL, 0)); /* root, and the daemon's own user */

    EXPECT(as(nobody, status, "http://limber/status") == 0);
    EXPECT_STR(output, "\"kind\":\"auth_refused\",\"text\":\"user 65534 may not operate");
    EXPECT(fixture_wait(&f, "latched", "false", 1)); /* nobody's stop did not happen */
    fixture_end(&f);
}

/* ---- rude clients ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%.107s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1; /* the queue is full: as good */
    }
    return fd;
}

static void doze(void)
{
    usleep(100000);
}

/* Whether the other end has hung up, after reading what it said. */
static bool hung_up(int fd)
{
    char    drop[4096];
    ssize_t n;

    while ((n = recv(fd, drop, sizeof drop, 0)) > 0)
        ;
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

static const char *const rude[] = {
    "GET /sta",                                                        /* never goes on      */
    "GET /status HTTP/1.1\r\nHost: x\r\nX: ",                          /* a line without end */
    "POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n{", /* a body without end */
    "",                                                                /* says nothing       */
};
enum { RUDE = sizeof rude / sizeof *rude };

TEST(a_client_that_sends_a_byte_now_and_then_is_cut_off)
{
    struct fixture f;
    int            fd[RUDE], left = RUDE;

    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    for (int i = 0; i < RUDE; i++) {
        fd[i] = connect_to(socket_of(&f, "status.sock"));
        EXPECT(fd[i] >= 0);
        send(fd[i], rude[i], strlen(rude[i]), MSG_NOSIGNAL);
    }
    for (int round = 0; left && round < 600; round++, doze())
        for (int i = 0; i < RUDE; i++) {
            if (fd[i] >= 0 && hung_up(fd[i])) {
                close(fd[i]);
                fd[i] = -1;
                left--;
            } else if (fd[i] >= 0 && rude[i][0] && round % 10 == 0) {
                send(fd[i], "x", 1, MSG_NOSIGNAL); /* within the 5 s of idling */
            }
        }
    EXPECT(left == 0);
    fixture_end(&f);
}

TEST(rude_clients_on_the_status_socket_leave_the_operator_alone_and_lose_their_places)
{
    struct fixture f;
    const char    *ask = "GET /status HTTP/1.1\r\nHost: x\r\n\r\n";
    int            fd[MANY];
    char           text[300];
    bool           in = false;

    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    double before = fixture_number(&f, "memory.resident_kb");
    for (int i = 0; i < MANY; i++) {
        fd[i] = connect_to(socket_of(&f, "status.sock"));
        if (fd[i] >= 0 && i % 2) /* slow readers: a megabyte of answers asked for, none read */
            for (int n = 0; n < 200 && send(fd[i], ask, strlen(ask), MSG_NOSIGNAL) > 0; n++)
                ;
        else if (fd[i] >= 0)
            send(fd[i], rude[i / 2 % RUDE], strlen(rude[i / 2 % RUDE]), MSG_NOSIGNAL);
    }
    for (int i = 0; i < 10; i++)
        EXPECT(fixture_post(&f, "/disarm", NULL, text, sizeof text));
    EXPECT(shell("curl -sS -m 30 --unix-socket %s http://limber/status%s%s 2>&1", socket_of(&f, "control.sock"), "",
                 "") == 0);
    EXPECT_STR(output, "\"mode\"");
    for (int i = 0; i < 600 && !in; i++, doze()) /* they hold on; it is the daemon that lets go */
        in = shell("curl -sS -m 2 --unix-socket %s http://limber/status%s%s 2>&1", socket_of(&f, "status.sock"), "",
                   "") == 0;
    EXPECT(in);
    EXPECT(fixture_number(&f, "memory.resident_kb") < before + 8192);
    for (int i = 0; i < MANY; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    fixture_end(&f);
}

/* A header line of a megabyte: answered by an error or by hanging up, long before its end. */
static bool line_refused(const char *path)
{
    static char block[65536];
    char        head[100] = "GET /status HTTP/1.1\r\nHost: x\r\nX: ";
    int         fd = connect_to(path), sent = 0;

    memset(block, 'y', sizeof block);
    EXPECT(fd >= 0 && send(fd, head, strlen(head), MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 100 && sent < 1 << 20; i++) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (int)n : 0;
        if (n < 0)
            doze();
    }
    ssize_t n = recv(fd, block, 12, 0);
    close(fd);
    return sent < 1 << 20 && (n <= 0 || memcmp(block, "HTTP/1.1 4", 10) == 0);
}

TEST(lines_and_bodies_beyond_their_size_are_refused)
{
    struct fixture f;

    fixture_init(&f, NULL);
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(shell("head -c 5000 /dev/zero | tr '\\0' ' ' | curl -sS -m 30 --unix-socket %s --data-binary @- "
                 "http://limber/stop%s%s 2>&1",
                 socket_of(&f, "control.sock"), "", "") == 0);
    EXPECT_STR(output, "the body may have 4096 bytes");
    EXPECT(fixture_wait(&f, "latched", "false", 1));
    EXPECT(line_refused(socket_of(&f, "status.sock")));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 5)); /* it is still there */
    fixture_end(&f);
}
