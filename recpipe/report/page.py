"""What a run recorded about itself, put on one page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import label_of
from recpipe.report import numbers
from recpipe.report.blend import blend_table
from recpipe.report.clusters import clusters
from recpipe.report.data import data_figures, data_table, tag_table
from recpipe.report.differences import Differences
from recpipe.report.items import NEIGHBOURS_AMONG, item_map, neighbours
from recpipe.report.learning import learning_curves
from recpipe.report.manifest import fits_of, liked_from_of, section, splits_of
from recpipe.report.models import at_lengths, compared
from recpipe.report.rendering import chapters, page
from recpipe.report.scores import Scores, lists_of, ratings_of
from recpipe.report.subgroups import weaknesses
from recpipe.report.verdict import verdict
from recpipe.sections import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.publish import Profile, Rated
    from recpipe.report.items import ItemVectors
    from recpipe.report.subgroups import Weakness
    from recpipe.report.tables import Table

_CHAPTERS = (
    ("models", "How good the models are"),
    ("learning", "How models learned"),
    ("lengths", "By cut-off k"),
    ("subgroups", "Where the model is weak"),
    ("data", "The data"),
    ("people", "What people get"),
    ("items", "What the model knows of items"),
    ("clusters", "Clusters of items"),
    ("output", "Published output"),
    ("timings", "How long it took"),
    ("origin", "How to reproduce it"),
)
"""The chapters of a page in their order, by template and heading; one that is empty is left out."""

_PARTS = ("test", "validation")
_USUAL_METRIC, _USUAL_K = "ndcg", 10
_HISTORY = 10


def render(
    manifest: Mapping[str, Any],
    *,
    metrics: Mapping[str, Any],
    people: Sequence[Profile],
    data: Mapping[str, Any] | None = None,
    subgroups: Sequence[Mapping[str, Any]] = (),
    items: ItemVectors | None = None,
) -> str:
    """The page as one HTML file: no script, no outside resource, everything escaped.

    A run that was refused, failed or has not come to its end gets a page too: its verdict says
    so, and what it has no numbers for is left out.

    Args:
        manifest: of the run.
        metrics: metrics.json; empty where nothing was evaluated.
        people: persons with their history and list, such as three.
        data: data.json, what the ratings look like; None where it is not there.
        subgroups: the rows of subgroups.json.
        items: what a model knows of items; None where none has vectors.
    """
    scores = Scores(metrics.get("rows") or (), order=section(manifest, "models"))
    pairs = Differences(metrics.get("differences") or ())
    lowest = liked_from_of(manifest)
    context = {
        "run": manifest,
        "title": _title(manifest),
        "verdict": verdict(manifest, scores, pairs),
        **_of_models(manifest, metrics, scores, pairs),
        "learned": list(learning_curves(manifest)),
        "weaknesses": _weaknesses(manifest, subgroups),
        "input": section(manifest, "input"),
        "data_table": data_table(data),
        "data_figures": list(data_figures(data)),
        "tags": tag_table(data),
        "splits": splits_of(manifest),
        "cutoffs": section(manifest, "split", "cutoffs"),
        "clusters": clusters(manifest),
        "people": [(person, _liked(person, lowest)) for person in people],
        "liked_from": lowest,
        "map": None if items is None else item_map(items),
        "neighbours": None if items is None else neighbours(items),
        "neighbours_among": 0 if items is None else min(NEIGHBOURS_AMONG, len(items.items)),
        "models": list(fits_of(manifest)),
        "settings": list(flat(section(manifest, "settings"))),
        "timings": section(manifest, "timings"),
        "versions": section(manifest, "versions"),
        "output": section(manifest, "output"),
        "gates": manifest.get("gates") or [],
        "manifest": json.dumps(manifest, indent=1, ensure_ascii=False, default=str),
    }
    return page("page.html", context, chapters(_CHAPTERS, context))


def _weaknesses(
    manifest: Mapping[str, Any], subgroups: Sequence[Mapping[str, Any]]
) -> list[Weakness]:
    chosen = section(manifest, "chosen")
    model, metric = chosen.get("model"), chosen.get("metric")
    if not (model and metric):
        return []
    return list(weaknesses(subgroups, model=str(model), metric=str(metric)))


def _title(manifest: Mapping[str, Any]) -> str:
    day = manifest.get("run_date")
    return f"recpipe run {manifest.get('run_id', '')}" + (f" for {day}" if day else "")


def _of_models(
    manifest: Mapping[str, Any], metrics: Mapping[str, Any], scores: Scores, pairs: Differences
) -> dict[str, Any]:
    """How the models compare."""
    k = _shown_k(manifest, scores)
    metric = _metric(manifest, k)
    chosen = str(section(manifest, "chosen").get("model") or "")
    tests = [part for part in _PARTS if scores.users(part) is not None]
    every_pair = [(part, pairs.of_all(part, scores.models)) for part in _PARTS]
    return {
        "chosen": chosen,
        "metric": label_of(metric),
        "compared": list(compared(scores, metric, chosen=chosen)),
        "against": pairs.seen_from(chosen, scores.models),
        "pairs": [(part, table) for part, table in every_pair if table],
        "blend": blend_table(manifest),
        "lengths": list(at_lengths(scores, tests[0], chosen=chosen)) if tests else [],
        "tables": _tables(scores, [*_of_lists(k), ("Predicted ratings", ratings_of())]),
        "other_tables": [
            (f"Lists of {other}", _tables(scores, _of_lists(other)))
            for other in scores.ks
            if other != k
        ],
        "definitions": metrics.get("definitions") or {},
    }


def _metric(manifest: Mapping[str, Any], k: int | None) -> str:
    """What the choice was made by, else what models are usually compared by."""
    metric = str(section(manifest, "chosen").get("metric") or "")
    return metric or f"{_USUAL_METRIC}@{k or _USUAL_K}"


def _shown_k(manifest: Mapping[str, Any], scores: Scores) -> int | None:
    """The length of lists that the choice was made by, else 10, else the first."""
    _, _, k = str(section(manifest, "chosen").get("metric", "")).partition("@")
    wanted = int(k) if k.isdecimal() else _USUAL_K
    return wanted if wanted in scores.ks else next(iter(scores.ks), None)


def _of_lists(k: int | None) -> list[tuple[str, list[str]]]:
    """The tables of lists of one length: title and metrics."""
    return [
        (f"Top {k}", lists_of(k)),
        (f"Top {k}, beyond accuracy", lists_of(k, beyond_accuracy=True)),
    ]


def _tables(
    scores: Scores, wanted: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[str, list[tuple[str, Table]]]]:
    """By part, the tables there are, each with its title."""
    return [(part, tables) for part in _PARTS if (tables := list(_titled(scores, part, wanted)))]


def _titled(
    scores: Scores, part: str, wanted: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[tuple[str, Table]]:
    for title, names in wanted:
        if (table := scores.table(part, names)) is not None:
            yield title, table


def _liked(person: Profile, lowest: float | None) -> list[Rated]:
    """What a person likes most; where it is not known from which rating on that is, the best rated.

    Args:
        person: with the best ratings, the best first.
        lowest: the lowest rating that counts as liked; None where that is not known.
    """
    best = person.best[:_HISTORY]
    return [
        rated
        for rated in best
        if lowest is None or (numbers.is_number(rated.rating) and (rated.rating or 0) >= lowest)
    ]
