"""benchmarks/results.json and, from it, docs/benchmarks.md.

python benchmarks/table.py build/bench/*.json     # take the rows of a run over, then write the page
python benchmarks/table.py                        # write the page again
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from side_by_side import save

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PICTURE = "images/growth.svg"
_HEAD = """# Benchmarks
Written by `python benchmarks/table.py` from `benchmarks/results.json`; do not edit.

Each row is one run of one script: both sides in turns, after a warm-up of each, on the same data,
medians of all rounds, and only after both results were found right. Times drift from machine to
machine and from day to day; the ratio, ours / theirs, is what a row says. `make bench` measures
small sizes in minutes, `make bench-full` those of the targets.

| work | against | ours, s | theirs, s | ratio | target | size | rounds |
|---|---|---:|---:|---:|---:|---|---:|
"""


def page(rows: list[dict[str, Any]]) -> str:
    """The page of all rows."""
    lines = [_line(row) for row in rows]
    commands = sorted({(row["command"], row["date"]) for row in rows})
    machines = {json.dumps(row["machine"], sort_keys=True) for row in rows}
    versions = sorted({f"{k} {v}" for row in rows for k, v in row["versions"].items()})
    told = [
        "\n## How each row was made\n",
        *[f"- `{command}` ({date})" for command, date in commands],
        "\nMachines: " + "; ".join(_words(json.loads(machine)) for machine in sorted(machines)),
        "\nVersions: " + ", ".join(versions) + ".",
    ]
    return _HEAD + "\n".join(lines) + "\n" + _growth() + "\n".join(told) + "\n"


def _growth() -> str:
    """The picture of `growth.py`, where it has been made."""
    if not (PAGE.parent / PICTURE).exists():
        return ""
    return f"""
## Time and memory against ratings

![Seconds of each stage, and the driver's peak memory, against the number of ratings]({PICTURE})
"""


def _line(row: dict[str, Any]) -> str:
    size = ", ".join(_size(*pair) for pair in row["sizes"].items())
    met = "" if row["ratio"] <= row["target"] else " (missed)"
    return (
        f"| {row['work']} | {row['against']} | {row['ours_seconds']:.2f} |"
        f" {row['theirs_seconds']:.2f} | **{row['ratio']:.3f}** | {row['target']:g}{met} | {size} |"
        f" {row['rounds']} |"
    )


def _size(name: str, value: Any) -> str:
    if isinstance(value, dict):
        sides = ", ".join(f"{side} {number:.1f}" for side, number in value.items())
        return f"{name.replace('_', ' ')}: {sides}"
    return f"{value:,} {name}" if isinstance(value, int) else f"{name} {value}"


def _words(machine: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items())


def main(files: list[str]) -> None:
    for file in files:
        for row in json.loads(Path(file).read_text()):
            save(row, RESULTS)
    rows = json.loads(RESULTS.read_text())
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
