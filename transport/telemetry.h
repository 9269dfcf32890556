/* telemetry.h - one tick as a Telemetry message for the PUB socket.  Main thread. */
#ifndef TRANSPORT_TELEMETRY_H
#define TRANSPORT_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/robot.h"

/* What listeners get of a tick; units as in proto/limber.proto. */
struct telemetry {
    const char *robot;
    uint64_t    tick, now_ns;
    uint32_t    mode, trial, step;
    uint64_t    state_seq;
    int         nj;
    double      position[MAX_JOINTS], velocity[MAX_JOINTS], effort[MAX_JOINTS];
    uint32_t    faults, filter;
    uint64_t    model_version;
    uint32_t    plan_iterations;
    double      wake_us, compute_us;
};

/* Bytes written to buf (CODEC_MAX_BYTES long). */
size_t telemetry_pack(const struct telemetry *t, uint8_t *buf);

/* What a listener needs of it: tick, now_ns, mode, trial, step, faults, wake_us, compute_us; the rest is zero.  False: not one. */
bool telemetry_unpack(const uint8_t *buf, size_t len, struct telemetry *t);

#endif
