#!/usr/bin/env bash
# Every benchmark, one after the other: bench.sh small|full. Rows go to build/bench/*.json as they
# come, then to benchmarks/results.json and docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/.."

# MLlib takes a native BLAS where there is one. Where we may, we install it, as the image does.
if ! ldconfig -p | grep -q libopenblas && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  apt-get install -y -qq libopenblas0 >/dev/null
fi

mkdir -p build/bench
bench() {
  echo "---- $*"
  .venv/bin/python "benchmarks/$1.py" --out "build/bench/$1.json" "${@:2}"
}
if [[ $1 == full ]]; then
  bench topn
  bench rules
  bench evaluation
  bench intervals
  bench ingest --ratings 25000000
  bench sgd --ratings 8300000
  bench optimizers --ratings 8300000 --rank 64
  bench svd --ratings 8300000
  bench ease --ratings 8300000 --work build/bench/fits-full
  bench neighbours --ratings 8300000 --work build/bench/fits-full
  bench subspace --ratings 1000000
  bench slim
  bench fits --ratings 8300000 --work build/bench/fits-full
  bench whole_run
  .venv/bin/python benchmarks/growth.py --ratings 1000000,5000000,25000000
else
  bench topn --users 10000 --items 4000 --ratings 1000000
  bench rules --users 10000 --items 4000 --ratings 1000000
  bench evaluation --users 10000
  bench intervals --users 10000
  bench ingest --ratings 1000000
  bench sgd --ratings 1000000
  bench optimizers
  bench svd --ratings 1000000
  bench ease --ratings 1000000
  bench neighbours --ratings 1000000
  bench subspace
  bench slim
  bench fits --ratings 1000000
  bench whole_run --ratings 200000
  .venv/bin/python benchmarks/growth.py --ratings 100000,1000000
fi
if [[ -n ${RECPIPE_MOVIELENS:-} ]]; then bench first_minute --input "$RECPIPE_MOVIELENS"; fi
.venv/bin/python benchmarks/table.py build/bench/*.json
