/* disturb.c - see disturb.h. */
#include "daemon/disturb.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport/port.h"

enum { CLIENTS = 1000, PEERS = 4, LOG_MAX = 16 << 20 };

const char *disturbance_name(enum disturbance_kind k)
{
    static const char *const name[DISTURBANCES] = { "nothing",      "trainer",  "log storm",
                                                    "1000 clients", "messages", "disk full" };

    return name[k];
}

bool disturb_small_disk(const char *run_dir)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           (mkdir(run_dir, 0750) == 0 || errno == EEXIST) &&
           mount("limber", run_dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=0750") == 0;
}

/* ---- the trainer ---- */

/* The daemon's only child, 0: none. */
static pid_t trainer_of(pid_t daemon)
{
    char path[64];
    int  pid = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)daemon, (int)daemon);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%d", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    return pid;
}

static void trainer_may_run(const struct disturbance *d, bool may)
{
    pid_t pid = trainer_of(d->daemon);

    if (pid > 0)
        kill(pid, may ? SIGCONT : SIGSTOP);
}

/* Processor time of the trainer so far, clock ticks. */
static unsigned long trainer_time(const struct disturbance *d)
{
    char          path[64], line[600] = "";
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)trainer_of(d->daemon));
    FILE *f = fopen(path, "re");
    if (f) {
        const char *end = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL; /* of the name, the second field */

        if (end && sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
            user = system = 0;
        fclose(f);
    }
    return user + system;
}

void disturb_release(const struct disturbance *d)
{
    trainer_may_run(d, true);
}

/* ---- threads ---- */

static bool goes_on(struct disturbance *d)
{
    return !atomic_load(&d->stop);
}

static void log_storm(struct disturbance *d)
{
    static const char line[] =
        "limber: a line of some length, as a program that is in trouble writes again and again and again\n";
    char path[600];

    snprintf(path, sizeof path, "%s/storm.log", d->run_dir);
    FILE *f = fopen(path, "we");
    while (f && goes_on(d)) {
        fputs(line, f);
        if (++d->done % 4096 == 0 && (fflush(f) != 0 || fdatasync(fileno(f)) != 0 || ftell(f) > LOG_MAX)) {
            clearerr(f);
            if (ftruncate(fileno(f), 0) != 0)
                break;
            rewind(f);
        }
    }
    if (f)
        fclose(f);
    unlink(path);
}

static int client_open(const char *run_dir)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if ((size_t)snprintf(at.sun_path, sizeof at.sun_path, "%s/status.sock", run_dir) < sizeof at.sun_path && fd >= 0 &&
        connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

enum client_kind { CLIENT_SLOW, CLIENT_HALF, CLIENT_FLOOD, CLIENT_KINDS };

/* One look at one client; returns its socket, -1: ended. */
static int client_step(int fd, enum client_kind kind, bool fresh, unsigned long *answers)
{
    static const char request[] = "GET /status HTTP/1.1\r\nHost: limber\r\n\r\n";
    char              text[16384];

    if (fresh && send(fd, request, kind == CLIENT_HALF ? 9 : sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
        errno != EAGAIN) {
        close(fd);
        return -1;
    }
    ssize_t n = recv(fd, text, kind == CLIENT_SLOW ? 1 : sizeof text, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return fd;
    *answers += n > 0;
    if (n > 0 && kind != CLIENT_FLOOD)
        return fd;
    close(fd);
    return -1;
}

static void clients(struct disturbance *d)
{
    int *fd = malloc(CLIENTS * sizeof *fd);

    if (!fd)
        return;
    for (int i = 0; i < CLIENTS; i++)
        fd[i] = -1;
    while (goes_on(d)) {
        for (int i = 0; i < CLIENTS; i++) {
            bool fresh = fd[i] < 0;

            if (fresh)
                fd[i] = client_open(d->run_dir);
            if (fd[i] >= 0)
                fd[i] = client_step(fd[i], (enum client_kind)(i % CLIENT_KINDS), fresh, &d->done);
        }
        usleep(1000);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    free(fd);
}

static void messages(struct disturbance *d)
{
    char                endpoint[600], why[300];
    uint8_t             garbage[400];
    struct port        *peer[PEERS] = { 0 };
    struct port_options o           = { .endpoint = endpoint, .core = -1 };

    memset(garbage, 0xa5, sizeof garbage);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/robot.sock", d->run_dir);
    for (int i = 0; i < PEERS; i++)
        peer[i] = port_connect(&o, why, sizeof why);
    while (goes_on(d)) {
        bool any = false;

        for (int i = 0; i < PEERS; i++) {
            bool sent = peer[i] && port_send(peer[i], NULL, 0, garbage, sizeof garbage);
            any       = any || sent;
            d->done += sent;
        }
        if (!any)
            usleep(200);
    }
    for (int i = 0; i < PEERS; i++)
        port_close(peer[i]);
}

/* Files of the daemon may not grow at all (it must have been started with SIGXFSZ ignored). */
static void limit_files(struct disturbance *d)
{
    struct rlimit before, none;

    if (prlimit(d->daemon, RLIMIT_FSIZE, NULL, &before) != 0)
        return;
    none          = before;
    none.rlim_cur = 1;
    d->done += prlimit(d->daemon, RLIMIT_FSIZE, &none, NULL) == 0;
    while (goes_on(d))
        usleep(10000);
    prlimit(d->daemon, RLIMIT_FSIZE, &before, NULL);
}

static void fill_disk(struct disturbance *d)
{
    static char block[1 << 16];
    char        path[600];

    if (!d->small_disk) {
        limit_files(d);
        return;
    }
    snprintf(path, sizeof path, "%s/filler", d->run_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (fd >= 0 && goes_on(d)) {
        ssize_t n = write(fd, block, sizeof block);

        if (n > 0)
            d->done += (unsigned long)n;
        else
            usleep(10000);
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
}

static void *run(void *arg)
{
    static void (*const work[DISTURBANCES])(struct disturbance *) = { [DISTURB_LOG]      = log_storm,
                                                                      [DISTURB_CLIENTS]  = clients,
                                                                      [DISTURB_MESSAGES] = messages,
                                                                      [DISTURB_DISK]     = fill_disk };
    struct disturbance *d                                         = arg;

    work[d->kind](d);
    return NULL;
}

int disturb_begin(struct disturbance *d, enum disturbance_kind k)
{
    d->kind = k;
    d->done = 0;
    atomic_store(&d->stop, false);
    trainer_may_run(d, k == DISTURB_TRAINER);
    if (k == DISTURB_NOTHING || k == DISTURB_TRAINER) {
        d->trained = trainer_time(d);
        return 0;
    }
    int bad    = pthread_create(&d->thread, NULL, run, d);
    d->running = !bad;
    return -bad;
}

void disturb_end(struct disturbance *d)
{
    atomic_store(&d->stop, true);
    if (d->kind == DISTURB_TRAINER)
        d->done = trainer_time(d) - d->trained;
    if (d->running)
        pthread_join(d->thread, NULL);
    d->running = false;
    trainer_may_run(d, true);
}
