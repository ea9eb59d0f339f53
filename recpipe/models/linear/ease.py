"""EASE: item-item ridge regression with a zero diagonal, in closed form (Steck 2019).

X has a row a user and a column an item. The weights B minimise

    |X - X B|^2 + lambda |B|^2   with   B_jj = 0

and are, with P = (X'X + lambda I)^-1,

    B_ij = - P_ij / P_jj   for i != j.

The score of item j for a user is the sum of x_i B_ij over the items i of the user's history: a user
who was not there at the fit is scored as well, from a history alone.

Where there are fewer users than items, P need not be made. With the Cholesky factor C of
XX' + lambda I and Y = C^-1 X, whose columns are y_j, Woodbury's identity gives

    P = (I - Y'Y) / lambda,   so that   B_ij = y_i . y_j / (1 - y_j . y_j)   for i != j:

a matrix of users in place of one of items, and weights of as many factors as there are users.

Where the matrix does not fit into the driver's memory, only the nearest items get a weight for an
item (`sparse`), or, where that is asked for, the executors hold and invert it in tiles (`tiled`).

References:
    Harald Steck. Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.base import FittedModel
from recpipe.models.fold_in import FoldIn, check_broadcast, sent
from recpipe.models.linear.gram import check_room, gram_matrix, has_room, sizes_of
from recpipe.models.linear.sparse import WEIGHT_BYTES, max_weights, write_sparse_weights
from recpipe.models.linear.tiled import write_tiled_weights
from recpipe.models.linear.weights import (
    FACTORS,
    WEIGHTS,
    FactorShares,
    FactorWeights,
    ItemWeights,
    VectorSums,
    factor_weights,
    item_vectors,
    item_weights,
    vector_rows,
    weights_of,
)
from recpipe.models.neighbours.entries import Liking
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.models.neighbours.tables import transposed
from recpipe.ranking.engine import Scoring
from recpipe.ranking.histories import HISTORY
from recpipe.ranking.item_blocks import send_items, sent_whole
from recpipe.ranking.reasons import Reasons
from recpipe.ranking.similar import Wanted, most_similar, positive, strongest
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import factor_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.models.linear.settings import EaseSettings
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.ranking.scorer import Scorer
    from recpipe.sections import Section
    from recpipe.spark.interactions import Mapped
    from recpipe.storage import Folder, Stored

_WEIGHTS, _VECTORS, _HISTORIES = "weights", "vectors", "histories"


@dataclass(frozen=True)
class Ease:
    """EASE with its settings.

    Args:
        settings: `ease`.
    """

    settings: EaseSettings

    name: ClassVar[str] = "ease"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> EaseModel | NeighbourModel:
        """See `Model.fit`; nothing is random. A user without a liking gets no list.

        Raises:
            FitError: if there is nothing to fit.
            MissingError: if the driver cannot hold the matrix of items or of users, whichever are
                fewer, and, unless `ease.method` is dense, not a sparse one either. A tiled one is
                never refused here, but its lists are where items are too many: see the setting.
        """
        del seed
        own = self.settings
        scratch.write_table(_HISTORIES, self.histories(data))
        histories = scratch.stored(_HISTORIES)
        rows = histories.frame
        items, item_pairs = sizes_of(rows, "item")
        users, user_pairs = sizes_of(rows, "user")
        if not len(items):
            raise nothing_to_fit("ease")
        by_users = len(users) < len(items)
        side, what = (users, "users") if by_users else (items, "items")
        fits = has_room(len(side), len(side), limit_mb=own.max_matrix_mb)
        if own.method == "sparse" or (own.method == "auto" and not fits):
            return self._fit_sparse(histories, scratch, items=len(items), users=len(users))
        penalty = self._penalty(len(users))
        if own.method == "tiled":
            write_tiled_weights(histories, scratch, _WEIGHTS, items=items, penalty=penalty)
            return self._fitted(
                histories, scratch, items=len(items), users=len(users), by_users=False
            )
        check_room(
            len(side),
            len(side),
            what=f"the matrix of {len(side)} {what}",
            limit_mb=own.max_matrix_mb,
            model=self.name,
            otherwise="set ease.method to tiled or auto",
        )
        if by_users:
            # X' in place of X: items are its rows, so its Gram matrix is one of users.
            by_item = transposed(rows)
            gram = gram_matrix(by_item, users, users=len(items), pairs=item_pairs)
            vectors, weights = factor_weights(by_item, users, gram, penalty=penalty)
            scratch.write_table(_VECTORS, vectors)
            scratch.write_table(_WEIGHTS, weights)
        else:
            gram = gram_matrix(rows, items, users=len(users), pairs=user_pairs)
            with item_weights(rows.sparkSession, items, gram, penalty) as weights:
                scratch.write_table(_WEIGHTS, weights)
        return self._fitted(
            histories, scratch, items=len(items), users=len(users), by_users=by_users
        )

    def _fitted(
        self, histories: Stored, scratch: Folder, *, items: int, users: int, by_users: bool
    ) -> EaseModel:
        """The model of what `scratch` has."""
        return EaseModel(
            name=self.name,
            refit_config=self,
            weights=scratch.stored(_WEIGHTS),
            histories=histories,
            vectors=scratch.stored(_VECTORS) if by_users else None,
            items=items,
            users=users,
            penalty=self._penalty(users),
        )

    def _fit_sparse(
        self, histories: Stored, scratch: Folder, *, items: int, users: int
    ) -> NeighbourModel:
        """Sparse weights, which score as those of neighbours do."""
        own, penalty = self.settings, self._penalty(users)
        k = max_weights(items, own.density)
        check_room(
            items,
            k * WEIGHT_BYTES // 8,
            what=f"the sparse matrix of {items} items with {k} weights for each",
            limit_mb=own.max_matrix_mb,
            model=self.name,
        )
        liking = Liking(None, binary=False)
        write_sparse_weights(
            histories,
            scratch,
            _WEIGHTS,
            liking=liking,
            penalty=penalty,
            k=k,
            model=self.name,
        )
        return NeighbourModel(
            name=self.name,
            refit_config=self,
            table=scratch.stored(_WEIGHTS),
            histories=histories,
            means=None,
            items=items,
            users=users,
            links=items * k,
            liking=liking,
            prediction=None,
            details={"regularization": penalty, "matrix": "sparse", "most_weights": k},
        )

    def _penalty(self, users: int) -> float:
        """lambda: as set; for `auto` a third of the number of users, from 100 to 1000."""
        setting = self.settings.regularization
        return float(min(max(users / 3, 100), 1000)) if setting == "auto" else setting

    def histories(self, data: TrainingData) -> DataFrame:
        """The matrix X, as (user int, item int, value float)."""
        own = self.settings
        return data.user_item_matrix(own.values, own.preference_from)

    def sections(self) -> Mapping[str, Section]:
        return {"ease": self.settings}


@dataclass(frozen=True, eq=False, kw_only=True)
class EaseModel(FittedModel):
    """The weights of EASE, and the histories from which users are scored.

    Args:
        weights: `weights.WEIGHTS`, or `weights.FACTORS` where there are vectors.
        histories: (user int, item int, value float): the matrix X.
        vectors: (user int, factors array<float>, bias float) where users were fewer than items.
        items: rows of `weights`.
        users: users of `histories`.
        penalty: lambda of the fit.
    """

    weights: Stored
    histories: Stored
    vectors: Stored | None
    items: int
    users: int
    penalty: float

    @property
    def spark(self) -> SparkSession:
        return self.weights.frame.sparkSession

    @property
    def _width(self) -> int:
        """How many weights or factors an item has."""
        return self.items if self.vectors is None else self.users

    def _scoring(self) -> Scoring:
        known = UserInputs(
            vectors=self.vectors,
            width=0 if self.vectors is None else self.users + 1,
            histories=self.histories,
        )
        return Scoring(self._send, known, users=self.users)

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Histories; who has liked nothing that the model knows gets no list."""
        config = self.refit_config
        assert isinstance(config, Ease)  # noqa: S101 - what has fitted it
        # Scores of a history without a known item would all be 0.
        known = F.broadcast(self.weights.frame.select("item"))
        histories = config.histories(data).join(known, "item", "left_semi")
        if self.vectors is None:
            return UserInputs(histories=histories)
        items, vectors = self._vectors_for_workers("to find the vectors of new people")
        solver = sent(self.spark, items, VectorSums(vectors))
        return UserInputs(
            width=self.users + 1,
            histories=histories,
            solver=FoldIn(solver, self.users + 1, None),
        )

    def similar_items(self, wanted: Wanted, *, scratch: Folder) -> Mapped:
        """See `FittedModel.similar_items`: by B_ij, or with a matrix of users by y_i . y_j.

        The latter is B_ij (1 - y_j . y_j): sign and order are those of the weights for item j.
        """
        if self.vectors is None:
            read = partial(weights_of, items=self._item_ids())
            return strongest(self.weights.frame.select("item", "weights"), read, wanted)
        vectors = self.weights.frame.mapInArrow(vector_rows, factor_schema("item"))
        lists = most_similar(
            vectors,
            replace(wanted, measure="dot"),
            rank=self.users,
            scratch=scratch,
            limit_mb=self.max_broadcast_mb,
        )
        return positive(lists)

    def reasons(self, data: TrainingData) -> Reasons:
        """See `FittedModel.reasons`: x_ui B_ij is what item i of a history adds to item j."""
        del data
        if self.vectors is None:
            return Reasons(self.scoring.items, self.histories)
        explainer = FactorShares(*self._vectors_for_workers("to explain lists"))
        return Reasons(partial(sent_whole, self.spark, explainer), self.histories)

    def _send(self) -> ItemBlocks:
        collect: Callable[[DataFrame], Scorer]
        if self.vectors is None:
            collect = partial(ItemWeights.of, rows=self._item_ids())
        else:
            collect = FactorWeights.of
        return send_items(
            self.weights.frame,
            collect,
            count=self.items,
            item_bytes=4 * self._width,
            limit_mb=self.max_broadcast_mb,
            what=f"ease: weights of {self.items} items",
        )

    def _item_ids(self) -> NDArray[np.int32]:
        """All items, ascending."""
        numbers = self.weights.frame.select("item").toArrow().column("item").to_numpy()
        found: NDArray[np.int32] = np.sort(numbers)
        return found

    def _vectors_for_workers(self, purpose: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """All items, ascending, and their vectors, where these are small enough to be sent whole.

        Raises:
            MissingError: if they are not; `purpose` says what they were wanted for.
        """
        check_broadcast(
            self.items,
            4 * self.users,
            limit_mb=self.max_broadcast_mb,
            model=self.name,
            purpose=purpose,
        )
        return item_vectors(self.weights.frame)

    def info(self) -> Mapping[str, Any]:
        matrix = "items" if self.vectors is None else "users"
        sizes = {"items": self.items, "users": self.users, "regularization": self.penalty}
        return {**sizes, "matrix": matrix}

    def _tables(self) -> Mapping[str, Stored]:
        vectors = {} if self.vectors is None else {_VECTORS: self.vectors}
        return {_WEIGHTS: self.weights, _HISTORIES: self.histories, **vectors}

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> EaseModel:
        """The model that `save` wrote; called by `registry.load`."""
        manifest = options.manifest
        by_users = manifest["matrix"] == "users"
        return cls(
            **options.common,
            weights=folder.stored(_WEIGHTS, schema=FACTORS if by_users else WEIGHTS),
            histories=folder.stored(_HISTORIES, schema=HISTORY),
            vectors=folder.stored(_VECTORS, schema=factor_schema("user")) if by_users else None,
            items=int(manifest["items"]),
            users=int(manifest["users"]),
            penalty=float(manifest["regularization"]),
        )


def load(folder: Folder, options: LoadOptions) -> EaseModel | NeighbourModel:
    """What `Ease.fit` returned and `save` wrote; called by `registry.load`."""
    # Only a model of neighbours says how many links it has.
    kind = NeighbourModel if "links" in options.manifest else EaseModel
    return kind.load(folder, options)


__all__ = ["Ease", "EaseModel", "load"]
