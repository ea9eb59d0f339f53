"""Fetch Delta's jars once into the cache: `python -m recpipe.runtime.jars`.

Spark's own Ivy resolves them, so that mirrors (`DEFAULT_ARTIFACT_REPOSITORY`), proxies
(`SPARK_SUBMIT_OPTS`) and settings (`spark.jars.ivySettings`) work as people know them from Spark.
Every later session reads plain local files and needs no network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from recpipe.errors import MissingError, RecpipeError
from recpipe.runtime import environment

_TIMEOUT_SECONDS = 300
# Spark ships these groups itself, in versions of its own that must not meet a second one.
_SHIPPED_BY_SPARK = (
    "com.fasterxml.jackson.core",
    "com.fasterxml.jackson.datatype",
    "com.github.luben",
    "com.google.code.findbugs",
    "commons-logging",
    "commons-pool",
    "io.airlift",
    "javax.annotation",
    "org.apache.hadoop",
    "org.apache.logging.log4j",
    "org.apache.parquet",
    "org.locationtech.jts",
    "org.roaringbitmap",
    "org.slf4j",
    "org.xerial.snappy",
)


def fetch_delta_jars() -> list[Path]:
    """Delta's jars, from the cache or else from the Maven repository, checked against their pins.

    Raises:
        MissingError: if Java is missing, the repository cannot be reached, or a jar that came is
            not the pinned one (nothing of it is kept).
    """
    try:
        return environment.delta_jars()
    except MissingError:
        if "RECPIPE_DELTA_JARS" in os.environ:
            raise
    folder = environment.delta_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as staging:
        arrived = _resolve(Path(staging))
        folder.mkdir(exist_ok=True)
        for name, digest in environment.DELTA_JARS.items():
            found = environment.file_digest(arrived / name)
            if found != digest:
                what = "did not come" if found is None else f"has SHA-256 {found}, not {digest}"
                raise MissingError(
                    f"Delta's jar {name} {what}", hint="check the repository or mirror in use"
                )
            # Within one file system: a reader sees the whole file or none.
            (arrived / name).replace(folder / name)
    return environment.delta_jars()


def _resolve(staging: Path) -> Path:
    """Let spark-submit resolve the package for a program that does nothing; the folder of jars."""
    program = staging / "nothing.py"
    program.write_text("", encoding="utf-8")
    submit = environment.spark_home() / "bin" / "spark-submit"
    package = f"io.delta:delta-spark_{environment.SPARK_LINE}_{environment.SCALA}"
    command = [
        str(submit),
        *("--master", "local[1]"),
        *("--packages", f"{package}:{environment.DELTA}"),
        *("--exclude-packages", ",".join(f"{group}:*" for group in _SHIPPED_BY_SPARK)),
        *("--conf", f"spark.jars.ivy={staging / 'ivy'}"),
        str(program),
    ]
    # Ivy asks ~/.m2 first and fails where Maven left a .pom there without its .jar.
    options = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -Duser.home={staging}".strip()
    own = {
        "JAVA_HOME": str(environment.find_java()),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(environment.spark_home()),
        "SPARK_SUBMIT_OPTS": options,
    }
    try:
        done = subprocess.run(  # noqa: S603 - pyspark's own launcher
            command,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(
            f"Delta's jars did not come within {_TIMEOUT_SECONDS} s", hint="check the network"
        ) from error
    if done.returncode:
        raise MissingError(
            f"Delta's jars cannot be fetched: {_cause(done.stderr)}",
            hint="everything but `--format delta` works without them; a mirror can be named in"
            " DEFAULT_ARTIFACT_REPOSITORY, a folder of jars in RECPIPE_DELTA_JARS",
        )
    return staging / "ivy" / "jars"


def _cause(log: str) -> str:
    """The line of Ivy's or Java's report that says most."""
    lines = [" ".join(line.split()) for line in log.splitlines()]
    for mark in ("module not found", "download failed", "Exception", "rror"):
        for line in lines:
            if mark in line:
                return line[:200]
    return lines[-1][:200] if lines else "spark-submit said nothing"


def main() -> int:
    """Fetch, and say in one line what came of it; the exit code of a `recpipe` command."""
    try:
        jars = fetch_delta_jars()
    except RecpipeError as error:
        sys.stderr.write(f"recpipe: {error}\n")
        return error.exit_code
    megabytes = sum(jar.stat().st_size for jar in jars) / 1e6
    sys.stdout.write(f"Delta's jars: {len(jars)} files, {megabytes:.0f} MB, {jars[0].parent}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
