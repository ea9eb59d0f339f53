"""Factor models: what ALS, NMF, SGD and the baselines are once they are fitted.

The score of a user and an item is

    mean + user bias + item bias + user factors . item factors

and every model that can be written so shares one prediction join, one top-N and one file layout.
Rank 0 leaves the biases: popularity is the item's count, `mean` has no bias at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pyspark.sql import Observation
from pyspark.sql import functions as F

from recpipe.errors import FitError, InputError
from recpipe.ranking.item_blocks import send
from recpipe.ranking.lists import top_n
from recpipe.ranking.predictions import no_predictions, predictions
from recpipe.ranking.scorers import FactorScorer, logistic
from recpipe.runtime.parallel import run_all
from recpipe.spark.columns import factor_schema
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.base import Model
    from recpipe.ranking.item_blocks import Candidates
    from recpipe.ranking.seen import Gathered
    from recpipe.spark.interactions import Interactions, Mapped
    from recpipe.storage import Folder, Stored

Link = Literal["identity", "sigmoid"]
"""identity: a prediction is the score, clipped to the scale. sigmoid: low + (high - low) * s."""

Unknown = Literal["skip", "zero"]
"""skip: nothing is said of a user or item without factors. zero: its factors and bias are 0."""

MANIFEST = "model.json"
_USERS, _ITEMS = "user_factors", "item_factors"

# Products of two such numbers, summed over any rank, stay finite in float32: no score is NaN.
_LARGEST = 1e15


@dataclass(frozen=True, eq=False)
class FactorModel:
    """A fitted factor model.

    Make one with `fitted`, which checks the factors, or `load`.

    Args:
        name: the model's name in settings, manifests and folders.
        user_factors: (user int, factors array<float> of `rank`, bias float), one row a user.
        item_factors: (item int, factors array<float> of `rank`, bias float), one row an item; its
            items are the candidates of every list.
        rank: length of the factors; 0 for none.
        mean: added to every score.
        again: the settings with which to fit again on all ratings.
        users: rows of `user_factors`.
        items: rows of `item_factors`.
        scale: (lowest, highest) valid rating. Predictions are clipped to it, scores of ranking
            never are: clipping would make ties of the best items.
        link: how a score becomes a predicted rating.
        predicts_ratings: whether scores speak of ratings; if not, `predict` returns no row.
        unknown: what is said of users and items without a row. Candidates are rows of
            `item_factors` under either.
        details: what the fit wants in manifest and report (JSON).
        max_broadcast_mb: size in MiB above which `recommend` sends the item factors in blocks.
    """

    name: str
    user_factors: DataFrame | Stored
    item_factors: DataFrame | Stored
    rank: int
    mean: float
    again: Model
    users: int
    items: int
    scale: tuple[float, float] | None = None
    link: Link = "identity"
    predicts_ratings: bool = True
    unknown: Unknown = "skip"
    details: Mapping[str, Any] = field(default_factory=dict)
    max_broadcast_mb: int = 1024

    @classmethod
    def fitted(
        cls,
        scratch: Folder,
        *,
        name: str,
        user_factors: DataFrame | None,
        item_factors: DataFrame,
        rank: int,
        **rest: Any,
    ) -> FactorModel:
        """A model of factors that a fit has just made, written to tables in the fit's scratch.

        Each frame is computed once, both at the same time, and checked on its way.

        Args:
            scratch: of the fit.
            name: of the model.
            user_factors: None for none.
            item_factors: as of the class, as are the rest.
            rank: length of the factors.
            rest: the other arguments of the class.

        Raises:
            FitError: if there is no item, or a factor, bias or the mean is not finite (or so large
                that a score might overflow), or has another length than `rank`.
        """
        mean = float(rest.get("mean", 0.0))
        tables = run_all(
            [
                partial(_written, scratch, name, side, frame, rank=rank)
                for side, frame in (("user", user_factors), ("item", item_factors))
                if frame is not None
            ]
        )
        items, item_count = tables[-1]
        users, user_count = tables[0] if len(tables) > 1 else (no_users(scratch.spark), 0)
        if not item_count:
            raise FitError(f"{name}: no item was fitted", hint="are there ratings in train?")
        if not abs(mean) <= _LARGEST:
            raise FitError(f"{name}: the mean is {mean}", hint="check the ratings")
        return cls(
            name=name,
            user_factors=users,
            item_factors=items,
            rank=rank,
            users=user_count,
            items=item_count,
            **{**rest, "mean": mean},
        )

    def predict(self, pairs: Interactions | Gathered) -> Mapped:
        """(user, item, prediction): see the protocol.

        With `unknown = "skip"` pairs of unknown users or items are left out.

        Raises:
            MissingError: as `recommend`.
        """
        if not self.predicts_ratings:
            return no_predictions(frame_of(self.item_factors).sparkSession)
        return predictions(
            self.user_factors,
            candidates=self._candidates,
            pairs=pairs,
            unknown_too=self.unknown == "zero",
            present=partial(_rating, scale=self.scale, link=self.link),
        )

    def recommend(self, users: DataFrame, *, n: int, seen: Interactions | Gathered) -> Mapped:
        """(user, item, rank, score): see the protocol.

        The score is that of the formula above, not clipped; under a sigmoid link it is the
        predicted rating. Unknown users get no list, or under `unknown = "zero"` the order of the
        item biases.

        Raises:
            MissingError: if not even a block of item factors fits; see `candidates.send`.
        """
        return top_n(
            self.user_factors,
            candidates=lambda: self._candidates,
            seen=seen,
            n=n,
            asked=users,
            unknown_too=self.unknown == "zero",
            most=self.users if self.unknown == "skip" else None,
        )

    @cached_property
    def _candidates(self) -> Candidates[FactorScorer]:
        # Kept with the model: validation, test and final lists send the item factors once.
        def collect(items: DataFrame) -> FactorScorer:
            logistic = self.scale if self.link == "sigmoid" else None
            return FactorScorer.of(items, rank=self.rank, mean=self.mean, logistic=logistic)

        return send(
            frame_of(self.item_factors),
            collect,
            count=self.items,
            item_bytes=FactorScorer.item_bytes(rank=self.rank),
            limit_mb=self.max_broadcast_mb,
            what=f"{self.name}: item factors ({self.items} items, rank {self.rank})",
        )

    def refit(self) -> Model:
        return self.again

    def info(self) -> Mapping[str, Any]:
        """Rank, users, items and mean, and what the fit had to tell."""
        sizes = {"rank": self.rank, "users": self.users, "items": self.items, "mean": self.mean}
        return {**sizes, **self.details}

    def save(self, folder: Folder) -> None:
        """Write `user_factors`, `item_factors` and, last, model.json."""
        folder.delete(MANIFEST)
        run_all(
            [
                partial(folder.write_table, _USERS, frame_of(self.user_factors)),
                partial(folder.write_table, _ITEMS, frame_of(self.item_factors)),
            ]
        )
        folder.write_json(
            MANIFEST,
            {
                "name": self.name,
                "kind": "factors",
                "rank": self.rank,
                "mean": self.mean,
                "users": self.users,
                "items": self.items,
                "scale": self.scale,
                "link": self.link,
                "predicts_ratings": self.predicts_ratings,
                "unknown": self.unknown,
                "settings": dict(self.again.sections()),
                "details": dict(self.details),
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
    ) -> FactorModel:
        """The model that `save` wrote; `registry.load` reads the manifest.

        Raises:
            InputError: if the manifest lacks something.
            UsageError: if a table is missing.
        """
        try:
            scale = manifest["scale"]
            return cls(
                name=manifest["name"],
                user_factors=folder.stored(_USERS, schema=factor_schema("user")),
                item_factors=folder.stored(_ITEMS, schema=factor_schema("item")),
                rank=int(manifest["rank"]),
                mean=float(manifest["mean"]),
                again=again,
                users=int(manifest["users"]),
                items=int(manifest["items"]),
                scale=None if scale is None else (float(scale[0]), float(scale[1])),
                link=manifest["link"],
                predicts_ratings=bool(manifest["predicts_ratings"]),
                unknown=manifest["unknown"],
                details=manifest["details"],
                max_broadcast_mb=max_broadcast_mb,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"{folder.path(MANIFEST)}: not a factor model ({error!r})", hint="fit it again"
            ) from error


def _rating(
    scores: NDArray[np.float64], *, scale: tuple[float, float] | None, link: Link
) -> NDArray[np.float64]:
    """What scores say of ratings."""
    if scale is None:
        return scores
    return logistic(scores, scale) if link == "sigmoid" else np.clip(scores, *scale)


def no_users(spark: SparkSession) -> DataFrame:
    """User factors of a model that has none."""
    return spark.range(0).select(
        F.lit(0).alias("user"),
        F.array().cast("array<float>").alias("factors"),
        F.lit(0.0).cast("float").alias("bias"),
    )


def _written(
    scratch: Folder, name: str, side: str, factors: DataFrame, *, rank: int
) -> tuple[Stored, int]:
    """A side's factors as a table, and how many rows it has.

    Raises:
        FitError: see `FactorModel.fitted`.
    """
    # Spark orders NaN above every number, infinity included. A lambda over each array would say it
    # more plainly, and take many times as long.
    good = (F.abs("bias") <= _LARGEST) & (F.size("factors") == rank)
    if rank:
        good &= (F.array_max("factors") <= _LARGEST) & (F.array_min("factors") >= -_LARGEST)
    seen = Observation()
    observed = factors.observe(
        seen,
        F.count(F.lit(1)).alias("rows"),
        F.count_if(~F.coalesce(good, F.lit(False))).alias("bad"),
    )
    table = f"{name}-{side}_factors"
    scratch.write_table(table, observed)
    rows, bad = (int(seen.get.get(name) or 0) for name in ("rows", "bad"))
    if bad:
        raise FitError(
            f"{name}: {side} factors: {bad} of {rows} rows are not finite, or not of rank {rank}",
            hint="raise regularization or lower the rank",
        )
    return scratch.stored(table, schema=factor_schema(side)), rows


__all__ = ["MANIFEST", "FactorModel", "Link", "Unknown", "no_users"]
