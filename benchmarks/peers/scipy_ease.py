"""Fits EASE by SciPy and NumPy and lists the best of all users: work, lambda, n. A round a line.

The Gram matrix is SciPy's sparse product, its inverse LAPACK's Cholesky in place, and lists are
products of batches of users with the weights, in two threads, and NumPy's argpartition.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

work, penalty, n = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
USERS = 1024
data = np.load(work / "train.npz")
ratings = csr_matrix((np.ones(len(data["user"])), (data["user"], data["item"])))


def fit() -> np.ndarray:
    gram = (ratings.T @ ratings).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    lower, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    assert not failed
    inverse, failed = lapack.dpotri(lower, lower=1, overwrite_c=1)
    assert not failed
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    found: np.ndarray = weights.astype(np.float32)
    return found


def top(first: int) -> tuple[np.ndarray, np.ndarray]:
    batch = single[first : first + USERS]
    scores = batch @ weights
    rows = np.repeat(np.arange(batch.shape[0]), np.diff(batch.indptr))
    scores[rows, batch.indices] = -np.inf
    best = np.argpartition(-scores, n, axis=1)[:, :n]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)


single = ratings.astype(np.float32)
weights = np.empty((0, 0), np.float32)
with ThreadPoolExecutor(2) as threads:
    for line in sys.stdin:
        begin = time.perf_counter()
        answer: dict[str, Any] = {}
        if line.strip() == "fit":
            weights = fit()
        else:
            found = list(threads.map(top, range(0, single.shape[0], USERS)))
        answer["seconds"] = time.perf_counter() - begin
        if line.strip() == "show":
            answer["items"] = found[0][0][:200].tolist()
        print(json.dumps(answer), flush=True)
