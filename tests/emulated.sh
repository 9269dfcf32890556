#!/bin/sh
# emulated.sh RUNNER SYSROOT FILE... - the tests of these files, built for another processor, in an emulator on every core;
# ends with the sum of what each said: "N passed, N failed".
set -u
runner=$1 sysroot=$2
shift 2
out=$(dirname "$runner")/emulated
rm -rf "$out"
mkdir -p "$out" || exit 1

printf '%s\n' "$@" | xargs -P "$(nproc)" -I FILE sh -c \
    'echo "aarch64: FILE" >&2; qemu-aarch64 -L "$1" "$2" "FILE" >"$3/FILE.log" 2>&1 || true' sh "$sysroot" "$runner" "$out"

for file in "$@"; do
    tail -n 1 "$out/$file.log" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || {
        tail -n 20 "$out/$file.log"
        echo "$file did not end"
        echo "0 passed, 1 failed" >>"$out/$file.log"
    }
    sed '$d' "$out/$file.log"
done
cat "$out"/*.log | awk '/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || !passed }'
