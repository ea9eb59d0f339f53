#!/usr/bin/env bash
# Every check of the code that runs nothing of it; goes on after a failure, so that all are seen.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH=$PWD/.venv/bin:$PATH

failed=
check() {
  local name=$1
  shift
  "$@" || failed+=" $name"
}
files() { git ls-files --cached --others --exclude-standard -- "$@"; }

python=()
for folder in recpipe jobs tests benchmarks .ci; do
  if [[ -n $(files "$folder/*.py") ]]; then python+=("$folder"); fi
done

check ruff ruff check --quiet .
check format ruff format --quiet --check .
check mypy mypy --no-error-summary "${python[@]}"
check layers lint-imports --no-logo
# Names of scripts hold no spaces here.
# shellcheck disable=SC2046
check shellcheck shellcheck $(files '*.sh' .ci/run)
check hadolint hadolint docker/Dockerfile

if [[ -n $failed ]]; then
  echo "lint: failed:$failed" >&2
  exit 1
fi
echo "lint: ruff, format, mypy, layers, shellcheck and hadolint agree"
