#!/usr/bin/env bash
# test_alerts.sh: the alert rules fire when they should (promtool test rules), and every metric that they name is one that a drainer gives.
set -euo pipefail
cd "$(dirname "$0")/../../.."

rules=$PWD/deploy/prometheus/alerts.yml
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
report() { # report NAME STATUS
    if (($2 == 0)); then echo "ok $1"; else
        echo "not ok $1"
        failures=$((failures + 1))
    fi
}

command -v promtool >/dev/null || {
    echo "not ok promtool is not installed (deploy/packages.sh test installs it)"
    exit 1
}
status=0
promtool check rules "$rules" || status=1
report "the rules are valid" $status
sed "s|ALERTS|$rules|" tests/integration/drainer/alerts_test.yml >"$folder/test.yml"
status=0
promtool test rules "$folder/test.yml" || status=1
report "each alert fires when it should, and not before" $status
while read -r alert; do
    status=0
    grep -q "alertname: $alert" tests/integration/drainer/alerts_test.yml || status=1
    report "$alert has a test" $status
done < <(sed -n 's/.*alert: \(Blotter[A-Za-z]*\)$/\1/p' "$rules")
# The names of metrics are made of X-lists, so each is looked for without its prefix.
while read -r metric; do
    status=0
    short=${metric#blotter_}
    grep -rqE "\"$short\"|X\(${short#drain_},|X\([a-z_]+, $short," drainer || status=1
    report "$metric is a metric of drain" $status
done < <(grep -oE 'blotter_[a-z_]+' "$rules" | sed -E 's/_bucket$//' | sort -u)
((failures == 0))
