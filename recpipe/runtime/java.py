"""Finds a Java that Spark can run on, or says how this system gets one.

Needs the standard library only and starts no Spark, so that set-up and `recpipe doctor` can ask
before anything else works.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from recpipe.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_JAVA = 17
"""The oldest Java that Spark 4.2 runs on."""
_SPARK_NEEDS_MODULE = "jdk.incubator.vector"


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
