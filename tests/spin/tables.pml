/* Printed by tests/spin/tables.c from daemon/mode.c and firmware-bridge/receiver.c; a test compares.
 * What is not listed stays as it is. */

#define BOOT 0
#define DISARMED 1
#define BASELINE 2
#define EXPLORE 3
#define ADVANCED 4
#define STOPPING 5
#define FAULT 6

#define EV_READY 0
#define EV_ARM 1
#define EV_PROMOTE 2
#define EV_EXPLORE 3
#define EV_DEMOTE 4
#define EV_STOP 5
#define EV_STOPPED 6
#define EV_FAULT 7
#define EV_RESET 8

#define OFF 0
#define LIVE 1
#define DAMP 2
#define LATCH 3

#define C_IDLE 0
#define C_TORQUE 1
#define C_DAMP 2

#define AFTER_READY(m) ((m) == BOOT -> DISARMED : (m))
#define AFTER_ARM(m) ((m) == DISARMED -> BASELINE : (m))
#define AFTER_PROMOTE(m) ((m) == BASELINE -> ADVANCED : (m))
#define AFTER_EXPLORE(m) ((m) == BASELINE -> EXPLORE : (m))
#define AFTER_DEMOTE(m) ((m) == EXPLORE -> BASELINE : ((m) == ADVANCED -> BASELINE : (m)))
#define AFTER_STOP(m) ((m) == BASELINE -> STOPPING : ((m) == EXPLORE -> STOPPING : ((m) == ADVANCED -> STOPPING : (m))))
#define AFTER_STOPPED(m) ((m) == STOPPING -> DISARMED : (m))
#define AFTER_FAULT(m) ((m) == BOOT -> FAULT : ((m) == DISARMED -> FAULT : ((m) == BASELINE -> FAULT : ((m) == EXPLORE -> FAULT : ((m) == ADVANCED -> FAULT : ((m) == STOPPING -> FAULT : (m)))))))
#define AFTER_RESET(m) ((m) == FAULT -> DISARMED : (m))

#define R_AFTER_IDLE(m) ((m) == LIVE -> OFF : ((m) == DAMP -> OFF : ((m) == LATCH -> OFF : (m))))
#define R_AFTER_TORQUE(m) ((m) == OFF -> LIVE : ((m) == DAMP -> LIVE : (m)))
#define R_AFTER_DAMP(m) ((m) == OFF -> DAMP : ((m) == LIVE -> DAMP : (m)))
#define R_AFTER_EXPIRED(m) ((m) == LIVE -> DAMP : (m))
#define R_AFTER_SILENT(m) ((m) == LIVE -> LATCH : ((m) == DAMP -> LATCH : (m)))
#define R_AFTER_ESTOP(m) ((m) == OFF -> LATCH : ((m) == LIVE -> LATCH : ((m) == DAMP -> LATCH : (m))))
