#!/bin/bash
# budget.sh B - what a control tick may cost: instructions of the core and of the receiver, tick by tick, counted by
# valgrind in a simulated flight (the same on a busy machine), and the size of the core's code.  Each row of
# budget.txt must hold within 3 %, upwards and downwards: who makes a tick longer says so there.
# Prints what was found, in the form of budget.txt; BUDGET: another file; FOUND: counted before.  Exit 1: a row does not hold.
# 2: could not count.
set -u -o pipefail
build=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
budget=${BUDGET:-tests/budget.txt}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
# The C library's plain routines, whichever processor this is: some others are one instruction in a loop of its own, each turn of
# which valgrind counts.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX512F,-FMA,-FMA4,-ERMS,-FSRM

ticks=${TICKS:-1000}
good=
bad=state_twice,state_jump,plan_lost,plan_late,plan_wild,command_lost,state_corrupt,sensor_slow

# count NAME FUNCTION FLIGHT FAULTS: median and most instructions of one call, callees included.
count() {
    rm -f "$work"/out*
    LIMBER_DST="seed=9 ticks=$ticks faults=$4" valgrind --tool=callgrind --toggle-collect="$2" --dump-after="$2" \
        --callgrind-out-file="$work/out" "$build/tests/run" a_reported_simulation >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 2; }
    find "$work" -name 'out.*' -exec sed -n 's/^summary: //p' {} + | sort -n | awk -v name="$1" -v flight="$3" '
        { ir[NR] = $1 }
        END {
            if (NR < 200) { print "budget: only " NR " calls of " name " seen" > "/dev/stderr"; exit 2 }
            print name "_" flight "_median", ir[int((NR + 1) / 2)]; print name "_" flight "_most", ir[NR]
        }'
}

if [ -n "${FOUND:-}" ]; then
    cat "$FOUND"
else
    count core core_step good "$good" && count core core_step bad "$bad" && count receiver receiver_effort bad "$bad" &&
        count receiver_command receiver_command bad "$bad" &&
        size "$build"/daemon/core*.o "$build"/daemon/{filter,mode}.o "$build"/firmware-bridge/receiver.o |
        awk 'NR > 1 { text += $1 } END { print "text_bytes", text }'
fi >"$work/found" || exit 2
cat "$work/found"

awk -v file="$budget" '
    FILENAME == file { if ($0 !~ /^(#|$)/) may[$1] = $2; next }
    !($1 in may) { print file ": no row " $1 ", found " $2; bad = 1; next }
    $2 > may[$1] * 1.03 { print file ": " $1 ": " may[$1] ", found " $2 ": a tick costs more"; bad = 1 }
    $2 < may[$1] * 0.97 { print file ": " $1 ": " may[$1] ", found " $2 ": lower the row"; bad = 1 }
    { delete may[$1] }
    END { for (row in may) { print file ": " row ": nothing of that name was counted"; bad = 1 } exit bad }' "$budget" "$work/found"
