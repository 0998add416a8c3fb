#!/usr/bin/env bash
# valgrind.sh PROGRAM [ARGUMENT...]: runs a test with valgrind, and with it whatever of Blotter the test starts; servers and other
# programs run as usual. Where valgrind finds an error in any of these processes, shows it, and exits with 9.
#
# Each process has a log of its own, so an error also counts in one that is killed later, or at whose end nobody looks; only what a
# killed one has leaked cannot be told. $BLOTTER_TEST_SLOWER: by how much the fixture's timeouts are longer (5).
set -euo pipefail

# Tests that valgrind cannot run, and why.
declare -A left_out=(
    [test_journal_crash]="runs a child instruction by instruction, which with valgrind are valgrind's own"
    [test_journal_model]="switches stacks itself, which valgrind takes for errors"
    [test_submit_calls]="counts system calls and allocations, which with valgrind are valgrind's own"
)
why=${left_out[$(basename "$1")]-}
if [[ -n $why ]]; then
    echo "$why"
    exit 77
fi

# Errors begin with ==PID==, what valgrind says of itself with --PID--. Also shown where the test was ended from outside.
show_errors() {
    local status=$? log
    for log in "$logs"/*; do
        grep -qs '^==' "$log" || continue
        status=9
        printf '\nvalgrind, process %s:\n' "${log##*/}"
        grep '^==' "$log" | head -n 200
    done
    rm -rf "$logs"
    exit "$status"
}

logs=$(mktemp -d "${TMPDIR:-/tmp}/blotter-valgrind-XXXXXX")
trap show_errors EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Threads take turns; without fair ones, a thread that polls starves the others.
options=(
    --quiet --vgdb=no --fair-sched=yes --num-callers=30 --log-file="$logs/%p" --error-exitcode=9
    --leak-check=full "--show-leak-kinds=definite,indirect" "--errors-for-leak-kinds=definite,indirect"
    --trace-children=yes --trace-children-skip="/bin/*,/usr/bin/*,/usr/lib/postgresql/*,*/redis-server"
)
BLOTTER_TEST_SLOWER=${BLOTTER_TEST_SLOWER:-5} valgrind "${options[@]}" "$@"
