"""A picture with all that stands around it: title, words for who cannot see it, its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

    from recpipe.report.tables import Table


@dataclass(frozen=True)
class Figure:
    """A picture on the page.

    Args:
        key: names it on the page; its anchor is `figure-<key>`.
        title: what it shows, in a few words.
        svg: the picture, whose label is `alt`.
        table: the numbers that it shows.
        note: how to read it, where that is not plain.
        narrow: the picture for narrow screens, where it is another.
    """

    key: str
    title: str
    svg: Markup
    table: Table
    note: str = ""
    narrow: Markup | None = None
