#!/bin/sh
# sanitized.sh DIR COMMAND... - runs the command; a sanitizer's report from any process it started, daemons and
# trainers that tests end included, is left in DIR/report.PID, shown, and a failure.
set -u
dir=$1
shift
mkdir -p "$dir" || exit 1
rm -f "$dir"/report.*
report="log_path=$PWD/$dir/report"
export ASAN_OPTIONS="$report ${ASAN_OPTIONS:-}" TSAN_OPTIONS="$report ${TSAN_OPTIONS:-}"

"$@"
status=$?
for file in "$dir"/report.*; do
    [ -s "$file" ] || continue
    cat "$file" >&2
    echo "sanitizer: the report above is in $file" >&2
    status=1
done
exit $status
