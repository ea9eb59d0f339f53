"""The stages one by one, and checks that refuse what somebody did between them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from tests.e2e.commands import MODEL
from tests.roots import DATE, manifest, published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

SETTINGS = (*DATE, *MODEL)


@pytest.fixture(scope="module")
def trained(submitted: WarmJvm, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose run `steps` has come as far as `train`."""
    root = tmp_path_factory.mktemp("stages") / "trained"
    submitted.succeed("ingest", "--input", source, "--root", root, *DATE)
    assert not (root / "runs").exists()
    submitted.succeed("split", "--root", root, "--run-id", "steps", *SETTINGS)
    # The later stages find the run and its settings by themselves.
    submitted.succeed("train", "--root", root)
    return root


@pytest.fixture(scope="module")
def recommended(submitted: WarmJvm, trained: Path) -> Path:
    """The same root some stages later; `trained` as it was is a copy that tests made before."""
    root = trained.with_name("recommended")
    shutil.copytree(trained, root)
    assert "ndcg" in submitted.succeed("evaluate", "--root", root).out.lower()
    submitted.succeed("recommend", "--root", root)
    return root


def test_stage_by_stage_publishes_what_a_run_does(
    submitted: WarmJvm, recommended: Path, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(recommended, root)
    assert not (root / "published").exists()
    submitted.succeed("publish", "--root", root)
    page = submitted.succeed("report", "--root", root).out.strip().splitlines()[-1]
    assert page.endswith("runs/steps/report.html")
    assert_frame_equal(published(root), published(finished), check_exact=False, atol=1e-3)
    assert manifest(root, "steps")["status"] == "finished"
    assert manifest(root, "steps")["settings"] == manifest(finished, "one")["settings"]
    refused = submitted.recpipe("train", "--root", root, "--run-id", "steps")
    assert refused.code == 2
    assert "steps is finished" in refused.complaint


def test_settings_of_a_later_stage_are_held_against_those_of_the_run(
    submitted: WarmJvm, trained: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(trained, root)
    # The default models have no als_explicit; the run has.
    submitted.succeed("evaluate", "--root", root, "--set", "publish.model=als_explicit")
    refused = submitted.recpipe("evaluate", "--root", root, "--set", "publish.model=sgd")
    assert refused.code == 2
    assert "publish.model = sgd" in refused.complaint


def test_settings_that_were_refused_are_not_kept_in_the_run(
    submitted: WarmJvm, recommended: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(recommended, root)
    before, kept = manifest(root, "steps"), root / "runs" / "steps" / "settings.json"
    told = kept.read_text()

    refused = submitted.recpipe("recommend", "--root", root, "--set", 'rules.genres=["Nope"]')

    assert refused.code == 3, refused.err
    assert "no item has the genre 'Nope'" in refused.complaint
    # Nor has the run lost the lists that it had.
    assert manifest(root, "steps") == before
    assert kept.read_text() == told
    assert (root / "runs" / "steps" / "recommendations").exists()
    refused = submitted.recpipe("evaluate", "--root", root, "--set", "publish.model=sgd")
    assert refused.code == 2, refused.err
    assert manifest(root, "steps")["settings"] == before["settings"]
    submitted.succeed("evaluate", "--root", root)
    submitted.succeed("recommend", "--root", root)


def test_a_page_is_made_without_people_once_the_ratings_of_its_run_are_gone(
    submitted: WarmJvm, recommended: Path, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(recommended, root)
    for _ in range(2):
        submitted.succeed("ingest", "--input", source, "--root", root, *DATE)
    ended = submitted.succeed("report", "--root", root, "--run-id", "steps")
    assert "no lists of people" in ended.err
    assert (root / "runs" / "steps" / "report.html").exists()


def test_test_rows_that_get_into_train_are_a_leak_and_nothing_is_evaluated(
    submitted: WarmJvm, trained: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(trained, root)
    split = root / "runs" / "steps" / "split"
    add_rows(split / "train", from_=split / "test")
    ended = submitted.recpipe("evaluate", "--root", root)
    assert ended.code == 4, ended.err
    assert "train" in ended.complaint
    told = manifest(root, "steps")
    assert told["status"] == "refused"
    assert not (root / "published").exists()
    assert not (root / "runs" / "steps" / "metrics.json").exists()
    assert "LeakError" in (root / "runs" / "steps" / "error.log").read_text()


def test_what_rests_on_a_stage_is_void_when_the_stage_runs_again(
    submitted: WarmJvm, recommended: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(recommended, root)
    ended = submitted.recpipe("recommend", "--root", root, "--set", "als_explicit.rank=5")
    assert ended.code == 2, ended.err
    assert "other settings of `als_explicit`" in ended.complaint
    ended = submitted.recpipe("recommend", "--root", root, "--set", "seed=7")
    assert ended.code == 2, ended.err
    assert "was started with other settings of `seed`" in ended.complaint
    assert manifest(root, "steps")["recommended"] == "als_explicit"
    submitted.succeed("train", "--root", root, "--models", "als_explicit")
    assert not {"chosen", "metrics", "recommended"} & manifest(root, "steps").keys()
    left = {path.name for path in (root / "runs" / "steps").iterdir()}
    assert left & {"metrics.json", "subgroups.json", "evaluation", "final", "report.html"} == set()
    ended = submitted.recpipe("recommend", "--root", root)
    assert ended.code == 2, ended.err
    assert "has not been evaluated" in ended.complaint
    ended = submitted.recpipe("publish", "--root", root)
    assert ended.code == 2, ended.err
    assert "has no lists" in ended.complaint
    assert not (root / "published").exists()


def test_lists_with_a_seen_item_are_not_published(
    submitted: WarmJvm, recommended: Path, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(recommended, root)
    rated = pd.read_csv(source / "ratings.csv").iloc[0]
    lists = root / "runs" / "steps" / "recommendations" / "als_explicit"
    rewrite_item(lists, user=int(rated.userId), item=int(rated.movieId))
    ended = submitted.recpipe("publish", "--root", root)
    assert ended.code == 4, ended.err
    assert "have rated" in ended.complaint
    assert manifest(root, "steps")["status"] == "refused"
    assert not (root / "published" / "CURRENT.json").exists()


def test_a_table_that_is_damaged_is_a_fault_in_one_line_with_the_rest_in_the_log(
    submitted: WarmJvm, trained: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(trained, root)
    for file in (root / "runs" / "steps" / "split" / "train").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-100])
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
    ended = submitted.recpipe("evaluate", "--root", root)
    assert ended.code == 1, ended.err
    assert "a fault in Spark" in ended.complaint
    assert "runs/steps/error.log" in ended.complaint
    assert "Traceback" not in ended.err
    assert manifest(root, "steps")["status"] == "failed"
    assert "Traceback" in (root / "runs" / "steps" / "error.log").read_text()


def add_rows(table: Path, *, from_: Path) -> None:
    """Put a file of one Parquet table into another, as a bad backfill would."""
    file = next(path for path in sorted(from_.glob("*.parquet")) if pq.read_metadata(path).num_rows)
    shutil.copyfile(file, table / "part-99999.parquet")


def rewrite_item(table: Path, *, user: int, item: int) -> None:
    """Put an item on the first place of a user's list."""
    for path in sorted(table.glob("*.parquet")):
        schema, frame = pq.read_schema(path), pd.read_parquet(path)
        mine = (frame.user_id == user) & (frame["rank"] == 1)
        if mine.any():
            frame.loc[mine, "item_id"] = item
            pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)
            # Hadoop keeps a checksum beside each local file.
            path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
            return
    raise AssertionError(f"no list of user {user} in {table}")
