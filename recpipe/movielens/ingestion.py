"""From raw files to the tables under a root, all of them or none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType

from recpipe.contracts import INGESTED, ITEMS, RATINGS, REJECTED, USERS
from recpipe.errors import CheckError, InputError
from recpipe.movielens import metadata, ratings
from recpipe.movielens.archive import Limits
from recpipe.movielens.ids import check_dense, extend
from recpipe.movielens.lines import Staged, stage
from recpipe.movielens.report import FileReport, IdCounts, IngestReport, RowCounts
from recpipe.movielens.source import Source, open_source
from recpipe.movielens.times import Period

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from pyspark.sql import DataFrame, Observation
    from pyspark.sql.types import DataType

    from recpipe.contracts import Table
    from recpipe.movielens.layout import Kind
    from recpipe.settings import Ingest, Scale
    from recpipe.storage import Folder, Replacement, Tables

_SHOWN_REJECTS = 5


def ingest(source: str | Path, *, tables: Tables, settings: Ingest, run_date: date) -> IngestReport:
    """Parse, check and index a source, and make its tables current under a root in one step.

    The ratings, and the tables about items and users, become those of this source; `users` and
    `items` only grow. Refused rows of any file go to `rejected`; only those of the ratings count
    towards `max_rejected_share`.

    Args:
        source: a folder, zip or file on any Hadoop file system (docs/contracts.md).
        tables: of the root.
        settings: limits, and the rating scale where it is not the release's own.
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
        open_source(source, spark=tables.folder.spark, limits=limits, scratch=scratch) as opened,
        ThreadPoolExecutor(max_workers=1) as beside,
    ):
        # Spark leaves the driver idle while it parses: the digests cost no time of their own.
        files = beside.submit(opened.fingerprint)
        scale = settings.rating_scale or opened.release.scale
        work = _Work(opened, scratch, scale, Period.until(run_date))
        rated = _stage_ratings(work)
        _refuse_unusable(rated, opened, settings.max_rejected_share)
        seen = {
            contract.name: _distinct_ids(rated, contract, scratch) for contract in (USERS, ITEMS)
        }
        types = _id_types(seen, tables, opened)
        others = _stage_others(work, types)
        with tables.replace() as replacement:
            users, user_counts = _extend_ids(replacement, tables, seen, types, USERS, scratch)
            items, item_counts = _extend_ids(replacement, tables, seen, types, ITEMS, scratch)
            table, observed = ratings.latest(types.cast(rated.good), users, items)
            rated_counts = _write(replacement, RATINGS, rated, table, observed)
            other_counts = {
                kind: _write(
                    replacement, contract, staged, *metadata.last_by_key(staged.good, contract)
                )
                for kind, (contract, staged) in others.items()
            }
            _write_rejected(replacement, rated, [staged for _, staged in others.values()])
            # Titles and tags of another source would name other items.
            for contract in INGESTED:
                if contract not in (USERS, ITEMS) and contract.name not in replacement.written:
                    replacement.drop(contract.name)
            report = IngestReport(
                source=opened.uri,
                format=opened.release.name,
                rating_scale=scale,
                files=_files(opened, files.result(), rated, others),
                ratings=rated_counts,
                others={others[kind][0].name: counts for kind, counts in other_counts.items()},
                users=user_counts,
                items=item_counts,
                versions=replacement.versions,
            )
            replacement.describe(report.as_dict())
        return report


@dataclass(frozen=True)
class _Work:
    source: Source
    scratch: Folder
    scale: Scale
    period: Period

    def uris(self, kind: Kind) -> list[str]:
        return [self.source.uris[path] for path in self.source.release.parts[kind].paths]


@dataclass(frozen=True)
class _IdTypes:
    user_id: DataType
    item_id: DataType

    def of(self, name: str) -> DataType:
        return self.user_id if name == "user_id" else self.item_id

    def cast(self, frame: DataFrame) -> DataFrame:
        """The frame with those of its ids that are strings now as what they are."""
        ids = [name for name in frame.columns if name in {"user_id", "item_id"}]
        return frame.withColumns({name: frame[name].cast(self.of(name)) for name in ids})


def _stage_ratings(work: _Work) -> Staged:
    part = work.source.release.parts["ratings"]
    spark, uris = work.scratch.spark, work.uris("ratings")
    if part.layout.parquet:
        judged = ratings.judged_rows(
            spark, uris, source=work.source.uri, scale=work.scale, period=work.period
        )
    else:
        judged = ratings.judged_lines(
            spark, uris, part.layout, scale=work.scale, period=work.period
        )
    return stage(judged, "ratings", names=part.paths, scratch=work.scratch)


