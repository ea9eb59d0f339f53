"""The reference of the settings: each with its default and explanation, as TOML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from recpipe.sections import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING = """\
# Every setting of recpipe, once, with its default. Written by `make conf` from the sections in
# recpipe/. A file given by --config needs only what it changes.
"""


def whole(defaults: Section) -> str:
    """The reference of a whole tree of settings: first what is in no section, then each section."""
    sections = [(name, value) for name, value in defaults if isinstance(value, Section)]
    lines = [line for name, value in defaults if not isinstance(value, Section)
             for line in ("", *_explained(type(defaults), name, value))]  # fmt: skip
    parts = [_HEADING + "\n".join(lines) + "\n", *(section(*named) for named in sections)]
    return "\n".join(parts)


def section(name: str, values: Section) -> str:
    """The reference of one section."""
    lines = [f"# {_first_line(type(values))}", f"[{name}]"]
    for key, value in values:
        lines += _explained(type(values), key, value)
    return "\n".join(lines) + "\n"


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _explained(section: type[Section], key: str, value: object) -> Iterator[str]:
    text = section.model_fields[key].description or ""
    for line in text.strip().splitlines():
        yield f"# {line.strip()}"
    # TOML has no null: what is unset stands as a comment.
    yield f"# {key} =" if value is None else f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    if isinstance(value, Section):
        given = [f"{key} = {_toml(part)}" for key, part in value if part is not None]
        return f"{{{', '.join(given)}}}"
    return json.dumps(value)
