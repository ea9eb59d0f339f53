"""What MLP and NeuMF are once they are fitted: rows of users and items, and layers. No PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels.perceptron import Layers
from recpipe.models.base import FittedModel
from recpipe.ranking.engine import Scoring
from recpipe.ranking.factor_scorer import ItemArrays
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.scorer import DenseScorer
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import factor_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.ranking.user_batch import UserBatch
    from recpipe.storage import Folder, Stored

_USERS, _ITEMS, _LAYERS = "users", "items", "layers"
_LAYER = "layer int, values array<float>"


@dataclass(frozen=True, eq=False, kw_only=True)
class NcfModel(FittedModel):
    """A fitted network of a product and a perceptron over factors.

    Args:
        user_rows: (user int, factors array<float> of `width`, bias float): see
            `kernels.perceptron`; the bias is 0.
        item_rows: (item int, ...) likewise; its items are the candidates of every list.
        layers: (layer int, values array<float>): what follows the first layer, a few thousand
            numbers.
        width: length of a row: the factors of the product and the width of the first layer.
        users: rows of `user_rows`.
        items: rows of `item_rows`.
        details: what the fit wants in manifest and report (JSON).
    """

    user_rows: Stored
    item_rows: Stored
    layers: Stored
    width: int
    users: int
    items: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spark(self) -> SparkSession:
        return self.item_rows.frame.sparkSession

    def _scoring(self) -> Scoring:
        known = UserInputs(vectors=self.user_rows, width=self.width + 1)
        return Scoring(self._send, known, users=self.users)

    def _send(self) -> ItemBlocks:
        rows = sorted(self.layers.frame.select("layer", "values").collect())
        layers = Layers.of([np.array(values, np.float32) for _, values in rows])
        return send_items(
            self.item_rows.frame,
            partial(NcfScorer.of, width=self.width, layers=layers),
            count=self.items,
            item_bytes=4 * (self.width + 1),
            limit_mb=self.max_broadcast_mb,
            what=f"{self.name}: rows of {self.items} items",
        )

    def info(self) -> Mapping[str, Any]:
        return {"users": self.users, "items": self.items, "width": self.width, **self.details}

    def _tables(self) -> Mapping[str, Stored]:
        return {_USERS: self.user_rows, _ITEMS: self.item_rows, _LAYERS: self.layers}

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "users": self.users,
            "items": self.items,
            "width": self.width,
            "details": dict(self.details),
        }

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> NcfModel:
        """The model that `save` wrote; called by `registry.load`."""
        manifest = options.manifest
        return cls(
            **options.common,
            user_rows=folder.stored(_USERS, schema=factor_schema("user")),
            item_rows=folder.stored(_ITEMS, schema=factor_schema("item")),
            layers=folder.stored(_LAYERS, schema=_LAYER),
            width=int(manifest["width"]),
            users=int(manifest["users"]),
            items=int(manifest["items"]),
            details=manifest["details"],
        )


@dataclass(frozen=True, eq=False)
class NcfScorer(DenseScorer):
    """Scores by `kernels.perceptron`. The vector of a user is its row, then 0.

    Memory grows with the items and the width of a row; time as that of the kernel says.

    Args:
        items: (n,) ascending.
        rows: (n, width) of the items.
        layers: of the perceptron.
    """

    items: NDArray[np.int32]
    rows: NDArray[np.float32]
    layers: Layers

    @classmethod
    def of(cls, rows: DataFrame, *, width: int, layers: Layers) -> NcfScorer:
        """The scorer of some rows of items, brought to the driver."""
        found = ItemArrays.of(rows, rank=width)
        return cls(found.items, found.factors, layers)

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        from recpipe.kernels.perceptron import network_scores

        assert batch.vectors is not None  # noqa: S101 - its inputs have some
        users = np.ascontiguousarray(batch.vectors[:, :-1])
        return network_scores(users, self.rows, self.layers)


__all__ = ["NcfModel", "NcfScorer"]
