"""Truncated singular value decomposition (SVD) of the matrix of users and items.

R holds the known ratings, and M what stands for the unknown ones: the mean of all ratings, of the
item's or of the user's. In the centred matrix

    A_ui = R_ui - M_ui   where the rating is known, else 0,

a 0 is a rating filled with M_ui, so A is sparse, and A + M is the filled matrix (Sarwar, Karypis,
Konstan and Riedl 2000, "Application of dimensionality reduction in recommender system"). With the
k largest singular values S of A and their vectors U and V, a prediction is

    r^_ui = M_ui + (U S V')_ui.

No matrix of users x items is made. V are the eigenvectors of A'A, which is multiplied with thin
blocks of columns by passes over the ratings (`blocks.py`), in the manner of the randomised methods
of Halko, Martinsson and Tropp (2011, "Finding structure with randomness"), see `search.py` and
`kernels/krylov.py`. Then U S = A V, a block of users at a time.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.models.factors import FactorModel
from recpipe.models.fold_in import AdditiveSolver
from recpipe.models.svd.blocks import Centre, CentredMatrix, packed_blocks
from recpipe.models.svd.search import right_singular_vectors
from recpipe.ranking.histories import Histories
from recpipe.spark.columns import factor_rows
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.models.svd.blocks import Blocks
    from recpipe.models.svd.settings import SvdImplicitSettings, SvdSettings
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

log = logging.getLogger(__name__)

_SINGLE = 1e-5
"""The tolerance from which on products are taken in float32: twice as fast, and good to 1e-6."""
_SINGLE_SUMS = 1e-12, 1e18
"""Products are taken in float32 only where the largest sum of an item's ratings is above the first,
and the total of these sums below the second: float32 holds numbers from 1e-38 to 1e38, and products
are of the size of squares. Strengths of implicit feedback may be up to 1e30."""
_NOTHING = 1e-12
"""A singular value so much smaller than the largest is rounding: its factors are 0."""


class _Fill(NamedTuple):
    """What stands for unknown ratings, M, as a model of factors has it.

    Args:
        mean: of all ratings, or 0.
        centre: what is taken off the known ratings.
        biases: (n,) of the items: what M has beyond the mean, and the biases of users.
    """

    mean: float
    centre: Centre
    biases: Doubles


@dataclass(frozen=True)
class Svd:
    """Truncated SVD of the ratings, the unknown ones filled with a mean; see the module.

    Args:
        settings: `svd`.
    """

    settings: SvdSettings

    name: ClassVar[str] = "svd"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`. There are at most as many factors as items.

        Raises:
            FitError: if there is nothing to fit.
            MissingError: if the driver cannot hold the columns of the search.
        """
        with (
            self._held(data) as ratings,
            packed_blocks(ratings, value="rating", model=self.name) as blocks,
        ):
            fill, scale = self._fill(blocks), data.bounds
            return _fitted(self, blocks, fill, scratch=scratch, seed=seed, scale=scale)

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: all of them, as they are, or as they have faded.

        Of new people they have faded where a user's own mean is what they fade to; how far an item
        has been rated differently since is not known of the few ratings of a person.
        """
        if data.half_life is None or self.settings.fill != "user":
            return data.ratings
        return faded(data, self.settings.fill)

    @contextmanager
    def _held(self, data: TrainingData) -> Iterator[Interactions]:
        """The ratings of the fit, cheap to read twice, as long as the `with` statement lasts."""
        if data.half_life is None:
            yield data.ratings
            return
        ratings = cached(faded(data, self.settings.fill))
        try:
            yield ratings
        finally:
            ratings.unpersist()

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn` and `_Projection`."""
        return _Projection.of(fitted, items, by_user=self.settings.fill == "user")

    def _fill(self, blocks: Blocks) -> _Fill:
        mean = float(blocks.sums.sum() / blocks.counts.sum())
        nothing = np.zeros(len(blocks.items))
        if self.settings.fill == "user":
            return _Fill(mean, Centre(nothing, by_user=True), nothing)
        if self.settings.fill == "item":
            means = blocks.sums / blocks.counts
            return _Fill(mean, Centre(means), means - mean)
        return _Fill(mean, Centre(nothing + mean), nothing)

    def sections(self) -> Mapping[str, Section]:
        return {"svd": self.settings}


def faded(data: TrainingData, fill: Literal["mean", "item", "user"]) -> DataFrame:
    """(user int, item int, rating float): ratings as they weigh, M + w (R - M).

    M is the mean of the ratings by their weights w, of all, of the item or of the user. So it is
    the mean of the faded ratings, too, and what a rating loses by its age is what sets it apart
    from one that is not known: at a weight of 0 it would be filled as these are.

    Args:
        data: with a half-life.
        fill: whose mean.
    """
    rows = frame_of(data.ratings).select("user", "item", "rating", data.weight.alias("weight"))
    keys: list[str] = [] if fill == "mean" else [fill]
    total = F.sum(F.col("rating") * F.col("weight")) / F.sum("weight")
    means = rows.groupBy(*keys).agg(total.alias("mean"))
    both = rows.join(means, keys) if keys else rows.crossJoin(F.broadcast(means))
    rating = F.col("mean") + F.col("weight") * (F.col("rating") - F.col("mean"))
    return both.select("user", "item", rating.cast("float").alias("rating"))


