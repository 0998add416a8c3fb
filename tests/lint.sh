#!/usr/bin/env bash
# lint.sh: the checks that run nothing: format, static analysis, shell scripts, headers, layers, exported symbols.
#
# Needs a build (BUILD, default build) for the symbols. All checks run, whatever the earlier ones say; exit status 1 if one fails.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build}
pkg_config=${PKG_CONFIG:-pkg-config}
failures=0

mapfile -t headers < <(find schema producer drainer tests -name '*.h' | sort)
mapfile -t sources < <(find schema producer drainer tests -name '*.c' | sort)
mapfile -t scripts < <(
    find . \( -path ./.git -o -path './build*' -o -path ./.run \) -prune -o -type f \( -name '*.sh' -o -path './.ci/*' \) -print | sort
)
msgpack="msgpack-c"
"$pkg_config" --exists "$msgpack" || msgpack=msgpack
read -ra package_flags < <("$pkg_config" --cflags hiredis libevent_core libpq jansson cmocka python3 "$msgpack")

not_judged=77 # the exit status of a check that cannot be made here: told, and counted neither as passed nor as failed

check() { # check NAME FUNCTION
    local output status=0 word=ok
    output=$("$2" 2>&1) || status=$?
    if ((status == not_judged)); then
        word=NOTE
    elif ((status != 0)) && grep -q "^lint: $1: " tests/known_red.txt 2>/dev/null; then
        word=KNOWN status=$not_judged
    elif ((status != 0)); then
        word=FAILED failures=$((failures + 1))
    fi
    printf '%-6s %s\n' "$word" "$1"
    if [[ -n $output ]]; then printf '    | %s\n' "${output//$'\n'/$'\n    | '}"; fi
    if [[ -n ${BLOTTER_TEST_RESULTS-} ]]; then
        printf '%d %d %s\n' $((status == 0)) $((status != 0 && status != not_judged)) "lint: $1" >>"$BLOTTER_TEST_RESULTS"
    fi
}

tool() {
    command -v "$1" >/dev/null || {
        echo "$1 is not installed (deploy/packages.sh test installs it)"
        return 1
    }
}

# Versions format a few things differently; the code is formatted as 14 (Debian 12) does, and another one's opinion is only told.
format() {
    local program=clang-format version
    if command -v clang-format-14 >/dev/null; then program=clang-format-14; fi
    tool "$program" || return 1
    version=$("$program" --version | grep -oE '[0-9]+' | head -n 1)
    if [[ $version == 14 ]]; then
        "$program" --dry-run --Werror "${headers[@]}" "${sources[@]}" 2>&1 | grep -E 'error:' | head -n 50
        return "${PIPESTATUS[0]}"
    fi
    echo "not judged: clang-format 14 (Debian 12) judges, this is $version, which would change"
    "$program" --dry-run "${headers[@]}" "${sources[@]}" 2>&1 | grep -E 'warning:' | cut -d: -f1 | sort | uniq -c
    return "$not_judged"
}

# Not its uninitvar and uninitdata: it takes f(text, make(text)) for a use before the first write. And the tests may die where
# memory is out or a fixture has failed, which it cannot see to end the test. varFuncNullUB: glibc's NULL is a pointer in C.
static_analysis() {
    tool cppcheck || return 1
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 -j 2 -I. -Iproducer -D_GNU_SOURCE \
        --suppress={uninitvar,uninitdata,varFuncNullUB,normalCheckLevelMaxBranches} \
        --suppress={nullPointerOutOfMemory,nullPointerOutOfResources,nullPointerArithmeticOutOfMemory,nullPointerRedundantCheck}:tests/'*' \
        "${sources[@]}"
}

shell_scripts() {
    tool shellcheck || return 1
    shellcheck "${scripts[@]}"
}

headers_alone() {
    local header failed=0
    for header in "${headers[@]}"; do
        ${CC:-cc} -std=c11 -D_GNU_SOURCE -I. -Iproducer "${package_flags[@]}" -Wall -Wextra -Werror -fsyntax-only -x c "$header" || {
            echo "$header does not compile alone"
            failed=1
        }
    done
    return "$failed"
}

public_header() {
    ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror -I. -fsyntax-only -x c producer/blotter.h || return 1
    tool "${CXX:-c++}" || return 1
    ${CXX:-c++} -std=c++11 -pedantic -Wall -Wextra -Werror -I. -fsyntax-only -x c++ producer/blotter.h || return 1
    # as it is installed: it stands alone, and leaves a macro of the user's named X as it is
    local installed=${BUILD:-build}/include/blotter/blotter.h user='int twice(int n); int twice(int n) { return X(n); }'
    ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror -DX\(n\)='(n)*2' -include "$installed" -fsyntax-only -x c - <<<"$user" || return 1
    ${CXX:-c++} -std=c++11 -pedantic -Wall -Wextra -Werror -DX\(n\)='(n)*2' -include "$installed" -fsyntax-only -x c++ - <<<"$user" || return 1
    if ${CC:-cc} -I. -M -x c producer/blotter.h | grep -oE '[^ ]*(event2?/|hiredis|libpq|postgresql|msgpack)[^ ]*'; then
        echo "producer/blotter.h includes what its users do not need"
        return 1
    fi
}

