"""Bars, for people and where nobody watches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime.bars import bar

if TYPE_CHECKING:
    from recpipe.runtime import bars


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
    unit: bars.Unit, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    with bar("ml-25m.zip", unit=unit, interactive=True, stream=stream) as tell:
        tell(0, None)
        tell(10_000_000, 10_000_000)
    assert "ml-25m.zip" in stream.getvalue()
    assert said in stream.getvalue().replace("\x1b[32m", "").replace("\x1b[0m", "")
