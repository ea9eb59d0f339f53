"""The log: to standard error, as text for people or as JSON for collectors.

Importable without Spark.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO


def logging_setup(*, verbose: bool, log_format: Literal["text", "json"]) -> None:
    """Send the log to standard error: recpipe's from INFO (DEBUG if `verbose`), others' warnings.

    May be called again; the last call holds. Warnings of Python become log lines too.
    """
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(old)
    handler = _StderrHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(short=not verbose and sys.stderr.isatty()))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("recpipe").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(capture=True)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at the time, which a live display puts itself before."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None: ...


class TextFormatter(logging.Formatter):
    """`2026-01-31T07:05:09Z INFO recpipe.stages: message`; short: the message with its level."""

    def __init__(self, *, short: bool) -> None:
        super().__init__()
        self._short = short

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        if self._short:
            quiet = record.levelno <= logging.INFO
            return record.message if quiet else f"{record.levelname.lower()}: {record.message}"
        at = _utc(record, timespec="seconds")
        return f"{at} {record.levelname} {record.name}: {record.message}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC), level, logger, message, what `extra` gave, exception."""

    _OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _utc(record, timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extras = {k: v for k, v in vars(record).items() if k not in self._OWN and k not in line}
        line |= {key: _finite(value) for key, value in extras.items()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _finite(value: object) -> object:
    """NaN and infinities as words: JSON has no numbers for them."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return str(value)
    return value


def _utc(record: logging.LogRecord, *, timespec: str) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")


def logs_are_json() -> bool:
    """Whether collectors read the log, so that no line may be anything but JSON."""
    handlers = logging.getLogger().handlers
    return any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)


def is_interactive(stream: TextIO) -> bool:
    """Whether a person reads `stream` at a terminal that can move its cursor, in text."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not logs_are_json()
