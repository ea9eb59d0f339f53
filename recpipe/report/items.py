"""What a model has learned of items: a map of the most rated ones, and who is near whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.report.figures import Figure
from recpipe.report.numbers import share, whole
from recpipe.report.plots import items as plots
from recpipe.report.tables import Table, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAPPED, NEIGHBOURS_AMONG = 300, 2000
"""Items on the map, and items that a neighbour may be: the most rated."""

_KNOWN, _NEAREST = 5, 5
_GENRES = 6
OTHER, NO_GENRE = "other genres", "no genre"


@dataclass(frozen=True)
class Item:
    """What is known of an item.

    Args:
        name: its title, or its id where the source has no titles.
        genres: in the order of the source.
        ratings: how many it has.
    """

    name: str
    genres: tuple[str, ...]
    ratings: int


@dataclass(frozen=True)
class ItemVectors:
    """The vectors that a fitted model has of the most rated items.

    Args:
        model: its name.
        items: the most rated first.
        vectors: (items, factors); those of items that are alike have a small angle.
    """

    model: str
    items: Sequence[Item]
    vectors: NDArray[np.float32]


def item_map(found: ItemVectors) -> Figure | None:
    """The most rated items in the plane in which their vectors differ most, coloured by genre.

    Vectors are taken at length 1, so that the angle between items decides and not how often they
    are rated; the plane is that of the first two principal components.

    Returns:
        None where there are fewer than three items or two factors.
    """
    units, kept = _units(found.vectors[:MAPPED])
    if units.shape[0] < 3 or units.shape[1] < 2:  # noqa: PLR2004 - no plane without them
        return None
    places, held = principal_plane(units)
    said_share = share(held)
    items = [found.items[place] for place in kept]
    groups = _first_genres(items)
    points = [
        plots.Point(item.name, group, float(x), float(y))
        for item, group, (x, y) in zip(items, groups, places, strict=True)
    ]
    order = _by_size(groups)
    said = (
        f"A map of the {len(points)} most rated items by the factors of {found.model}, coloured by"
        f" their first genre: {', '.join(order)}."
    )
    wide, narrow = (
        partial(plots.item_map, points, order, key=key, alt=said, phone=phone)
        for key, phone in (("items-wide", False), ("items-narrow", True))
    )
    rows = [
        (item.name, [", ".join(item.genres), whole(item.ratings), f"{x:.2f}", f"{y:.2f}"])
        for item, (x, y) in zip(items, places, strict=True)
    ]
    return Figure(
        "items",
        f"The {len(points)} most rated items as {found.model} sees them",
        wide,
        plain(["genres", "ratings", "across", "up"], rows, head="item"),
        note=(
            "Items that the model takes to be alike are near each other. The plane is that of the"
            f" first two principal components, which hold {said_share} of what the"
            f" {found.vectors.shape[1]} factors differ by: near in the plane need not be near in"
            " all of them."
        ),
        draw_narrow=narrow,
    )


def neighbours(found: ItemVectors) -> Table | None:
    """The items nearest to each of the most rated, by the cosine of their vectors; None for none.

    Args:
        found: at least two items; the neighbours are among them.
    """
    units, kept = _units(found.vectors[:NEIGHBOURS_AMONG])
    if len(kept) < 2:  # noqa: PLR2004 - nobody is his own neighbour
        return None
    cosines = units[:_KNOWN] @ units.T
    rows = []
    for place, near in enumerate(cosines):
        near[place] = -np.inf
        nearest = np.argsort(-near, kind="stable")[: min(_NEAREST, len(kept) - 1)]
        said = "; ".join(f"{found.items[kept[at]].name} {near[at]:.2f}" for at in nearest)
        rows.append((found.items[kept[place]].name, [said]))
    return plain(["nearest, with the cosine"], rows, head="item", words=True)


def principal_plane(rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """(n, 2) places in the plane of the first two principal components, and its share of variance.

    Of the two directions of a component that is taken in which the largest place is positive.

    Args:
        rows: (n, f), with f at least 2.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    places = centred @ directions[:2].T
    farthest = np.take_along_axis(places, np.abs(places).argmax(axis=0)[None], axis=0)
    places = places * np.where(farthest < 0, -1.0, 1.0)
    variance = lengths**2
    total = float(variance.sum())
    return places, float(variance[:2].sum()) / total if total else 0.0


def _units(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The vectors at length 1, and which they are; those of length 0 are left out."""
    lengths = np.linalg.norm(vectors, axis=1)
    kept = np.flatnonzero(lengths > 0)
    return vectors[kept] / lengths[kept, None], kept


def _first_genres(items: Sequence[Item]) -> list[str]:
    """The first genre of each item; those that few have are one."""
    firsts = [item.genres[0] if item.genres else NO_GENRE for item in items]
    common = {genre for genre, _ in Counter(firsts).most_common(_GENRES)}
    return [genre if genre in common else OTHER for genre in firsts]


def _by_size(groups: Sequence[str]) -> list[str]:
    """The groups, the largest first, what is left last."""
    counts = Counter(groups)
    return sorted(counts, key=lambda group: (group == OTHER, -counts[group], group))
