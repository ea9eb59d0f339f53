"""Zip archives from strangers."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recpipe.errors import InputError
from recpipe.ingest.archive import Limits, open_archive

if TYPE_CHECKING:
    from pathlib import Path

ROOMY = Limits(members=100, bytes=10_000_000, ratio=100.0)


def write_zip(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def unpack(path: Path, folder: Path, limits: Limits = ROOMY) -> dict[str, bytes]:
    folder.mkdir()
    with open_archive(path, name="a.zip", limits=limits) as archive:
        unpacked = archive.unpack(archive.members, folder)
    for member in unpacked.values():
        content = member.path.read_bytes()
        assert (member.size, member.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return {name: member.path.read_bytes() for name, member in unpacked.items()}


def test_members_come_out_as_they_went_in_under_names_of_our_own(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip",
        {
            "ml/ratings.csv": b"1,2,3,4\n",
            "ml/Amélie *?.dat": b"\xff",
            "__MACOSX/ml/._ratings.csv": b"resource fork",
            "ml/.DS_Store": b"hidden",
        },
    )
    assert unpack(path, tmp_path / "out") == {
        "ml/ratings.csv": b"1,2,3,4\n",
        "ml/Amélie *?.dat": b"\xff",
    }
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0000.dat", "0001.csv"]


def test_the_head_of_a_member_is_read_without_unpacking_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"ratings.csv": b"0123456789"})
    with open_archive(path, name="a.zip", limits=ROOMY) as archive:
        assert archive.head("ratings.csv", 4) == b"0123"
        assert archive.head("ratings.csv", 99) == b"0123456789"


@pytest.mark.parametrize(
    "name",
    ["../evil.csv", "ml/../../evil.csv", "/etc/passwd", "C:/evil.csv", "c:evil", "..\\evil.csv",
     "\\\\host\\share\\x", "ml/.."],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_folder_refuses_the_archive(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"ratings.csv": b"1,2,3,4\n", name: b"x"})
    with (
        pytest.raises(InputError, match="outside the folder"),
        open_archive(path, name="a.zip", limits=ROOMY),
    ):
        pass


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_refuse_the_archive(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("ratings.csv")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with (
        pytest.raises(InputError, match="link or device"),
        open_archive(path, name="a.zip", limits=ROOMY),
    ):
        pass


def test_two_members_of_one_name_refuse_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ratings.csv", "1,2,3,4\n")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ratings.csv", "9,9,9,9\n")
    with (
        pytest.raises(InputError, match="two members"),
        open_archive(path, name="a.zip", limits=ROOMY),
    ):
        pass


def test_too_many_members_refuse_the_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{i}.csv": b"x" for i in range(4)})
    unpack(path, tmp_path / "in", Limits(members=4, bytes=100, ratio=10))
    with pytest.raises(InputError, match="4 members, more than 3"):
        unpack(path, tmp_path / "out", Limits(members=3, bytes=100, ratio=10))


def test_the_limit_on_bytes_is_on_all_members_together(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"a": bytes(60), "b": bytes(40)}, method=zipfile.ZIP_STORED
    )
    unpack(path, tmp_path / "in", Limits(members=9, bytes=100, ratio=10))
    with pytest.raises(InputError, match="more than 99 bytes"):
        unpack(path, tmp_path / "out", Limits(members=9, bytes=99, ratio=10))


def test_a_bomb_is_stopped_by_its_ratio_before_it_is_whole(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"ratings.csv": bytes(50_000_000)})
    with pytest.raises(InputError, match="more than 100 times"):
        unpack(path, tmp_path / "out", Limits(members=9, bytes=10**12, ratio=100))
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) < 10_000_000


def test_headers_that_understate_the_size_do_not_help_a_bomb(tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    path = write_zip(tmp_path / "a.zip", {"ratings.csv": content}, method=zipfile.ZIP_STORED)
    size = len(content).to_bytes(4, "little")
    # The uncompressed size stands in the local and in the central header.
    path.write_bytes(path.read_bytes().replace(size + size, size + (5).to_bytes(4, "little")))
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out", Limits(members=9, bytes=1000, ratio=100))


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"ratings.csv": b"1,2,3,4\n"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ratings\.csv is encrypted"):
        unpack(path, tmp_path / "out")


def test_what_is_no_zip_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 and then nothing of the kind")
    with (
        pytest.raises(InputError, match="not a zip archive"),
        open_archive(path, name="a.zip", limits=ROOMY),
    ):
        pass


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), value=st.integers(0, 255))
@example(cut=0, flip=143, value=0)  # the name of the member begins with its end
def test_damage_ends_in_an_input_error_or_in_the_right_bytes(
    tmp_path: Path, cut: int, flip: int, value: int
) -> None:
    buffer = io.BytesIO()
    content = b"".join(b"%d,%d,3.5,964982703\n" % (i, i * 7) for i in range(9))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml/ratings.csv", content)
    data = bytearray(buffer.getvalue())
    data[flip % len(data)] = value
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(data[: len(data) - (cut if cut < 300 else 0)]))
    members = unpacked_or_refused(path)
    assert members is None or members == {} or set(members.values()) == {content}


def unpacked_or_refused(path: Path) -> dict[str, bytes] | None:
    folder = path.parent / "out"
    folder.mkdir(exist_ok=True)
    try:
        with open_archive(path, name="a.zip", limits=ROOMY) as archive:
            found = archive.unpack(archive.members, folder)
            return {name: member.path.read_bytes() for name, member in found.items()}
    except InputError:
        return None
