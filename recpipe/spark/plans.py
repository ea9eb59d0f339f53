"""The session's planner, held back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

# For a plan that runs once, for a few rows, these cost more than they bring.
_PLAIN = {"spark.sql.adaptive.enabled": "false", "spark.sql.codegen.wholeStage": "false"}


@contextmanager
def plain_plans(spark: SparkSession) -> Iterator[None]:
    """Plans of few and large rows run as they are written while the block lasts."""
    before = {name: str(spark.conf.get(name)) for name in _PLAIN}
    for name, value in _PLAIN.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
