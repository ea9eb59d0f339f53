"""The README's snippets run, as they are written, against a published root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recpipe.runtime.java import find_java

ROOT = Path(__file__).parents[2]


def snippets(document: str) -> dict[str, str]:
    """The Python of a document that is marked to be run."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- snippet: (\w+) -->\n```python\n(.*?)```", text, re.DOTALL))


SNIPPETS = snippets("README.md")


def test_the_readme_shows_how_to_read_from_pandas_duckdb_and_spark() -> None:
    assert set(SNIPPETS) == {"pandas", "duckdb", "spark"}


@pytest.mark.parametrize("reader", sorted(SNIPPETS))
def test_a_snippet_reads_the_published_table(reader: str, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "ratings-root").symlink_to(finished)
    done = subprocess.run(
        [sys.executable, "-c", SNIPPETS[reader]],
        cwd=tmp_path,
        env=os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "item_id" in done.stdout
    lines = [line for line in done.stdout.splitlines() if re.search(r"\d", line)]
    assert len(lines) >= 5


def test_the_program_of_the_documents_fits_lists_and_saves_without_an_activated_environment(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "ratings.csv").symlink_to(source / "ratings.csv")
    kept = {k: v for k, v in os.environ.items() if k not in {"PYSPARK_PYTHON", "VIRTUAL_ENV"}}
    own = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", snippets("docs/spark-programs.md")["program"]],
        cwd=tmp_path, env=kept | own | {"JAVA_HOME": str(find_java())},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"RMSE on unseen ratings: [01]\.\d{3}", done.stdout)
    assert pq.read_table(tmp_path / "lists").num_rows == 80
    assert (tmp_path / "model" / "userFactors").is_dir()


def test_every_file_that_the_documents_link_to_is_there() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
