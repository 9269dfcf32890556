#include "transport/telemetry.h"

#include <string.h>

#include "proto/limber.pb-c.h"

size_t telemetry_pack(const struct telemetry *t, uint8_t *buf)
{
    Limber__V1__Telemetry m = LIMBER__V1__TELEMETRY__INIT;
    size_t                n = (size_t)t->nj;

    m.robot           = (char *)(uintptr_t)t->robot;
    m.tick            = t->tick;
    m.now_ns          = t->now_ns;
    m.mode            = t->mode;
    m.trial           = t->trial;
    m.step            = t->step;
    m.state_seq       = t->state_seq;
    m.n_position      = n;
    m.position        = (double *)(uintptr_t)t->position;
    m.n_velocity      = n;
    m.velocity        = (double *)(uintptr_t)t->velocity;
    m.n_effort        = n;
    m.effort          = (double *)(uintptr_t)t->effort;
    m.faults          = t->faults;
    m.filter          = t->filter;
    m.model_version   = t->model_version;
    m.plan_iterations = t->plan_iterations;
    m.wake_us         = t->wake_us;
    m.compute_us      = t->compute_us;
    return limber__v1__telemetry__pack(&m, buf);
}

bool telemetry_unpack(const uint8_t *buf, size_t len, struct telemetry *t)
{
    Limber__V1__Telemetry *m = limber__v1__telemetry__unpack(NULL, len, buf);

    memset(t, 0, sizeof *t);
    if (!m)
        return false;
    t->tick       = m->tick;
    t->now_ns     = m->now_ns;
    t->mode       = m->mode;
    t->trial      = m->trial;
    t->step       = m->step;
    t->faults     = m->faults;
    t->wake_us    = m->wake_us;
    t->compute_us = m->compute_us;
    limber__v1__telemetry__free_unpacked(m, NULL);
    return true;
}
