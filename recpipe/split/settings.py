"""The sections `filter` and `split`."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from recpipe.sections import Section


class Filter(Section):
    """Which ratings a run knows: the others are in no part, and no model learns from them.

    The rules apply in this order.
    """

    rated_from: datetime | None = None
    """The instant (UTC) from which ratings count. Unset: from the first."""
    rated_until: datetime | None = None
    """The instant (UTC) from which ratings no longer count. Unset: the last does."""
    rating_from: float | None = None
    """The lowest rating that counts, with explicit feedback. Unset: any."""
    rating_to: float | None = None
    """The highest rating that counts, with explicit feedback. Unset: any."""
    users: int | None = Field(None, ge=1)
    """How many users, drawn by the seed, are kept; a smaller sample is a part of a larger one.
    Unset: all."""
    share_of_users: float | None = Field(None, gt=0, lt=1)
    """The share of users, drawn by the seed, that is kept; in place of `users`. Unset: all."""
    min_ratings_of_user: int = Field(1, ge=1)
    """The least ratings of a user who is kept. Looked at once: where an item leaves later, a user
    may have less in the end."""
    min_ratings_of_item: int = Field(1, ge=1)
    """The least ratings of an item that is kept, of the users who are. Looked at once."""
    core: int | None = Field(None, ge=2)
    """The least ratings of every user and of every item in the end: who has less leaves, until
    nobody has (k-core). In place of the two minimums. Unset: none."""

    @model_validator(mode="after")
    def _consistent(self) -> Filter:
        low, high = self.rating_from, self.rating_to
        if low is not None and high is not None and low > high:
            raise ValueError("rating_from must not exceed rating_to")
        if self.users is not None and self.share_of_users is not None:
            raise ValueError("users and share_of_users exclude each other")
        if self.core is not None and (self.min_ratings_of_user, self.min_ratings_of_item) != (1, 1):
            raise ValueError("core takes the place of min_ratings_of_user and min_ratings_of_item")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a rule at all."""
        return self != Filter()

    @property
    def by_instant(self) -> bool:
        """Whether ratings are left out for their instants."""
        return self.rated_from is not None or self.rated_until is not None

    @property
    def by_value(self) -> bool:
        """Whether ratings are left out for their values."""
        return self.rating_from is not None or self.rating_to is not None


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
    """How ratings are divided. auto: given where they came in parts, else global_time where their
    instants allow it, else random. global_time: test begins at one instant for all users.
    user_fraction, last_n, leave_one_out: the latest ratings of each user are held out. random: rows
    are drawn at random. k_fold: rows fall into folds at random, each of which is held out once.
    k_fold_users: users fall into folds at random, and the latest ratings of a fold's users are
    held out. given: the parts are those of --train, --validation and --test."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test, for auto, global_time, user_fraction and random. For
    given without --validation the second is the share of train that becomes validation."""
    validation: Literal["user_time", "global_time"] = "user_time"
    """Which of the ratings before test are validation, for global_time. user_time: the latest of
    each user, so that nearly every user counts where a model is chosen. global_time: all ratings
    from one instant on, so that no model learns from ratings that are later than those by which it
    is chosen. Either way as many as fractions says."""
    validation_from: datetime | None = None
    """The instant (UTC) at which validation begins, for global_time; it needs test_from. Unset:
    what `validation` and fractions say."""
    test_from: datetime | None = None
    """The instant (UTC) at which test begins, for global_time. Unset: what fractions says."""
    test_until: datetime | None = None
    """The instant (UTC) at which test ends, for global_time: ratings from then on belong to no
    part; the manifest counts them. Unset: test goes on to the last rating."""
    last_n: int = Field(5, ge=1)
    """How many of the latest ratings of each user are test, for last_n; as many before them are
    validation."""
    folds: int = Field(5, ge=2)
    """The number of folds, for k_fold and k_fold_users."""
    held_out_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of a fold's users' ratings, the latest, that are held out, for k_fold_users."""
    cold_users: Literal["drop", "keep"] = "drop"
    """Whether validation and test keep rows of users who have none in train."""
    cold_items: Literal["drop", "keep"] = "keep"
    """Whether validation and test keep rows of items that have none in train."""

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
        """Whether test begins at one instant and validation is each user's latest before it."""
        by_instant = self.strategy == "global_time"
        return by_instant and self.validation == "user_time" and self.validation_from is None
