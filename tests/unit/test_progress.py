"""Stages where nobody watches."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime import progress
from recpipe.runtime.logs import logging_setup
from recpipe.runtime.progress import Progress
from tests.log_lines import json_lines, logging_as_it_was

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    with logging_as_it_was():
        yield


def test_away_from_a_terminal_a_stage_is_two_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stream = io.StringIO()
    with Progress(stream=stream).stage("ingest", "ml-25m.zip"):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "ingest ml-25m.zip: started",
        "ingest ml-25m.zip: done, 0.0 s",
    ]
    assert stream.getvalue() == ""


def test_the_end_of_a_stage_has_its_name_and_seconds_as_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging_setup(verbose=False, log_format="json")
    with Progress().stage("ingest", "x.csv"):
        pass
    _, end = json_lines(capsys.readouterr().err)
    assert (end["stage"], end["detail"], end["logger"]) == (
        "ingest",
        "x.csv",
        "recpipe.runtime.progress",
    )
    assert isinstance(end["seconds"], float)


def test_timings_add_up_over_stages_of_one_name() -> None:
    shown = Progress(interactive=False)
    for _ in range(2):
        with shown.stage("fit") as timer:
            pass
    assert set(shown.timings) == {"fit"}
    assert shown.timings["fit"] > timer.seconds >= 0


def test_a_timer_stands_still_once_its_stage_has_ended() -> None:
    with Progress(interactive=False).stage("fit") as timer:
        running = timer.seconds
    assert timer.seconds == timer.seconds >= running


def test_a_stage_that_fails_is_said_and_timed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress(interactive=False)
    with pytest.raises(ValueError, match="boom"), shown.stage("train"):
        raise ValueError("boom")
    assert any(re.fullmatch(r"train: failed, \d\.\d s", said) for said in caplog.messages)
    assert "train" in shown.timings


def test_an_interrupted_stage_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt), Progress(interactive=False).stage("train"):
        raise KeyboardInterrupt
    assert any(re.fullmatch(r"train: interrupted, \d\.\d s", said) for said in caplog.messages)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"), (12.34, "12.3 s"), (59.4, "59.4 s"), (59.97, "1 min 00 s"),
        (125, "2 min 05 s"), (3599.6, "1 h 00 min"), (3720, "1 h 02 min"),
    ],
)  # fmt: skip
def test_durations_read_well(seconds: float, said: str) -> None:
    assert progress._duration(seconds) == said  # noqa: SLF001


def test_spark_is_not_imported() -> None:
    code = "import sys, recpipe.runtime.progress; sys.exit('pyspark' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
