#!/bin/bash
# The SQL schema against a PostgreSQL of its own: starts one in a temporary folder, migrates it, runs sql_*.sql beside this
# file, and what needs two sessions. Prints a line for every check that failed, and at the end how many passed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${BLOTTER_PROGRAM:-$here/../../../build/blotter}")
bin=${PG_BINDIR:-$(pg_config --bindir)}
dir=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL does not run as root.
    chown postgres "$dir"
    as=(runuser -u postgres --)
fi

finish() {
    if [ -f "$dir/data/postmaster.pid" ]; then
        "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT

cd "$dir"
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$dir/initdb.log"
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w start \
    -o "-k '$dir' -c listen_addresses='' -c fsync=off -c autovacuum_naptime=5s -c timezone=Asia/Kathmandu -c shared_preload_libraries=pg_stat_statements" >/dev/null

export PGHOST=$dir PGUSER=postgres PGDATABASE=blotter PGOPTIONS='-c client_min_messages=warning'
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
quiet() { sql "$@" >/dev/null; }

quiet -d postgres -c 'CREATE DATABASE blotter'
"$program" migrate --postgres "host=$dir user=postgres dbname=blotter" >"$dir/migrate.log"
quiet -f "$here/sql_begin.sql"

# check NAME IS SHOULD_BE
check() {
    quiet -v name="$1" -v is="$2" -v should_be="$3" <<<"SELECT test.same(:'name', :'is', :'should_be')"
}

for file in tables orders fills views; do
    quiet -f "$here/sql_$file.sql"
done

# Two sessions. A session is a psql that reads from a pipe; `said` waits until it has done what it was told.
open() { # NAME
    mkfifo "$dir/$1.in"
    psql -qXAt -v ON_ERROR_STOP=1 <"$dir/$1.in" >"$dir/$1.out" 2>&1 &
}
tell() { # DESCRIPTOR STATEMENTS
    echo "$2" >&"$1"
}
said() { # NAME TEXT
    for _ in $(seq 2000); do
        if grep -q "$2" "$dir/$1.out"; then
            return
        fi
        sleep 0.02
    done
    echo "session $1 did not say $2:" >&2
    cat "$dir/$1.out" >&2
    exit 1
}
# Counts the sessions that wait for another.
waiting() {
    for _ in $(seq 2000); do
        if [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")" = "$1" ]; then
            return
        fi
        sleep 0.02
    done
    echo "not $1 sessions waiting" >&2
    tail "$dir"/*.out >&2
    exit 1
}
event() { # AT ORDER_ID CLIENT_ORDER_ID STATUS PRICE [AT ...]
    local rows=()
    while [ $# -gt 0 ]; do
        rows+=("($1, $1, $2, $3, $4, $5)")
        shift 5
    done
    local values
    values=$(IFS=,; echo "${rows[*]}")
    echo "DELETE FROM test.events; INSERT INTO test.events (at, seq, order_id, client_order_id, status, price) VALUES $values;
          SELECT test.drain(array_agg(e ORDER BY at)) FROM test.events e; DELETE FROM test.events;"
}
open one
open two
exec 3>"$dir/one.in" 4>"$dir/two.in"
tell 3 'SELECT blotter_internal.begin_session();'
tell 4 'SELECT blotter_internal.begin_session();'

race() { # NAME FIRST SECOND SHOULD_BE: two transactions at once, the second waits for the first
    race_number=$((${race_number:-0} + 1))
    tell 3 "BEGIN; $2 SELECT 'first $race_number';"
    said one "first $race_number"
    tell 4 "BEGIN; $3 COMMIT; SELECT 'second $race_number';"
    waiting 1
    tell 3 "COMMIT;"
    said two "second $race_number"
    check "$1" "$(sql -c 'SELECT test.state()')" "$4"
    quiet -c 'SELECT blotter_internal.rebuild_orders()'
    check "$1_and_rebuilt" "$(sql -c 'SELECT test.state()')" "$4"
    quiet -c 'SELECT test.clear()'
}
# sql_views dropped that day.
quiet -c "UPDATE blotter_internal.retention SET first_day = '2015-01-01'" -c "SELECT blotter_internal.make_day('2026-07-31')"
race two_drainers_with_one_new_order "$(event 1 "'X'" NULL "'open'" 1 4 "'X'" NULL NULL 4)" "$(event 2 "'X'" NULL "'filled'" 2 3 "'X'" NULL "'open'" 3)" \
    'X[]: filled over c= p=4 q= f= 1.4.4.7'
quiet -c "SELECT blotter_internal.begin_session()" -c "$(event 1 "'X'" NULL NULL 1 2 "'Y'" NULL NULL 1)"
race two_drainers_with_one_known_order_an_older_event_coming_last "$(event 5 "'X'" NULL "'open'" 5 6 "'Y'" NULL NULL 6)" "$(event 3 "'X'" NULL NULL 3 4 "'Y'" NULL "'new'" NULL)" \
    $'X[]: open alive c= p=5 q= f= 1.5.5.7\nY[]: new alive c= p=6 q= f= 2.6.6.7'
race two_drainers_one_with_the_client_id_alone "$(event 1 NULL "'c'" "'pending_new'" 1)" "$(event 2 "'X'" "'c'" "'open'" NULL)" \
    'X[]: open alive c=c p=1 q= f= 1.2.2.7'
race two_drainers_the_other_way_round "$(event 2 "'X'" "'c'" "'open'" NULL)" "$(event 1 NULL "'c'" "'pending_new'" 1)" \
    'X[]: open alive c=c p=1 q= f= 1.2.2.7'
quiet -c "SELECT blotter_internal.begin_session()" -c "$(event 3 NULL "'c'" "'canceled'" 1)"
race two_drainers_two_orders_of_one_client_id "$(event 1 "'X'" "'c'" "'open'" 5)" "$(event 2 "'Y'" "'c'" "'open'" 6)" \
    $'X[]: open alive c=c p=5 q= f= 1.1.1.7\nY[]: open alive c=c p=6 q= f= 2.2.2.7\n?c[]: canceled over c=c p=1 q= f= 3.3.3.7'

# Two that make the same day at once, beside an open transaction that has written to another day.
tell 3 "BEGIN; INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity) VALUES (1, 1, '2026-07-31Z', 'x', 'B', 1, 1); SELECT 'wrote';"
said one wrote
check 'a_day_is_made_beside_an_open_load' "$(sql -c "SET lock_timeout = '2s'" -c "SELECT blotter_internal.make_day('2026-09-01')")" ready
tell 4 "BEGIN; SELECT blotter_internal.make_day('2026-09-02'); SELECT 'made';"
said two made
tell 3 "SELECT blotter_internal.make_day('2026-09-02'); SELECT 'made too';"
waiting 1
tell 4 'COMMIT;'
said one 'made too'
tell 3 "COMMIT; SELECT 'one is done';"
said one 'one is done'
check 'two_may_make_the_same_day_at_once' "$(sql -c "SELECT count(*) FROM blotter_internal.partitions WHERE day = '2026-09-02' AND state = 'kept'")" 6

# A load that is under way when its day is folded counts; the next one is refused.
tell 3 "BEGIN; INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, account, symbol, price, quantity, side, trade_id) VALUES (1, 2, '2026-07-31Z', 'x', 'a', 'B', 1, 1, 'buy', 't'); SELECT 'wrote again';"
said one 'wrote again'
tell 4 "SELECT count(*) FROM blotter_internal.aggregate_days('2026-08-01'); SELECT 'folded';"
waiting 1
tell 3 "COMMIT;"
said two folded
check 'a_load_under_way_is_waited_for_when_its_day_is_folded' "$(sql -c "SELECT 2::bigint <@ dropped FROM blotter_internal.gone_seqs WHERE exchange = 'x'")" t

# The fence: whoever holds the lock is ended.
key=-1234567890123456789
tell 4 "SELECT pg_advisory_lock($key); SELECT 'holding';"
said two holding
check 'a_holder_that_is_busy_is_left_alone' "$(sql -c "SELECT blotter_internal.fence($key, '1 hour')")" ''
check 'a_holder_is_fenced' "$(sql -c "SELECT blotter_internal.fence($key) IS NOT NULL")" t
while [ "$(sql -c "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")" != 0 ]; do sleep 0.02; done # its session ends
check 'a_lock_that_nobody_holds_fences_nobody' "$(sql -c "SELECT blotter_internal.fence($key), blotter_internal.fence(1)")" '|'
# A lock of the same number in another database is another lock.
quiet -d postgres -c 'CREATE DATABASE other'
PGDATABASE=other open three
exec 5>"$dir/three.in"
tell 5 "SELECT pg_advisory_lock($key); SELECT 'elsewhere';"
said three elsewhere
check 'a_lock_of_another_database_fences_nobody' "$(sql -c "SELECT blotter_internal.fence($key), blotter_internal.lock_holder($key)")" '|'
tell 5 "SELECT 'still there';"
said three 'still there'
exec 3>&- 4>&- 5>&-
wait 2>/dev/null || true

sql -c "SELECT 'FAILED ' || name || E'\n' || detail FROM test.results WHERE NOT ok ORDER BY n"
sql -c "SELECT count(*) FILTER (WHERE ok) || ' passed, ' || count(*) FILTER (WHERE NOT ok) || ' failed' FROM test.results"
[ "$(sql -c 'SELECT count(*) FROM test.results WHERE NOT ok')" = 0 ]
