"""What a command prints for a person: tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recpipe.publish import Profile, Rated, Recommended
    from recpipe.report import Comparison
    from recpipe.report.scores import Scores
    from recpipe.report.tables import Table as Grid
    from recpipe.stages.similar import Alike
    from recpipe.tuning.tuned import Tuned


def console() -> Console:
    """Standard output; as wide as it takes where nobody watches."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def metrics_table(
    rows: Iterable[Mapping[str, Any]], *, models: Sequence[str], k: int, chosen: str
) -> Group:
    """A table of test metrics as the report has them, and below it what they rest on.

    It has a line for each model and a column for each metric of ratings and of lists of `k`.

    Args:
        rows: the rows of metrics.json.
        models: their order.
        k: the length of lists.
        chosen: the model that is published, marked with a star.
    """
    from recpipe.report.numbers import NONE
    from recpipe.report.scores import Scores, lists_of, ratings_of

    names = [*ratings_of(summary=True), *lists_of(k, summary=True)]
    scores = Scores(rows).table("test", names, models=models)
    notes = [*scores.notes] if scores else ["No metric on test."]
    if chosen in models:
        notes.append(f"* {chosen}: the model that was chosen to be published.")
    table = Table("model")
    for name in scores.columns if scores else ():
        table.add_column(name, justify="right")
    for model, cells in scores.rows if scores else [(model, ()) for model in models]:
        name = f"{model} *" if model == chosen else model
        style = "bold" if model == chosen else ""
        table.add_row(name, *(cell.text.replace(NONE, "-") for cell in cells), style=style)
    title = Text(f"Test metrics (lists of {k})", style="italic")
    return Group(title, table, *map(Text, notes))


def backtest_tables(result: Mapping[str, Any]) -> Iterator[Table | Text]:
    """A backtest: the metric that models are chosen by in every window, and over all of them."""
    from recpipe.report.backtest import not_pooled
    from recpipe.report.scores import Scores

    metric = result["metric"]
    windows = [(window, Scores(window["rows"])) for window in result["results"]]
    pooled = Scores(result["pooled"])
    yield _windows_table(windows, pooled, metric)
    for window, _ in windows:
        if window["error"]:
            yield Text(f"{window['window']} has no result: {window['error']}")
    if reason := not_pooled(metric):
        yield Text(reason)
    yield from _what_differs(result["differences"])
    changed: dict[str, list[float]] = {}
    for entry in result["stability"]:
        changed.setdefault(entry["model"], []).append(entry["churn"])
    if changed:
        said = ", ".join(f"{m} {sum(c) / len(c):.0%}" for m, c in changed.items())
        yield Text(f"Places that change from one cutoff to the next: {said}")


def _windows_table(
    windows: Sequence[tuple[Mapping[str, Any], Scores]], pooled: Scores, metric: str
) -> Table:
    """A line a window, the last over all of them; below it what that one rests on."""
    from recpipe.evaluation.metrics import label_of
    from recpipe.report.backtest import POOLED, basis_of
    from recpipe.report.numbers import decimal, whole

    named = dict.fromkeys(model for _, scores in windows for model in scores.models)
    models = [m for m in named if any(s.value(m, metric, "test") is not None for _, s in windows)]

    def cells(scores: Scores, split: str, ranks: Mapping[str, int]) -> Iterator[str]:
        for model in models:
            value = scores.value(model, metric, split)
            place = f" ({ranks[model]})" if model in ranks else ""
            yield "-" if value is None else f"{decimal(value)}{place}"

    table = Table("window from", "users", *models, title=label_of(metric))
    for window, scores in windows:
        users = whole(scores.users("test", ranking="@" in metric) or 0)
        at = window["test_from"][:16].replace("T", " ")
        table.add_row(at, users, *cells(scores, "test", window["ranks"]))
    of_all = {m: found for m in models if (found := pooled.rests_on(m, metric, POOLED))}
    if of_all:
        users = whole(pooled.users(POOLED))
        table.add_row("all windows", users, *cells(pooled, POOLED, {}), style="bold")
        widest = max(of_all, key=lambda model: of_all[model])
        table.caption = f"All windows: over {basis_of(pooled, widest, metric)}."
    return table


