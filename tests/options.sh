#!/bin/sh
# options.sh LIMBER OUT SEEDS TRIALS - what each option of the trainer does to how fast the cart-pole is learned: every one
# against the same base, in lockstep; ends with the table (make bench-options).
set -eu
limber=$1 out=$2 seeds=$3 trials=$4
base="--set model.layers=2 --set model.hidden=64 --set planner.population=128"
reports=

run() { # LABEL KEY=VALUE...
    label=$1
    shift
    sets=
    for s in "$@"; do sets="$sets --set $s"; done
    echo "== $label: $*"
    "$limber" bench learn --task cartpole --lockstep --jobs 2 --seeds "$seeds" --trials "$trials" --name "$label" --out "$out" $base $sets
    reports="$reports $out/learn-cartpole-$label.json"
}

run base
run fresh trainer.warm_start=false
run paper-steps trainer.epochs=5 trainer.min_steps=0
run no-bootstrap trainer.bootstrap=false
run learned-bounds trainer.learned_bounds=true
run early-stop trainer.holdout=0.1 trainer.patience=5
run elites trainer.holdout=0.1 trainer.train_members=7
run nll-beta trainer.nll_beta=0.5
run more-steps trainer.min_steps=8000
run input-noise trainer.input_noise=0.01
run recent trainer.recent=0.5
run falling-rate trainer.learning_rate_final=0.1
run unroll trainer.unroll=5 trainer.unroll_weight=100 trainer.unroll_grow=10
run reward-aware trainer.reward_weight=1
run spectral trainer.spectral_norm=3
run risk planner.risk=1
run ts1 planner.propagation=ts1
run mean planner.propagation=mean
"$limber" bench learn --compare $reports --out "$out"
