/* mode.h - who may move the robot right now, as a table, so that every case has been thought about.
 *
 * BOOT      start-up, no session yet           DISARMED  no torque, heartbeats only
 * BASELINE  armed; the verified controller      EXPLORE   armed; bounded seeded excitation (trial 0)
 * ADVANCED  armed; the learned plan             STOPPING  controlled stop; ends disarmed, never armed
 * FAULT     latched; needs an operator's reset
 *
 * Arming leads to BASELINE only; ADVANCED and EXPLORE are reached from BASELINE only; nothing re-arms by itself. */
#ifndef DAEMON_MODE_H
#define DAEMON_MODE_H

#include <stdbool.h>

enum mode {
    MODE_BOOT,
    MODE_DISARMED,
    MODE_BASELINE,
    MODE_EXPLORE,
    MODE_ADVANCED,
    MODE_STOPPING,
    MODE_FAULT,
    MODE_COUNT,
};

enum mode_event {
    EVENT_READY,    /* self-tests done                                     */
    EVENT_ARM,      /* operator, all pre-arm checks hold                   */
    EVENT_PROMOTE,  /* gates good for long enough                          */
    EVENT_EXPLORE,  /* an exploration trial begins                         */
    EVENT_DEMOTE,   /* gate trip, or the trial is over                     */
    EVENT_STOP,     /* operator stop or disarm, stale state, limit, ...    */
    EVENT_STOPPED,  /* standstill or the cap                               */
    EVENT_FAULT,    /* e-stop, motor fault, new session while armed, ...   */
    EVENT_RESET,    /* operator, cause gone                                */
    EVENT_COUNT,
};

enum mode   mode_next(enum mode m, enum mode_event e);
const char *mode_name(enum mode m);

/* Torque may be commanded: BASELINE, EXPLORE, ADVANCED. */
bool mode_armed(enum mode m);

#endif
