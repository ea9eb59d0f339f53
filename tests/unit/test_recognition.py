"""Recognition of releases by the beginnings of their files."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.errors import InputError
from recpipe.ingest.layout import HEAD_BYTES, Layout, Sample
from recpipe.ingest.recognition import HALF_STARS, WHOLE_STARS, recognise

CSV = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n"
AMAZON = "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,0558925278,3.0,1355443200\n"
DAT_1M = "1::1193::5::978300760\n1::661::3::978302109\n"
DAT_10M = "1::122::5::838985046\n1::185::3.5::838983525\n"
U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
U_ITEM = "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"


def sample(path: str, text: str, encoding: str = "utf-8") -> Sample:
    return Sample(path, text.encode(encoding)[:HEAD_BYTES])


def layout_of(text: str, path: str = "anything") -> Layout:
    return recognise([sample(path, text)], source="here").parts["ratings"].layout


def test_the_csv_releases_are_known_by_their_headers_in_a_nested_folder() -> None:
    release = recognise(
        [
            sample("ml-25m/ratings.csv", CSV),
            sample("ml-25m/movies.csv", 'movieId,title,genres\n1,"A, The (1995)",Drama\n'),
            sample("ml-25m/tags.csv", "userId,movieId,tag,timestamp\n3,260,classic,1439472355\n"),
            sample("ml-25m/links.csv", "movieId,imdbId,tmdbId\n1,0114709,862\n"),
            sample("ml-25m/genome-scores.csv", "movieId,tagId,relevance\n1,1,0.02875\n"),
            sample("ml-25m/genome-tags.csv", "tagId,tag\n1,007\n"),
            sample("ml-25m/README.txt", "Summary\n=======\nThis dataset describes ...\n"),
        ],
        source="here",
    )
    assert release.name == "MovieLens 20m, 25m, 32m or latest (.csv)"
    assert release.scale == HALF_STARS
    assert set(release.parts) == {
        "ratings", "movies", "tags", "links", "genome_scores", "genome_tags",
    }  # fmt: skip
    assert release.parts["movies"].paths == ("ml-25m/movies.csv",)


def test_1m_is_told_from_10m_by_its_users_and_has_whole_stars() -> None:
    users = sample("users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    movies = sample("movies.dat", "1::Toy Story (1995)::Animation|Comedy\n", "latin-1")
    first = recognise([sample("ratings.dat", DAT_1M), users, movies], source="here")
    assert (first.name, first.scale) == ("MovieLens 1m (.dat)", WHOLE_STARS)
    assert set(first.parts) == {"ratings", "users", "movies"}
    tags = sample("tags.dat", "15::4973::excellent!::1215184630\n")
    tenth = recognise([sample("ratings.dat", DAT_10M), tags, movies], source="here")
    assert (tenth.name, tenth.scale) == ("MovieLens 10m (.dat)", HALF_STARS)
    assert set(tenth.parts) == {"ratings", "tags", "movies"}


def test_100k_is_read_from_u_data_and_not_from_its_ten_splits() -> None:
    splits = [sample(f"ml-100k/u{i}.{half}", U_DATA) for i in "12ab" for half in ("base", "test")]
    release = recognise(
        [
            *splits,
            sample("ml-100k/u.data", U_DATA),
            sample("ml-100k/u.item", U_ITEM, "latin-1"),
            sample("ml-100k/u.user", "1|24|M|technician|85711\n"),
            sample("ml-100k/u.genre", "unknown|0\nAction|1\n\n"),
            sample("ml-100k/u.occupation", "administrator\nartist\n"),
            sample("ml-100k/u.info", "943 users\n1682 items\n"),
        ],
        source="here",
    )
    assert release.parts["ratings"].paths == ("ml-100k/u.data",)
    assert set(release.parts) == {"ratings", "movies", "users", "genres"}
    assert (release.name, release.scale) == ("MovieLens 100k (u.data)", WHOLE_STARS)


def test_a_split_of_100k_that_is_given_alone_is_read() -> None:
    release = recognise([sample("u1.base", U_DATA)], source="here")
    assert release.parts["ratings"].paths == ("u1.base",)
    assert release.scale == WHOLE_STARS


@pytest.mark.parametrize("text", [CSV, AMAZON, DAT_1M, U_DATA], ids=["csv", "amazon", "dat", "tab"])
@pytest.mark.parametrize("name", ["x.txt", "deep/er/data", "ratings.dat", "part-00000"])
def test_content_decides_whatever_the_file_is_called(name: str, text: str) -> None:
    assert layout_of(text, name) == layout_of(text)


def test_columns_are_found_under_their_usual_names_in_any_order() -> None:
    amazon = layout_of(
        "rating,unixReviewTime,asin,reviewerID,verified\n5.0,1369699200,B0,A1,true\n"
    )
    assert amazon.columns == {"rating": 0, "timestamp": 1, "item": 2, "user": 3}
    assert amazon.width == 5
    ours = layout_of("item_id;user_id;rating;rated_at\nx;y;3;2005-04-02 23:53:47\n")
    assert (ours.delimiter, ours.time) == (";", "text")
    assert ours.columns == {"item": 0, "user": 1, "rating": 2, "timestamp": 3}
    # parent_asin is the product, asin one of its variants.
    assert layout_of("asin,parent_asin,user_id,rating,timestamp\na,p,u,5,1\n").columns["item"] == 1


@pytest.mark.parametrize(
    ("timestamp", "unit"),
    [
        ("964982703", "seconds"),
        ("1588687728923", "milliseconds"),
        ("2005-04-02 23:53:47", "text"),
        ('"2005-04-02 23:53:47"', "text"),
    ],
)
def test_the_way_timestamps_are_written_is_seen(timestamp: str, unit: str) -> None:
    with_header = layout_of(f"userId,movieId,rating,timestamp\n1,31,2.5,{timestamp}\n")
    without = layout_of(f"u1,31,2.5,{timestamp}\n")
    assert with_header.time == without.time == unit


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    assert layout_of("\ufeff" + CSV.replace("\n", "\r\n")) == layout_of(CSV)
    assert layout_of('"userId","movieId","rating","timestamp"\n1,2,3,4\n').header is not None


def test_a_file_of_numeric_tags_is_told_from_ratings_by_its_name() -> None:
    years = "15::4973::1984::1215184630\n"
    release = recognise([sample("ratings.dat", DAT_10M), sample("tags.dat", years)], source="here")
    assert release.parts["tags"].paths == ("tags.dat",)
    assert release.parts["ratings"].paths == ("ratings.dat",)


def test_part_files_of_one_layout_are_read_together_in_order_of_names() -> None:
    parts = [sample(f"ratings/part-0000{i}.csv", CSV) for i in (2, 0, 1)]
    paths = recognise(parts, source="here").parts["ratings"].paths
    assert paths == tuple(f"ratings/part-0000{i}.csv" for i in range(3))


def test_the_file_with_the_own_name_is_taken_before_others_that_look_like_it() -> None:
    copies = [sample("ratings_backup.csv", CSV), sample("a.csv", AMAZON)]
    release = recognise([*copies, sample("ratings.csv", CSV)], source="here")
    assert release.parts["ratings"].paths == ("ratings.csv",)


def test_a_file_half_of_whose_lines_are_broken_is_still_recognised() -> None:
    assert layout_of("1,2,3.5,964982703\nnonsense\n3,4,,964982703\n5,6,2.0,964982703\n").width == 4


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([sample("a/ratings.csv", CSV), sample("b/ratings.csv", CSV)], "more than one file"),
        ([sample("x.csv", CSV), sample("y.csv", AMAZON)], "differ in their columns"),
        ([sample("u1.base", U_DATA), sample("u1.test", U_DATA)], "only splits"),
        ([sample("notes.txt", "dear diary\n")], "no ratings in notes.txt"),
        ([sample("movies.csv", "movieId,title,genres\n1,A,B\n")], "no ratings in movies.csv"),
        ([sample("ratings.csv", "")], "is empty"),
        ([], "is empty"),
        ([sample("ratings.csv", CSV, "utf-16")], "UTF-16"),
        ([sample("ratings.csv", CSV, "utf-16-le")], "UTF-16"),
        ([Sample("ratings.csv.gz", b"\x1f\x8b\x08\x00rest")], "gzip"),
        ([sample("pairs.csv", "1,2\n4,5\n")], "its columns are 1 \\(1\\), 2 \\(2\\)"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(samples: list[Sample], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recognise(samples, source="here")


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_no_bytes_make_recognition_fail_in_another_way(heads: list[bytes]) -> None:
    with suppress(InputError):
        recognise([Sample(f"f{i}", head) for i, head in enumerate(heads)], source="here")
