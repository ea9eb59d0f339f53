"""What a person sees while a command works: a live line at a terminal, plain log lines elsewhere.

Everything here goes to standard error; standard output is for results. Importable without Spark.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from recpipe.runtime.logs import is_interactive
from recpipe.runtime.signals import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_STOP_SECONDS = 1.0
"""How long the end of a stage waits for an answer of Spark that is under way."""


class Timer:
    """The seconds of a stage: so far while it runs, in all once it has ended."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start if self._seconds is None else self._seconds

    def stop(self) -> None:
        self._seconds = self.seconds


class Progress:
    """Shows the stages of a command and keeps their seconds.

    At a terminal each running stage is a line that moves, with its elapsed time and the tasks of
    the Spark stages that are active, and becomes one quiet line when it ends. Elsewhere its start
    and its end are log lines. Stages may be nested, and entered from several threads at once.

    Args:
        interactive: whether there is a person at a terminal; None: whether `stream` is one and
            logs are text.
        stream: where lines go; None: standard error.

    Attributes:
        timings: seconds of every stage that has ended, by its name; a stage that was entered
            more than once has the sum.
    """

    def __init__(self, *, interactive: bool | None = None, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._interactive = is_interactive(self._stream) if interactive is None else interactive
        self._spark: SparkSession | None = None
        self._running: list[_Line] = []
        self._display: _Display | None = None
        self._changes = threading.Lock()
        self.timings: dict[str, float] = {}

    def attach(self, spark: SparkSession) -> None:
        """Show the tasks of this session from the next stage on."""
        self._spark = spark

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[Timer]:
        """Show a stage while the `with` lasts; the timer that it gives keeps its seconds."""
        line = _Line(name, detail)
        ending = "failed"
        try:
            self._enter(line)
            yield line.timer
            ending = "done"
        except (KeyboardInterrupt, Stopped):
            ending = "interrupted"
            raise
        finally:
            line.timer.stop()
            self._leave(line, ending)

    @contextmanager
    def waiting(self, title: str) -> Iterator[None]:
        """Show at a terminal that something is awaited, and leave no line; elsewhere nothing.

        What is written to standard error meanwhile may go elsewhere, as while Spark starts.
        """
        if not self._interactive:
            yield
            return
        with os.fdopen(os.dup(self._stream.fileno()), "w", encoding="utf-8") as stream:
            display = _Display(stream, [_Line(title, "")], None)
            try:
                yield
            finally:
                display.close()

    def _enter(self, line: _Line) -> None:
        with self._changes:
            self._running.append(line)
            if self._interactive and self._display is None:
                self._display = _Display(self._stream, self._running, self._spark)
        if not self._interactive:
            extra = {"stage": line.name, "detail": line.detail}
            logger.info("%s: started", line.title, extra=extra)

    def _leave(self, line: _Line, ending: str) -> None:
        seconds = line.timer.seconds
        with self._changes:
            self.timings[line.name] = self.timings.get(line.name, 0.0) + seconds
            depth = self._running.index(line)
            self._running.remove(line)
            if self._display is not None:
                self._display.print(_ended(line, ending, depth))
                if not self._running:
                    self._display.close()
                    self._display = None
                return
        extra = {"stage": line.name, "detail": line.detail, "seconds": round(seconds, 3)}
        logger.info("%s: %s, %s", line.title, ending, _duration(seconds), extra=extra)


class _Line:
    """A running stage."""

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        self.detail = detail
        self.timer = Timer()

    @property
    def title(self) -> str:
        return f"{self.name} {self.detail}".rstrip()


class _Display:
    """The live lines of the running stages, from the first that starts to the last that ends.

    Spark is asked by a thread of its own, so that a slow answer delays neither the clock nor the
    end of a stage.
    """

    def __init__(self, stream: TextIO, running: list[_Line], spark: SparkSession | None) -> None:
        # What a terminal is was decided by the caller: rich must not decide again.
        self._console = Console(file=stream, force_terminal=True)
        self._running = running
        self._spark = spark
        self._tasks = ""
        self._spinner = Spinner("line" if self._console.options.ascii_only else "dots")
        # While the display lives, log lines and warnings to sys.stderr are printed above it.
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="recpipe-progress", daemon=True)
        self._live.start()
        self._thread.start()

    def print(self, text: Text) -> None:
        # Else the line that has ended would be drawn once more, below this one.
        self._live.refresh()
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        self._stop.set()
        self._live.stop()
        self._thread.join(_STOP_SECONDS)

    def _render(self) -> Group:
        lines = list(self._running)
        # Before each line, for that is how one that runs differs from one that has ended.
        turning = self._spinner.render(time.monotonic())
        assert isinstance(turning, Text)  # noqa: S101 - a spinner without a text of its own
        texts: list[Text] = []
        for depth, line in enumerate(lines):
            text = Text.assemble(turning, " ", _named(line, depth))
            if line is lines[-1] and self._tasks:
                text.append(f"  {self._tasks}", style="cyan")
            text.append(f"  {_duration(line.timer.seconds)}", style="dim")
            text.no_wrap, text.overflow = True, "ellipsis"
            texts.append(text)
        return Group(*texts)

    def _poll(self) -> None:
        while self._spark is not None and not self._stop.wait(_POLL_SECONDS):
            try:
                self._tasks = _tasks(self._spark)
            except Exception:  # noqa: BLE001 - a session that is going away must not end a stage
                self._tasks = ""


def _tasks(spark: SparkSession) -> str:
    """Tasks done and in all of the Spark stages that are active; empty where none is."""
    tracker = spark.sparkContext.statusTracker()
    infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    done = sum(info.numCompletedTasks for info in infos if info is not None)
    total = sum(info.numTasks for info in infos if info is not None)
    return f"{done:,}/{total:,} tasks" if total else ""


def _named(line: _Line, depth: int) -> Text:
    text = Text("  " * depth).append(line.name, style="bold")
    return text.append(f" {line.detail}" if line.detail else "")


def _ended(line: _Line, ending: str, depth: int) -> Text:
    text = _named(line, depth)
    if ending != "done":
        text.append(f"  {ending} after", style="red")
    return text.append(f"  {_duration(line.timer.seconds)}", style="dim")


def _duration(seconds: float) -> str:
    """`12.3 s`, and from a minute on `2 min 05 s` or `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
