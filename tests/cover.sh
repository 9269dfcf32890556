#!/bin/bash
# cover.sh B - lines, branches and MC/DC of the safety core that its tests reach, built in B with clang-19's coverage.  The safety
# core: the last filter, the modes, the core, the receiver, the codec and the model file's checks.  What no test reaches fails,
# unless cover_justified.txt says why none can: every line, every branch, and every condition that no test shows to decide alone.
set -u
B=$1
rows=tests/cover_justified.txt
core="daemon/filter.c daemon/mode.c $(echo daemon/core.c daemon/core_*.c) daemon/core_parts.h firmware-bridge/receiver.c transport/codec.c models/model_file.c"
tests="test_filter test_core test_dst test_mutants test_receiver test_codec test_fuzz test_model_file"
llvm() { llvm-cov-19 "$@" "$B/tests/run" -instr-profile="$B/all.profdata" $core; }

rm -f "$B"/*.profraw
LLVM_PROFILE_FILE="$PWD/$B/%p.profraw" nice -n 5 "$B/tests/run" $tests >"$B/cover.log" 2>&1
rc=$?
tail -1 "$B/cover.log"
[ $rc -eq 0 ] || { grep -v '^ok' "$B/cover.log" | tail -40; exit 1; }
llvm-profdata-19 merge -o "$B/all.profdata" "$B"/*.profraw || exit 1
llvm report --show-mcdc-summary --show-region-summary=false | awk '/^Filename/ { print; next } /\.[ch] |^TOTAL/ { print }'

# All that is left: WHAT, FILE, LINE.
{
    llvm export -format=lcov | awk -F'[:,]' -v OFS='\t' '
        /^SF:/ { n = split($2, p, "/"); file = p[n - 1] "/" p[n] }
        /^DA:/ && $3 == 0 { print "line", file, $2 }
        /^BRDA:/ && ($5 == "0" || $5 == "-") { print "branch", file, $2 }'
    llvm show --show-mcdc | awk -v OFS='\t' '
        /^[^ ]*\.[ch]:$/ { n = split(substr($0, 1, length($0) - 1), p, "/"); file = p[n - 1] "/" p[n] }
        /Condition C[0-9]+ --> \(/ { match($0, /C[0-9]+/); c = substr($0, RSTART, RLENGTH)
            match($0, /\([0-9]+:/); at[c] = substr($0, RSTART + 1, RLENGTH - 2) }
        /C[0-9]+-Pair: not covered/ { match($0, /C[0-9]+/); print "condition", file, at[substr($0, RSTART, RLENGTH)] }'
} | sort -u -t $'\t' -k2,2 -k3,3n -k1,1 >"$B/cover.left"

# The same with the line's text, against rows "FILE: WHAT: part of the text  # reason" (FILE *: any).
while IFS=$'\t' read -r what file line; do
    printf '%s\t%s\t%s\t%s\n' "$what" "$file" "$line" "$(sed -n "${line}p" "$file" | sed 's/^ *//')"
done <"$B/cover.left" | awk -F'\t' -v rows=$rows '
    BEGIN {
        while ((getline row < rows) > 0) {
            if (row ~ /^#/ || row == "")
                continue
            if (!match(row, /  # .+$/)) {
                print rows ": without a reason: " row
                bad++
                continue
            }
            split(row, part, ": ")
            file[++n] = part[1]
            what[n]   = part[2]
            head      = length(part[1] part[2]) + 4
            text[n]   = substr(row, head + 1, RSTART - head - 1)
        }
    }
    {
        for (i = 1; i <= n; i++)
            if ((file[i] == "*" || file[i] == $2) && what[i] == $1 && index($4, text[i])) {
                used[i]++
                justified++
                next
            }
        print "not reached: " $2 ":" $3 ": " $1 ": " $4
        bad++
    }
    END {
        for (i = 1; i <= n; i++)
            if (!used[i]) {
                print rows ": nothing is left that this is about: " file[i] ": " what[i] ": " text[i]
                bad++
            }
        printf "cover: %d left with a reason (%s), %d without\n", justified, rows, bad
        exit bad > 0
    }'
