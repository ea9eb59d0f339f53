"""What scripts ask of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.runtime import ask

if TYPE_CHECKING:
    import pytest


class TestForScripts:
    def test_an_answer_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SPARK_HOME", "/opt/spark")
        assert ask.main("--spark") == 0
        assert capsys.readouterr().out == "/opt/spark\n"

    def test_what_is_missing_is_one_line_and_the_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("recpipe.runtime.java._java_homes", lambda: iter(()))
        assert ask.main("--java") == 5
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("recpipe: no Java 17 or later")
        assert err.count("\n") == 1
