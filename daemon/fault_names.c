#include "daemon/fault_names.h"

#include <assert.h>

#include "daemon/core.h"

/* In the order of the bits. */
const struct fault_text fault_texts[] = {
    { "state_missing", "no new joint state" },
    { "state_stale", "no good joint state for too long" },
    { "state_nonfinite", "joint state rejected: a number is NaN or infinite" },
    { "state_range", "joint state rejected: beyond what the joint can do" },
    { "state_jump", "joint state rejected: further than velocity allows" },
    { "state_rejected", "three joint states in a row rejected" },
    { "position", "a joint beyond its position limit and margin" },
    { "estop", "emergency stop pressed" },
    { "robot", "the robot side reports a fault" },
    { "session", "the robot side began a new session" },
    { "plan_late", "no plan came in time" },
    { "plan_bad", "the plan was not finite or out of bounds" },
    { "effort", "the baseline's effort was not finite" },
    { "gates", "five gate trips within a minute" },
    { "stall", "the control thread did not run" },
    { "sensor_stuck", "a joint's sensor stands still while another says that it moves" },
    { "sensor", "a joint's sensor stood still for fifty ticks while another said that it moves" },
    { "tick_late", "a tick came more than half a period late" },
    { "ticks_late", "three of the last hundred ticks came late" },
    { "uncertain", "the nets disagree about where the plan leads" },
    { "mispredicted", "the last prediction was wrong" },
    { "drift", "predictions have become worse" },
    { "unrecoverable", "the plan leads where no brake helps" },
    { "syscall", "a real-time thread made a system call that is not on its list" },
    { "track_error", "a joint's measured effort is not the commanded one" },
    { "limit_dwell", "a joint's effort has stood at its limit for too long" },
    { "oscillation", "a joint's effort goes from one side to the other too often" },
    { "energy", "efforts have put too much energy into the robot" },
    { "link_damaged", "three of the robot side's last ten messages came damaged" },
    { "robot_clamped", "the robot side changed what it was commanded in three of its last ten states" },
};
static_assert(sizeof fault_texts / sizeof *fault_texts == FAULT_COUNT, "every bit has a name");
const int fault_text_count = sizeof fault_texts / sizeof *fault_texts;

const struct fault_text filter_texts[] = {
    { "nonfinite", "torque filter: wanted effort not finite, the baseline's instead" },
    { "envelope", "torque filter: no effort towards a limit that is too near to brake before" },
    { "absolute", "torque filter: clipped to the effort limit" },
    { "rate", "torque filter: change clipped to the rate limit" },
    { "window", "torque filter: growth within 250 ms clipped to effort_growth" },
    { "power", "torque filter: clipped to the power limit" },
    { "damp", "torque filter: not even the baseline's effort was finite, damping" },
    { "thermal", "torque filter: clipped to what the motor's heat still allows" },
};
const int filter_text_count = sizeof filter_texts / sizeof *filter_texts;
static_assert(sizeof filter_texts / sizeof *filter_texts == FILTER_STAGES, "every stage has a name");
