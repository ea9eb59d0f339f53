"""The wheel has all that its commands need: nothing of the checkout is beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of the wheel that pip builds from a copy of the sources."""
    place = tmp_path_factory.mktemp("wheel")
    copy = place / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, copy / name)
    for name in ("recpipe", "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=ignored)
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
               "--no-build-isolation", "--wheel-dir", str(place)]  # fmt: skip
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, copy], check=True, timeout=120)
    (built,) = place.glob("*.whl")
    zipfile.ZipFile(built).extractall(place / "installed")
    return place / "installed"


def recpipe(wheel: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of the wheel, from a folder in which there is nothing."""
    (wheel.parent / "empty").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "recpipe", *arguments],
        cwd=wheel.parent / "empty",
        env={**os.environ, "PYTHONPATH": str(wheel), **variables},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_every_module_and_data_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    def files(root: Path) -> set[str]:
        found = (p for p in (root / "recpipe").rglob("*") if p.is_file() or p.is_symlink())
        return {p.relative_to(root).as_posix() for p in found if "__pycache__" not in p.parts}

    assert files(wheel) == files(REPOSITORY)


def test_the_reference_of_the_settings_needs_no_checkout(wheel: Path) -> None:
    ended = recpipe(wheel, "settings")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (REPOSITORY / "conf" / "base.toml").read_text()
    assert tomllib.loads(recpipe(wheel, "settings", "sgd").stdout)["sgd"]["rank"] == 32


def test_a_stage_is_submitted_with_what_the_wheel_has(wheel: Path) -> None:
    spark = wheel.parent / "spark"
    (spark / "bin").mkdir(parents=True)
    (spark / "bin" / "spark-submit").write_text('#!/bin/sh\nprintf "%s\\n" "$@"; exit 4\n')
    (spark / "bin" / "spark-submit").chmod(0o755)
    pack = wheel.parent / "pack"
    pack.mkdir()
    there = {"SPARK_MASTER": "spark://h:7077", "SPARK_HOME": str(spark), "RECPIPE_PACK": str(pack)}

    without = recpipe(wheel, "submit", "pipeline", "--root", "/a b", **there)
    assert without.returncode == 5
    assert "recpipe pack" in without.stderr

    for name in ("recpipe.zip", "environment.tar.gz"):
        (pack / name).touch()
    ended = recpipe(wheel, "submit", "pipeline", "--root", "/a b", "--set", "x.y=1", **there)
    assert ended.returncode == 4, ended.stderr
    words = ended.stdout.splitlines()
    assert words[-5:] == ["run", "--root", "/a b", "--set", "x.y=1"]
    program = Path(words[-6])
    assert program.is_relative_to(wheel)
    assert "main()" in program.read_text()
    properties = Path(words[words.index("--properties-file") + 1])
    assert "spark.executor.memory" in properties.read_text()


def test_a_stage_that_is_none_is_refused_with_the_one_that_is_near(wheel: Path) -> None:
    ended = recpipe(wheel, "submit", "trian")
    assert ended.returncode == 2
    assert "did you mean train?" in ended.stderr
