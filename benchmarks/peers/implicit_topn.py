"""Top-N of all users by `implicit`, from arrays on disk. Each line asked is one round."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

folder, n = Path(sys.argv[1]), int(sys.argv[2])
users, items = np.load(folder / "user_factors.npy"), np.load(folder / "item_factors.npy")
pairs = np.load(folder / "seen.npy")
model = AlternatingLeastSquares(factors=users.shape[1])
model.user_factors, model.item_factors = users, items
for line in sys.stdin:
    begin = time.perf_counter()
    seen = csr_matrix(
        (np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])),
        shape=(len(users), len(items)),
    )
    prepared = time.perf_counter() - begin
    ids, scores = model.recommend(np.arange(len(users)), seen, N=n, filter_already_liked_items=True)
    answer = {"seconds": time.perf_counter() - begin, "prepared": prepared}
    if line.strip() == "lists":
        answer["items"] = ids[:50].tolist()
    print(json.dumps(answer), flush=True)
