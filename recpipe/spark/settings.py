"""The section `session`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Session(Section):
    """The Spark session. What is not here belongs in conf/spark-defaults.conf."""

    master: str = ""
    """URL of the Spark master. Empty: what spark-submit or SPARK_MASTER says, else `local[*]`."""
    driver_memory: str = "auto"
    """Memory of the driver's Java process where recpipe starts it itself, such as 4g. auto: a third
    of this machine's memory, from 1 to 16 GiB."""
    shuffle_partitions: int = Field(0, ge=0)
    """Spark's `spark.sql.shuffle.partitions`; 0: twice the number of cores, at least 2."""
    ui: bool = False
    """Whether Spark's pages are served where recpipe starts Spark itself."""
    conf: dict[str, str] = Field({})
    """Further properties of Spark, such as `--set session.conf.spark.task.maxFailures=1`."""
