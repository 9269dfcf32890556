/* filter_program.h - a seccomp filter (seccomp(2)) being written: what rt/sandbox.c and daemon/syscalls.c have in common. */
#ifndef RT_FILTER_PROGRAM_H
#define RT_FILTER_PROGRAM_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/rt/check.h"

/* Calls have other numbers on other processors; not defined: no filter is known for this one. */
#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#define FILTER_LOAD   (BPF_LD | BPF_W | BPF_ABS)
#define FILTER_EQUAL  (BPF_JMP | BPF_JEQ | BPF_K)
#define FILTER_RETURN (BPF_RET | BPF_K)
/* The lower half of an argument: both processors are little-endian. */
#define FILTER_ARGUMENT(i) ((uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)(i)))
#define FILTER_CALL ((uint32_t)offsetof(struct seccomp_data, nr))

enum { FILTER_PROGRAM_MAX = 512 };

struct filter_program {
    struct sock_filter op[FILTER_PROGRAM_MAX];
    unsigned short     n;
};

static inline void filter_op(struct filter_program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    CHECK(p->n < FILTER_PROGRAM_MAX);
    p->op[p->n++] = (struct sock_filter){ .code = code, .jt = yes, .jf = no, .k = k };
}

/* Another processor's calls end the process; leaves the call's number loaded. */
static inline void filter_begin(struct filter_program *p, uint32_t arch)
{
    filter_op(p, FILTER_LOAD, (uint32_t)offsetof(struct seccomp_data, arch), 0, 0);
    filter_op(p, FILTER_EQUAL, arch, 1, 0);
    filter_op(p, FILTER_RETURN, SECCOMP_RET_KILL_PROCESS, 0, 0);
    filter_op(p, FILTER_LOAD, FILTER_CALL, 0, 0);
}

/* `verdict` where what is loaded is one of these. */
static inline void filter_each(struct filter_program *p, const int *value, size_t n, uint32_t verdict)
{
    for (size_t i = 0; i < n; i++) {
        filter_op(p, FILTER_EQUAL, (uint32_t)value[i], 0, 1);
        filter_op(p, FILTER_RETURN, verdict, 0, 0);
    }
}

/* `call`, where its argument has one of these values; every other use ends in `refused`. */
static inline void filter_where(struct filter_program *p, int call, int argument, const int *value, size_t n, uint32_t refused)
{
    filter_op(p, FILTER_EQUAL, (uint32_t)call, 0, (uint8_t)(2 * n + 2));
    filter_op(p, FILTER_LOAD, FILTER_ARGUMENT(argument), 0, 0);
    filter_each(p, value, n, SECCOMP_RET_ALLOW);
    filter_op(p, FILTER_RETURN, refused, 0, 0);
}

#endif
