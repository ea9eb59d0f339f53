"""Settings of a session that are changed for a while, and caches that are nobody else's.

Several threads may fit and rank in one session, whose settings and cache they share.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession

_NARROW = {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)}
# For a plan that runs once, for a few rows, these cost more than they bring.
_PLAIN = {"spark.sql.adaptive.enabled": "false", "spark.sql.codegen.wholeStage": "false"}


@dataclass
class _Held:
    """A setting that is held: by how many `with` statements, and its value before the first."""

    holders: int
    before: str | None


_changes = Lock()
_held: dict[tuple[Any, str], _Held] = {}
"""By session and setting."""


@contextmanager
def narrow_rows(spark: SparkSession) -> Iterator[None]:
    """Within the `with` statement small rows take half the time to Python.

    Spark measures a batch after each row, to end it at so many bytes, and that takes as long as
    writing it. Here a batch ends at `spark.sql.execution.arrow.maxRecordsPerBatch` rows alone, so
    none may hold more than a few numbers or `arrow.VALUE_BYTES`; or there must be few, as of files
    that tasks decode. What other threads run meanwhile goes in such batches, too.
    """
    with _changed(spark, _NARROW):
        yield


@contextmanager
def plain_plans(spark: SparkSession) -> Iterator[None]:
    """Within the `with` statement plans run as they are written: no adaptive execution, no code.

    Both cost more than they save where a plan has few and large rows.
    """
    with _changed(spark, _PLAIN):
        yield


@contextmanager
def _changed(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Settings of a session have these values until the last `with` statement ends.

    Those of several threads may overlap, as long as they give a setting the same value, which
    those of this module do.
    """
    # Several of Python's sessions may stand for one of the JVM's.
    session: Any = spark._jsparkSession  # noqa: SLF001 - the one thing that they share
    with _changes:
        for name, value in settings.items():
            if (held := _held.get((session, name))) is not None:
                held.holders += 1
                continue
            _held[session, name] = _Held(1, spark.conf.get(name, None))
            spark.conf.set(name, value)
    try:
        yield
    finally:
        with _changes:
            for name in settings:
                held = _held[session, name]
                held.holders -= 1
                if held.holders:
                    continue
                del _held[session, name]
                if held.before is None:
                    spark.conf.unset(name)
                else:
                    spark.conf.set(name, held.before)


def cached(frame: DataFrame) -> DataFrame:
    """The same rows, to be cached by memory and disk until `unpersist`, by a plan of their own.

    Spark keeps one cache for equal plans, and whoever unpersists his frame takes it from all. The
    plan of this one has no equal; what sets it apart is gone before anything runs.
    """
    apart = F.lit(uuid.uuid4().hex).isNotNull()
    return frame.where(apart).persist(StorageLevel.MEMORY_AND_DISK)


__all__ = ["cached", "narrow_rows", "plain_plans"]
