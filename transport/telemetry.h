/* telemetry.h - one tick as a Telemetry message for the PUB socket.  Main thread. */
#ifndef TRANSPORT_TELEMETRY_H
#define TRANSPORT_TELEMETRY_H

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

#endif
