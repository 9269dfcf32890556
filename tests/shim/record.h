/* record.h - what failing.c writes down and test_power.c replays: a stream of these, a write followed by its bytes. */
#ifndef TESTS_SHIM_RECORD_H
#define TESTS_SHIM_RECORD_H

#include <stdint.h>

enum { RECORD_NAME = 96 };

enum record_kind { RECORD_WRITE, RECORD_TRUNCATE, RECORD_SYNC, RECORD_CREATE, RECORD_MOVE, RECORD_REMOVE };

struct record {
    uint32_t kind;
    char     name[RECORD_NAME], to[RECORD_NAME]; /* relative to the recorded directory; "" is impossible */
    uint64_t offset, bytes;                      /* RECORD_TRUNCATE: offset is the new size              */
};

#endif