def _refuse_unusable(rated: Staged, source: Source, max_rejected_share: float) -> None:
    kept = rated.rows - rated.refused
    if rated.rows == 0:
        raise InputError(f"{source.uri}: no ratings", hint="the file of ratings has no rows")
    if kept and rated.refused <= max_rejected_share * rated.rows:
        return
    share = rated.refused / rated.rows
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rated.rejected.items())
    raise InputError(
        f"{source.uri}: {rated.refused:,} of {rated.rows:,} rows refused ({share:.2%}), more than"
        f" {max_rejected_share:.2%}: {reasons}; read as {source.release.name}",
        hint="mend the source, or set ingest.rating_scale or ingest.max_rejected_share",
        details=tuple(rated.first_rejects(_SHOWN_REJECTS)),
    )


def _distinct_ids(rated: Staged, contract: Table, scratch: Folder) -> DataFrame:
    """The ids of good ratings as they were written, each once."""
    name = contract.columns[0]
    return scratch.write_table(f"seen-{contract.name}", rated.good.select(name).distinct())


def _id_types(seen: Mapping[str, DataFrame], tables: Tables, source: Source) -> _IdTypes:
    """Long where every id is a plain integer, else string; string too where the root has it."""
    types: dict[str, DataType] = {}
    for contract in (USERS, ITEMS):
        name = contract.columns[0]
        plain = F.bool_and(ratings.is_plain_integer(F.col(name)))
        integers = seen[contract.name].agg(plain).collect()[0][0]
        found: DataType = LongType() if integers else StringType()
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


def _stage_others(work: _Work, types: _IdTypes) -> dict[Kind, tuple[Table, Staged]]:
    parts = work.source.release.parts
    spark = work.scratch.spark
    genres: Sequence[str] = metadata.GENRES_100K
    if "genres" in parts:
        genres = metadata.genre_names(spark, work.uris("genres"))
    tags = None
    if "genome_tags" in parts:
        uris = work.uris("genome_tags")
        tags = metadata.genome_tags(spark, uris, parts["genome_tags"].layout)
    context = metadata.Context(types.user_id, types.item_id, work.period, genres, tags)
    staged = {}
    for kind, reader in metadata.READERS.items():
        if kind in parts and not (kind == "genome_scores" and tags is None):
            judged = metadata.judged(spark, work.uris(kind), kind, parts[kind].layout, context)
            staged[kind] = (
                reader.table,
                stage(judged, kind, names=parts[kind].paths, scratch=work.scratch),
            )
    return staged


def _extend_ids(
    replacement: Replacement,
    tables: Tables,
    seen: Mapping[str, DataFrame],
    types: _IdTypes,
    contract: Table,
    scratch: Folder,
) -> tuple[DataFrame, IdCounts]:
    id_name, number = contract.columns
    known = tables.read(contract.name) if tables.has(contract.name) else None
    ids = types.cast(seen[contract.name])
    extended = extend(known, ids, id=id_name, number=number, scratch=scratch)
    table = extended.frame
    if extended.new:
        table = replacement.write(contract, extended.frame)
        check_dense(table, id=id_name, number=number, total=extended.total)
    kind = types.of(id_name).simpleString().replace("bigint", "long")
    return table, IdCounts(type=kind, new=extended.new, total=extended.total)


def _write(
    replacement: Replacement,
    contract: Table,
    staged: Staged,
    frame: DataFrame,
    observed: Observation | None,
) -> RowCounts:
    """Write a table and count what became of its rows.

    Raises:
        CheckError: if they do not add up, or break the contract.
    """
    written = contract.check(replacement.write(contract, frame), unique=False)
    counts = RowCounts(
        rows=staged.rows,
        kept=written.count(),
        rejected=staged.refused,
        superseded=int(observed.get["superseded"]) if observed is not None else 0,
        reasons=staged.rejected,
    )
    if not counts.add_up:
        raise CheckError(
            f"table {contract.name}: {counts.rows} rows in, but {counts.kept} kept +"
            f" {counts.rejected} rejected + {counts.superseded} superseded",
            hint="a fault in recpipe, or a source that changed while it was read",
        )
    return counts


def _write_rejected(replacement: Replacement, rated: Staged, others: list[Staged]) -> None:
    frames = [
        staged.rejects().select(*REJECTED.columns) for staged in (rated, *others) if staged.refused
    ]
    expected = rated.refused + sum(staged.refused for staged in others)
    if frames:
        frame = reduce(lambda a, b: a.unionByName(b), frames)
    else:
        frame = replacement.folder.spark.createDataFrame([], REJECTED.schema())
    written = replacement.write(REJECTED, frame).count()
    if written != expected:
        raise CheckError(
            f"table rejected: {written} rows, but {expected} were refused",
            hint="a fault in recpipe, or a source that changed while it was read",
        )


def _files(
    source: Source,
    fingerprints: Mapping[str, tuple[int, str]],
    rated: Staged,
    others: Mapping[Kind, tuple[Table, Staged]],
) -> tuple[FileReport, ...]:
    staged = [rated, *(s for _, s in others.values())]
    rows = {name: n for s in staged for name, n in s.rows_by_file().items()}
    kinds = {path: part.kind for part in source.release.parts.values() for path in part.paths}
    return tuple(
        FileReport(name, kinds[name], size=size, sha256=sha256, rows=rows.get(name, 0))
        for name, (size, sha256) in fingerprints.items()
    )
