"""The call of Spark's own spark-submit for a stage of recpipe.

Needs the standard library only, so that a script can ask for it where recpipe's dependencies are
not installed.
"""

from __future__ import annotations

import os
import site
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from recpipe.errors import MissingError, RecpipeError, UsageError
from recpipe.runtime.jars import delta_jars
from recpipe.runtime.java import find_java
from recpipe.runtime.pack import CODE, ENVIRONMENT, pack_folder
from recpipe.runtime.spark_home import spark_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROPERTIES = Path(__file__).with_name("spark-defaults.conf")
"""Spark's properties where no others are named: conf/spark-defaults.conf."""


@dataclass(frozen=True)
class Submission:
    """Where and with what a program runs.

    Args:
        program: a Python file, or a `local://` URI of one in the image of the executors.
        name: of the application, as Spark's pages show it.
        master: URL of the Spark master.
        deploy_mode: where the driver runs.
        properties: Spark's properties, a file.
        pack: the folder with what `recpipe pack` wrote, also on a store that the cluster reads.
        in_image: whether the image of the executors has recpipe, so that nothing is sent.
    """

    program: str
    name: str
    master: str
    deploy_mode: Literal["client", "cluster"]
    properties: str
    pack: str
    in_image: bool


def command(submission: Submission, arguments: Sequence[str]) -> list[str]:
    """The words of the call.

    Raises:
        MissingError: if there is no Spark.
    """
    local = submission.master.startswith("local")
    words = [
        str(spark_home() / "bin" / "spark-submit"),
        *("--master", submission.master),
        *("--deploy-mode", submission.deploy_mode),
        *("--name", submission.name),
        *("--properties-file", submission.properties),
    ]
    if submission.deploy_mode == "client":
        words += ["--conf", f"spark.pyspark.driver.python={sys.executable}"]
    if not submission.in_image:
        words += _delta()
        if local:
            words += ["--conf", f"spark.pyspark.python={sys.executable}"]
        else:
            words += ["--py-files", f"{submission.pack}/{CODE}"]
            words += ["--archives", f"{submission.pack}/{ENVIRONMENT}#environment"]
            words += ["--conf", "spark.pyspark.python=./environment/bin/python"]
    return [*words, submission.program, *arguments]


def _delta() -> list[str]:
    """Delta's jars where they are: only `--format delta` needs them."""
    try:
        return ["--jars", ",".join(str(jar) for jar in delta_jars())]
    except MissingError:
        return []


def environment(submission: Submission) -> Mapping[str, str]:
    """The variables of the call.

    Raises:
        MissingError: if there is no Java or no Spark.
    """
    own = {"JAVA_HOME": str(find_java()), "SPARK_HOME": str(spark_home())}
    package = str(Path(__file__).parents[2])
    # A driver elsewhere has our code from the pack, and must not look for it in this folder.
    if submission.deploy_mode == "client" and package not in _site_packages():
        own["PYTHONPATH"] = os.pathsep.join(
            filter(None, [package, os.environ.get("PYTHONPATH", "")])
        )
    return {**os.environ, **own}


def _site_packages() -> list[str]:
    return [*site.getsitepackages(), site.getusersitepackages()]


def from_environment(program: str) -> Submission:
    """The submission of a program to where the environment says.

    `SPARK_MASTER`, `SPARK_DEPLOY_MODE`, `SPARK_CONF_FILE`, `RECPIPE_PACK` and `RECPIPE_IN_IMAGE`
    are the variables; docs/operations.md explains them.

    Raises:
        UsageError: if the deploy mode is not one that Spark has.
    """
    mode = os.environ.get("SPARK_DEPLOY_MODE") or "client"
    if mode not in {"client", "cluster"}:
        raise UsageError(f"SPARK_DEPLOY_MODE={mode}: there is no such mode", hint="client, cluster")
    return Submission(
        program=program,
        name=f"recpipe {Path(program).stem}",
        master=os.environ.get("SPARK_MASTER") or "local[*]",
        deploy_mode="cluster" if mode == "cluster" else "client",
        properties=os.environ.get("SPARK_CONF_FILE") or str(PROPERTIES),
        pack=os.environ.get("RECPIPE_PACK") or str(pack_folder()),
        in_image=bool(os.environ.get("RECPIPE_IN_IMAGE")),
    )


def require_pack(submission: Submission) -> None:
    """Raise MissingError if the executors need a pack that is not on this machine."""
    local = submission.in_image or submission.master.startswith("local")
    if local or "://" in submission.pack:
        return
    for name in (CODE, ENVIRONMENT):
        if not (Path(submission.pack) / name).exists():
            raise MissingError(
                f"{Path(submission.pack) / name} is missing, which the executors need",
                hint="make it with `recpipe pack`",
            )


def submit(submission: Submission, arguments: Sequence[str]) -> NoReturn:
    """Run spark-submit in place of this process, whose exit code is then that of spark-submit.

    Raises:
        MissingError: if there is no Java or no Spark.
    """
    words = command(submission, arguments)
    os.execve(words[0], words, environment(submission))  # noqa: S606 - Spark's own launcher


def main(program: str, *arguments: str) -> int:
    """What spark-submit.sh calls with a program and its arguments; returns only on failure."""
    try:
        submit(from_environment(program), arguments)
    except RecpipeError as error:
        sys.stderr.write(f"recpipe: {error}\n")
        return error.exit_code
