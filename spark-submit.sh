#!/usr/bin/env bash
# Submits one of jobs/ to the cluster that the environment names: ./spark-submit.sh <job> [options]
#
#   SPARK_MASTER       local[*] (default), spark://host:7077, yarn, k8s://https://host:6443
#   SPARK_DEPLOY_MODE  client (default) or cluster
#   SPARK_HOME         another Spark of the same version; default: the one in .venv
#   SPARK_CONF_FILE    properties; default: conf/spark-defaults.conf
#   RECPIPE_PACK       where what `make pack` made lies, also on HDFS; default: build/pack
#   RECPIPE_IN_IMAGE   set where the executors' image has recpipe and its dependencies
# docs/operations.md says what each kind of cluster needs, and what becomes of the exit code.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# == 0 || ! -f $here/jobs/$1.py ]]; then
  echo "spark-submit.sh: no job '${1:-}'; one of: $(cd "$here/jobs" && echo *.py | sed 's/\.py//g')" >&2
  exit 2
fi
job=$1 && shift
python=${PYSPARK_DRIVER_PYTHON:-$here/.venv/bin/python}
[[ -x $python ]] || python=$(command -v python3)
pack=${RECPIPE_PACK:-$here/build/pack}
master=${SPARK_MASTER:-local[*]}
mode=${SPARK_DEPLOY_MODE:-client}
program=$here/jobs/$job.py

ask() { PYTHONPATH=$here "$python" -m recpipe.runtime.ask "$@"; }
JAVA_HOME=$(ask --java) # ends with the exit code and the one line of recpipe
SPARK_HOME=${SPARK_HOME:-$(ask --spark)}
export JAVA_HOME SPARK_HOME

options=(--master "$master" --deploy-mode "$mode" --name "recpipe ${job##*/}")
options+=(--properties-file "${SPARK_CONF_FILE:-$here/conf/spark-defaults.conf}")
if [[ $mode == client ]]; then
  options+=(--conf "spark.pyspark.driver.python=$python")
  export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
fi

if [[ -n ${RECPIPE_IN_IMAGE:-} ]]; then
  program=local://$RECPIPE_IN_IMAGE/jobs/$job.py
else
  if jars=$(ask --delta-jars 2>/dev/null); then options+=(--jars "$jars"); fi
  if [[ $master == local* ]]; then
    options+=(--conf "spark.pyspark.python=$python")
  else
    options+=(--py-files "$pack/recpipe.zip" --archives "$pack/environment.tar.gz#environment")
    options+=(--conf spark.pyspark.python=./environment/bin/python)
  fi
fi
exec "$SPARK_HOME/bin/spark-submit" "${options[@]}" "$program" "$@"
