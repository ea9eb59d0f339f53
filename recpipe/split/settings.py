"""The section `split`."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from recpipe.sections import Section


class Split(Section):
    """Which ratings a model learns from and which it is evaluated on."""

    strategy: Literal[
        "auto",
        "global_time",
        "user_fraction",
        "last_n",
        "leave_one_out",
        "random",
        "k_fold",
        "k_fold_users",
        "given",
    ] = "auto"
    """auto: given where the ratings came in parts, else global_time where they have instants that
    allow it, else random. global_time: two instants cut all ratings. user_fraction, last_n,
    leave_one_out: the latest of each user are held out. random, k_fold: by row. k_fold_users: by
    user, a part held out. given: the parts are those of --train, --validation and --test."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test (auto, global_time, user_fraction, random). given,
    without --validation: the second is taken from train."""
    validation: Literal["user_time", "global_time"] = "user_time"
    """global_time: what validation is of the ratings before test. user_time: the latest of each
    user, the share of validation in fractions; so every user has a say in choices. global_time: all
    from an instant on; so no model learns from what is later than what it is chosen by."""
    validation_from: datetime | None = None
    """global_time: the first instant of validation (UTC), in place of fractions; without one
    validation is as `validation` says."""
    test_from: datetime | None = None
    """global_time: the first instant of test (UTC), in place of fractions."""
    test_until: datetime | None = None
    """global_time: the end of test (UTC): ratings from this instant on are left out altogether, as
    if they had not been made yet, and counted; none: test goes on to the last rating."""
    last_n: int = Field(5, ge=1)
    """last_n: latest ratings of each user in test; as many before them in validation."""
    folds: int = Field(5, ge=2)
    """k_fold, k_fold_users: number of folds."""
    held_out_fraction: float = Field(0.2, gt=0, lt=1)
    """k_fold_users: share of a held-out user's latest ratings that are the target."""
    cold_users: Literal["drop", "keep"] = "drop"
    """What becomes of validation and test rows of users that train does not know."""
    cold_items: Literal["drop", "keep"] = "keep"
    """What becomes of validation and test rows of items that train does not know."""

    @model_validator(mode="after")
    def _consistent(self) -> Split:
        # Exact: 0.8 + 0.1 + 0.1 is 1 as it is written, though not in binary.
        if sum(Fraction(str(f)) for f in self.fractions) != 1 or min(self.fractions) <= 0:
            raise ValueError("fractions must be positive and sum to 1")
        if self.validation_from is not None and self.test_from is None:
            raise ValueError("validation_from needs test_from")
        instants = (self.validation_from, self.test_from, self.test_until)
        if any(instants) and self.strategy not in {"auto", "global_time"}:
            raise ValueError(
                "validation_from, test_from and test_until are for the strategy global_time"
            )
        only_test = self.test_from is not None and self.validation_from is None
        if only_test and self.validation == "global_time":
            raise ValueError("with validation = global_time test_from needs validation_from")
        return self

    @property
    def validates_by_user(self) -> bool:
        """Whether one instant begins test, and validation is the latest of each user before it."""
        by_instant = self.strategy == "global_time"
        return by_instant and self.validation == "user_time" and self.validation_from is None
