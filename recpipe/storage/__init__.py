"""The only place that reads or writes tables, artifacts and pointers below a root."""

from recpipe.storage.folder import Folder, Format
from recpipe.storage.paths import local_size
from recpipe.storage.runs import Run, Runs
from recpipe.storage.stored import Stored
from recpipe.storage.tables import Replacement, Tables, local_format

__all__ = [
    "Folder", "Format", "Replacement", "Run", "Runs", "Stored", "Tables", "local_format",
    "local_size",
]  # fmt: skip
