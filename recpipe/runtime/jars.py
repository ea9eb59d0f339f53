"""Delta's jars: which ones, where they are, and how they get there once.

`python -m recpipe.runtime.jars` fetches them into the cache.

Spark's own Ivy resolves them, so that mirrors (`DEFAULT_ARTIFACT_REPOSITORY`), proxies
(`SPARK_SUBMIT_OPTS`) and settings (`spark.jars.ivySettings`) work as people know them from Spark.
Every later session reads plain local files and needs no network.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recpipe.errors import MissingError, RecpipeError
from recpipe.runtime.cache import cache_folder
from recpipe.runtime.java import find_java
from recpipe.runtime.spark_home import spark_home

if TYPE_CHECKING:
    from collections.abc import Mapping

SPARK_LINE, SCALA, DELTA = "4.2", "2.13", "4.4.0"
"""Spark and Delta move together: docs/decisions/0001-dependencies.md."""

DELTA_JARS: Mapping[str, str] = {
    "io.delta_delta-kernel-api-4.4.0.jar": (
        "ee9b5a14ac3b7efdff4d61a58478fe8eb0e5a3fbca43889dca7290795fe79a11"
    ),
    "io.delta_delta-kernel-defaults-4.4.0.jar": (
        "225c975199e4718b38ee5b7e6da7f19e9585024262b2cec2656b32151a856b0b"
    ),
    "io.delta_delta-kernel-unitycatalog-4.4.0.jar": (
        "cea22dfb4ac562b3cd27bf652697750e8336009d73fb06631363aaaad5345ffa"
    ),
    "io.delta_delta-spark_4.2_2.13-4.4.0.jar": (
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead"
    ),
    "io.delta_delta-storage-4.4.0.jar": (
        "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"
    ),
    "io.unitycatalog_unitycatalog-client-0.6.0.jar": (
        "48257499a86b801a3e2372cec55ac226ca1c1c7eabe5c118e7302f29a1fdbc19"
    ),
    "io.unitycatalog_unitycatalog-hadoop-0.6.0.jar": (
        "c47b63c961c87102b9e1d63809a0915ba4c86b7652f57c8d39ca3a05b441a150"
    ),
}
"""What Delta needs beyond Spark's own jars, by file name, with the SHA-256 of each."""

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


def delta_folder() -> Path:
    """Where `make setup` puts Delta's jars: in the cache, by the versions that belong together."""
    return cache_folder() / f"delta-{DELTA}-spark-{SPARK_LINE}-scala-{SCALA}"


def delta_jars() -> list[Path]:
    """Delta's jars for `spark.jars`, whole and as pinned.

    `RECPIPE_DELTA_JARS` names another folder, or the jars themselves separated by commas: for
    images and clusters, whose jars are theirs to choose, so that only their presence is checked.

    Raises:
        MissingError: if a jar is missing or is not the one that was pinned.
    """
    if given := os.environ.get("RECPIPE_DELTA_JARS"):
        return _given_jars(given)
    folder = delta_folder()
    remedy = (
        "fetch them once with `python -m recpipe.runtime.jars` (make setup does), or name a folder"
    )
    remedy += " in RECPIPE_DELTA_JARS"
    for name, digest in DELTA_JARS.items():
        found = file_digest(folder / name)
        if found is None:
            raise MissingError(f"{folder}: Delta's jar {name} is missing", hint=remedy)
        if found != digest:
            raise MissingError(f"{folder / name}: not the pinned jar (SHA-256)", hint=remedy)
    return [folder / name for name in DELTA_JARS]


def _given_jars(given: str) -> list[Path]:
    parts = [Path(part.strip()).expanduser() for part in given.split(",") if part.strip()]
    jars = [
        jar for part in parts for jar in (sorted(part.glob("*.jar")) if part.is_dir() else [part])
    ]
    missing = [str(jar) for jar in jars if not jar.is_file()]
    if missing or not any(jar.name.find("delta-spark_") >= 0 for jar in jars):
        raise MissingError(
            f"RECPIPE_DELTA_JARS={given}: "
            + (f"no file {missing[0]}" if missing else "no delta-spark jar there"),
            hint="name a folder of Delta's jars, or the jars separated by commas",
        )
    return jars


def file_digest(path: Path) -> str | None:
    """The SHA-256 of a file in hex; None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


# -- fetching them ------------------------------------------------------------------------------


def fetch_delta_jars() -> list[Path]:
    """Delta's jars, from the cache or else from the Maven repository, checked against their pins.

    Raises:
        MissingError: if Java is missing, the repository cannot be reached, or a jar that came is
            not the pinned one (nothing of it is kept).
    """
    try:
        return delta_jars()
    except MissingError:
        if "RECPIPE_DELTA_JARS" in os.environ:
            raise
    folder = delta_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as staging:
        arrived = _resolve(Path(staging))
        folder.mkdir(exist_ok=True)
        for name, digest in DELTA_JARS.items():
            found = file_digest(arrived / name)
            if found != digest:
                what = "did not come" if found is None else f"has SHA-256 {found}, not {digest}"
                raise MissingError(
                    f"Delta's jar {name} {what}", hint="check the repository or mirror in use"
                )
            # Within one file system: a reader sees the whole file or none.
            (arrived / name).replace(folder / name)
    return delta_jars()


def _resolve(staging: Path) -> Path:
    """Let spark-submit resolve the package for a program that does nothing; the folder of jars."""
    program = staging / "nothing.py"
    program.write_text("", encoding="utf-8")
    submit = spark_home() / "bin" / "spark-submit"
    package = f"io.delta:delta-spark_{SPARK_LINE}_{SCALA}"
    command = [
        str(submit),
        *("--master", "local[1]"),
        *("--packages", f"{package}:{DELTA}"),
        *("--exclude-packages", ",".join(f"{group}:*" for group in _SHIPPED_BY_SPARK)),
        *("--conf", f"spark.jars.ivy={staging / 'ivy'}"),
        str(program),
    ]
    # Ivy asks ~/.m2 first and fails where Maven left a .pom there without its .jar.
    options = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -Duser.home={staging}".strip()
    own = {
        "JAVA_HOME": str(find_java()),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(spark_home()),
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
