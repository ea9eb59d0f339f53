"""`recpipe show` reads a local root itself: at once, and where there is no Java."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from tests.e2e.commands import environment, recpipe

if TYPE_CHECKING:
    from pathlib import Path


def test_a_person_is_shown_without_java_in_less_than_a_second_and_a_half_of_cpu(
    finished: Path,
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = recpipe(
        "show", "4", "--root", finished, env=environment(JAVA_HOME="none", PATH="/nowhere")
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert ended.code == 0, ended.err
    assert "Film" in ended.out
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1.5


def test_what_cannot_be_shown_ends_with_its_code_and_without_java(
    finished: Path, tmp_path: Path
) -> None:
    nowhere = environment(JAVA_HOME="none", PATH="/nowhere")
    cases: tuple[tuple[int, str, list[str | Path]], ...] = (
        (2, "no user 'nobody'", ["nobody", "--root", finished]),
        (2, "no run 'two'", ["4", "--root", finished, "--run-id", "two"]),
        (2, "nothing is published", ["4", "--root", tmp_path]),
    )
    for code, says, options in cases:
        ended = recpipe("show", *options, env=nowhere)
        assert ended.code == code, ended.err
        assert says in ended.complaint
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "CURRENT.json").write_text("{")
    ended = recpipe("show", "4", "--root", tmp_path, env=nowhere)
    assert ended.code == 3, ended.err
    assert "CURRENT.json is not JSON" in ended.complaint
