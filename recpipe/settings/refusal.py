"""Why settings are refused, in one plain sentence.

Pydantic finds what is wrong and names it by a type; the words for each type are here.
"""

from __future__ import annotations

import json
import re
from datetime import date, time
from itertools import groupby
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError, did_you_mean
from recpipe.sections import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from recpipe.settings.sources import Sources

Path = tuple[str | int, ...]

_LONGEST_VALUE = 60
_MAX_NAMES = 40


def refusal(error: ValidationError, kind: type[Section], sources: Sources) -> UsageError:
    """What is wrong with the settings: the first fault in the message, the others as details.

    Args:
        error: what Pydantic raised.
        kind: the type of the whole tree of settings.
        sources: where the settings came from.
    """
    found = [(_path(fault, sources), fault) for fault in error.errors(include_url=False)]
    said = [
        _said(path, [fault for _, fault in group], kind, sources)
        for path, group in groupby(found, key=lambda pair: pair[0])
    ]
    lines = [f"{giver}: {line}" if (giver := sources.giver(path)) else line for path, line in said]
    where = said[0][0]
    section = f" {where[0]}" if where and _section(kind, where[:1]) is not None else ""
    return UsageError(
        lines[0], hint=f"`recpipe settings{section}` explains them", details=tuple(lines[1:])
    )


def _path(fault: ErrorDetails, sources: Sources) -> Path:
    """Where the fault is: without what Pydantic adds for each alternative of a type."""
    path: Path = ()
    for part in fault["loc"]:
        try:
            sources.value((*path, part))
        except LookupError:
            return (*path, part) if _is_missing_key(fault, part) else path
        path = (*path, part)
    return path


def _is_missing_key(fault: ErrorDetails, part: str | int) -> bool:
    return fault["type"] == "missing" and isinstance(part, str)


def _said(
    path: Path, faults: Sequence[ErrorDetails], kind: type[Section], sources: Sources
) -> tuple[Path, str]:
    """The path of the setting that is meant, and the sentence."""
    if faults[0]["type"] == "extra_forbidden":
        return path, f"setting {_dotted(path)}: no such setting{_instead(path, kind)}"
    if faults[0]["type"] == "value_error":
        return _of_validator(path, faults[0], kind, sources)
    if isinstance(path[-1], int):
        # One of a list: the whole list is what was given.
        one = _echo(sources.value(path))
        return path, f"{_named(path[:-1], sources)}: {one} {_reasons(faults)}"
    return path, f"{_named(path, sources)}: {_reasons(faults)}"


def _of_validator(
    path: Path, fault: ErrorDetails, kind: type[Section], sources: Sources
) -> tuple[Path, str]:
    """The words of a check of ours, which may begin with the name of the setting that it means."""
    text = str(fault["ctx"]["error"])
    first, _, rest = text.partition(" ")
    own = (*path, *first.removesuffix(":").split("."))
    about_one = first.endswith(":") or (rest.startswith("must ") and len(path) == 1)
    if about_one and _has(kind, own):
        return own, f"{_named(own, sources)}: {rest}"
    if path:
        # What a whole section holds would only hide the sentence.
        named = f"setting {path[0]}" if len(path) == 1 else _named(path, sources)
        return path, f"{named}: {text}"
    return own if _has(kind, own) else (), f"setting {text}"


def _named(path: Path, sources: Sources) -> str:
    """`setting sgd.rank = 0`; of what was not given the name alone."""
    name = f"setting {_dotted(path)}"
    try:
        value = sources.value(path)
    except LookupError:
        return name
    return f"{name} = {_echo(value)}"


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _echo(value: object) -> str:
    """A value as TOML writes it, cut where it is long."""
    text = _toml(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, str | bool | int | float) or value is None:
        return json.dumps(value, ensure_ascii=False)
    return str(value)


# -- names ----------------------------------------------------------------------------------------


def _section(kind: type[Section], path: Path) -> type[Section] | None:
    """The type of the section at a path; None where there is none."""
    for part in path:
        field = kind.model_fields.get(str(part))
        annotation: Any = None if field is None else field.annotation
        found = [
            one
            for one in (annotation, *getattr(annotation, "__args__", ()))
            if isinstance(one, type) and issubclass(one, Section)
        ]
        if not found:
            return None
        kind = found[0]
    return kind


