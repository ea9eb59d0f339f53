"""The blend: a weighted sum of the scores of fitted models, each on one scale per user."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recpipe.errors import FitError
from recpipe.models.base import FittedModel
from recpipe.models.blend.scorer import BlendItems, Component
from recpipe.models.blend.weights import forward_selection, scored_candidates
from recpipe.models.spec import MANIFEST
from recpipe.ranking.engine import Scoring
from recpipe.ranking.user_batch import UserInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from recpipe.models.blend.settings import BlendSettings
    from recpipe.models.data import TrainingData
    from recpipe.models.spec import LoadOptions
    from recpipe.sections import Section
    from recpipe.storage import Folder

log = logging.getLogger(__name__)

_COMPONENTS = "components"


@dataclass(frozen=True)
class Blend:
    """A weighted sum of scores: see `scorer.BlendScorer` for their scale.

    Args:
        settings: `blend`.
    """

    settings: BlendSettings

    name: ClassVar[str] = "blend"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> BlendModel:
        """See `Model.fit`; the components are `data.fitted`, weighed on `data.validation`.

        Models that the weights leave out are no component of the fitted blend.

        Raises:
            FitError: if there is no model to blend, or no validation part to find weights on.
        """
        del scratch
        if not data.fitted:
            raise FitError(
                "blend: no model to blend", hint="name other models in train.models as well"
            )
        weights = self.settings.weights or self._found(data, seed)
        kept = {name: weight for name, weight in weights.items() if weight > 0}
        missing = [name for name in kept if name not in data.fitted]
        if missing:
            raise FitError(f"blend: {missing[0]} was not fitted", hint="add it to train.models")
        log.info("blend: %s", ", ".join(f"{weight:.2f} {name}" for name, weight in kept.items()))
        fixed = {"models": tuple(kept), "weights": kept}
        return BlendModel(
            name=self.name,
            refit_config=Blend(self.settings.model_copy(update=fixed)),
            components={name: data.fitted[name] for name in kept},
            weights=kept,
        )

    def _found(self, data: TrainingData, seed: int) -> dict[str, float]:
        """The weight of each fitted model, on validation."""
        if data.validation is None:
            raise FitError("blend: no validation part to find weights on", hint="set blend.weights")
        settings, names = self.settings, list(data.fitted)
        equal = {name: 1 / len(names) for name in names}
        whole = _blend_inputs(data.fitted, equal)
        candidates = scored_candidates(
            whole.items,
            whole.inputs,
            relevant=data.liked(data.validation, settings.preference_from).select("user", "item"),
            seen=data.ratings,
            max_users=settings.max_users,
            seed=seed,
            instant=data.as_of,
        )
        if candidates is None:
            log.warning("blend: no relevant item in validation; all models weigh the same")
            return equal
        found = forward_selection(candidates, steps=settings.steps, k=settings.k)
        return dict(zip(names, found.tolist(), strict=True))

    def sections(self) -> Mapping[str, Section]:
        return {"blend": self.settings}


@dataclass(frozen=True, eq=False)
class _BlendInputs:
    """The items of all components, what their scorers need, whether any scores everyone."""

    items: BlendItems
    inputs: UserInputs
    everyone: bool


def _blend_inputs(
    components: Mapping[str, FittedModel], weights: Mapping[str, float]
) -> _BlendInputs:
    """The items of all components, sent, and what their scorers need of users."""
    scorings = {name: model.scoring for name, model in components.items()}
    sent = tuple(Component(s.items(), s.everyone, weights[name]) for name, s in scorings.items())
    return _BlendInputs(
        BlendItems.of(sent),
        UserInputs(components=tuple(s.inputs for s in scorings.values())),
        any(s.everyone for s in scorings.values()),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class BlendModel(FittedModel):
    """Fitted models and the weights of their scores.

    Args:
        components: by name, at least one.
        weights: of each component, above 0.
    """

    components: Mapping[str, FittedModel]
    weights: Mapping[str, float]

    @property
    def spark(self) -> SparkSession:
        return next(iter(self.components.values())).spark

    def _scoring(self) -> Scoring:
        whole = _blend_inputs(self.components, self.weights)
        return Scoring(lambda: whole.items, whole.inputs, everyone=whole.everyone)

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Those of the components, as each makes them of the same ratings."""
        return UserInputs(components=tuple(c.inputs_of(data) for c in self.components.values()))

    def info(self) -> Mapping[str, Any]:
        return {"weights": dict(self.weights)}

    def save(self, folder: Folder, *, move: bool = False) -> None:
        """See `FittedModel.save`. Copies of the components lie below: no other folder is needed."""
        folder.delete(MANIFEST)
        for name, component in self.components.items():
            component.save(folder / _COMPONENTS / name)
        super().save(folder, move=move)

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> BlendModel:
        """The model that `save` wrote; called by `registry.load`."""
        weights = {name: float(weight) for name, weight in options.manifest["weights"].items()}
        return cls(
            **options.common,
            components={
                name: options.load_component(folder / _COMPONENTS / name) for name in weights
            },
            weights=weights,
        )


__all__ = ["Blend", "BlendModel"]
