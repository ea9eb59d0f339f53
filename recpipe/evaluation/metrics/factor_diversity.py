"""Diversity within lists, by factors.

The mean over all pairs of items in the first k places of 1 - the cosine of their factors, which are
those of one fitted model for the lists of all models. Items that it does not know are left out; a
user with fewer than two others does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    vectors, lengths = lists.facts.vectors, lists.facts.vector_lengths
    if vectors is None or lengths is None:
        raise ValueError("there are no vectors")
    return lists.diversity_of(vectors, lengths, ks, highest=2)


METRIC = RankingMetric(
    name="factor_diversity",
    label="diversity (factors)",
    definition=(
        "Mean over the pairs of items in the first k places of 1 - cosine of their factors: those"
        " of the first model of publish.prefer that has factors, for the lists of all models."
    ),
    source="Vargas and Castells, Rank and relevance in novelty and diversity metrics, 2011",
    range=(0, 2),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"vectors"}),
    values=_values,
)
