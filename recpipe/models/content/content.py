"""Recommendations by content: what is like what the user liked (Pazzani and Billsus 2007).

With c_i the profile of item i (`profiles`), and x_ui what user u has of item i, 1 for a liking,

    score(u, j) = c_j . p_u / |p_u|,   p_u = sum over i of x_ui c_i,

which is the cosine of both where profiles have length 1. It needs no rating of j: an item that
nobody has rated yet is scored as any other, if the source says something of it.

References:
    Michael Pazzani, Daniel Billsus. Content-Based Recommendation Systems. The Adaptive Web, 2007.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.base import FittedModel, Vectors
from recpipe.models.content.clusters import CLUSTERS, clusters_of, described
from recpipe.models.content.profiles import (
    PROFILES,
    ItemRows,
    profiles_of,
    terms_of,
    unpacked,
    vocabulary_of,
)
from recpipe.models.content.scorer import ContentScorer
from recpipe.models.svd.blocks import Centre, CentredMatrix, packed_blocks
from recpipe.models.svd.search import right_singular_vectors
from recpipe.ranking.engine import Scoring
from recpipe.ranking.histories import HISTORY
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.reasons import Reasons
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import factor_schema
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.content.clusters import Clusters
    from recpipe.models.content.profiles import Vocabulary
    from recpipe.models.content.settings import ContentSettings
    from recpipe.models.data import ItemFeatures, TrainingData
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.sections import Section
    from recpipe.storage import Folder, Stored

log = logging.getLogger(__name__)

_PROFILES, _HISTORIES, _VECTORS, _CLUSTERS = "profiles", "histories", "vectors", "clusters"

_OVERSAMPLING, _MAX_PASSES, _TOLERANCE = 8, 12, 1e-3
"""Of the search for the dimensions; vectors that are off by a thousandth make the same clusters."""
_TERM_BYTES = 8


@dataclass(frozen=True)
class Content:
    """Recommendations by content, with their settings.

    Args:
        settings: `content`.
    """

    settings: ContentSettings

    name: ClassVar[str] = "content"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> ContentModel:
        """See `Model.fit`; vectors of words, dimensions and clusters depend on the seed.

        Candidates are all items of which the source says something, and all that were rated. A user
        without a liking gets no list. The driver holds the terms, and while the dimensions are
        sought some 100 numbers for each.

        Raises:
            FitError: if there is nothing to fit.
            InputError: if `content.vectors` is no file of vectors.
        """
        own = self.settings
        scratch.write_table(_HISTORIES, self.histories(data))
        histories = scratch.stored(_HISTORIES)
        users = histories.frame.select("user").distinct().count()
        if not users:
            raise nothing_to_fit(self.name)
        ratings = frame_of(data.ratings)
        terms = cached(self._terms(data.items, ratings.sparkSession))
        try:
            vocabulary = vocabulary_of(terms, own, seed=seed)
            rated = ratings.select("item").distinct()
            scratch.write_table(_PROFILES, profiles_of(rated, terms, vocabulary, own))
        finally:
            terms.unpersist()
        profiles = scratch.stored(_PROFILES)
        items, items_described, values = _sizes(profiles.frame)
        if not values:
            log.warning(
                "content: the source says nothing of items that would tell them apart: all scores"
                " are 0"
            )
        vectors = self._vectors(profiles.frame, values, scratch, seed=seed)
        clusters = self._clusters(vectors, profiles.frame, vocabulary, data, seed=seed)
        if clusters is not None:
            scratch.write_table(_CLUSTERS, clusters.rows)
        details: dict[str, Any] = {"described": items_described, **vocabulary.details}
        if clusters is not None:
            details["clusters"] = clusters.info
        return ContentModel(
            name=self.name,
            refit_config=self,
            profiles=profiles,
            histories=histories,
            vectors=vectors,
            clusters=None if clusters is None else scratch.stored(_CLUSTERS),
            items=items,
            users=users,
            width=vocabulary.width,
            values=values,
            dimensions=_dimensions(own, vectors),
            details=details,
        )

    def _terms(self, items: ItemFeatures, spark: SparkSession) -> DataFrame:
        found = terms_of(items, self.settings)
        if found is None:
            return spark.createDataFrame([], "item int, source string, term string, weight double")
        return found

    def _vectors(
        self, profiles: DataFrame, values: int, scratch: Folder, *, seed: int
    ) -> Stored | None:
        """Profiles reduced to their largest singular vectors (Deerwester et al. 1990)."""
        if not values:
            return None
        rows = unpacked(profiles)
        with packed_blocks(rows, value="value", model=self.name) as blocks:
            matrix = CentredMatrix(blocks, Centre(np.zeros(len(blocks.items))))
            found = right_singular_vectors(
                matrix, rank=self.settings.dimensions, oversampling=_OVERSAMPLING,
                tolerance=_TOLERANCE, max_passes=_MAX_PASSES, seed=seed, model=self.name,
            )  # fmt: skip
            # Items are the rows of this matrix, which it calls users, and terms are its columns.
            factors = matrix.user_factors(found.vectors, mean=0.0)
            renamed = factors.frame.withColumnRenamed("user", "item")
            scratch.write_table(_VECTORS, renamed)
        return scratch.stored(_VECTORS)

    def _clusters(
        self,
        vectors: Stored | None,
        profiles: DataFrame,
        vocabulary: Vocabulary,
        data: TrainingData,
        *,
        seed: int,
    ) -> Clusters | None:
        if vectors is None:
            return None
        count = self.settings.clusters
        if count == "auto":
            genres = data.items.genres()
            count = 0 if genres is None else genres.select("genre").distinct().count()
        if count < 2:  # noqa: PLR2004 - one cluster says nothing
            return None
        rows, silhouette = clusters_of(
            vectors.frame.select("item", "factors"), count=count, seed=seed
        )
        return described(
            rows,
            silhouette,
            items=data.items,
            profiles=profiles,
            vocabulary=vocabulary,
            ratings=frame_of(data.ratings),
        )

    def histories(self, data: TrainingData) -> DataFrame:
        """What users have taken up, by some ratings, as `TrainingData.user_item_matrix` has it."""
        return data.user_item_matrix(self.settings.values, self.settings.preference_from)

    def sections(self) -> Mapping[str, Section]:
        return {"content": self.settings}


def _sizes(profiles: DataFrame) -> tuple[int, int, int]:
    """How many items PROFILES has, how many of them have a term, and how many values all have."""
    size = F.length("terms") / np.dtype(np.int32).itemsize
    row = profiles.agg(
        F.count(F.lit(1)), F.count_if(size > 0), F.coalesce(F.sum(size), F.lit(0)).cast("long")
    ).collect()[0]
    return int(row[0]), int(row[1]), int(row[2])


def _dimensions(settings: ContentSettings, vectors: Stored | None) -> int:
    if vectors is None:
        return 0
    width = vectors.frame.agg(F.max(F.size("factors"))).collect()[0][0]
    return min(settings.dimensions, int(width))


@dataclass(frozen=True, eq=False, kw_only=True)
class ContentModel(FittedModel):
    """Profiles of items, and the histories from which users are scored.

    Args:
        profiles: `profiles.PROFILES`: the candidates.
        histories: `ranking.histories.HISTORY`: what users have of items.
        vectors: (item int, factors array<float>, bias float): the profiles reduced; None where they
            are all empty.
        clusters: `clusters.CLUSTERS`; None for none.
        items: rows of `profiles`.
        users: users of `histories`.
        width: numbers of a profile.
        values: how many numbers of all profiles are not 0.
        dimensions: numbers of a vector.
        details: what the fit wants in manifest and report (JSON).
    """

    profiles: Stored
    histories: Stored
    vectors: Stored | None
    clusters: Stored | None
    items: int
    users: int
    width: int
    values: int
    dimensions: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spark(self) -> SparkSession:
        return self.profiles.frame.sparkSession

    def item_vectors(self) -> Vectors | None:
        """The profiles reduced by latent semantic analysis; None where all are empty."""
        if self.vectors is None:
            return None
        return Vectors(self.vectors.frame.select("item", "factors"), self.dimensions)

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Histories; who has taken up nothing that the model knows gets no list."""
        config = self.refit_config
        assert isinstance(config, Content)  # noqa: S101 - what has fitted it
        known = F.broadcast(self.profiles.frame.select("item"))
        return UserInputs(histories=config.histories(data).join(known, "item", "left_semi"))

    def reasons(self, data: TrainingData) -> Reasons:
        """See `FittedModel.reasons`: the share of an item's profile in the user's."""
        del data
        return Reasons(self.scoring.items, self.histories)

    def _scoring(self) -> Scoring:
        return Scoring(self._send, UserInputs(histories=self.histories), users=self.users)

    def _send(self) -> ItemBlocks:
        # Tasks make the profiles of users: for that each block comes with those of all items.
        size = _TERM_BYTES * self.values
        return send_items(
            self.profiles.frame,
            partial(ContentScorer.of, every=ItemRows.of(self.profiles.frame), terms=self.width),
            count=self.items,
            item_bytes=_TERM_BYTES * (1 + -(-self.values // self.items)),
            limit_mb=max(0, self.max_broadcast_mb - size // 2**20),
            what=f"content: profiles of {self.items} items ({size / 2**20:.0f} MiB) and",
        )

    def info(self) -> Mapping[str, Any]:
        """Items, users, terms, and the clusters of items."""
        return {"items": self.items, "users": self.users, **self.details}

    def _tables(self) -> Mapping[str, Stored]:
        tables = {
            _PROFILES: self.profiles,
            _HISTORIES: self.histories,
            _VECTORS: self.vectors,
            _CLUSTERS: self.clusters,
        }
        return {name: table for name, table in tables.items() if table is not None}

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "items": self.items,
            "users": self.users,
            "width": self.width,
            "values": self.values,
            "dimensions": self.dimensions,
            "clustered": self.clusters is not None,
            "details": dict(self.details),
        }

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> ContentModel:
        """The model that `save` wrote; called by `registry.load`."""
        manifest = options.manifest
        values, clustered = int(manifest["values"]), bool(manifest["clustered"])
        return cls(
            **options.common,
            profiles=folder.stored(_PROFILES, schema=PROFILES),
            histories=folder.stored(_HISTORIES, schema=HISTORY),
            vectors=folder.stored(_VECTORS, schema=factor_schema("item")) if values else None,
            clusters=folder.stored(_CLUSTERS, schema=CLUSTERS) if clustered else None,
            items=int(manifest["items"]),
            users=int(manifest["users"]),
            width=int(manifest["width"]),
            values=values,
            dimensions=int(manifest["dimensions"]),
            details=manifest["details"],
        )


__all__ = ["Content", "ContentModel"]
