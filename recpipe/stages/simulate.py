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
from recpipe.stages.start import beside

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.storage import Run

_MAX_USERS = 100_000
"""Users who visit; of more a sample by their numbers is taken."""


def simulate(
    context: Context, run: Run, models: tuple[str, str], *, lift: float, clicks: ClickModel
) -> dict[str, Any]:
    """Replay the test; what `simulation/<model>-<other>.json` says.

    Args:
        context: with the settings of the run, and what was given on top of them.
        run: that has been evaluated; it stays as it is.
        models: the one that is shown today, and the one that might be.
        lift: for which the number of users is asked for as well, as a share of today's rate.
        clicks: how people click.

    Raises:
        UsageError: if a model was not evaluated, both are the same, the run is of k-fold, or
            settings have changed that made what was evaluated.
        InputError: if nobody has a relevant item on the test part.
    """
    for model in models:
        if model not in fitted_models(run):
            fitted = ", ".join(fitted_models(run))
            raise UsageError(f"run {run.id} has no model {model!r}", hint=f"fitted: {fitted}")
    if models[0] == models[1]:
        raise UsageError("a model is not tested against itself", hint="name two models")
    context = beside(context, run, "recommend")
    parts = folds_of(context, run)[0]
    if parts.fold is not None:
        raise UsageError(
            "k-fold has no period in which a test could have been", hint="split by time"
        )
    folder = run.folder / "evaluation"
    # Lists on disk may be of models that `train` has replaced since; the manifest tells.
    if "metrics" not in run.manifest or not all(folder.has_table(model) for model in models):
        raise UsageError(f"run {run.id} has not been evaluated", hint="run `recpipe evaluate`")
    with context.progress.stage("simulate", " against ".join(models)):
        threshold = relevance_threshold(context, run)
        relevant = frame_of(evaluation.relevant_pairs(parts.stored["test"], threshold))
        relevant = relevant.select("user", "item")
        visitors = visitors_of(relevant, at_most=_MAX_USERS)
        users: NDArray[np.int32]
        users = visitors.orderBy("user").toArrow()["user"].to_numpy().astype(np.int32)
        if not len(users):
            raise InputError("nobody has a relevant item on the test part", hint="see the split")
        chances = [
            clicks.success(*_hits(shown_places(lists, relevant, visitors), users))
            for lists in map(folder.read_table, models)
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


def visitors_of(relevant: DataFrame, *, at_most: int) -> DataFrame:
    """(user) who visit: those with a relevant item, of more than `at_most` a sample by number."""
    distinct = relevant.select("user").distinct()
    every = max(1, -(-distinct.count() // at_most))
    return distinct.where(F.col("user") % every == 0)


def shown_places(lists: DataFrame, relevant: DataFrame, visitors: DataFrame) -> DataFrame:
    """(user, rank, hit) of the lists of the visitors; `hit` is null where the item is irrelevant.

    Args:
        lists: (user, item, rank, ...) of all users.
        relevant: (user, item)
        visitors: (user)
    """
    marked = relevant.withColumn("hit", F.lit(True))
    seen = lists.join(visitors, "user", "left_semi")
    return seen.join(marked, ["user", "item"], "left").select("user", "rank", "hit")


def _hits(
    places: DataFrame, users: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R, U) whether the item at each rank is relevant, and whether there is one."""
    rows = places.toArrow()
    place = ids.positions(users, rows["user"].to_numpy().astype(np.int32))
    rank = rows["rank"].to_numpy()
    depth = int(rank.max(initial=1))
    hits, shown = np.zeros((2, depth, len(users)), bool)
    shown[rank - 1, place] = True
    hit = rows["hit"].is_valid().to_numpy()
    hits[rank[hit] - 1, place[hit]] = True
    return hits, shown
