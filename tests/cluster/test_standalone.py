"""The pipeline on a real standalone cluster, submitted as users submit it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pandas.testing import assert_frame_equal

from recpipe.kernels import latest
from tests.cluster.submit import SUBMITTED, submit
from tests.roots import RUN, metrics, published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standalone import Standalone

pytestmark = SUBMITTED


def test_executors_import_our_code_and_its_dependencies_from_what_was_shipped(
    standalone_cluster: Standalone, tmp_path: Path
) -> None:
    ended = submit("../tests/cluster/probe", master=standalone_cluster.master, folder=tmp_path)
    assert ended.code == 0, ended.said
    line = next(line for line in ended.out.splitlines() if line.startswith("PROBE "))
    answers = json.loads(line.removeprefix("PROBE "))
    assert len(answers) == 4
    for answer in answers:
        folder = answer["folder"]
        assert any(folder.startswith(str(work)) for work in standalone_cluster.work)
        places = json.loads(answer["places"])
        for name in ("numba", "numpy", "pandas", "pyarrow"):
            assert "/environment/lib/" in places[name]
            assert "/.venv/" not in places[name]
        assert "recpipe.zip/recpipe/" in places["recpipe"]
        assert answer["twice"] == 42
        # What this process compiled or found, from the same sources in a folder.
        assert answer["kernels"] == latest.ascending.stats.cache_path
        assert answer["was_compiled"]


def test_a_standalone_cluster_publishes_what_one_machine_does(
    standalone_cluster: Standalone, planted: Path, planted_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "röot"
    ended = submit(
        "pipeline", "--input", planted, "--root", root, *RUN,
        master=standalone_cluster.master, folder=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.said
    assert "checkpoint directory must not be" not in ended.out + ended.err
    # By its own promise, sgd is the same to the bit wherever its blocks were computed.
    assert_frame_equal(published(root), published(planted_root))
    assert metrics(root, "sgd") == pytest.approx(metrics(planted_root, "sgd"), abs=1e-6)
    # MLlib's sums depend on where its blocks lie, and an item of a short list on the last digit.
    ours, theirs = (errors_of(each) for each in (root, planted_root))
    assert ours == pytest.approx(theirs, rel=0.02)


def errors_of(root: Path) -> dict[tuple[Any, ...], float]:
    """RMSE and MAE of als_explicit."""
    found = metrics(root, "als_explicit")
    return {key: value for key, value in found.items() if key[0] in {"rmse", "mae"}}


def test_the_exit_code_of_a_job_is_that_of_the_command(
    standalone_cluster: Standalone, tmp_path: Path
) -> None:
    ended = submit(
        "ingest", "--input", tmp_path / "missing.zip", "--root", tmp_path / "root",
        master=standalone_cluster.master, folder=tmp_path,
    )  # fmt: skip
    assert ended.code == 3, ended.said
    # spark-submit puts what the driver writes to standard error on its standard output.
    assert "missing.zip" in ended.out
