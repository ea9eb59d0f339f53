"""`recpipe describe` and `recpipe compare`, as people start them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.e2e.commands import environment, recpipe
from tests.roots import manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm


def test_the_ratings_are_described_as_the_run_keeps_them(
    submitted: WarmJvm, finished: Path
) -> None:
    data = json.loads(submitted.succeed("describe", "--root", finished, "--json").out)
    kept = json.loads((finished / "runs" / "one" / "data.json").read_text())
    assert data == kept
    assert (data["ratings"], data["users"], data["items"]) == (1200, 80, 60)
    counts = manifest(finished, "one")["split"]["parts"][0]
    assert data["cold"]["items"] <= counts["cold_items"]
    shown = submitted.succeed("describe", "--root", finished).out
    assert "The ratings in numbers" in shown
    assert "1,200 rows of the source = 1,200 kept" in shown
    assert "Drama" in shown


def test_tables_that_are_not_there_cannot_be_described(submitted: WarmJvm, tmp_path: Path) -> None:
    ended = submitted.recpipe("describe", "--root", tmp_path)
    assert ended.code == 2
    assert "no tables" in ended.complaint


def test_two_runs_are_compared_over_the_same_users_without_java(
    finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(finished, root)
    shutil.copytree(root / "runs" / "one", root / "runs" / "two")
    said = manifest(root, "one") | {"run_id": "two"}
    (root / "runs" / "two" / "manifest.json").write_text(json.dumps(said))
    nowhere = environment(JAVA_HOME="none", PATH="/nowhere")
    page = tmp_path / "page.html"
    ended = recpipe("compare", "one", "two", "--root", root, "--out", page, env=nowhere)
    assert ended.code == 0, ended.err
    assert "No difference is shown between two (als_explicit) and one" in ended.out
    assert "The difference is +0.0000 (0.0000 to 0.0000), p 1.000" in ended.out
    assert "No setting differs." in page.read_text()
    missing = recpipe("compare", "one", "three", "--root", root, env=nowhere)
    assert missing.code == 2
    assert "no run 'three'" in missing.complaint
