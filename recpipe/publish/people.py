"""Looks people up in published and other tables: what `recpipe show` and the report print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias, cast

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.contracts import EXPLANATIONS
from recpipe.errors import InputError, UsageError
from recpipe.publish.arrow_root import ArrowFolder
from recpipe.publish.pointer import current, versions
from recpipe.publish.profile import EXPLAINED, LISTED, RATED, Profile
from recpipe.publish.profile import profiles as profiles_of
from recpipe.storage import Runs, Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import dataset

    from recpipe.storage import Folder, Run

    Rows: TypeAlias = DataFrame | dataset.Dataset
    """A table in Spark's hands, or in those of pyarrow."""

_LONG = 1 << 63


def lookup(
    root: Folder | ArrowFolder, user_id: str, *, run_id: str | None = None, history: int = 10
) -> tuple[str, Profile]:
    """The run id of a table of lists, and what it and the ratings say of one person.

    Args:
        root: of the pipeline; without tables under it, history and titles are missing.
        user_id: as the source has it.
        run_id: of a published version, or of a run that has made lists; default the version that
            readers take now.
        history: how many of the best and of the latest ratings.

    Raises:
        UsageError: if nothing is published, that run has no lists, or nobody knows the user.
        InputError: if a pointer or a table is damaged.
    """
    # The code below uses only what Folder and ArrowFolder have in common.
    place = cast("Folder", root)
    found_run, lists, explanations = _lists(place, run_id)
    ratings, movies = _table(place, "ratings"), _table(place, "movies")
    found = profiles(
        lists,
        [user_id],
        ratings=ratings,
        movies=movies,
        explanations=explanations,
        history=history,
    )
    if not found:
        raise UsageError(
            f"no user {user_id!r} in the lists of {found_run} or the ratings",
            hint="ids are those of the source",
        )
    return found_run, found[0]


def _lists(root: Folder, run_id: str | None) -> tuple[str, Rows, Rows | None]:
    """The run id and the table of the lists that are asked for, and that of their reasons."""
    found = [current(root)] if run_id is None else versions(root)
    for version in found:
        if run_id is None or version.run_id == run_id:
            reasons = version.read_beside(root, EXPLANATIONS.name)
            return version.run_id, version.read(root), reasons
    assert run_id is not None  # noqa: S101 - what is current was found
    run = Runs(root).get(run_id)
    if "recommended" not in run.manifest:
        raise UsageError(
            f"run {run_id} has no lists yet", hint="make them with `recpipe recommend`"
        )
    name = run.manifest["recommended"]
    return run_id, _read(run.folder / "recommendations", name), explanations_of(run)


def explanations_of(run: Run) -> Rows | None:
    """contracts.EXPLANATIONS of a run that has made lists; None where it was asked for none."""
    if not run.manifest.get(EXPLANATIONS.name, {}).get("rows"):
        return None
    return _read(run.folder / EXPLANATIONS.name, run.manifest["recommended"])


def _table(root: Folder, name: str) -> Rows | None:
    """A table at its current version; None where there is none."""
    tables = Tables(root)
    if not tables.has(name):
        return None
    if isinstance(root, ArrowFolder):
        return (root / "tables").read_parquet(tables.location(name))
    return tables.read(name)


def _read(folder: Folder, name: str) -> Rows:
    return folder.read_parquet(name) if isinstance(folder, ArrowFolder) else folder.read_table(name)


def profiles(
    recommendations: Rows,
    user_ids: Sequence[str],
    *,
    ratings: Rows | None,
    movies: Rows | None,
    explanations: Rows | None = None,
    history: int = 10,
) -> list[Profile]:
    """What is known of these people, in their order; who has neither list nor rating is left out.

    All ratings of these people reach this process, and nobody else's.

    Args:
        recommendations: contracts.RECOMMENDATIONS.
        user_ids: as the source has them.
        ratings: contracts.RATINGS, or None.
        movies: contracts.MOVIES, or None.
        explanations: contracts.EXPLANATIONS of the lists, or None.
        history: how many of the best and of the latest ratings.
    """
    listed = _rows(recommendations, "user_id", user_ids, LISTED)
    rated = None if ratings is None else _rows(ratings, "user_id", user_ids, RATED)
    explained = None
    if explanations is not None:
        explained = _rows(explanations, "user_id", user_ids, EXPLAINED)
    titles: dict[str, str] = {}
    if movies is not None:
        both = [listed, *([] if rated is None else [rated])]
        items = sorted({str(item) for table in both for item in table["item_id"].to_pylist()})
        named = _rows(movies, "item_id", items, ("item_id", "title")).to_pylist()
        titles = {str(row["item_id"]): row["title"] for row in named}
    return profiles_of(
        user_ids,
        listed=listed,
        rated=rated,
        explained=explained,
        titles=titles,
        history=history,
    )


def typical_users(ratings: DataFrame) -> list[str]:
    """Up to three user ids: of few, middling and many ratings (quartiles of their number).

    Of equally many ratings the lowest id; the same table always gives the same people.

    Args:
        ratings: (user_id, ...), one row a rating.
    """
    counts = ratings.groupBy("user_id").count()
    quartiles = counts.agg(F.percentile_approx("count", [0.25, 0.5, 0.75], 10_000)).collect()[0][0]
    nearest = [
        F.min(F.struct(F.abs(F.col("count") - F.lit(middle)), "user_id"))["user_id"]
        for middle in quartiles or []
    ]
    if not nearest:
        return []
    return list(dict.fromkeys(str(user_id) for user_id in counts.agg(*nearest).collect()[0]))


def _rows(table: Rows, key: str, ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """The rows of these ids, by a filter that reaches the Parquet files."""
    if isinstance(table, DataFrame):
        numbers = table.schema[key].dataType.typeName() != "string"
        wanted = _numbers(ids) if numbers else list(ids)
        return _in_utc(table.where(F.col(key).isin(wanted)).select(*columns).toArrow())
    import pyarrow.compute as pc

    kind = table.schema.field(key).type
    wanted = _numbers(ids) if pa.types.is_integer(kind) else list(ids)
    of_these = pc.field(key).isin(pa.array(wanted, type=kind))
    try:
        return _in_utc(table.to_table(columns=list(columns), filter=of_these))
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{table.files[0].rpartition('/')[0]}: {str(error).splitlines()[0]}", hint="restore it"
        ) from error


def _in_utc(table: pa.Table) -> pa.Table:
    """Instants in microseconds of UTC, however a file keeps them."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            instants = table.column(place).cast(pa.timestamp("us", "UTC"), safe=False)
            table = table.set_column(place, field.name, instants)
    return table


def _numbers(ids: Sequence[str]) -> list[int]:
    return [number for text in ids if (number := _long(text)) is not None]


def _long(text: str) -> int | None:
    """The number in the text; None where it would be printed otherwise: 007 is not 7."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        return None
    number = int(text)
    return number if str(number) == text and -_LONG <= number < _LONG else None
