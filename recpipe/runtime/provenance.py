"""What a manifest says of the code and libraries behind a run."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from recpipe import __version__

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LIBRARIES = ("pandas", "numpy", "numba", "pyarrow", "delta-spark")


def code_version() -> str:
    """The version of recpipe, with the commit where it runs from a checkout.

    `+g<commit>`, and `.dirty` where tracked files differ from it.
    """
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return __version__
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=.dirty", "--exclude=*"],  # noqa: S607
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+g{described.stdout.strip()}"


def library_versions(spark: SparkSession) -> dict[str, str]:
    """Versions of Spark, Java, Python and the libraries that shape a result."""
    found = {
        "spark": spark.version,
        "java": str(spark.sparkContext._jvm.System.getProperty("java.version")),  # type: ignore[union-attr]  # noqa: SLF001
        "python": platform.python_version(),
    }
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
