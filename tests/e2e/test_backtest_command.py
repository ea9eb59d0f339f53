"""`recpipe backtest` as people start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.roots import DATE, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm


def test_the_same_command_again_goes_on_with_the_same_tables(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    command = ("backtest", "--input", source, "--root", root, "--run-id", "b1", *DATE,
               "--models", "popularity", "--cutoffs", "1")  # fmt: skip
    first = submitted.succeed(*command)
    assert "user-windows of" in first.out
    assert f"report: file://{root}/backtests/b1/backtest.html" in first.out
    before = {name: seen for name, seen in snapshot(root).items() if "/backtest." not in name}

    again = submitted.succeed(*command)

    assert again.out == first.out
    assert "is evaluated already" in again.err
    assert before == {name: s for name, s in snapshot(root).items() if "/backtest." not in name}
