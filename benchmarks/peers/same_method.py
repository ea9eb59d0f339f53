"""The same method in another library: library, folder of the task. A question of JSON a line.

A question names a class of the library, its arguments, and what it is given: `likings`, each of
the weight `weight`, or `ratings`. What comes back is a file of predictions of the test pairs, or of
lists of ten unseen items: the scores are the library's, and a list has the highest, of equal ones
the lowest item first.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse.linalg
from scipy.sparse import csr_matrix

N, SEED = 10, 42

out, sys.stdout = sys.stdout, sys.stderr
library, work = sys.argv[1], Path(sys.argv[2])
task = np.load(work / "task.npz")
user_ids, user = np.unique(task["user"], return_inverse=True)
item_ids, item = np.unique(task["item"], return_inverse=True)
rating = task["rating"].astype(np.float64)
liked = rating >= task["liked_from"]
asked = np.searchsorted(user_ids, task["users"])
"""Rows of the users whose lists are asked for."""


def matrix(values: np.ndarray, some: np.ndarray) -> csr_matrix:
    return csr_matrix((values[some], (user[some], item[some])), (len(user_ids), len(item_ids)))


def given(question: dict[str, Any]) -> csr_matrix:
    if question["given"] == "ratings":
        return matrix(rating, np.ones(len(rating), bool))
    return matrix(np.full(len(rating), question["weight"]), liked)


# -- predictions ------------------------------------------------------------------------------


def surprise_predictions(method: str, arguments: dict[str, Any]) -> np.ndarray:
    import surprise

    file = work / "ratings.tsv"
    # In order: of neighbours that are equally near it takes the first, as ours does.
    order = np.lexsort((item, user))
    rows = zip(*(each[order].tolist() for each in (user, item, rating)), strict=True)
    file.write_text("".join(f"{u}\t{i}\t{r}\n" for u, i, r in rows))
    low, high = task["scale"].tolist()
    reader = surprise.Reader(line_format="user item rating", sep="\t", rating_scale=(low, high))
    train = surprise.Dataset.load_from_file(str(file), reader).build_full_trainset()
    algorithm = getattr(surprise, method)(**arguments).fit(train)
    places = []
    for ids, wanted in ((user_ids, task["test_user"]), (item_ids, task["test_item"])):
        at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        # A number that no user or item of the training set has.
        places.append(np.where(ids[at] == wanted, at, -1).tolist())
    pairs = zip(*places, strict=True)
    return np.array([algorithm.predict(str(u), str(i)).est for u, i in pairs])


def svd_predictions(rank: int) -> np.ndarray:
    """Unknown ratings are filled with the mean of the user's; NaN for an unknown user or item."""
    known = matrix(rating, np.ones(len(rating), bool))
    means = known.sum(axis=1).A1 / np.diff(known.indptr)
    known.data -= np.repeat(means, np.diff(known.indptr))
    left, singular, right = scipy.sparse.linalg.svds(known, k=rank, random_state=SEED)
    found = np.full(len(task["test_user"]), np.nan)
    rows = np.searchsorted(user_ids, task["test_user"])
    columns = np.minimum(np.searchsorted(item_ids, task["test_item"]), len(item_ids) - 1)
    there = item_ids[columns] == task["test_item"]
    rows, columns = rows[there], columns[there]
    found[there] = means[rows] + np.einsum("nk,nk->n", left[rows] * singular, right.T[columns])
    clipped: np.ndarray = np.clip(found, *task["scale"].tolist())
    return clipped


# -- lists ------------------------------------------------------------------------------------


def implicit_scores(method: str, arguments: dict[str, Any], x: csr_matrix) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    if method == "CosineRecommender":
        neighbours = CosineRecommender(**arguments)
        neighbours.fit(x, show_progress=False)
        return (x[asked] @ neighbours.similarity).toarray()
    model = AlternatingLeastSquares(random_state=SEED, **arguments)
    model.fit(x.astype(np.float32), show_progress=False)
    return model.user_factors[asked] @ model.item_factors.T


