"""Everything that the rest of recpipe knows of a model before it is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from recpipe.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recpipe.models.base import FittedModel, Model
    from recpipe.models.search import SearchSpace
    from recpipe.sections import Section
    from recpipe.storage import Folder

S = TypeVar("S", bound="Section")

MANIFEST = "model.json"
"""The file of a saved model that is written last."""


@dataclass(frozen=True)
class Sections:
    """The sections of the settings from which a model is built.

    Args:
        by_name: the values of each section that the spec of the model names.
    """

    by_name: Mapping[str, Section]

    def of(self, kind: type[S]) -> S:
        """The section of exactly this type."""
        return next(value for value in self.by_name.values() if type(value) is kind)


@dataclass(frozen=True)
class LoadOptions:
    """What loading a saved model needs beside its folder.

    Args:
        manifest: the saved model's model.json.
        refit_config: the model that would be fitted again, built from the saved sections.
        max_broadcast_mb: of `FittedModel`; a choice of now, no part of the model.
        load_component: loads a saved model from a subfolder, for a model that scores by others.
    """

    manifest: Mapping[str, Any]
    refit_config: Model
    max_broadcast_mb: int
    load_component: Callable[[Folder], FittedModel]

    @property
    def common(self) -> Mapping[str, Any]:
        """The arguments that every `FittedModel` takes."""
        return {
            "name": self.manifest["name"],
            "refit_config": self.refit_config,
            "max_broadcast_mb": self.max_broadcast_mb,
        }


@dataclass(frozen=True)
class Extra:
    """What fits of some models need beyond recpipe: an optional extra of the package.

    Args:
        name: of the extra.
        module: that it brings.
        title: what people call it.
    """

    name: str
    module: str
    title: str

    def need(self, model: str) -> None:
        """Raise MissingError where it is not installed; nothing is imported.

        Args:
            model: that is to be fitted.
        """
        if find_spec(self.module) is None:
            raise MissingError(
                f"{model}: {self.title} is not installed",
                hint=f"pip install 'recpipe[{self.name}]', and where tasks of Spark run on other"
                " machines, there as well",
            )


def no_components(_sections: Sections, _trained: Sequence[str]) -> tuple[str, ...]:
    """The components of a model that needs no other fitted models: none."""
    return ()


def middle_by_epochs(folds: Sequence[Mapping[str, Any]]) -> int:
    """The fold whose number of epochs is the median: each fold stopped where its own was best."""
    order = sorted(range(len(folds)), key=lambda fold: int(folds[fold].get("epochs", 0)))
    return order[len(order) // 2]


def middle_fold(folds: Sequence[Mapping[str, Any]]) -> int:
    """The place of the fold in the middle, for models whose fits decide nothing by validation."""
    return len(folds) // 2


def load_factors(folder: Folder, options: LoadOptions) -> FittedModel:
    """The fitted model of factors in a folder."""
    from recpipe.models.factors import FactorModel

    return FactorModel.load(folder, options)


@dataclass(frozen=True)
class ModelSpec:
    """One model: what settings, stages, reports and tests derive from.

    Functions import what they build when they are called, so that the registry can be read
    without Spark and without compiled kernels.

    Args:
        name: what settings, manifests and folders call it.
        build: makes the model from its sections.
        load: the fitted model from the folder that `FittedModel.save` wrote. `registry.load` says
            what is wrong where the manifest lacks something or has it in another shape.
        sections: the sections of the settings that its fit reads, by their names; its own has the
            name of the model.
        predicts_ratings: whether the model predicts ratings, so that RMSE can be computed.
        takes_implicit: whether a model that predicts ratings can be fitted to implicit feedback
            all the same; it then predicts none. One that never predicts ratings always can.
        takes_weights: whether its fit weighs ratings by `TrainingData.weight`, so that it can be
            fitted under `train.half_life`; also true of one in which no rating counts.
        baseline: whether it is there to be beaten: a run warns where a baseline is the best.
        selectable: whether `publish.model = auto` may choose it.
        representative_fold: of k-fold, the place of the fold whose fit stands for all when the
            model is fitted again; given what `FittedModel.info` said of each fold.
        components: the models that its fit is handed fitted; given its sections and the names of
            the other trained models that `auto` may choose.
        search: what `recpipe tune` may change of the section that has the name of the model; None
            for a model that is not tuned.
        extra: what its fit needs beyond recpipe; None for nothing. What is fitted does without.

    Raises:
        ValueError: if `search` names what is no setting, or values that the setting refuses.
    """

    name: str
    build: Callable[[Sections], Model]
    load: Callable[[Folder, LoadOptions], FittedModel]
    sections: Mapping[str, type[Section]] = field(default_factory=dict)
    predicts_ratings: bool = False
    takes_implicit: bool = False
    takes_weights: bool = False
    baseline: bool = False
    selectable: bool = True
    representative_fold: Callable[[Sequence[Mapping[str, Any]]], int] = middle_fold
    components: Callable[[Sections, Sequence[str]], tuple[str, ...]] = no_components
    search: SearchSpace | None = None
    extra: Extra | None = None

    @property
    def needs_ratings(self) -> bool:
        """Whether the model cannot be fitted to implicit feedback."""
        return self.predicts_ratings and not self.takes_implicit

    def __post_init__(self) -> None:
        if self.search is not None:
            self.search.check(self.name, self.sections.get(self.name))


__all__ = [
    "MANIFEST", "Extra", "LoadOptions", "ModelSpec", "Sections", "load_factors", "middle_by_epochs",
    "middle_fold",
]  # fmt: skip
