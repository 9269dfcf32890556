#!/bin/sh
# walk.sh DIR SEED... - for each seed a random walk of 10,000 ticks through the model, on stdout (limber.pml, -DWALK).
# The times are those of the C code: the receiver latches after five timeouts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
shift
cp "$here"/*.pml .
spin -a -DBOTH -DWALK=10000 -DFT=2 -DLT=10 limber.pml >spin.log 2>&1 || { cat spin.log >&2; exit 2; }
gcc -O1 -w -DSAFETY -DNOREDUCE -DPRINTF -DT_RAND -o walk pan.c
for seed; do
    echo "w $seed"
    ./walk -RS"$seed" -m100000 -w16 >walk.log
    grep '^[pet] ' walk.log
done
