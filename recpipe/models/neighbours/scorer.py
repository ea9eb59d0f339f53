"""Scores and predicted ratings from sparse links between users, sources and items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.scorer import DenseScorer
from recpipe.spark.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame
    from scipy.sparse import csr_array

    from recpipe.kernels.neighbour_scores import Links
    from recpipe.models.neighbours.entries import Liking
    from recpipe.models.neighbours.settings import NeighbourSettings
    from recpipe.ranking.scorer import Pairs
    from recpipe.ranking.user_batch import UserBatch

    Ints = NDArray[np.int32]
    Doubles = NDArray[np.float64]

ITEMS = "item int, sources binary, numbers binary, mean double"
"""A row an item, with the ids of its sources (int32). Where sources are items, `numbers` are their
weights as neighbours of the item (float32), and `mean` is what is expected of its ratings. Where
they are users, `numbers` are their ratings of the item, and `mean` is its bias."""

_ITEM_BYTES, _LINK_BYTES = 12, 8


def item_bytes(*, links: int, items: int) -> int:
    """Bytes that a scorer takes for one of `items`, which have so many links together."""
    return _ITEM_BYTES + _LINK_BYTES * -(-links // items)


def links_of(batch: pa.RecordBatch) -> Iterator[tuple[int, Ints, NDArray[np.float32]]]:
    """In a task: of some rows of ITEMS each item, its sources, and the number of each."""
    for item, sources, numbers in zip(*batch.columns, strict=True):
        yield item.as_py(), as_array(sources, np.int32), as_array(numbers, np.float32)


@dataclass(frozen=True)
class Prediction:
    """How ratings are predicted from the nearest sources that say something of an item.

    Args:
        max_rated: how many sources are averaged at most.
        weighted: whether their mean is weighted by similarity.
        centred: whether it is the mean of ratings less their baselines, to which the baseline of
            the predicted rating is added.
        scale: the lowest and the highest rating.
        bias_regularization: baselines are mean + biases (`centres`), with so many ratings equal to
            the mean added for each bias; None: they are means of items or users.
    """

    max_rated: int
    weighted: bool
    centred: bool
    scale: tuple[float, float]
    bias_regularization: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `model.json` has it, where `max_rated` is called `most`."""
        found = asdict(self)
        return {"most": found.pop("max_rated"), **found}

    @classmethod
    def of_dict(cls, saved: Mapping[str, Any]) -> Prediction:
        """What `as_dict` was made of."""
        rest = {key: value for key, value in saved.items() if key not in {"most", "scale"}}
        low, high = saved["scale"]
        return cls(max_rated=saved["most"], scale=(low, high), **rest)


def prediction_of(
    settings: NeighbourSettings, scale: tuple[float, float] | None
) -> Prediction | None:
    """How ratings are predicted; None for implicit feedback, which has no scale."""
    if scale is None:
        return None
    weighted = settings.prediction == "weighted_mean"
    regularization = settings.bias_regularization if settings.centre == "biases" else None
    return Prediction(settings.max_rated, weighted, settings.centred, scale, regularization)


def row_biases(
    offsets: NDArray[np.int64],
    places: NDArray[np.int32 | np.uint16],
    values: NDArray[np.float32],
    expected: Doubles,
    regularization: float,
) -> Doubles:
    """(rows,) the bias of each row, by the formula of `centres`; 0 for a row without ratings.

    Args:
        offsets: (rows + 1,) where the ratings of each row start.
        places: (ratings,) the column of each; a rating whose column is below 0 is passed over.
        values: (ratings,).
        expected: (columns,) mean + b_column.
        regularization: how many ratings that are as expected count beside those of the row.
    """
    known = places >= 0
    left = np.where(known, values - expected[np.maximum(places, 0)], 0.0)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    sums = np.bincount(owner, weights=left, minlength=len(offsets) - 1)
    counts = np.bincount(owner, weights=known, minlength=len(offsets) - 1) + regularization
    # Of no rows NumPy's sums are integers.
    biases: Doubles = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    return biases


