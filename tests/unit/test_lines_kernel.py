"""Lines of ratings to numbers: clean lines alone, and those exactly."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.lines import CLEAN, NO_ROW, OTHER, Parsed, Rules, joined, parse

HEADER = "userId,movieId,rating,timestamp"
CLEAN_LINE = re.compile(
    r"(0|-?[1-9][0-9]{0,17}),(0|-?[1-9][0-9]{0,17}),([0-9]+(?:\.[0-9]+)?),([1-9][0-9]{0,17})"
)


def rules(delimiter: str = ",", *, width: int = 4, header: str = HEADER) -> Rules:
    return Rules(
        delimiter=np.array(list(delimiter.encode()), np.uint8),
        header=np.array(list(header.encode()), np.uint8),
        width=width,
        at=np.arange(4),
        scale=np.array([0.5, 5.0, 0.5]),
        period=np.array([1_000, 2_000]),
    )


def read(lines: list[str | bytes], by: Rules) -> Parsed:
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return parse(np.array(list(b"".join(line + b"\n" for line in encoded)), np.uint8), by)


def rows(parsed: Parsed) -> list[tuple[int, int, float, int]]:
    return list(zip(*(column.tolist() for column in parsed[:4]), strict=True))


def test_clean_lines_become_numbers_in_their_order() -> None:
    parsed = read([HEADER, "1,2,3.5,1500", "-7,0,5,1000\r", "", "  ", "3,9,0.50,1999"], rules())
    assert rows(parsed) == [(1, 2, 3.5, 1500), (-7, 0, 5.0, 1000), (3, 9, 0.5, 1999)]
    assert parsed.kinds.tolist() == [NO_ROW, CLEAN, CLEAN, NO_ROW, NO_ROW, CLEAN]


def test_a_delimiter_may_have_two_characters() -> None:
    parsed = read(["1::2::4::1500", "1:2:4:1500", "1::2::4::1500::"], rules("::", header=""))
    assert rows(parsed) == [(1, 2, 4.0, 1500)]
    assert parsed.kinds.tolist() == [CLEAN, OTHER, OTHER]


def test_fields_that_are_not_read_may_hold_any_plain_text() -> None:
    lines: list[str | bytes] = ["1,2,4,1500,some text", '1,2,4,1500,"quoted"', "1,2,4,1500,é"]
    assert read(lines, rules(width=5)).kinds.tolist() == [CLEAN, OTHER, OTHER]


@pytest.mark.parametrize(
    "line",
    [
        "01,2,3.5,1500", "+1,2,3.5,1500", "-0,2,3.5,1500", " 1,2,3.5,1500", "1 ,2,3.5,1500",
        "1234567890123456789,2,3.5,1500", "A1,2,3.5,1500", ",2,3.5,1500", "1,,3.5,1500",
        '"1",2,3.5,1500', "1,2,.5,1500", "1,2,5.,1500", "1,2,3.5f,1500", "1,2,1e0,1500",
        "1,2,nan,1500", "1,2,0,1500", "1,2,5.5,1500", "1,2,3.7,1500", "1,2,-3,1500",
        "1,2,0000000000000003,1500", "1,2,3.5,999", "1,2,3.5,2000", "1,2,3.5,1500.0",
        "1,2,3.5,", "1,2,3.5", "1,2,3.5,1500,", "\ufeff1,2,3.5,1500", "userid,movieid,x,y",
    ],
)  # fmt: skip
def test_whatever_is_not_plain_is_left_to_the_rules(line: str) -> None:
    parsed = read(["5,6,1.0,1001", line, "7,8,2.0,1002"], rules())
    assert parsed.kinds.tolist() == [CLEAN, OTHER, CLEAN]
    assert rows(parsed) == [(5, 6, 1.0, 1001), (7, 8, 2.0, 1002)]


def test_pieces_are_joined_by_what_cut_them_and_lines_are_found_again() -> None:
    text = b"1,2,3.5,1507\nbad\n5,6,1.0,1001\n3,4,1.0,1007\n5,6,7\n\n9,9,1.0,1997\n"
    pieces = text.split(b"7\n")[:-1]
    data = np.array(list(b"xx" + b"".join(pieces)), np.uint8)
    offsets = np.cumsum([2, *map(len, pieces)]).astype(np.int32)
    data.flags.writeable = offsets.flags.writeable = False
    whole = joined(data, offsets, np.array(list(b"7\n"), np.uint8))
    assert whole.tobytes() == text
    parsed = parse(whole, rules())
    assert parsed.kinds.tolist() == [CLEAN, OTHER, CLEAN, CLEAN, OTHER, NO_ROW, CLEAN]
    found = [text[a : b - 1] for a, b in pairwise(parsed.starts.tolist())]
    assert found == text.split(b"\n")[:-1]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet='0123456789,.-" \r:aé', max_size=24), max_size=8))
def test_lines_agree_with_the_definition(lines: list[str]) -> None:
    parsed = read([*lines], rules())
    expected, kinds = [], []
    for line in lines:
        bare = line.rstrip("\r")
        match = CLEAN_LINE.fullmatch(bare)
        kind = OTHER
        if not bare.strip(" "):
            kind = NO_ROW
        elif match and sum(c.isdigit() for c in match[3]) <= 15:
            user, item, rating, time = match.groups()
            value = float(rating)
            if 0.5 <= value <= 5 and value * 2 == int(value * 2) and 1000 <= int(time) < 2000:
                kind = CLEAN
                expected.append((int(user), int(item), value, int(time)))
        kinds.append(kind)
    assert parsed.kinds.tolist() == kinds
    assert rows(parsed) == expected
