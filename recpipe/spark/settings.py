"""The section `session`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Session(Section):
    """The Spark session. What is not here belongs in conf/spark-defaults.conf."""

    master: str = ""
    """Spark master URL; empty: what spark-submit or SPARK_MASTER says, else `local[*]`."""
    driver_memory: str = "auto"
    """Heap of the driver where recpipe starts it itself; auto: a share of this machine's memory."""
    shuffle_partitions: int = Field(0, ge=0)
    """`spark.sql.shuffle.partitions`; 0: twice the cores, at least 2."""
    ui: bool = False
    """Whether the Spark UI runs for a local master (a cluster's own settings decide there)."""
    conf: dict[str, str] = Field({})
    """Any further `spark.*` settings."""
