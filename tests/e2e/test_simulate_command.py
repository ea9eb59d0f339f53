"""`recpipe simulate` as people start it: it goes by the settings of the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.commands import recpipe, succeed
from tests.roots import DATE, manifest

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--models", "popularity,biases", "--set", "publish.model=popularity")


def replayed(root: Path, run_id: str) -> dict[str, Any]:
    place = root / "runs" / run_id / "simulation" / "popularity-biases.json"
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def test_a_test_is_replayed_by_the_settings_of_the_run(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    succeed("run", "--input", source, "--root", root, "--run-id", "low", *DATE, *SMALL,
            "--set", "evaluate.relevance_threshold=2")  # fmt: skip
    succeed("run", "--root", root, "--run-id", "last", *DATE, *SMALL,
            "--set", "split.strategy=last_n", "--set", "split.last_n=3")  # fmt: skip

    said = succeed("simulate", "popularity", "biases", "--root", root, "--run-id", "low").out
    succeed("simulate", "popularity", "biases", "--root", root)

    assert "SIMULATION of an A/B test: popularity against biases, run low" in said
    for run_id in ("low", "last"):
        rows = json.loads((root / "runs" / run_id / "metrics.json").read_text())["rows"]
        users = {row["users"] for row in rows if (row["metric"], row["split"]) == ("ndcg", "test")}
        assert users == {replayed(root, run_id)["users"]}
    assert manifest(root, "last")["status"] == "finished"

    changed = recpipe("simulate", "popularity", "biases", "--root", root, "--run-id", "low",
                      "--set", "evaluate.relevance_threshold=3")  # fmt: skip
    assert changed.code == 2
    assert "run low: `evaluate` was run with other settings of `evaluate`" in changed.complaint
