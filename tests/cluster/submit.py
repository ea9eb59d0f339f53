"""Jobs submitted as users submit them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime.cache import cache_folder
from tests.java import QUICK

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).parents[2]
PACK = REPOSITORY / "build" / "pack"
_PROPERTIES = f"""
spark.executorEnv.RECPIPE_CACHE {cache_folder()}
spark.yarn.appMasterEnv.RECPIPE_CACHE {cache_folder()}
spark.driver.memory 1g
spark.executor.memory 1g
spark.executor.cores 1
spark.executor.instances 2
spark.ui.enabled false
spark.driver.extraJavaOptions {QUICK}
spark.executor.extraJavaOptions {QUICK}
spark.yarn.am.extraJavaOptions {QUICK}
"""
TIMEOUT_SECONDS = 500

SUBMITTED = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("packed"),
    # A test's time includes the start of its cluster, and two of them start beside each other.
    pytest.mark.timeout(1200),
]
"""What marks the tests of a file that submits the pack."""


@dataclass(frozen=True)
class Submitted:
    """A job that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The ends of both streams: what the driver says comes out on either."""
        return f"{self.out[-5000:]}\n{self.err[-3000:]}"


def submit(
    job: str, *options: str | Path, master: str, folder: Path, **variables: str
) -> Submitted:
    """Run `./spark-submit.sh <job> <options>` against a master, to the job's end.

    Args:
        job: of jobs/, or a path from there without `.py`.
        options: of the job.
        master: the Spark master.
        folder: for the properties file, which adds the tests' sizes to the project's own.
        variables: of the environment; `properties` is lines for the properties file instead.
    """
    own = (REPOSITORY / "conf" / "spark-defaults.conf").read_text()
    properties = folder / "spark.conf"
    properties.write_text("\n".join([own, _PROPERTIES, variables.pop("properties", "")]))
    done = subprocess.run(
        [REPOSITORY / "spark-submit.sh", job, *map(str, options)],
        cwd=folder, env=_environment(SPARK_MASTER=master, SPARK_CONF_FILE=str(properties),
                                     **variables),
        capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    return Submitted(done.returncode, done.stdout, done.stderr)


def _environment(**changes: str) -> Mapping[str, str]:
    dropped = ("RECPIPE__", "RECPIPE_ROOT", "RECPIPE_PACK", "PYTHONPATH", "SPARK_", "PYSPARK_")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(dropped)}, **changes}
