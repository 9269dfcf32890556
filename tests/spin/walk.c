#include "tests/spin/walk.h"

#include <stdlib.h>

#include "tests/test.h"

char *spin_walks(const char *variant, int first_seed, int n)
{
    char   command[2048], *text = NULL, part[65536];
    size_t size = 0, got;

    snprintf(command, sizeof command, "%s/../tests/spin/walk.sh %s/spin-walk %s $(seq %d %d)", test_build_dir(),
             test_build_dir(), variant, first_seed, first_seed + n - 1);
    FILE *from = popen(command, "re"), *to = open_memstream(&text, &size);
    if (!from || !to)
        abort();
    while ((got = fread(part, 1, sizeof part, from)) > 0)
        fwrite(part, 1, got, to);
    EXPECT(pclose(from) == 0);
    fclose(to);
    return text;
}
