#!/bin/sh
# fuzz.sh PROGRAM SECONDS [TARGET...] - runs every target of targets.c (or those named) under libFuzzer for so long each,
# from the committed inputs.  What it finds lies in build-fuzz/found: mend the code, and put the input into the corpus.
set -u
program=$1
seconds=$2
shift 2
[ $# -gt 0 ] || set -- codec session receiver robot_yaml task_yaml model store operate zap key clients trainer
found=$(dirname "$program")/found
bad=0
for target; do
    new=$(dirname "$program")/corpus/$target
    mkdir -p "$found" "$new"
    dictionary=tests/fuzz/$target.dict
    [ -f "$dictionary" ] && dictionary=-dict=$dictionary || dictionary=
    log=$(dirname "$program")/$target.log
    FUZZ_TARGET=$target nice -n 10 "$program" -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=1 $dictionary -artifact_prefix="$found/$target-" "$new" "tests/fuzz/corpus/$target" >"$log" 2>&1
    rc=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz $target: ${runs:-0} runs, $([ $rc = 0 ] && echo nothing found || echo "FOUND something, see $log and $found")"
    [ $rc = 0 ] || bad=1
done
exit $bad
