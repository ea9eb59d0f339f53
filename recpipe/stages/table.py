"""The table of stages, in their order. Commands, jobs and the rules of a run derive from it.

To add a stage, write `recpipe/stages/<name>.py` with a function of that name, and add a line here.
Nothing here imports Spark, so that `recpipe --help` need not.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Subject = Literal["source", "new run", "unfinished run", "any run"]
"""What a stage works on: raw files, a run that starts with it, a run that goes on, or a run that
may be finished as well."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: of its command, its job, its module and the function in it.
        summary: one sentence for `--help`.
        subject: what it works on.
        reads: the settings that decide its output, as `section` or `section.key`, unless those of
            an earlier stage have them. Once it has run, later stages of the run refuse other values
            of them.
        fits_models: whether it is the first to fit models: it then also reads the sections that
            the specs of the models name (`models.registry`).
        writes: the sections of the run's manifest that it is the first to write. They are void as
            soon as it, or a stage before it, runs again.
        files: what rests on it and on no later stage in the folder of the run, files before
            folders, whoever writes it. It is removed together with what `writes` names.
    """

    name: str
    summary: str
    subject: Subject = "unfinished run"
    reads: tuple[str, ...] = ()
    fits_models: bool = False
    writes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def run(self) -> Callable[..., Any]:
        """The stage itself, imported now: called with a `Context` and its subject.

        The subject is a path or URI for `source`, or one for each part, else a `Run`. A text that
        it returns is for the person who asked.
        """
        stage: Callable[..., Any] = getattr(import_module(f"recpipe.stages.{self.name}"), self.name)
        return stage


STAGES = (
    Stage(
        "ingest",
        "Read raw files, check them and write the tables.",
        subject="source",
        reads=("ingest",),
    ),
    Stage(
        "split",
        "Start a run: split ratings into train, validation and test.",
        subject="new run",
        reads=("seed", "filter", "split"),
        writes=("filter", "split"),
        files=("data.json", "split", "ratings"),
    ),
    Stage(
        "train",
        "Fit the models of train.models on the train part.",
        reads=("train",),
        fits_models=True,
        writes=("models", "fallbacks", "failed"),
        files=("models",),
    ),
    Stage(
        "evaluate",
        "Evaluate the fitted models and choose one of them.",
        reads=("evaluate", "publish.model", "publish.prefer"),
        writes=("metrics", "chosen"),
        files=("metrics.json", "subgroups.json", "simulation", "user_metrics", "evaluation"),
    ),
    Stage(
        "recommend",
        "Fit the chosen model on all ratings and make the list of every user.",
        reads=("recommend", "rules"),
        writes=("rules", "final", "explanations", "similar_items", "recommended"),
        files=(
            "recommendations",
            "recommendations-for",
            "explanations",
            "similar_items",
            "rules",
            "final",
        ),
    ),
    Stage(
        "publish",
        "Check the lists, export them and point readers to them.",
        reads=("publish",),
        writes=("gates", "output"),
    ),
    Stage(
        "report",
        "Write the page about a run, finished or not.",
        subject="any run",
        files=("report.html",),
    ),
)
"""Every stage, in order."""


def stages_before(name: str) -> tuple[Stage, ...]:
    """The stages that come before the one of that name."""
    return STAGES[: _place(name)]


def stages_from(name: str) -> tuple[Stage, ...]:
    """The stage of that name and those that come after it."""
    return STAGES[_place(name) :]


def _place(name: str) -> int:
    return [stage.name for stage in STAGES].index(name)
