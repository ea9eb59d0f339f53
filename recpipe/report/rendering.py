"""The templates of the pages, and how chapters become a page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from recpipe.report import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Chapter(NamedTuple):
    """A part of a page with a heading, which the list of contents links to.

    Args:
        key: of its anchor, and of its template `<key>.html`.
        title: its heading.
        html: what is below the heading.
    """

    key: str
    title: str
    html: Markup


def chapters(wanted: Sequence[tuple[str, str]], context: Mapping[str, Any]) -> list[Chapter]:
    """Those chapters that have something to say.

    Args:
        wanted: key and title of each, in their order.
        context: what the templates are given.
    """
    rendered = [
        Chapter(key, title, Markup(_environment().get_template(f"{key}.html").render(**context)))  # noqa: S704
        for key, title in wanted
    ]
    return [chapter for chapter in rendered if chapter.html.strip()]


def page(name: str, context: Mapping[str, Any], of: Sequence[Chapter]) -> str:
    """A whole page: one file without script and outside resource, everything in it escaped.

    Args:
        name: of the template.
        context: what it is given.
        of: its chapters.
    """
    return _environment().get_template(name).render(**context, chapters=of)


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # As text rather than by a loader of paths: the package may lie in a zip on a cluster.
        loader=FunctionLoader(_source),
    )
    environment.filters.update(
        whole=numbers.whole,
        decimal=numbers.decimal,
        seconds=numbers.seconds,
        instant=numbers.instant,
        size=numbers.size,
    )
    return environment


def _source(name: str) -> str:
    found = files(__package__).joinpath("templates").joinpath(name)
    return found.read_text(encoding="utf-8")
