"""What a fresh clone stands on: locks, set-up, jobs, scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from recpipe import cli, settings
from recpipe.runtime import jars
from recpipe.stages.table import STAGES

REPOSITORY = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-runtime.lock")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, str]:
    text = (REPOSITORY / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


# -- locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_folder_of_a_machine(lock: str) -> None:
    lines = (REPOSITORY / lock).read_text().splitlines()
    for line in lines:
        assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|/(tmp|home|root|opt)/",
                             line)  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_its_hashes(lock: str) -> None:
    text, flags = (REPOSITORY / lock).read_text(), re.MULTILINE
    packages = re.findall(r"^(\S+)==.*\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, flags)
    assert len(packages) == len(re.findall(r"^\S+==", text, flags))
    assert len(packages) == len(set(packages))


def test_what_recpipe_runs_on_is_a_part_of_what_is_installed() -> None:
    everything, runtime = map(locked, LOCKS)
    assert runtime.items() <= everything.items()
    assert "pytest" in everything
    assert "pytest" not in runtime


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (LOCKS[0], [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]),
        (LOCKS[1], PROJECT["dependencies"]),
    ],
)
def test_the_lock_has_every_dependency_of_the_project(lock: str, wanted: list[str]) -> None:
    names = {re.split(r"[<>=;\s]", dependency)[0] for dependency in wanted}
    assert names <= locked(lock).keys()


def test_deltas_jars_are_of_the_versions_that_are_locked() -> None:
    packages = locked(LOCKS[1])
    assert packages["delta-spark"] == jars.DELTA
    assert packages["pyspark"].startswith(f"{jars.SPARK_LINE}.")
    name = f"delta-spark_{jars.SPARK_LINE}_{jars.SCALA}-{jars.DELTA}.jar"
    assert f"io.delta_{name}" in jars.DELTA_JARS


# -- set-up -------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that set-up reads, and no .venv."""
    folder = tmp_path / "clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", "requirements.lock", "scripts/setup.sh", "scripts/install.sh"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused_in_one_line(clone: Path, tmp_path: Path) -> None:
    old = program(tmp_path / "python3.9", "exit 1")
    ended = run(clone / "scripts" / "setup.sh", PYTHON=str(old))
    assert ended.returncode == 5
    assert ended.stderr.startswith("setup: no Python 3.11 or later")
    assert ended.stderr.count("\n") == 1


def test_a_python_without_venv_says_which_package_has_it(clone: Path, tmp_path: Path) -> None:
    broken = program(
        tmp_path / "bin" / "python3",
        f'case "$2" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"',
    )
    program(tmp_path / "bin" / "apt-get", "exit 100")  # as root: it may try, and fails
    ended = run(
        clone / "scripts" / "setup.sh",
        PYTHON=str(broken),
        PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )
    assert ended.returncode == 5
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"apt-get install -y {package}" in ended.stderr.splitlines()[-1]
    assert not (clone / ".venv").exists()


def installed(clone: Path) -> Path:
    """A .venv as set-up leaves it, whose python answers what set-up asks and installs nothing."""
    python = program(
        clone / ".venv" / "bin" / "python",
        f'case "$*" in *--ready*) exit "${{READY:-0}}" ;; *recpipe.*) exit "${{JAVA:-0}}" ;;'
        " *pip*) exit 1 ;; esac\n"
        f'exec {sys.executable} "$@"',
    )
    stamp = run(
        "bash", "-c",
        f"cd {clone} && cksum pyproject.toml requirements.lock scripts/setup.sh scripts/install.sh;"
        " .venv/bin/python -V; pwd",
    )  # fmt: skip
    (clone / ".venv" / "recpipe.stamp").write_text(stamp.stdout)
    return python


def test_nothing_changed_ends_at_once_and_in_silence(clone: Path) -> None:
    installed(clone)
    begin = time.monotonic()
    ended = run(clone / "scripts" / "setup.sh")
    assert time.monotonic() - begin < 2
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.lock"])
def test_a_changed_project_is_installed_again(clone: Path, changed: str) -> None:
    installed(clone)
    with (clone / changed).open("a") as stream:
        stream.write("\n# changed\n")
    assert "installing" in run(clone / "scripts" / "setup.sh").stderr


def test_missing_jars_are_said_in_one_line_and_do_not_end_set_up(clone: Path) -> None:
    installed(clone)
    (clone / ".venv" / "recpipe.nojars").touch()
    ended = run(clone / "scripts" / "setup.sh", READY="5")
    assert ended.returncode == 0
    assert "--format delta will not work" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_missing_java_ends_set_up_with_5(clone: Path) -> None:
    installed(clone)
    assert run(clone / "scripts" / "setup.sh", READY="5", JAVA="5").returncode == 5


