#!/usr/bin/env bash
# fetch_questdb.sh: QuestDB's server for the tests of `blotter mirror`, into build/questdb: one jar, of a fixed version and content.
#
# Needs Java 17 and Maven (deploy/packages.sh questdb installs them). Nothing is fetched that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=9.3.4
sum=939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062
folder=build/questdb
jar=$folder/questdb-$version.jar

good() {
    [[ -f $jar ]] && sha256sum --quiet --check - <<<"$sum  $jar" >/dev/null 2>&1
}

good && exit 0
mkdir -p "$folder"
timeout 300 mvn -q -B -ntp dependency:copy "-Dartifact=org.questdb:questdb:$version" "-DoutputDirectory=$folder" -Dmdep.overWriteReleases=true >&2
good || {
    rm -f "$jar"
    echo "fetch_questdb.sh: what was fetched is not the jar that the tests were written for" >&2
    exit 1
}
