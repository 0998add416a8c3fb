#!/usr/bin/env bash
# Runs test programs one after the other, each with a time limit, and names those that failed. Their own output (cmocka's, or a script's
# "N passed, N failed") goes through. Exit status 1 if any failed, or if there was none to run.
set -u

limit=${BLOTTER_TEST_LIMIT_S:-300}
failed=()
if [ $# -eq 0 ]; then
    echo "no test programs to run" >&2
    exit 1
fi
for program in "$@"; do
    echo "== $program"
    case $program in
    /*) path=$program ;;
    *) path=./$program ;;
    esac
    started=$SECONDS
    timeout --kill-after=10 "$limit" "$path" </dev/null
    status=$?
    if [ $status -ne 0 ]; then
        [ $status -eq 124 ] && echo "-- $program: did not end within $limit s"
        failed+=("$program")
    fi
    echo "-- $program: exit $status, $((SECONDS - started)) s"
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
