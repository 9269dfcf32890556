#include "daemon/mode.h"

/* clang-format off */
static const enum mode next[MODE_COUNT][EVENT_COUNT] = {
#define D MODE_DISARMED
#define B MODE_BASELINE
#define X MODE_EXPLORE
#define A MODE_ADVANCED
#define S MODE_STOPPING
#define F MODE_FAULT
    /*                    READY ARM       PROMOTE    EXPLORE    DEMOTE     STOP       STOPPED    FAULT RESET     */
    [MODE_BOOT]     = {   D,    MODE_BOOT, MODE_BOOT, MODE_BOOT, MODE_BOOT, MODE_BOOT, MODE_BOOT, F,    MODE_BOOT },
    [MODE_DISARMED] = {   D,    B,         D,         D,         D,         D,         D,         F,    D         },
    [MODE_BASELINE] = {   B,    B,         A,         X,         B,         S,         B,         F,    B         },
    [MODE_EXPLORE]  = {   X,    X,         X,         X,         B,         S,         X,         F,    X         },
    [MODE_ADVANCED] = {   A,    A,         A,         A,         B,         S,         A,         F,    A         },
    [MODE_STOPPING] = {   S,    S,         S,         S,         S,         S,         D,         F,    S         },
    [MODE_FAULT]    = {   F,    F,         F,         F,         F,         F,         F,         F,    D         },
#undef D
#undef B
#undef X
#undef A
#undef S
#undef F
};
/* clang-format on */

enum mode mode_next(enum mode m, enum mode_event e)
{
    return next[m][e];
}

const char *mode_name(enum mode m)
{
    static const char *const name[MODE_COUNT] = { "BOOT",     "DISARMED", "BASELINE", "EXPLORE",
                                                  "ADVANCED", "STOPPING", "FAULT" };
    return name[m];
}

bool mode_armed(enum mode m)
{
    return m == MODE_BASELINE || m == MODE_EXPLORE || m == MODE_ADVANCED;
}
