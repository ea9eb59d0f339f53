"""Stages and logs where nobody watches, and the shape of log lines."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime import progress
from recpipe.runtime.progress import JsonFormatter, Progress, bar, is_interactive, logging_setup

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("recpipe")
    handlers, levels = list(root.handlers), (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    logging.captureWarnings(capture=False)


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# -- stages -------------------------------------------------------------------------------------


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
    assert "train: failed, 0.0 s" in caplog.messages
    assert "train" in shown.timings


def test_an_interrupted_stage_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt), Progress(interactive=False).stage("train"):
        raise KeyboardInterrupt
    assert "train: interrupted, 0.0 s" in caplog.messages


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


def test_what_is_no_terminal_is_not_interactive() -> None:
    assert not is_interactive(io.StringIO())


# -- bars ---------------------------------------------------------------------------------------


def test_a_bar_is_silent_where_nobody_watches() -> None:
    stream = io.StringIO()
    with bar("ml-25m.zip", unit="bytes", stream=stream) as tell:
        tell(1, 10)
        tell(10, 10)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("unit", "said"), [("bytes", "10.0/10.0 MB"), ("rows", "10000000/10000000")]
)
def test_a_bar_shows_what_is_done_of_the_whole(
    unit: progress.Unit, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    with bar("ml-25m.zip", unit=unit, interactive=True, stream=stream) as tell:
        tell(0, None)
        tell(10_000_000, 10_000_000)
    assert "ml-25m.zip" in stream.getvalue()
    assert said in stream.getvalue().replace("\x1b[32m", "").replace("\x1b[0m", "")


# -- logging ------------------------------------------------------------------------------------


def test_text_lines_have_utc_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup(verbose=False, log_format="text")
    logging.getLogger("recpipe.stages").info("12 rows")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO recpipe\.stages: 12 rows\n", line)


def test_debug_lines_are_for_verbose_and_others_only_warn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, others = logging.getLogger("recpipe.x"), logging.getLogger("py4j")
    for verbose in (False, True):
        logging_setup(verbose=verbose, log_format="json")
        ours.debug("ours")
        others.info("others")
        others.warning("careful")
    said = [line["message"] for line in json_lines(capsys.readouterr().err)]
    assert said == ["careful", "ours", "careful"]


def test_set_up_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logging_setup(verbose=False, log_format="text")
    logging.getLogger("recpipe").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_json_lines_have_utc_milliseconds_extras_and_the_exception(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging_setup(verbose=False, log_format="json")
    try:
        int("boom")
    except ValueError:
        logging.getLogger("recpipe").exception("no\nluck", extra={"rows": 3, "ts": "mine"})
    (line,) = json_lines(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["ts"]))
    assert (line["level"], line["message"], line["rows"]) == ("ERROR", "no\nluck", 3)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_json_lines_stay_json_whatever_an_extra_holds() -> None:
    record = logging.makeLogRecord(
        {
            "msg": "m",
            "bad": float("nan"),
            "deep": {"x": float("inf")},
            "path": io.StringIO,
            "æ": "ø",
        }
    )

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = json.loads(JsonFormatter().format(record), parse_constant=refuse)
    assert line["bad"] == "nan"
    assert line["æ"] == "ø"


def test_warnings_of_python_become_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup(verbose=False, log_format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old way", FutureWarning, stacklevel=1)
    (line,) = json_lines(capsys.readouterr().err)
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert "old way" in str(line["message"])


def test_json_logs_switch_the_live_display_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert is_interactive(Tty())
    logging_setup(verbose=False, log_format="json")
    assert not is_interactive(Tty())


def test_a_dumb_terminal_gets_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    assert not is_interactive(Tty())
