"""Which release a source is, told from the beginning of each of its files.

Content decides, names help: a renamed file or a release inside another folder is recognised all
the same; where several files look alike (100k ships its ratings again as ten splits), the
release's own file name tells which is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recpipe.errors import InputError
from recpipe.feedback import Scale
from recpipe.ingest.layout import Kind, Layout, Sample, classify, has_half_stars, is_wide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHOLE_STARS = Scale(min=1.0, max=5.0, step=1.0)
HALF_STARS = Scale(min=0.5, max=5.0, step=0.5)

_SUPPORTED = "a MovieLens release, or one CSV or Parquet file of user, item, rating, timestamp"
_GZIP = b"\x1f\x8b"
_OWN_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "ratings": ("u.data", "ratings.dat", "ratings.csv", "rating.csv"),
    "movies": ("u.item", "movies.dat", "movies.csv", "movie.csv"),
    "tags": ("tags.dat", "tags.csv", "tag.csv"),
    "links": ("links.csv", "link.csv"),
    "genome_scores": ("genome-scores.csv", "genome_scores.csv"),
    "genome_tags": ("genome-tags.csv", "genome_tags.csv"),
    "users": ("u.user", "users.dat"),
    "genres": ("u.genre",),
}


@dataclass(frozen=True)
class Part:
    """The files of one kind, in the order in which they are read, and their one layout."""

    kind: Kind
    paths: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True)
class Release:
    """A recognised source.

    Args:
        name: what it is, as said to the user.
        scale: its valid ratings.
        parts: one for each kind of file that is read.
    """

    name: str
    scale: Scale
    parts: Mapping[Kind, Part]


def recognise(samples: Sequence[Sample], *, source: str) -> Release:
    """The release that files with these beginnings are.

    Args:
        samples: of every file of the source.
        source: what to call it in errors.

    Raises:
        InputError: if no file holds ratings, or several do that cannot belong together.
    """
    found: dict[Kind, list[tuple[Sample, Layout]]] = {}
    halves: set[str] = set()
    for sample in sorted(samples, key=lambda s: s.path):
        known = classify(sample)
        if known is not None:
            kind, layout = known
            found.setdefault(kind, []).append((sample, layout))
            if kind == "ratings" and has_half_stars(sample, layout):
                halves.add(sample.path)
    if "ratings" not in found:
        raise _not_recognised(samples, source)
    ratings = _choose("ratings", found["ratings"], source=source)
    home = str(PurePosixPath(ratings.paths[0]).parent)
    parts: dict[Kind, Part] = {"ratings": ratings}
    if not ratings.layout.parquet:
        for kind, candidates in found.items():
            near = [c for c in candidates if c[0].folder == home]
            if kind != "ratings" and near:
                parts[kind] = _choose(kind, near, source=source)
    name, scale = _family(parts, half_stars=not halves.isdisjoint(ratings.paths))
    return Release(name=name, scale=scale, parts=parts)


def _choose(kind: Kind, candidates: list[tuple[Sample, Layout]], *, source: str) -> Part:
    own = [c for c in candidates if c[0].name.lower() in _OWN_NAMES[kind]]
    # 100k repeats its ratings as u1.base, u1.test ... ub.test.
    chosen = own or [c for c in candidates if not re.search(r"\.(base|test)$", c[0].name)]
    paths = tuple(sample.path for sample, _ in chosen)
    listed = ", ".join(paths[:5])
    if len(own) > 1:
        raise InputError(
            f"{source}: more than one file of {kind}: {listed}", hint="give the folder of one"
        )
    if not chosen:
        raise InputError(
            f"{source}: only splits of the ratings, no u.data", hint="give the whole release"
        )
    layouts = [layout for _, layout in chosen]
    if any(layout != layouts[0] for layout in layouts):
        raise InputError(
            f"{source}: files of {kind} that differ in their columns: {listed}",
            hint="give one of them, or a folder of files of one kind",
        )
    return Part(kind=kind, paths=paths, layout=layouts[0])


def _family(parts: Mapping[Kind, Part], *, half_stars: bool) -> tuple[str, Scale]:
    """What the release is called, and its scale: the wider one where both would fit."""
    layout = parts["ratings"].layout
    if layout.parquet:
        return "Parquet of user, item, rating, timestamp", HALF_STARS
    dates = ", timestamps as dates" if layout.time == "text" else ""
    scale = HALF_STARS
    if layout.delimiter == "::":
        first = "users" in parts and not half_stars
        name, scale = ("1m", WHOLE_STARS) if first else ("10m", HALF_STARS)
        name = f"MovieLens {name} (.dat{dates})"
    elif layout.header is None and layout.delimiter == "\t" and not half_stars:
        name, scale = f"MovieLens 100k (u.data{dates})", WHOLE_STARS
    elif layout.header is None:
        name = f"CSV without a header: user, item, rating, timestamp{dates}"
    elif layout.is_movielens_csv:
        name = f"MovieLens 20m, 25m, 32m or latest (.csv{dates})"
    else:
        name = f"CSV with a header{dates}"
    return name, scale


def _not_recognised(samples: Sequence[Sample], source: str) -> InputError:
    for sample in samples:
        if sample.head and is_wide(sample.head):
            return InputError(
                f"{source}: {sample.path} is UTF-16 or UTF-32", hint="convert it to UTF-8"
            )
        if sample.head.startswith(_GZIP):
            return InputError(f"{source}: {sample.path} is gzip", hint="unpack it first")
    if not any(sample.head.strip() for sample in samples):
        return InputError(f"{source} is empty", hint=f"give {_SUPPORTED}")
    names = ", ".join(sample.path for sample in samples[:5])
    more = " ..." if len(samples) > 5 else ""  # noqa: PLR2004 - as many as are listed
    return InputError(f"{source}: no ratings in {names}{more}", hint=f"expected {_SUPPORTED}")
