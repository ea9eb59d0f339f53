"""From raw files to the tables under a root, all of them or none."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType

from recpipe.contracts import INGESTED, ITEMS, RATINGS, REJECTED, UNRATED, USERS
from recpipe.errors import CheckError, InputError
from recpipe.ingest import metadata, ratings
from recpipe.ingest.archive import Limits
from recpipe.ingest.fast.passes import Numbers
from recpipe.ingest.fast.staging import StagedRatings, latest
from recpipe.ingest.ids import check_dense, extend, first
from recpipe.ingest.reading import Reading, given_columns, read_ratings
from recpipe.ingest.report import FileReport, IdCounts, IngestReport, RowCounts
from recpipe.ingest.rules import NOT_A_NUMBER, OFF_SCALE, OUT_OF_RANGE, Staged, stage
from recpipe.ingest.source import Source, open_source
from recpipe.ingest.times import Period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from recpipe.contracts import Table
    from recpipe.feedback import Times
    from recpipe.ingest.layout import Kind
    from recpipe.ingest.settings import Ingest
    from recpipe.storage import Folder, Replacement, Tables

_SHOWN_REJECTS = 5
_MAX_CONCURRENT_JOBS = 6
"""Spark jobs that are planned at the same time."""
_SENT_IDS = 5_000_000
"""Ids up to which each task has all of them, with their numbers."""
_SMALL_FILE = 8_000_000
"""Bytes up to which one task is quicker than a shuffle."""


def ingest(source: str | Path, *, tables: Tables, settings: Ingest, run_date: date) -> IngestReport:
    """Parse, check and index a source, and make its tables current under a root in one step.

    The ratings, and the tables about items and users, become those of this source; `users` and
    `items` only grow. Refused rows of any file go to `rejected`; only those of the ratings count
    towards `max_rejected_share`.

    Args:
        source: a folder, zip or file on any Hadoop file system (docs/contracts.md).
        tables: of the root.
        settings: limits, and what the source does not say itself.
        run_date: the last day on which a rating can have been made (UTC).

    Raises:
        InputError: if the source is missing, empty, not recognised, refused as an archive, has
            too many refused rows or none that is kept, or has ids of another type than those
            already under the root. Nothing under the root has changed then.
        UsageError: if the tables under the root are of the other format.
        CheckError: if the rows do not add up, or a table breaks its contract; nothing has
            changed then either.
    """
    tables.check_format()
    limits = Limits(settings.zip_max_members, settings.zip_max_bytes, settings.zip_max_ratio)
    with (
        tables.folder.scratch("ingest") as scratch,
        open_source(
            source,
            spark=tables.folder.spark,
            limits=limits,
            scratch=scratch,
            given=given_columns(settings),
        ) as opened,
        # Of a small source nearly all the time is Spark planning one job after another.
        ThreadPoolExecutor(_MAX_CONCURRENT_JOBS) as pool,
    ):
        files = pool.submit(opened.fingerprint)
        work = _Work(opened, scratch, Period.until(run_date))
        reading = read_ratings(opened, settings, period=work.period, scratch=scratch)
        with closing(reading.rated):
            return _replace_all(work, reading, tables, settings, files, pool)


def _replace_all(
    work: _Work,
    reading: Reading,
    tables: Tables,
    settings: Ingest,
    files: Future[dict[str, tuple[int, str]]],
    pool: ThreadPoolExecutor,
) -> IngestReport:
    opened, scratch, rated = work.source, work.scratch, reading.rated
    _refuse_unusable(rated, opened, settings.max_rejected_share)
    seen = {
        contract.name: rated.ids(contract.columns[0], scratch=scratch)
        for contract in (USERS, ITEMS)
    }
    types = _id_types(seen, tables, opened)
    with tables.replace() as replacement, _joined(pool) as started:
        ids = [
            started(_extend_ids, replacement, tables, seen, types, contract, work, rated)
            for contract in (USERS, ITEMS)
        ]
        others = {
            kind: started(_replace_other, replacement, work, kind, context)
            for kind, context in _others(work, types).items()
        }
        users, items = (found.result() for found in ids)
        written, rated_counts, times = _replace_ratings(replacement, reading, types, users, items)
        _write_unrated(replacement, rated, written, types, users, items)
        other_tables = {kind: found.result() for kind, found in others.items()}
        _write_rejected(replacement, rated, [other.staged for other in other_tables.values()])
        # Titles and tags of another source would name other items.
        for contract in INGESTED:
            if contract not in (USERS, ITEMS) and contract.name not in replacement.written:
                replacement.drop(contract.name)
        report = IngestReport(
            source=opened.uri,
            format=opened.recognised.name,
            meaning=reading.meaning,
            repeated=reading.repeated,
            times=times,
            columns=opened.recognised.columns,
            ignored=opened.recognised.ignored,
            files=_files(opened, files.result(), rated, other_tables.values()),
            ratings=rated_counts,
            others={other.table: other.counts for other in other_tables.values()},
            users=users.counts,
            items=items.counts,
            versions=replacement.versions,
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
class _Work:
    source: Source
    scratch: Folder
    period: Period

    def uris(self, kind: Kind) -> list[str]:
        return [self.source.uris[path] for path in self.source.recognised.parts[kind].paths]


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


def _refuse_unusable(rated: StagedRatings, source: Source, max_rejected_share: float) -> None:
    if rated.rows == 0:
        raise InputError(f"{source.uri}: no ratings", hint="the file of ratings has no rows")
    if rated.kept and rated.refused <= max_rejected_share * rated.rows:
        return
    if not rated.kept and rated.refused <= max_rejected_share * rated.rows:
        raise InputError(
            f"{source.uri}: no rating is left of {rated.rows:,} rows: {rated.later:,} are later"
            f" than the run date, {rated.unrated:,} are not rated, {rated.refused:,} refused",
            hint="give a later --run-date, or check ingest.unrated_values",
        )
    share = rated.refused / rated.rows
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rated.rejected.items())
    raise InputError(
        f"{source.uri}: {rated.refused:,} of {rated.rows:,} rows refused ({share:.2%}), more than"
        f" {max_rejected_share:.2%}: {reasons}; read as {source.recognised.name}",
        hint=_hint(rated.rejected),
        details=tuple(rated.general.first_rejects(_SHOWN_REJECTS)) if rated.general else (),
    )


def _hint(rejected: Mapping[str, int]) -> str:
    """What helps against the reason that most rows are refused for."""
    commonest = max(rejected, key=lambda reason: rejected[reason])
    mend = {
        OFF_SCALE: "set ingest.rating_scale, or ingest.feedback=implicit if these are no ratings",
        OUT_OF_RANGE: "say how instants are written by ingest.time_format, or leave them out by"
        ' ingest.columns.time=""',
        NOT_A_NUMBER: "name the column of ratings by ingest.columns.rating",
    }.get(commonest, "mend the source")
    return f"{mend}, or raise ingest.max_rejected_share"


def _id_types(seen: Mapping[str, DataFrame], tables: Tables, source: Source) -> _IdTypes:
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
                raise InputError(
                    f"{source.uri}: {name} is not an integer throughout, but all of"
                    f" {tables.folder.path(contract.name)} are",
                    hint="ingest it into another root",
                )
            found = known
        types[name] = found
    return _IdTypes(**types)


def _others(work: _Work, types: _IdTypes) -> dict[Kind, metadata.Context]:
    """The kinds of files beside the ratings that become a table, and what they are read with."""
    parts = work.source.recognised.parts
    spark = work.scratch.spark
    genres: Sequence[str] = metadata.GENRES_100K
    if "genres" in parts:
        genres = metadata.genre_names(spark, work.uris("genres"))
    tags = None
    if "genome_tags" in parts:
        uris = work.uris("genome_tags")
        tags = metadata.genome_tags(spark, uris, parts["genome_tags"].layout)
    context = metadata.Context(types.user_id, types.item_id, work.period, genres, tags)
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
    work: _Work,
    rated: StagedRatings,
) -> _Ids:
    id_name, number = contract.columns
    kind = types.of(id_name).simpleString().replace("bigint", "long")
    ids = types.cast(seen[contract.name])
    if rated.ids_in_order and kind == "long" and not tables.has(contract.name):
        table = replacement.write(contract, first(ids, id=id_name, number=number))
        new = total = check_dense(table.coalesce(1), id=id_name, number=number)
    else:
        known = tables.read(contract.name) if tables.has(contract.name) else None
        extended = extend(known, ids, id=id_name, number=number, scratch=work.scratch)
        table, new, total = extended.frame, extended.new, extended.total
        if extended.new:
            table = replacement.write(contract, extended.frame)
            check_dense(table, id=id_name, number=number, total=extended.total)
    few = kind == "long" and total <= _SENT_IDS
    return _Ids(
        table, IdCounts(type=kind, new=new, total=total), Numbers.of(table) if few else None
    )


def _replace_ratings(
    replacement: Replacement, reading: Reading, types: _IdTypes, users: _Ids, items: _Ids
) -> tuple[DataFrame, RowCounts, Times]:
    rated = reading.rated
    good = None if rated.good is None else types.cast(rated.good)
    numbers = None
    if users.numbers is not None and items.numbers is not None:
        numbers = users.numbers, items.numbers
    table = latest(rated, good, users.table, items.table, numbers, repeated=reading.repeated)
    if table.files is not None and replacement.folder.format == "parquet":
        written = replacement.write_encoded(RATINGS, table.files, ids=LongType())
    else:
        written = replacement.write(RATINGS, table.rows)
    kept, first_at, last_at = RATINGS.measure(written, F.min("rated_at"), F.max("rated_at"))
    counts = RowCounts(
        rows=rated.rows,
        kept=int(kept),
        rejected=rated.refused,
        superseded=table.superseded(),
        reasons=rated.rejected,
        unrated=rated.unrated,
        later=rated.later,
    )
    return written, _added_up(RATINGS, counts), _times(first_at, last_at)


def _write_unrated(
    replacement: Replacement,
    rated: StagedRatings,
    ratings: DataFrame,
    types: _IdTypes,
    users: _Ids,
    items: _Ids,
) -> None:
    """The pairs that were seen and not rated, each once; none of them has a rating as well."""
    if rated.seen is None:
        return
    pairs = types.cast(rated.seen).groupBy("user_id", "item_id").agg(F.max("rated_at"))
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
    replacement: Replacement, work: _Work, kind: Kind, context: metadata.Context
) -> _Other:
    """Parse, check and write in one job; what is refused, which is rare, is read once more."""
    contract = metadata.READERS[kind].table
    part = work.source.recognised.parts[kind]
    rows = metadata.checked_rows(work.scratch.spark, work.uris(kind), kind, part.layout, context)
    if work.source.size(kind) <= _SMALL_FILE:
        rows = rows.coalesce(1)
    table, observed = metadata.last_by_key(rows, contract)
    kept = contract.count(replacement.write(contract, table))
    found = observed.get
    staged = None
    if found["refused"] or len(part.paths) > 1:
        staged = stage(rows, kind, names=part.paths, scratch=work.scratch)
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
    replacement: Replacement, rated: StagedRatings, others: Iterable[Staged | None]
) -> None:
    refused = [staged for staged in (rated.general, *others) if staged and staged.refused]
    if not refused:
        # Not by createDataFrame, which starts Python workers for no row at all.
        nothing = replacement.folder.spark.range(0).select(
            *[F.lit(None).cast(kind).alias(name) for name, kind in REJECTED.fields]
        )
        replacement.write(REJECTED, nothing)
        return
    frames = [staged.rejects().select(*REJECTED.columns) for staged in refused]
    expected = sum(staged.refused for staged in refused)
    written = replacement.write(REJECTED, reduce(lambda a, b: a.unionByName(b), frames)).count()
    if written != expected:
        raise CheckError(
            f"table rejected: {written} rows, but {expected} were refused",
            hint="a fault in recpipe, or a source that changed while it was read",
        )


def _files(
    source: Source,
    fingerprints: Mapping[str, tuple[int, str]],
    rated: StagedRatings,
    others: Iterable[_Other],
) -> tuple[FileReport, ...]:
    rows = rated.rows_by_file()
    for other in others:
        rows |= other.rows_by_file
    kinds = {path: part.kind for part in source.recognised.parts.values() for path in part.paths}
    return tuple(
        FileReport(name, kinds[name], size=size, sha256=sha256, rows=rows.get(name, 0))
        for name, (size, sha256) in fingerprints.items()
    )