# -- jobs, scripts, settings --------------------------------------------------------------------


def test_every_command_that_computes_by_spark_is_a_job_of_ten_lines_that_says_the_same() -> None:
    wanted = {
        name: (command.name, (command.help or "").splitlines()[0])
        for name, command in cli.jobs().items()
    }
    stages = {stage.name: (stage.name, stage.summary) for stage in STAGES}
    assert stages.items() <= wanted.items()
    others = {"pipeline", "backtest", "tune", "simulate", "similar", "describe"}
    assert others == wanted.keys() - stages.keys()
    jobs = {}
    for path in (REPOSITORY / "jobs").glob("*.py"):
        text = path.read_text()
        called = re.search(r'job\("(\w+)"\)', text)
        assert called is not None, path
        assert len(text.splitlines()) <= 12, path
        jobs[path.stem] = (called[1], text.splitlines()[0].removeprefix('"""'))
    assert jobs == wanted


def test_an_unknown_job_is_wrong_usage_and_the_known_ones_are_named() -> None:
    ended = run(REPOSITORY / "spark-submit.sh", "trian")
    assert ended.returncode == 2
    assert "no job 'trian'" in ended.stderr
    assert "pipeline" in ended.stderr


@pytest.mark.parametrize(
    ("job", "command"),
    [("pipeline", "run"), ("describe", "describe"), ("backtest", "backtest"), ("tune", "tune")],
)
def test_a_submitted_command_is_that_of_the_job(job: str, command: str, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "spark-submit", 'echo "$@"; exit 4')
    words = (sys.executable, "-m", "recpipe", "submit", job, "--root", "/a b")
    ended = run(*words, SPARK_HOME=str(tmp_path), RECPIPE_DELTA_JARS=str(tmp_path))
    assert ended.returncode == 4, ended.stderr
    assert f"--name recpipe {job}" in ended.stdout
    assert ended.stdout.endswith(f"job.py {command} --root /a b\n")


def test_what_reads_pages_and_not_ratings_is_no_job() -> None:
    ended = run(sys.executable, "-m", "recpipe", "submit", "compare", "a", "b")
    assert ended.returncode == 2
    assert "there is no job 'compare'" in ended.stderr
    assert "the jobs are pipeline, ingest" in ended.stderr


@pytest.mark.parametrize(
    ("variables", "expected", "absent"),
    [
        pytest.param(
            {},
            ["--master local[*]", "--deploy-mode client", "spark.pyspark.driver.python="],
            ["--archives", "--py-files"],
            id="a laptop by default",
        ),
        pytest.param(
            {"SPARK_MASTER": "spark://h:7077"},
            ["--master spark://h:7077", "recpipe.zip", "environment.tar.gz#environment",
             "spark.pyspark.python=./environment/bin/python", "--jars"],
            [],
            id="standalone gets the pack",
        ),
        pytest.param(
            {"SPARK_MASTER": "yarn", "SPARK_DEPLOY_MODE": "cluster"},
            ["--deploy-mode cluster", "environment.tar.gz#environment"],
            ["spark.pyspark.driver.python"],
            id="yarn's driver runs from the pack too",
        ),
        pytest.param(
            {"SPARK_MASTER": "k8s://https://h", "RECPIPE_IN_IMAGE": "/opt/recpipe"},
            ["local:///opt/recpipe/jobs/ingest.py"],
            ["--archives", "--py-files", "--jars"],
            id="an image brings everything itself",
        ),
    ],
)  # fmt: skip
def test_the_environment_alone_decides_where_a_job_runs(
    variables: dict[str, str], expected: list[str], absent: list[str], tmp_path: Path
) -> None:
    program(tmp_path / "bin" / "spark-submit", 'echo "$@"; exit 4')
    (tmp_path / "delta-spark_x.jar").touch()
    ended = run(
        REPOSITORY / "spark-submit.sh", "ingest", "--root", "/a b",
        SPARK_HOME=str(tmp_path), RECPIPE_DELTA_JARS=str(tmp_path), **variables,
    )  # fmt: skip
    assert ended.returncode == 4, ended.stderr
    for part in expected:
        assert part in ended.stdout
    for part in absent:
        assert part not in ended.stdout
    assert ended.stdout.endswith("jobs/ingest.py --root /a b\n")


@pytest.mark.parametrize("profile", ["quick.toml", "large.toml"])
def test_a_profile_of_settings_is_valid(profile: str) -> None:
    assert settings.load(REPOSITORY / "conf" / profile, environment={})


def test_every_command_of_make_has_one_line_of_help() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE)
    helped = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert phony == helped
    assert {"setup", "demo", "test", "lint", "lock", "pack"} <= set(phony)