# The layers, from below: schema, producer, drainer/redis, drainer/postgres, which knows of Redis only the streams, drainer/mirror on
# Redis, drainer/web on PostgreSQL, drainer/commands on all of these but web. The Python package stands on schema and on the library's
# public header. Each line says what some files may not include.
layers() {
    local found=0
    forbid() { # forbid PATTERN FILE...
        local pattern=$1
        shift
        if grep -nE "#include \"($pattern)" "$@"; then found=1; fi
    }
    forbid '(producer|drainer|tests)/' schema/*.[ch]
    forbid '(drainer|tests)/' producer/*.[ch]
    forbid 'tests/' drainer/*.[ch] drainer/*/*.[ch]
    forbid '(producer|drainer|tests)/' producer/python/src/*.[ch]
    forbid 'drainer/(postgres|mirror|web|commands)/' drainer/redis/*.[ch]
    forbid 'drainer/(redis/([^s]|s[^t]|st[^r]|str[^e]|stream_)|(mirror|web|commands)/)' drainer/postgres/*.[ch]
    forbid 'drainer/(postgres|web|commands)/' drainer/mirror/*.[ch]
    forbid 'drainer/(redis|mirror|commands)/' drainer/web/*.[ch]
    forbid 'drainer/web/' drainer/commands/*.[ch]
    forbid '(schema/(record|decimal|stream)\.h|producer/[^b]|drainer|tests)' producer/example/*.c
    return "$found"
}

# Columns, braces, comments that open with their subject, include circles, names in more than one file.
house_rules() {
    python3 tests/house.py --check
}

# libblotter.so exports what blotter.h declares, and nothing else; libblotter.a and the header's macros keep to the prefix.
exported_symbols() {
    local library=$build/libblotter.so
    [[ -e $library && -e $build/libblotter.a ]] || {
        echo "$library or libblotter.a is not built"
        return 1
    }
    if nm -g --defined-only "$build/libblotter.a" | grep -E '^[0-9a-f]+ ' | grep -vE ' blotter_[a-z0-9_]+$'; then return 1; fi
    if comm -13 <(${CC:-cc} -include stddef.h -include stdint.h -E -dM -x c /dev/null | sort) \
        <(${CC:-cc} -E -dM -x c "$build/include/blotter/blotter.h" | sort) | grep -vE '^#define BLOTTER_'; then return 1; fi
    diff --label blotter.h --label libblotter.so -u \
        <(${CC:-cc} -I. -E -P -x c producer/blotter.h | grep -oE '\bblotter_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u) \
        <(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
}

# blotter(3) names every function, type, constant and member that blotter.h declares, but for the members of the records.
manual() {
    local name missing=0 header page
    page=$(sed 's/\\-/-/g' producer/blotter.3)
    header=$(${CC:-cc} -I. -E -P -dD -x c producer/blotter.h | sed -n '/define BLOTTER_H/,$p' | sed '/^struct blotter_\(order\|trade\|cash\|balance\|position\|instrument\|reject\|session\) {/,/^}/d')
    for name in $({
        grep -v '^#' <<<"$header" | grep -oE '\bblotter_[a-z0-9_]+'
        grep -oE '^#define BLOTTER_[A-Z]+(_[A-Z]+)*\b' <<<"$header" | grep -oE 'BLOTTER_.*' | grep -vE '_H$|_FIELDS$|^BLOTTER_(C_TYPE|MEMBER|RECORD_KINDS|X_)'
        grep -oE '\bBLOTTER_[A-Z_]+ = ' <<<"$header" | tr -d ' ='
        grep -v '^#' <<<"$header" | sed -n '/^struct blotter_[a-z]* {/,/^}/p' | grep -oE '\b[a-z][a-z0-9_]*(\[[^]]*\])?;' | grep -oE '^[a-z0-9_]+'
        grep -oE '\(\*[a-z_]+\)' <<<"$header" | tr -d '(*)'
    } | sort -u); do
        grep -qE "\b$name\b" <<<"$page" || {
            echo "producer/blotter.3 does not name $name"
            missing=1
        }
    done
    return "$missing"
}

# Files, functions, commands and settings that README and the other pages name; README's length.
documents() {
    python3 tests/documents.py
}

check "clang-format" format
check "cppcheck" static_analysis
check "shellcheck" shell_scripts
check "every header compiles alone" headers_alone
check "the public header compiles as C99 and C++11" public_header
check "layers: schema, producer, drainer" layers
check "house rules (tests/house.py)" house_rules
check "exported symbols are those of blotter.h" exported_symbols
check "blotter(3) names all of blotter.h" manual
check "documents name what is there (tests/documents.py)" documents
((failures == 0))
