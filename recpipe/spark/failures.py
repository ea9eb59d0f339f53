"""What an error of Spark's says, in one line for people."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recpipe.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 500
_OF_WORKER = re.compile(
    r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(\S.*)$", re.MULTILINE
)
"""The last line of a traceback: the error itself."""
_OF_TASKS = re.compile(r"^(?:[\w.$]+: )?Job aborted due to stage failure: .*?: (?=[\w$]+\.)")
"""What Spark says of the tasks that failed, before it says why."""
_OTHER_PYTHON = ("ModuleNotFoundError", "PYTHON_VERSION_MISMATCH", "Cannot run program")

_PYTHON_HINT = (
    "the workers run another Python than this process, or lack what it has: set PYSPARK_PYTHON on"
    " one machine, and send the pack of `recpipe pack` to a cluster (docs/spark-programs.md)"
)
_LOG_HINT = "run again with --verbose for the whole of it"


def summary(error: BaseException) -> str:
    """The line that says most: where a Python worker failed, its own error.

    Args:
        error: of Spark's, or of the connection to it.
    """
    text = _words(error)
    if found := _OF_WORKER.findall(text):
        # Of a chain of errors the last is the one that left.
        kind, colon, said = str(found[-1]).partition(": ")
        return f"a Python worker failed: {kind.rpartition('.')[2]}{colon}{said}"[:_LONGEST]
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    first = lines[0] if lines else type(error).__name__
    return _OF_TASKS.sub("", first)[:_LONGEST]


def hint(error: BaseException) -> str:
    """What to do about it: to look at the log, or to give the workers another Python."""
    text = _words(error)
    return _PYTHON_HINT if any(mark in text for mark in _OTHER_PYTHON) else _LOG_HINT


@contextmanager
def as_fit_errors(model: str) -> Iterator[None]:
    """What Spark throws in the body becomes a FitError of one line.

    Args:
        model: that is fitted.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as error:
        raise FitError(f"{model}: {summary(error)}", hint=hint(error)) from error


def _words(error: BaseException) -> str:
    from py4j.protocol import Py4JJavaError

    # The text of the others is what Spark said; that of this one only where it was said.
    return str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)


__all__ = ["as_fit_errors", "hint", "summary"]
