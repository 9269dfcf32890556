#!/bin/sh
# deps.sh - installs what is missing to build and run, on Debian 12 and its relatives; `deps.sh test` adds what the
# tests use, `deps.sh rtsan` the real-time sanitizer's runtime, `deps.sh aarch64` is what the tests for that processor need.  With nothing missing it needs no network, no root and no time.
set -u
cd "$(dirname "$0")" || exit 1

run="gcc libc6-dev make libuv1-dev libzmq3-dev libprotobuf-c-dev protobuf-c-compiler libsqlite3-dev libcyaml-dev
     libyaml-dev libmicrohttpd-dev libjansson-dev libcurl4-openssl-dev libcairo2-dev libsodium-dev zlib1g-dev
     libmujoco-dev fonts-dejavu-core"
test="bash clang curl locales spin sqlite3 systemd valgrind"
rtsan="libclang-rt-19-dev"
spin="gcc libc6-dev make spin"
cover="clang-19 llvm-19 libclang-rt-19-dev"
aarch64="make protobuf-c-compiler gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

wanted=$(echo $run)
[ "${1:-}" = test ] && wanted=$(echo $run $test)
[ "${1:-}" = rtsan ] && wanted=$(echo $run $rtsan)
[ "${1:-}" = spin ] && wanted=$(echo $spin)
[ "${1:-}" = cover ] && wanted=$(echo $run $test $cover)
[ "${1:-}" = aarch64 ] && wanted=$(echo $aarch64)

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian machine; carrying on, with these Debian packages' contents expected: $wanted" >&2
    exit 0
fi

installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' |
    tr '\n' ' ')"
missing=
for package in $wanted; do
    case $installed in *" $package "*) ;; *) missing="$missing $package" ;; esac
done
[ -z "$missing" ] && exit 0

line="apt-get update && apt-get install --no-install-recommends$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -v; then
        echo "deps: missing:$missing" >&2
        echo "deps: as root, run: $line" >&2
        exit 1
    fi
    as_root=sudo
fi

mkdir -p build && log=build/deps.log && : >$log || exit 1
live=
[ -t 2 ] && live=1
echo "deps: installing$missing" >&2

# apt's own status lines, `dlstatus:N:PERCENT:TEXT` or `pmstatus:PACKAGE:PERCENT:TEXT`, and a last `exit:CODE`.
show() {
    shown=-100
    while IFS=: read -r kind subject percent text; do
        case $kind in
        exit) [ -n "$live" ] && printf '\r\033[K' >&2; return "$subject" ;;
        dlstatus) what=downloading ;;
        pmstatus) what=installing ;;
        *) continue ;;
        esac
        percent=${percent%%.*}
        if [ -n "$live" ]; then
            printf '\r\033[Kdeps: %s %s%% %.60s' "$what" "$percent" "$text" >&2
        elif [ "$percent" -ge $((shown + 25)) ] || [ "$percent" -lt "$shown" ]; then
            shown=$percent
            echo "deps: $what $percent%" >&2
        fi
    done
    return 1
}

apt() {
    {
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=120 -o APT::Status-Fd=1 \
            -o Dpkg::Use-Pty=0 "$@" 2>>$log
        echo "exit:$?"
    } | tee -a $log | show
}

fail() {
    grep -vE '^((dl|pm)status|exit):' $log | tail -n 20 >&2
    echo "deps: $1 (all of it in $log); by hand, as root: $line" >&2
    exit 1
}

apt update || { echo "deps: package lists not complete, trying once more" >&2; apt update; } || fail "apt-get update failed"
apt install --no-install-recommends $missing || fail "apt-get install failed"
echo "deps: done" >&2
