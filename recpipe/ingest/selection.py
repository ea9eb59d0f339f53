"""Which of the files that look alike are read, and why the others are not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recpipe.errors import InputError
from recpipe.ingest.names import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recpipe.ingest.formats import GivenColumns, Look
    from recpipe.ingest.layout import Kind, Sample

OWN_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "ratings": ("u.data", "ratings.dat", "ratings.csv", "rating.csv"),
    "movies": ("u.item", "movies.dat", "movies.csv", "movie.csv"),
    "tags": ("tags.dat", "tags.csv", "tag.csv"),
    "links": ("links.csv", "link.csv"),
    "genome_scores": ("genome-scores.csv", "genome_scores.csv"),
    "genome_tags": ("genome-tags.csv", "genome_tags.csv"),
    "users": ("u.user", "users.dat"),
    "genres": ("u.genre",),
}
"""What the releases call their files, by what these hold."""
_SPLIT = re.compile(r"\.(base|test)$")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_COPY = frozenset({"backup", "copy", "small", "sample", "subset", "old", "bak", "tmp"})
"""Words in the name of a file that holds again what another holds."""
SHOWN = 5
"""Files that a message names."""


@dataclass(frozen=True)
class Seen:
    """A file by its beginning, and what was made of that."""

    sample: Sample
    look: Look


def choose_ratings(rated: Sequence[Seen], source: str) -> tuple[list[Seen], dict[str, str]]:
    """The files of ratings that are read, and why the others are not.

    Raises:
        InputError: if several cannot belong together, or there are only splits of the ratings.
    """
    ignored = {}
    # Of many splits none is the whole; one alone is what somebody wants to be read.
    parts = [one for one in rated if len(rated) == 1 or not _SPLIT.search(one.sample.name)]
    for one in rated:
        if one not in parts:
            ignored[one.sample.path] = "a split of the ratings"
    if not parts:
        raise InputError(
            f"{source}: only splits of the ratings, no u.data", hint="give the whole release"
        )
    own = [one for one in parts if one.sample.name.lower() in OWN_NAMES["ratings"]]
    if len(own) > 1 and not all(one.sample.partitions for one in own):
        raise InputError(
            f"{source}: more than one file of ratings: {listed(own)}",
            hint="give the folder of one",
        )
    if own:
        for one in parts:
            if one in own or _belongs(one, own[0]):
                continue
            ignored[one.sample.path] = f"{own[0].sample.path} holds the ratings"
        parts = [one for one in parts if one.sample.path not in ignored]
    first = next((one for one in parts if one.look.rows), parts[0])
    for one in parts:
        same_fields = _fields(one) == _fields(first) or not one.look.rows
        if not same_fields or _headed(one) != _headed(first):
            raise InputError(
                f"{source}: files of ratings that differ in their columns: {one.sample.path} has"
                f" {_described(one)}, {first.sample.path} has {_described(first)}",
                hint="give one of them, or a folder of files of one kind; ingest.columns names"
                " columns that are not known",
            )
    return parts, ignored


def _belongs(one: Seen, own: Seen) -> bool:
    """Whether a file goes on where the one with the release's own name ends."""
    copy = any(word.lower() in _COPY for word in _WORD.findall(one.sample.name))
    if copy or _headed(one) != _headed(own):
        return False
    # A list of what people want to read, beside what they rated, has no ratings.
    return "rating" in one.look.layout.fields or "rating" not in own.look.layout.fields


def _fields(one: Seen) -> list[str]:
    """The fields of a file that its beginning has values of."""
    layout = one.look.layout
    return [name for name in layout.fields if (name, layout.time) != ("timestamp", "void")]


def _headed(one: Seen) -> bool:
    layout = one.look.layout
    return layout.header is not None or layout.format != "text"


def _described(one: Seen) -> str:
    fields = [name.replace("timestamp", "time") for name in _fields(one)]
    shown = f"{', '.join(fields)} (in {', '.join(one.look.names[:20])})"
    return shown if _headed(one) else f"no header, {shown}"


def choose(kind: Kind, candidates: list[Seen], *, source: str) -> list[Seen]:
    """The files of a kind beside the ratings: that with a release's name, or all.

    Raises:
        InputError: if several have such a name, or they differ in their columns.
    """
    own = [one for one in candidates if one.sample.name.lower() in OWN_NAMES[kind]]
    chosen = own or candidates
    if len(own) > 1:
        raise InputError(
            f"{source}: more than one file of {kind}: {listed(chosen)}",
            hint="give the folder of one",
        )
    if any(one.look.layout != chosen[0].look.layout for one in chosen):
        raise InputError(
            f"{source}: files of {kind} that differ in their columns: {listed(chosen)}",
            hint="give one of them, or a folder of files of one kind",
        )
    return chosen


def listed(seen: Sequence[Seen]) -> str:
    """Their names, for a message."""
    return ", ".join(one.sample.path for one in seen[:SHOWN])


def check_given(one: Seen, source: str, given: GivenColumns) -> None:
    """Raise InputError if a column that the settings name is not there."""
    names, folders = one.look.names, list(one.sample.partitions)
    for name, column in given.columns.items():
        if column == "" or not names:
            continue
        places = (
            place_of(names, column, header=_headed(one)),
            place_of(folders, column, header=True),
        )
        if places == (None, None):
            setting = f"ingest.columns.{name.replace('timestamp', 'time')}"
            raise InputError(
                f"{source}: {one.sample.path} has no column {column}, which {setting} names: it has"
                f" {', '.join(names[:20])}",
                hint='name one of them, number it from 1, or set "" where there is none',
            )
