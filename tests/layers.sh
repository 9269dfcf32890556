#!/bin/sh
# layers.sh [DIR] - who may include whom (docs: daemon -> planner -> models; see the table).  Prints FILE:LINE: and
# exits 1 for every include that runs the other way.
cd "${1:-.}" || exit 2

grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' --include='*.[ch]' \
    proto daemon models planner transport firmware-bridge tests 2>/dev/null | awk '
BEGIN {
    may["proto"]           = "proto"
    may["daemon/rt"]       = "daemon/rt proto"
    may["models"]          = "models daemon/rt proto"
    may["planner"]         = "planner models daemon/rt proto"
    may["transport"]       = "transport daemon/rt proto"
    may["firmware-bridge"] = "firmware-bridge transport daemon/rt proto"
    may["daemon"]          = "daemon planner models transport daemon/rt proto"
    may["tests"]           = "tests daemon planner models transport firmware-bridge daemon/rt proto"
}
function layer(path) {
    if (path ~ /^daemon\/rt\//)
        return "daemon/rt"
    return path ~ /\// ? substr(path, 1, index(path, "/") - 1) : path
}
{
    split($0, at, ":")
    split($0, quoted, "\"")
    file   = at[1]
    header = quoted[2]
    from   = layer(file)
    to     = layer(header)
    if (index(" " may[from] " ", " " to " ") == 0) {
        printf "%s:%d: includes \"%s\": %s may only include from %s\n", file, at[2], header, from, may[from]
        bad = 1
    } else if (header ~ /\.pb-c\.h$/ && file !~ /^(transport\/(codec[a-z_]*|telemetry)|tests\/.*)\.c$/) {
        printf "%s:%d: includes \"%s\": only codec.c and telemetry.c in transport/ know the wire format\n", file, at[2], header
        bad = 1
    }
}
END { exit bad }'
