"""`recpipe backtest` as people start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import environment, recpipe, succeed
from tests.roots import DATE, snapshot

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_command_again_goes_on_with_the_same_tables(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    command = ("backtest", "--input", source, "--root", root, "--run-id", "b1", *DATE,
               "--models", "popularity", "--cutoffs", "2")  # fmt: skip
    first = succeed(*command)
    assert "user-windows of" in first.out
    assert f"report: file://{root}/backtests/b1/backtest.html" in first.out
    before = {name: seen for name, seen in snapshot(root).items() if "/backtest." not in name}

    again = succeed(*command)

    assert again.out == first.out
    assert "is evaluated already" in again.err
    assert before == {name: s for name, s in snapshot(root).items() if "/backtest." not in name}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run-id", "my test"], "'my test' is no run id"),
        (["--run-id", "a/b"], "'a/b' is no run id"),
        (["--set", "split.strategy=random"], "not by split.strategy random"),
        (["--set", "split.test_from=2020-01-01"], "split.test_from"),
        (["--train", "a", "--test", "b"], "a backtest cuts the ratings itself, and --train gives"),
        (["--at", "2020-01-01", "--every", "30d"], "exclude each other"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_line_before_spark_starts(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    root = tmp_path / "root"
    ended = recpipe(
        "backtest", "--input", "a", "--root", root, *arguments, env=environment(JAVA_HOME="none")
    )
    assert ended.code == 2, ended.err
    assert says in ended.complaint
    assert not root.exists()
