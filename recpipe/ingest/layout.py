"""What is known of one file of a source: its beginning, and how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.ingest.times import TimeForm, TimeUnit

HEAD_BYTES = 1 << 16
"""How much of a file is looked at."""

Kind = Literal[
    "ratings", "movies", "tags", "links", "genome_scores", "genome_tags", "users", "genres"
]

NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""What a folder of a Hive partition is called where the column is null."""


@dataclass(frozen=True)
class Sample:
    """The beginning of one file of a source.

    Args:
        path: relative to the source, with `/`.
        head: its first `HEAD_BYTES` bytes, or all of a shorter file; of a compressed file, of what
            is in it.
        footer: of a Parquet file its last bytes, with the schema in them.
        table: what the file or folder is, where the content does not tell: `delta`.
        fault: why the file cannot be read, where that is known already.
        compressed: whether it lies in an archive.
        committed: whether it is a part of a job that says that it ended well.
    """

    path: str
    head: bytes
    footer: bytes = b""
    table: str = ""
    fault: str = ""
    compressed: bool = False
    committed: bool = False

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def suffix(self) -> str:
        """The last part of the name that says what is in it, in lower case: not `.gz`."""
        name = self.name.lower().removesuffix(".gz")
        return PurePosixPath(name).suffix

    @property
    def partitions(self) -> dict[str, str]:
        """Columns that the names of folders give, as Hive writes them: `year=2015/month=1`."""
        found = {}
        for folder in PurePosixPath(self.path).parts[:-1]:
            name, equals, value = folder.partition("=")
            if equals and name:
                found[unquote(name)] = "" if value == NO_PARTITION else unquote(value)
        return found


@dataclass(frozen=True)
class Layout:
    """How a file is to be read.

    Args:
        columns: field name to its position in a line, or among `names`; fields that the folders'
            names give are not among them.
        width: fields in a line; 0 for formats that name their columns.
        delimiter: what separates them; a blank stands for any number of blanks.
        header: the header line, which is no row; None where there is none.
        form: how `timestamp` is written; None where there is no such field.
        format: the name of the format that reads it, see `formats`.
        quoted: whether fields may stand in quotes beside a delimiter that never quotes.
        escape: what stands before a quote within quotes.
        multiline: whether line ends may stand within quotes.
        line_end: line feed, or carriage return in files of old.
        latin1: whether the bytes are Latin-1, and not UTF-8.
        decimal_comma: whether ratings are written as 3,5.
        truth: whether ratings are written as true and false.
        decimal_ids: ids that are written as 1.0.
        names: of the columns, where the format names them.
        folders: fields that the names of folders give, by the name in there.
    """

    columns: Mapping[str, int] = field(default_factory=dict)
    width: int = 0
    delimiter: str = ""
    header: str | None = None
    form: TimeForm | None = None
    format: str = "text"
    quoted: bool = False
    escape: str = '"'
    multiline: bool = False
    line_end: str = "\n"
    latin1: bool = False
    decimal_comma: bool = False
    truth: bool = False
    decimal_ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a row has, the folders' included."""
        return tuple(sorted({*self.columns, *self.folders}))

    @property
    def time(self) -> TimeUnit | None:
        return self.form.unit if self.form is not None else None

    @property
    def quotes(self) -> bool:
        """Whether fields may stand in quotes: in CSV always, elsewhere if the ids of a file do."""
        return self.delimiter in {",", ";"} or self.quoted
