"""docs/adding-a-model.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-model.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`(recpipe/[\w/]+\.py)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_a_model_is_one_folder_and_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    for name in ("recpipe", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    files = FILE.findall(PAGE)
    assert [Path(name).name for name, _ in files] == ["settings.py", "trending.py", "spec.py"]
    for name, text in files:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")
    (copy / files[0][0]).with_name("__init__.py").touch()
    (line,) = re.findall(r"^from recpipe\.models\.trending\.spec import .*$", PAGE, re.MULTILINE)
    registry = copy / "recpipe" / "models" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    before = "\nfrom recpipe.models.spec import"
    text = text.replace(before, f"\n{line}{before}")
    assert text.count("        *BLEND,\n") == 1
    text = text.replace("        *BLEND,\n", "        *BLEND,\n        *TRENDING,\n")
    registry.write_text(text, encoding="utf-8")

    suite = copy / "tests" / "spark" / "test_model_conformance.py"
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = ["pytest", str(suite), "-q", "-k", "trending", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b([7-9]|1\d) passed", done.stdout), done.stdout[-500:]
    shown = subprocess.run(
        [sys.executable, "-m", "recpipe", "settings", "trending"],
        cwd=copy, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "half_life_days = 30.0" in shown.stdout
