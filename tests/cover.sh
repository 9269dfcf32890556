#!/bin/sh
# cover.sh B - lines, branches and MC/DC of the safety core that the tests of it reach, built in B with clang-19's coverage;
# then every line that none reaches.  The safety core: the last filter, the modes, the core's gates, the receiver, the codec
# and the model file's checks.
set -u
B=$1
core="daemon/filter.c daemon/mode.c $(echo daemon/core.c daemon/core_*.c) firmware-bridge/receiver.c transport/codec.c models/model_file.c"
tests="test_filter test_core test_dst test_mutants test_receiver test_codec test_fuzz test_model_file"
rm -f "$B"/*.profraw
LLVM_PROFILE_FILE="$B/%p.profraw" nice -n 5 "$B/tests/run" $tests | tail -1
llvm-profdata-19 merge -o "$B/all.profdata" "$B"/*.profraw || exit 1
llvm-cov-19 report --show-mcdc-summary --show-region-summary=false "$B/tests/run" -instr-profile="$B/all.profdata" $core |
    awk '/^Filename/ { print; next } /\.c|TOTAL/ { print }'
echo "lines that no test reaches:"
llvm-cov-19 export -format=lcov "$B/tests/run" -instr-profile="$B/all.profdata" $core |
    awk -F'[:,]' '/^SF:/ { n = split($2, p, "/"); file = p[n - 1] "/" p[n] } /^DA:/ && $3 == 0 { print file ":" $2 }' |
    while IFS=: read -r file line; do echo "  $file:$line: $(sed -n "${line}p" "$file" | sed 's/^ *//')"; done
echo "conditions that no test shows to decide alone:"
llvm-cov-19 show --show-mcdc "$B/tests/run" -instr-profile="$B/all.profdata" $core |
    awk '/^[^ ]*\.c:$/ { file = $0; sub(/:$/, "", file); n = split(file, p, "/"); file = p[n - 1] "/" p[n] }
        /MC\/DC Decision Region/ { match($0, /\([0-9]+:/); at = substr($0, RSTART + 1, RLENGTH - 2) }
        /C[0-9]+-Pair: not covered/ { match($0, /C[0-9]+/); print "  " file ":" at ": condition " substr($0, RSTART + 1, RLENGTH - 1) }'
