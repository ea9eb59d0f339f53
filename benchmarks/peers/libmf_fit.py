"""Fits LIBMF when told to, reading included: work, rank, epochs, regularization.

It factorises the ratings less their mean: it has no biases, and would else begin far off.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

out, sys.stdout = sys.stdout, sys.stderr
from libmf import mf  # noqa: E402 - it talks while it is imported

work, rank, epochs, regularization = sys.argv[1:]
train = Path(work) / "train.parquet"


def fit() -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(train)
    rating = table["rating"].to_numpy()
    mean = rating.mean()
    data = np.column_stack([table["user"].to_numpy(), table["item"].to_numpy(), rating - mean])
    model = mf.MF(
        fun=mf.P_L2_MFR, k=int(rank), nr_threads=2, nr_iters=int(epochs), quiet=True,
        lambda_p2=float(regularization), lambda_q2=float(regularization), lambda_p1=0.0,
        lambda_q1=0.0, eta=0.1, copy_data=False,
    )  # fmt: skip
    model.fit(np.ascontiguousarray(data, np.float32))
    fitted = model.model
    sides = []
    for pointer, rows in ((fitted.P, fitted.m), (fitted.Q, fitted.n)):
        values = np.ctypeslib.as_array(pointer, (rows * fitted.k,)).reshape(rows, fitted.k)
        sides.append(np.nan_to_num(values.copy()))
    users, items = sides
    users = np.column_stack([users, np.full(len(users), mean, np.float32)])
    return users, np.column_stack([items, np.ones(len(items), np.float32)])


print("ready", file=out, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    users, items = fit()
    seconds = time.perf_counter() - start
    if line.strip() != "fit":
        np.savez(line.strip(), users=users, items=items)
    print(json.dumps(seconds), file=out, flush=True)
