#!/usr/bin/env bash
# packages.sh [--missing] SET...: installs the Debian packages of these sets that are missing, and does nothing else. Debian 12 and 13;
# root, or sudo. With --missing it only prints what it would install.
#
#   run         build and run everything: the quickstart
#   page        npm, by which the build fetches the chart libraries for the page of `blotter web`
#   python      build the Python package, run the examples and what README shows
#   test        what tests/run.sh needs
#   questdb     Java and Maven, for the tests of `blotter mirror` (tests/fetch_questdb.sh)
#   experiment  what `make experiment` needs
#   all         test, and what tests/run.sh --all needs
#
# Servers that it installs are not started and not enabled: the quickstart and the tests run private ones of their own.
set -euo pipefail

build=(gcc libc6-dev make pkg-config libhiredis-dev libevent-dev libpq-dev libjansson-dev libxxhash-dev libcmocka-dev)
servers=(redis-server postgresql)
python=(python3-dev python3-setuptools python3-wheel python3-pip python3-venv python3-psycopg2 python3-asyncpg python3-websockets)
rivals=(python3-redis python3-uvloop)
page=(npm)
browser=(chromium chromium-driver python3-selenium)
pooler=(pgbouncer)
questdb=(default-jre-headless maven)
capture=(tshark)
checks=(g++ clang-format cppcheck shellcheck openssl prometheus jq curl)
long=(clang valgrind patroni python3-etcd etcd-server)
optional=(valkey-server) # in Debian 13 only

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/blotter-no-cluster.conf
made=() # what is to be removed at the end
apt=    # the process group of the apt-get that runs
hurt=   # what would be hurt by ending it now

say() {
    printf '%s\n' "$*" >&2
}

installed() {
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@" 2>/dev/null || sudo "$@"; fi
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if [[ -n $apt && -n $hurt ]]; then
        say "interrupted: waiting until $hurt, so that they are not left half installed"
    elif [[ -n $apt ]]; then
        as_root kill -TERM -- "-$apt" 2>/dev/null || true
    fi
    while [[ -n $apt ]] && as_root kill -0 -- "-$apt" 2>/dev/null; do sleep 0.1; done
    ((${#made[@]} == 0)) || as_root rm -f "${made[@]}"
    exit "$status"
}

packaged() {
    [[ "$(apt-cache policy "$1" 2>/dev/null)" == *"Candidate: "[0-9]* ]]
}

# Adds to missing what the distribution has of `wanted_optional`.
add_optional() {
    local package
    for package in "${wanted_optional[@]}"; do
        if ! installed "$package" && packaged "$package" && [[ " ${missing[*]} " != *" $package "* ]]; then missing+=("$package"); fi
    done
}

# A process group of its own, so that Ctrl-C does not reach it: clean_up stops it, or waits for it.
apt_get() {
    local status=0
    set -m
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" \
        </dev/null >>"$log" 2>&1 &
    apt=$!
    set +m
    wait "$apt" || status=$?
    apt=
    return "$status"
}

put_file() { # path mode line...
    local path=$1 mode=$2
    shift 2
    [[ ! -e $path ]] || return 0
    made+=("$path")
    as_root mkdir -p "$(dirname "$path")"
    printf '%s\n' "$@" | as_root tee "$path" >/dev/null
    as_root chmod "$mode" "$path"
}

only_print=
if [[ ${1-} == --missing ]]; then
    only_print=yes
    shift
fi
test=("${build[@]}" "${servers[@]}" "${python[@]}" "${rivals[@]}" "${checks[@]}" "${page[@]}" "${browser[@]}" "${pooler[@]}" "${capture[@]}")
wanted=()
wanted_optional=()
for set in "${@:-}"; do
    case $set in
    run) wanted+=("${build[@]}" "${servers[@]}") ;;
    page) wanted+=("${page[@]}") ;;
    python) wanted+=("${build[@]}" "${python[@]}") ;;
    test) wanted+=("${test[@]}") wanted_optional=("${optional[@]}") ;;
    questdb) wanted+=("${questdb[@]}") ;;
    experiment) wanted+=("${build[@]}" "${servers[@]}" "${python[@]}" "${rivals[@]}" python3-matplotlib) ;;
    all) wanted+=("${test[@]}" "${long[@]}") wanted_optional=("${optional[@]}") ;;
    *)
        say "usage: packages.sh [--missing] run|page|python|test|questdb|experiment|all ..."
        exit 2
        ;;
    esac
done

# pkg-config's package has two names, and msgpack-c's too: libmsgpack-dev (Debian 12), libmsgpack-c-dev (Debian 13).
missing=()
for package in "${wanted[@]}"; do
    if [[ $package == pkg-config ]] && installed pkgconf; then continue; fi
    if [[ $package == npm || $package == maven ]] && command -v "${package/maven/mvn}" >/dev/null; then continue; fi
    if [[ $package == default-jre-headless ]] && command -v java >/dev/null; then continue; fi
    installed "$package" || [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
done
add_optional
msgpack=
if [[ " ${wanted[*]} " == *" gcc "* ]] && ! installed libmsgpack-c-dev && ! installed libmsgpack-dev; then msgpack=wanted; fi
((${#missing[@]} > 0)) || [[ -n $msgpack ]] || exit 0
if [[ -n $only_print ]]; then
    echo "${missing[*]} ${msgpack:+libmsgpack-c-dev}"
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    say "packages.sh: this is not Debian; install the equivalents of: ${missing[*]} ${msgpack:+libmsgpack-c-dev}"
    exit 2
fi
sudo=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        say "packages.sh: needs root or sudo to install: ${missing[*]} ${msgpack:+libmsgpack-c-dev}"
        exit 2
    fi
    sudo true
    sudo=(sudo)
fi

log=$(mktemp "${TMPDIR:-/tmp}/blotter-packages-XXXXXX.log")
made+=("$log")
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "installing: ${missing[*]}${msgpack:+ msgpack-c}"
if [[ -n "$(dpkg --audit 2>/dev/null)" ]]; then # an earlier run was interrupted
    hurt="broken packages are repaired"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >>"$log" 2>&1 || true
    apt_get -y --fix-broken install || true
    hurt=
fi
apt_get update || apt_get update || {
    tail -n 20 "$log" >&2
    say "packages.sh: apt-get update failed; going on with the lists there are"
}
add_optional
if [[ -n $msgpack ]]; then
    if [[ -n "$(apt-cache policy libmsgpack-c-dev 2>/dev/null)" ]]; then
        missing+=(libmsgpack-c-dev)
    else
        missing+=(libmsgpack-dev)
    fi
fi

put_file "$policy" 755 '#!/bin/sh' 'exit 101'
installed postgresql-common || put_file "$no_cluster" 644 'create_main_cluster = false'
install() { # option...
    apt_get -y --no-install-recommends "$@" install "${missing[@]}"
}
installed_all=
if install --download-only; then
    hurt="the packages are installed"
    if install --no-download; then installed_all=yes; fi
    hurt=
fi
if [[ -z $installed_all ]]; then
    tail -n 40 "$log" >&2
    say "packages.sh: apt-get install failed"
    exit 1
fi
for package in "${missing[@]}"; do
    case $package in
    redis-server | valkey-server | postgresql)
        as_root update-rc.d "$package" disable >/dev/null 2>&1 || true
        say "installed $package; its system service is left off (systemctl enable --now $package turns it on)"
        ;;
    esac
done
