#!/usr/bin/env bash
# run_programs.sh PROGRAM...: runs test programs, a line each, and the whole output of those that fail.
#
# A program is a cmocka test, or a script that says `ok NAME` and `not ok NAME` (TAP), or else counts as one test by its exit
# status. A skipped test counts as failed; so does a program that ends badly or runs no test. Exit status 1 if any has failed.
#
# BLOTTER_TEST_RESULTS   a file to which "passed failed name" is appended for each program
# BLOTTER_TEST_TIMEOUT   seconds for one program (300)
# BLOTTER_TEST_PREFIX    a command that each program is run by, such as `valgrind -q`
set -euo pipefail

output=$(mktemp "${TMPDIR:-/tmp}/blotter-output-XXXXXX")
running=
clean_up() {
    if [[ -n $running ]]; then kill -TERM "$running" 2>/dev/null || true; fi
    rm -f "$output"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sum() { # sum PATTERN: of the numbers that sed's \1 finds in the output
    sed -nE "s/$1/\\1/p" "$output" | awk '{ n += $1 } END { print n + 0 }'
}

read -ra prefix <<<"${BLOTTER_TEST_PREFIX-}"
all_passed=0 all_failed=0
for program in "$@"; do
    began=${EPOCHREALTIME/./} status=0
    timeout -k 10 "${BLOTTER_TEST_TIMEOUT:-300}" "${prefix[@]}" "$program" </dev/null >"$output" 2>&1 &
    running=$!
    wait "$running" || status=$?
    running=
    seconds=$(((${EPOCHREALTIME/./} - began) / 10000))

    passed=0 failed=0 note=
    if grep -qE '^\[==========\] .*[0-9]+ test\(s\) run' "$output"; then
        passed=$(sum '^.*\[  PASSED  \] ([0-9]+) test.*$')
        failed=$(sum '^ *([0-9]+) FAILED TEST.*$')
        skipped=$(sum '^.*\[  SKIPPED \] ([0-9]+) test.*$')
        if ((skipped > 0)); then note="$skipped skipped"; fi
        failed=$((failed + skipped))
    elif grep -qE '^(not )?ok\b' "$output"; then
        passed=$(grep -cE '^ok\b' "$output" || true)
        failed=$(grep -cE '^not ok\b' "$output" || true)
    elif ((status == 0)) && [[ $program == *.sh ]]; then
        passed=1
    fi
    if ((status == 124)); then note="did not end within ${BLOTTER_TEST_TIMEOUT:-300} s"; fi
    if ((status != 0 && failed == 0)); then
        failed=1 note=${note:-ended with status $status}
    elif ((status == 0 && passed + failed == 0)); then
        failed=1 note="ran no test"
    fi

    word=ok
    if ((failed > 0)); then word=FAILED; fi
    printf '%-6s %-58s %4d passed' "$word" "$program" "$passed"
    if ((failed > 0)); then printf ' %4d failed' "$failed"; fi
    printf ' %5d.%02d s %s\n' $((seconds / 100)) $((seconds % 100)) "$note"
    if ((failed > 0)); then
        sed 's/^/    | /' "$output" | tail -n 400
    fi
    if [[ -n ${BLOTTER_TEST_RESULTS-} ]]; then printf '%d %d %s\n' "$passed" "$failed" "$program" >>"$BLOTTER_TEST_RESULTS"; fi
    all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
done
printf '       %-58s %4d passed, %d failed\n' "in all" "$all_passed" "$all_failed"
((all_failed == 0))
