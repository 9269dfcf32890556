#!/bin/sh
# reproducible.sh MAKE - are two builds of these sources, in two places, the same to the last bit?
set -u
make=$1
cd "$(dirname "$0")/.." || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for place in "$work/a" "$work/another/place/further/down"; do
    mkdir -p "$place" && tar -c --exclude=./build --exclude='./build-*' --exclude=./.git . | tar -x -C "$place" || exit 2
    (cd "$place" && B=build ./build.sh "$make" B=build all) || exit 1
done
differ=0
for p in limberd limber limber-trainer limber-bridge; do
    if cmp "$work/a/build/$p" "$work/another/place/further/down/build/$p"; then
        sha256sum "$work/a/build/$p" | sed "s|  .*|  $p|"
    else
        differ=$((differ + 1))
    fi
done
echo "reproducible: $((4 - differ)) of 4 programs are the same in both builds"
[ $differ = 0 ]
