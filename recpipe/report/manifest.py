"""What a manifest says, read with the caution that old, failed and unfinished runs ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe.feedback import Scale, liked_from
from recpipe.report import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def section(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A section, or one in it; empty where it is missing or no object."""
    for name in names:
        found = tree.get(name)
        tree = found if isinstance(found, dict) else {}
    return tree


def splits_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The counts of each fold; without folds one entry, that of the run."""
    found = section(manifest, "split").get("parts")
    return [fold for fold in found if fold.get("parts")] if isinstance(found, list) else []


def folds_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The fits of a model, one a fold."""
    return [fold for fold in model.get("folds") or () if isinstance(fold, dict)]


def fits_of(manifest: Mapping[str, Any]) -> Iterator[tuple[str, float | None, str]]:
    """Name, seconds of the fits and the plain numbers that the model told of itself."""
    for name, model in section(manifest, "models").items():
        folds = folds_of(model)
        taken = [fold["seconds"] for fold in folds if numbers.is_number(fold.get("seconds"))]
        info = section(folds[0], "info") if folds else {}
        plain = {key: value for key, value in info.items() if not isinstance(value, dict | list)}
        said = ", ".join(f"{key.replace('_', ' ')} {_short(v)}" for key, v in plain.items())
        yield name, sum(taken) if taken else None, said


def liked_from_of(manifest: Mapping[str, Any]) -> float | None:
    """The lowest rating that counts as liked; None where every row does, or nobody knows."""
    setting: Any = section(manifest, "settings", "evaluate").get("relevance_threshold")
    scale = section(manifest, "input").get("rating_scale")
    if setting == "auto" or numbers.is_number(setting):
        return liked_from(setting, Scale.model_validate(scale) if scale else None)
    return None


def _short(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if numbers.is_number(value) else numbers.NONE
    return f"{value:,}" if isinstance(value, int) else str(value)