@dataclass(frozen=True)
class SvdImplicit:
    """Truncated SVD of likings or strengths, M = 0: it ranks, and predicts no rating.

    Nothing is centred, since what a user has not taken up is worth less than what the user has,
    and not as much as the mean of it (Cremonesi, Koren and Turrin 2010, "Performance of
    recommender algorithms on top-n recommendation tasks": PureSVD).

    Args:
        settings: `svd_implicit`.
    """

    settings: SvdImplicitSettings

    name: ClassVar[str] = "svd_implicit"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit` and `Svd.fit`. A user without a liking gets no list."""
        own = self.settings
        matrix = cached(data.user_item_matrix(own.values, own.preference_from))
        try:
            with packed_blocks(matrix, value="value", model=self.name) as blocks:
                nothing = np.zeros(len(blocks.items))
                fill = _Fill(0.0, Centre(nothing), nothing)
                return _fitted(self, blocks, fill, scratch=scratch, seed=seed, scale=None)
        finally:
            matrix.unpersist()

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: the matrix, as (user, item, rating)."""
        own = self.settings
        matrix = data.user_item_matrix(own.values, own.preference_from)
        return matrix.withColumnRenamed("value", "rating")

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn` and `_Projection`."""
        return _Projection.of(fitted, items, by_user=False)

    def sections(self) -> Mapping[str, Section]:
        return {"svd_implicit": self.settings}


def _fitted(
    model: Svd | SvdImplicit,
    blocks: Blocks,
    fill: _Fill,
    *,
    scratch: Folder,
    seed: int,
    scale: tuple[float, float] | None,
) -> FactorModel:
    own = model.settings
    sums, (least, most) = abs(blocks.sums), _SINGLE_SUMS
    single = own.tolerance >= _SINGLE and sums.max() > least and sums.sum() < most
    kind = np.float32 if single else np.float64
    matrix = CentredMatrix(blocks, fill.centre, kind)
    found = right_singular_vectors(
        matrix,
        rank=own.rank,
        oversampling=own.oversampling,
        tolerance=own.tolerance,
        max_passes=own.max_passes,
        limit_mb=own.max_matrix_mb,
        seed=seed,
        model=model.name,
    )
    if found.residual > own.tolerance:
        log.warning(
            "%s: after %d passes the residual is %.1e, above %s.tolerance = %.1e",
            model.name,
            found.products,
            found.residual,
            model.name,
            own.tolerance,
        )
    singular = np.sqrt(found.values)
    # U S V' with the root of S on either side, so that both kinds of factors are of a size.
    roots = np.sqrt(singular)
    there = singular > _NOTHING * singular[0]
    shares = np.divide(1, roots, out=np.zeros_like(roots), where=there)
    spark = blocks.frame.sparkSession
    factors = (found.vectors * np.where(there, roots, 0)).astype(np.float32)
    items = pa.Table.from_batches(
        [factor_rows("item", blocks.items, factors, fill.biases.astype(np.float32))]
    )
    return FactorModel.fitted(
        scratch,
        name=model.name,
        user_factors=matrix.user_factors(found.vectors * shares, mean=fill.mean),
        item_factors=spark.createDataFrame(items),
        rank=len(singular),
        mean=fill.mean,
        refit_config=model,
        scale=scale,
        predicts_ratings=scale is not None,
        details={
            "ratings": int(blocks.counts.sum()),
            "blocks": blocks.number,
            "passes": found.products,
            "residual": found.residual,
            "singular_values": singular.tolist(),
        },
    )


@dataclass(frozen=True, eq=False)
class _Projection(AdditiveSolver):
    """Rows of U S that belong to further rows of A: a V, as it is for those of the fit.

    The vectors of the items are V times the root of S, so those of users are a V over that root.

    Args:
        centre: what is taken off the ratings.
        vectors: (n, k) of the items.
        inverse: (k,) of the singular values; 0 for those that are none.
        mean: added to every score.
    """

    centre: Centre
    vectors: Doubles
    inverse: Doubles
    mean: float

    @classmethod
    def of(cls, fitted: FactorModel, items: ItemArrays, *, by_user: bool) -> _Projection:
        """Of a fitted model; with `by_user` the mean of each user is taken off the ratings."""
        singular = np.asarray(fitted.details["singular_values"], np.float64)
        there = singular > _NOTHING * singular[0]
        inverse = np.divide(1, singular, out=np.zeros_like(singular), where=there)
        taken = np.zeros(len(items.items)) if by_user else fitted.mean + items.biases.astype(float)
        return cls(Centre(taken, by_user), items.factors.astype(float), inverse, fitted.mean)

    def __call__(self, rows: Histories) -> NDArray[np.float32]:
        from recpipe.kernels.gram import sparse_product

        left = self.centre.applied(rows, rows.items)
        factors = sparse_product(rows.offsets, rows.items, left, self.vectors) * self.inverse
        means = self.centre.users(rows)
        biases = means - self.mean if self.centre.by_user else means
        return np.column_stack([factors, biases]).astype(np.float32)

    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        """a_j (V V')_ji for each item j of the history: their sum is the score of i less M."""
        rows = Histories(np.array([0, len(history)]), history, values)
        left = self.centre.applied(rows, history)
        products = (self.vectors[columns] * self.inverse) @ self.vectors[history].T
        shares: Doubles = products * left
        return shares


__all__ = ["Svd", "SvdImplicit"]
