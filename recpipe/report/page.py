"""What a run recorded about itself, put on one page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, Template

from recpipe.feedback import Scale, liked_from
from recpipe.report import numbers
from recpipe.report.curve import learning_curve
from recpipe.report.scores import Scores, Table, lists_of, ratings_of
from recpipe.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.publish import Profile, Rated

_PARTS = ("test", "validation")
_USUAL_K = 10
_HISTORY = 10


def render(
    manifest: Mapping[str, Any], *, metrics: Mapping[str, Any], people: Sequence[Profile]
) -> str:
    """The page as one HTML file: no script, no outside resource, everything escaped.

    A run that was refused, failed or has not come to its end gets a page too: its verdict says
    so, and what it has no numbers for is left out.

    Args:
        manifest: of the run.
        metrics: metrics.json; empty where nothing was evaluated.
        people: persons with their history and list, such as three.
    """
    scores = Scores(metrics.get("rows") or (), order=_section(manifest, "models"))
    k = _shown_k(manifest, scores)
    lowest = _liked_from(manifest)
    return _template().render(
        run=manifest,
        verdict=verdict(manifest, scores),
        tables=_tables(
            scores,
            [
                (f"Top {k}", lists_of(k)),
                (f"Top {k}, beyond accuracy", lists_of(k, beyond_accuracy=True)),
                ("Predicted ratings", ratings_of()),
            ],
        ),
        other_tables=[
            (
                f"Lists of {other}",
                _tables(
                    scores,
                    [
                        (f"Top {other}", lists_of(other)),
                        (f"Top {other}, beyond accuracy", lists_of(other, beyond_accuracy=True)),
                    ],
                ),
            )
            for other in scores.ks
            if other != k
        ],
        definitions=metrics.get("definitions") or {},
        curves=list(_curves(manifest)),
        input=_section(manifest, "input"),
        splits=_splits(manifest),
        cutoffs=_section(_section(manifest, "split"), "cutoffs"),
        models=list(_models(manifest)),
        people=[(person, _liked(person, lowest)) for person in people],
        liked_from=lowest,
        settings=list(_flat(_section(manifest, "settings"))),
        timings=_section(manifest, "timings"),
        versions=_section(manifest, "versions"),
        output=_section(manifest, "output"),
        gates=manifest.get("gates") or [],
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(
        whole=numbers.whole,
        decimal=numbers.decimal,
        seconds=numbers.seconds,
        instant=numbers.instant,
    )
    # As text rather than by a loader of paths: the package may lie in a zip on a cluster.
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(page)


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the manifest; empty where it is missing or no object."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _shown_k(manifest: Mapping[str, Any], scores: Scores) -> int | None:
    """The length of lists that the choice was made by, else 10, else the first."""
    _, _, k = str(_section(manifest, "chosen").get("metric", "")).partition("@")
    wanted = int(k) if k.isdecimal() else _USUAL_K
    return wanted if wanted in scores.ks else next(iter(scores.ks), None)


def _tables(
    scores: Scores, wanted: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[str, list[tuple[str, Table]]]]:
    """By part, the tables there are, each with its title."""
    found = [
        (part, [(title, table) for title, names in wanted if (table := scores.table(part, names))])
        for part in _PARTS
    ]
    return [(part.capitalize(), tables) for part, tables in found if tables]


def _liked_from(manifest: Mapping[str, Any]) -> float | None:
    """The lowest rating that counts as liked; None where every row does, or nobody knows."""
    evaluate = _section(_section(manifest, "settings"), "evaluate")
    setting: Any = evaluate.get("relevance_threshold")
    scale = _section(manifest, "input").get("rating_scale")
    if setting == "auto" or numbers.is_number(setting):
        return liked_from(setting, Scale.model_validate(scale) if scale else None)
    return None


def _liked(person: Profile, lowest: float | None) -> list[Rated]:
    """What a person likes most; where it is not known from which rating on that is, the best rated.

    Args:
        person: with the best ratings, the best first.
        lowest: the lowest rating that counts as liked; None where that is not known.
    """
    best = person.best[:_HISTORY]
    return [rated for rated in best if lowest is None or (rated.rating or 0) >= lowest]


def _splits(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The counts of each fold; without folds one entry, that of the run."""
    found = _section(manifest, "split").get("parts")
    return [fold for fold in found if fold.get("parts")] if isinstance(found, list) else []


def _folds(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [fold for fold in model.get("folds") or () if isinstance(fold, dict)]


def _curves(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, model in _section(manifest, "models").items():
        curves = [_section(fold, "info").get("learning_curve") or [] for fold in _folds(model)]
        if (drawn := learning_curve(curves)) is not None:
            yield name, drawn


def _models(manifest: Mapping[str, Any]) -> Iterator[tuple[str, float | None, str]]:
    """Name, seconds of the fits and the plain numbers that the model told of itself."""
    for name, model in _section(manifest, "models").items():
        folds = _folds(model)
        taken = [fold["seconds"] for fold in folds if numbers.is_number(fold.get("seconds"))]
        info = _section(folds[0], "info") if folds else {}
        plain = {key: value for key, value in info.items() if not isinstance(value, dict | list)}
        said = ", ".join(f"{key.replace('_', ' ')} {_short(v)}" for key, v in plain.items())
        yield name, sum(taken) if taken else None, said


def _short(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if numbers.is_number(value) else numbers.NONE
    return f"{value:,}" if isinstance(value, int) else str(value)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`section.key` and value, in the order of the settings."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield prefix + key, ", ".join(map(str, value))
        else:
            yield prefix + key, "" if value is None else str(value)
