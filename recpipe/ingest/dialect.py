"""How a text writes a table: encoding, line ends, delimiter and quotes, told from its beginning."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from recpipe.ingest.layout import HEAD_BYTES
from recpipe.ingest.times import DAY_FIRST, is_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITERS = ("::", "\t", ",", ";", "|", " ")
"""In the order of preference; a blank stands for any number of blanks."""

_BOM = "\ufeff"
_SAMPLED_LINES = 1000
_ALIKE = 0.5
_LATIN_SHARE = 0.01
_LATIN_LINES = 3
_LATER_BYTE, _FIRST_BYTE = 0x80, 0xC0
"""From where on a byte belongs to a letter of several, and is the first of them."""


@dataclass(frozen=True)
class Text:
    """The beginning of a text.

    Args:
        lines: those that are not blank, without their ends, the last one left out if cut short.
        content: all of it, without a byte order mark.
        line_end: line feed or carriage return.
        latin1: whether its bytes are Latin-1: some lines are no UTF-8, and none needs it.
    """

    lines: list[str]
    content: str
    line_end: str
    latin1: bool


@dataclass(frozen=True)
class Cells:
    """The cells of the first lines.

    Args:
        rows: the first is the header if there is one.
        escape: what stands before a quote within quotes.
    """

    rows: list[list[str]]
    escape: str = '"'


@lru_cache(maxsize=4)
def text_of(head: bytes) -> Text | None:
    """The text that these bytes begin; None if they are no text."""
    if b"\0" in head:
        return None
    latin1 = _is_latin1(head)
    try:
        content = _without_cut_letter(head).decode()
    except UnicodeDecodeError:
        content = head.decode("latin-1")
    content = content.removeprefix(_BOM).removeprefix(_BOM.encode().decode("latin-1"))
    line_end = "\r" if "\n" not in content and "\r" in content.rstrip("\r") else "\n"
    if len(head) >= HEAD_BYTES and line_end in content:
        content = content[: content.rindex(line_end) + 1]
    lines = content.split(line_end, 2 * _SAMPLED_LINES)[: 2 * _SAMPLED_LINES]
    kept = [line.rstrip("\r") for line in lines if line.strip()]
    return Text(kept[:_SAMPLED_LINES], content, line_end, latin1)


def is_wide(head: bytes) -> str:
    """The encoding of UTF-16 or UTF-32 that these bytes are; empty if they are neither."""
    for mark, encoding in (
        (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    ):  # fmt: skip
        if head.startswith(mark):
            return encoding
    some = head[:2000]
    quarter = len(some) // 4
    # Text that is mostly ASCII has every second byte zero.
    if quarter and head[1:2000:2].count(0) > quarter and head[0:2000:2].count(0) == 0:
        return "utf-16-le"
    if quarter and head[0:2000:2].count(0) > quarter and head[1:2000:2].count(0) == 0:
        return "utf-16-be"
    return ""


def fields(line: str, delimiter: str) -> list[str]:
    """The cells of one line."""
    if delimiter == " ":
        return line.split()
    if len(delimiter) > 1 or '"' not in line or delimiter == "\t":
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def cells(text: Text, delimiter: str, *, quoted: bool = False) -> Cells:
    """The cells of the first lines, by either way to write a quote within quotes.

    Args:
        text: the beginning of a file.
        delimiter: of its fields.
        quoted: whether tabs and pipes may quote as well.
    """
    if '"' not in text.content or not (delimiter in {",", ";"} or quoted):
        return Cells([fields(line, delimiter) for line in text.lines])
    doubled = Cells(_records(text, delimiter, '"'))
    if '\\"' not in text.content:
        return doubled
    escaped = Cells(_records(text, delimiter, "\\"), "\\")
    return max(doubled, escaped, key=lambda found: share(found.rows))


def _records(text: Text, delimiter: str, escape: str) -> list[list[str]]:
    content = text.content.replace("\r", "\n") if text.line_end == "\r" else text.content
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        doublequote=escape == '"',
        escapechar=None if escape == '"' else escape,
        skipinitialspace=True,
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) >= _SAMPLED_LINES:
                return rows
    except csv.Error:
        return [fields(line, delimiter) for line in text.lines]
    return rows


def usual_width(rows: Sequence[Sequence[str]]) -> int:
    """How many cells most rows have; 0 without rows."""
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def share(rows: Sequence[Sequence[str]]) -> float:
    """The share of rows that are as wide as most are."""
    if not rows:
        return 0.0
    return Counter(len(row) for row in rows).most_common(1)[0][1] / len(rows)


def delimiter_of(text: Text) -> str:
    """The delimiter that cuts most lines into as many cells; empty if none does."""
    best, highest = "", (0.0, 0)
    for delimiter in DELIMITERS:
        if delimiter == " " and best:
            break
        rows = [fields(line, delimiter) for line in text.lines]
        width = usual_width(rows)
        found = round(share(rows), 1), width
        if width > 1 and found[0] >= _ALIKE and found > highest:
            best, highest = delimiter, found
    return best


def header_of(rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    """The first row, if none of its cells is a value, and below it some column is mostly values.

    A value is a number or an instant. The row may be no header of these columns, but a title above
    them, and have another width.
    """
    if not rows:
        return None
    names = [name.strip() for name in rows[0]]
    if not any(names) or any(map(_is_value, names)):
        return None
    width = usual_width(rows)
    others = [row for row in rows[1:] if len(row) == width]
    if not others:
        return names
    for place in range(width):
        if sum(_is_value(row[place]) for row in others) * 2 > len(others):
            return names
    return None


def _is_value(text: str) -> bool:
    if is_instant(text) or DAY_FIRST.fullmatch(text):
        return True
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _without_cut_letter(head: bytes) -> bytes:
    """The bytes without a letter of UTF-8 that the end of the sample has cut."""
    if len(head) < HEAD_BYTES:
        return head
    for cut in range(1, 4):
        if head[-cut] >= _FIRST_BYTE:
            return head[:-cut]
        if head[-cut] < _LATER_BYTE:
            break
    return head


def _is_latin1(head: bytes) -> bool:
    """Whether many lines are no UTF-8, and none has letters that are valid UTF-8."""
    wrong = 0
    lines = head.split(b"\n")
    for line in lines if len(head) < HEAD_BYTES else lines[:-1]:
        if line.isascii():
            continue
        try:
            line.removeprefix(_BOM.encode()).decode()
        except UnicodeDecodeError:
            wrong += 1
        else:
            if not line.startswith(_BOM.encode()):
                return False
    return wrong >= _LATIN_LINES and wrong > _LATIN_SHARE * len(lines)
