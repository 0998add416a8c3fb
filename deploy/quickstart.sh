#!/usr/bin/env bash
# quickstart.sh: the whole of Blotter on one machine, in one command: installs what is missing, builds, starts a private Redis and
# a private PostgreSQL on unix sockets, two drainers and a simulated desk, and shows what arrived.
#
#   --strategies N   how many strategies the desk has (100)
#   --rate N         order updates a second, all together (200)
#   --seconds N      how long it trades (30)
#   --keep           leave servers and drainers running, and print how to look at them
#   --stop           stop what --keep has left running
#   --help           this
#
# Debian 12 or 13, root or sudo. Everything is under .run/ and goes when it ends; Ctrl-C at any time leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
umask 022

strategies=100 rate=200 seconds=30 keep='' stop=''
build=${BUILD:-build}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$root/deploy/quickstart.sh"
}

complain() {
    printf 'quickstart: %s\n' "$*" >&2
}

number() { # option value
    [[ ${2-} =~ ^[1-9][0-9]{0,6}$ ]] || {
        complain "$1: a whole number above 0, not '${2-}'"
        exit 2
    }
    printf '%s' "$2"
}

while (($# > 0)); do
    case $1 in
    --strategies)
        strategies=$(number "$@")
        shift
        ;;
    --rate)
        rate=$(number "$@")
        shift
        ;;
    --seconds)
        seconds=$(number "$@")
        shift
        ;;
    --keep) keep=yes ;;
    --stop) stop=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        complain "unknown option $1"
        usage >&2
        exit 2
        ;;
    esac
    shift
done

# --- processes ---
#
# Every child gets a process group of its own: Ctrl-C then reaches this script alone, which stops the others in order. What runs
# to its end (apt, make, initdb, the desk) is `step`; what stays (servers, drainers) is `start`, is listed in $run/processes, and
# is stopped by the kernel if this script dies without having said goodbye. The lock (descriptor 9) stays with the script.

run=$root/.run
data=             # where servers keep their files: $run/data, or what that links to
journals=         # the desk's, in shared memory
step=             # the step under way
patience=150      # tenths of a second that a step gets to end
processes=()      # "name pid start-time signal", the last one started first
as_server=()      # the command that becomes the servers' user
finished=

start_time() { # of a pid, which makes it that process and no other; empty: there is none, or it is dead
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} == Z ]] || printf '%s' "${stat[19]}"
}

# shellcheck disable=SC2086 # a process is a list of words
is_running() {
    set -- $1
    [[ -n $3 && "$(start_time "$2")" == "$3" ]]
}

# shellcheck disable=SC2086
stop_process() { # "name pid start-time signal"
    local process=$1 waited
    set -- $process
    is_running "$process" || return 0
    kill -"$4" "$2" 2>/dev/null || true
    for ((waited = 0; waited < 150; waited++)); do
        is_running "$process" || return 0
        sleep 0.1
    done
    complain "$1 (pid $2) does not stop: killing it"
    kill -KILL "$2" 2>/dev/null || true
    while is_running "$process"; do sleep 0.1; done
}

stop_processes() {
    local process
    for process in ${processes[@]+"${processes[@]}"}; do stop_process "$process"; done
    processes=()
}

stop_step() {
    local waited
    [[ -n $step ]] || return 0
    kill -TERM -- "-$step" 2>/dev/null || true
    for ((waited = 0; waited < patience; waited++)); do
        kill -0 -- "-$step" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$step" 2>/dev/null || true
    step=
}

remove_data() {
    if [[ -L $run/data ]]; then rm -rf -- "$(readlink "$run/data")"; fi
    rm -rf -- "$run/data" "$run/processes" "$run/build.log"
    if [[ -L $run/journals ]]; then rm -rf -- "$(readlink "$run/journals")" "$run/journals"; fi
    if [[ -n $data ]]; then rm -rf -- "$data"; fi # made, but not linked yet
    if [[ -n $journals ]]; then rm -rf -- "$journals"; fi
}

