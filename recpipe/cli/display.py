"""What a command prints for a person: tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recpipe.publish import Profile, Rated, Recommended

_SHOWN = ("rmse", "mae", "precision", "recall", "ndcg", "map", "mrr", "hit_rate")


def console() -> Console:
    """Standard output; as wide as it takes where nobody watches."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def metrics_table(
    rows: Iterable[Mapping[str, Any]], *, models: Sequence[str], k: int, chosen: str
) -> Table:
    """One line a model: rating metrics and ranking metrics at `k` on test, the mean over folds.

    Args:
        rows: the rows of metrics.json.
        models: their order.
        k: the length of lists.
        chosen: the model that is published, marked with a star.
    """
    values: dict[tuple[str, str], list[float]] = {}
    users: dict[str, dict[int | None, int]] = {}
    for row in rows:
        if row["split"] == "test" and row["k"] in {None, k}:
            values.setdefault((row["model"], row["metric"]), []).append(row["value"])
            if row["k"] is not None:
                users.setdefault(row["model"], {})[row["fold"]] = row["users"]
    table = Table(title=f"Test metrics (lists of {k})", title_justify="left")
    table.add_column("model")
    for metric in _SHOWN:
        table.add_column(metric, justify="right")
    table.add_column("users", justify="right")
    for model in models:
        cells = [_mean(values.get((model, metric), [])) for metric in _SHOWN]
        counted = f"{sum(users[model].values()):,}" if model in users else ""
        name = f"{model} *" if model == chosen else model
        table.add_row(name, *cells, counted, style="bold" if model == chosen else "")
    return table


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}" if values else "-"


def profile_tables(profile: Profile, *, run_id: str) -> Iterator[Table]:
    """What a person rated best and latest, and the list that was published for them."""
    for name, rated in (("Rated best", profile.best), ("Rated latest", profile.latest)):
        table = Table("rating", "title", "when", title=f"{name} by user {profile.user_id}")
        for row in rated:
            rating = "" if row.rating is None else f"{row.rating:g}"
            day = "" if row.rated_at is None else f"{row.rated_at:%Y-%m-%d}"
            table.add_row(rating, _title(row), day)
        if rated:
            yield table
    table = Table("rank", "title", "score", "source", title=f"For user {profile.user_id}, {run_id}")
    for place in profile.recommendations:
        table.add_row(str(place.rank), _title(place), f"{place.score:.3f}", place.source)
    yield table


def _title(row: Rated | Recommended) -> str:
    # Titles come from outside: what looks like markup is shown as it is.
    return escape(row.title or row.item_id)
