"""Fits `implicit`'s ALS when told to: work, rank, exact|cg, iterations, regularization, alpha."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares

work, rank, kind, iterations, regularization, alpha = sys.argv[1:]
data = np.load(Path(work) / "train.npz")
value = np.full(len(data["user"]), 1 + float(alpha), np.float32)
ratings = scipy.sparse.csr_matrix((value, (data["user"], data["item"])))
print("ready", flush=True)
for line in sys.stdin:
    model = AlternatingLeastSquares(
        factors=int(rank), regularization=float(regularization), alpha=1.0,
        iterations=int(iterations), use_cg=kind == "cg", num_threads=2, random_state=7,
        dtype=np.float32,
    )  # fmt: skip
    start = time.perf_counter()
    model.fit(ratings, show_progress=False)
    seconds = time.perf_counter() - start
    if line.strip() != "fit":
        np.savez(line.strip(), users=model.user_factors, items=model.item_factors)
    print(json.dumps(seconds), flush=True)
