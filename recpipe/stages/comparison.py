"""Two runs of one root, read and compared; no part of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from recpipe.evaluation.paired import UserValues, paired
from recpipe.report.compare import Comparison, RunRecord, metric_of
from recpipe.report.manifest import splits_of
from recpipe.stages.held_out import relevant_from
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
    # The file alone may be that of models which `train` has since replaced.
    if "metrics" in run.manifest and run.folder.exists("metrics.json"):
        found = run.folder.read_json("metrics.json")
    return found


def _difference(one: Run, other: Run) -> dict[str, Any]:
    """How much better the chosen model of `other` is, as metrics.json has differences.

    Raises:
        _Unknown: if that cannot be told.
    """
    metric = metric_of(one.manifest)
    if one.id == other.id:
        raise _Unknown("both ids name the same run")
    _check_evaluated_alike(one, other)
    _check_same_rows(one, other)
    mine, theirs = _of_users(other, metric), _of_users(one, metric)
    if not np.array_equal(mine.values.users, theirs.values.users):
        raise _Unknown("the evaluated users differ")
    if not np.array_equal(mine.relevant, theirs.relevant):
        raise _Unknown("the number of relevant items differs for some users")
    seed = int(one.manifest.get("seed") or 0)
    found = paired(mine.values, theirs.values, metric=metric, split=_PART, seed=seed)
    if found is None:
        raise _Unknown("no user counts for both")
    return found.as_dict()


def _check_evaluated_alike(one: Run, other: Run) -> None:
    """Raise _Unknown unless both are evaluated, on one part, by the same rules."""
    for run in (one, other):
        folds = (run.manifest.get("split") or {}).get("folds")
        if folds != [None]:
            raise _Unknown(f"{run.id} has {'folds' if folds else 'no split'}")
        if "metrics" not in run.manifest:
            raise _Unknown(f"{run.id} has not been evaluated")
    lowest = [_relevant_from(run) for run in (one, other)]
    if lowest[0] != lowest[1]:
        told = ["every item" if at is None else f"{at:g} and more" for at in lowest]
        raise _Unknown(
            f"relevance differs: {told[0]} is relevant in {one.id}, {told[1]} in {other.id}"
        )
    excluded = [_evaluation(run).get("exclude") for run in (one, other)]
    if excluded[0] != excluded[1]:
        raise _Unknown(f"evaluate.exclude differs: {excluded[0]} and {excluded[1]}")


def _evaluation(run: Run) -> dict[str, Any]:
    """The settings that it was evaluated by."""
    found: dict[str, Any] = (run.manifest.get("settings") or {}).get("evaluate") or {}
    return found


def _relevant_from(run: Run) -> float | None:
    return relevant_from(run, _evaluation(run).get("relevance_threshold", "auto"))


def _check_same_rows(one: Run, other: Run) -> None:
    """Raise _Unknown unless both hold out the same pairs of users and items."""
    rows = [_rows_of_test(run) for run in (one, other)]
    if None not in rows and rows[0] != rows[1]:
        raise _Unknown(f"their test parts differ: {rows[0]:,} and {rows[1]:,} pairs")
    of_one, of_other = _pairs(one), _pairs(other)
    if not np.array_equal(of_one, of_other):
        same = len(np.intersect1d(of_one, of_other, assume_unique=True))
        raise _Unknown(
            f"their test parts differ: {len(of_one):,} and {len(of_other):,} pairs,"
            f" {same:,} in common"
        )


def _rows_of_test(run: Run) -> int | None:
    """How many rows test has, as its split has counted them."""
    for fold in splits_of(run.manifest)[:1]:
        rows: int | None = fold["parts"].get(_PART, {}).get("rows")
        return rows
    return None


def _pairs(run: Run) -> NDArray[np.int64]:
    """The held-out pairs of test, sorted, each as one number."""
    rows = _rows(run, "split", ["user", "item"])
    users, items = (rows[name].to_numpy().astype(np.int64) for name in ("user", "item"))
    return np.sort(users << 32 | items)


def _of_users(run: Run, metric: str) -> _Evaluated:
    """The values of the users of test, sorted by user."""
    model = str((run.manifest.get("chosen") or {}).get("model"))
    try:
        rows = _rows(run, "user_metrics", ["user", "relevant", metric], model=model)
    except KeyError:
        raise _Unknown(f"{run.id} has kept no per-user values of {metric}") from None
    if not len(rows):
        raise _Unknown(f"{run.id} has kept no per-user values of {model}")
    rows = rows.sort_by("user")
    values = rows[metric].to_numpy().astype(np.float64)
    users, relevant = (rows[name].to_numpy() for name in ("user", "relevant"))
    return _Evaluated(UserValues(f"{run.id}: {model}", users, values), relevant)


def _rows(run: Run, place: str, columns: list[str], *, model: str | None = None) -> pa.Table:
    """Columns of what a run says of test; nothing else of it is read.

    Args:
        run: whose table it is.
        place: the folder of it.
        columns: to be read.
        model: whose rows; None for all.

    Raises:
        _Unknown: if the table is not there, or its writer did not finish.
        KeyError: if it has no such column.
    """
    folder = run.folder / place
    if not folder.has_table(_PART):
        raise _Unknown(f"{run.id} has no complete table {place}/{_PART}")
    if isinstance(folder, Folder):
        frame = folder.read_table(_PART)
        _check_columns(columns, frame.columns)
        chosen = frame if model is None else frame.where(frame["model"] == model)
        # In backticks: the name of a metric at k is no expression.
        return chosen.select(*(f"`{column}`" for column in columns)).toArrow()
    import pyarrow.compute as pc

    table = cast("ArrowFolder", folder).read_parquet(_PART)
    _check_columns(columns, table.schema.names)
    return table.to_table(
        columns=columns, filter=None if model is None else pc.field("model") == model
    )


def _check_columns(wanted: list[str], there: list[str]) -> None:
    if missing := set(wanted) - set(there):
        raise KeyError(*missing)