on_exit() {
    local status=$?
    trap '' INT TERM HUP
    set +e
    stop_step
    if [[ -n $finished && -n $keep ]]; then exit "$status"; fi
    if [[ -n $data && -z $finished ]] && ((status != 130 && status != 143)); then
        tail -n 15 "$data"/*.log >&2 2>/dev/null
    fi
    stop_processes
    remove_data
    if ((status == 130 || status == 143)); then complain "interrupted: everything is stopped"; fi
    exit "$status"
}

step() { # name command...
    local name=$1 status=0
    shift
    printf '[%3d s] %s\n' "$SECONDS" "$name"
    set -m
    "$@" </dev/null 9>&- &
    step=$!
    set +m
    wait "$step" || status=$?
    step=
    ((status == 0)) || complain "$name: failed (status $status)"
    return "$status"
}

start() { # name signal-to-stop-it command...
    local name=$1 signal=$2 death=(--pdeathsig "$2") pid
    shift 2
    if [[ -n $keep ]]; then death=(); fi
    set -m
    setpriv ${death[@]+"${death[@]}"} "$@" </dev/null >>"$data/$name.log" 2>&1 9>&- &
    pid=$!
    set +m
    processes=("$name $pid $(start_time "$pid") $signal" ${processes[@]+"${processes[@]}"})
    printf '%s\n' "${processes[@]}" >"$run/processes"
}

wait_for() { # what, log, command...: until the command succeeds
    local what=$1 log=$2 waited
    shift 2
    for ((waited = 0; waited < 300; waited++)); do
        is_running "${processes[0]}" || break
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    complain "$what does not come up; its log:"
    tail -n 20 "$log" >&2
    exit 1
}

# --- one at a time ---

mkdir -p "$run"
exec 9>"$run/lock"
if ! flock -n 9; then
    complain "another quickstart runs in this folder"
    exit 1
fi
kept=()
if [[ -e $run/processes ]]; then
    mapfile -t kept <"$run/processes"
fi
alive=
for process in ${kept[@]+"${kept[@]}"}; do
    if is_running "$process"; then alive=yes; fi
done
if [[ -n $stop ]]; then
    processes=(${kept[@]+"${kept[@]}"})
    stop_processes
    remove_data
    echo "stopped"
    exit 0
fi
if [[ -n $alive ]]; then
    complain "an earlier run with --keep is still there; deploy/quickstart.sh --stop ends it"
    exit 1
fi
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
remove_data

# --- install, build ---

packages=(run)
if [[ -n $keep ]]; then packages+=(page); fi
if ((EUID != 0)) && [[ -n "$(deploy/packages.sh --missing "${packages[@]}")" ]] && command -v sudo >/dev/null; then
    sudo -v # asks for the password here, where it can
fi
patience=6000 # it does not leave packages half installed
step "packages" deploy/packages.sh "${packages[@]}"
patience=150
build_everything() {
    make -j"$(nproc)" BUILD="$build" all >"$run/build.log" 2>&1 || {
        tail -n 30 "$run/build.log" >&2
        return 1
    }
}
step "build" build_everything
blotter=$root/$build/blotter desk=$root/$build/example/desk

# --- servers ---

postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -n | tail -n 1)
[[ -x $postgres/postgres ]] || {
    complain "there is no PostgreSQL under /usr/lib/postgresql"
    exit 1
}
if ((EUID == 0)); then # PostgreSQL refuses to run as root
    as_server=(setpriv --reuid postgres --regid postgres --clear-groups)
fi

# The servers' folder: open to them and to us, and to nobody else, as PostgreSQL trusts who gets in.
make_data() {
    data=$run/data
    mkdir "$data"
    if ((EUID == 0)); then chgrp postgres "$data" && chmod 710 "$data"; else chmod 700 "$data"; fi
    if ((${#data} <= 70)) && "${as_server[@]}" test -x "$data/."; then return 0; fi
    rmdir "$data"
    data=$(mktemp -d /tmp/blotter-quickstart-XXXXXX)
    ln -s "$data" "$run/data"
    if ((EUID == 0)); then chgrp postgres "$data" && chmod 710 "$data"; fi
    if ((${#run} > 65)); then
        complain "the path of $run is too long for unix sockets: the data is in $data, linked from there"
    else
        complain "user postgres cannot enter $run: the data is in $data, linked from there"
    fi
}
make_data
mkdir -m 700 "$data/redis" "$data/postgres"
mkdir -m 750 "$data/sockets"
if ((EUID == 0)); then chown postgres:postgres "$data/redis" "$data/postgres" "$data/sockets"; fi
# Five journals of 32 MiB. In a container /dev/shm may be smaller.
shm_free=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail -n 1 || true)
if ((${shm_free:-0} >= 256)); then
    journals=$(mktemp -d /dev/shm/blotter-quickstart-XXXXXX)
else
    complain "less than 256 MiB free in /dev/shm: the journals are on disk, where submitting may wait for it"
    journals=$(mktemp -d "$data/journals-XXXXXX")
fi
ln -s "$journals" "$run/journals"

{
    cat deploy/redis.conf
    printf 'dir %s\nunixsocket %s\nunixsocketperm 770\nport 0\ndaemonize no\n' "$data/redis" "$data/sockets/redis.sock"
} >"$data/redis.conf"
chmod 644 "$data/redis.conf"
redis_url=unix://$data/sockets/redis.sock
conninfo="host=$data/sockets user=postgres dbname=blotter"

initialise() {
    cd "$data"
    "${as_server[@]}" "$postgres/initdb" --pgdata="$data/postgres" --username=postgres --auth=trust --encoding=UTF8 --locale=C \
        --no-instructions >"$data/initdb.log" 2>&1
}
step "PostgreSQL: a new cluster" initialise
{
    cat deploy/postgresql.conf
    printf "listen_addresses = ''\nunix_socket_directories = '%s'\nunix_socket_permissions = 0770\nport = 5432\n" "$data/sockets"
} >>"$data/postgres/postgresql.conf"

psql() {
    command psql --no-psqlrc --quiet --pset pager=off --set ON_ERROR_STOP=1 --dbname="$conninfo" "$@"
}
server_options=("${as_server[@]:1}")
printf '[%3d s] %s\n' "$SECONDS" "Redis and PostgreSQL: start"
start redis TERM ${server_options[@]+"${server_options[@]}"} redis-server "$data/redis.conf"
wait_for Redis "$data/redis.log" redis-cli -s "$data/sockets/redis.sock" ping
start postgres INT ${server_options[@]+"${server_options[@]}"} "$postgres/postgres" -D "$data/postgres"
wait_for PostgreSQL "$data/postgres.log" pg_isready -q -h "$data/sockets"

create_database() {
    command psql --no-psqlrc --quiet -h "$data/sockets" -U postgres -d postgres -c 'CREATE DATABASE blotter'
    "$blotter" migrate --postgres "$conninfo"
}
step "blotter migrate" create_database

# --- trade ---

printf '[%3d s] %s\n' "$SECONDS" "two drainers: start"
for instance in 1 2; do
    start "drain-$instance" TERM "$blotter" drain --redis "$redis_url" --postgres "$conninfo"
done
trade() {
    "$desk" --redis "$redis_url" --journal "$journals" --strategies "$strategies" --rate "$rate" --seconds "$seconds" \
        >"$data/desk.json"
}
step "a desk of $strategies strategies on 5 exchanges, $rate order updates a second, for $seconds s" trade || desk_failed=yes

# --- show ---

title() {
    printf '\n--- %s\n' "$1"
}

show() {
    local status=0
    title "blotter status"
    "$blotter" status --redis "$redis_url" --postgres "$conninfo" || status=1
    title "blotter audit"
    "$blotter" audit --postgres "$conninfo" || status=1
    title "open orders: the first of $(psql -At -c 'SELECT count(*) FROM blotter.open_orders')"
    psql -c "SELECT exchange, strategy, symbol, side, price, quantity, filled_quantity AS filled, status
             FROM blotter.open_orders ORDER BY exchange, strategy, symbol LIMIT 8" || status=1
    title "positions: some of $(psql -At -c 'SELECT count(*) FROM blotter.positions')"
    psql -c "SELECT exchange, strategy, symbol, quantity, round(average_price, 4) AS average, round(realized_pnl, 4) AS realized, fees, fills
             FROM blotter.positions ORDER BY fills DESC, exchange, symbol LIMIT 8" || status=1
    title "profit and loss of today by exchange"
    psql -c "SELECT exchange, currency, fills, round(realized_pnl, 4) AS realized, round(unrealized_pnl, 4) AS unrealized,
                    round(fees, 4) AS fees, round(net_pnl, 4) AS net
             FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'exchange')" || status=1
    title "candles of BTC/USDT on binance, 5 seconds each"
    psql -c "SELECT * FROM blotter.candles('BTC/USDT', '5 seconds', now() - interval '1 day', now() + interval '1 day', 'binance')
             LIMIT 8" || status=1
    title "how long it took"
    sed -E 's/.*"submit_ns": \{([^}]*)\}.*/submit, ns:        \1/; s/"//g' "$data/desk.json"
    psql -At -c "
        WITH records AS (
            SELECT recorded_at, 1000 * extract(epoch FROM stored_at - recorded_at)::float8 AS ms,
                   recorded_at < min(recorded_at) OVER () + interval '2 seconds' AS early
            FROM (SELECT recorded_at, stored_at FROM blotter.order_events UNION ALL
                  SELECT recorded_at, stored_at FROM blotter.trades) AS all_records)
        SELECT format('submit to row, ms:  p50: %s, p99: %s, max: %s (to the transaction that stored it; %s records)',
                      round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
                      round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2),
                      round(max(ms)::numeric, 2), count(*))
        FROM records WHERE NOT early
        UNION ALL
        SELECT format('                    max: %s in the first 2 s, while the drainers find the new streams (%s records)',
                      round(max(ms)::numeric, 2), count(*))
        FROM records WHERE early" || status=1
    return "$status"
}
failed=${desk_failed-}
step "what has arrived" show || failed=yes

web_address() { grep -oE 'http://[^ ]+' "$data/web.log"; }
if [[ -n $keep ]]; then
    finished=yes
    start web TERM env BLOTTER_REDIS="$redis_url" BLOTTER_POSTGRES="$conninfo" "$blotter" web
    wait_for "the page" "$data/web.log" web_address
    title "left running; look with"
    printf 'a browser: %s\n' "$(web_address)"
    printf 'psql "%s"\n' "$conninfo"
    printf 'redis-cli -s %s xinfo groups blotter:binance\n' "$data/sockets/redis.sock"
    printf '%s status --redis %s --postgres "%s"\n' "$build/blotter" "$redis_url" "$conninfo"
    printf 'deploy/quickstart.sh --stop\n'
else
    if [[ -z $failed ]]; then finished=yes; fi
    stop_processes
    printf '\nnext: deploy/quickstart.sh --keep leaves all of it running, with a page for the browser; README.md tells how to record\n'
fi
[[ -z $failed ]]
