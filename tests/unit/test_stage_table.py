"""The table of stages, and what derives from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from recpipe.cli import cli
from recpipe.models.registry import SPECS
from recpipe.settings import Settings
from recpipe.stages.start import settings_read_by
from recpipe.stages.table import STAGES, stages_before, stages_from

if TYPE_CHECKING:
    from recpipe.stages.table import Stage

NOT_OF_A_RESULT = {"session", "storage", "tracking"}


def named(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_is_the_function_of_its_name(stage: Stage) -> None:
    assert callable(stage.run)
    assert stage.run.__name__ == stage.name


def test_the_stages_stand_in_the_order_of_what_they_work_on() -> None:
    subjects = [stage.subject for stage in STAGES]
    order = ["source", "new run", "unfinished run", "any run"]
    assert subjects == sorted(subjects, key=order.index)
    assert subjects.count("source") == subjects.count("new run") == 1


def test_every_setting_that_shapes_a_result_is_read_by_a_stage() -> None:
    """What no stage reads could be changed between two stages in silence."""
    read = {name for stage in STAGES for name in settings_read_by(stage)}
    assert set(Settings.model_fields) - NOT_OF_A_RESULT <= read


def test_what_a_stage_reads_is_there() -> None:
    tree: dict[str, Any] = Settings().model_dump()
    for stage in STAGES:
        for name in settings_read_by(stage):
            section, _, key = name.partition(".")
            assert not key or key in tree[section], name
            assert section in tree, name


def test_train_reads_the_sections_of_every_model() -> None:
    of_models = {section for spec in SPECS.values() for section in spec.sections}
    assert set(settings_read_by(named("train"))) == {"train", *of_models}


def test_what_precedes_and_follows_a_stage() -> None:
    assert [stage.name for stage in stages_before("train")] == ["ingest", "split"]
    assert [stage.name for stage in stages_from("publish")] == ["publish", "report"]
    void = [section for stage in stages_from("recommend") for section in stage.writes]
    assert void == [
        "rules",
        "final",
        "explanations",
        "similar_items",
        "recommended",
        "gates",
        "output",
    ]
    gone = [file for stage in stages_from("recommend") for file in stage.files]
    assert gone == [
        "recommendations", "recommendations-for", "explanations", "similar_items", "rules", "final",
        "report.html",
    ]  # fmt: skip


def options_of(command: str) -> set[str]:
    return {name for option in cli.commands[command].params for name in option.opts}


def test_only_what_reads_raw_files_takes_a_source() -> None:
    source = {"--input", "--dataset", "--train", "--validation", "--test"}
    for stage in STAGES:
        assert options_of(stage.name) & source == (source if stage.name == "ingest" else set())
    assert source <= options_of("run")
    ended = CliRunner().invoke(cli, ["train", "--root", "r", "--input", "x.csv"])
    assert ended.exit_code == 2
    assert "No such option" in ended.output
    assert "--input" in ended.output


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("run", "<run-date>T<HHMMSS>Z"),
        ("split", "<run-date>T<HHMMSS>Z"),
        ("train", "the newest unfinished run"),
        ("publish", "the newest unfinished run"),
        ("report", "the newest run, finished or not"),
    ],
)
def test_help_says_which_run_a_stage_works_on(command: str, says: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"]).output
    assert says in " ".join(shown.split())
