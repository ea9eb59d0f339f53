"""Tables as the page has them: text in cells, one row a thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Cell:
    """A value as text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose rows have a name each.

    Args:
        columns: the labels of the columns after that of the names.
        rows: name and cells.
        notes: sentences on what the numbers rest on.
        head: the label of the column of names.
        words: whether cells hold words rather than numbers, and stand to the left.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str] = ()
    head: str = "model"
    words: bool = False


def plain(
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    head: str = "model",
    words: bool = False,
) -> Table:
    """A table of texts of which none is the best."""
    cells = [(name, [Cell(text) for text in texts]) for name, texts in rows]
    return Table(columns, cells, head=head, words=words)
