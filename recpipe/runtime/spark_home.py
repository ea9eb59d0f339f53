"""The Spark that recpipe runs on, found without importing it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from recpipe.errors import MissingError


def spark_home() -> Path:
    """SPARK_HOME, else the folder of the installed pyspark, which is not imported.

    Raises:
        MissingError: if there is neither.
    """
    if given := os.environ.get("SPARK_HOME"):
        return Path(given)
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingError("pyspark is not installed", hint="run `make setup`")
    return Path(spec.origin).parent


def in_python_worker() -> bool:
    """Whether this process is one of those in which Spark runs the Python of its tasks."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    return main is not None and main.name in {"pyspark.daemon", "pyspark.worker"}
