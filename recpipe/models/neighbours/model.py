"""What a model of neighbours is once it is fitted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pyspark.sql import functions as F

from recpipe.models.base import FittedModel
from recpipe.models.neighbours.entries import Liking
from recpipe.models.neighbours.scorer import (
    ITEMS,
    NeighbourScorer,
    Prediction,
    item_bytes,
    links_of,
)
from recpipe.ranking.engine import Scoring
from recpipe.ranking.histories import HISTORY
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.reasons import Reasons
from recpipe.ranking.similar import Wanted, strongest
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import factor_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.spark.interactions import Mapped
    from recpipe.storage import Folder, Stored

_ITEMS, _HISTORIES, _USERS = "items", "histories", "users"


@runtime_checkable
class ScoresHistories(Protocol):
    """The settings of a model whose users are scored from histories of items."""

    def histories(self, data: TrainingData) -> DataFrame:
        """`HISTORY`: what users are scored from, by their ratings."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class NeighbourModel(FittedModel):
    """Items with their sources, and what is known of each user: see `NeighbourScorer`.

    Args:
        table: `scorer.ITEMS`.
        histories: `HISTORY`: the ratings of users, or their neighbours as items.
        means: of each user's ratings, as (user int, factors array<float>, bias float) without
            factors, where sources are users; None where they are items.
        items: rows of `table`.
        users: whom the model knows.
        links: how many sources all items have at most.
        liking: which ratings count in a score.
        prediction: None for a model that predicts no ratings.
        details: what the fit wants in manifest and report (JSON).
    """

    table: Stored
    histories: Stored
    means: Stored | None
    items: int
    users: int
    links: int
    liking: Liking
    prediction: Prediction | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spark(self) -> SparkSession:
        return self.table.frame.sparkSession

    @property
    def predicts_ratings(self) -> bool:
        return self.prediction is not None

    def _scoring(self) -> Scoring:
        known = UserInputs(
            vectors=self.means, width=0 if self.means is None else 1, histories=self.histories
        )
        return Scoring(self._send, known, users=self.users)

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Histories, where these are ratings; who has rated nothing that is known gets no list.

        Raises:
            UsageError: if sources are users: who was not there at the fit has no neighbours.
        """
        config = self.refit_config
        if not isinstance(config, ScoresHistories):
            return super().inputs_of(data)
        # Scores of a history without a known item would all be 0.
        known = F.broadcast(self.table.frame.select("item"))
        return UserInputs(histories=config.histories(data).join(known, "item", "left_semi"))

    def similar_items(self, wanted: Wanted, *, scratch: Folder) -> Mapped | None:
        """See `FittedModel.similar_items`: its neighbours, where sources are items."""
        del scratch
        if self.means is not None:
            return None
        return strongest(self.table.frame.select("item", "sources", "numbers"), links_of, wanted)

    def reasons(self, data: TrainingData) -> Reasons | None:
        """See `FittedModel.reasons`; None where sources are users, who are no item of a history."""
        del data
        return None if self.means is not None else Reasons(self.scoring.items, self.histories)

    def _send(self) -> ItemBlocks:
        if self.means is None:
            rows = self.table.frame.select("item", "mean").toArrow().sort_by("item")
            sources, means = (rows.column(name).to_numpy() for name in ("item", "mean"))
        else:
            rows = self.means.frame.select("user", "bias").toArrow().sort_by("user")
            sources, means = rows.column("user").to_numpy(), rows.column("bias").to_numpy()
        collect = partial(
            NeighbourScorer.of,
            sources=sources,
            means=means.astype("float64"),
            rated=self.means is None,
            liking=self.liking,
            prediction=self.prediction,
        )
        return send_items(
            self.table.frame,
            collect,
            count=self.items,
            item_bytes=item_bytes(links=self.links, items=self.items),
            limit_mb=self.max_broadcast_mb,
            what=f"{self.name}: neighbours of {self.items} items",
        )

    def info(self) -> Mapping[str, Any]:
        return {"items": self.items, "users": self.users, **self.details}

    def _tables(self) -> Mapping[str, Stored]:
        means = {} if self.means is None else {_USERS: self.means}
        return {_ITEMS: self.table, _HISTORIES: self.histories, **means}

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "items": self.items,
            "users": self.users,
            "links": self.links,
            "by_users": self.means is not None,
            "liking": asdict(self.liking),
            "prediction": None if self.prediction is None else self.prediction.as_dict(),
            "details": dict(self.details),
        }

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> NeighbourModel:
        """The model that `save` wrote; called by `registry.load`."""
        manifest = options.manifest
        prediction = manifest["prediction"]
        by_users = bool(manifest["by_users"])
        return cls(
            **options.common,
            table=folder.stored(_ITEMS, schema=ITEMS),
            histories=folder.stored(_HISTORIES, schema=HISTORY),
            means=folder.stored(_USERS, schema=factor_schema("user")) if by_users else None,
            items=int(manifest["items"]),
            users=int(manifest["users"]),
            links=int(manifest["links"]),
            liking=Liking(**manifest["liking"]),
            prediction=None if prediction is None else Prediction.of_dict(prediction),
            details=manifest["details"],
        )


__all__ = ["NeighbourModel", "ScoresHistories"]
