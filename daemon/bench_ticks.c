#include "daemon/bench_ticks.h"

#include <stdio.h>
#include <stdlib.h>

#include "transport/port.h"

struct bench_ticks {
    struct port *port;
    uint8_t      buf[CODEC_MAX_BYTES];
};

struct bench_ticks *bench_ticks_open(const char *run_dir)
{
    char                endpoint[600], why[700];
    struct port_options o = { .endpoint = endpoint, .core = -1 };
    struct bench_ticks *t = calloc(1, sizeof *t);

    snprintf(endpoint, sizeof endpoint, "ipc://%s/telemetry.sock", run_dir);
    if (t && (t->port = port_subscribe(&o, why, sizeof why)))
        return t;
    fprintf(stderr, "limber: %s\n", t ? why : "no memory");
    free(t);
    return NULL;
}

void bench_ticks_close(struct bench_ticks *t)
{
    if (t)
        port_close(t->port);
    free(t);
}

bool bench_ticks_next(struct bench_ticks *t, struct telemetry *tick)
{
    long n;

    while ((n = port_receive(t->port, NULL, NULL, t->buf, sizeof t->buf)) >= 0)
        if (n <= (long)sizeof t->buf && telemetry_unpack(t->buf, (size_t)n, tick))
            return true;
    return false;
}
