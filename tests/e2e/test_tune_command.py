"""`recpipe tune` as people start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import each_of, environment, recpipe
from tests.roots import DATE, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import Ended, WarmJvm


def test_a_search_starts_a_run_where_there_is_none_and_its_profile_runs(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    submitted.succeed("ingest", "--input", source, "--root", root)
    small = ("--set", "block_als_implicit.rank=16", "--set", "block_als_implicit.iterations=5")

    tuned = submitted.succeed(
        "tune", "block_als_implicit", "--root", root, *DATE, *small,
        "--trials", "3", "--parallel", "2", "--metric", "recall@10",
    )  # fmt: skip

    assert "block_als_implicit: recall@10" in tuned.out
    assert "3 trials: 3 complete" in tuned.out
    profile = root / "tuning" / "block_als_implicit" / "best.toml"
    assert f"profile: file://{profile}" in tuned.out
    (searched,) = (place.name for place in (root / "runs").iterdir())
    assert manifest(root, searched)["status"] == "running"
    again = submitted.succeed("tune", "block_als_implicit", "--root", root, *small, "--trials", "1",
                    "--metric", "recall@10")  # fmt: skip
    assert f"the split of run {searched}" in again.err
    assert "4 trials" in again.out

    submitted.succeed("run", "--root", root, "--run-id", "tuned", *DATE, "--config", profile,
            "--models", "block_als_implicit")  # fmt: skip
    ran = manifest(root, "tuned")["settings"]["block_als_implicit"]
    assert f"rank = {ran['rank']}\n" in profile.read_text()
    assert f"alpha = {ran['alpha']}\n" in profile.read_text()


WRONG: list[tuple[list[str], str]] = [
    (["popularity"], "popularity is a baseline with no settings to search"),
    (["svdpp"], "no model 'svdpp'"),
    (["sgd", "--metric", "ncdg@10"], "no metric 'ncdg'"),
    (["sgd", "--metric", "ndcg"], "ndcg@10"),
    (["sgd", "--trials", "0"], "--trials"),
    (["sgd", "--parallel", "0"], "--parallel"),
    (["sgd", "--timeout", "0"], "--timeout"),
    (["sgd", "--set", "sgd.rnak=3"], "sgd.rnak"),
    ([], "MODEL"),
]
"""Arguments, and what is said of them."""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ended, Path]]:
    """How each of `WRONG` has ended where there is no Java, and its root."""
    place = tmp_path_factory.mktemp("wrong")
    roots = [place / f"root-{number}" for number in range(len(WRONG))]
    commands: list[list[str | Path]] = [
        ["tune", *given, "--root", root] for root, (given, _) in zip(roots, WRONG, strict=True)
    ]
    ended = each_of(commands, place, env=environment(JAVA_HOME="none"))
    return list(zip(ended, roots, strict=True))


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[case[1] for case in WRONG])
def test_wrong_usage_ends_with_2_and_a_line_before_spark_starts(
    refused: list[tuple[Ended, Path]], number: int
) -> None:
    ended, root = refused[number]
    assert ended.code == 2, ended.err
    assert WRONG[number][1] in ended.complaint
    assert not root.exists()


def test_without_optuna_it_ends_with_5_and_the_way_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "optuna.py").write_text("raise ImportError('as if it were not installed')\n")
    ended = recpipe(
        "tune", "sgd", "--root", tmp_path / "root",
        env=environment(PYTHONPATH=str(tmp_path), JAVA_HOME="none"),
    )  # fmt: skip
    assert ended.code == 5, ended.err
    assert 'pip install "recpipe[tune]"' in ended.complaint
