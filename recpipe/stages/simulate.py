"""An A/B test of two evaluated models, replayed from their lists on the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe import evaluation
from recpipe.errors import InputError, UsageError
from recpipe.evaluation.simulation import ClickModel, replay, sample_size
from recpipe.kernels import ids
from recpipe.spark.interactions import frame_of
from recpipe.stages.context import Context, folds_of
from recpipe.stages.fit import fitted_models
from recpipe.stages.held_out import relevance_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.storage import Run

_MAX_USERS = 100_000
"""Users who visit; of more a sample by their numbers is taken."""


def simulate(
    context: Context, run: Run, models: tuple[str, str], *, lift: float, clicks: ClickModel
) -> dict[str, Any]:
    """Replay the test; what simulation.json says in the end.

    Args:
        context: of the command.
        run: that has been evaluated.
        models: the one that is shown today, and the one that might be.
        lift: for which the number of users is asked for as well, as a share of today's rate.
        clicks: how people click.

    Raises:
        UsageError: if a model was not evaluated, both are the same, or the run is of k-fold.
        InputError: if nobody has a relevant item on the test part.
    """
    for model in models:
        if model not in fitted_models(run):
            fitted = ", ".join(fitted_models(run))
            raise UsageError(f"run {run.id} has no model {model!r}", hint=f"fitted: {fitted}")
    if models[0] == models[1]:
        raise UsageError("a model is not tested against itself", hint="name two models")
    parts = folds_of(context, run)[0]
    if parts.fold is not None:
        raise UsageError(
            "k-fold has no period in which a test could have been", hint="split by time"
        )
    folder = run.folder / "evaluation"
    if not all(folder.has_table(model) for model in models):
        raise UsageError(f"run {run.id} has not been evaluated", hint="run `recpipe evaluate`")
    with context.progress.stage("simulate", " against ".join(models)):
        threshold = relevance_threshold(context, run)
        relevant = frame_of(evaluation.relevant_pairs(parts.stored["test"], threshold))
        relevant = relevant.select("user", "item")
        users = _users(relevant)
        if not len(users):
            raise InputError("nobody has a relevant item on the test part", hint="see the split")
        chances = [
            clicks.success(*_hits(folder.read_table(model), relevant, users)) for model in models
        ]
        found = replay(chances[0], chances[1], seed=context.settings.seed)
    rate = found.rates[0]
    wished = min(1.0, rate * (1 + lift))
    result = {
        "run_id": run.id,
        "models": list(models),
        "assumptions": clicks.assumptions,
        **found.as_dict(),
        "wished_lift": lift,
        "needed_for_wished": sample_size(rate, wished) if 0 < rate < wished else None,
    }
    (run.folder / "simulation").write_json(f"{models[0]}-{models[1]}.json", result)
    return result


def _users(relevant: DataFrame) -> NDArray[np.int32]:
    """Who visit, ascending."""
    distinct = relevant.select("user").distinct()
    every = max(1, -(-distinct.count() // _MAX_USERS))
    chosen = distinct.where(F.col("user") % every == 0).orderBy("user").toArrow()
    found: NDArray[np.int32] = chosen["user"].to_numpy().astype(np.int32)
    return found


def _hits(
    lists: DataFrame, relevant: DataFrame, users: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R, U) whether the item at each rank is relevant, and whether there is one."""
    marked = relevant.withColumn("hit", F.lit(True))
    rows = lists.join(marked, ["user", "item"], "left").select("user", "rank", "hit").toArrow()
    place = ids.positions(users, rows["user"].to_numpy().astype(np.int32))
    known = place >= 0
    rank = rows["rank"].to_numpy()
    depth = int(rank.max(initial=1))
    hits, shown = np.zeros((2, depth, len(users)), bool)
    shown[rank[known] - 1, place[known]] = True
    hit = rows["hit"].is_valid().to_numpy() & known
    hits[rank[hit] - 1, place[hit]] = True
    return hits, shown
