#!/bin/sh
# build.sh MAKE TARGET... - builds with one live line; the full log is in $B/build.log, shown when the build fails.
set -u
make=$1
shift
log=${B:-build}/build.log
mkdir -p "${B:-build}" || exit 1

: >"$log" && total=$($make -n "$@" 2>/dev/null | grep -c -- ' -c -o ')
start=$(date +%s)
$make -j"$(nproc)" "$@" >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; echo >&2; exit 130' INT TERM

last=$start
while kill -0 $pid 2>/dev/null; do
    n=$(grep -c -- ' -c -o ' "$log")
    now=$(date +%s)
    if [ "$total" = 0 ]; then
        :
    elif [ -t 2 ]; then
        printf '\r\033[Kbuild: %d of %d, %d%%' "$n" "$total" $((100 * n / total)) >&2
    elif [ $((now - last)) -ge 5 ]; then
        echo "build: $n of $total, $((100 * n / total))%" >&2
        last=$now
    fi
    sleep 0.2
done
wait $pid
status=$?
[ -t 2 ] && printf '\r\033[K' >&2
if [ $status != 0 ]; then
    cat "$log" >&2
    echo "build: failed; the log above is in $log" >&2
    exit 1
fi
grep -A 4 'warning:' "$log" >&2
[ "$total" = 0 ] || echo "build: $total files in $(($(date +%s) - start)) s" >&2
exit 0
