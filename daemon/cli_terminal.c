/* cli_terminal.c - see cli_terminal.h. */
#include "daemon/cli_terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

bool terminal_wants_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

/* What ends a program in order; a hangup does not where it was started to outlive its terminal (nohup). */
static void ending(sigset_t *mask)
{
    struct sigaction hangup;

    sigemptyset(mask);
    sigaddset(mask, SIGINT);
    sigaddset(mask, SIGTERM);
    sigaddset(mask, SIGQUIT);
    if (sigaction(SIGHUP, NULL, &hangup) != 0 || hangup.sa_handler != SIG_IGN)
        sigaddset(mask, SIGHUP);
}

static void size(int *width, int *height)
{
    struct winsize w = { 0 };

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
    *width  = w.ws_col ? w.ws_col : 80;
    *height = w.ws_row ? w.ws_row : 24;
}

int terminal_width(void)
{
    int width, height;

    size(&width, &height);
    return isatty(STDOUT_FILENO) ? width : 0;
}

void terminal_open(struct terminal *t, bool keys, bool colour)
{
    const char *term = getenv("TERM");
    sigset_t    mask;

    memset(t, 0, sizeof *t);
    t->tty    = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    t->colour = colour && terminal_wants_colour();
    size(&t->width, &t->height);

    ending(&mask);
    sigaddset(&mask, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &mask, &t->old_mask) == 0);
    t->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    CHECK(t->signals >= 0);

    if (keys && t->tty && tcgetattr(STDIN_FILENO, &t->old_keys) == 0) {
        struct termios raw = t->old_keys;

        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        t->keys = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    fflush(stdout);
}

void terminal_close(struct terminal *t)
{
    terminal_keep(t);
    if (t->keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->old_keys);
    close(t->signals);

    /* What came in meanwhile has been answered by closing; it must not strike when the mask falls. */
    struct timespec now = { 0 };
    sigset_t        pending;

    ending(&pending);
    while (sigtimedwait(&pending, NULL, &now) > 0)
        ;
    sigprocmask(SIG_SETMASK, &t->old_mask, NULL);
}

/* Line by line over the old picture, and only then away with what is left of it: nothing flickers. */
void terminal_draw(struct terminal *t, const struct screen *picture)
{
    const char *p = picture->text ? picture->text : "";

    if (!t->tty)
        return;
    if (t->drawn)
        printf("\033[%dA\r", t->drawn);
    t->drawn = 0;
    size(&t->width, &t->height);
    fputs("\033[?25l", stdout);
    while (*p && t->drawn < t->height - 1) {
        size_t n = strcspn(p, "\n");

        printf("%.*s\033[K\n", (int)n, p);
        t->drawn++;
        p += n + (p[n] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

void terminal_erase(struct terminal *t)
{
    if (t->tty && t->drawn)
        printf("\033[%dA\r\033[J", t->drawn);
    t->drawn = 0;
}

void terminal_keep(struct terminal *t)
{
    if (t->tty)
        fputs("\033[0m\033[?25h", stdout);
    t->drawn = 0;
    fflush(stdout);
}

static enum wake read_signal(struct terminal *t)
{
    struct signalfd_siginfo info;
    enum wake               w = WAKE_TIME;

    while (read(t->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            return WAKE_INTERRUPT;
        w = WAKE_CHILD;
    }
    return w;
}

static enum wake read_key(struct terminal *t)
{
    char    key;
    ssize_t n = read(STDIN_FILENO, &key, 1);

    if (n == 1)
        return key == 'q' || key == 'Q' || key == 3 ? WAKE_KEY : WAKE_TIME;
    if (n == 0 || (errno != EINTR && errno != EAGAIN))
        t->keys = false; /* nobody will type there any more */
    return WAKE_TIME;
}

enum wake terminal_wait(struct terminal *t, double seconds)
{
    uint64_t      until = clock_now_ns() + (uint64_t)(seconds * 1e9);
    struct pollfd p[2]  = { { .fd = t->signals, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };

    for (;;) {
        uint64_t  now  = clock_now_ns();
        int       left = now >= until ? 0 : (int)((until - now + NS_PER_MS - 1) / NS_PER_MS);
        int       n    = poll(p, t->keys ? 2 : 1, left);
        enum wake w    = WAKE_TIME;

        if (n > 0 && p[0].revents)
            w = read_signal(t);
        else if (n > 0 && t->keys && p[1].revents)
            w = read_key(t);
        if (w != WAKE_TIME || now >= until)
            return w;
    }
}
