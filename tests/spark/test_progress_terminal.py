"""The display at a real terminal, with the tasks of a real session."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import pytest
from pyspark.sql import functions as F

from recpipe.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A pseudo-terminal; `text` is all that a person would have been sent."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._master, 65536):
                self._chunks.append(chunk)
        except OSError:  # Linux's way to say that the last writer has gone
            pass

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode(errors="replace")

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)

    @property
    def screen(self) -> list[str]:
        """The lines that stand there in the end, without blank ones."""
        lines, row = [""], 0
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.text):
            if piece == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif piece == "\x1b[2K":
                lines[row] = ""
            elif up := re.fullmatch(r"\x1b\[(\d+)A", piece):
                row -= int(up[1])
            elif not piece.startswith(("\x1b", "\r")):
                lines[row] += piece
        return [line.rstrip() for line in lines if line.strip()]

    def close(self) -> None:
        self.stream.close()
        self._reader.join(10)
        os.close(self._master)


@contextmanager
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    try:
        yield opened
    finally:
        opened.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


@pytest.fixture(autouse=True)
def _capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def test_a_running_stage_shows_the_tasks_of_spark_and_ends_as_one_quiet_line(
    spark: SparkSession,
) -> None:
    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        progress.attach(spark)
        with progress.stage("ingest", "ml-25m.zip"):
            # Six tasks on two cores that sleep: long enough to be seen.
            asleep = F.expr("reflect('java.lang.Thread', 'sleep', 700L)")
            slow = spark.range(0, 6, 1, 6).select(asleep)
            slow.write.format("noop").mode("overwrite").save()
    assert re.search(r"ingest ml-25m\.zip  [0-6]/\d+ tasks  \d+\.\d s", screen.plain)
    (left,) = screen.screen
    assert re.fullmatch(r"ingest ml-25m\.zip  \d+\.\d s", left)
    assert screen.text.count(HIDE) == screen.text.count(SHOW) == 1
    assert progress.timings["ingest"] > 1


def test_nested_stages_share_the_display_and_each_leaves_a_line() -> None:
    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        with progress.stage("train"):
            with progress.stage("fit", "als_explicit"):
                pass
            with progress.stage("fit", "sgd"):
                pass
    assert [re.sub(r"\d\.\d s$", "", line) for line in screen.screen] == [
        "  fit als_explicit  ", "  fit sgd  ", "train  ",
    ]  # fmt: skip
    assert screen.text.count(SHOW) == 1


def test_every_line_that_still_runs_moves_and_none_that_has_ended_does() -> None:
    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        with progress.stage("train"):
            with progress.stage("fit", "biases"):
                pass
            with progress.stage("fit", "sgd"):
                time.sleep(0.6)
            during = [line for line in screen.plain.split("\n") if "train" in line]
    frames = {line.strip("\r").split(" ")[0] for line in during}
    assert len(frames) > 1, "the spinner of the outer stage turns"
    assert all("\u2800" < frame <= "\u28ff" for frame in frames)
    assert not [line for line in screen.screen if "\u2800" < line[0] <= "\u28ff"]


def test_what_is_awaited_is_shown_and_leaves_no_line() -> None:
    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        with progress.waiting("starting Spark"):
            assert wait_for(lambda: "starting Spark" in screen.plain)
        with progress.stage("ingest"):
            pass
    (left,) = screen.screen
    assert left.startswith("ingest  ")
    assert screen.text.count(HIDE) == screen.text.count(SHOW) == 2
    assert progress.timings.keys() == {"ingest"}


def test_a_failed_stage_says_so_and_gives_the_cursor_back() -> None:
    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        with pytest.raises(ValueError, match="boom"), progress.stage("train"):
            raise ValueError("boom")
    (left,) = screen.screen
    assert re.fullmatch(r"train  failed after  0\.\d s", left)
    assert screen.text.rindex(SHOW) > screen.text.rindex(HIDE)


def test_ctrl_c_ends_the_display_and_leaves_no_thread() -> None:
    """A process of its own at a terminal of its own is interrupted as a person would."""
    code = (
        "import sys, time, threading\n"
        "from recpipe.runtime.progress import Progress\n"
        "try:\n"
        "    with Progress().stage('train', 'sgd'):\n"
        "        time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    time.sleep(0.5)\n"
        "    alive = [t.name for t in threading.enumerate()]\n"
        "    sys.exit(130 if alive == ['MainThread'] else 1)\n"
    )
    with terminal() as screen:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=screen.stream)
        assert wait_for(lambda: "train sgd" in screen.plain)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    (left,) = screen.screen
    assert left.startswith("train sgd  interrupted after")
    assert screen.text.rindex(SHOW) > screen.text.rindex(HIDE)
    assert "Traceback" not in screen.text


def test_log_lines_appear_above_the_live_line() -> None:
    code = (
        "import logging, time\n"
        "from recpipe.runtime.logs import logging_setup\n"
        "from recpipe.runtime.progress import Progress\n"
        "logging_setup(verbose=False, log_format='text')\n"
        "with Progress().stage('ingest'):\n"
        "    time.sleep(0.3)\n"
        "    logging.getLogger('recpipe.x').info('format: ml-latest [csv]')\n"
        "    logging.getLogger('recpipe.x').warning('odd')\n"
        "    time.sleep(0.3)\n"
    )
    with terminal() as screen:
        subprocess.run([sys.executable, "-c", code], stderr=screen.stream, check=True, timeout=60)
    first, second, last = screen.screen
    assert (first, second) == ("format: ml-latest [csv]", "warning: odd")
    assert re.fullmatch(r"ingest  0\.\d s", last)


def test_a_session_that_has_gone_does_not_end_a_stage() -> None:
    class Gone:
        @property
        def sparkContext(self) -> None:  # noqa: N802 - Spark's own name
            raise ConnectionError("the JVM is gone")

    with terminal() as screen:
        progress = Progress(stream=screen.stream)
        progress.attach(Gone())  # type: ignore[arg-type]
        with progress.stage("train"):
            time.sleep(0.7)
    (left,) = screen.screen
    assert re.fullmatch(r"train  [01]\.\d s", left)
