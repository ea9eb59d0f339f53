"""What an ingest is given, opened, read and held to the limits: a source, or one for each part."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql.types import LongType

from recpipe.errors import InputError
from recpipe.ingest.archive import Limits
from recpipe.ingest.reading import Reading, given_columns, read_ratings
from recpipe.ingest.report import FileReport
from recpipe.ingest.rules import NOT_A_NUMBER, OFF_SCALE, OUT_OF_RANGE
from recpipe.ingest.source import Source, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from recpipe.ingest.fast.staging import StagedRatings
    from recpipe.ingest.layout import Kind
    from recpipe.ingest.settings import Ingest
    from recpipe.ingest.times import Period
    from recpipe.storage import Folder, Tables

WHOLE = ""
"""The part of ratings that are yet to be split."""

_SHOWN_REJECTS = 5


@dataclass(frozen=True)
class Input:
    """A source whose ratings have been read.

    Args:
        part: what it was given as, or `WHOLE`.
        source: what was given.
        reading: of its ratings.
        scratch: where it is kept on the way.
        period: the valid instants.
        fingerprint: size and SHA-256 of its files by name, while they are being found.
    """

    part: str
    source: Source
    reading: Reading
    scratch: Folder
    period: Period
    fingerprint: Future[dict[str, tuple[int, str]]]

    @property
    def rated(self) -> StagedRatings:
        return self.reading.rated

    @property
    def prefix(self) -> str:
        """What tables and manifests put before the names of its files."""
        return "" if self.part == WHOLE else f"{self.part}/"

    @property
    def ignored(self) -> dict[str, str]:
        """The files that are not read, and why."""
        found = self.source.recognised.ignored
        return {f"{self.prefix}{path}": why for path, why in found.items()}

    def uris(self, kind: Kind) -> list[str]:
        return [self.source.uris[path] for path in self.source.recognised.parts[kind].paths]

    def files(self, beside: Mapping[str, int]) -> list[FileReport]:
        """What was read.

        Args:
            beside: the rows of each file beside the ratings.
        """
        rows = {**beside, **self.rated.rows_by_file()}
        parts = self.source.recognised.parts
        kinds: dict[str, str] = {path: kind for kind in parts for path in parts[kind].paths}
        if self.part != WHOLE:
            kinds |= dict.fromkeys(parts["ratings"].paths, self.part)
        return [
            FileReport(f"{self.prefix}{path}", kinds[path], size, sha256, rows.get(path, 0))
            for path, (size, sha256) in self.fingerprint.result().items()
        ]


@contextmanager
def read_inputs(
    sources: Mapping[str, str | Path],
    *,
    tables: Tables,
    settings: Ingest,
    period: Period,
    pool: Executor,
) -> Iterator[list[Input]]:
    """Open and read sources, one after the other; what they take is given up with the `with`.

    Args:
        sources: by part, train before the others; or the only one as `WHOLE`.
        tables: of the root, below which there is room for what is made on the way.
        settings: limits, and what the sources do not say themselves.
        period: the valid instants.
        pool: where the fingerprints are found meanwhile.

    Raises:
        InputError: as of `ingest`.
    """
    inputs: list[Input] = []
    limits = Limits(settings.zip_max_members, settings.zip_max_bytes, settings.zip_max_ratio)
    spark, columns = tables.folder.spark, given_columns(settings)
    with ExitStack() as stack:
        for part, place in sources.items():
            scratch = stack.enter_context(tables.folder.scratch("ingest"))
            source = stack.enter_context(
                open_source(place, spark=spark, limits=limits, scratch=scratch, given=columns)
            )
            source = source.ratings_only() if inputs else source
            fingerprint = pool.submit(source.fingerprint)
            train = inputs[0].reading if inputs else None
            reading = read_ratings(source, settings, period=period, scratch=scratch, train=train)
            stack.enter_context(closing(reading.rated))
            _refuse_unusable(reading.rated, source, settings.max_rejected_share)
            inputs.append(Input(part, source, reading, scratch, period, fingerprint))
        yield inputs


def seen_ids(inputs: Sequence[Input], name: str) -> DataFrame:
    """The ids of all inputs, each once: long where those of every input are, else string.

    Args:
        inputs: one or more.
        name: user_id or item_id.
    """
    found = [each.rated.ids(name, scratch=each.scratch) for each in inputs]
    if len(found) == 1:
        return found[0]
    if any(ids.schema[name].dataType != LongType() for ids in found):
        found = [ids.select(ids[name].cast("string")) for ids in found]
    return reduce(DataFrame.unionByName, found).distinct()


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
