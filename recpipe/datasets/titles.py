"""Invented movie titles and tags, with all that makes real ones hard to parse."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

_ADJECTIVES = (
    "Amber", "Borrowed", "Broken", "Crimson", "Distant", "Electric", "Endless", "Forgotten",
    "Gentle", "Hidden", "Hollow", "Honest", "Last", "Lonely", "Lucky", "Midnight", "Paper",
    "Patient", "Quiet", "Reluctant", "Restless", "Salt", "Second", "Secret", "Silver", "Sleeping",
    "Stolen", "Sudden", "Velvet", "Wandering", "Wild", "Winter",
)  # fmt: skip
_NOUNS = (
    "Accordion", "Alibi", "Archipelago", "Astronomer", "Ballad", "Beekeeper", "Bridge", "Carousel",
    "Cartographer", "Clockmaker", "Comet", "Compass", "Courier", "Detour", "Ferryman", "Garden",
    "Glacier", "Harbour", "Heiress", "Horizon", "Inheritance", "Lantern", "Librarian", "Lighthouse",
    "Locksmith", "Magpie", "Masquerade", "Meridian", "Orchard", "Pianist", "Postcard", "Prophecy",
    "Railway", "Rehearsal", "River", "Satellite", "Signal", "Summer", "Tailor", "Telegram",
    "Tenant", "Tide", "Translator", "Umbrella", "Verdict", "Violin", "Voyage", "Witness",
)  # fmt: skip
_PLACES = (
    "Ávila", "Bergen", "Córdoba", "Dakar", "Évora", "Fjærland", "Genoa", "Göteborg", "Havana",
    "İzmir", "Kraków", "Kyoto", "Łódź", "Malmö", "Marrakesh", "Montréal", "Nantes", "Odessa",
    "Patagonia", "Québec", "Reykjavík", "São Tomé", "Tbilisi", "Tromsø", "Valparaíso", "Zürich",
)  # fmt: skip
_NAMES = (
    "Agnès", "Bao", "Çelik", "Dário", "Elsbeth", "Françoise", "Gunnar", "Høgni", "Ines", "Jörg",
    "Kasia", "Lázaro", "Mireille", "Nnamdi", "Oisín", "Pilar", "Quentin", "Renée", "Søren",
    "Tomasz", "Ulla", "Věra", "Wei", "Xóchitl", "Yusuf", "Zoë",
)  # fmt: skip
_ABROAD = (
    "雨の庭", "静かな海", "夜の灯台", "最後の列車", "春天的信", "山的那一边",
    "바람의 정원", "두 번째 겨울", "رسالة من البحر", "בית הקיץ", "चाँद की नाव", "คืนสุดท้าย",
    "Тихий берег", "Последний поезд", "Το φως του νησιού", "Η σιωπή",  # noqa: RUF001 - not Latin
)  # fmt: skip
_PATTERNS = (
    *3 * (("{adjective} {noun}", ", The"),),
    ("{adjective} {noun}", ", A"),
    *2 * (("{noun} of {place}", ", The"),),
    *2 * (("{name}'s {adjective} {noun}", ""),),
    ("{noun} and the {adjective} {other}", ", The"),
    ("{place}, {adjective} {place}", ""),
    ('"{adjective}" {name}', ""),
    ("{abroad} ({adjective} {noun})", ""),
    ("{name} & {partner}", ""),
    ("{noun}: {adjective} {other}", ""),
    ("{noun} :: {other}", ""),
    ("{noun}, {noun}, {other}", ""),
)
"""Titles before and after the place where the number of a sequel goes."""
_ROMAN = ("", " II", " III", " IV", " V", " VI", " VII", " VIII", " IX", " X")
_WITHOUT_YEAR = 0.003
"""Share of titles that say no year, as a few of MovieLens's."""

_COMMON_TAGS = (
    "atmospheric", "based on a book", "so bad, it's good", 'the "other" ending',
    "visually striking", "great soundtrack", "slow start", "worth a second look",
)  # fmt: skip
TAGS = {
    "Action": ("car chase", "explosions", "stunts", "one-man army"),
    "Adventure": ("journey", "treasure", "jungle", "survival"),
    "Animation": ("hand-drawn", "stop motion", "talking animals", "beautiful colours"),
    "Children": ("family", "school", "friendship", "bedtime"),
    "Comedy": ("deadpan", "slapstick", "quotable", "awkward"),
    "Crime": ("heist", "mafia", "corruption", "undercover"),
    "Documentary": ("archive footage", "nature", "politics", "interviews"),
    "Drama": ("grief", "coming of age", "strong cast", "small town"),
    "Fantasy": ("dragons", "magic", "fairy tale", "quest"),
    "Film-Noir": ("femme fatale", "voice-over", "rain", "black and white"),
    "Horror": ("haunted house", "jump scares", "gore", "cult"),
    "Musical": ("dancing", "sing-along", "broadway", "costumes"),
    "Mystery": ("whodunit", "twist", "detective", "locked room"),
    "Romance": ("chemistry", "love triangle", "letters", "paris"),
    "Sci-Fi": ("time travel", "robots", "dystopia", "space"),
    "Thriller": ("tense", "conspiracy", "cat and mouse", "paranoia"),
    "War": ("trenches", "anti-war", "resistance", "true story"),
    "Western": ("duel", "frontier", "sheriff", "spaghetti"),
}
"""What people write about a movie of each genre."""


def tag_words(genres: Sequence[str]) -> tuple[str, ...]:
    """The tags that a movie of these genres may get."""
    return tuple(tag for genre in genres for tag in TAGS[genre]) + _COMMON_TAGS


def titles(rng: np.random.Generator, years: Sequence[int]) -> Iterator[str]:
    """A title for each year, no two the same, in the manner of MovieLens.

    Articles stand behind a comma ("Lantern, The (1994)"), names from abroad bring an English title
    along, some titles hold quotes, and a few lack the year.
    """
    used: dict[str, int] = {}
    for year, without in zip(years, rng.random(len(years)) < _WITHOUT_YEAR, strict=True):
        name, rest = _name(rng)
        # A title that was there already becomes a sequel.
        place = used.get(name + rest, 0)
        used[name + rest] = place + 1
        number = _ROMAN[place] if place < len(_ROMAN) else f" {place + 1}"
        yield f"{name}{number}{rest}" + ("" if without else f" ({year})")


def _name(rng: np.random.Generator) -> tuple[str, str]:
    """A name in two parts, between which the number of a sequel has its place."""
    before, after = _PATTERNS[rng.integers(len(_PATTERNS))]
    noun, other = rng.choice(len(_NOUNS), 2, replace=False)
    name, partner = rng.choice(len(_NAMES), 2, replace=False)
    words = {
        "adjective": _ADJECTIVES[rng.integers(len(_ADJECTIVES))],
        "noun": _NOUNS[noun],
        "other": _NOUNS[other],
        "place": _PLACES[rng.integers(len(_PLACES))],
        "name": _NAMES[name],
        "partner": _NAMES[partner],
        "abroad": _ABROAD[rng.integers(len(_ABROAD))],
    }
    return before.format(**words), after
