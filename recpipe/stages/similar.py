"""The items most similar to one item, or the users to one user, by a fitted model of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pyspark.sql import functions as F

from recpipe.errors import UsageError
from recpipe.ranking.similar import Wanted
from recpipe.stages.context import Context, table
from recpipe.stages.fit import fitted_models, latest_fit

if TYPE_CHECKING:
    from recpipe.ranking.similar import Measure
    from recpipe.storage import Run

Kind = Literal["item", "user"]


class Alike(NamedTuple):
    """One place of a list of what is similar.

    Args:
        rank: from 1.
        id: of the source.
        title: of an item; None where the source has none, and for users.
        similarity: by the measure.
    """

    rank: int
    id: str
    title: str | None
    similarity: float


def similar(
    context: Context,
    run: Run,
    id: str,
    *,
    kind: Kind,
    k: int,
    measure: Measure,
    model: str | None = None,
) -> tuple[str, list[Alike]]:
    """The name of the model, and what is most similar, the most similar first.

    Args:
        context: of the command.
        run: with fitted models.
        id: of the source.
        kind: whose id it is.
        k: how many are wanted.
        measure: of similarity, for models with vectors.
        model: that is asked; None: that of the lists, or else the chosen one, or the first.

    Raises:
        UsageError: if the run has no such model, item or user, or the model says nothing of how
            alike they are.
    """
    name = _asked(run, model)
    ids = table(context, run, f"{kind}s")
    found = ids.where(F.col(f"{kind}_id").cast("string") == id).select(kind).collect()
    if not found:
        raise UsageError(f"run {run.id} knows no {kind} {id!r}", hint="ids are those of the source")
    fitted = latest_fit(context, run, name)
    ask = fitted.similar_items if kind == "item" else fitted.similar_users
    with context.root.scratch("similar") as scratch:
        # The list is that of `user`, even of an item, and its places are `item`, even of a user.
        asked = context.root.spark.createDataFrame([(found[0][kind],)], "user int")
        lists = ask(Wanted(k, measure, asked), scratch=scratch)
        if lists is None:
            raise UsageError(
                f"{name} says nothing of how alike {kind}s are", hint="name another by --model"
            )
        rows = lists.frame.select("item", "rank", "score")
        named = rows.join(ids.withColumnRenamed(kind, "item"), "item")
        if kind == "item" and "movies" in run.manifest["tables"]:
            titles = table(context, run, "movies").select("item_id", "title")
            named = named.join(titles, "item_id", "left")
        else:
            named = named.withColumn("title", F.lit(None).cast("string"))
        places = named.orderBy("rank").collect()
    if not places:
        raise UsageError(f"{name} knows no {kind} {id!r}", hint="it was in no rating of its fit")
    return name, [
        Alike(row["rank"], str(row[f"{kind}_id"]), row["title"], row["score"]) for row in places
    ]


def _asked(run: Run, model: str | None) -> str:
    """The name of the model that is asked."""
    manifest, fitted = run.manifest, fitted_models(run)
    chosen = (manifest.get("chosen") or {}).get("model")
    name: str = model or manifest.get("recommended") or chosen or fitted[0]
    if name not in {*fitted, *(manifest.get("final") or {})}:
        raise UsageError(f"run {run.id} has no model {name!r}", hint=f"fitted: {', '.join(fitted)}")
    return name


__all__ = ["Alike", "Kind", "similar"]
