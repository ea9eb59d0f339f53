"""Diversity within lists, by genres.

The mean over all pairs of items in the first k places of 1 - the cosine of their genres as vectors
of 0 and 1. Items without a genre are left out; a user with fewer than two others does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    genres, lengths = lists.facts.genres, lists.facts.genre_lengths
    if genres is None or lengths is None:
        raise ValueError("there are no genres")
    return lists.diversity_of(genres, lengths, ks, highest=1)


METRIC = RankingMetric(
    name="genre_diversity",
    label="diversity (genres)",
    definition="Mean over the pairs of items in the first k places of 1 - cosine of their genres.",
    source="Ziegler et al., Improving recommendation lists through topic diversification, 2005",
    range=(0, 1),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"genres"}),
    values=_values,
)
