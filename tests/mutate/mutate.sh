#!/bin/bash
# mutate.sh B [FILE...] - changes each of the given sources in one place at a time and lets its tests run: a change that no
# test notices is printed as a survivor.  Equivalent ones (equivalent.txt, with a reason) do not count.  The build in B
# (tests included) must be fresh.  JOBS: 2.  SAMPLE=n: only every n-th mutant.
set -u
B=$1
shift
[ $# -gt 0 ] || set -- daemon/filter.c daemon/mode.c transport/codec.c firmware-bridge/receiver.c daemon/core.c daemon/core_*.c \
    models/model_file.c
here=tests/mutate
work=build-mutate
rm -rf "$work" && mkdir -p "$work/tests" || exit 2
libs="-lmujoco -luv -lzmq -lprotobuf-c -lsqlite3 -lcyaml -lyaml -lmicrohttpd -ljansson -lcurl -lcairo -lsodium -lz -lm -lpthread"

# Objects of tests (patterns: a new file of them belongs to it at once), then what to run: the quick ones first, the rest where those notice nothing.
tests_of() {
    case $1 in
    daemon/filter.c) echo "test_filter* dst dst_check dst_weather dst_verbs; test_filter_edges test_filter_heat; test_filter" ;;
    daemon/mode.c) echo "test_spin test_mutants spin/tables spin/walk; has_the_tables mode_names" ;;
    transport/codec.c) echo "test_codec*; test_codec_edges codec_; test_codec" ;;
    daemon/core*) echo "test_core* dst dst_check dst_weather dst_verbs; test_core_; average_velocity heading quaternion three_ a_position_that a_velocity_that posture the_baseline a_task_ends silence a_stop_latches an_emergency only_reset every_way stopping_ a_request in_good_weather_trials nothing_moves; stages_of a_motor_that bad_plans noise_on" ;;
    models/model_file.c) echo "test_model_file*; test_model_file" ;;
    firmware-bridge/receiver.c) echo "test_receiver* test_mutants test_spin spin/tables spin/walk; test_receiver_link test_mutants no_c command silen short late valid each_ e_stop stop idle joint session bad nan; effort rate velocity; has_the_tables; no_sequence" ;;
    esac
}

# The share of mutants that may survive: less where every survivor was looked at.
may_survive() {
    case $1 in
    daemon/filter.c | daemon/mode.c) echo 0 ;;
    daemon/core_gates.c | daemon/core_scores.c | daemon/core_effort.c | models/* | transport/* | firmware-bridge/*) echo 0.05 ;;
    daemon/core.c | daemon/core_state.c) echo 0.15 ;;
    *) echo 0.35 ;;
    esac
}

one() { # FILE N LINE FAMILY TEXT
    file=$1 n=$2 line=$3 family=$4 text=$5
    [[ $family = negation && $text = *"if (!("* ]] && text=$(sed -E 's/if \(!\((.*)\)( \{.*|)$/if (!(\1))\2/' <<<"$text")
    grep -qF "$file: $(sed -n "${line}p" "$file" | sed 's/^ *//') => $(sed 's/^ *//' <<<"$text")" $here/equivalent.txt && { echo equivalent; return; }
    id=$(tr / _ <<<"$file")-$n
    awk -v n="$line" -v text="$(sed 's/\\/\\\\/g' <<<"$text")" 'NR == n { print text; next } { print }' "$file" >"$work/$id.c"
    gcc -std=gnu11 -D_GNU_SOURCE -I. -I"$B" -ffp-contract=off -fno-math-errno -O1 -w -c -o "$work/$id.o" "$work/$id.c" 2>/dev/null ||
        { rm -f "$work/$id".*; echo refused; return; }
    IFS=';' read -r objects rest <<<"$(tests_of "$file")"
    gcc -Wl,--as-needed -o "$work/tests/$id" "$B/tests/main.o" $(for o in $objects; do echo "$B"/tests/$o.o; done) "$work/$id.o" "$B/liblimber.a" $libs 2>/dev/null ||
        { echo "trouble: $id does not link"; return; }
    while [ -n "$rest" ]; do
        IFS=';' read -r names rest <<<"$rest"
        { timeout 60 nice -n 10 "$work/tests/$id" $names; } >/dev/null 2>&1 || { rm -f "$work/tests/$id" "$work/$id".*; echo caught; return; }
    done
    rm -f "$work/tests/$id" "$work/$id".*
    echo "survivor $file:$line ($family): $(sed -n "${line}p" "$file" | sed 's/^ *//') => $(sed 's/^ *//' <<<"$text")"
}
export -f one tests_of
export B here work libs

bad=0
for file; do
    awk -f $here/mutants.awk "$file" | awk -v f="$file" -v every="${SAMPLE:-1}" -F'\t' 'NR % every == 0 { printf "%s%c%d%c%s%c%s%c%s%c", f, 0, NR, 0, $1, 0, $2, 0, $3, 0 }' |
        xargs -0 -n 5 -P "${JOBS:-2}" bash -c 'one "$@"' _ >"$work/result"
    grep -E '^(survivor|trouble)' "$work/result" # a mutant that meets no test is none that was noticed
    awk -v f="$file" '/^caught/ { c++ } /^survivor/ { s++ } /^equivalent/ { e++ } /^refused/ { r++ }
        END { printf "mutate %s: %d of %d caught (%.1f %%), %d survivors, %d equivalent, %d refused by the compiler\n", f, c, c + s, c + s ? 100 * c / (c + s) : 100, s, e, r }' "$work/result"
    awk -v may="$(may_survive "$file")" '/^caught/ { c++ } /^survivor/ { s++ } /^trouble/ { t++ } END { exit t > 0 || s > may * (c + s) }' "$work/result" || bad=1
done
exit $bad
