#!/bin/sh
# walk.sh DIR VARIANT SEED... - for each seed a random walk of 10,000 ticks through the model, on stdout (limber.pml, -DWALK),
# of both sides (BOTH) or of the daemon (DAEMON).  Times and counts are those of the C code: the receiver latches after
# five timeouts, three bad states are too many.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
variant=$2
shift 2
cp "$here"/*.pml .
spin -a "-D$variant" -DWALK=10000 -DFT=2 -DLT=10 -DDT=3 -DREJ=3 -DTRIPS=2 limber.pml >spin.log 2>&1 || { cat spin.log >&2; exit 2; }
gcc -O1 -w -DSAFETY -DNOREDUCE -DPRINTF -DT_RAND -o walk pan.c
for seed; do
    echo "w $seed"
    timeout 60 ./walk -RS"$seed" -m400000 -w16 >walk.log
    grep '^[peit] ' walk.log
done
