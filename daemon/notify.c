#include "daemon/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINES_SIZE = 256 };

void notify(const char *format, ...)
{
    struct sockaddr_un to   = { .sun_family = AF_UNIX };
    const char        *path = getenv("NOTIFY_SOCKET");
    char               lines[LINES_SIZE];
    va_list            args;

    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (*path ==
        '@') /* no file: a name of the kernel's, which begins with a zero and has no other end than its length */
        to.sun_path[0] = 0;
    va_start(args, format);
    vsnprintf(lines, sizeof lines, format, args);
    va_end(args);

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (sendto(fd, lines, strnlen(lines, sizeof lines), MSG_NOSIGNAL, (const struct sockaddr *)&to, size) < 0) {
        /* said again with the next feeding of the watchdog, which is who would mind */
    }
    close(fd);
}
