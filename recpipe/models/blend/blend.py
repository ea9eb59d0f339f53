"""The blend: a weighted sum of the scores of fitted models, each on one scale per user."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from recpipe.errors import FitError
from recpipe.models.base import FittedModel
from recpipe.models.blend.scorer import BlendItems, Component
from recpipe.models.blend.weights import Estimate, cross_validated, scored_candidates
from recpipe.models.spec import MANIFEST
from recpipe.ranking.engine import Scoring
from recpipe.ranking.user_batch import UserInputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import SparkSession

    from recpipe.models.blend.settings import BlendSettings
    from recpipe.models.blend.weights import CrossValidated
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
        validated: Mapping[str, Any] = {}
        weights: Mapping[str, float] = self.settings.weights
        if not weights:
            weights, validated = self._found(data, seed)
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
            validated=validated,
        )

    def _found(
        self, data: TrainingData, seed: int
    ) -> tuple[Mapping[str, float], Mapping[str, Any]]:
        """The weight of each fitted model, on validation, and what `BlendModel.validated` says."""
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
            return equal, {}
        found = cross_validated(
            candidates, folds=settings.folds, steps=settings.steps, k=settings.k, seed=seed
        )
        weights = dict(zip(names, found.weights.tolist(), strict=True))
        return weights, _told(found, names, k=settings.k)

    def sections(self) -> Mapping[str, Section]:
        return {"blend": self.settings}


def _told(found: CrossValidated, names: Sequence[str], *, k: int) -> Mapping[str, Any]:
    """What the manifest says of weights that were found: see `BlendModel.validated`."""
    return {
        "users": len(found.blended),
        "folds": len(found.by_fold),
        "metric": f"ndcg@{k}",
        "blend": Estimate.of(found.blended)._asdict(),
        "models": [
            {
                "model": name,
                "weight": float(weight),
                "least_weight": float(of_folds.min()),
                "most_weight": float(of_folds.max()),
                "alone": Estimate.of(alone)._asdict(),
                "difference": Estimate.of(found.blended - alone)._asdict(),
            }
            for name, weight, of_folds, alone in zip(
                names, found.weights, found.by_fold.T, found.alone.T, strict=True
            )
        ],
    }


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
        validated: what the weights are worth on validation users whom they were not found on:
            users, folds, metric, the `blend` (value, ci_low, ci_high), and of each of the `models`
            its weight, the least and the most that a fold has given it, what it reaches `alone`,
            and the `difference` of the blend to it. Empty where weights were given.
    """

    components: Mapping[str, FittedModel]
    weights: Mapping[str, float]
    validated: Mapping[str, Any] = field(default_factory=dict)

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
        validated = {"validated": self.validated} if self.validated else {}
        return {"weights": dict(self.weights), **validated}

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
            validated=options.manifest.get("validated", {}),
        )


__all__ = ["Blend", "BlendModel"]
