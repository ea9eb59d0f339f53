#!/usr/bin/env bash
# Writes the locks from pyproject.toml: exact versions with the hashes of every file, one version
# of each package for Linux and macOS, x86_64 and arm64, and Python 3.11 to 3.13.
#   requirements.lock          everything: what `make setup` installs
#   requirements-runtime.lock  what recpipe runs on: for the image and for `make pack`
#   requirements-neural.lock   that and PyTorch: what `make neural` adds
# Packages stay where the present lock has them; `scripts/lock.sh --upgrade` moves them on.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# lock FILE HEADING OPTIONS...
lock() {
  local file=$1 heading=$2
  [[ -f $file ]] && cp "$file" "$folder/$file"
  # --no-config and the unset variables keep this machine's mirrors and folders out of the lock.
  env -u UV_FIND_LINKS -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_INDEX_URL \
    .venv/bin/uv pip compile pyproject.toml --universal --fork-strategy fewest \
    --python-version 3.11 --generate-hashes --no-header --no-config --quiet \
    --output-file "$folder/$file" "${@:3}" >/dev/null
  { echo "# $heading Written by \`make lock\` from pyproject.toml; do not edit."; cat "$folder/$file"; } >"$file.new"
  mv "$file.new" "$file"
  echo "$file: $(grep -c '==' "$file") packages"
}

lock requirements.lock "Exact versions with hashes." --extra dev "$@"
lock requirements-runtime.lock "The part of requirements.lock that recpipe runs on." \
  --constraint requirements.lock "$@"
lock requirements-neural.lock "What recpipe and its neural models run on." --extra neural \
  --constraint requirements.lock "$@"
