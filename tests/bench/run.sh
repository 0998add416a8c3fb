#!/usr/bin/env bash
# Runs the benchmarks named, or all: `make bench`, `make bench BENCH=drain`. Each prints its table; build/bench.json is an array of all
# figures, those of the benchmarks that did not run now as they were measured last. Settings come from the environment, and so from
# make's command line, as in `make bench BENCH=drain BENCH_ROWS=100000`:
#     BENCH_RUNS         all but memory: how often each side is measured; the median counts
#     BENCH_RATE         submit, python: calls a second where it is hot (100000)
#     BENCH_CALLS        python: calls a run where it is hot (50000)
#     BENCH_RECORDS      send: records a run (200000)
#     BENCH_ROWS         drain: rows of the backlog (1000000; a quarter where three of four are fills); drainers (400000); memory: with 200 streams (200000)
#     BENCH_STREAMS      drain: streams, each with a producer of its own (4)
#     BENCH_OPEN_ORDERS  drain, memory: orders of a producer that are under way at a time (500; 20 with 200 streams)
#     BENCH_SECONDS      latency: how long each pace is kept (5); idle: how long each is measured (20)
#     BENCH_BACKLOG      memory: records of the large backlog (2000000)
set -eu

build=${BUILD:-build}
export BLOTTER_PROGRAM=${BLOTTER_PROGRAM:-$build/blotter}
all=(submit instructions idle python send drain drainers takeover merge latency memory mirror)
figures=$build/bench

if [ $# -eq 0 ]; then
    set -- "${all[@]}"
fi
for name in "$@"; do
    if [ "$name" = python ] || [ "$name" = mirror ]; then
        make -s BUILD="$build" python "$build/tests/python/serve"
    elif [ ! -x "$build/tests/bench/bench_$name" ]; then
        echo "there is no benchmark $name; there are: ${all[*]}" >&2
        exit 2
    fi
done

mkdir -p "$figures"
failed=()
for name in "$@"; do
    rm -f "$figures/$name.new"
    command=("$build/tests/bench/bench_$name")
    if [ "$name" = python ] || [ "$name" = mirror ]; then command=("${PYTHON:-/usr/bin/python3}" "tests/bench/bench_$name.py"); fi
    if BLOTTER_BENCH_JSON=$figures/$name.new BLOTTER_BUILD=$build "${command[@]}" </dev/null; then
        [ ! -f "$figures/$name.new" ] || mv "$figures/$name.new" "$figures/$name.json" # else it has said what is not here
    else
        failed+=("$name")
    fi
done

lines=()
for name in "${all[@]}"; do
    if [ -f "$figures/$name.json" ]; then
        mapfile -t -O ${#lines[@]} lines <"$figures/$name.json"
    fi
done
{
    echo '['
    for ((i = 0; i < ${#lines[@]}; i++)); do
        if ((i + 1 < ${#lines[@]})); then
            echo "${lines[i]},"
        else
            echo "${lines[i]}"
        fi
    done
    echo ']'
} >"$build/bench.json"
echo
echo "figures: $build/bench.json"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}" >&2
    exit 1
fi
