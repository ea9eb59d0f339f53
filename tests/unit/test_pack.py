"""What is packed for the executors of a cluster."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recpipe.errors import MissingError, UsageError
from recpipe.runtime import pack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import Distribution

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two real packages in place of all that recpipe needs, which take a minute to pack."""
    chosen: Mapping[str, Distribution] = {n: distribution(n) for n in ("click", "psutil")}
    monkeypatch.setattr(pack, "dependencies", lambda _extras: chosen)


@pytest.mark.usefixtures("small")
def test_the_code_is_packed_with_its_data_and_nothing_compiled(tmp_path: Path) -> None:
    code, _ = pack.pack(tmp_path / "pack")
    first = code.stat()
    names = zipfile.ZipFile(code).namelist()
    assert {
        "recpipe/__init__.py", "recpipe/py.typed", "recpipe/cli/__init__.py",
        "recpipe/report/templates/page.html", "recpipe/runtime/spark-defaults.conf",
    } <= set(names)  # fmt: skip
    assert not [name for name in names if "__pycache__" in name]
    # Packed again, the file stays as it was: kernels compiled from it stay valid.
    pack.pack(tmp_path / "pack")
    assert code.stat().st_mtime_ns == first.st_mtime_ns


@pytest.mark.usefixtures("small")
def test_the_environment_has_the_packages_compiled_and_a_link_to_the_interpreter(
    tmp_path: Path,
) -> None:
    _, environment = pack.pack(tmp_path / "pack")
    with tarfile.open(environment) as archive:
        names = set(archive.getnames())
        archive.extractall(tmp_path / "environment", filter="tar")
    assert f"{SITE}/click/core.py" in names
    assert any(name.startswith(f"{SITE}/click/__pycache__/core.") for name in names), "compiled"
    assert any(name.startswith(f"{SITE}/psutil/_psutil") for name in names), "native code"
    assert not [name for name in names if "/tests/" in name or "pyspark" in name]
    python = tmp_path / "environment" / "bin" / "python"
    assert python.resolve() == Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # noqa: SLF001


@pytest.mark.usefixtures("small")
def test_the_interpreter_may_be_elsewhere_on_the_executors(tmp_path: Path) -> None:
    _, environment = pack.pack(tmp_path / "pack", python_prefix=Path("/usr"))
    with tarfile.open(environment) as archive:
        link = archive.getmember("bin/python").linkname
        home = archive.extractfile("pyvenv.cfg")
        assert home is not None
        assert b"home = /usr/bin\n" in home.read()
    assert link == f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.usefixtures("small")
def test_dependencies_are_packed_again_only_when_they_have_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, environment = pack.pack(tmp_path)
    first = environment.stat().st_mtime_ns
    pack.pack(tmp_path)
    assert environment.stat().st_mtime_ns == first
    monkeypatch.setattr(pack, "dependencies", lambda _extras: {"click": distribution("click")})
    pack.pack(tmp_path)
    assert environment.stat().st_mtime_ns != first
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        pack.ENVIRONMENT,
        pack.CODE,
        "stamp",
    ]


def test_dependencies_are_those_of_the_project_and_theirs_but_for_spark() -> None:
    found = pack.dependencies()
    assert {"numpy", "numba", "llvmlite", "pyarrow", "pydantic-core", "delta-spark"} <= found.keys()
    assert not {"pyspark", "py4j", "pytest", "ruff", "recpipe"} & found.keys()


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "_required", lambda *_: iter(("no-such-package",)))
    with pytest.raises(MissingError, match="no-such-package is not installed"):
        pack.dependencies()


def test_what_an_extra_needs_is_packed_where_it_is_asked_for() -> None:
    without, with_both = pack.dependencies(), pack.dependencies(("tune", "mlflow"))
    assert not {"optuna", "sqlalchemy", "mlflow-skinny"} & without.keys()
    assert {"optuna", "sqlalchemy", "mlflow-skinny", "protobuf"} <= with_both.keys()
    assert without.keys() <= with_both.keys()
    assert not {"pytest", "ruff"} & with_both.keys()


def test_an_extra_that_is_none_is_refused_with_the_one_that_is_near() -> None:
    with pytest.raises(UsageError, match=r"no extra 'tuen'; did you mean tune\?"):
        pack.dependencies(("tuen",))


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Distribution:
        if name == "optuna":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(pack, "distribution", absent)
    with pytest.raises(MissingError, match="optuna is not installed"):
        pack.dependencies(("tune",))
    assert "numpy" in pack.dependencies()
