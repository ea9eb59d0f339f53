#!/usr/bin/env bash
# Copies what tests/cluster/pom.xml lists to build/cluster-jars, from which the tests start a real
# HDFS and YARN. Without Maven, or where Maven reaches nothing, it says so and those tests skip.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pom=tests/cluster/pom.xml folder=build/cluster-jars
stamp=$(cksum "$pom")
if [[ $stamp == "$(cat "$folder/.complete" 2>/dev/null)" ]]; then
  exit 0
fi
if ! command -v mvn >/dev/null; then
  echo "cluster-jars: no Maven (mvn) here, so the tests on HDFS and YARN will be skipped" >&2
  exit 0
fi
echo "cluster-jars: fetching Hadoop's test cluster (70 MB) once" >&2
rm -rf "$folder"
if log=$(mvn -B -q -f "$pom" dependency:copy-dependencies \
  -DoutputDirectory="$PWD/$folder" 2>&1); then
  echo "$stamp" >"$folder/.complete"
else
  echo "cluster-jars: Maven failed, so the tests on HDFS and YARN will be skipped: $(
    grep -m1 ERROR <<<"$log" || tail -n1 <<<"$log"
  )" >&2
fi
