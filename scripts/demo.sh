#!/usr/bin/env bash
# The whole pipeline on synthetic ratings under .demo: a table of metrics, the path of the report and
# ten recommendations of one user.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH

readonly folder=.demo
rm -rf "$folder"
recpipe data synthesize "$folder/source" --ratings "${DEMO_RATINGS:-100000}"
recpipe run --input "$folder/source" --root "$folder/root" --run-id demo
recpipe show 1 --root "$folder/root"
