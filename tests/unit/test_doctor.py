from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from recpipe.runtime import doctor

if TYPE_CHECKING:
    from pathlib import Path

    from recpipe.runtime.doctor import Finding

GIB = 1 << 30


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_looks_at_everything_that_a_run_needs() -> None:
    names = list(by_name(doctor.report()))
    assert names == [
        "Python", "Java", "pyspark", "pandas", "pyarrow", "numpy", "numba", "delta-spark",
        "PyTorch", "BLAS for MLlib", "kernel cache", "classes of Spark", "Delta's jars", "memory",
        "cores", "disk for shuffles", "disk for the cache",
    ]  # fmt: skip


def test_whatever_is_not_right_says_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPIPE_DELTA_JARS", "/nowhere")
    for finding in doctor.report():
        assert finding.state == "ok" or finding.remedy


def test_missing_java_ends_with_5_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recpipe.runtime.java._java_homes", lambda: iter(()))
    assert doctor.main() == 5
    lines = capsys.readouterr().out.splitlines()
    java = next(i for i, line in enumerate(lines) if line.startswith("missing"))
    assert "no Java 17 or later" in lines[java]
    assert "install" in lines[java + 1]


def test_missing_delta_jars_are_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RECPIPE_DELTA_JARS", raising=False)
    monkeypatch.setenv("RECPIPE_CACHE", str(tmp_path))
    found = doctor.delta()
    assert found.state == "warn"
    assert "--format delta" in found.value
    assert doctor.ready([found])


def test_a_package_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package-of-ours",))
    found = by_name(list(doctor.packages()))["no-such-package-of-ours"]
    assert found.state == "missing"
    assert not doctor.ready([found])


def test_another_line_of_spark_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda _name: "4.1.2")
    assert next(doctor.packages()).state == "warn"


@pytest.mark.parametrize(("gib", "state"), [(0.5, "missing"), (2, "warn"), (8, "ok")])
def test_memory(gib: float, state: str) -> None:
    assert doctor.memory(int(gib * GIB)).state == state


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(("gib", "state"), [(0.1, "missing"), (2, "warn"), (50, "ok")])
def test_disk_that_holds_a_folder_which_is_not_there_yet(
    gib: float, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Usage:
        asked.append(folder)
        return Usage(int(gib * GIB))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert doctor.disk("d", tmp_path / "not" / "yet", "r").state == state
    assert asked == [tmp_path]


def test_a_kernel_cache_that_cannot_be_written_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A file where a folder should be: root may write anywhere else.
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "numba"))
    assert doctor.kernel_cache().state == "warn"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert doctor.kernel_cache().state == "ok"


def test_the_report_starts_neither_spark_nor_java() -> None:
    program = (
        "import sys\n"
        "from recpipe.runtime import doctor\n"
        "doctor.report()\n"
        "assert 'pyspark' not in sys.modules and 'py4j' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_path_with_brackets_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "[red]cache"))
    doctor.main()
    assert "[red]cache" in capsys.readouterr().out
