/* cli_machine.c - see cli_machine.h. */
#include "daemon/cli_machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "planner/planner.h"

bool machine_read(const char *path, char *out, size_t n)
{
    FILE *f  = fopen(path, "re");
    bool  ok = f && fgets(out, (int)n, f);

    if (!ok)
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (f)
        fclose(f);
    return ok;
}

void machine_cpu(char *out, size_t n)
{
    char  line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");

    snprintf(out, n, "unknown processor");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, n, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f)
        fclose(f);
}

const char *machine_isa(void)
{
    return isa_names()[0];
}

json_t *machine_json(const char *isa)
{
    struct utsname u;
    char           cpu[128], kernel[256];

    uname(&u);
    machine_cpu(cpu, sizeof cpu);
    snprintf(kernel, sizeof kernel, "%s %s", u.release, u.version);
    return json_pack("{s:s, s:I, s:s, s:s}", "cpu", cpu, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel",
                     kernel, "isa", isa ? isa : machine_isa());
}
