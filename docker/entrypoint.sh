#!/usr/bin/env bash
# What a container of the image runs: a command as it is given, or, when Kubernetes' scheduler in
# Spark starts the container, the driver or an executor of an application.
set -euo pipefail

driver() {
  # spark-submit in cluster mode made this pod; in here the same application is a client.
  exec spark-submit --deploy-mode client \
    --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
    --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" "$@"
}

executor() {
  # Spark numbers the options: SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, ... Each is one argument.
  local name options=()
  for name in $(compgen -v SPARK_JAVA_OPT_ | sort -V); do options+=("${!name}"); done
  exec java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
    -cp "${SPARK_CLASSPATH:-}:$SPARK_HOME/conf:$SPARK_HOME/jars/*" \
    org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
    --driver-url "$SPARK_DRIVER_URL" \
    --executor-id "$SPARK_EXECUTOR_ID" \
    --cores "$SPARK_EXECUTOR_CORES" \
    --app-id "$SPARK_APPLICATION_ID" \
    --hostname "$SPARK_EXECUTOR_POD_IP" \
    --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
    --podName "$SPARK_EXECUTOR_POD_NAME"
}

case ${1:-} in
  driver | executor) "$@" ;;
  *) exec "$@" ;;
esac
