"""What the fit of a model may see. Nothing of it is read before the model asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

from recpipe.feedback import Scale, liked_from
from recpipe.spark.interactions import frame_of, is_liked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import Column, DataFrame

    from recpipe.feedback import LikedFrom
    from recpipe.models.base import FittedModel
    from recpipe.spark.interactions import Interactions

    Table = Callable[[str], DataFrame | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST = 100
"""Half-lives after which a rating grows no older: no weight is 0 in float32, nothing drops out."""


def _no_table(_name: str) -> None:
    return None


@dataclass(frozen=True)
class ItemFeatures:
    """What a source says of items; every method returns None where it says nothing.

    Args:
        table: the ingested table of a name, or None.
        as_of: what was said at this instant or later is left out.
    """

    table: Table = _no_table
    as_of: datetime | None = None

    def genres(self) -> DataFrame | None:
        """(item int, genre string), one row a genre of an item."""
        movies = self._numbered("movies")
        return None if movies is None else movies.select("item", F.explode("genres").alias("genre"))

    def years(self) -> DataFrame | None:
        """(item int, year int), of the items whose year is known."""
        movies = self._numbered("movies")
        return None if movies is None else movies.where("year IS NOT NULL").select("item", "year")

    def titles(self) -> DataFrame | None:
        """(item int, title string)."""
        movies = self._numbered("movies")
        return None if movies is None else movies.select("item", "title")

    def title_words(self) -> DataFrame | None:
        """(item int, word string): the distinct words of each title, in lower case."""
        movies = self._numbered("movies")
        if movies is None:
            return None
        words = F.array_distinct(F.split(F.lower("title"), r"[^\p{L}\p{N}]+"))
        return movies.select("item", F.explode(words).alias("word")).where("word != ''")

    def tags(self) -> DataFrame | None:
        """(item int, tag string, tagged_at timestamp), one row a tagging before `as_of`."""
        tags = self._numbered("tags")
        if tags is None:
            return None
        if self.as_of is not None:
            tags = tags.where(F.col("tagged_at") < F.lit(self.as_of))
        return tags.select("item", "tag", "tagged_at")

    def genome(self) -> DataFrame | None:
        """(item int, tag string, relevance float from 0 to 1)."""
        scores = self._numbered("genome_scores")
        return None if scores is None else scores.select("item", "tag", "relevance")

    def _numbered(self, name: str) -> DataFrame | None:
        """A table with the numbers of its items; items without a rating have none."""
        rows, items = self.table(name), self.table("items")
        if rows is None or items is None:
            return None
        return rows.join(items.select("item_id", "item"), "item_id")


@dataclass(frozen=True)
class UserFeatures:
    """What a source says of users.

    Args:
        table: the ingested table of a name, or None.
    """

    table: Table = _no_table

    def profiles(self) -> DataFrame | None:
        """(user int, age int, gender, occupation, zip: string), null where unknown, or None."""
        rows, users = self.table("user_features"), self.table("users")
        if rows is None or users is None:
            return None
        profiles = rows.join(users.select("user_id", "user"), "user_id")
        return profiles.select("user", "age", "gender", "occupation", "zip")


@dataclass(frozen=True)
class TrainingData:
    """What the fit of a model may see.

    Args:
        ratings: (user int, item int, rating float, rated_at timestamp, ...), one row a pair.
        validation: the same, held out: for early stopping and for weights, never fitted. None for
            a refit on all ratings, where a model is given what validation had decided.
        items: what is known of items.
        users: what is known of users.
        fitted: models fitted on the same ratings, by name: those that the model asks for.
        scale: of explicit ratings; None for implicit feedback, whose `rating` is the strength of a
            liking.
        as_of: the instant for which lists are asked: every rating that the fit sees is earlier,
            where times are known.
        give_up_above: of a fit that is one of many, by epoch from 1 on (the last holds from there
            on), the RMSE on validation above which its best so far must not lie; one that does ends
            with `GivenUpError`. Empty: it runs to its end, as do models that learn without epochs.
        half_life: days after which a rating weighs half; None: all weigh 1. Of models that take no
            weights (`ModelSpec.takes_weights`) it is None.
    """

    ratings: Interactions
    validation: Interactions | None = None
    items: ItemFeatures = ItemFeatures()
    users: UserFeatures = UserFeatures()
    fitted: Mapping[str, FittedModel] = field(default_factory=dict)
    scale: Scale | None = field(default_factory=Scale)
    as_of: datetime = datetime(9999, 12, 31, tzinfo=UTC)
    give_up_above: tuple[float, ...] = ()
    half_life: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The lowest and the highest rating; None for implicit feedback."""
        return None if self.scale is None else (self.scale.min, self.scale.max)

    @property
    def weight(self) -> Column:
        """What each of `ratings` weighs (double): 2^(-age / half_life), of its age at `as_of`.

        1 without a half-life, for a rating whose instant is not known, and for one that is not
        older than `as_of`. Ages above 100 half-lives count as 100: no weight is 0.
        """
        if self.half_life is None:
            return F.lit(1.0)
        until = F.lit((self.as_of - _EPOCH) // timedelta(microseconds=1))
        days = (until - F.unix_micros("rated_at")) / F.lit(86_400e6)
        lives = F.least(F.greatest(days / F.lit(self.half_life), F.lit(0.0)), F.lit(float(_OLDEST)))
        known = F.when(F.col("rated_at").isNotNull(), F.pow(F.lit(2.0), -lives))
        return known.otherwise(1.0)

    def liked(self, rows: Interactions, setting: LikedFrom) -> DataFrame:
        """Those of some rows that are liked.

        Args:
            rows: (user, item, rating, ...).
            setting: the lowest rating that counts as liked, or `auto`.
        """
        return frame_of(rows).where(is_liked(liked_from(setting, self.scale)))

    def user_item_matrix(
        self, values: Literal["likings", "ratings"], preference_from: LikedFrom
    ) -> DataFrame:
        """(user int, item int, value float), none of them 0: a matrix whose other values are 0.

        Each value is multiplied by `weight`.

        Args:
            values: likings: 1 for each rating from `preference_from` on. ratings: every rating, or
                strength of implicit feedback, as it is.
            preference_from: the lowest rating that counts as liked, or `auto`.
        """
        if values == "likings":
            rows, value = self.liked(self.ratings, preference_from), F.lit(1.0)
        else:
            rows, value = frame_of(self.ratings), F.col("rating")
        value = (value * self.weight).cast("float").alias("value")
        return rows.select("user", "item", value).where("value != 0")


__all__ = ["ItemFeatures", "TrainingData", "UserFeatures"]