def _what_differs(differences: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """The pairs of models whose difference over all windows is shown, the better one first."""
    from recpipe.report.backtest import POOLED
    from recpipe.report.differences import Differences

    pairs = Differences(differences)
    for pair in differences:
        seen = pairs.of(pair["model"], pair["other"], POOLED)
        if seen is not None and seen.shown:
            better = seen if seen.value > 0 else seen.turned()
            yield Text(f"{better.model} compared with {better.other}: {better}")


def tuned_table(tuned: Tuned) -> Group:
    """What a search has found: the best in two sentences, and its settings beside the current."""
    table = Table("setting")
    for name in ("current", "best"):
        table.add_column(name, justify="right")
    for name, value in tuned.current.items():
        best = tuned.best.settings[name]
        table.add_row(name, str(value), str(best), style="bold" if best != value else "")
    return Group(Text(tuned.headline), Text(tuned.against_current), table, Text(tuned.counts))


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
    explained = any(place.because for place in profile.recommendations)
    if explained:
        table.add_column("because of")
    for place in profile.recommendations:
        because = [escape("; ".join(place.because))] if explained else []
        table.add_row(str(place.rank), _title(place), f"{place.score:.3f}", place.source, *because)
    yield table


def similar_table(of: str, places: Sequence[Alike], *, model: str) -> Table:
    """What is most similar, the most similar first.

    Args:
        of: what it is similar to.
        places: in their order.
        model: that says so.
    """
    titled = any(place.title for place in places)
    table = Table("rank", "id", title=f"Most similar to {of}, by {model}")
    if titled:
        table.add_column("title")
    table.add_column("similarity", justify="right")
    for place in places:
        title = [escape(place.title or "")] if titled else []
        table.add_row(str(place.rank), escape(place.id), *title, f"{place.similarity:.3f}")
    return table


def description_tables(data: Mapping[str, Any]) -> Iterator[Table | Text]:
    """What the ratings look like: in numbers, how they are spread, genres, tags, what was refused.

    Args:
        data: what data.json has.
    """
    from recpipe.report.data import data_figures, data_table, tag_table

    overview = data_table(data)
    if overview is not None:
        yield _table("The ratings in numbers", overview)
    refused = data.get("refused") or {}
    if refused:
        yield Text(_rows_of_the_source(refused))
    for figure in data_figures(data):
        if figure.key not in _LONG:
            yield _table(figure.title, figure.table, bars=True)
    tags = tag_table(data)
    if tags is not None:
        yield _table("The most used tags", tags, bars=True)


def comparison_tables(found: Comparison) -> Iterator[Table | Text]:
    """How two runs compare: in words, and their chosen models by every metric."""
    from recpipe.report.compare import grounds, headline, side_by_side

    yield Text(headline(found), style="bold")
    for sentence in grounds(found):
        yield Text(sentence)
    table = side_by_side(found)
    if table is not None:
        yield _table("The chosen models on test", table)


_LONG = frozenset({"over-time", "popularity", "genre-shares"})
"""Figures whose tables have more lines than a screen."""

_BAR = 40


def _table(title: str, found: Grid, *, bars: bool = False) -> Table:
    """A table of the page on the console.

    Args:
        title: of it.
        found: the table.
        bars: whether the first numbers are shown as bars as well.
    """
    table = Table(escape(found.head), title=title, title_justify="left")
    for name in found.columns:
        table.add_column(escape(name), justify="left" if found.words else "right")
    numbers = [_number(cells[0].text) for _, cells in found.rows] if bars else []
    if bars:
        table.add_column("")
    for place, (name, cells) in enumerate(found.rows):
        texts = [escape(cell.text) for cell in cells]
        if bars:
            texts.append("█" * round(_BAR * numbers[place] / max(*numbers, 1)))
        table.add_row(escape(name), *texts)
    return table


def _number(text: str) -> int:
    digits = text.replace(",", "")
    return int(digits) if digits.isdecimal() else 0


def _rows_of_the_source(refused: Mapping[str, Any]) -> str:
    parts = [f"{refused.get(name, 0):,} {name}" for name in ("kept", "rejected", "superseded")]
    parts += [
        f"{refused[name]:,} {said}"
        for name, said in (("unrated", "seen and not rated"), ("later", "later than the run date"))
        if refused.get(name)
    ]
    why = ", ".join(f"{reason} {rows:,}" for reason, rows in (refused.get("reasons") or {}).items())
    return f"{refused.get('rows', 0):,} rows of the source = {' + '.join(parts)}" + (
        f"; rejected: {why}" if why else ""
    )


def _title(row: Rated | Recommended) -> str:
    # Titles come from outside: what looks like markup is shown as it is.
    return escape(row.title or row.item_id)
