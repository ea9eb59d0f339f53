"""Packs what `recpipe submit` sends to the executors of a cluster: our code and its dependencies.

`recpipe.zip` is the package itself, for `--py-files`. `environment.tar.gz` has what the package
needs beside Spark, as it is installed here, native libraries too, for `--archives`: Spark unpacks
it on each executor. It holds no interpreter but a link to the one that runs this, so the hosts of
the executors need the same system, CPU type and minor version of Python.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

from recpipe.errors import MissingError, UsageError, did_you_mean
from recpipe.runtime.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

CODE, ENVIRONMENT = "recpipe.zip", "environment.tar.gz"
_PACKAGE = Path(__file__).parents[1]
_BROUGHT_BY_SPARK = frozenset({"pyspark", "py4j"})
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SITE = f"lib/{_VERSION}/site-packages"


def pack_folder() -> Path:
    """Where the pack is by default: in the cache."""
    return cache_folder() / "pack"


def pack(
    folder: Path, *, python_prefix: Path | None = None, extras: Collection[str] = ()
) -> tuple[Path, Path]:
    """Write the pack; the dependencies only where they have changed since the last time.

    Args:
        folder: where to.
        python_prefix: on the executors' hosts, the folder whose `bin` has the interpreter; None: as
            here.
        extras: of recpipe, whose dependencies are packed as well.

    Returns:
        The zip of our code, and the archive of the dependencies.

    Raises:
        UsageError: if recpipe has no such extra.
        MissingError: if a dependency is not installed, or was installed without a list of files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code, environment = folder / CODE, folder / ENVIRONMENT
    _zip_code(code)
    packages = dependencies(extras)
    interpreter = _interpreter(python_prefix)
    stamp, wanted = folder / "stamp", _stamp(packages, interpreter)
    if not environment.exists() or not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pack-", dir=folder) as staging:
            _archive_environment(Path(staging), packages, interpreter)
            (Path(staging) / ENVIRONMENT).replace(environment)
        stamp.write_text(wanted)
    return code, environment


def dependencies(extras: Collection[str] = ()) -> Mapping[str, Distribution]:
    """What recpipe, with these extras, needs beside Spark, directly or not, by name.

    Raises:
        UsageError: if recpipe has no such extra.
        MissingError: if one is not installed.
    """
    own = _installed("recpipe")
    known = own.metadata.get_all("Provides-Extra") or []
    for extra in extras:
        if extra not in known:
            near = did_you_mean(extra, known)
            raise UsageError(
                f"pack: recpipe has no extra {extra!r}" + (f"; {near}" if near else ""),
                hint=f"its extras are {', '.join(known)}",
            )
    found: dict[str, Distribution] = {}
    waiting = list(_required(own, extras))
    while waiting:
        name = waiting.pop()
        if name not in found and name not in _BROUGHT_BY_SPARK:
            found[name] = _installed(name)
            waiting += _required(found[name])
    return dict(sorted(found.items()))


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise MissingError(f"{name} is not installed here", hint=f"pip install {name}") from error


def _required(package: Distribution, extras: Collection[str] = ()) -> Iterator[str]:
    """The names of what a package requires here, of its extras only what these require."""
    for requirement in package.requires or ():
        name, _, marker = requirement.partition(";")
        word = re.match(r"[A-Za-z0-9._-]+", name)
        extra = re.search(r"\bextra\s*==\s*[\"']([^\"']+)", marker)
        if word is None or (extra is not None and extra[1] not in extras):
            continue
        canonical = re.sub(r"[-_.]+", "-", word[0]).lower()
        try:
            distribution(canonical)
        except PackageNotFoundError:
            # What another system or version of Python would need is not installed on this one.
            if marker and (extra is None or " and " in marker):
                continue
        yield canonical


def _interpreter(prefix: Path | None) -> Path:
    """The interpreter that the environment links to: that of this system, not of its venv."""
    if prefix is not None:
        return prefix / "bin" / _VERSION
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return Path(base).resolve()


def _stamp(packages: Mapping[str, Distribution], interpreter: Path) -> str:
    lines = [f"{name}=={package.version}" for name, package in packages.items()]
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return "\n".join([made_by, f"{sys.version} {interpreter}", *lines])


def _zip_code(target: Path) -> None:
    """The package as it lies; a zip that would be the same stays, and kernels compiled from it."""
    files = sorted(
        path for path in _PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            # One date for all: the same code gives the same bytes.
            name = path.relative_to(_PACKAGE.parent).as_posix()
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, path.read_bytes())
    if target.exists() and target.read_bytes() == part.read_bytes():
        part.unlink()
    else:
        part.replace(target)


def _archive_environment(
    staging: Path, packages: Mapping[str, Distribution], interpreter: Path
) -> None:
    root = staging / "environment"
    site = root / _SITE
    for package in packages.values():
        _copy(package, site)
    # Valid whatever becomes of the files' times on the way to the executors.
    compileall.compile_dir(
        site,
        quiet=2,
        workers=0,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=str(root),
    )
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(interpreter)
    for name in ("python3", _VERSION):
        (root / "bin" / name).symlink_to("python")
    # Some systems keep native packages there.
    (root / "lib64").symlink_to("lib")
    version = ".".join(map(str, sys.version_info[:3]))
    (root / "pyvenv.cfg").write_text(
        f"home = {interpreter.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    with tarfile.open(staging / ENVIRONMENT, "w:gz", compresslevel=5) as archive:
        for path in sorted(root.iterdir()):
            archive.add(path, arcname=path.name)


def _copy(package: Distribution, site: Path) -> None:
    """The installed files of a package, but its tests, its compiled code and its commands."""
    if package.files is None:
        raise MissingError(
            f"{package.name} was installed without a list of its files",
            hint="install recpipe into a virtual environment with pip",
        )
    for file in package.files:
        if {"..", "tests", "__pycache__"} & set(file.parts):
            continue
        source, target = Path(os.fspath(file.locate())), site / file
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
