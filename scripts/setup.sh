#!/usr/bin/env bash
# Makes .venv from requirements.lock, finds Java and fetches Delta's jars once.
# Ends at once when nothing changed. PYTHON=... chooses the interpreter of a new .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MISSING=5 # the exit code of recpipe for what the machine lacks (docs/contracts.md)
readonly stamp=.venv/recpipe.stamp installing=.venv/recpipe.installing nojars=.venv/recpipe.nojars

say() { echo "setup: $*" >&2; }

# Everything that decides what .venv holds. Its scripts name its own path, so that counts too.
fingerprint() {
  cksum pyproject.toml requirements.lock scripts/setup.sh scripts/install.sh
  .venv/bin/python -V 2>&1
  pwd
}

python_suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  # A command that exists may still not run (pyenv's shims) or be too old: ask each.
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if python_suits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  say "no Python 3.11 or later (tried ${PYTHON:-python3 python3.13 python3.12 python3.11});" \
    "install one, or run: make setup PYTHON=/path/to/python3"
  return $MISSING
}

# Runs a command of this system's package manager, where that needs no password.
may_install() { [[ $1 == apt-get\ * && $EUID == 0 ]]; }

install() {
  say "$1"
  # shellcheck disable=SC2086 # the command is words
  { apt-get update && DEBIAN_FRONTEND=noninteractive $1; } >/dev/null 2>&1
}

make_venv() {
  local python remedy
  python=$(find_python)
  if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    # Debian and Ubuntu keep the module in a package of its own.
    remedy="apt-get install -y $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if ! may_install "$remedy" || ! install "$remedy"; then
      say "$python lacks the module venv; mend it with: $([[ $EUID == 0 ]] || echo 'sudo ')$remedy"
      return $MISSING
    fi
  fi
  say "making .venv with $("$python" -V)"
  "$python" -m venv --clear .venv
}

install_packages() {
  local pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
  touch "$installing"
  say "installing $(grep -c '==' requirements.lock) packages; this takes minutes once"
  # First what installs the rest, from the lock as well: setuptools for what comes as source, and
  # uv, without which pip goes on.
  local tool
  for tool in setuptools uv; do
    sed -n "/^$tool==/,/# via/p" requirements.lock >"$installing"
    "${pip[@]}" install --require-hashes --no-deps --requirement "$installing" || [[ $tool == uv ]]
  done
  scripts/install.sh .venv/bin/python --compile <requirements.lock
  "${pip[@]}" install --no-deps --no-build-isolation --no-index --editable .
  # Now, or in the middle of the first run: whatever fails here is said there.
  .venv/bin/python -m recpipe.kernels || true
  fingerprint >"$stamp"
  rm "$installing"
}

ask() { .venv/bin/python -m recpipe.runtime.ask "$@"; }

need_java() {
  local found remedy
  if found=$(ask --java 2>&1); then return; fi
  remedy=$(ask --java-remedy)
  if may_install "$remedy" && install "$remedy" && found=$(ask --java 2>&1); then return; fi
  echo "$found" >&2
  return $MISSING
}

fetch_jars() {
  if [[ -e $nojars && ${1:-} != again ]]; then
    say "Delta's jars are missing, so --format delta will not work; make jars tries again"
    return
  fi
  # The one line that says why is the fetcher's own; everything but Delta works without them.
  if .venv/bin/python -m recpipe.runtime.jars >/dev/null; then rm -f "$nojars"; else touch "$nojars"; fi
}

# One start of Python answers both in the usual case: all is there.
if [[ -e $stamp && ! -e $installing && $(fingerprint) == "$(<"$stamp")" ]] &&
  ask --ready >/dev/null 2>&1; then
  rm -f "$nojars"
  exit
fi
if [[ ! -x .venv/bin/python || -e $installing ]] || ! python_suits .venv/bin/python; then
  make_venv
fi
if [[ ! -e $stamp || $(fingerprint) != "$(<"$stamp")" ]]; then install_packages; fi
need_java
fetch_jars "$@"
# Spark starts in half of the time with it; whatever fails, everything works without.
.venv/bin/python -m recpipe.spark.class_archive || true
