"""Seconds of each stage and the driver's peak memory against the number of ratings.

    python benchmarks/growth.py --ratings 100000,1000000,5000000

Each size is one `recpipe run` as a user starts it, on a synthetic release of MovieLens' shape, with
the executors in a JVM of their own (Spark's local-cluster), so that the driver's memory is its own.
Writes what it saw as JSON and a picture of it; the largest size against the smallest is a row of
the results. Peaks are resident sizes, of the driver's Python process and of its JVM.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from side_by_side import machine, row_of, save

STAGES = ("ingest", "split", "train", "evaluate", "recommend", "publish")
MODELS = "popularity,biases,block_als,block_als_implicit,sgd"
CORES = psutil.cpu_count() or 1
EXECUTOR_GIB = 6


class Watch:
    """The largest resident sizes of a process and of the JVM below it, in MiB."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = psutil.Process(process.pid)
        self.python = self.jvm = 0.0
        self.thread = Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while True:
            try:
                self.python = max(self.python, self.process.memory_info().rss / 2**20)
                for child in self.process.children():
                    if "java" in child.name():
                        self.jvm = max(self.jvm, child.memory_info().rss / 2**20)
            except psutil.Error:
                return
            time.sleep(0.5)


def measured(ratings: int, work: Path) -> dict[str, Any]:
    release, root = work / f"release-{ratings}", work / "root"
    shutil.rmtree(root, ignore_errors=True)
    if not release.exists():
        synthesize = ["data", "synthesize", str(release), "--ratings", str(ratings)]
        subprocess.run([sys.executable, "-m", "recpipe", *synthesize], check=True)
    command = [sys.executable, "-m", "recpipe", "run", "--input", str(release), "--root", str(root),
               "--run-id", "growth", "--models", MODELS, "--log-format", "json",
               "--set", f'session.master="local-cluster[1,{CORES},{EXECUTOR_GIB << 10}]"',
               "--set", f'session.conf={{"spark.executor.memory"="{EXECUTOR_GIB}g"}}',
               ]  # fmt: skip
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    watch = Watch(process)
    assert process.stderr is not None
    lines = [json.loads(line) for line in process.stderr if line.startswith("{")]
    if process.wait():
        raise SystemExit(f"the run of {ratings:,} ratings failed: {lines[-1]}")
    whole = time.perf_counter() - begin
    manifest = json.loads((root / "runs" / "growth" / "manifest.json").read_text())
    fits = {name: sum(f["seconds"] for f in m["folds"]) for name, m in manifest["models"].items()}
    stages = dict(manifest["timings"])
    # Ingest belongs to no run, so its seconds are what the stages leave of the whole.
    stages["ingest"] = whole - sum(stages.values())
    return {"ratings": ratings, "seconds": whole, "stages": stages, "fits": fits,
            "python_mib": round(watch.python), "jvm_mib": round(watch.jvm)}  # fmt: skip


def draw(rows: list[dict[str, Any]], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "recpipe"
    figure, (times, memory) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    sizes = [row["ratings"] for row in rows]
    for stage in STAGES:
        seconds = [row["stages"].get(stage, 0) for row in rows]
        times.plot(sizes, seconds, marker="o", label=stage)
    times.plot(sizes, [row["seconds"] for row in rows], "k--", marker="o", label="whole run")
    times.set(yscale="log", ylabel="seconds", title="Each stage (ingest with the start of Spark)")
    # Room for the names above the lines.
    times.set_ylim(top=6 * max(row["seconds"] for row in rows))
    for name, label in (("jvm_mib", "driver, JVM"), ("python_mib", "driver, Python")):
        memory.plot(sizes, [row[name] for row in rows], marker="o", label=label)
    memory.set(ylabel="MiB, peak", title="The driver's memory", ylim=(0, None))
    for axes in (times, memory):
        axes.set(xscale="log", xlabel="ratings")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(ncols=2, loc="upper left" if axes is times else "lower right")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", default="100000,1000000,5000000")
    parser.add_argument("--work", type=Path, default=Path("build/bench/growth"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/growth/growth.json"))
    parser.add_argument("--row", type=Path, default=Path("build/bench/growth.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/growth.svg"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for ratings in map(int, given.ratings.split(",")):
        rows.append(measured(ratings, given.work))
        print(json.dumps(rows[-1]), flush=True)
        given.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))
    draw(rows, given.picture)
    least, most = rows[0], rows[-1]
    times = most["ratings"] / least["ratings"]
    row = row_of(
        f"a whole run of {most['ratings']:,} ratings",
        f"{times:g} times one of {least['ratings']:,}",
        ours=[most["seconds"]],
        theirs=[least["seconds"] * times],
        target=1.2,
        sizes={"models": MODELS, **{f"driver_mib_at_{r['ratings']}": r["jvm_mib"] for r in rows}},
    )
    save(row, given.row)


if __name__ == "__main__":
    main()
