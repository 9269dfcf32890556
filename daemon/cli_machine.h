/* cli_machine.h - names of this machine for reports. */
#ifndef DAEMON_CLI_MACHINE_H
#define DAEMON_CLI_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* First line of a small file without its newline; false (and empty) where it cannot be read. */
bool machine_read(const char *path, char *out, size_t n);

/* "AMD EPYC 9B14", or "unknown processor". */
void machine_cpu(char *out, size_t n);

/* The best kernels of the planner that this processor can run: "avx512", "avx2", "portable". */
const char *machine_isa(void);

/* {"cpu": ..., "cores": ..., "kernel": ..., "isa": ...}; isa NULL: machine_isa(). */
json_t *machine_json(const char *isa);

#endif
