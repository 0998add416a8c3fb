#!/usr/bin/env bash
# run.sh [--all]: builds and tests everything, on a bare Debian 12 or 13: root, or sudo. What is missing is installed first.
#
# Ends with a table of what ran, and the line "N passed, N failed"; exit status 0 only if none failed.
#   --all   also what takes longer: the fault tests and those of the Python package with ASan and UBSan,
#           fuzzing, valgrind
# BLOTTER_KEEP=1 keeps the folders of failed tests (servers' data and logs).
set -euo pipefail
cd "$(dirname "$0")/.."

all=
case "${1-}" in
'') ;;
--all)
    all=yes
    export BLOTTER_TEST_ALL=1
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

scratch=$(mktemp -d "${TMPDIR:-/tmp}/blotter-run-XXXXXX")
chmod 711 "$scratch" # the servers' user copies the template from there
export BLOTTER_TEST_RESULTS=$scratch/results BLOTTER_TEST_TEMPLATE=$scratch/template
mkdir -m 711 "$BLOTTER_TEST_TEMPLATE"
: >"$BLOTTER_TEST_RESULTS"
beside=() # processes of ours that run beside the stages
trap 'if ((${#beside[@]} > 0)); then kill "${beside[@]}" 2>/dev/null || true; fi; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

table=()
began=$SECONDS

counted() { # passed or failed so far
    awk -v column="$1" '{ n += $column } END { print n + 0 }' "$BLOTTER_TEST_RESULTS"
}

# stage NAME COMMAND...: runs it; a stage that fails without having counted a failed test counts as one.
stage() {
    local name=$1 start=$SECONDS passed failed status=0
    shift
    passed=$(counted 1) failed=$(counted 2)
    printf '\n=== %s\n' "$name"
    "$@" || status=$?
    if ((status != 0 && $(counted 2) == failed)); then
        printf '0 1 %s (status %d)\n' "$name" "$status" >>"$BLOTTER_TEST_RESULTS"
    fi
    table+=("$(printf '%-44s %4d passed %4d failed %5d s' "$name" \
        $(($(counted 1) - passed)) $(($(counted 2) - failed)) $((SECONDS - start)))")
    return "$status"
}

# shellcheck disable=SC2317 # called by stage
quiet() { # shows the output only if the command fails
    "$@" >"$scratch/output" 2>&1 || {
        local status=$?
        grep -E ' (error|warning): |(\*\*\*|Error [0-9])' "$scratch/output" | head -n 50 || true # make -k goes on behind them
        tail -n 50 "$scratch/output"
        return "$status"
    }
}

finish() {
    local passed failed
    passed=$(counted 1) failed=$(counted 2)
    printf '\n=== summary\n'
    printf '%s\n' "${table[@]}"
    printf '%-44s %25d s\n' total $((SECONDS - began))
    if ((failed > 0)); then
        printf 'failed:\n'
        awk '$2 > 0 { $1 = ""; $2 = ""; sub(/^ +/, "  "); print }' "$BLOTTER_TEST_RESULTS"
    fi
    awk '$NF == "unsteady" { print "unsteady, failed once and passed the second time: " $3 }' "$BLOTTER_TEST_RESULTS"
    awk '$1 + $2 == 0 { $1 = ""; $2 = ""; sub(/^ +/, ""); print "not judged here: " $0 }' "$BLOTTER_TEST_RESULTS"
    if [[ -s tests/known_red.txt ]]; then
        printf 'known red, not counted as failed (tests/known_red.txt): %d programs\n' "$(grep -c ': ' tests/known_red.txt)"
    fi
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0 && passed > 0)) || exit 1
    exit 0
}

jobs=$(nproc 2>/dev/null || echo 2)
asan=(BUILD=build-asan "SANITIZE=-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer")
tsan=(BUILD=build-tsan "SANITIZE=-fsanitize=thread -fno-omit-frame-pointer")
export UBSAN_OPTIONS=print_stacktrace=1 BLOTTER_TEST_AGAIN=${BLOTTER_TEST_AGAIN:-5}

stage "packages" deploy/packages.sh "$([[ -n $all ]] && echo all || echo test)" || finish

# Without the real ccxt, the libraries of data frames and QuestDB's server their tests have nothing to compare, and say so.
fetch() { # FOLDER PACKAGE...
    [[ ! -d $1 ]] || return 0
    /usr/bin/python3 -m pip install -q --retries 1 --timeout 10 --root-user-action ignore --target "$@" || rm -rf "$1"
}
fetch_all() {
    fetch build/ccxt ccxt
    fetch build/frames pandas polars duckdb
    { deploy/packages.sh questdb && tests/fetch_questdb.sh; } >"$scratch/questdb" 2>&1 || {
        tail -n 20 "$scratch/questdb"
        echo "QuestDB's server is not to be had here"
    }
}
if [[ -n ${CI-} ]]; then
    fetch_all >"$scratch/fetched" 2>&1 &
    fetching=$!
    beside+=("$fetching")
fi

stage "build" quiet make -k -j"$jobs" "CFLAGS=-O2 -g -Werror" all tests python build/tests/python/serve || finish
# The tests wait a good part of the time: meanwhile what has a sanitizer is built. Its stages make what is left, and say what is wrong.
sanitized=(unit-tests)
if [[ -n $all ]]; then sanitized=(program examples tests); fi
nice -n 19 make -k "${asan[@]}" "${sanitized[@]}" >/dev/null 2>&1 &
beside+=($!)
nice -n 19 make -k "${tsan[@]}" thread-tests >/dev/null 2>&1 &
beside+=($!)
stage "unit tests" make -s test-unit || true
stage "integration tests" make -s test-integration || true
stage "fault tests" make -s test-fault || true
if [[ -n ${CI-} ]]; then
    wait "$fetching" || true
    cat "$scratch/fetched"
fi
long=()
if [[ -n $all ]]; then long=(env MIRROR_RECORDS=1000000 BLOTTER_TEST_TIMEOUT=1800); fi
stage "Python tests" "${long[@]}" make -s test-python || true
if valkey=$(command -v valkey-server); then
    stage "Valkey instead of Redis" env BLOTTER_REDIS_SERVER="$valkey" make -s test-valkey || true
else
    echo '0 0 Valkey: valkey-server is not packaged here (Debian 13 has it)' >>"$BLOTTER_TEST_RESULTS"
fi
stage "lint" make -s lint || true
wait || true
beside=()
if stage "build, ASan + UBSan" quiet make -k -j"$jobs" "${asan[@]}" "${sanitized[@]}"; then
    stage "unit tests, ASan + UBSan" make -s "${asan[@]}" test-unit || true
    if [[ -n $all ]]; then
        stage "integration tests, ASan + UBSan" make -s "${asan[@]}" test-integration || true
        stage "fault tests, ASan + UBSan" make -s "${asan[@]}" test-fault || true
        stage "Python tests, ASan + UBSan" make -s "${asan[@]}" test-python || true
    fi
fi
# TSan needs fixed addresses on machines that randomise them over more bits than its shadow allows.
fixed="setarch $(uname -m) -R"
if $fixed true 2>/dev/null; then export BLOTTER_TEST_PREFIX=$fixed; fi
stage "threads, TSan" make -s -j"$jobs" "${tsan[@]}" test-threads || true
unset BLOTTER_TEST_PREFIX
if [[ -n $all ]]; then
    stage "fuzzing" make -s fuzz || true
    stage "valgrind" make -s test-valgrind || true
fi
finish
