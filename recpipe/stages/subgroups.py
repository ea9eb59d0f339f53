"""What `evaluate` asks of kinds of users and items, and subgroups.json, which has the answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recpipe import evaluation
from recpipe.evaluation.metrics import metric_at
from recpipe.spark.held import cached
from recpipe.split.parts import PARTS
from recpipe.stages.context import Context, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from recpipe import split as splits
    from recpipe.evaluation import SubgroupRow, Subgroups
    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.storage import Run

_USUAL_K = 10


@contextmanager
def subgroups(
    context: Context,
    run: Run,
    parts: splits.SplitParts,
    facts: ItemFacts,
    tell: Callable[[Iterable[SubgroupRow]], object],
) -> Iterator[Subgroups | None]:
    """What an evaluation of a fold needs to tell groups apart, while the `with` statement lasts.

    Of k-fold one fold shows where models are weak: None for others than the first.

    Args:
        context: of the stage.
        run: that is evaluated.
        parts: of the fold.
        facts: what is known of items.
        tell: called with the rows of each model.
    """
    if parts.fold:
        yield None
        return
    settings = context.settings.evaluate
    usual = _USUAL_K if _USUAL_K in settings.ks else settings.ks[0]
    groups = evaluation.groups_of_items(facts, k=metric_at(settings.metric)[1] or usual)
    instant = parts.asked_at("test") if times(run) == "some" else None
    users = cached(evaluation.groups_of_users(parts.stored["train"].frame, asked_at=instant))
    try:
        yield evaluation.Subgroups(users, groups, tell)
    finally:
        users.unpersist()


def subgroup_document(rows: Iterable[SubgroupRow]) -> dict[str, Any]:
    """The whole of subgroups.json, whatever the order in which the rows were told."""

    def place(row: SubgroupRow) -> tuple[Any, ...]:
        return PARTS.index(row.split), row.by, row.group, row.metric, row.model

    return {"rows": [row.as_dict() for row in sorted(rows, key=place)]}
