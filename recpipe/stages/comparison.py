"""Two runs of one root, read and compared; no part of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from recpipe.evaluation.paired import UserValues, paired
from recpipe.report.compare import Comparison, RunRecord, metric_of
from recpipe.storage import Folder, Runs

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.publish import ArrowFolder
    from recpipe.storage import Run

_PART = "test"


class _Unknown(Exception):  # noqa: N818 - an answer, not a fault: why there is no difference to tell
    """Why two runs cannot be compared user by user."""


class _Evaluated(NamedTuple):
    """What a run says of the users of test.

    Args:
        values: of its chosen model.
        relevant: (U,) how many items are relevant to each.
    """

    values: UserValues
    relevant: NDArray[np.int32]


def compare_runs(root: Folder | ArrowFolder, one: str, other: str) -> Comparison:
    """What two runs say, and how their chosen models differ over the same users.

    Args:
        root: of both runs; Spark is not needed where pyarrow can open it.
        one: the id of the run that the other is compared with.
        other: the id of the other.

    Raises:
        UsageError: if there is no such run.
        InputError: if what a run has written is damaged.
    """
    # The code below uses only what Folder and ArrowFolder have in common.
    runs = Runs(cast("Folder", root))
    found = runs.get(one), runs.get(other)
    records = [RunRecord(run.manifest, _metrics(run)) for run in found]
    try:
        difference = _difference(*found)
    except _Unknown as why:
        return Comparison(records[0], records[1], None, str(why))
    return Comparison(records[0], records[1], difference)


def _metrics(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if run.folder.exists("metrics.json"):
        found = run.folder.read_json("metrics.json")
    return found


def _difference(one: Run, other: Run) -> dict[str, Any]:
    """How much better the chosen model of `other` is, as metrics.json has differences.

    Raises:
        _Unknown: if that cannot be told.
    """
    metric = metric_of(one.manifest)
    if one.id == other.id:
        raise _Unknown("it is one run")
    _check_same_rows(one, other)
    mine, theirs = _of_users(other, metric), _of_users(one, metric)
    if not np.array_equal(mine.values.users, theirs.values.users):
        raise _Unknown("they have evaluated other users")
    if not np.array_equal(mine.relevant, theirs.relevant):
        raise _Unknown("they call other held-out items relevant")
    seed = int(one.manifest.get("seed") or 0)
    found = paired(mine.values, theirs.values, metric=metric, split=_PART, seed=seed)
    if found is None:
        raise _Unknown("no user counts for both")
    return found.as_dict()


def _check_same_rows(one: Run, other: Run) -> None:
    """Raise _Unknown unless both hold out the same pairs of users and items."""
    of_one, of_other = _pairs(one), _pairs(other)
    if not np.array_equal(of_one, of_other):
        same = len(np.intersect1d(of_one, of_other, assume_unique=True))
        raise _Unknown(
            f"they hold out other ratings for test, {len(of_one):,} and {len(of_other):,}, of which"
            f" {same:,} are the same"
        )


def _pairs(run: Run) -> NDArray[np.int64]:
    """The held-out pairs of test, sorted, each as one number."""
    folds = (run.manifest.get("split") or {}).get("folds")
    if folds != [None]:
        raise _Unknown(f"{run.id} has {'folds' if folds else 'no split'}")
    rows = _rows(run.folder / "split", _PART, ["user", "item"])
    if rows is None:
        raise _Unknown(f"the held-out ratings of {run.id} are no longer there")
    users, items = (rows[name].to_numpy().astype(np.int64) for name in ("user", "item"))
    return np.sort(users << 32 | items)


def _of_users(run: Run, metric: str) -> _Evaluated:
    """The values of the users of test, sorted by user."""
    model = (run.manifest.get("chosen") or {}).get("model")
    rows = _rows(run.folder / "user_metrics", _PART, ["model", "user", "relevant", metric])
    if rows is None:
        raise _Unknown(f"{run.id} has kept no values of each user by {metric}")
    import pyarrow.compute as pc

    rows = rows.filter(pc.equal(rows["model"], model)).sort_by("user")
    if not len(rows):
        raise _Unknown(f"{run.id} has kept no values of each user by {model}")
    values = rows[metric].to_numpy().astype(np.float64)
    users, relevant = (rows[name].to_numpy() for name in ("user", "relevant"))
    return _Evaluated(UserValues(f"{run.id}: {model}", users, values), relevant)


def _rows(folder: Folder, name: str, columns: list[str]) -> pa.Table | None:
    """Columns of a table; None where there is no such table or column."""
    if isinstance(folder, Folder):
        if not folder.has_table(name):
            return None
        frame = folder.read_table(name)
        if not set(columns) <= set(frame.columns):
            return None
        # In backticks: the name of a metric at k is no expression.
        return frame.select(*(f"`{column}`" for column in columns)).toArrow()
    place = cast("ArrowFolder", folder)
    if not place.exists(name):
        return None
    table = place.read_parquet(name)
    return table.to_table(columns=columns) if set(columns) <= set(table.schema.names) else None
