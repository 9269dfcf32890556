#!/bin/sh
# rt_symbols.sh BUILD [THREAD OBJECT] - are the undefined symbols of the real-time threads' objects in BUILD among those that
# tests/rt_symbols.txt allows, or defined by another of these objects?  OBJECT: one more, for THREAD.  Prints each that is
# not, and the object; then exits 1.
set -u
build=$1 thread=${2:-} extra=${3:-}
list=$(cd "$(dirname "$0")" && pwd)/rt_symbols.txt
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$build" || exit 2

sections=$(sed -n 's/^\[\([a-z]*\)\].*/\1/p' "$list")
for s in $sections; do
    for pattern in $(set -f; echo $(sed -n "s/^\[$s\] //p" "$list") | sed 's/\( \|$\)/.o\1/g'); do
        [ -f "$pattern" ] || { echo "[$s] $pattern: no such object in $build"; exit 2; }
        echo "$pattern"
    done >"$work/$s.objects" || exit 2
    [ "$s" = "$thread" ] && echo "$extra" >>"$work/$s.objects"
done
nm --defined-only $(cat "$work"/*.objects) | awk 'NF == 3 { print $3 }' | sort -u >"$work/ours"

bad=0
for s in $sections; do
    awk -v s="[$s]" '/^\[/ { on = $1 == s; next } on && !/^#/' "$list" | tr ' ' '\n' | sort -u - "$work/ours" >"$work/allowed"
    nm -A -u $(cat "$work/$s.objects") | awk '{ sub(/:.*/, "", $1); print $NF, $1 }' | sort -u >"$work/used"
    join -v 1 "$work/used" "$work/allowed" >"$work/bad"
    while read -r symbol object; do
        echo "$object: needs $symbol, which tests/rt_symbols.txt does not allow thread $s"
        bad=1
    done <"$work/bad"
done
exit $bad
