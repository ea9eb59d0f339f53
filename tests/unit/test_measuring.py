"""What leaves a task that evaluates lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recpipe.evaluation.measuring import Wanted, measure
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import ItemFacts, RankingMetric

PAIRS = np.array([1 << 32 | 5, 2 << 32 | 6], np.int64)
"""Items 5 and 6 are relevant to users 1 and 2, and each list holds that item."""


@pytest.mark.parametrize("exposure", [True, False])
def test_how_often_items_are_shown_leaves_a_task_only_where_it_is_asked(*, exposure: bool) -> None:
    recall = METRICS["recall"]
    assert isinstance(recall, RankingMetric)
    bucket = pa.RecordBatch.from_pydict({
        "source": [0, 1],
        "keys": [PAIRS.tobytes()] * 2,
        "values": [b"", np.ones(2, np.int32).tobytes()],
    })  # fmt: skip
    facts = ItemFacts(np.ones(7, np.int64), users=2)
    wanted = Wanted((recall,), (1,), facts, each=True, of_users=False, exposure=exposure)

    (batch,) = measure(iter([bucket]), models=1, wanted=wanted)

    (row,) = batch.to_pylist()
    assert np.frombuffer(row["sums"])[:2].tolist() == [1, 1]
    if exposure:
        assert np.frombuffer(row["shown"], np.int64).tolist() == [5, 6]
        assert np.frombuffer(row["times_shown"], np.int64).tolist() == [1, 1]
    else:
        assert (row["shown"], row["times_shown"]) == (None, None)
