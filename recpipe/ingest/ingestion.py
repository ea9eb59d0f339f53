"""From raw files to the tables under a root, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType

from recpipe.contracts import INGESTED, ITEMS, RATINGS, REJECTED, UNRATED, USERS
from recpipe.errors import CheckError, InputError
from recpipe.ingest import metadata, ratings
from recpipe.ingest.fast.passes import Numbers
from recpipe.ingest.fast.staging import Latest, latest
from recpipe.ingest.given import write_in_parts
from recpipe.ingest.ids import check_dense, extend, first
from recpipe.ingest.inputs import WHOLE, Input, read_inputs, seen_ids
from recpipe.ingest.report import IdCounts, IngestReport, PartReport, RowCounts
from recpipe.ingest.rules import Staged, stage
from recpipe.ingest.times import Period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from pyspark.sql.types import DataType

    from recpipe.contracts import Table
    from recpipe.feedback import Times
    from recpipe.ingest.layout import Kind
    from recpipe.ingest.reading import Reading
    from recpipe.ingest.settings import Ingest
    from recpipe.storage import Replacement, Tables

_MAX_CONCURRENT_JOBS = 6
"""Spark jobs that are planned at the same time."""
_SENT_IDS = 5_000_000
"""Ids up to which each task has all of them, with their numbers."""
_SMALL_FILE = 8_000_000
"""Bytes up to which one task is quicker than a shuffle."""


def ingest(
    source: str | Path | Mapping[str, str], *, tables: Tables, settings: Ingest, run_date: date
) -> IngestReport:
    """Parse, check and index a source, and make its tables current under a root in one step.

    The ratings, and the tables about items and users, become those of this source; `users` and
    `items` only grow. Refused rows of any file go to `rejected`; only those of the ratings count
    towards `max_rejected_share`.

    Ratings may come in parts. Each part is then a source that is read and held to the limits by
    itself; what train tells, such as the scale, holds for the others, and tables about items and
    users are those beside train.

    Args:
        source: a folder, zip or file on any Hadoop file system (docs/contracts.md); or train, test
            and maybe validation by these names, in this order, each of them such a source.
        tables: of the root.
        settings: limits, and what the source does not say itself.
        run_date: the last day on which a rating can have been made (UTC).

    Raises:
        InputError: if the source is missing, empty, not recognised, refused as an archive, has
            too many refused rows or none that is kept, or has ids of another type than those
            already under the root; or if a pair is in two parts. Nothing under the root has
            changed then.
        UsageError: if the tables under the root are of the other format.
        CheckError: if the rows do not add up, or a table breaks its contract; nothing has
            changed then either.
    """
    tables.check_format()
    sources: Mapping[str, str | Path]
    sources = source if isinstance(source, Mapping) else {WHOLE: source}
    with (
        # Of a small source nearly all the time is Spark planning one job after another.
        ThreadPoolExecutor(_MAX_CONCURRENT_JOBS) as pool,
        read_inputs(
            sources, tables=tables, settings=settings, period=Period.until(run_date), pool=pool
        ) as inputs,
    ):
        return _replace_all(inputs, tables, pool)


def _replace_all(inputs: Sequence[Input], tables: Tables, pool: ThreadPoolExecutor) -> IngestReport:
    seen = {contract.name: seen_ids(inputs, contract.columns[0]) for contract in (USERS, ITEMS)}
    types = _id_types(seen, tables, inputs)
    # The only one, or train.
    main, source = inputs[0], inputs[0].source
    with tables.replace() as replacement, _joined(pool) as started:
        ids = [
            started(_extend_ids, replacement, tables, seen, types, contract, inputs)
            for contract in (USERS, ITEMS)
        ]
        others = {
            kind: started(_replace_other, replacement, main, kind, context)
            for kind, context in _others(main, types).items()
        }
        users, items = (found.result() for found in ids)
        written, counts, times = _replace_ratings(replacement, inputs, types, users, items)
        _write_unrated(replacement, inputs, written, types, users, items)
        other_tables = {kind: found.result() for kind, found in others.items()}
        _write_rejected(replacement, inputs, [other.staged for other in other_tables.values()])
        # Titles and tags of another source would name other items, and its parts other pairs.
        for contract in INGESTED:
            if contract not in (USERS, ITEMS) and contract.name not in replacement.written:
                replacement.drop(contract.name)
        beside = dict(
            counted for other in other_tables.values() for counted in other.rows_by_file.items()
        )
        report = IngestReport(
            source=source.uri,
            format=source.recognised.name,
            meaning=main.reading.meaning,
            repeated=main.reading.repeated,
            times=times,
            columns=source.recognised.columns,
            ignored={name: why for each in inputs for name, why in each.ignored.items()},
            files=tuple(file for each in inputs for file in each.files(beside)),
            ratings=RowCounts.total([*counts.values()]),
            others={other.table: other.counts for other in other_tables.values()},
            users=users.counts,
            items=items.counts,
            versions=replacement.versions,
            parts={
                each.part: PartReport(
                    each.source.uri, each.source.recognised.name, counts[each.part]
                )
                for each in inputs
                if each.part != WHOLE
            },
        )
        replacement.describe(report.as_dict())
    return report


@contextmanager
def _joined(pool: ThreadPoolExecutor) -> Iterator[Callable[..., Future[Any]]]:
    """A function that starts work in the pool; all of it has ended when the `with` ends.

    Otherwise a table could still be written while those of a failed ingest are being removed.
    """
    futures: list[Future[Any]] = []

    def start(work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        futures.append(pool.submit(work, *arguments))
        return futures[-1]

    try:
        yield start
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


@dataclass(frozen=True)
class _Ids:
    """An id table; `numbers` where its ids are whole numbers and not too many."""

    table: DataFrame
    counts: IdCounts
    numbers: Numbers | None


@dataclass(frozen=True)
class _IdTypes:
    user_id: DataType
    item_id: DataType

    def of(self, name: str) -> DataType:
        return self.user_id if name == "user_id" else self.item_id

    def cast(self, frame: DataFrame) -> DataFrame:
        """The frame with its ids, which are strings so far, in the types of the tables."""
        ids = [name for name in frame.columns if name in {"user_id", "item_id"}]
        return frame.withColumns({name: frame[name].cast(self.of(name)) for name in ids})


def _id_types(seen: Mapping[str, DataFrame], tables: Tables, inputs: Sequence[Input]) -> _IdTypes:
    """Long where every id is a plain integer, else string; string too where the root has it."""
    types: dict[str, DataType] = {}
    for contract in (USERS, ITEMS):
        name = contract.columns[0]
        found = seen[contract.name].schema[name].dataType
        if found != LongType():
            plain = F.bool_and(ratings.is_plain_integer(F.col(name)))
            integers = seen[contract.name].agg(plain).collect()[0][0]
            found = LongType() if integers else StringType()
        if tables.has(contract.name):
            known = tables.read(contract.name).schema[name].dataType
            if isinstance(found, StringType) and isinstance(known, LongType):
                given = ", ".join(each.source.uri for each in inputs)
                raise InputError(
                    f"{given}: {name} is not an integer throughout, but all {contract.name} that"
                    " are known already have integers",
                    hint="see ingest.columns if it is another column; other ids need a root and"
                    " a run of their own",
                )
            found = known
        types[name] = found
    return _IdTypes(**types)


def _others(given: Input, types: _IdTypes) -> dict[Kind, metadata.Context]:
    """The kinds of files beside the ratings that become a table, and what they are read with."""
    parts = given.source.recognised.parts
    spark = given.scratch.spark
    genres: Sequence[str] = metadata.GENRES_100K
    if "genres" in parts:
        genres = metadata.genre_names(spark, given.uris("genres"))
    tags = None
    if "genome_tags" in parts:
        uris = given.uris("genome_tags")
        tags = metadata.genome_tags(spark, uris, parts["genome_tags"].layout)
    context = metadata.Context(types.user_id, types.item_id, given.period, genres, tags)
    return {
        kind: context
        for kind in metadata.READERS
        if kind in parts and not (kind == "genome_scores" and tags is None)
    }


def _extend_ids(
    replacement: Replacement,
    tables: Tables,
    seen: Mapping[str, DataFrame],
    types: _IdTypes,
    contract: Table,
    inputs: Sequence[Input],
) -> _Ids:
    id_name, number = contract.columns
    kind = types.of(id_name).simpleString().replace("bigint", "long")
    ids = types.cast(seen[contract.name])
    in_order = len(inputs) == 1 and inputs[0].rated.ids_in_order
    if in_order and kind == "long" and not tables.has(contract.name):
        table = replacement.write(contract, first(ids, id=id_name, number=number))
        new = total = check_dense(table.coalesce(1), id=id_name, number=number)
    else:
        known = tables.read(contract.name) if tables.has(contract.name) else None
        extended = extend(known, ids, id=id_name, number=number, scratch=inputs[0].scratch)
        table, new, total = extended.frame, extended.new, extended.total
        if extended.new:
            table = replacement.write(contract, extended.frame)
            check_dense(table, id=id_name, number=number, total=extended.total)
    few = kind == "long" and total <= _SENT_IDS
    return _Ids(
        table, IdCounts(type=kind, new=new, total=total), Numbers.of(table) if few else None
    )


def _replace_ratings(
    replacement: Replacement,
    inputs: Sequence[Input],
    types: _IdTypes,
    users: _Ids,
    items: _Ids,
) -> tuple[DataFrame, dict[str, RowCounts], Times]:
    """The ratings as read back, what became of those of each part, and what their instants are."""
    found = {each.part: _latest(each.reading, types, users, items) for each in inputs}
    whole = found.get(WHOLE)
    kept: dict[str, int] = {}
    if whole is None:
        rows = {part: table.rows for part, table in found.items()}
        written, kept = write_in_parts(replacement, rows, scratch=inputs[0].scratch)
    elif whole.files is not None and replacement.folder.takes_encoded:
        written = replacement.write_encoded(RATINGS, whole.files, ids=LongType())
    else:
        written = replacement.write(RATINGS, whole.rows)
    total, first_at, last_at = RATINGS.measure(written, F.min("rated_at"), F.max("rated_at"))
    counts = {
        each.part: _added_up(
            RATINGS,
            RowCounts(
                rows=each.rated.rows,
                kept=kept.get(each.part, int(total)),
                rejected=each.rated.refused,
                superseded=found[each.part].superseded(),
                reasons=each.rated.rejected,
                unrated=each.rated.unrated,
                later=each.rated.later,
            ),
        )
        for each in inputs
    }
    return written, counts, _times(first_at, last_at)


def _latest(reading: Reading, types: _IdTypes, users: _Ids, items: _Ids) -> Latest:
    """The ratings of one source, one row a pair, with the numbers of users and items."""
    rated = reading.rated
    good = None if rated.good is None else types.cast(rated.good)
    numbers = None
    if users.numbers is not None and items.numbers is not None:
        numbers = users.numbers, items.numbers
    return latest(rated, good, users.table, items.table, numbers, repeated=reading.repeated)


def _write_unrated(
    replacement: Replacement,
    inputs: Sequence[Input],
    ratings: DataFrame,
    types: _IdTypes,
    users: _Ids,
    items: _Ids,
) -> None:
    """The pairs that were seen and not rated, each once; none of them has a rating as well."""
    seen = [types.cast(each.rated.seen) for each in inputs if each.rated.seen is not None]
    if not seen:
        return
    rows = reduce(DataFrame.unionByName, seen)
    pairs = rows.groupBy("user_id", "item_id").agg(F.max("rated_at"))
    numbered = pairs.toDF("user_id", "item_id", "rated_at").join(users.table, "user_id")
    left = numbered.join(items.table, "item_id").join(ratings, ["user", "item"], "left_anti")
    UNRATED.count(replacement.write(UNRATED, left.select(*UNRATED.columns)))


def _times(first: object, last: object) -> Times:
    """What the instants of ratings are, from the first of them to the last."""
    if first is None:
        return "none"
    return "one_instant" if first == last else "some"


@dataclass(frozen=True)
class _Other:
    """What became of a kind of file beside the ratings; `staged` where rows were refused."""

    table: str
    counts: RowCounts
    rows_by_file: Mapping[str, int]
    staged: Staged | None


def _replace_other(
    replacement: Replacement, given: Input, kind: Kind, context: metadata.Context
) -> _Other:
    """Parse, check and write in one job; what is refused, which is rare, is read once more."""
    contract = metadata.READERS[kind].table
    part = given.source.recognised.parts[kind]
    rows = metadata.checked_rows(given.scratch.spark, given.uris(kind), kind, part.layout, context)
    if given.source.size(kind) <= _SMALL_FILE:
        rows = rows.coalesce(1)
    table, observed = metadata.last_by_key(rows, contract)
    kept = contract.count(replacement.write(contract, table))
    found = observed.get
    staged = None
    if found["refused"] or len(part.paths) > 1:
        staged = stage(rows, kind, names=part.paths, scratch=given.scratch)
    counts = RowCounts(
        rows=int(found["rows"]),
        kept=kept,
        rejected=staged.refused if staged else 0,
        superseded=int(found["superseded"]),
        reasons=staged.rejected if staged else {},
    )
    by_file = staged.rows_by_file() if staged else {part.paths[0]: counts.rows}
    return _Other(contract.name, _added_up(contract, counts), by_file, staged)


def _added_up(contract: Table, counts: RowCounts) -> RowCounts:
    """The counts themselves, once they add up.

    Raises:
        CheckError: if they do not.
    """
    if not counts.add_up:
        raise CheckError(
            f"table {contract.name}: {counts.rows} rows in, but {counts.kept} kept +"
            f" {counts.rejected} rejected + {counts.superseded} superseded + {counts.unrated}"
            f" unrated + {counts.later} later",
            hint="a fault in recpipe, or a source that changed while it was read",
        )
    return counts


def _write_rejected(
    replacement: Replacement, inputs: Sequence[Input], others: Sequence[Staged | None]
) -> None:
    """The refused rows of the ratings, and of the tables beside those of the first input."""
    staged = [(each.prefix, each.rated.general) for each in inputs]
    staged += [(inputs[0].prefix, other) for other in others]
    refused = [(prefix, rows) for prefix, rows in staged if rows and rows.refused]
    if not refused:
        # Not by createDataFrame, which starts Python workers for no row at all.
        nothing = replacement.folder.spark.range(0).select(
            *[F.lit(None).cast(kind).alias(name) for name, kind in REJECTED.fields]
        )
        replacement.write(REJECTED, nothing)
        return
    frames = [
        rows.rejects()
        .withColumn("source_file", F.concat(F.lit(prefix), "source_file"))
        .select(*REJECTED.columns)
        for prefix, rows in refused
    ]
    expected = sum(rows.refused for _, rows in refused)
    written = replacement.write(REJECTED, reduce(DataFrame.unionByName, frames)).count()
    if written != expected:
        raise CheckError(
            f"table rejected: {written} rows, but {expected} were refused",
            hint="a fault in recpipe, or a source that changed while it was read",
        )
