#!/bin/bash
# static_rules.sh BUILD [FILE...] - are the rules of the safety core kept (FILEs; without any, those of cover.sh)?  No
# recursion, as far as calls are by name; no array of variable size, no alloca; no goto, no longjmp; no function of more than
# 60 lines.  Prints what breaks one, and where; then exits 1.
set -u
build=$(cd "$1" && pwd) || exit 2
shift
cd "$(dirname "$0")/.." || exit 2
[ $# -gt 0 ] || { eval "$(grep '^core=' tests/cover.sh)" && set -- $(printf '%s\n' $core | grep '\.[ch]$'); }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# Jumps and lengths, by the text without comments and strings.  A function begins and ends in the first column.
awk '
FNR == 1 { inside = comment = 0 }
{
    code = $0
    if (comment && !sub(/^.*\*\//, "", code)) code = ""; else comment = 0
    gsub(/"([^"\\]|\\.)*"|\/\*([^*]|\*[^\/])*\*\//, "", code)
    if (sub(/\/\*.*$/, "", code)) comment = 1
    sub(/\/\/.*$/, "", code)
    if (match(code, /(^|[^A-Za-z0-9_])(goto|setjmp|longjmp|sigsetjmp|siglongjmp|alloca|__builtin_alloca)($|[^A-Za-z0-9_])/)) {
        word = substr(code, RSTART, RLENGTH); gsub(/[^a-z_]/, "", word)
        print FILENAME ":" FNR ": " word; bad = 1
    }
}
/^[a-z].*\(/ && !/;$/ { head = FNR; name = $0; sub(/\(.*/, "", name); sub(/^.*[ *]/, "", name) }
/^\{/ { inside = 1; first = FNR }
/^\}/ {
    if (inside && FNR - first - 1 > 60) { print FILENAME ":" head ": " name " has " FNR - first - 1 " lines"; bad = 1 }
    inside = 0
}
END { exit bad }' "$@" || bad=1

# Arrays, and who calls whom, by the compiler.
for file; do
    [[ $file = *.c ]] || continue
    object=$work/$(tr / _ <<<"$file").o
    gcc -std=gnu11 -D_GNU_SOURCE -I. -I"$build" -O0 -fcallgraph-info -Wvla -Werror=vla -c -o "$object" "$file" 2>"$work/said" ||
        { grep 'error' "$work/said"; bad=1; }
done
sed -n 's/^edge: { sourcename: "\([^"]*\)" targetname: "\([^"]*\)".*/\1 \2/p' "$work"/*.ci | grep -v __indirect_call | sort -u >"$work/calls"
while read -r caller called; do
    [ "$caller" = "$called" ] && { echo "$caller: calls itself"; bad=1; }
done <"$work/calls"
tsort "$work/calls" >/dev/null 2>"$work/loops" || bad=1
sed -n 's/^tsort: [^:]*: input contains a loop:$/a loop of calls:/p; s/^tsort: \(.*[^:]\)$/    \1/p' "$work/loops"
exit ${bad:-0}
