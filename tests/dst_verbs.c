/* dst_verbs.c - the faults by name, and runs as lines of text. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/dst.h"

#define VERB(name, rate, bits)                               \
    {                                                        \
#name, offsetof(struct dst_faults, name), rate, bits \
    }

const struct dst_verb dst_verbs[] = {
    VERB(state_lost, 0.05, FAULT_STATE_MISSING),
    VERB(state_twice, 0.05, 0),
    VERB(state_late, 0.05, FAULT_STATE_MISSING),
    VERB(state_old, 0.05, FAULT_STATE_MISSING),
    VERB(state_nan, 0.02, FAULT_STATE_NONFINITE),
    VERB(state_range, 0.02, FAULT_STATE_RANGE),
    VERB(state_jump, 0.02, FAULT_STATE_JUMP),
    VERB(sensor_stuck, 0.01, FAULT_SENSOR_STUCK),
    VERB(velocity_stuck, 0.01, FAULT_SENSOR_STUCK),
    VERB(sensor_slow, 0.01, FAULT_DRIFT),
    VERB(sensor_garbage, 0.002, FAULT_DRIFT | FAULT_MISPREDICTED),
    VERB(sender_clock, 0.05, 0),
    VERB(silence, 0.005, FAULT_STATE_STALE),
    VERB(command_lost, 0.05, 0),
    VERB(command_twice, 0.1, 0),
    VERB(command_old, 0.1, 0),
    VERB(command_garbage, 0.1, 0),
    VERB(plan_lost, 0.05, FAULT_PLAN_LATE),
    VERB(plan_late, 0.05, FAULT_PLAN_LATE),
    VERB(plan_nan, 0.01, FAULT_PLAN_BAD),
    VERB(plan_wild, 0.01, FAULT_PLAN_BAD),
    VERB(spread_nan, 0.01, FAULT_UNCERTAIN),
    VERB(plan_limit, 0.005, FAULT_LIMIT_DWELL),
    VERB(plan_reverse, 0.005, FAULT_OSCILLATION),
    VERB(plan_pump, 0.005, FAULT_ENERGY),
    VERB(motor_weak, 0.01, FAULT_TRACK_ERROR),
    VERB(plant_heavy, 0.002, FAULT_DRIFT),
    VERB(tick_late, 0.02, FAULT_TICK_LATE),
    VERB(estop, 0.002, FAULT_ESTOP),
    VERB(robot_fault, 0.002, FAULT_ROBOT),
    VERB(restart, 0.002, FAULT_SESSION),
    VERB(syscall_refused, 0.002, FAULT_SYSCALL),
    VERB(stop, 0.01, 0),
    VERB(disarm, 0.01, 0),
    VERB(state_corrupt, 0.03, FAULT_LINK_DAMAGED),
    VERB(command_corrupt, 0.03, 0),
    VERB(robot_clamps, 0.005, FAULT_ROBOT_CLAMPED),
};

int dst_verb_count(void)
{
    return (int)(sizeof dst_verbs / sizeof dst_verbs[0]);
}

static void verb_run(uint64_t seed, uint64_t ticks, uint64_t verbs, double effort_rate,
                     const struct dst_change *change, struct dst_result *r)
{
    static struct robot_config c;
    struct dst_options         o = { .seed          = seed,
                                     .ticks         = ticks,
                                     .config        = &c,
                                     .cheap         = true,
                                     .operator_arms = true,
                                     .faults        = { .arm = 0.05, .reset = 0.05 } };

    if (change)
        o.change = *change;
    dst_config(&c);
    c.joint[0].effort_rate = c.joint[0].effort_rate_down = effort_rate;
    c.gates.spread   = (struct gate_config){ .calibrated = true };
    c.gates.residual = (struct gate_config){ .calibrated = true };
    c.gates.drift    = (struct gate_config){ .threshold = 5 };
    c.gates.interventions = (struct gate_config){ .threshold = 10 };
    c.gates.limit_dwell   = (struct gate_config){ .threshold = 0.5 };
    c.gates.oscillation   = (struct gate_config){ .threshold = 5 };
    c.gates.energy        = (struct gate_config){ .threshold = 600 };
    c.joint[0].effort_error = effort_rate < 15000 ? 0 : 10; /* a robot side that begins again does not give what is commanded */
    for (int i = 0; i < dst_verb_count(); i++)
        if (verbs >> i & 1)
            *(double *)((char *)&o.faults + dst_verbs[i].at) = dst_verbs[i].rate;
    dst_run(&o, r);
}

void dst_verb_run(uint64_t seed, uint64_t ticks, uint64_t verbs, struct dst_result *r)
{
    verb_run(seed, ticks, verbs, 15000, NULL, r);
}

void dst_slow_run(uint64_t seed, uint64_t ticks, uint64_t verbs, struct dst_result *r)
{
    verb_run(seed, ticks, verbs, 1000, NULL, r);
}

void dst_change_run(uint64_t seed, uint64_t ticks, const struct dst_change *change, struct dst_result *r)
{
    uint64_t heavy = 0;

    for (int i = 0; i < dst_verb_count(); i++)
        heavy |= strcmp(dst_verbs[i].name, "plant_heavy") == 0 ? (uint64_t)1 << i : 0;
    verb_run(seed, ticks, heavy, 15000, change, r);
}

double dst_noticed(const struct dst_result *r, int n, uint64_t *of)
{
    uint64_t seen = 0;

    for (int i = 1; i <= n; i++)
        seen += r->noticed[i];
    *of = seen + r->unnoticed[n];
    return *of ? (double)seen / (double)*of : 0;
}

void dst_line(uint64_t seed, uint64_t ticks, uint64_t verbs, char *line, size_t size)
{
    int n = snprintf(line, size, "seed=%" PRIu64 " ticks=%" PRIu64 " faults=", seed, ticks);

    for (int i = 0; i < dst_verb_count(); i++)
        if (verbs >> i & 1 && n > 0 && (size_t)n < size)
            n += snprintf(line + n, size - (size_t)n, "%s%s", line[n - 1] == '=' ? "" : ",", dst_verbs[i].name);
}

/* Bit of the verb of that name, 0: there is none. */
static uint64_t verb_named(const char *name, size_t length)
{
    for (int i = 0; i < dst_verb_count(); i++)
        if (strlen(dst_verbs[i].name) == length && strncmp(dst_verbs[i].name, name, length) == 0)
            return (uint64_t)1 << i;
    return 0;
}

int dst_line_run(const char *line, struct dst_result *r)
{
    uint64_t seed, ticks, verbs = 0;
    int      at = 0;

    if (sscanf(line, "seed=%" SCNu64 " ticks=%" SCNu64 " faults=%n", &seed, &ticks, &at) != 2 || !at) {
        printf("    \"%s\": expected seed=N ticks=N faults=NAME,NAME\n", line);
        return -1;
    }
    for (const char *p = line + at; *p; p += *p == ',') {
        size_t   length = strcspn(p, ",");
        uint64_t bit    = verb_named(p, length);

        if (!bit) {
            printf("    \"%.*s\": no such fault\n", (int)length, p);
            return -1;
        }
        verbs |= bit;
        p += length;
    }
    dst_verb_run(seed, ticks, verbs, r);
    return 0;
}
