"""What every family of models brings: a model that can be fitted, and one that has been.

A family says how it fits, what its scorer is and how it is kept. Lists and predictions are made by
the one engine of `recpipe.ranking`, for all families alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from recpipe.errors import UsageError
from recpipe.models.spec import MANIFEST
from recpipe.ranking.engine import no_predictions, predict, top_n
from recpipe.ranking.similar import most_similar
from recpipe.runtime.parallel import once, run_all
from recpipe.spark.interactions import frame_of
from recpipe.storage import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.ranking.engine import Scoring
    from recpipe.ranking.pairs import PackedPairs
    from recpipe.ranking.reasons import Reasons
    from recpipe.ranking.rules import ListRules
    from recpipe.ranking.similar import Wanted
    from recpipe.ranking.user_batch import UserInputs
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions, Mapped
    from recpipe.storage import Folder


@runtime_checkable
class Model(Protocol):
    """A recommender that has not seen data yet: settings only."""

    @property
    def name(self) -> str:
        """What settings, manifests and folders call it."""
        ...

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FittedModel:
        """Learn from the data.

        Args:
            data: what the fit may see.
            scratch: a folder on the root's file system for intermediate tables and checkpoints;
                what is fitted may read from it until it is saved. Removed by the caller.
            seed: of everything random in the fit.

        Raises:
            FitError: if the fit fails or its result is not finite.
        """
        ...

    def sections(self) -> Mapping[str, Section]:
        """The sections of the settings from which `registry.build` makes this model again."""
        ...


class Vectors(NamedTuple):
    """Vectors of items, or of users, between which the angle is small where these are alike.

    Args:
        rows: (item int, factors array<float>), one row an item; of users `user` in place of `item`.
        width: numbers of each.
    """

    rows: DataFrame
    width: int


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedModel(ABC):
    """A recommender that has seen data; immutable.

    Args:
        name: what settings, manifests and folders call it.
        refit_config: the model with which to fit again on all ratings: what validation has decided,
            such as a number of epochs, is a setting of it.
        max_broadcast_mb: size in MiB above which the items go to the workers in blocks.
    """

    name: str
    refit_config: Model
    max_broadcast_mb: int = 1024

    @property
    @abstractmethod
    def spark(self) -> SparkSession:
        """The session that its tables belong to."""

    @property
    def predicts_ratings(self) -> bool:
        """Whether the model predicts ratings."""
        return False

    @cached_property
    def scoring(self) -> Scoring:
        """What the engine needs. Kept with the model: it sends the items once."""
        found = self._scoring()
        return replace(found, items=once(found.items))

    @abstractmethod
    def _scoring(self) -> Scoring: ...

    def recommend(
        self,
        users: DataFrame,
        *,
        n: int,
        seen: Interactions | PackedPairs,
        instant: datetime | None = None,
        rules: ListRules | None = None,
    ) -> Mapped:
        """(user int, item int, rank int from 1, score float): the n best items of every user.

        Order is total: score descending, then item ascending.

        Args:
            users: one column `user`, distinct.
            n: how many items each user gets; a user may get fewer, or none where the model does
                not know the user.
            seen: (user, item) pairs to leave out.
            instant: for which the lists are made.
            rules: what may be in lists; None: anything.

        Raises:
            MissingError: if not even a block of items fits into a worker.
        """
        return top_n(self.scoring, users, n=n, seen=seen, instant=instant, rules=rules)

    def predict(self, pairs: Interactions | PackedPairs) -> Mapped:
        """(user int, item int, prediction float): of the pairs it can predict, never NaN.

        A model that does not predict ratings returns no row.

        Args:
            pairs: (user, item, rated_at, ...): a prediction is asked for the instant of its pair.

        Raises:
            MissingError: as `recommend`.
        """
        if not self.predicts_ratings:
            return no_predictions(self.spark)
        return predict(self.scoring, pairs)

    def for_people(self, data: TrainingData) -> FittedModel:
        """The same model for people who were not there at its fit, by a handful of their ratings.

        Nothing is fitted, and nobody else's rating is read. The items are those of this model, and
        go to the workers once for both. It is there to be asked and is never saved.

        Args:
            data: of which the ratings are those of the people, cheap to read again; numbers of
                users are theirs alone, those of items are as they were at the fit. The scale is
                that of the fit.

        Raises:
            UsageError: if the model has no lists for people whom it has not met.
            MissingError: if its items do not fit into a worker.
        """
        inputs = self.inputs_of(data)
        return ModelForPeople(
            name=self.name,
            refit_config=self.refit_config,
            max_broadcast_mb=self.max_broadcast_mb,
            model=self,
            inputs=inputs,
        )

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """What the scorers need to know of new people; see `for_people`."""
        del data
        raise UsageError(
            f"{self.name} has no lists for people who were not there at its fit",
            hint="ask another model",
        )

    def reasons(self, data: TrainingData) -> Reasons | None:
        """How the scores of lists fall apart into what each item of a history adds to them.

        What a score has without any history, such as a mean and the bias of the item, is nobody's
        share. None for a model whose scores are otherwise no sum over the history of a user.

        Args:
            data: of which the ratings are those that users are scored from.

        Raises:
            MissingError: if what explains does not fit into a worker.
        """
        del data
        return None

    def item_vectors(self) -> Vectors | None:
        """Vectors of the items that the model knows; None for a model that has none."""
        return None

    def user_vectors(self) -> Vectors | None:
        """Vectors of the users that the model knows; None for a model that has none."""
        return None

    def similar_items(self, wanted: Wanted, *, scratch: Folder) -> Mapped | None:
        """(user int, item int, rank int from 1, score float): of item `user` the k most similar.

        By the angle, distance or product of the vectors of items where the model has some. None for
        a model that says nothing of how alike items are.

        Args:
            wanted: how many, by what measure, of which; a model without vectors has its own.
            scratch: where vectors are kept; what comes back reads from it.

        Raises:
            MissingError: if not even a block of vectors fits into a worker.
        """
        return self._most_similar(self.item_vectors(), wanted, scratch)

    def similar_users(self, wanted: Wanted, *, scratch: Folder) -> Mapped | None:
        """As `similar_items`, with users in `item` too; None for a model without their vectors."""
        vectors = self.user_vectors()
        if vectors is not None:
            # The engine ranks items, so users take their place.
            vectors = Vectors(vectors.rows.withColumnRenamed("user", "item"), vectors.width)
        return self._most_similar(vectors, wanted, scratch)

    def _most_similar(
        self, vectors: Vectors | None, wanted: Wanted, scratch: Folder
    ) -> Mapped | None:
        if vectors is None:
            return None
        return most_similar(
            vectors.rows,
            wanted,
            rank=vectors.width,
            scratch=scratch,
            limit_mb=self.max_broadcast_mb,
        )

    def save(self, folder: Folder, *, move: bool = False) -> None:
        """Write everything that loading needs, and `model.json` last.

        Args:
            folder: of this model alone.
            move: take the tables themselves where that is possible, in place of a copy: they must
                lie on the same store. Afterwards only what `registry.load` makes of the folder can
                be used, and not this model.
        """
        folder.delete(MANIFEST)
        run_all(
            [
                partial(folder.take_table, name, table)
                if move and isinstance(table, Stored)
                else partial(folder.write_table, name, frame_of(table))
                for name, table in self._tables().items()
            ]
        )
        sections = self.refit_config.sections().items()
        settings = {name: section.model_dump(mode="json") for name, section in sections}
        folder.write_json(MANIFEST, {"name": self.name, "settings": settings, **self._manifest()})

    def _tables(self) -> Mapping[str, Interactions]:
        """The tables to be saved, by the names that `load` knows them by; none by default."""
        return {}

    def _manifest(self) -> Mapping[str, Any]:
        """What else `model.json` is to say, for `load`: `info` by default."""
        return self.info()

    @abstractmethod
    def info(self) -> Mapping[str, Any]:
        """What the manifest and report show: blocks, epochs, learning curve, sizes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelForPeople(FittedModel):
    """A fitted model that knows other people than those of its fit: see `FittedModel.for_people`.

    Args:
        model: as it was fitted.
        inputs: what its scorers need to know of the people.
    """

    model: FittedModel
    inputs: UserInputs

    @property
    def spark(self) -> SparkSession:
        return self.model.spark

    @property
    def predicts_ratings(self) -> bool:
        return self.model.predicts_ratings

    def _scoring(self) -> Scoring:
        return replace(self.model.scoring, inputs=self.inputs, users=None)

    def info(self) -> Mapping[str, Any]:
        return self.model.info()

    def save(self, folder: Folder, *, move: bool = False) -> None:
        """Not to be called: people come and go, the model stays."""
        del folder, move
        raise TypeError(f"{self.name} is kept without the people that it is asked for")


__all__ = ["FittedModel", "Model", "ModelForPeople", "Vectors"]
