"""Downloads against a real HTTP server that behaves as badly as real ones do."""

from __future__ import annotations

import hashlib
import io
import random
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from recpipe.datasets import catalogue, download
from recpipe.datasets.download import fetch
from recpipe.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "latest-small"
FILE = "ml-latest-small.zip"


def archive(seed: int = 0) -> bytes:
    """About 300 kB of zip that differs with the seed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr("ml/ratings.csv", random.Random(seed).randbytes(300_000))  # noqa: S311
    return stream.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `body`, and does for each request in turn what `script` says: one of

    "" (as it should), "cut" (closes midway), "chunked" (no length), "slow" (after half a second),
    or a status such as "503".
    """

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.script: list[str] = []
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/movielens/"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        act = server.script.pop(0) if server.script else ""
        if act == "slow":
            time.sleep(0.5)
        if act.isdecimal() or self.path != f"/movielens/{FILE}":
            self.send_error(int(act or 404))
            return
        body = server.body
        self.send_response(200)
        if act == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if act == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif act == "chunked":
            for at in range(0, len(body), 65536):
                piece = body[at : at + 65536]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(archive()) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def get(server: Server, cache: Path, *, attempts: int = 3) -> Path:
    return fetch(NAME, cache=cache, base_url=server.url, attempts=attempts)


def pinned(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Give the release of these tests a published checksum."""
    entry = catalogue.Release(
        NAME, FILE, 1, 1, 1, "", checksum=f"md5:{hashlib.md5(body).hexdigest()}", source="X"  # noqa: S324
    )  # fmt: skip
    monkeypatch.setattr(download, "release", lambda _name: entry)


def test_an_archive_is_downloaded_once_and_then_taken_from_the_cache(
    server: Server, tmp_path: Path
) -> None:
    cache = tmp_path / "not" / "yet"
    first = get(server, cache)
    assert first == cache / FILE
    assert first.read_bytes() == server.body
    assert get(server, cache) == first
    assert len(server.requests) == 1
    assert left_in(cache) == [FILE, f"{FILE}.sha256"]


def test_the_checksum_of_the_first_download_is_kept_as_sha256sum_reads_it(
    server: Server, tmp_path: Path
) -> None:
    get(server, tmp_path)
    assert (tmp_path / f"{FILE}.sha256").read_text() == (
        f"{hashlib.sha256(server.body).hexdigest()}  {FILE}\n"
    )


def test_the_base_url_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECPIPE_MOVIELENS_URL", server.url.rstrip("/"))
    assert fetch(NAME, cache=tmp_path).read_bytes() == server.body


def test_progress_tells_bytes_and_total_to_the_end(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    def tell(done: int, total: int | None) -> None:
        told.append((done, total))

    fetch(NAME, cache=tmp_path, base_url=server.url, progress=tell)
    size = len(server.body)
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_transfer_that_is_cut_off_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", ""]
    assert get(server, tmp_path).read_bytes() == server.body
    assert len(server.requests) == 2


def test_one_that_is_cut_off_each_time_is_given_up_and_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.script = ["cut", "503"]
    with pytest.raises(MissingError, match="answers 503") as caught:
        get(server, tmp_path, attempts=2)
    assert caught.value.exit_code == 5
    assert left_in(tmp_path) == []
    server.script = ["cut"]
    with pytest.raises(MissingError, match="IncompleteRead") as caught:
        get(server, tmp_path, attempts=1)
    assert left_in(tmp_path) == []
    assert get(server, tmp_path).read_bytes() == server.body


def test_a_server_without_lengths_is_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.script = ["chunked"]
    assert get(server, tmp_path).read_bytes() == server.body


def test_passing_faults_of_the_server_are_tried_again(server: Server, tmp_path: Path) -> None:
    server.script = ["500", "429", ""]
    assert get(server, tmp_path).read_bytes() == server.body


def test_a_missing_file_is_said_at_once(server: Server, tmp_path: Path) -> None:
    server.script = ["404"]
    with pytest.raises(MissingError, match="answers 404") as caught:
        get(server, tmp_path)
    assert "RECPIPE_MOVIELENS_URL" in caught.value.hint
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_said_after_some_tries(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"127\.0\.0\.1:9.*refused") as caught:
        fetch(NAME, cache=tmp_path, base_url="http://127.0.0.1:9/", attempts=2)
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no address"):
        fetch(NAME, cache=tmp_path, base_url="ftp//nowhere")


def test_corrupted_bytes_are_found_by_the_crcs_in_the_zip_and_thrown_away(
    server: Server, tmp_path: Path
) -> None:
    sound, damaged = server.body, bytearray(server.body)
    damaged[1000] ^= 1
    server.body = bytes(damaged)
    with pytest.raises(MissingError, match=r"CRC of ml/ratings\.csv is wrong.*begin anew"):
        get(server, tmp_path)
    assert left_in(tmp_path) == []
    assert len(server.requests) == 1, "another try would bring the same bytes"
    server.body = sound
    assert get(server, tmp_path).read_bytes() == sound


def test_a_page_in_place_of_the_archive_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>please log in</html>"
    with pytest.raises(MissingError, match="not a sound zip"):
        get(server, tmp_path)


def test_a_published_checksum_is_held_against_a_sound_zip_with_other_contents(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(monkeypatch, server.body)
    assert get(server, tmp_path / "right").read_bytes() == server.body
    server.body = archive(seed=1)
    with pytest.raises(MissingError, match=r"md5 is \w+, not the \w+ of X"):
        get(server, tmp_path / "wrong")
    assert not (tmp_path / "wrong" / FILE).exists()


def test_a_second_download_must_be_the_first_where_no_checksum_is_published(
    server: Server, tmp_path: Path
) -> None:
    get(server, tmp_path).unlink()
    server.body = archive(seed=1)
    with pytest.raises(MissingError, match=r"of the first download.*remove .*\.sha256"):
        get(server, tmp_path)


def test_a_damaged_archive_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert get(server, tmp_path).read_bytes() == server.body
    assert len(server.requests) == 2


def test_an_archive_put_there_by_hand_is_checked_and_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(monkeypatch, server.body)
    (tmp_path / FILE).write_bytes(server.body)
    assert get(server, tmp_path).read_bytes() == server.body
    assert server.requests == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).write_bytes(archive(seed=1))
    assert get(server, tmp_path / "other").read_bytes() == server.body
    assert len(server.requests) == 1, "what is not the release is replaced"


def test_an_archive_put_there_by_hand_must_be_sound_where_no_checksum_is_published(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(b"PK, but no zip")
    with pytest.raises(MissingError, match="not a sound zip"):
        get(server, tmp_path)
    (tmp_path / FILE).write_bytes(archive(seed=1))
    assert get(server, tmp_path).read_bytes() == archive(seed=1)
    assert server.requests == []


def test_an_unknown_release_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no release '30m'"):
        fetch("30m", cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match=r"Not a directory|File exists"):
        fetch(NAME, cache=tmp_path / "file")


def test_two_at_a_time_download_once(server: Server, tmp_path: Path) -> None:
    # The lock is one of open files: two threads stand for two processes.
    server.script = ["slow", "slow"]
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: get(server, tmp_path), range(2)))
    assert paths == [tmp_path / FILE] * 2
    assert len(server.requests) == 1