def _has(kind: type[Section], path: Path) -> bool:
    section = _section(kind, path[:-1])
    return section is not None and str(path[-1]) in section.model_fields


def _instead(path: Path, kind: type[Section]) -> str:
    """What may have been meant by a name that is not known."""
    *above, last = (str(part) for part in path)
    section = _section(kind, tuple(above))
    names = [] if section is None else list(section.model_fields)
    prefix = "".join(f"{part}." for part in above)
    near = did_you_mean(last, names, prefix=prefix)
    elsewhere = [f"{name}.{last}" for name in kind.model_fields if _has(kind, (name, last))]
    # A key without its section is more likely than a misspelled section.
    if near and (above or not elsewhere):
        return f"; {near}"
    if elsewhere:
        return f"; there {'are' if elsewhere[1:] else 'is'} {', '.join(elsewhere)}"
    if len(names) > _MAX_NAMES or not names:
        return ""
    return f"; {_dotted(tuple(above)) or 'there are'}{' has' if above else ''} {', '.join(names)}"


# -- reasons --------------------------------------------------------------------------------------

_WANTED: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "iterable": "a list",
    "dict": "a section of keys and values",
    "mapping": "a section of keys and values",
    "model": "a section of keys and values",
    "datetime": "an instant such as 2020-01-31T00:00:00Z",
    "date": "a day such as 2020-01-31",
    "time": "a time such as 07:30:00",
    "none": "left out",
    "enum": "one of the known names",
    "literal": "one of the known names",
}
"""What a setting must be, by the first word of the type that Pydantic gives the fault."""

_PARTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda given: f"be above {given['gt']:g}",
    "greater_than_equal": lambda given: f"be at least {given['ge']:g}",
    "less_than": lambda given: f"be below {given['lt']:g}",
    "less_than_equal": lambda given: f"be at most {given['le']:g}",
    "multiple_of": lambda given: f"be a multiple of {given['multiple_of']}",
    "finite_number": lambda _: "be a finite number",
    "too_long": lambda given: f"have {_values(given['max_length'])} at most",
    "too_short": lambda given: f"have {_values(given['min_length'])} at least",
    "string_too_long": lambda given: f"be {given['max_length']} characters long at most",
    "string_too_short": lambda given: f"be {given['min_length']} characters long at least",
    "string_pattern_mismatch": lambda given: f"match {given['pattern']}",
}
"""What a setting must do, where its type is right."""


def _values(count: int) -> str:
    return f"{count} value{'' if count == 1 else 's'}"


def _reasons(faults: Sequence[ErrorDetails]) -> str:
    """Why one value is refused; several faults are those of the alternatives that it may be."""
    if faults[0]["type"] == "missing":
        last = faults[-1]["loc"][-1]
        return f"must have {_values(last + 1)}" if isinstance(last, int) else "is missing"
    parts = list(dict.fromkeys(_reason(fault) for fault in faults))
    return f"must {', or '.join(parts)}{_near_choice(faults)}"


def _reason(fault: ErrorDetails) -> str:
    """`be at least 1`: what follows "must"."""
    kind, given = fault["type"], fault.get("ctx", {})
    if kind in _PARTS:
        return _PARTS[kind](given)
    if "expected" in given:
        return "be " + re.sub("'([^']*)'", r"\1", str(given["expected"]))
    if wanted := _WANTED.get(kind.partition("_")[0]):
        return f"be {wanted}"
    said = re.sub(r"^(Input|Value) should ", "", fault["msg"])
    return said if said != fault["msg"] else f"be right: {said[:1].lower()}{said[1:]}"


def _near_choice(faults: Sequence[ErrorDetails]) -> str:
    for fault in faults:
        if fault["type"] in {"literal_error", "enum"} and isinstance(fault["input"], str):
            choices = re.findall("'([^']*)'", str(fault.get("ctx", {}).get("expected", "")))
            if near := did_you_mean(fault["input"], choices):
                return f"; {near}"
    return ""
