/* last_ten.h - three of the last ten are too many: one rule for damaged
 * messages at both ends, and for commands that the robot side changed.  Bit 0 is the newest; 0 to begin with. */
#ifndef PROTO_LAST_TEN_H
#define PROTO_LAST_TEN_H

#include <stdbool.h>
#include <stdint.h>

static inline uint16_t last_ten(uint16_t before, bool bad)
{
    return (uint16_t)(((unsigned)before << 1 | bad) & ((1u << 10) - 1));
}

static inline bool last_ten_degraded(uint16_t ten)
{
    return __builtin_popcount(ten) >= 3;
}

#endif
