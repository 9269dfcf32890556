#!/bin/sh
# safety_report.sh B - everything that speaks for the safety of a robot, at the size of the tests (LIMBER_SOAK=1: at full size), one
# row after the other; a table, and B/safety.json.  Exit status 0: no failures.
set -u
B=$1
rows=$B/safety.rows
: >"$rows"

# row NAME COMMAND...: counts what the command's last summary line says.
row() {
    name=$1
    shift
    begin=$(date +%s)
    "$@" >"$B/safety.log" 2>&1
    rc=$?
    seconds=$(($(date +%s) - begin))
    # "N passed, N failed" of the test runner; "N of N caught", "N survived" of the mutants; "N states, N errors" of spin
    counts=$(awk '/^[0-9]+ passed, [0-9]+ failed$/ { n += $1 + $3; f += $3 }
                  /: [0-9]+ of [0-9]+ caught$/     { n += $(NF - 1); f += $(NF - 1) - $(NF - 3) }
                  / states, [0-9]+ errors/         { for (i = 1; i <= NF; i++) { if ($i == "states,") n += $(i - 1); if ($i == "errors,") f += $(i - 1) } }
                  END { printf "%.0f %d", n, f }' "$B/safety.log")
    count=${counts% *} failures=${counts#* }
    [ $rc -ne 0 ] && [ "$failures" = 0 ] && failures=1
    [ "$count" = 0 ] && failures=1 # a row that counted nothing has shown nothing
    printf '%-58s %12s %9s %8s\n' "$name" "$count" "$failures" "$seconds"
    [ "$failures" = 0 ] || { grep -E '^FAIL|not caught|error' "$B/safety.log" | sed 's/^/    /' | head -20; }
    printf '%s\t%s\t%s\t%s\n' "$name" "$count" "$failures" "$seconds" >>"$rows"
}
tests() {
    name=$1
    shift
    row "$name" "$B/tests/run" "$@"
}

printf '%-58s %12s %9s %8s\n' test count failures seconds
tests "torque filter against an oracle and the receiver" test_filter
tests "modes, gates, operations" test_core
tests "deterministic simulation, every fault, in pairs, all" test_dst
row "model checking: states" ./tests/spin/run.sh "$B/spin"
[ "${LIMBER_SOAK:-}" ] && row "model checking: seeded faults" ./tests/spin/run.sh "$B/spin" mutants
tests "model replayed on the code" test_spin
tests "robot side: receiver, conformance, wrong robot sides" test_receiver test_conform
tests "faults of link and robot on real processes" test_faults
tests "messages: errors of bits, bursts, cuts, echoes" test_codec
tests "killed at random moments" test_kill
tests "power lost after any write" test_power
tests "k-th call failing, disk full" test_failing
tests "host: clock, descriptors, memory, trainer, watchdog" test_host_faults test_trainer_faults test_watchdog
tests "each pre-arm check refuses, and passes once mended" test_prearm_refused
tests "model files: bit flips, cuts, other robots" test_model_file
tests "real-time threads: calls, signals, symbols, cost" test_syscalls test_signals rt_symbols test_budget
tests "keys, roles, sockets, fences, hardening, unit" test_auth test_keys test_access test_sandbox test_exposure test_hardening test_systemd test_trainer_protocol
tests "stored inputs of the fuzz targets, and changes of them" test_fuzz
tests "configuration errors" test_config test_bad_input
tests "stops explain themselves; page of faults complete" test_stops test_faults_page

awk -F'\t' 'BEGIN { printf "[" }
            { printf "%s\n {\"test\": \"%s\", \"count\": %s, \"failures\": %s, \"seconds\": %s}", (NR > 1 ? "," : ""), $1, $2, $3, $4; f += $3; n += $2 }
            END { print "\n]"; exit f > 0 }' "$rows" >"$B/safety.json"
rc=$?
rm -f "$rows"
echo "$B/safety.json"
exit $rc
