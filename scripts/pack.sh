#!/usr/bin/env bash
# Makes what spark-submit.sh sends to the executors of a cluster, in build/pack: `recpipe pack`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH=$PWD exec .venv/bin/python -m recpipe pack build/pack