@dataclass(frozen=True, eq=False)
class NeighbourScorer(DenseScorer):
    """Scores of a block of items by links.

    The score of item j for a user is the sum of w_s x_s over the sources s of the user that are
    linked to j. With `rated` sources are items: x_s is the user's rating of s, and w_s the weight
    of s as a neighbour of j. Without it sources are users: w_s is the similarity of the user and s,
    and x_s the rating that s has given to j.

    A prediction is m + the mean of (r_s - m_s) over the nearest of these sources, where m is what
    is expected of ratings of item j (without `rated`: of the user) and m_s that of the source;
    where it is not centred, m and m_s are 0. Where there is no source it is m, centred or not,
    plus, where there are biases, that of the user (without `rated`: of item j).

    Memory grows with the links of the block, and with 16 bytes for each source.

    Args:
        items: (I,) of the block, ascending.
        sources: (n,) all sources, ascending.
        links: from each source to the items of the block.
        means: (n,) what is expected of ratings of each source.
        item_means: (I,) what is expected of ratings of each item; without `rated` the bias of each.
        rated: whether users' histories hold ratings and links weights, or the other way round.
        liking: which ratings count in a score, and what for.
        prediction: None for a model that predicts no ratings.
    """

    items: Ints
    sources: Ints
    links: Links
    means: Doubles
    item_means: Doubles
    rated: bool
    liking: Liking
    prediction: Prediction | None

    @classmethod
    def of(cls, block: DataFrame, *, sources: Ints, means: Doubles, **rest: Any) -> NeighbourScorer:
        """The scorer of some rows of ITEMS, brought to the driver."""
        from recpipe.kernels.neighbour_scores import inverted

        table = block.select("item", "sources", "numbers", "mean").toArrow().combine_chunks()
        table = table.sort_by("item")
        none = np.empty(0, np.int32)
        found = [as_array(each, np.int32) for each in table.column("sources")]
        numbers = [as_array(each, np.float32) for each in table.column("numbers")]
        places = ids.positions(sources, np.concatenate([none, *found]))
        number_of_link = np.concatenate([np.empty(0, np.float32), *numbers])
        sizes = np.array([len(each) for each in found], np.int64)
        links = inverted(sizes, places, number_of_link, of=len(sources))
        items, own = (table.column(name).to_numpy() for name in ("item", "mean"))
        return cls(items, sources, links, means, own, **rest)

    def shares(self, history: Ints, values: NDArray[np.float32], columns: Ints) -> Doubles:
        """See `reasons.Explainer`: w_s x_s, where sources are items."""
        rows = ids.positions(self.sources, history)
        counts = (rows >= 0) & self.liking.entries(values)
        links = self._matrix[np.maximum(rows, 0)][:, columns].toarray().T
        shares: Doubles = links * np.where(counts, 1 if self.liking.binary else values, 0)
        return shares

    @cached_property
    def _matrix(self) -> csr_array:
        """(sources, items) the weight of each as a neighbour; in the worker, once."""
        return self.links.matrix(len(self.items))

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        from recpipe.kernels.neighbour_scores import weighted_sums

        lowest = -np.inf if self.liking.lowest is None else self.liking.lowest
        return weighted_sums(
            self._users(batch), self.links, targets=len(self.items), rated=self.rated,
            lowest=lowest, binary=self.liking.binary,
        )  # fmt: skip

    def score(self, batch: UserBatch, pairs: Pairs) -> Doubles:
        """(n,) the predicted rating of each pair; NaN for an item that the model does not know."""
        from recpipe.kernels.neighbour_scores import Mean, means

        how = self.prediction
        assert how is not None  # noqa: S101 - asked only of models that predict
        users, of_items = self._users(batch), np.append(self.item_means, np.nan)[pairs.columns]
        if self.rated:
            base, bias = of_items, np.zeros(len(pairs.rows))
            if how.bias_regularization is not None:
                bias = row_biases(*users, self.means, how.bias_regularization)[pairs.rows]
        else:
            assert batch.vectors is not None  # noqa: S101 - what the model asks for
            base = batch.vectors[pairs.rows, -1].astype(np.float64)
            bias = of_items if how.bias_regularization is not None else np.zeros(len(pairs.rows))
        found = means(
            users,
            self.links,
            pairs.rows,
            pairs.columns,
            self.means if how.centred else np.zeros(len(self.means)),
            mean=Mean(self.rated, how.max_rated, how.weighted),
        )
        near = found + base if how.centred else found
        predicted = np.where(np.isnan(found), base + bias, near)
        return np.where(pairs.columns >= 0, predicted, np.nan)

    def ratings(self, scores: Doubles) -> Doubles:
        return scores if self.prediction is None else np.clip(scores, *self.prediction.scale)

    def _users(self, batch: UserBatch) -> Links:
        from recpipe.kernels.neighbour_scores import Links

        assert batch.histories is not None  # noqa: S101 - what the model asks for
        offsets, sources, values = batch.histories
        return Links(offsets, ids.positions(self.sources, sources), values)


__all__ = [
    "ITEMS", "NeighbourScorer", "Prediction", "item_bytes", "links_of", "prediction_of",
]  # fmt: skip
