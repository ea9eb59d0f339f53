"""A bar for work whose size is known, such as a download; to standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from recpipe.runtime.logs import is_interactive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Unit = Literal["bytes", "rows"]


@contextmanager
def bar(
    title: str,
    *,
    unit: Unit,
    interactive: bool | None = None,
    stream: TextIO | None = None,
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for work whose size is known; nothing where nobody watches.

    Args:
        title: what is under way.
        unit: what is counted.
        interactive: as of `progress.Progress`.
        stream: as of `progress.Progress`.

    Yields:
        A function to call with what is done and with the total, or None where that is unknown.
    """
    stream = sys.stderr if stream is None else stream
    if not (is_interactive(stream) if interactive is None else interactive):
        yield lambda _done, _total: None
        return
    measure = (
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    )
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *measure,
        TimeRemainingColumn(),
        console=Console(file=stream, force_terminal=True),
        transient=True,
        redirect_stdout=False,
    )
    with bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
