"""Every exit code of docs/contracts.md, each by a situation that people meet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import each_of, environment, recpipe
from tests.roots import DATE, snapshot

if TYPE_CHECKING:
    from tests.e2e.commands import Ended, WarmJvm


WRONG: list[tuple[list[str], str]] = [
    (["--set", "als_explicit.rnak=3"], "als_explicit.rnak: no such setting"),
    (["--set", "recommend.n=0"], "recommend.n"),
    (["--set", "seed"], "no '='"),
    (["--models", "als_explicit,svdpp"], "models"),
    (["--resume", "one"], "--resume"),
    (["--run-date", "02.01.2026"], "not YYYY-MM-DD"),
    (["--run-date", "9999-12-31"], "not YYYY-MM-DD"),
    (["--format", "orc"], "orc"),
    (["--input", "a", "--dataset", "ml-latest-small"], "exclude each other"),
    (["--input", "a", "--train", "b", "--test", "c"], "--input and --train exclude each other"),
    (["--dataset", "latest-small", "--test", "c"], "--dataset and --test exclude each other"),
    (["--train", "a"], "both --train and --test"),
    (["--test", "a"], "both --train and --test"),
    (["--validation", "a"], "both --train and --test"),
    (["--train", "a", "--test", "b", "--set", "split.strategy=random"], "strategy random"),
    (["--train", "a", "--test", "b", "--set", "split.test_from=2020-01-01"], "split.test_from"),
    (
        ["--train", "a", "--test", "b", "--set", "split.test_until=2020-01-01"],
        "split.test_until",
    ),
    (["--input", "a", "--set", "split.strategy=given"], "--train and --test"),
    (["--set", "evaluate.exclude=test"], "evaluate.exclude"),
    (["--set", "train.half_life=30"], "block_als, sgd cannot weigh ratings"),
    (["--set", "train.half_life=0"], "train.half_life"),
    (["--config", "none.toml"], "none.toml"),
    (["--nosuch"], "--nosuch"),
]
"""Options, and what is said of them."""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ended, Path]]:
    """How each of `WRONG` has ended where there is no Java, and its root."""
    place = tmp_path_factory.mktemp("wrong")
    roots = [place / f"root-{number}" for number in range(len(WRONG))]
    commands: list[list[str | Path]] = [
        ["run", "--root", root, *options] for root, (options, _) in zip(roots, WRONG, strict=True)
    ]
    ended = each_of(commands, place, env=environment(JAVA_HOME="none"))
    return list(zip(ended, roots, strict=True))


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[" ".join(case[0]) for case in WRONG])
def test_wrong_usage_ends_with_2_and_a_line_before_spark_starts(
    refused: list[tuple[Ended, Path]], number: int
) -> None:
    ended, root = refused[number]
    assert ended.code == 2, ended.err
    assert WRONG[number][1] in ended.complaint
    assert "Traceback" not in ended.err
    assert not root.exists()


def test_a_run_without_a_root_is_wrong_usage() -> None:
    ended = recpipe("run", "--input", "anywhere")
    assert ended.code == 2
    assert "--root" in ended.complaint


def test_no_tables_and_no_input_ends_with_2_and_says_what_to_give(
    submitted: WarmJvm, tmp_path: Path
) -> None:
    ended = submitted.recpipe("run", "--root", tmp_path / "root")
    assert ended.code == 2, ended.err
    assert "no tables" in ended.complaint
    assert "--input" in ended.complaint
    assert not (tmp_path / "root").exists()


def test_a_finished_run_id_ends_with_2_and_changes_nothing(
    submitted: WarmJvm, finished: Path, source: Path
) -> None:
    before = snapshot(finished)
    ended = submitted.recpipe("run", "--input", source, "--root", finished, "--run-id", "one")
    assert ended.code == 2, ended.err
    assert "one is finished" in ended.complaint
    assert snapshot(finished) == before


def test_an_unknown_user_ends_with_2(finished: Path) -> None:
    ended = recpipe("show", "5", "--root", finished)
    assert ended.code == 2, ended.err
    assert "5" in ended.complaint


def test_a_missing_input_ends_with_3_and_changes_nothing(
    submitted: WarmJvm, finished: Path, tmp_path: Path
) -> None:
    before = snapshot(finished)
    ended = submitted.recpipe("run", "--input", tmp_path / "nowhere.zip", "--root", finished)
    assert ended.code == 3, ended.err
    assert "nowhere.zip" in ended.complaint
    assert snapshot(finished) == before


def test_an_unrecognised_input_ends_with_3_and_changes_nothing(
    submitted: WarmJvm, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear all,\nno ratings here.\n")
    before = snapshot(finished)
    ended = submitted.recpipe("run", "--input", tmp_path, "--root", finished)
    assert ended.code == 3, ended.err
    assert str(tmp_path) in ended.complaint
    assert snapshot(finished) == before


def test_too_many_refused_rows_end_with_3_and_the_first_five_with_their_lines(
    submitted: WarmJvm, finished: Path, source: Path, tmp_path: Path
) -> None:
    rows = list(csv.reader((source / "ratings.csv").open()))
    for number in range(3, 33):
        rows[number - 1][2] = "7.25"
    with (tmp_path / "ratings.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    before = snapshot(finished)
    stars = ("--set", "ingest.rating_scale={min=0.5, max=5.0, step=0.5}")
    ended = submitted.recpipe("run", "--input", tmp_path, "--root", finished, *stars)
    assert ended.code == 3, ended.err
    assert "30" in ended.complaint
    after = ended.err.partition(ended.complaint)[2].strip().splitlines()
    assert len(after) == 5
    for line, number in zip(after, range(3, 8), strict=True):
        assert f"ratings.csv:{number}" in line.replace(" line ", ":")
        assert "rating" in line
    assert snapshot(finished) == before


def test_an_empty_part_of_the_split_ends_with_3_and_leaves_the_root_as_it_was(
    submitted: WarmJvm, tmp_path: Path, source: Path
) -> None:
    ended = submitted.recpipe(
        "run", "--input", source, "--root", tmp_path / "root", "--run-id", "empty", *DATE,
        "--set", "split.validation_from=1999-01-01T00:00:00Z",
        "--set", "split.test_from=1999-02-01T00:00:00Z",
    )  # fmt: skip
    assert ended.code == 3, ended.err
    assert "train" in ended.complaint
    assert snapshot(tmp_path / "root") == {}


def test_delta_without_its_jars_ends_with_5_and_the_way_to_get_them(
    tmp_path: Path, source: Path
) -> None:
    ended = recpipe(
        "run", "--input", source, "--root", tmp_path / "root", "--format", "delta",
        env=environment(RECPIPE_CACHE=str(tmp_path / "empty"), RECPIPE_DELTA_JARS=""),
    )  # fmt: skip
    assert ended.code == 5, ended.err
    assert "Delta" in ended.complaint
    assert "make setup" in ended.complaint
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("command", [("run", "--models", "popularity,neumf"), ("tune", "gmf")])
def test_a_fit_without_pytorch_ends_with_5_before_spark_starts_and_the_way_to_get_it(
    command: tuple[str, ...], tmp_path: Path, source: Path
) -> None:
    # Python imports it where it starts; a module that is None counts as not there.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    given: list[str | Path] = ["--input", source] if command[0] == "run" else []
    ended = recpipe(
        *command, *given, "--root", tmp_path / "root",
        env=environment(PYTHONPATH=str(tmp_path), JAVA_HOME="none"),
    )  # fmt: skip
    assert ended.code == 5, ended.err
    assert "PyTorch is not installed" in ended.complaint
    assert "pip install 'recpipe[neural]'" in ended.complaint
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_one_ends_with_5_and_its_name(
    submitted: WarmJvm, tmp_path: Path, source: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = submitted.recpipe("ingest", "--input", source, "--root", tmp_path / "file")
    assert ended.code == 5, ended.err
    assert f"{tmp_path}/file" in ended.complaint


def test_a_damaged_pointer_to_the_tables_ends_with_3_and_its_name(
    submitted: WarmJvm, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    for text in ("", "[]", '{"format": "parquet", "tables": {}}', '{"format": "orc"}'):
        (tmp_path / "tables" / "CURRENT.json").write_text(text)
        ended = submitted.recpipe("split", "--root", tmp_path)
        assert ended.code == 3, ended.err
        assert "tables/CURRENT.json is damaged" in ended.complaint


def test_memory_that_the_jvm_cannot_have_ends_with_5(tmp_path: Path, source: Path) -> None:
    ended = recpipe(
        "run", "--input", source, "--root", tmp_path / "root",
        "--set", "session.driver_memory=1k",
    )  # fmt: skip
    assert ended.code == 5, ended.err
    assert "Spark did not start" in ended.complaint


def test_verbose_shows_the_traceback_and_otherwise_it_is_kept(
    submitted: WarmJvm, tmp_path: Path, source: Path
) -> None:
    ended = submitted.recpipe(
        "run", "--input", source / "none", "--root", tmp_path / "root", "--verbose"
    )
    assert ended.code == 3
    assert "Traceback" in ended.err


def test_a_half_life_without_instants_ends_with_2(submitted: WarmJvm, tmp_path: Path) -> None:
    root = tmp_path / "root"
    ended = submitted.recpipe(
        "run", "--input", Path(__file__).parents[1] / "inputs" / "no-time" / "goodbooks.csv",
        "--root", root, "--models", "popularity", "--set", "train.half_life=30",
    )  # fmt: skip
    assert ended.code == 2, ended.err
    assert "have no instants" in ended.complaint
    assert not (root / "published").exists()
