"""Popularity, mean and random: what every other model must beat, and what fills short lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import FitError, InputError
from recpipe.models.factors import MANIFEST, FactorModel
from recpipe.ranking.item_blocks import send
from recpipe.ranking.lists import top_n
from recpipe.ranking.predictions import no_predictions
from recpipe.ranking.scorers import RandomScorer
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

    from recpipe.feedback import Scale
    from recpipe.models.base import Model
    from recpipe.ranking.item_blocks import Candidates
    from recpipe.ranking.seen import Gathered
    from recpipe.spark.interactions import Interactions, Mapped
    from recpipe.storage import Folder

_ITEMS = "items"


@dataclass(frozen=True)
class Popularity:
    """An item's number of ratings is its score, the same for everybody, cold users included.

    Counts are exact up to 2^24; above, float32 rounds them.
    """

    name: ClassVar[str] = "popularity"

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None,
        scratch: Folder,
        seed: int,
    ) -> FactorModel:
        """See the protocol; nothing is random, and `validation` is not looked at."""
        del validation, seed
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=None,
            item_factors=_by_item(train, bias=F.count(F.lit(1))),
            rank=0,
            again=self,
            predicts_ratings=False,
            unknown="zero",
        )

    def sections(self) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True)
class Mean:
    """The mean of all ratings, for every pair, of unknown users and items too.

    All scores are equal, so its lists are the lowest item numbers.

    Args:
        scale: of the ratings.
    """

    scale: Scale
    name: ClassVar[str] = "mean"

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None,
        scratch: Folder,
        seed: int,
    ) -> FactorModel:
        """See the protocol; nothing is random, and `validation` is not looked at."""
        del validation, seed
        mean = frame_of(train).agg(F.avg("rating")).collect()[0][0]
        if mean is None:
            raise FitError(f"{self.name}: no rating to fit", hint="look at train")
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=None,
            item_factors=_by_item(train, bias=F.lit(0)),
            rank=0,
            mean=float(mean),
            again=self,
            scale=(self.scale.min, self.scale.max),
            unknown="zero",
        )

    def sections(self) -> Mapping[str, Any]:
        return {"ingest": {"rating_scale": self.scale.model_dump(mode="json")}}


@dataclass(frozen=True)
class Random:
    """Every user's own shuffle of the items, from a hash of seed, user and item."""

    name: ClassVar[str] = "random"

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None,
        scratch: Folder,
        seed: int,
    ) -> RandomModel:
        """See the protocol; `validation` is not looked at."""
        del validation
        items = scratch.write_table(f"{self.name}-items", frame_of(train).select("item").distinct())
        count = items.count()
        if not count:
            raise FitError(f"{self.name}: no item was fitted", hint="are there ratings in train?")
        return RandomModel(items=items, count=count, seed=seed, again=self)

    def sections(self) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, eq=False)
class RandomModel:
    """`Random`, once it knows its candidates and its seed; it knows every user.

    Args:
        items: one column `item`, distinct.
        count: rows of `items`.
        seed: of the hash.
        again: the settings with which to fit again.
        max_broadcast_mb: size in MiB above which `recommend` sends the items in blocks.
    """

    items: DataFrame
    count: int
    seed: int
    again: Model
    max_broadcast_mb: int = 1024
    name: ClassVar[str] = "random"

    def predict(self, pairs: Interactions | Gathered) -> Mapped:
        """No row: it does not predict ratings."""
        del pairs
        return no_predictions(self.items.sparkSession)

    def recommend(self, users: DataFrame, *, n: int, seen: Interactions | Gathered) -> Mapped:
        """See the protocol; scores lie in [0, 1)."""
        return top_n(users.select("user"), candidates=lambda: self._candidates, seen=seen, n=n)

    @cached_property
    def _candidates(self) -> Candidates[RandomScorer]:
        def collect(items: DataFrame) -> RandomScorer:
            ids = items.toArrow().column("item").to_numpy().astype(np.int32)
            return RandomScorer(items=np.sort(ids), seed=self.seed)

        return send(
            self.items,
            collect,
            count=self.count,
            item_bytes=4,
            limit_mb=self.max_broadcast_mb,
            what=f"random: {self.count} items",
        )

    def refit(self) -> Model:
        return self.again

    def info(self) -> Mapping[str, Any]:
        return {"items": self.count, "seed": self.seed}

    def save(self, folder: Folder) -> None:
        """Write `items` and, last, model.json."""
        folder.delete(MANIFEST)
        folder.write_table(_ITEMS, self.items)
        folder.write_json(
            MANIFEST,
            {
                "name": self.name,
                "kind": "random",
                "items": self.count,
                "seed": self.seed,
                "settings": dict(self.again.sections()),
            },
        )

    @classmethod
    def load(
        cls,
        folder: Folder,
        manifest: Mapping[str, Any],
        *,
        again: Model,
        max_broadcast_mb: int = 1024,
    ) -> RandomModel:
        """The model that `save` wrote; `registry.load` reads the manifest.

        Raises:
            InputError: if the manifest lacks something.
            UsageError: if the table is missing.
        """
        try:
            count, seed = int(manifest["items"]), int(manifest["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder.path(MANIFEST)}: not a random model ({error!r})", hint="fit it again"
            ) from error
        return cls(
            items=folder.read_table(_ITEMS),
            count=count,
            seed=seed,
            again=again,
            max_broadcast_mb=max_broadcast_mb,
        )


def _by_item(train: Interactions, *, bias: Column) -> DataFrame:
    """Item factors of rank 0: one row an item of `train`."""
    return (
        frame_of(train)
        .groupBy("item")
        .agg(bias.cast("float").alias("bias"))
        .select("item", F.array().cast("array<float>").alias("factors"), "bias")
    )


__all__ = ["Mean", "Popularity", "Random", "RandomModel"]
