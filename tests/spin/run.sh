#!/bin/sh
# run.sh DIR [mutants] - checks the model in DIR exhaustively, every variant; with `mutants`, that every seeded fault of
# mutants.txt makes spin report an error.  MEM: MiB a run may take (default 5500).
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$1
what=${2:-model}
mkdir -p "$work" || exit 2
work=$(cd "$work" && pwd)

# check DIR VARIANT...: 0 no error, 1 an error was found, 2 trouble
check() {
    (cd "$1" && shift && spin -a "$@" limber.pml >spin.log 2>&1 &&
        gcc -O2 -w -DSAFETY -DNOREDUCE -DMEMLIM="${MEM:-5500}" -o pan pan.c >>spin.log 2>&1 &&
        nice -n 10 ./pan -m3000000 -w22 >pan.log 2>&1) || return 2
    grep -q 'errors: 0$' "$1/pan.log" && ! grep -q 'Search not completed\|max search depth too small\|out of memory' "$1/pan.log" && return 0
    grep -q 'assertion violated' "$1/pan.log" && return 1
    return 2
}

model() {
    bad=0
    for variant in CHAOS DAEMON BOTH; do
        cp "$here"/*.pml "$work"
        check "$work" "-D$variant"
        rc=$?
        sed -n 's/^ *\([0-9.e+]*\) states, stored$/\1/p; s/^pan: elapsed time \(.*\) seconds/\1/p; s/.*errors: \([0-9]*\)$/\1/p' "$work/pan.log" |
            paste -sd' ' | { read -r errors states seconds; echo "spin $variant: $states states, $errors errors, $seconds s"; }
        [ $rc = 0 ] || { bad=1; grep -m1 'assertion violated\|Error\|memory' "$work/pan.log" "$work/spin.log"; }
    done
    return $bad
}

mutant() {
    mkdir -p "$work/$1" && cp "$here"/*.pml "$work/$1" && sed -i "$3" "$work/$1"/*.pml
    cat "$work/$1"/*.pml | cmp -s - "$work/original" && { echo "mutant \"$2\": its sed script changes nothing"; return; }
    for variant in CHAOS DAEMON BOTH; do
        check "$work/$1" -D$variant
        case $? in
        1) echo caught >>"$work/caught"; return ;;
        2) echo "mutant \"$2\" ($variant): spin had trouble, see $work/$1"; return ;;
        esac
    done
    echo "mutant \"$2\": not caught"
}

mutants() {
    : >"$work/caught"
    cat "$here"/*.pml >"$work/original"
    total=0
    while IFS='|' read -r name script; do
        case $name in '#'*|'') continue ;; esac
        total=$((total + 1))
        mutant "m$total" "$name" "$script"
    done <<END
$(sed 's/ | /|/' "$here/mutants.txt")
END
    caught=$(wc -l <"$work/caught")
    echo "spin mutants: $caught of $total caught"
    [ "$caught" = "$total" ]
}

$what
