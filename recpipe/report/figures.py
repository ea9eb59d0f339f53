"""A picture with all that stands around it: title, words for who cannot see it, its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup

    from recpipe.report.tables import Table


@dataclass(frozen=True)
class Figure:
    """A picture on the page, drawn when it is asked for.

    Args:
        key: names it on the page; its anchor is `figure-<key>`.
        title: what it shows, in a few words.
        draw: the picture, an `<svg>` with a label that says what it shows.
        table: the numbers that it shows.
        note: how to read it, where that is not plain.
        draw_narrow: the picture for narrow screens, where it is another.
    """

    key: str
    title: str
    draw: Callable[[], Markup]
    table: Table
    note: str = ""
    draw_narrow: Callable[[], Markup] | None = None

    @cached_property
    def svg(self) -> Markup:
        return self.draw()

    @cached_property
    def narrow(self) -> Markup | None:
        return None if self.draw_narrow is None else self.draw_narrow()