def irspack_scores(method: str, arguments: dict[str, Any], x: csr_matrix) -> Any:
    import irspack

    model = getattr(irspack, method)(x, **arguments).learn()
    found = model.get_score(asked)
    return np.asarray(found.todense() if scipy.sparse.issparse(found) else found)


def rectools_scores(method: str, arguments: dict[str, Any], x: csr_matrix) -> Any:
    import pandas as pd
    from rectools import models
    from rectools.dataset import Dataset

    rows = x.tocoo()
    frame = pd.DataFrame({"user_id": rows.row, "item_id": rows.col, "weight": rows.data})
    frame["datetime"] = pd.Timestamp("2020-01-01")
    dataset = Dataset.construct(frame)
    model = getattr(models, method)(**arguments).fit(dataset)
    columns = dataset.item_id_map.external_ids.astype(int)
    users = pd.Series(
        range(len(dataset.user_id_map.external_ids)), dataset.user_id_map.external_ids
    )
    internal = users.reindex(asked).fillna(-1).astype(int).to_numpy()
    found = np.full((len(asked), x.shape[1]), -np.inf)
    if method == "PopularModel":
        best = model.popularity_list[0]
        found[:, columns[best]] = -np.arange(len(best))
        return found
    if method == "EASEModel":
        scores = dataset.get_user_item_matrix()[internal] @ model.weight
    else:
        of_users, of_items = model.get_vectors()
        scores = of_users[internal] @ of_items.T
    found[:, columns] = np.where(internal[:, None] >= 0, scores, -np.inf)
    return found


def lenskit_scores(method: str, arguments: dict[str, Any], x: csr_matrix) -> Any:
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.knn import EASEScorer

    rows = x.tocoo()
    frame = pd.DataFrame({"user_id": rows.row, "item_id": rows.col})
    model = {"EASEScorer": EASEScorer}[method](**arguments)
    model.train(from_interactions_df(frame))
    columns = model.items.ids().astype(int)
    found = np.full((len(asked), x.shape[1]), -np.inf)
    found[:, columns] = x[asked][:, columns] @ model.weights
    return found


def scipy_scores(method: str, arguments: dict[str, Any], x: csr_matrix) -> Any:
    left, singular, right = getattr(scipy.sparse.linalg, method)(x, random_state=SEED, **arguments)
    return (left[asked] * singular) @ right


def lists(scores: np.ndarray) -> dict[str, np.ndarray]:
    scores = np.array(scores, np.float64)
    seen = np.searchsorted(item_ids, task["seen_item"])
    there = item_ids[np.minimum(seen, len(item_ids) - 1)] == task["seen_item"]
    rows = np.searchsorted(task["users"], task["seen_user"])
    scores[rows[there], seen[there]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :N]
    values = np.take_along_axis(scores, best, axis=1)
    kept = np.isfinite(values)
    whose, rank = np.nonzero(kept)
    return {
        "user": task["users"][whose],
        "item": item_ids[best[kept]],
        "rank": rank + 1,
        "score": values[kept],
    }


SCORES = {
    "implicit": implicit_scores,
    "irspack": irspack_scores,
    "rectools": rectools_scores,
    "lenskit": lenskit_scores,
    "scipy": scipy_scores,
}
for line in sys.stdin:
    question = json.loads(line)
    method, arguments = question["method"], question["arguments"]
    begin = time.perf_counter()
    if question["wanted"] == "predictions":
        if library == "scipy":
            predicted = svd_predictions(**arguments)
        else:
            predicted = surprise_predictions(method, arguments)
        known = np.isfinite(predicted)
        found = {
            "user": task["test_user"][known],
            "item": task["test_item"][known],
            "prediction": predicted[known],
        }
    else:
        found = lists(SCORES[library](method, arguments, given(question)))
    np.savez(work / "theirs.npz", **found)
    answer = {"seconds": time.perf_counter() - begin, "version": version(question["package"])}
    print(json.dumps(answer), file=out, flush=True)
