"""A folder below the root: JSON and text replaced whole, tables written whole, artifacts."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import contextmanager
from datetime import date
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from recpipe.errors import InputError, UsageError
from recpipe.storage.encoded import write_files
from recpipe.storage.filesystem import file_system, walk
from recpipe.storage.footers import schema_of
from recpipe.storage.paths import absolute, literal
from recpipe.storage.stored import Stored, encrypts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from recpipe.contracts import Table

Format = Literal["parquet", "delta"]

_NAME = re.compile(r"[A-Za-z0-9._=-]+")
PARQUET_DONE = "_SUCCESS"
"""The file that a Parquet table has once it is complete."""
_DELTA_LOG = "_delta_log"


class Folder:
    """A place below a root, on any Hadoop file system.

    Args:
        spark: the session whose file system clients and writers are used.
        uri: where; a local path or a URI.
        format: how tables below it are written. Reading recognises either.
        tag: written into the commits of Delta tables (`userMetadata`), such as the run id.
    """

    def __init__(
        self,
        spark: SparkSession,
        uri: str | Path,
        *,
        format: Format = "parquet",
        tag: str = "",
    ) -> None:
        self.spark = spark
        self.uri = absolute(uri)
        self.format: Format = format
        self.tag = tag
        self.fs = file_system(self.uri, spark)

    def __truediv__(self, name: str) -> Folder:
        """The folder `name` below this one; `a/b` goes two down."""
        for part in name.split("/"):
            _check_name(part)
        return Folder(self.spark, f"{self.uri}/{name}", format=self.format, tag=self.tag)

    def __repr__(self) -> str:
        return f"Folder({self.uri})"

    def path(self, name: str) -> str:
        _check_name(name)
        return f"{self.uri}/{name}"

    def relative(self, uri: str) -> str:
        """The path of a file or folder below this one, as manifests and pointers write it."""
        return uri.removeprefix(f"{self.uri}/")

    def exists(self, name: str = "") -> bool:
        return self.fs.exists(self.path(name) if name else self.uri)

    def list(self) -> list[str]:
        """Names directly below, sorted; empty where the folder is not there."""
        return self.fs.list(self.uri)

    def delete(self, name: str = "") -> None:
        """Remove this folder, or one thing in it, with all below; no error where it is missing."""
        self.fs.delete(self.path(name) if name else self.uri)

    def files(self) -> Iterator[str]:
        """The URI of every file below, in the order of names."""
        return walk(self.fs, self.uri)

    # -- whole small files ------------------------------------------------------------------

    def write_text(self, name: str, text: str) -> None:
        """Write a small file whole, in one step."""
        self.fs.replace(self.path(name), text.encode())

    def read_text(self, name: str) -> str:
        return self.fs.read(self.path(name)).decode()

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON whole, in one step.

        Dates and paths become text, NumPy's numbers become numbers.

        Raises:
            ValueError: for NaN and infinities, which JSON does not have.
            TypeError: for whatever else JSON does not have.
        """
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False, default=_plain) + "\n")

    def read_json(self, name: str) -> Any:
        """The JSON at `name`.

        Raises:
            InputError: if it is missing or is not JSON.
        """
        return parsed_json(self.path(name), lambda: self.read_text(name))

    # -- tables -----------------------------------------------------------------------------

    def write_table(
        self,
        name: str,
        frame: DataFrame,
        *,
        contract: Table | None = None,
        partition_by: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
    ) -> DataFrame:
        """Write a table whole, replacing one of that name, and return it as read back.

        With Parquet an older table is removed first and a reader takes the new one only once it
        is complete (`_SUCCESS`); where readers may be at work, or the frame itself comes from the
        table of that name, write under a new name instead. With Delta the replacement is one
        commit.

        Raises:
            ContractError: if `contract` is given and the frame has other columns or types.
        """
        if contract is not None:
            contract.check_schema(frame)
        path = self.path(name)
        writer = frame.write.options(**(options or {}))
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        if self.format == "delta":
            if self.fs.exists(f"{path}/{PARQUET_DONE}"):
                self.fs.delete(path)
            writer = writer.option("overwriteSchema", "true").option("userMetadata", self.tag)
            writer.format("delta").mode("overwrite").save(path)
        else:
            self.fs.delete(path)
            # Whatever the cluster's own settings say: the marker is how a table is complete.
            writer = writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "true")
            writer.option("compression", "zstd").parquet(path)
            if not partition_by:
                # The schema is known: looking for it in the files would be a job.
                return self.spark.read.schema(frame.schema).parquet(literal(path))
        return self.read_table(name)

    def take_table(self, name: str, table: Stored) -> None:
        """Move a table here, replacing one of that name; its handle is of no use afterwards.

        Its rows are written anew where this folder keeps tables in another format.

        Args:
            name: it gets.
            table: on the same store as this folder.
        """
        if table.path is None or self.format == "delta":
            self.write_table(name, table.frame)
            return
        self.fs.delete(self.path(name))
        # Some stores move nothing into a folder that is not there.
        self.fs.make_dir(self.uri)
        self.fs.rename(table.path, self.path(name))

    @property
    def takes_encoded(self) -> bool:
        """Whether tables may be written by `write_encoded`.

        Not those of Delta, and not where Parquet encrypts, with keys that only the JVM has.
        """
        return self.format == "parquet" and not encrypts(self.spark)

    def write_encoded(self, name: str, files: DataFrame, schema: StructType | str) -> DataFrame:
        """`write_table`, of Parquet files that were encoded by tasks.

        Only where `takes_encoded`, which the caller asks: the files are written as they are, in the
        clear where Parquet should encrypt.

        Args:
            name: of the table.
            files: `encoded.WRITTEN_FILES`.
            schema: of the rows in them.

        Raises:
            ValueError: for Delta.
        """
        if self.format == "delta":
            raise ValueError("a Delta table is written by Delta")
        path = self.path(name)
        self.fs.delete(path)
        write_files(files, path, self.fs)
        return self.spark.read.schema(schema).parquet(literal(path))

    def has_table(self, name: str) -> bool:
        """Whether a complete table of that name is here, in either format."""
        path = self.path(name)
        return self.fs.exists(f"{path}/{PARQUET_DONE}") or self.fs.exists(f"{path}/{_DELTA_LOG}")

    def read_table(
        self, name: str, *, version: int | None = None, schema: str | None = None
    ) -> DataFrame:
        """A complete table, in whichever format it was written.

        Args:
            name: the table.
            version: of a Delta table, the version to read; default the newest.
            schema: of it, in Spark's DDL, where it is known: nobody then looks for it in files.

        Raises:
            UsageError: if there is none, its writer did not finish, or it is a Delta table and
                this session was not built for Delta.
        """
        path = self.path(name)
        if self.fs.exists(f"{path}/{_DELTA_LOG}"):
            if "delta" not in (self.spark.conf.get("spark.sql.extensions", "") or "").lower():
                raise UsageError(f"{path} is a Delta table", hint="give --format delta")
            reader = self.spark.read.format("delta")
            return (reader if version is None else reader.option("versionAsOf", str(version))).load(
                path
            )
        if not self.fs.exists(f"{path}/{PARQUET_DONE}"):
            raise UsageError(
                f"{path}: no complete table", hint="run the stage that writes it first"
            )
        return self._parquet(path, schema)

    def stored(self, name: str, *, schema: str | None = None, version: int | None = None) -> Stored:
        """A complete table as a handle: its rows, or its files for tasks to decode.

        The arguments and errors are those of `read_table`.
        """
        frame = self.read_table(name, version=version, schema=schema)
        path = self.path(name)
        delta = self.fs.exists(f"{path}/{_DELTA_LOG}")
        return Stored(frame, None if delta else path, self.fs)

    def read_parquet(self, name: str = "") -> DataFrame:
        """Parquet files that something else vouches for, such as a pointer to their folder."""
        return self._parquet(self.path(name) if name else self.uri, None)

    def _parquet(self, path: str, schema: str | None) -> DataFrame:
        known = schema or schema_of(self.fs, path)
        reader = self.spark.read
        return (reader if known is None else reader.schema(known)).parquet(literal(path))

    def table_version(self, name: str) -> int:
        """The newest version of a Delta table."""
        from delta.tables import DeltaTable

        # Not by SQL, in which a path with a backtick would end the name.
        newest = DeltaTable.forPath(self.spark, self.path(name)).history(1)
        return int(newest.select("version").collect()[0][0])

    # -- room for a while -------------------------------------------------------------------

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Folder]:
        """A folder for intermediate files, removed when the `with` statement ends, however it ends.

        Below `.scratch`, where no reader looks; always Parquet. What it made on the way goes too,
        unless another has put something there meanwhile.
        """
        known = self.exists()
        shelf = f"{self.uri}/.scratch"
        room = Folder(self.spark, f"{shelf}/{purpose}-{uuid.uuid4().hex[:12]}")
        room.fs.make_dir(room.uri)
        try:
            yield room
        finally:
            room.delete()
            self.fs.delete_empty(shelf)
            if not known:
                self.fs.delete_empty(self.uri)


def parsed_json(uri: str, read: Callable[[], str | bytes]) -> Any:
    """The JSON that `read` reads from `uri`.

    Raises:
        InputError: if it is missing or is not JSON.
    """
    try:
        return json.loads(read())
    except FileNotFoundError as error:
        raise InputError(f"{uri} is missing", hint="restore it") from error
    except ValueError as error:
        raise InputError(f"{uri} is not JSON: {error}", hint="restore it or remove it") from error


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    if isinstance(value, date | PurePath):
        return str(value) if isinstance(value, PurePath) else value.isoformat()
    # A NumPy number; checked for NaN again by whoever called.
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise UsageError(f"{name!r} cannot name a file or folder", hint="use A-Z a-z 0-9 . _ - =")
