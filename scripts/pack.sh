#!/usr/bin/env bash
# Makes what spark-submit.sh sends to the executors of a cluster:
#   build/pack/recpipe.zip          our code, for --py-files
#   build/pack/environment.tar.gz   its dependencies, native ones too, for --archives
# PySpark is not in it: every Spark brings its own. The environment holds no interpreter either, but
# a link to the one it was made with: the executors' hosts need the same system, CPU type and minor
# version of Python, in the same place or in the bin folder below PACK_PYTHON_PREFIX (e.g. /usr).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly folder=build/pack venv=build/pack-venv
mkdir -p "$folder"

.venv/bin/python - "$folder/recpipe.zip" <<'PYTHON'
import sys, zipfile
from pathlib import Path

target = Path(sys.argv[1])
files = sorted(
    path
    for path in Path("recpipe").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
part = target.with_suffix(".part")
with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
    for path in files:  # one date for all: the same code gives the same bytes
        member = zipfile.ZipInfo(str(path), date_time=(1980, 1, 1, 0, 0, 0))
        member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(member, path.read_bytes())
if target.exists() and target.read_bytes() == part.read_bytes():
    part.unlink()  # unchanged: keep its time, and with it the kernels compiled from it
else:
    part.replace(target)
PYTHON

stamp=$(cksum requirements-runtime.lock scripts/pack.sh; .venv/bin/python -V; echo "${PACK_PYTHON_PREFIX:-}")
if [[ ! -f $folder/environment.tar.gz || $stamp != "$(cat "$folder/stamp" 2>/dev/null)" ]]; then
  echo "pack: packing the dependencies; this takes minutes once" >&2
  rm -rf "$venv" "$folder/stamp"
  .venv/bin/python -m venv --without-pip "$venv"
  # A package is a line of its name and the lines indented below it.
  awk '/^[a-z]/ { wanted = !/^(pyspark|py4j|delta-spark)==/ } wanted' requirements-runtime.lock |
    scripts/install.sh "$venv/bin/python" --no-deps --no-compile
  # Byte code that is valid whatever becomes of the files' times on the way to the executors.
  .venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$venv/lib" || true
  # The tests of the dependencies stay behind.
  .venv/bin/venv-pack --prefix "$venv" --output "$folder/environment.part.tar.gz" --force --quiet \
    --compress-level 5 --exclude '*/tests/*' \
    ${PACK_PYTHON_PREFIX:+--python-prefix "$PACK_PYTHON_PREFIX"}
  mv "$folder/environment.part.tar.gz" "$folder/environment.tar.gz"
  echo "$stamp" >"$folder/stamp"
  rm -rf "$venv"
fi
du -h "$folder"/recpipe.zip "$folder"/environment.tar.gz
