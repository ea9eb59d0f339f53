"""Two runs of one root, read and compared; no part of a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from recpipe.evaluation.paired import (
    PAIR_DIGESTS,
    VALUE_SUMS,
    UserSums,
    joined,
    pair_digests,
    paired,
    value_sums,
)
from recpipe.report.compare import Comparison, RunRecord, metric_of
from recpipe.report.manifest import splits_of
from recpipe.stages.held_out import relevant_from
from recpipe.storage import Folder, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa

    from recpipe.publish import ArrowFolder
    from recpipe.storage import Run

    Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_PART = "test"


class _Unknown(Exception):  # noqa: N818 - an answer, not a fault: why there is no difference to tell
    """Why two runs cannot be compared user by user, and what to do about it."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(f"{why} ({hint})" if hint else why)


_ALIKE = "compare runs of the same tables, with the same settings of split, and the same seed"
_SAME_VERSION = "compare runs that the same version of recpipe has evaluated"


class _Pairs(NamedTuple):
    """The held-out pairs of a run: how many, and digests of them."""

    pairs: int
    of_pairs: int
    relevant: int
    of_relevant: int


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
    _check_same_pairs(one, other)
    mine, theirs = _of_users(other, metric), _of_users(one, metric)
    if (mine.users, mine.of_users) != (theirs.users, theirs.of_users):
        raise _Unknown("the evaluated users differ", _SAME_VERSION)
    if mine.of_relevant != theirs.of_relevant:
        raise _Unknown("the number of relevant items differs for some users", _SAME_VERSION)
    seed = int(one.manifest.get("seed") or 0)
    found = paired(mine, theirs, metric=metric, split=_PART, seed=seed)
    if found is None:
        raise _Unknown(f"no user has a value of {metric} in both")
    return found.as_dict()


def _check_evaluated_alike(one: Run, other: Run) -> None:
    """Raise _Unknown unless both are evaluated on one part, after leaving out the same parts."""
    for run in (one, other):
        folds = (run.manifest.get("split") or {}).get("folds")
        if not folds:
            raise _Unknown(f"run {run.id} has no split", f"run `recpipe split --run-id {run.id}`")
        if folds != [None]:
            raise _Unknown(
                f"run {run.id} has {len(folds)} folds", "compare runs that have one test part"
            )
        if "metrics" not in run.manifest:
            raise _Unknown(
                f"run {run.id} has not been evaluated", f"run `recpipe evaluate --run-id {run.id}`"
            )
    first, second = (_evaluation(run).get("exclude") for run in (one, other))
    if first != second:
        raise _Unknown(
            f"evaluate.exclude is {first} in {one.id} and {second} in {other.id}",
            "compare runs that have the same value",
        )


def _evaluation(run: Run) -> dict[str, Any]:
    """The settings that it was evaluated by."""
    found: dict[str, Any] = (run.manifest.get("settings") or {}).get("evaluate") or {}
    return found


def _check_same_pairs(one: Run, other: Run) -> None:
    """Raise _Unknown unless both hold out the same pairs, and the same of them are relevant."""
    rows = [_rows_of_test(run) for run in (one, other)]
    if None not in rows and rows[0] != rows[1]:
        raise _Unknown(f"their test parts have {rows[0]:,} and {rows[1]:,} rows", _ALIKE)
    lowest = [
        relevant_from(run, _evaluation(run).get("relevance_threshold", "auto"))
        for run in (one, other)
    ]
    first, second = (
        _pairs(run, threshold) for run, threshold in zip((one, other), lowest, strict=True)
    )
    if (first.pairs, first.of_pairs) != (second.pairs, second.of_pairs):
        raise _Unknown(
            f"their test parts hold other pairs of users and items ({first.pairs:,} and"
            f" {second.pairs:,})",
            _ALIKE,
        )
    if first != second:
        told = ["every rating" if at is None else f"{at:g} and more" for at in lowest]
        raise _Unknown(
            f"other pairs are relevant: {first.relevant:,} in {one.id} ({told[0]}) and"
            f" {second.relevant:,} in {other.id} ({told[1]})",
            "compare runs with the same ratings and evaluate.relevance_threshold",
        )


def _rows_of_test(run: Run) -> int | None:
    """How many rows test has, as its split has counted them."""
    for fold in splits_of(run.manifest)[:1]:
        rows: int | None = fold["parts"].get(_PART, {}).get("rows")
        return rows
    return None


def _pairs(run: Run, threshold: float | None) -> _Pairs:
    columns = ["user", "item"] if threshold is None else ["user", "item", "rating"]
    work = partial(pair_digests, threshold=threshold)
    rows = _asked(run, "split", columns, work, PAIR_DIGESTS)
    return _Pairs(*(joined(row[name] for row in rows) for name in _Pairs._fields))


def _of_users(run: Run, metric: str) -> UserSums:
    """The values of the chosen model, of the users of test."""
    model = str((run.manifest.get("chosen") or {}).get("model"))
    columns = ["user", "relevant", metric]
    rows = _asked(run, "user_metrics", columns, value_sums, VALUE_SUMS, model=model)
    found = UserSums.of(f"{run.id}: {model}", rows) if rows else None
    if found is None or not found.users:
        raise _Unknown(
            f"{run.folder.path('user_metrics')} has no values of {model}",
            f"run `recpipe evaluate --run-id {run.id}`",
        )
    return found


def _asked(
    run: Run, place: str, columns: list[str], work: Work, schema: str, *, model: str | None = None
) -> list[Mapping[str, Any]]:
    """What `work` makes of columns of what a run has of test; nothing else of it is read.

    With Spark each task asks its rows; without, they are read a batch at a time.

    Args:
        run: whose table it is.
        place: the folder of it.
        columns: that `work` is given, in this order.
        work: what is done with the rows.
        schema: of what comes of it.
        model: whose rows; None for all.

    Raises:
        _Unknown: if the table is not there, its writer did not finish, or it lacks a column.
    """
    folder = run.folder / place
    name = folder.path(_PART)
    if not folder.has_table(_PART):
        raise _Unknown(f"{name} is no complete table", "restore it, or run the stage again")
    if isinstance(folder, Folder):
        frame = folder.read_table(_PART)
        _check_columns(name, columns, frame.columns)
        chosen = frame if model is None else frame.where(frame["model"] == model)
        # In backticks: the name of a metric at k is no expression.
        chosen = chosen.select(*(f"`{column}`" for column in columns))
        return [row.asDict() for row in chosen.mapInArrow(work, schema).collect()]
    import pyarrow.compute as pc

    table = cast("ArrowFolder", folder).read_parquet(_PART)
    _check_columns(name, columns, table.schema.names)
    chosen = None if model is None else pc.field("model") == model
    batches = table.to_batches(columns=columns, filter=chosen)
    return [row for batch in work(batches) for row in batch.to_pylist()]


def _check_columns(table: str, wanted: list[str], there: list[str]) -> None:
    for name in wanted:
        if name not in there:
            raise _Unknown(
                f"{table} has no column {name}", "compare runs that this version evaluated by it"
            )
