/* notify.h - what systemd is told: ready, alive, ending (sd_notify(3) describes the protocol: lines in one datagram to the
 * socket that NOTIFY_SOCKET names).  Not libsystemd's own, which waits where systemd does not read: the main loop answers
 * `limber stop`, and waits for nobody. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* Nothing happens where nobody asked to be told, or does not listen.  Main thread. */
__attribute__((format(printf, 1, 2))) void notify(const char *format, ...);

#endif
