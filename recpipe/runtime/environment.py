"""What recpipe finds on this machine: its cache folder, Java, and Delta's jars.

Needs the standard library only and starts no Spark, so that set-up and `recpipe doctor` can ask
before anything else works.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from recpipe.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OLDEST_JAVA = 17
"""The oldest Java that Spark 4.2 runs on."""
_SPARK_NEEDS_MODULE = "jdk.incubator.vector"

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


def cache_folder() -> Path:
    """Where recpipe keeps what it need not fetch or compile twice; not created here.

    `RECPIPE_CACHE`, else `XDG_CACHE_HOME`/recpipe, else ~/.cache/recpipe; without a home, a folder
    of this user's among the temporary files.
    """
    if chosen := os.environ.get("RECPIPE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "recpipe"
    home = Path("~").expanduser()
    # Containers with a user id of their own often say / for a home, or nothing.
    if home.is_dir() and os.access(home, os.W_OK):
        return home / ".cache" / "recpipe"
    return temporary_folder()


def temporary_folder() -> Path:
    """A folder of this user's name among the temporary files; whose it is has to be looked at."""
    return Path(tempfile.gettempdir()) / f"recpipe-{os.getuid()}"


def keep_newest(place: Path, pattern: str, *, kept: int) -> None:
    """Remove the files or folders of that pattern, but for so many of the newest."""
    # Another process may be at the same.
    with suppress(OSError):
        made = sorted(place.glob(pattern), key=lambda path: path.stat().st_mtime)
        for path in made[:-kept]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def kernel_cache() -> Path:
    """Where compiled kernels are kept: `NUMBA_CACHE_DIR`, else below the cache folder."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "numba")


# -- Java ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Java:
    """A Java runtime.

    Args:
        home: what JAVA_HOME would be.
        version: as the runtime itself gives it, e.g. "17.0.15".
        complete: whether it has the modules that Spark needs (a jlinked one may not).
    """

    home: Path
    version: str
    complete: bool = True

    @property
    def major(self) -> int:
        numbers = [int(part) for part in re.findall(r"\d+", self.version)]
        return numbers[1] if len(numbers) > 1 and numbers[0] == 1 else numbers[0]

    @property
    def suits(self) -> bool:
        return self.complete and self.major >= OLDEST_JAVA


def find_java() -> Path:
    """The home of the first Java that Spark can run on: JAVA_HOME, PATH, then the usual folders.

    Raises:
        MissingError: if there is none; the hint is the command that mends it on this system.
    """
    return java().home


def java() -> Java:
    """As `find_java`, with the version."""
    unfit: list[Java] = []
    for found in map(inspect_java, _java_homes()):
        if found is None:
            continue
        if found.suits:
            return found
        unfit.append(found)
    seen = f"; found only {_describe(unfit[0])}" if unfit else ""
    raise MissingError(f"no Java {OLDEST_JAVA} or later here{seen}", hint=java_remedy())


def _describe(java: Java) -> str:
    lack = "" if java.complete else f" without the module {_SPARK_NEEDS_MODULE}"
    return f"{java.version} in {java.home}{lack}"


def inspect_java(home: Path) -> Java | None:
    """What Java is in `home`; None if there is none that can be asked."""
    executable = home / "bin" / "java"
    if not os.access(executable, os.X_OK):
        return None
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    if version := re.search(r'^JAVA_VERSION="?(\d[^"\s]*)', release, re.MULTILINE):
        modules = re.search(r'^MODULES="?([^"\n]*)', release, re.MULTILINE)
        complete = modules is None or _SPARK_NEEDS_MODULE in modules[1].split()
        return Java(home, version[1], complete)
    try:
        asked = subprocess.run(  # noqa: S603 - the very program that Spark would start
            [executable, "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    answer = re.search(r'version "(\d[^"]*)"', asked.stderr + asked.stdout)
    return Java(home, answer[1]) if answer else None


def _java_homes() -> Iterator[Path]:
    """Folders that may be a Java home, the most wanted first, none twice."""
    seen: set[Path] = set()
    for home in chain(_java_asked_for(), _java_installed()):
        resolved = home.resolve()
        if resolved not in seen:
            seen.add(resolved)
            yield home


def _java_asked_for() -> Iterator[Path]:
    if given := os.environ.get("JAVA_HOME"):
        yield Path(given)
    if (on_path := shutil.which("java")) is not None:
        # The link on the path (alternatives, Homebrew) leads to the real home.
        yield Path(on_path).resolve().parent.parent


def _java_installed() -> Iterator[Path]:
    if sys.platform == "darwin":
        for pattern in (
            "/Library/Java/JavaVirtualMachines/*/Contents/Home",
            "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
            "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
        ):
            yield from _matching(pattern)
        yield from _matching("~/Library/Java/JavaVirtualMachines/*/Contents/Home")
    for pattern in ("/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*", "/opt/jdk*"):
        yield from _matching(pattern)
    for pattern in ("~/.sdkman/candidates/java/*", "~/.jdks/*"):
        yield from _matching(pattern)


def _matching(pattern: str) -> list[Path]:
    """Folders of the pattern, the lowest version first: the one that Spark and Delta know best."""
    whole = Path(pattern).expanduser()
    anchor = Path(whole.anchor)
    found = anchor.glob(str(whole.relative_to(anchor)))
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))])


_INSTALL = {
    "dnf": "dnf install -y java-21-openjdk-headless",
    "yum": "yum install -y java-21-openjdk-headless",
    "zypper": "zypper install -y java-21-openjdk-headless",
    "apk": "apk add openjdk21-jre-headless",
    "pacman": "pacman -S --noconfirm jre21-openjdk-headless",
}


def java_remedy() -> str:
    """The command that gives this system a Java, for the hint of an error."""
    if sys.platform == "darwin":
        return "brew install openjdk@21"
    commands = {"apt-get": f"apt-get install -y {_debian_package()}", **_INSTALL}
    for manager, command in commands.items():
        if shutil.which(manager):
            return command if os.geteuid() == 0 else f"sudo {command}"
    return f"install a Java {OLDEST_JAVA} or 21 runtime and set JAVA_HOME to it"


def _debian_package() -> str:
    """Debian dropped 17 after release 12; its default is 17 there and newer ever since."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    old = release.get("VERSION_ID", "") in {"9", "10", "11"}
    if release.get("ID") == "debian" and not old:
        return "default-jre-headless"
    return "openjdk-17-jre-headless"


# -- Delta's jars -------------------------------------------------------------------------------


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


# -- Java's archive of Spark's classes ------------------------------------------------------------


def class_archive() -> Path:
    """Where `recpipe.spark.class_archive` keeps its archive, by Java and Spark; it may not exist.

    Raises:
        MissingError: if there is no Java or no Spark.
    """
    found, jars = java(), spark_home() / "jars"
    made_of = f"{found.home} {found.version} {jars} {jars.stat().st_mtime_ns}"
    return cache_folder() / f"spark-classes-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.jsa"


# -- for scripts --------------------------------------------------------------------------------


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


_ANSWERS: Mapping[str, Callable[[], str]] = {
    "--java": lambda: str(find_java()),
    "--java-remedy": java_remedy,
    "--spark": lambda: str(spark_home()),
    "--delta-jars": lambda: ",".join(str(jar) for jar in delta_jars()),
    "--ready": lambda: f"{find_java()} {delta_jars()[0].parent}",
}


def main(question: str) -> int:
    """Print one answer for a script: `python -m recpipe.runtime.environment --java`."""
    try:
        answer = _ANSWERS[question]()
    except MissingError as error:
        sys.stderr.write(f"recpipe: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
