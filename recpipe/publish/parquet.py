"""Tables as sorted Parquet files that any reader takes, in folders that nobody reads yet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import Window
from pyspark.sql import functions as F

from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import CheckError, ContractError, UsageError
from recpipe.publish.pointer import place_of, shelf_of, was_published
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    from recpipe.contracts import Table

ROWS_A_FILE = 2_000_000
"""About 20 MB: few files, and still as many tasks as a large table needs."""


@dataclass(frozen=True)
class OutputFile:
    """One Parquet file: path relative to the root, rows, bytes, and the SHA-256 of its bytes."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Export:
    """A table of a version that is complete but not pointed to.

    Args:
        run_id: of the run that it belongs to; names the folder.
        path: the folder, relative to the root.
        rows: in all files.
        users: with at least one row; of a table of items, items.
        files: in the order of their names, which is the order of the rows.
    """

    run_id: str
    path: str
    rows: int
    users: int
    files: tuple[OutputFile, ...]

    def as_dict(self) -> dict[str, Any]:
        """The section `output` of the manifest."""
        return asdict(self) | {"files": [asdict(file) for file in self.files]}


def export(
    table: DataFrame,
    *,
    root: Folder,
    run_id: str,
    files: int = 0,
    contract: Table = RECOMMENDATIONS,
) -> Export:
    """Write `published/<name>/<run_id>/part-*.parquet` and read it back.

    Zstd, exactly the columns of the contract, sorted by its key within the files and across them in
    the order of their names; no user, or first column of the key, is in two files. The folder holds
    nothing else. No reader sees it before `point_to`; what an interrupted publish of this run left
    there is replaced. A version that was published already is never written again: it is verified
    and returned as it is, so that a publish that died after the pointer can be repeated.

    Args:
        table: of the contract, read twice: read from a table.
        root: of the pipeline.
        run_id: names the folder.
        files: how many; 0: from the number of rows.
        contract: of the table, whose name names the folder above.

    Raises:
        ContractError: if the columns are others, or there is no row.
        CheckError: if what was read back is not what was to be written.
        UsageError: if this run was published with other rows.
    """
    contract.check_schema(table)
    wanted = _content(table)
    if not wanted.rows:
        raise ContractError(f"{contract.name}: no row", hint="nothing was published")
    # The export is Parquet whatever the tables are: a Delta folder is not read as plain Parquet.
    shelf = Folder(root.spark, f"{root.uri}/{shelf_of(contract.name)}")
    published = was_published(root, run_id)
    if not published:
        number = files or -(-wanted.rows // ROWS_A_FILE)
        placed = table.repartitionByRange(number, contract.key[0])
        placed = placed.sortWithinPartitions(*contract.key)
        shelf.write_table(run_id, placed, contract=contract)
        _tidy(shelf / run_id)
    other = UsageError(
        f"run {run_id} is published with other rows", hint="start another with `split`"
    )
    try:
        written, found = _described(shelf / run_id, run_id, contract)
    except CheckError as error:
        raise (other if published else error) from error
    if found != wanted and published:
        raise other
    if found != wanted:
        raise CheckError(
            f"{shelf.path(run_id)}: the rows read back are not those that were written",
            hint="nothing was published; check the disk and run `recpipe publish` again",
        )
    return written


class _Content(NamedTuple):
    """Rows of a table, and a checksum of what is in them that does not depend on order."""

    rows: int
    checksum: int


def _content(frame: DataFrame) -> _Content:
    rows, checksum = (
        frame.select(_hash(frame.columns)).agg(F.count("*"), _sum_of_hashes()).collect()[0]
    )
    return _Content(int(rows), int(checksum or 0))


def _hash(columns: Sequence[str]) -> Column:
    return F.xxhash64(*columns).alias("hash")


def _sum_of_hashes() -> Column:
    return F.sum(F.col("hash").cast("decimal(20,0)"))


def _tidy(folder: Folder) -> None:
    """Leave only the rows: some readers take every file of a folder."""
    for name in folder.list():
        if not name.startswith("part-"):
            folder.delete(name)


def _described(
    folder: Folder, run_id: str, contract: Table = RECOMMENDATIONS
) -> tuple[Export, _Content]:
    """Rows, users, digest and order of the files as they are on disk, and what is in them.

    Raises:
        CheckError: if they are not sorted.
    """
    # The place of a row in its file is what a reader without Spark goes by.
    in_file = Window.partitionBy("file").orderBy("at")
    order = contract.key
    before, here = F.lag(F.struct(*order)).over(in_file), F.struct(*order)
    same_user = F.coalesce(before[order[0]] == F.col(order[0]), F.lit(False))
    rows = folder.read_parquet().select(
        *order,
        _hash(contract.columns),
        F.col("_metadata.file_name").alias("file"),
        F.col("_metadata.row_index").alias("at"),
    )
    found = (
        rows.select(
            *order,
            "hash",
            "file",
            (~same_user).alias("new_user"),
            F.coalesce(before >= here, F.lit(False)).alias("unsorted"),
        )
        .groupBy("file")
        .agg(
            F.count("*").alias("rows"),
            F.count_if("new_user").alias("users"),
            F.count_if("unsorted").alias("unsorted"),
            F.min(order[0]).alias("first"),
            F.max(order[0]).alias("last"),
            _sum_of_hashes().alias("checksum"),
        )
        .collect()
    )
    by_name = sorted(found, key=lambda row: str(row["file"]))
    # Strings compare by code point in Python and by UTF-8 byte in Spark: the same order.
    torn = any(a["last"] >= b["first"] for a, b in pairwise(by_name))
    if torn or any(row["unsorted"] for row in by_name):
        raise CheckError(
            f"{folder.uri}: rows are not sorted by {', '.join(order)}",
            hint="nothing was published; run `recpipe publish` again",
        )
    files = tuple(
        OutputFile(
            path=f"{place_of(run_id, contract.name)}/{row['file']}",
            rows=row["rows"],
            bytes=folder.fs.size(folder.path(row["file"])),
            sha256=folder.fs.sha256(folder.path(row["file"])),
        )
        for row in by_name
    )
    content = _Content(
        sum(file.rows for file in files), sum(int(row["checksum"]) for row in by_name)
    )
    export = Export(
        run_id=run_id,
        path=place_of(run_id, contract.name),
        rows=content.rows,
        users=sum(row["users"] for row in by_name),
        files=files,
    )
    return export, content
