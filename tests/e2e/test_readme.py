"""The README's snippets run, as they are written, against a published root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SNIPPETS = dict(re.findall(r"<!-- snippet: (\w+) -->\n```python\n(.*?)```", README, re.DOTALL))


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


def test_every_file_that_the_documents_link_to_is_there() -> None:
    root = Path(__file__).parents[2]
    for document in [root / "README.md", root / "CONTRIBUTING.md", *root.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
