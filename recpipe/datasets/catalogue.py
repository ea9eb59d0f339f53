"""The MovieLens releases that can be downloaded: what they hold and how they are verified."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.table import Table

from recpipe.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Release:
    """A published archive.

    Args:
        name: as the command line knows it.
        file: name of the archive on the server.
        ratings: number of ratings.
        users: number of users.
        items: number of movies.
        licence: what its use is bound to, in short.
        size: bytes of the archive; None where it is not published to the byte.
        checksum: `md5:` or `sha256:` and hex digits; None: the first download's is kept.
        source: who published the checksum.
    """

    name: str
    file: str
    ratings: int
    users: int
    items: int
    licence: str
    size: int | None = None
    checksum: str | None = None
    source: str | None = None


@cache
def releases() -> Mapping[str, Release]:
    """Every known release by its name, in the order of the list."""
    text = resources.files(__package__).joinpath("releases.toml").read_text(encoding="utf-8")
    known = {name: Release(name=name, **row) for name, row in tomllib.loads(text).items()}
    return MappingProxyType(known)


def release(name: str) -> Release:
    """The release of that name; `ml-25m` is taken for `25m`.

    Raises:
        UsageError: for an unknown name.
    """
    known = releases()
    found = known.get(name.lower().removeprefix("ml-"))
    if found is None:
        near = did_you_mean(name, known)
        raise UsageError(
            f"no release {name!r}" + (f"; {near}" if near else ""),
            hint=f"known: {', '.join(known)}",
        )
    return found


def list_table() -> Table:
    """What `recpipe data list` prints."""
    table = Table(title="MovieLens releases (files.grouplens.org)", title_justify="left")
    table.add_column("name", no_wrap=True)
    for heading in ("ratings", "users", "items", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("checksum and its source", overflow="fold")
    table.add_column("licence: see the README in each")
    for entry in releases().values():
        table.add_row(
            entry.name,
            f"{entry.ratings:,}",
            f"{entry.users:,}",
            f"{entry.items:,}",
            "?" if entry.size is None else f"{entry.size / 1e6:.1f} MB",
            f"{entry.checksum} ({entry.source})"
            if entry.checksum
            else "none published: the first download's is kept",
            entry.licence,
        )
    return table
