"""The ratings of a source: what their values mean, which way they are read, and that it was right.

There are two ways to read: by a kernel where lines are plain (`fast`), and by Spark for all else
(`formats`). Both end in the rules of `ratings`. What a file's beginning told is held against the
whole file; where that says otherwise, the ratings are read once more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import InputError
from recpipe.feedback import Meaning, meaning_of
from recpipe.ingest import ratings
from recpipe.ingest.fast.staging import (
    StagedRatings,
    has_whole_number_ids,
    stage_general,
    stage_lines,
)
from recpipe.ingest.formats import GivenColumns
from recpipe.ingest.formats.base import rating_look
from recpipe.ingest.formats.parquet import nanoseconds_as_numbers
from recpipe.ingest.lines import spark_errors_as_input_errors
from recpipe.ingest.recognition import as_number
from recpipe.ingest.rules import MALFORMED, OFF_SCALE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recpipe.ingest.layout import Layout
    from recpipe.ingest.ratings import Group, Repeated
    from recpipe.ingest.settings import Ingest
    from recpipe.ingest.source import Source
    from recpipe.ingest.times import Period
    from recpipe.storage import Folder

logger = logging.getLogger(__name__)

_TYPED = frozenset({"Parquet", "Delta"})
"""Formats whose values are not in the beginning of a file."""
_SAMPLED_ROWS = 1000
_MAX_READS = 3
"""How often ratings are read at most: the second reading may ask for a third and last one."""


@dataclass(frozen=True)
class Reading:
    """The ratings of a source, read and counted.

    Args:
        rated: the ratings.
        meaning: of their values.
        repeated: what becomes of several rows of a pair.
        timed: whether they have instants.
    """

    rated: StagedRatings
    meaning: Meaning
    repeated: Repeated
    timed: bool


def given_columns(settings: Ingest) -> GivenColumns:
    """What the settings say about the columns."""
    return GivenColumns(settings.columns.given, settings.time_format)


def read_ratings(
    source: Source,
    settings: Ingest,
    *,
    period: Period,
    scratch: Folder,
    train: Reading | None = None,
) -> Reading:
    """Read the ratings of a source.

    Args:
        source: it.
        settings: limits, and what the source does not say itself.
        period: the valid instants.
        scratch: where rows are kept on the way.
        train: of a held-out source the ratings to learn from, which say what its values mean: a
            few held-out ratings may be all 4 or 5, and are on the scale of train all the same.

    Raises:
        InputError: if its instants cannot be read, a file is damaged, or train has ratings or
            instants and it has none.
    """
    if train is not None:
        settings = _as_in_train(settings, train)
    with (
        spark_errors_as_input_errors(source.uri, "the format that was recognised", files=True),
        nanoseconds_as_numbers(scratch.spark),
    ):
        groups, values = _completed(source, settings, scratch)
        for group in groups:
            _check_times(group, source)
        recognised = source.recognised
        fields = groups[0].layout.fields
        timed = groups[0].layout.time not in {None, "void"}
        if train is not None and train.timed != timed:
            raise InputError(
                f"{source.uri} has {'instants' if timed else 'no instants'}, and train has"
                f" {'none' if timed else 'some'}",
                hint='to read all parts without times, ingest.columns.time="", or without a header'
                " ingest.columns={user=1, item=2, rating=3}",
            )
        meaning = _meaning(values, source, settings, rated="rating" in fields)
        rated = _stage(source, groups, meaning, settings, period, scratch)
        for _ in range(_MAX_READS - 1):
            corrected = _corrected(rated, groups, meaning, source, settings)
            if corrected is None:
                break
            second = _stage(source, *corrected, settings, period, scratch)
            if corrected[0] != groups and second.kept <= rated.kept:
                # A quote that is nowhere closed would take the rest of the file with it.
                second.close()
                break
            rated.close()
            rated, (groups, meaning) = second, corrected
    if train is None:
        logger.info(
            "feedback is %s: %s%s",
            meaning.feedback,
            meaning.reason,
            "" if meaning.scale is None else f"; the scale is {meaning.scale}",
        )
    for name, reason in recognised.ignored.items():
        logger.info("%s is not read: %s", name, reason)
    repeated = _repeated(settings, meaning, rated="rating" in fields)
    return Reading(rated, meaning, repeated, timed)


def _as_in_train(settings: Ingest, train: Reading) -> Ingest:
    """The settings by which values mean in every source what they mean in train."""
    found = {
        "feedback": train.meaning.feedback,
        "rating_scale": train.meaning.scale,
        "repeated": train.repeated,
    }
    return settings.model_copy(update=found)


def _corrected(
    rated: StagedRatings,
    groups: list[Group],
    meaning: Meaning,
    source: Source,
    settings: Ingest,
) -> tuple[list[Group], Meaning] | None:
    """How the ratings must be read once more, all of them being known; None if they need not be."""
    new_groups, found = groups, meaning
    if _cut_in_quotes(rated, groups):
        new_groups = [_multiline(group) for group in groups]
    if "rating" in groups[0].layout.fields and _in_doubt(rated, meaning, settings):
        found = _meaning(rated.histogram(), source, settings, rated=True)
    same = (found.feedback, found.scale) == (meaning.feedback, meaning.scale)
    return None if same and new_groups == groups else (new_groups, found)


def _meaning(
    values: Mapping[float, int], source: Source, settings: Ingest, *, rated: bool
) -> Meaning:
    if not rated:
        if settings.feedback == "explicit":
            raise InputError(
                f"{source.uri}: no column of ratings, but the feedback is explicit",
                hint="name it by ingest.columns, or begin a run with ingest.feedback=implicit",
            )
        return Meaning("implicit", None, "there is no column of ratings")
    if settings.rating_scale is not None and settings.feedback != "implicit":
        return Meaning("explicit", settings.rating_scale, "by the settings")
    left = {v: n for v, n in values.items() if v not in settings.unrated_values}
    return meaning_of(
        left,
        feedback=settings.feedback,
        release=source.recognised.scale,
        counts_by_name=source.recognised.counts,
    )


def _in_doubt(rated: StagedRatings, meaning: Meaning, settings: Ingest) -> bool:
    """Whether all values together may mean something else than the first ones."""
    if settings.feedback == "implicit" or settings.rating_scale is not None:
        return False
    return meaning.feedback == "implicit" or bool(rated.rejected.get(OFF_SCALE))


def _repeated(settings: Ingest, meaning: Meaning, *, rated: bool) -> Repeated:
    if settings.repeated != "auto":
        if meaning.feedback == "explicit" and settings.repeated != "latest":
            raise InputError(
                f"ingest.repeated={settings.repeated}, but the ratings are explicit:"
                f" {meaning.reason}",
                hint="set ingest.feedback=implicit as well, or ingest.repeated=latest",
            )
        return settings.repeated
    if meaning.feedback == "explicit":
        return "latest"
    return "sum" if rated else "count"


def _stage(
    source: Source,
    groups: Sequence[Group],
    meaning: Meaning,
    settings: Ingest,
    period: Period,
    scratch: Folder,
) -> StagedRatings:
    scale, names = meaning.scale, source.recognised.parts["ratings"].paths
    (group, *others) = groups
    values = settings.unrated_values
    known = scale is None or not any(scale.holds(value) for value in values)
    known = known and not (scale is None and values)
    if not others and known and has_whole_number_ids(source.head("ratings"), group.layout):
        return stage_lines(
            group.uris, group.layout, names=names, size=source.size("ratings"), scale=scale,
            period=period, scratch=scratch, unrated=values,
        )  # fmt: skip
    rules = ratings.Rules(scale, period, values)
    checked = ratings.checked_groups(scratch.spark, groups, rules=rules)
    return stage_general(checked, names=names, scratch=scratch)


def _completed(
    source: Source, settings: Ingest, scratch: Folder
) -> tuple[list[Group], Mapping[float, int]]:
    """The groups with what only the values of typed columns tell, and the first values."""
    groups, values = [], dict(source.recognised.values)
    for group in source.groups():
        if group.layout.format not in _TYPED:
            groups.append(group)
            continue
        layout, found = _by_values(group, settings, scratch)
        groups.append(replace(group, layout=layout))
        for value in found:
            values[value] = values.get(value, 0) + 1
    return groups, values


def _by_values(group: Group, settings: Ingest, scratch: Folder) -> tuple[Layout, list[float]]:
    """A layout of typed columns, completed by some of their values."""
    rows = group.read(scratch.spark).limit(_SAMPLED_ROWS).collect()

    def cell(name: str) -> list[str]:
        return [row[name] or "" for row in rows]

    look = rating_look(
        group.layout, cell, names=group.layout.names, rows=len(rows), given=given_columns(settings)
    )
    layout = look.layout
    folder = layout.folders.get("rating")
    given = look.values if folder is None else [p.get(folder, "") for p in group.partitions]
    if group.layout.form is not None and group.layout.form.unit != "numbers":
        layout = replace(layout, form=group.layout.form, columns=group.layout.columns)
    found = [number for number in map(as_number, given) if number is not None]
    return layout, found


def _check_times(group: Group, source: Source) -> None:
    """Raise InputError where instants are written in a way that is not recognised."""
    form = group.layout.form
    if form is None or form.unit not in {"numbers", "words"}:
        return
    column = source.recognised.columns.get("timestamp", "time")
    file = source.recognised.parts["ratings"].paths[group.numbers[0]]
    if form.unit == "numbers":
        raise InputError(
            f"{source.uri}: {file}: the numbers in column {column} are no instants since 1990, in"
            " seconds, milli-, micro- or nanoseconds",
            hint="if they only say what came first, set ingest.time_format=order; to read without"
            ' times, ingest.columns.time=""',
        )
    raise InputError(
        f"{source.uri}: {file}: the instants in column {column} are written in a way that is not"
        " recognised",
        hint="say how by ingest.time_format, in Spark's datetime patterns, such as"
        ' "dd/MM/yyyy HH:mm"; to read without times, ingest.columns.time=""',
    )


def _cut_in_quotes(rated: StagedRatings, groups: Sequence[Group]) -> bool:
    """Whether lines were refused that open a quote without an end: the record goes on below."""
    quoting = any(g.layout.quotes and not g.layout.multiline for g in groups)
    if not quoting or rated.general is None or not rated.rejected.get(MALFORMED):
        return False
    quotes = F.length("raw") - F.length(F.replace("raw", F.lit('"'), F.lit("")))
    cut = rated.general.frame.where((F.col("reason") == MALFORMED) & (quotes % 2 == 1))
    return bool(cut.limit(1).collect())


def _multiline(group: Group) -> Group:
    if not group.layout.quotes:
        return group
    return replace(group, layout=replace(group.layout, multiline=True))
