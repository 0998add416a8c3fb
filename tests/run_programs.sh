#!/usr/bin/env bash
# run_programs.sh PROGRAM...: runs test programs, a line each as they end, and the whole output of those that fail.
#
# A program is a cmocka test, or a script that says `ok NAME` and `not ok NAME` (TAP), or else counts as one test by its exit
# status. A skipped test counts as failed; so does a program that ends badly or runs no test. Exit status 1 if any has failed.
# A program that tests/known_red.txt lists may fail: it is shown, and its failures are not counted.
# With BLOTTER_TEST_AGAIN, programs that failed run once more, one at a time, when all others have ended. One that passes
# then is told as UNSTEADY, with the output of its failure, here and in the summary of tests/run.sh: a machine that others
# use as well must not hide what else is found, and a race must not hide behind a second try.
# What the prefix cannot run (it says why, and exits with 77) counts as neither.
#
# BLOTTER_TEST_AGAIN     how many may have failed for that; more than so many are no accident (0)
# BLOTTER_TEST_JOBS      how many run at the same time (as many as there are processors: they wait more than they compute)
# BLOTTER_TEST_RESULTS   a file to which "passed failed name" is appended for each program
# BLOTTER_TEST_TIMEOUT   seconds for one program (300)
# BLOTTER_TEST_PREFIX    a command that each program is run by, such as `valgrind -q`
set -euo pipefail

scratch=$(mktemp -d "${TMPDIR:-/tmp}/blotter-output-XXXXXX")
jobs=${BLOTTER_TEST_JOBS:-$(nproc 2>/dev/null || echo 2)}
timeout=${BLOTTER_TEST_TIMEOUT:-300}
results=${BLOTTER_TEST_RESULTS:-/dev/null}
read -ra prefix <<<"${BLOTTER_TEST_PREFIX-}"
running=()
not_judged=77

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if ((${#running[@]} > 0)); then kill -TERM "${running[@]}" 2>/dev/null || true; fi
    wait
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sum() { # sum FILE PATTERN: of the numbers that sed's \1 finds in the file
    sed -nE "s/$2/\\1/p" "$1" | awk '{ n += $1 } END { print n + 0 }'
}

# Runs a program; leaves "passed failed" in FILE.counts and what is to be shown in FILE.report.
run_one() { # run_one FILE PROGRAM
    local file=$1 program=$2 status=0 passed=0 failed=0 skipped note='' word=ok child began=${EPOCHREALTIME/./} hundredths
    timeout -k 10 "$timeout" "${prefix[@]}" "$program" </dev/null >"$file" 2>&1 &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null; wait "$child"; exit 143' TERM
    wait "$child" || status=$?
    hundredths=$(((${EPOCHREALTIME/./} - began) / 10000))

    if grep -qE '^\[==========\] .*[0-9]+ test\(s\) run' "$file"; then
        passed=$(sum "$file" '^.*\[  PASSED  \] ([0-9]+) test.*$')
        failed=$(sum "$file" '^ *([0-9]+) FAILED TEST.*$')
        skipped=$(sum "$file" '^.*\[  SKIPPED \] ([0-9]+) test.*$')
        if ((skipped > 0)); then note="$skipped skipped"; fi
        failed=$((failed + skipped))
    elif grep -qE '^(not )?ok\b' "$file"; then
        passed=$(grep -cE '^ok\b' "$file" || true)
        failed=$(grep -cE '^not ok\b' "$file" || true)
    elif ((status == 0)) && [[ $program == *.sh ]]; then
        passed=1
    fi
    if ((status == 124)); then note="did not end within $timeout s"; fi
    if ((status == not_judged && ${#prefix[@]} > 0 && passed + failed == 0)); then
        word=NOTE note=$(tail -n 1 "$file")
    elif ((status != 0 && failed == 0)); then
        failed=1 note=${note:-ended with status $status}
    elif ((status == 0 && passed + failed == 0)); then
        failed=1 note="ran no test"
    fi

    note=${note:-$(sed -n '/^# not judged/{s/^# //p;q}' "$file")}

    # tests/known_red.txt names programs that fail today, each with its reason: they run, their failures
    # are shown as KNOWN, and do not hide a new failure elsewhere
    local known='' name=${program#"${BUILD:-build}"/}
    known=$(sed -n "s|^${name#build*/}: ||p" "$(dirname "$0")/known_red.txt" 2>/dev/null || true)
    {
        if ((failed > 0)); then word=FAILED; fi
        if ((failed > 0)) && [[ -n $known ]]; then
            word=KNOWN note="$failed known red: $known" failed=0
        fi
        printf '%-6s %-58s %4d passed' "$word" "$program" "$passed"
        if ((failed > 0)); then printf ' %4d failed' "$failed"; fi
        printf ' %5d.%02d s %s\n' $((hundredths / 100)) $((hundredths % 100)) "$note"
        if ((failed > 0)); then sed 's/^/    | /' "$file" | tail -n 400; fi
    } >"$file.report"
    printf '%d %d %s\n' "$passed" "$failed" "$program" >"$file.counts.part"
    mv "$file.counts.part" "$file.counts"
}

all_passed=0 all_failed=0 failures=()
count() { # count FILE: adds what FILE.counts says
    local passed failed
    read -r passed failed _ <"$1.counts"
    all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
    cat "$1.counts" >>"$results"
}

report_ended() { # of those that have a .counts; what failed is counted at the end
    local file failed
    for file in "$scratch"/*.counts; do
        [[ -e $file ]] || continue
        cat "${file%.counts}.report"
        read -r _ failed _ <"$file"
        if ((failed > 0)); then failures+=("${file%.counts}"); else count "${file%.counts}"; fi
        mv "$file" "$file.told"
    done
}

run_again() { # run_again FILE PROGRAM: the second try of one that failed
    local failed
    run_one "$1.again" "$2" &
    running=($!)
    wait -n || true
    running=()
    cat "$1.again.report"
    read -r _ failed _ <"$1.again.counts"
    if ((failed == 0)); then
        printf 'UNSTEADY %s: it failed, then passed\n' "$2"
        sed -i 's/$/ unsteady/' "$1.again.counts"
        mv "$1.again.counts" "$1.counts"
    else
        rm "$1.again.counts"
    fi
}

wait_for_one() {
    local pid still=()
    wait -n || true
    for pid in "${running[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then still+=("$pid"); fi
    done
    running=(${still[@]+"${still[@]}"})
    report_ended
}

number=0
for program in "$@"; do
    while ((${#running[@]} >= jobs)); do wait_for_one; done
    number=$((number + 1))
    run_one "$scratch/$number" "$program" &
    running+=($!)
done
while ((${#running[@]} > 0)); do wait_for_one; done
report_ended
for file in ${failures[@]+"${failures[@]}"}; do
    mv "$file.counts.told" "$file.counts"
    if ((${#failures[@]} <= ${BLOTTER_TEST_AGAIN:-0})); then
        read -r _ _ program <"$file.counts"
        run_again "$file" "$program"
    fi
    count "$file"
done
printf '       %-58s %4d passed, %d failed\n' "in all" "$all_passed" "$all_failed"
((all_failed == 0))
