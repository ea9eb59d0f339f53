"""What a Python worker loads to run a task of a fit: its own kernels, for each takes time."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINT = "print(*(m.rpartition('.')[2] for m in sys.modules if m.startswith('recpipe.kernels.')))"


@pytest.mark.parametrize(
    ("modules", "kernels"),
    [
        ("recpipe.models.sgd.segment, recpipe.models.sgd.placing", {"ids", "rows", "sgd"}),
        (
            "recpipe.models.als.block.ring, recpipe.models.als.block.solving",
            {
                "als",
                "als_gradients",
                "als_subspace",
                "cholesky_tiles",
                "gradient_tiles",
                "ids",
                "normal_equations",
                "rows",
                "vectors",
            },
        ),
        ("recpipe.ranking.engine", {"ids", "pairs", "runs"}),
        (
            "recpipe.ranking.engine, recpipe.ranking.factor_scorer",
            {
                "best",
                "bound_tiles",
                "ids",
                "pairs",
                "runs",
                "score_bounds",
                "score_tiles",
                "topn",
                "vectors",
            },
        ),
    ],
)
def test_a_task_loads_its_own_kernels(modules: str, kernels: set[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; {PRINT}"],
        capture_output=True,
        text=True,
        check=True,
    )
    # What all of them share is NumPy alone.
    assert set(run.stdout.split()) - {"cache", "garbage", "splitmix", "weighed"} == kernels
