"""Clusters of items by what is said of them, and whether they mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recpipe.report.manifest import folds_of, section
from recpipe.report.numbers import decimal, is_number, share, whole
from recpipe.report.tables import Table, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRUCTURE = ((0.5, "hold together well"), (0.25, "hold together loosely"))
"""The least silhouette of what can be said (Kaufman and Rousseeuw 1990, Finding Groups in Data)."""
_AGREEMENT = ((0.5, "largely agree with"), (0.1, "agree in part with"))
"""The least adjusted Rand index of what can be said."""


class Clusters(NamedTuple):
    """The clusters of a run.

    Args:
        verdict: sentences on whether they mean anything.
        measures: silhouette, NMI and ARI, with what each says.
        table: a row a cluster, the largest first.
    """

    verdict: str
    measures: Table
    table: Table


def clusters(manifest: Mapping[str, Any]) -> Clusters | None:
    """The clusters that the manifest of a run has; None where it has none.

    Those of a fit on all ratings, or else those of the first fit that found some.
    """
    told = next((found for found in _told(manifest) if found.get("rows")), None)
    return None if told is None else Clusters(_verdict(told), _measures(told), _table(told))


def _told(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What each fit says of clusters, those on all ratings first; empty for models without any."""
    final, fitted = section(manifest, "final"), section(manifest, "models")
    fits = [section(final, name, "info") for name in final]
    for model in fitted.values():
        fits += [section(fold, "info") for fold in folds_of(model)]
    return [section(info, "clusters") for info in fits]


def _said(value: object, levels: tuple[tuple[float, str], ...], otherwise: str) -> str | None:
    """The words of the highest level that a measure reaches; None where it was not measured."""
    if not is_number(value):
        return None
    return next((words for least, words in levels if value >= least), otherwise)


def _verdict(told: Mapping[str, Any]) -> str:
    structure = _said(told.get("silhouette"), _STRUCTURE, "hardly stand apart from each other")
    agreement = _said(told.get("ari"), _AGREEMENT, "agree with genres little more than chance does")
    begin = f"{whole(told.get('count'))} clusters of {whole(told.get('items'))} items"
    if structure is None:
        said = f"{begin}: too few to say whether they stand apart"
    else:
        said = f"{begin} {structure}"
    if agreement is None:
        return f"{said}. No genres are known to compare them with."
    genres = "" if "genres" in agreement else " the genres"
    joined = f"{said}, and they {agreement}{genres}."
    apart = is_number(told.get("silhouette")) and told["silhouette"] >= _STRUCTURE[-1][0]
    alike = is_number(told.get("ari")) and told["ari"] >= _AGREEMENT[-1][0]
    if apart and alike:
        return f"{joined} They mean something: most items of one are alike in what is said of them."
    if apart:
        return f"{joined} They group items by something other than genre; the words say by what."
    if alike:
        return f"{joined} Read them as parts of a continuum with soft borders, not as kinds."
    return f"{joined} Do not read much into them."


def _measures(told: Mapping[str, Any]) -> Table:
    rows = [
        (
            "silhouette",
            [
                decimal(told.get("silhouette"), 3),
                "how far clusters stand apart, by cosine: 1 is apart, 0 is touching",
            ],
        ),
        (
            "ARI",
            [
                decimal(told.get("ari"), 3),
                "adjusted Rand index of clusters and genres: 1 is the same, 0 is chance",
            ],
        ),
        (
            "NMI",
            [
                decimal(told.get("nmi"), 3),
                "normalised mutual information of clusters and genres: 1 is the same, 0 is nothing",
            ],
        ),
    ]
    return plain(["value", "what it says"], rows, head="measure", words=True)


def _table(told: Mapping[str, Any]) -> Table:
    rows = [
        (
            whole(row.get("size")),
            [
                ", ".join(f"{name} {share(part)}" for name, part in row.get("genres") or ()),
                ", ".join(map(str, row.get("words") or ())),
                "; ".join(map(str, row.get("titles") or ())),
            ],
        )
        for row in told["rows"]
    ]
    columns = ["genres", "words", "the most rated"]
    return plain(columns, rows, head="items", words=True)
