"""What `recpipe backtest` refuses before Spark starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from recpipe.cli import cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run-id", "my test"], "'my test' is no run id"),
        (["--run-id", "a/b"], "'a/b' is no run id"),
        (["--set", "split.strategy=random"], "not by split.strategy random"),
        (["--set", "split.test_from=2020-01-01"], "so does split.test_from"),
        (["--set", "split.validation=global_time"], "not by split.validation global_time"),
        (["--train", "a", "--test", "b"], "cuts the ratings itself, and --train gives them"),
        (["--validation", "a"], "cuts the ratings itself, and --validation gives them"),
        (["--at", "2020-01-01", "--every", "30d"], "--at and --every exclude each other"),
        (["--every", "30x"], "'30x' is no period such as 12h, 30d or 4w"),
        (["--at", "yesterday"], "write an instant as 2016-03-22T08:00:00Z"),
    ],
)
def test_wrong_usage_ends_with_2_before_spark_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", "none")
    root = tmp_path / "root"
    ended = CliRunner().invoke(cli, ["backtest", "--input", "a", "--root", str(root), *arguments])
    assert getattr(ended.exception, "exit_code", ended.exit_code) == 2
    assert says in " ".join(f"{ended.output} {ended.exception}".split())
    assert not root.exists()
