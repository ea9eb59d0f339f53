"""Lists for people who were not there when a model was fitted, from a file of their ratings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recpipe import recommend as recommending
from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import UsageError
from recpipe.ingest.people import read_people
from recpipe.models.data import TrainingData
from recpipe.publish.pointer import versions
from recpipe.ranking.rules import ListRules
from recpipe.stages.context import Context, scale, table
from recpipe.stages.fit import latest_fit
from recpipe.stages.recommend import FILLER
from recpipe.stages.rules import written_rules
from recpipe.stages.start import beside
from recpipe.storage import Folder
from recpipe.storage.paths import absolute

if TYPE_CHECKING:
    from recpipe.ingest.settings import Ingest
    from recpipe.models.base import FittedModel
    from recpipe.settings import Settings
    from recpipe.storage import Run

FOLDER = "recommendations-for"
"""The folder of a run that has such lists."""


@dataclass(frozen=True)
class ListsFor:
    """What was made.

    Args:
        uri: of the table.
        run_id: whose model it was.
        model: its name.
        n: places of a list.
        people: who got one.
        rows: places of all lists.
        ratings: how many were read and kept.
        unknown_ratings: how many of these are of items that the run does not know.
        unknown_people: how many people have rated nothing else.
    """

    uri: str
    run_id: str
    model: str
    n: int
    people: int
    rows: int
    ratings: int
    unknown_ratings: int
    unknown_people: int


def recommend_for(
    context: Context, run: Run, source: str, *, n: int | None = None, out: str | None = None
) -> ListsFor:
    """Lists of n items for the people of a source, by what a run has fitted; see docs/contracts.md.

    Reads the items and the fitted models of the run, and none of its ratings.

    Args:
        context: of `settings_for`; its `run_date` is the day that the lists are for.
        run: that has come as far as `evaluate`; nothing of what it has is changed.
        source: a folder, zip or file of ratings on any Hadoop file system.
        n: places of a list; None: `recommend.n`.
        out: the folder to be written; None: one of the run, named after the source.

    Raises:
        UsageError: if the run has no model yet, the model has no lists for new people, or `out`
            cannot be written.
        InputError: if the source is not usable.
    """
    name, model, filler = _models(context, run)
    n = n or context.settings.recommend.n
    rules = written_rules(run)
    place, called = _place(context, run, source, out)
    with (
        context.progress.stage("recommend", f"{name}, the people of {source}"),
        place.scratch("people") as scratch,
    ):
        people = read_people(
            source,
            items=table(context, run, "items"),
            scratch=scratch / "people",
            settings=context.settings.ingest,
            run_date=context.run_date,
        )
        data = TrainingData(
            ratings=people.ratings,
            scale=scale(run),
            as_of=context.end,
            half_life=context.settings.train.half_life,
        )
        lists = recommending.recommend_all(
            model.for_people(data),
            None if filler is None else partial(filler.for_people, data),
            ratings=people.ratings,
            n=n,
            scratch=scratch,
            users=people.users.select("user"),
            max_users=people.report.users.total,
            unrated=people.unrated,
            # What is for nobody is not for them either; rules of single users are of other people.
            rules=None if rules is None else ListRules(rules.for_lists().never),
            instant=context.end,
        )
        output = recommending.to_output(
            lists,
            users=people.users,
            items=table(context, run, "items"),
            run_date=context.run_date,
        )
        rows = RECOMMENDATIONS.count(scratch.write_table("lists", output, contract=RECOMMENDATIONS))
        unknown_ratings, unknown_people = people.unknown()
        place.take_table(called, scratch.stored("lists"))
    return ListsFor(
        uri=place.path(called),
        run_id=run.id,
        model=name,
        n=n,
        people=people.report.users.total,
        rows=rows,
        ratings=people.report.ratings.kept,
        unknown_ratings=unknown_ratings,
        unknown_people=unknown_people,
    )


def run_for(context: Context, run_id: str | None) -> Run:
    """The run of that id; by default the one that is published, or else the newest.

    Raises:
        UsageError: if there is none.
    """
    if run_id is None and (found := versions(context.root)):
        return context.runs.get(found[0].run_id)
    return context.runs.newest(run_id)


def settings_for(context: Context, run: Run, own: Settings, given: Ingest) -> Context:
    """The context with the settings of a run, by which values mean what they mean in the run.

    Args:
        context: of the command.
        run: whose models are asked.
        own: the settings of the run, and on top of them what is given.
        given: how the source is read: nothing of it comes from the run, whose source may have had
            other columns.

    Raises:
        UsageError: if settings have changed that made what the run has.
    """
    kept = type(own).model_validate(run.manifest["settings"]).ingest
    beside(replace(context, settings=own.model_copy(update={"ingest": kept})), run, "recommend")
    told = run.manifest["input"]
    ingest = given.model_copy(
        update={
            "feedback": told["feedback"],
            "rating_scale": scale(run),
            "repeated": told.get("repeated", "auto"),
            "unrated_values": (*kept.unrated_values, *given.unrated_values),
        }
    )
    return replace(context, settings=own.model_copy(update={"ingest": ingest}))


def _models(context: Context, run: Run) -> tuple[str, FittedModel, FittedModel | None]:
    """Name and model of the lists, and what fills short ones, where the run has fitted it."""
    manifest = run.manifest
    if "chosen" not in manifest:
        raise UsageError(f"run {run.id} has not been evaluated", hint="run `recpipe evaluate`")
    name = manifest.get("recommended") or manifest["chosen"]["model"]
    filled = FILLER in {**manifest["models"], **manifest.get("final", {})}
    filler = latest_fit(context, run, FILLER) if filled else None
    return name, latest_fit(context, run, name), filler


def _place(context: Context, run: Run, source: str, out: str | None) -> tuple[Folder, str]:
    """The folder that the table is written to, and its name there.

    It is Parquet whatever the format of the root: whoever fetches it need not know the root.
    """
    spark = context.root.spark
    if out is None:
        stem = PurePosixPath(absolute(source)).name.partition(".")[0]
        called = re.sub(r"[^A-Za-z0-9=-]+", "_", stem).strip("_") or "people"
        return Folder(spark, run.folder.path(FOLDER)), called
    parent, _, called = absolute(out).rstrip("/").rpartition("/")
    place = Folder(spark, parent)
    if place.exists(called) and not place.has_table(called):
        raise UsageError(f"{place.path(called)} is there, and is no table", hint="name another")
    return place, called


__all__ = ["FOLDER", "ListsFor", "recommend_for", "run_for", "settings_for"]
