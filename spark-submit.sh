#!/usr/bin/env bash
# Submits one of jobs/ to the cluster that the environment names: ./spark-submit.sh <job> [options]
#
#   SPARK_MASTER       local[*] (default), spark://host:7077, yarn, k8s://https://host:6443
#   SPARK_DEPLOY_MODE  client (default) or cluster
#   SPARK_HOME         another Spark of the same version; default: the one in .venv
#   SPARK_CONF_FILE    properties; default: conf/spark-defaults.conf
#   RECPIPE_PACK       the folder that `make pack` filled, also on HDFS; default: build/pack
#   RECPIPE_IN_IMAGE   set where the executors' image has recpipe and its dependencies
# docs/operations.md says what each kind of cluster needs, and what becomes of the exit code.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# == 0 || ! -f $here/jobs/$1.py ]]; then
  echo "spark-submit.sh: no job '${1:-}'; one of: $(cd "$here/jobs" && echo *.py | sed 's/\.py//g')" >&2
  exit 2
fi
program=$here/jobs/$1.py && shift
if [[ -n ${RECPIPE_IN_IMAGE:-} ]]; then program=local://$RECPIPE_IN_IMAGE/jobs/${program##*/}; fi
python=${PYSPARK_DRIVER_PYTHON:-$here/.venv/bin/python}
[[ -x $python ]] || python=$(command -v python3)
export RECPIPE_PACK=${RECPIPE_PACK:-$here/build/pack}
export SPARK_CONF_FILE=${SPARK_CONF_FILE:-$here/conf/spark-defaults.conf}
# Not by PYTHONPATH, which a driver on another host would take over.
exec "$python" -c 'import sys
sys.path.insert(0, sys.argv[1])
from recpipe.runtime.submit import main
sys.exit(main(*sys.argv[2:]))' "$here" "$program" "$@"
