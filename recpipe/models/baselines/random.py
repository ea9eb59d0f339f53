"""A shuffle of the items for every user: what a model without any knowledge reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recpipe.errors import nothing_to_fit
from recpipe.models.base import FittedModel
from recpipe.ranking.engine import Scoring
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.scorer import DenseScorer
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.ranking.user_batch import UserBatch
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

_ITEMS = "items"


@dataclass(frozen=True)
class Random:
    """Every user's own shuffle of the items, from a hash of seed, user and item."""

    name: ClassVar[str] = "random"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> RandomModel:
        """See `Model.fit`."""
        items = frame_of(data.ratings).select("item").distinct()
        table = f"{self.name}-items"
        count = scratch.write_table(table, items).count()
        if not count:
            raise nothing_to_fit(self.name)
        return RandomModel(
            name=self.name, refit_config=self, items=scratch.stored(table), count=count, seed=seed
        )

    def sections(self) -> Mapping[str, Section]:
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomModel(FittedModel):
    """`Random`, once it knows its items and its seed; it knows every user.

    Args:
        items: one column `item`, distinct.
        count: rows of `items`.
        seed: of the hash.
    """

    items: Interactions
    count: int
    seed: int

    @property
    def spark(self) -> SparkSession:
        return frame_of(self.items).sparkSession

    def _scoring(self) -> Scoring:
        return Scoring(self._send, UserInputs(), everyone=True)

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Nothing: everybody has a shuffle."""
        del data
        return UserInputs()

    def _send(self) -> ItemBlocks:
        def collect(items: DataFrame) -> RandomScorer:
            ids = items.toArrow().column("item").to_numpy().astype(np.int32)
            return RandomScorer(np.sort(ids), self.seed)

        return send_items(
            frame_of(self.items),
            collect,
            count=self.count,
            item_bytes=4,
            limit_mb=self.max_broadcast_mb,
            what=f"random: {self.count} items",
        )

    def info(self) -> Mapping[str, Any]:
        return {"items": self.count, "seed": self.seed}

    def _tables(self) -> Mapping[str, Interactions]:
        return {_ITEMS: self.items}

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> RandomModel:
        """The model that `save` wrote; called by `registry.load`."""
        return cls(
            **options.common,
            items=folder.stored(_ITEMS),
            count=int(options.manifest["items"]),
            seed=int(options.manifest["seed"]),
        )


@dataclass(frozen=True, eq=False)
class RandomScorer(DenseScorer):
    """Scores in [0, 1) that depend on nothing but the seed, the user and the item.

    Args:
        items: (I,) item numbers, ascending.
        seed: of the hash; any integer.
    """

    items: NDArray[np.int32]
    seed: int

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        from recpipe.kernels.hashes import uniform

        return uniform(self.seed, batch.users, self.items)


__all__ = ["Random", "RandomModel", "RandomScorer"]
