"""`recpipe simulate` as people start it: it goes by the settings of the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.roots import DATE, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

SMALL = ("--models", "popularity,biases", "--set", "publish.model=popularity")


def test_a_test_is_replayed_by_the_settings_of_the_run(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    submitted.succeed("run", "--input", source, "--root", root, "--run-id", "one", *DATE, *SMALL,
            "--set", "evaluate.relevance_threshold=2", "--set", "split.strategy=last_n",
            "--set", "split.last_n=3")  # fmt: skip

    said = submitted.succeed("simulate", "popularity", "biases", "--root", root).out

    assert "SIMULATION of an A/B test: popularity against biases, run one" in said
    rows = json.loads((root / "runs" / "one" / "metrics.json").read_text())["rows"]
    users = {row["users"] for row in rows if (row["metric"], row["split"]) == ("ndcg", "test")}
    replayed = root / "runs" / "one" / "simulation" / "popularity-biases.json"
    assert users == {json.loads(replayed.read_text())["users"]}
    assert manifest(root, "one")["status"] == "finished"

    changed = submitted.recpipe("simulate", "popularity", "biases", "--root", root, "--run-id",
                                "one", "--set", "evaluate.relevance_threshold=3")  # fmt: skip
    assert changed.code == 2
    assert "run one: `evaluate` was run with other settings of `evaluate`" in changed.complaint
