"""What data.json says of the ratings, as tables and figures."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from recpipe.report.figures import Figure
from recpipe.report.manifest import section
from recpipe.report.numbers import decimal, instant, share, whole
from recpipe.report.plots import data as plots
from recpipe.report.tables import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.report.tables import Table

_GENRES, _LINES = 20, 6
_FIFTH = 0.2
_MARKS = 6


def data_table(data: Mapping[str, Any] | None) -> Table | None:
    """The ratings in numbers."""
    if not data:
        return None
    rows = [
        ("ratings", whole(data["ratings"])),
        ("users", whole(data["users"])),
        ("items", whole(data["items"])),
        ("rated pairs", f"{share(data['density'], 2)} of all pairs of a user and an item"),
    ]
    if data.get("first"):
        rows.append(("made", f"{instant(data['first'])} to {instant(data['last'])}"))
    if data.get("mean") is not None:
        rows.append(("mean rating", decimal(data["mean"], 2)))
    for key, name in (("per_user", "ratings of a user"), ("per_item", "ratings of an item")):
        if spread := section(data, key):
            rows.append((name, _spread(spread)))
    if cold := section(data, "cold"):
        rows += list(_cold(cold))
    return plain(["number"], [(name, [text]) for name, text in rows], head="what", words=True)


def _spread(spread: Mapping[str, Any]) -> str:
    first, middle, third = spread["quartiles"]
    ends = f"{whole(spread['lowest'])} to {whole(spread['highest'])}"
    return (
        f"{whole(middle)} in the middle, half between {whole(first)} and {whole(third)};"
        f" {ends}, mean {decimal(spread['mean'], 1)}"
    )


def _cold(cold: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    at = instant(cold["cutoff"])
    yield "where test begins", f"{at}; {whole(cold['ratings'])} ratings from then on"
    for kind, who in (("users", "users who"), ("items", "items that")):
        yield (
            f"cold: {who} begin then",
            f"{whole(cold[kind])}, with {whole(cold[f'ratings_of_cold_{kind}'])} of these ratings",
        )


def data_figures(data: Mapping[str, Any] | None) -> Iterator[Figure]:
    """How ratings are spread over values, users, items, time and genres; what there is of it."""
    if not data or not data.get("ratings"):
        return
    yield _values(data)
    for key, who in (("per_user", "user"), ("per_item", "item")):
        if section(data, key):
            yield _spread_figure(data[key], key.replace("_", "-"), who)
    if data.get("over_time"):
        yield _over_time(data)
    if data.get("popularity"):
        yield _popularity(data["popularity"])
    if data.get("genres"):
        yield _genres(data["genres"])
        yield from _genre_shares(data)


def tag_table(data: Mapping[str, Any] | None) -> Table | None:
    """The most used tags."""
    tags = section(data or {}, "tags")
    if not tags.get("most_used"):
        return None
    rows = [(tag, [whole(count)]) for tag, count in tags["most_used"]]
    return plain(["taggings"], rows, head=f"tag, of {whole(tags.get('distinct'))}")


def _bins(bins: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], list[int]]:
    """Of each bin where it begins, its whole range, and how many are in it."""
    begins = [f"{bin_['low']:g}" for bin_ in bins]
    ranges = [
        f"{b['low']:g}" if b["low"] == b["high"] else f"{b['low']:g} to below {b['high']:g}"
        for b in bins
    ]
    return begins, ranges, [bin_["holds"] for bin_ in bins]


def _values(data: Mapping[str, Any]) -> Figure:
    begins, ranges, counts = _bins(data["by_value"])
    most = ranges[counts.index(max(counts))]
    alt = f"Ratings by value; the most, {whole(max(counts))}, are {most}."
    names = plots.Names("rating", "ratings")
    return Figure(
        "values",
        "Ratings by value",
        partial(plots.bars, begins, counts, names, key="values", alt=alt),
        plain(["ratings"], [(r, [whole(n)]) for r, n in zip(ranges, counts, strict=True)],
              head="rating"),
    )  # fmt: skip


def _spread_figure(spread: Mapping[str, Any], key: str, who: str) -> Figure:
    begins, _, counts = _bins(spread["bins"])
    ranges = [_whole_range(bin_) for bin_ in spread["bins"]]
    middle = whole(spread["quartiles"][1])
    alt = (
        f"{who.capitalize()}s by their number of ratings, on a log scale; half of them have"
        f" {middle} or fewer."
    )
    short = [plots.short(float(begin)) for begin in begins]
    names = plots.Names("ratings, log scale", f"{who}s")
    return Figure(
        key,
        f"Ratings of {'a user' if who == 'user' else 'an item'}",
        partial(plots.bars, short, counts, names, key=key, alt=alt),
        plain([f"{who}s"], [(r, [whole(n)]) for r, n in zip(ranges, counts, strict=True)],
              head="ratings"),
        note=f"A bar begins at its label. Half of the {who}s have {middle} ratings or fewer.",
    )  # fmt: skip


def _whole_range(bin_: Mapping[str, Any]) -> str:
    low, last = bin_["low"], bin_["high"] - 1
    return whole(low) if low == last else f"{whole(low)} to {whole(last)}"


def _over_time(data: Mapping[str, Any]) -> Figure:
    unit, periods = data["unit"], data["over_time"]
    days = [date.fromisoformat(str(period["begins"])) for period in periods]
    counts = [period["ratings"] for period in periods]
    labels = [_period(day, unit) for day in days]
    most = labels[counts.index(max(counts))]
    alt = (
        f"Ratings by {unit} from {labels[0]} to {labels[-1]}; the most, {whole(max(counts))},"
        f" in that of {most}."
    )
    names = plots.Names(unit, "ratings")
    return Figure(
        "over-time",
        f"Ratings by {unit}",
        partial(
            plots.bars, labels, counts, names, key="over-time", alt=alt, marks=_years(days, unit)
        ),
        plain(["ratings"], [(label, [whole(n)]) for label, n in zip(labels, counts, strict=True)],
              head=unit),
    )  # fmt: skip


def _period(day: date, unit: str) -> str:
    """`2016`, `2016 Q2`, `2016-05` or `2016-05-17`."""
    match unit:
        case "year":
            return str(day.year)
        case "quarter":
            return f"{day.year} Q{(day.month + 2) // 3}"
        case "month":
            return f"{day:%Y-%m}"
        case _:
            return str(day)


def _years(days: Sequence[date], unit: str) -> list[tuple[int, str]] | None:
    """Where the years begin, as far as there is room; None where they are no marks of time."""
    if unit not in {"quarter", "month"}:
        return None
    begins = [(place, str(day.year)) for place, day in enumerate(days) if day.month == 1]
    step = max(1, -(-len(begins) // _MARKS))
    return begins[::step] if len(begins) > 1 else None


def _popularity(points: Sequence[tuple[float, float]]) -> Figure:
    fifth = min(points, key=lambda point: abs(point[0] - _FIFTH))
    said = f"The most rated {share(fifth[0])} of the items have {share(fifth[1])} of the ratings."
    return Figure(
        "popularity",
        "What the most rated items have",
        partial(plots.popularity, [(x, y) for x, y in points], key="popularity", alt=said),
        plain(["share of the ratings"], [(share(x, 1), [share(y, 1)]) for x, y in points],
              head="share of the items"),
        note=said,
    )  # fmt: skip


def _genres(genres: Sequence[Mapping[str, Any]]) -> Figure:
    shown = genres[:_GENRES]
    names, counts = [g["name"] for g in shown], [g["ratings"] for g in shown]
    alt = f"Ratings by genre; the most, {whole(counts[0])}, of {names[0]}."
    rows = [(g["name"], [whole(g["ratings"]), whole(g["items"])]) for g in genres]
    return Figure(
        "genres",
        "Ratings by genre",
        partial(plots.rows, names, counts, key="genres", alt=alt),
        plain(["ratings", "items"], rows, head="genre"),
        note="An item of several genres counts for each.",
    )


def _genre_shares(data: Mapping[str, Any]) -> Iterator[Figure]:
    """The share of the most rated genres by year; nothing where there are fewer than two years."""
    totals = {int(year): n for year, n in (data.get("ratings_by_year") or {}).items() if n}
    series = []
    for genre in data["genres"][:_LINES]:
        by_year = {int(year): n for year, n in genre["by_year"].items()}
        points = [(year, by_year.get(year, 0) / n) for year, n in sorted(totals.items())]
        series.append(plots.Series(genre["name"], points))
    if len(totals) > 1 and series:
        alt = (
            f"Share of the ratings of a year by genre, {min(totals)} to {max(totals)}:"
            f" {', '.join(line.name for line in series)}."
        )
        rows = [
            (str(year), [share(line.points[place][1]) for line in series])
            for place, year in enumerate(sorted(totals))
        ]
        yield Figure(
            "genre-shares",
            "Genres over time",
            partial(plots.shares_by_year, series, key="genre-shares", alt=alt),
            plain([line.name for line in series], rows, head="year"),
            note="The share of a year’s ratings that go to items of a genre; items have several.",  # noqa: RUF001
        )
