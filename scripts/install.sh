#!/usr/bin/env bash
# Installs the locked packages that standard input lists: scripts/install.sh PYTHON [OPTIONS] <lock
# With uv where it is at hand, which takes half of pip's time or less. It does not read pip's
# settings, so whoever has a mirror or a proxy there gets pip, and so does who has no uv.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$1 && shift
packages=$(mktemp)
trap 'rm -f "$packages"' EXIT
cat >"$packages"

# PySpark comes as source: it is built with the locked setuptools, which set-up installs first.
options=(--quiet --require-hashes --no-build-isolation --requirement "$packages" "$@")
pip=(.venv/bin/python -m pip --disable-pip-version-check)
# Not piped into grep -q, whose early end would count as pip's failure.
configured=$("${pip[@]}" config list)

if [[ -x .venv/bin/uv && ! $configured =~ (index-url|no-index|proxy)= ]] &&
  .venv/bin/uv pip install --python "$python" "${options[@]}"; then
  exit
fi
"${pip[@]}" --python "$python" install "${options[@]}"
