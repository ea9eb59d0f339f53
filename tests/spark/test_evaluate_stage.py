"""What is left out of the lists that are evaluated."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.context import Context
from recpipe.stages.pipeline import run_pipeline
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

T = 1_400_000_000


def test_what_a_user_sees_after_his_held_out_rating_stays_a_candidate(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Film 9 is the most popular that users 0 to 2 have not rated; 0 and 1 have seen it."""
    rows = [(user, film, 3.0 + film % 3, T + 10 * film) for user in range(12) for film in range(5)]
    rows += [(user, 9, 4.0, T) for user in range(6, 12)]
    seen = [(0, 9, "", T + 1000), (1, 9, "", T + 5)]
    lines = [",".join(map(str, row)) for row in (*rows, *seen)]
    source = tmp_path / "ratings.csv"
    source.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    settings = Settings.model_validate({
        "train": {"models": ["popularity"]}, "split": {"strategy": "leave_one_out"},
    })  # fmt: skip
    root = Folder(spark, tmp_path / "root")
    context = Context(root, settings, date(2020, 1, 1), Progress(interactive=False))
    run = run_pipeline(context, "one", source=str(source))
    ids: dict[str, dict[int, int]] = {
        name: dict(context.tables.read(f"{name}s").select(name, f"{name}_id").collect())
        for name in ("user", "item")
    }
    lists = (run.folder / "evaluation").read_table("popularity").collect()
    found = {(ids["user"][row.user], ids["item"][row.item]) for row in lists}
    assert (2, 9) in found
    assert (0, 9) in found
    assert (1, 9) not in found
