"""The one protocol that covers every family of models.

Every frame of ratings that a model sees has the columns of contracts.SPLIT; models use `user`,
`item` (dense int32), `rating` (float32) and, where they care for time, `rated_at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame

    from recpipe.ranking.seen import Gathered
    from recpipe.spark.interactions import Interactions, Mapped
    from recpipe.storage import Folder


@runtime_checkable
class Model(Protocol):
    """A recommender that has not seen data yet: settings only."""

    @property
    def name(self) -> str:
        """What settings, manifests and folders call it."""
        ...

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None,
        scratch: Folder,
        seed: int,
    ) -> FittedModel:
        """Learn from `train`.

        Args:
            train: (user, item, rating, ...); one row a pair.
            validation: ratings for early stopping, never fitted; None for a refit on all
                ratings, where a model that stops early is given its number of epochs instead.
            scratch: a folder on the root's file system for checkpoints; removed by the caller.
            seed: of everything random in the fit.

        Raises:
            FitError: if the fit fails or its result is not finite.
        """
        ...

    def sections(self) -> Mapping[str, Any]:
        """The sections of `Settings`, as JSON, from which `registry.build` makes this model again.

        A saved model carries them, so that it can be fitted again wherever it is loaded.
        """
        ...


@runtime_checkable
class FittedModel(Protocol):
    """A recommender that has seen data; immutable."""

    @property
    def name(self) -> str:
        """What settings, manifests and folders call it."""
        ...

    def predict(self, pairs: Interactions | Gathered) -> Mapped:
        """(user int, item int, prediction float): of the pairs it can predict, never NaN.

        A model that does not predict ratings returns no row.

        Args:
            pairs: (user, item, ...), or what `seen.gathered` made of them.
        """
        ...

    def recommend(self, users: DataFrame, *, n: int, seen: Interactions | Gathered) -> Mapped:
        """(user int, item int, rank int from 1, score float): the n best items of every user.

        Args:
            users: one column `user`, distinct.
            n: places a user; a user may get fewer, or none where the model does not know the user.
            seen: (user, item) pairs to leave out, or what `seen.gathered` made of them.

        Order is total: score descending, then item ascending.
        """
        ...

    def refit(self) -> Model:
        """The settings with which to fit again on all ratings (SGD: its best epoch count)."""
        ...

    def save(self, folder: Folder) -> None:
        """Write everything that `load` needs, and `model.json` last."""
        ...

    def info(self) -> Mapping[str, Any]:
        """What the manifest and report show: blocks, epochs, learning curve, sizes."""
        ...
