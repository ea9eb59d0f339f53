"""The shape of log lines, and where there is a person to read them."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime.logs import JsonFormatter, is_interactive, logging_setup
from tests.log_lines import json_lines, logging_as_it_was

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    with logging_as_it_was():
        yield


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


def test_what_is_no_terminal_is_not_interactive() -> None:
    assert not is_interactive(io.StringIO())
