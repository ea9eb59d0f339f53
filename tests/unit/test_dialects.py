"""Tables written in any way: columns, instants and values are told from the beginning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.errors import InputError
from recpipe.ingest.dialect import is_wide, text_of
from recpipe.ingest.formats import GivenColumns
from recpipe.ingest.layout import HEAD_BYTES, Sample
from recpipe.ingest.names import chosen_columns, known_columns
from recpipe.ingest.packed import narrow_head
from recpipe.ingest.recognition import RecognisedSource, look_at, recognise
from recpipe.ingest.times import TimeForm, time_form

T = 1_400_000_000


def release_of(text: str, path: str = "r.csv", **given: Any) -> RecognisedSource:
    sample = Sample(path, text.encode()[:HEAD_BYTES])
    return recognise([sample], source="here", given=GivenColumns(**given))


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ("user_id:token item_id:token rating:float timestamp:float", (0, 1, 2, 3)),
        ("reviewerID asin overall unixReviewTime reviewTime", (0, 1, 2, 3)),
        ("user_id book_id rating", (0, 1, 2, None)),
        ("User-ID ISBN Book-Rating", (0, 1, 2, None)),
        ("user_id anime_id rating", (0, 1, 2, None)),
        ("user_id recipe_id date rating review", (0, 1, 3, 2)),
        ("userID artistID weight", (0, 1, 2, None)),
        ("review_id user_id business_id stars useful date", (1, 2, 3, 5)),
        ("timestamp visitorid event itemid transactionid", (1, 3, None, 0)),
        ("t_dat customer_id article_id price sales_channel_id", (1, 2, None, 0)),
        ("marketplace customer_id product_id star_rating review_date", (1, 2, 3, 4)),
        ("Id ProductId UserId ProfileName Score Time", (2, 1, 4, 5)),
        ("app_id user_id is_recommended hours date", (1, 0, 3, 4)),
        ("listener track stars played_at", (None, None, 2, None)),
    ],
)
def test_the_names_of_public_data_sets_are_known(
    names: str, columns: tuple[int | None, ...]
) -> None:
    found = known_columns(names.split())
    fields = ("user", "item", "rating", "timestamp")
    assert tuple(found.get(field) for field in fields) == columns


def test_given_columns_come_before_known_names_and_an_empty_one_is_none() -> None:
    names = ["userId", "movieId", "rating", "timestamp", "Critic"]
    assert chosen_columns(names, {"user": "critic"})["user"] == 4
    assert "timestamp" not in chosen_columns(names, {"timestamp": ""})
    assert chosen_columns(names, {"item": 5, "user": "nobody"}) == {
        "item": 4, "rating": 2, "timestamp": 3,
    }  # fmt: skip
    assert chosen_columns(names, {"user": 2, "item": 9}, header=False) == {"user": 1}


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([f"{T}"], TimeForm("seconds")),
        ([f"{T}000"], TimeForm("milliseconds")),
        ([f"{T}000000"], TimeForm("microseconds")),
        ([f"{T}000000000"], TimeForm("nanoseconds")),
        ([f"{T}.0"], TimeForm("seconds", floats=True)),
        (["1.4e12"], TimeForm("milliseconds", floats=True)),
        (["2014-06-21"], TimeForm("text")),
        (["2014-06-21T16:45:31.5+02:00"], TimeForm("text")),
        (["2014/06/21 16:45"], TimeForm("text")),
        (["20140621"], TimeForm("pattern", "yyyyMMdd")),
        (["21/06/2014"], TimeForm("words")),
        (["1", "2", "3"], TimeForm("numbers")),
        (["0", "0"], TimeForm("void")),
        (["", ""], TimeForm("void")),
        ([], TimeForm("seconds")),
    ],
)
def test_the_way_instants_are_written_is_seen(values: list[str], form: TimeForm) -> None:
    assert time_form(values) == form


def test_the_setting_says_how_instants_are_written() -> None:
    assert time_form(["21/06/2014"], "dd/MM/yyyy") == TimeForm("pattern", "dd/MM/yyyy")
    assert time_form(["1", "2"], "order") == TimeForm("order")


def test_a_header_whose_names_are_not_known_is_never_read_by_position() -> None:
    for delimiter in (",", ";", "\t", "|", "::", " "):
        lines = [["who", "what", "how", "when"]] + [
            [str(i), "7", "4", str(T + i)] for i in range(9)
        ]
        text = "\n".join(delimiter.join(line) for line in lines)
        with pytest.raises(InputError, match="who, what, how, when"):
            release_of(text)


@pytest.mark.parametrize(
    ("first", "row"),
    [
        ("sep=;\nmovieId;userId;rating;timestamp", "{item};{user};4.0;{time}"),
        ("My films", "{item},{user},4.0,{time}"),
        ("track,listener,played", "song-{item},u{user},2014/06/21"),
        ("track,listener,played", "song-{item},u{user},21.06.2014"),
        ("track,listener,stars,played_at,", "{item},{user},4.0,{time}"),
        ("track,track,stars,played_at", "{item},{user},4.0,{time}"),
    ],
)
def test_a_first_line_that_is_no_row_keeps_a_file_from_being_read_by_position(
    first: str, row: str
) -> None:
    lines = [row.format(item=i % 60, user=i, time=T + i) for i in range(500)]
    with pytest.raises(InputError, match=r"its first line|among its names"):
        release_of("\n".join([first, *lines]))


def test_a_column_that_the_settings_name_must_be_there() -> None:
    text = f"userId,movieId,rating,timestamp\n1,2,3,{T}\n"
    for field, column in (("rating", "ratng"), ("timestamp", "tmestamp"), ("rating", 9)):
        with pytest.raises(InputError, match=f"no column {column}") as refused:
            release_of(text, columns={field: column})
        assert "userId, movieId, rating, timestamp" in refused.value.message
    layout = release_of(text, columns={"rating": ""}).parts["ratings"].layout
    assert layout.fields == ("item", "timestamp", "user")


def test_a_letter_that_the_sample_cuts_is_no_other_encoding() -> None:
    header = "пользователь,фильм,оценка"
    for shift in range(2):
        head = (header + "\n" + "u" * shift + "ф" * HEAD_BYTES).encode()[:HEAD_BYTES]
        found = text_of(head)
        assert found is not None
        assert found.lines[0] == header


def test_a_file_is_a_copy_of_another_by_a_word_in_its_name() -> None:
    head = f"userId,movieId,rating,timestamp\n1,2,3,{T}\n".encode()

    def ignored(name: str) -> bool:
        found = recognise([Sample("ratings.csv", head), Sample(name, head)], source="here")
        return name in found.ignored

    assert all(map(ignored, ("ratings_backup.csv", "ratingsCopy.csv", "ratings-old.csv")))
    assert not any(map(ignored, ("ratings_holdout.csv", "ratings_gold.csv", "ratings_2.csv")))


def test_a_file_without_instants_beside_one_with_them_is_refused() -> None:
    files = {"a.csv": "0", "b.csv": str(T)}
    samples = [
        Sample(name, f"userId,movieId,rating,timestamp\n1,2,3,{time}\n".encode())
        for name, time in files.items()
    ]
    with pytest.raises(InputError, match="differ in their columns"):
        recognise(samples, source="here")


def test_three_columns_without_a_header_are_a_rating_or_an_instant() -> None:
    assert release_of("1,2,3.5\n4,5,4\n").parts["ratings"].layout.fields == (
        "item", "rating", "user",
    )  # fmt: skip
    behance = release_of(f"1 2 {T}\n3 4 {T + 1}\n").parts["ratings"].layout
    assert (behance.delimiter, behance.fields) == (" ", ("item", "timestamp", "user"))


def test_columns_are_named_by_number_where_there_is_no_header() -> None:
    given = {"user": 1, "item": 3, "timestamp": 2}
    text = f"8,2014-06-21,x,1\n9,2014-06-22,y,{T}\n"
    layout = release_of(text, columns=given).parts["ratings"].layout
    assert (layout.header, dict(layout.columns)) == (None, {"user": 0, "item": 2, "timestamp": 1})


def test_a_file_that_may_hold_ratings_stops_the_source_and_others_are_named() -> None:
    good = Sample("a.csv", f"userId,movieId,rating,timestamp\n1,2,3,{T}\n".encode())

    def beside(name: str, head: bytes, **more: Any) -> RecognisedSource:
        return recognise([good, Sample(name, head, **more)], source="here")

    for name, head in (
        ("b.csv", b"\x00\x01binary"), ("b.csv", b"who,stars\n1,2\n1,3\n"), ("b.csv", b""),
        ("b.parquet", b"PAR1cut off"), ("b.zip", b"PK\x03\x04\x00"), ("b.bz2", b"BZh9\x00"),
        ("b.csv", b"userId,film,rating,timestamp\n1,2,3,4\n1,2,3,4\n"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=name):
            beside(name, head)
    assert beside("README.txt", b"About, this\ndata\n").ignored.keys() == {"README.txt"}
    assert beside("part-1.csv", b"", committed=True).ignored == {"part-1.csv": "has 0 bytes"}
    truth = b'{\n  "seed": 42,\n  "users": [1, 2]\n}\n'
    assert beside("truth.json", truth).ignored.keys() == {"truth.json"}
    with pytest.raises(InputError, match=r"more\.json"):
        beside("more.json", b'{\n "all": [\n  {"user": 1, "item": 2}\n ]\n}\n')
    users = b"userId,age,rating\n1,24,4\n2,31,3\n"
    assert beside("users.csv", users).ignored.keys() == {"users.csv"}


def test_wide_characters_are_told_and_narrowed() -> None:
    text = "userId,movieId,rating\n" * 40
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        head = text.encode(encoding)
        assert is_wide(head)
        assert narrow_head(head).decode() == text
    assert not is_wide(text.encode())
    assert not is_wide(b"")


def test_latin_1_is_told_from_a_line_that_is_damaged() -> None:
    latin = text_of("".join(f"José {i},1\n" for i in range(9)).encode("latin-1"))
    assert latin is not None
    assert latin.latin1
    damaged = text_of("".join(f"José {i},1\n" for i in range(9)).encode() + b"Jos\xe9,1\n")
    assert damaged is not None
    assert not damaged.latin1


_USERS = st.sampled_from(["userId", "user_id", "USER", "reviewerID", "customer_id:token"])
_ITEMS = st.sampled_from(["movieId", "item_id", "asin", "Book-ID", "recipe_id"])
_RATINGS = st.sampled_from(["rating", "overall", "Stars", "score:float"])
_TIMES = st.sampled_from(["timestamp", "time", "unixReviewTime", "review_date"])
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


@given(data=st.data())
def test_a_table_is_recognised_however_it_is_written(data: st.DataObject) -> None:
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|", "::"]), "delimiter")
    fields = {"user": _USERS, "item": _ITEMS, "rating": _RATINGS, "timestamp": _TIMES}
    if data.draw(st.booleans(), "without times"):
        del fields["timestamp"]
    names = {field: data.draw(name, field) for field, name in fields.items()}
    order = data.draw(st.permutations([*names, "note"]), "order")
    unit = data.draw(st.sampled_from([*_UNITS, "text"]), "unit")
    quoted = delimiter in {",", ";"} and data.draw(st.booleans(), "quoted")
    comma = delimiter != "," and data.draw(st.booleans(), "decimal comma")
    step = data.draw(st.sampled_from([0.5, 1.0]), "step")
    note = 'so "so"' if delimiter in {"\t", "|"} else "so so"

    def row(number: int) -> dict[str, str]:
        rating = str(1 + step * (number % 9)).replace(".", "," if comma else ".")
        at = T + 86_400 * number
        time = f"2014-06-{1 + number % 28:02}" if unit == "text" else str(at * _UNITS[unit])
        values = {"user": f"u{number % 5}", "item": f"{number % 7}", "rating": rating}
        return {**values, "timestamp": time, "note": note}

    def line(cells: dict[str, str]) -> str:
        shown = [cells[name] for name in order]
        return delimiter.join(f'"{cell}"' if quoted else cell for cell in shown)

    header = line({**names, "note": "note"})
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]), "line end")
    mark = data.draw(st.sampled_from(["", "\ufeff"]), "byte order mark")
    text = mark + end.join([header, *[line(row(n)) for n in range(30)]]) + end
    release = release_of(text, data.draw(st.sampled_from(["x.csv", "data.txt", "part-0"])))
    layout = release.parts["ratings"].layout
    assert layout.columns == {name: order.index(name) for name in names}
    assert (layout.delimiter, layout.width) == (delimiter, len(order))
    assert layout.time == (unit if "timestamp" in names else None)
    assert layout.decimal_comma == comma
    assert set(release.values) == {1 + step * n for n in range(9)}


@given(st.binary(max_size=400), st.sampled_from(["a.csv", "b.txt", "c.parquet", "d"]))
def test_any_bytes_are_one_thing_or_another(head: bytes, name: str) -> None:
    look_at(Sample(name, head), GivenColumns())
