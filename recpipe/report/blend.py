"""What the weights of a blend are worth, as the page shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import label_of
from recpipe.report.manifest import section
from recpipe.report.numbers import decimal
from recpipe.report.tables import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.report.tables import Table

_BLEND = "blend"


def blend_table(manifest: Mapping[str, Any]) -> Table | None:
    """Each model of a blend: its weight, and what the blend is worth beside it.

    The values are over validation users whom the weights were not found on; of a k-fold they are of
    its first fold. None where the run has no blend, or its weights were given.

    Args:
        manifest: of the run.
    """
    fits = section(manifest, "models", _BLEND).get("folds") or [{}]
    found = (fits[0].get("info") or {}).get("validated")
    if not found:
        return None
    metric = label_of(found["metric"])
    rows = [
        (
            each["model"],
            [
                decimal(each["weight"]),
                f"{decimal(each['least_weight'])} to {decimal(each['most_weight'])}",
                _said(each["alone"]),
                _said(each["difference"]),
            ],
        )
        for each in sorted(found["models"], key=lambda each: -each["weight"])
    ]
    blend, users, folds = _said(found["blend"]), found["users"], found["folds"]
    note = (
        f"The blend reaches {metric} {blend} on {users:,} validation users, by weights that were"
        f" found without them: the users fall into {folds} folds. In brackets 95 % intervals."
    )
    columns = ["weight", "in folds", f"{metric} alone", "blend minus it"]
    return replace(plain(columns, rows), notes=[note])


def _said(found: Mapping[str, Any]) -> str:
    """A value, with its interval in brackets where it has one."""
    if found["ci_low"] is None:
        return decimal(found["value"])
    between = f"{decimal(found['ci_low'])} to {decimal(found['ci_high'])}"
    return f"{decimal(found['value'])} ({between})"


__all__ = ["blend_table"]
