"""scikit-learn's elastic nets of items in two processes: work, l1, l2, every. A round a line."""

import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix
from sklearn.linear_model import ElasticNet

work, l1, l2, every = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
SHOWN = 20


def load() -> csc_matrix:
    data = np.load(work / "train.npz")
    return csc_matrix((np.ones(len(data["user"])), (data["user"], data["item"])))


ratings = load()
net = ElasticNet(
    alpha=(l1 + l2) / ratings.shape[0], l1_ratio=l1 / (l1 + l2), positive=True,
    fit_intercept=False, copy_X=False, max_iter=1000,
)  # fmt: skip


def solve(column: int) -> tuple[np.ndarray, np.ndarray]:
    own = slice(ratings.indptr[column], ratings.indptr[column + 1])
    target = ratings[:, [column]].toarray()[:, 0]
    kept = ratings.data[own].copy()
    ratings.data[own] = 0
    net.fit(ratings, target)
    ratings.data[own] = kept
    rows = np.flatnonzero(net.coef_)
    return rows, net.coef_[rows]


if __name__ == "__main__":
    columns = range(0, ratings.shape[1], every)
    # Each process has a copy of the matrix, and changes it.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(solve, columns[:2], chunksize=1)
        for line in sys.stdin:
            begin = time.perf_counter()
            found = pool.map(solve, columns, chunksize=4)
            answer: dict[str, Any] = {"seconds": time.perf_counter() - begin}
            if line.strip() == "weights":
                some = list(zip(columns, found, strict=True))[:: max(1, len(found) // SHOWN)]
                answer["weights"] = {c: (r.tolist(), w.tolist()) for c, (r, w) in some}
            print(json.dumps(answer), flush=True)
