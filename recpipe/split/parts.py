"""Train, validation and test of one fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from recpipe.storage import Stored

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class SplitParts:
    """The three parts of a split, or of one fold of it.

    Args:
        train: the ratings to learn from; like the others, with the columns of contracts.SPLIT.
        validation: the ratings to choose by.
        test: the ratings that models are evaluated on.
        fold: the number of the fold from 0; None without folds.
        cutoffs: the first instant (UTC) of validation and of test, where one instant cuts all
            rows: `validation_from`, `test_from`.
        stored: the parts by name as tables at rest, once they are written.
    """

    train: DataFrame
    validation: DataFrame
    test: DataFrame
    fold: int | None = None
    cutoffs: Mapping[str, datetime] = field(default_factory=dict)
    stored: Mapping[str, Stored] = field(default_factory=dict)

    def __str__(self) -> str:
        return "split" if self.fold is None else f"split, fold {self.fold}"

    def asked_at(self, part: str) -> datetime | None:
        """The instant at which the ratings of a held-out part are asked for; None without one.

        Nothing that is known only from then on may be used. Where validation is the latest of each
        user before test, it is that of test.
        """
        return self.cutoffs.get(f"{part}_from", self.cutoffs.get("test_from"))

    def named(self) -> Iterator[tuple[str, DataFrame]]:
        """Name and frame of each part: train, validation, test."""
        yield from zip(PARTS, (self.train, self.validation, self.test), strict=True)

    def map(self, change: Callable[[str, DataFrame], DataFrame]) -> SplitParts:
        """The same fold with `change(name, frame)` in place of each frame."""
        changed = {name: change(name, frame) for name, frame in self.named()}
        return SplitParts(
            changed[TRAIN],
            changed[VALIDATION],
            changed[TEST],
            fold=self.fold,
            cutoffs=self.cutoffs,
        )

    def tagged(self, *columns: str) -> DataFrame:
        """The rows of all parts: `columns`, and the part's name in the column `part`."""
        return reduce(
            DataFrame.unionByName,
            (f.select(*columns, F.lit(name).alias("part")) for name, f in self.named()),
        )
