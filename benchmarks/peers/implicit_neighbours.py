"""Fits `implicit`'s item neighbours and lists the best of all users: work, k, n. A round a line."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

work, k, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
data = np.load(work / "train.npz")
ratings = csr_matrix((np.ones(len(data["user"]), np.float32), (data["user"], data["item"])))
for line in sys.stdin:
    begin = time.perf_counter()
    model = CosineRecommender(K=k, num_threads=2)
    model.fit(ratings, show_progress=False)
    fitted = time.perf_counter() - begin
    users = np.arange(ratings.shape[0])
    ids, scores = model.recommend(users, ratings, N=n, filter_already_liked_items=True)
    answer = {"seconds": time.perf_counter() - begin, "fitted": fitted}
    if line.strip() == "lists":
        answer["scores"] = np.maximum(scores[:200], 0).tolist()
    print(json.dumps(answer), flush=True)
