"""What a split holds, counted on the parts as they were written; no row may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from recpipe.errors import ContractError
from recpipe.runtime.parallel import run_all
from recpipe.split.parts import PARTS, TRAIN, SplitParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

    from recpipe.split.settings import Split

# The rows that went in, and those of them whose items may not be dropped.
_ALL, _DUE = "all", "due"


@dataclass(frozen=True)
class PartCounts:
    """Size of one part."""

    rows: int
    users: int
    items: int


@dataclass(frozen=True)
class SplitCounts:
    """Sizes of one fold.

    Args:
        fold: its number; None without folds.
        rows_in: ratings that were split: the sum of the rows of the parts and of those dropped.
        parts: size of train, validation and test, as written.
        cold_users: users without a row in train; `dropped_rows_of_cold_users` were theirs.
        cold_items: items without a row in train.
        train_only_users: users all of whose rows are in train (too few to be cut, or no later).
        dropped_rows_of_cold_users: rows that are in no part for their user's sake.
        dropped_rows_of_cold_items: further rows that are in no part for their item's sake.
        cutoffs: the first instant of validation and test, ISO 8601 in UTC; empty without.
    """

    fold: int | None
    rows_in: int
    parts: Mapping[str, PartCounts]
    cold_users: int
    cold_items: int
    train_only_users: int
    dropped_rows_of_cold_users: int
    dropped_rows_of_cold_items: int
    cutoffs: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The entry of the manifest."""
        return {
            "fold": self.fold,
            "rows_in": self.rows_in,
            "parts": {name: vars(counts) for name, counts in self.parts.items()},
            "cold_users": self.cold_users,
            "cold_items": self.cold_items,
            "train_only_users": self.train_only_users,
            "dropped_rows": {
                "cold_users": self.dropped_rows_of_cold_users,
                "cold_items": self.dropped_rows_of_cold_items,
            },
            "cutoffs": dict(self.cutoffs),
        }


def count_parts(ratings: DataFrame, parts: SplitParts, settings: Split) -> SplitCounts:
    """Count one fold, and hold that no row was lost or doubled.

    Knows nothing of the strategies: it compares, user by user, the rows of the parts with the
    rows of the ratings that the settings do not allow to be dropped. Two aggregations.

    Args:
        ratings: what was split.
        parts: the fold, as read back.
        settings: says whether rows of cold users and cold items may be missing.

    Raises:
        ContractError: if a user has more or fewer rows in the parts than in the ratings.
    """
    users, items = run_all(
        [partial(_by_user, ratings, parts, settings), partial(_by_item, ratings, parts)]
    )
    if users["unequal_users"]:
        raise ContractError(
            f"{parts} by {settings.strategy}: {users['unequal_users']} users have "
            f"{users['lost_rows']} rows too few and {users['doubled_rows']} too many, "
            f"for example user {users['example']}",
            hint="rows in = train + validation + test + dropped does not hold; report this",
        )
    return SplitCounts(
        fold=parts.fold,
        rows_in=users["rows_all"],
        parts={
            name: PartCounts(users[f"rows_{name}"], users[f"users_{name}"], items[f"items_{name}"])
            for name in PARTS
        },
        cold_users=users["cold_users"],
        cold_items=items["cold_items"],
        train_only_users=users["train_only_users"],
        dropped_rows_of_cold_users=users["dropped_of_cold_users"],
        dropped_rows_of_cold_items=users["dropped_of_cold_items"],
        cutoffs={name: at.isoformat() for name, at in parts.cutoffs.items()},
    )


def _by_user(ratings: DataFrame, parts: SplitParts, settings: Split) -> dict[str, int]:
    due = ratings
    if settings.cold_items == "drop":
        due = ratings.join(parts.train.select("item").distinct(), "item", how="left_semi")
    per_user = _per_key("user", ratings, parts, due=due)
    here = F.col(PARTS[0]) + F.col(PARTS[1]) + F.col(PARTS[2])
    cold = F.col(TRAIN) == 0
    expected = F.col(_DUE)
    if settings.cold_users == "drop":
        expected = F.when(cold, F.lit(0)).otherwise(expected)
    missing = F.col(_ALL) - here
    # Where cold users are kept, what is missing of them is missing for its item's sake.
    for_user = cold if settings.cold_users == "drop" else F.lit(False)
    wrong = here != expected
    return _only_row(
        per_user,
        {
            **{f"rows_{name}": _total(F.col(name)) for name in (_ALL, *PARTS)},
            **{f"users_{name}": F.count_if(F.col(name) > 0) for name in PARTS},
            "cold_users": F.count_if(cold),
            "train_only_users": F.count_if(F.col(TRAIN) == F.col(_ALL)),
            "dropped_of_cold_users": _total(F.when(for_user, missing).otherwise(0)),
            "dropped_of_cold_items": _total(F.when(for_user, 0).otherwise(missing)),
            "unequal_users": F.count_if(wrong),
            "lost_rows": _total(F.greatest(expected - here, F.lit(0))),
            "doubled_rows": _total(F.greatest(here - expected, F.lit(0))),
            "example": F.min(F.when(wrong, F.col("user"))),
        },
    )


def _by_item(ratings: DataFrame, parts: SplitParts) -> dict[str, int]:
    return _only_row(
        _per_key("item", ratings, parts),
        {
            **{f"items_{name}": F.count_if(F.col(name) > 0) for name in PARTS},
            "cold_items": F.count_if(F.col(TRAIN) == 0),
        },
    )


def _per_key(
    key: str, ratings: DataFrame, parts: SplitParts, *, due: DataFrame | None = None
) -> DataFrame:
    """One row a value of `key`: how many rows it has in all, in each part (and in `due`)."""
    rows = parts.tagged(key).unionByName(ratings.select(key, F.lit(_ALL).alias("part")))
    names = [_ALL, *PARTS]
    if due is not None:
        rows = rows.unionByName(due.select(key, F.lit(_DUE).alias("part")))
        names.append(_DUE)
    return rows.groupBy(key).agg(*(F.count_if(F.col("part") == n).alias(n) for n in names))


def _total(value: Column) -> Column:
    return F.coalesce(F.sum(value), F.lit(0))


def _only_row(frame: DataFrame, columns: Mapping[str, Column]) -> dict[str, int]:
    row = frame.agg(*(column.alias(name) for name, column in columns.items())).collect()[0]
    return row.asDict()
