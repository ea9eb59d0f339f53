"""TOML, environment and flags become one frozen, validated object.

Later sources win: the defaults below (printed, explained, as conf/base.toml), the file given by
`--config`, environment variables `RECPIPE__SECTION__KEY`, then `--set section.key=value`.
A key that does not exist is refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tomllib
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from recpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENV_PREFIX = "RECPIPE__"

ModelName = Literal[
    "als_explicit",
    "als_implicit",
    "nmf",
    "block_als",
    "block_als_implicit",
    "sgd",
    "popularity",
    "biases",
    "mean",
    "random",
]
MODELS: tuple[str, ...] = get_args(ModelName)
BASELINES: tuple[str, ...] = ("popularity", "biases", "mean", "random")

T = TypeVar("T")
Many = Annotated[
    tuple[T, ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, str | int) else given),
]
"""Several values; a single one, as `--set evaluate.ks=5` gives, is a list of one."""

StorageLevel = Literal[
    "NONE", "DISK_ONLY", "DISK_ONLY_2", "DISK_ONLY_3", "MEMORY_ONLY", "MEMORY_ONLY_2",
    "MEMORY_ONLY_SER", "MEMORY_ONLY_SER_2", "MEMORY_AND_DISK", "MEMORY_AND_DISK_2",
    "MEMORY_AND_DISK_SER", "MEMORY_AND_DISK_SER_2", "OFF_HEAP",
]  # fmt: skip
"""The storage levels that Spark has."""

Blocks = Literal["auto", "cores"] | Annotated[int, Field(ge=1)]
"""auto: from the number of ratings and the rank, never from the machine, so that a model does not
depend on where it was fitted. cores: the session's parallelism, for speed. Or a number."""


class Section(BaseModel):
    """What every section keeps: frozen, no unknown key, a docstring on each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Scale(Section):
    """The ratings that are valid: from `min` to `max` in steps."""

    min: float = 0.5
    """The lowest rating."""
    max: float = 5.0
    """The highest rating."""
    step: float = Field(0.5, gt=0)
    """The distance of two neighbouring ratings."""

    @model_validator(mode="after")
    def _consistent(self) -> Scale:
        if self.min > self.max:
            raise ValueError("min must not exceed max")
        return self


class Session(Section):
    """The Spark session. What is not here belongs in conf/spark-defaults.conf."""

    master: str = ""
    """Spark master URL; empty: what spark-submit or SPARK_MASTER says, else `local[*]`."""
    driver_memory: str = "auto"
    """Heap of the driver where recpipe starts it itself; auto: a share of this machine's memory."""
    shuffle_partitions: int = Field(0, ge=0)
    """`spark.sql.shuffle.partitions`; 0: twice the cores, at least 2."""
    ui: bool = False
    """Whether the Spark UI runs for a local master (a cluster's own settings decide there)."""
    conf: dict[str, str] = {}
    """Any further `spark.*` settings."""


class Storage(Section):
    """How tables below the root are written."""

    format: Literal["parquet", "delta"] = "parquet"
    """The format of every table but the published export, which is always Parquet."""


class Ingest(Section):
    """From raw files to checked tables."""

    max_rejected_share: float = Field(0.01, ge=0, le=1)
    """Share of refused rows above which the input is unusable."""
    rating_scale: Scale | None = None
    """The valid ratings; unset: the release's own, or 0.5 to 5 in steps of 0.5."""
    zip_max_members: int = Field(1000, ge=1)
    """Files in an archive above which it is refused."""
    zip_max_bytes: int = Field(20_000_000_000, ge=1)
    """Uncompressed bytes of an archive above which it is refused."""
    zip_max_ratio: float = Field(200.0, gt=1)
    """Uncompressed over compressed bytes of one member above which an archive is refused."""


class Split(Section):
    """Which ratings a model learns from and which judge it."""

    strategy: Literal[
        "global_time",
        "user_fraction",
        "last_n",
        "leave_one_out",
        "random",
        "k_fold",
        "k_fold_users",
    ] = "global_time"
    """global_time: two instants cut all ratings. user_fraction, last_n, leave_one_out: the latest
    of each user are held out. random, k_fold: by row. k_fold_users: by user, a part held out."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test (global_time, user_fraction, random)."""
    validation_from: datetime | None = None
    """global_time: the first instant of validation (UTC), in place of fractions."""
    test_from: datetime | None = None
    """global_time: the first instant of test (UTC), in place of fractions."""
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
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("validation_from and test_from go together")
        if self.validation_from is not None and self.strategy != "global_time":
            raise ValueError("validation_from and test_from are for the strategy global_time")
        return self


class Als(Section):
    """What the MLlib models share."""

    blocks: Blocks = "auto"
    """Number of user blocks and of item blocks."""
    checkpoint_interval: int = Field(5, ge=1)
    """Iterations between checkpoints, which cut the lineage; under the root, removed afterwards.
    At 15 the lineage has been seen to overflow a JVM's stack, which ends the whole process."""
    intermediate_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Storage level of the rating blocks and factors during the fit."""
    final_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Storage level of the factors when the fit ends."""
    block_size: int = Field(4096, ge=1)
    """Rows stacked into one block for MLlib's own prediction."""


class AlsExplicit(Section):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), by Spark MLlib."""

    rank: int = Field(8, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """Passes over users and items."""
    regularization: float = Field(0.12, ge=0)
    """L2 penalty of a row of factors, multiplied by its number of ratings."""


class Nmf(AlsExplicit):
    """Non-negative factors of the ratings: MLlib's ALS with NNLS."""


class AlsImplicit(Section):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008), by Spark MLlib."""

    rank: int = Field(64, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """Passes over users and items."""
    regularization: float = Field(0.1, ge=0)
    """L2 penalty of a row of factors, multiplied by its number of positives."""
    alpha: float = Field(3.0, ge=0)
    """Growth of confidence with strength: confidence = 1 + alpha * strength."""
    preference_from: float = 4.0
    """Ratings at or above it are liked: preference 1. Where every row is a liking, such as a
    purchase, give the lowest rating."""
    below: Literal["unobserved", "disliked"] = "unobserved"
    """Ratings below `preference_from`: as if never rated, or not liked with confidence."""
    confidence: Literal["constant", "rating"] = "constant"
    """Strength of a liked rating: constant 1, or its place on the scale, 0 < strength <= 1."""


class Blocked(Section):
    """How our own ALS solves a row of factors, and how factors travel."""

    scale_by_count: bool = True
    """Whether the penalty of a row is multiplied by its number of ratings (implicit: of positives),
    as MLlib's is."""
    solver: Literal["cholesky", "cg"] = "cholesky"
    """cholesky: exact. cg: some steps of conjugate gradients from where the row stands; faster from
    a rank of some hundreds."""
    cg_steps: int = Field(3, ge=1)
    """Steps of conjugate gradients a row."""
    blocks: Blocks = "auto"
    """Number of blocks of users and of items, which tasks share out among them."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the tasks. ring: from task to task in one stage, as fast as the
    arithmetic; needs its tasks to run at the same time, no dynamic allocation, and executors that
    reach each other. spark: a job or two each half-iteration, on any cluster. auto: the ring where
    it can be."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size in MiB of one side's factors up to which every worker gets them whole; above it there is
    no ring, and a task gets those that its block of ratings names, which have to fit under it."""


class BlockAls(Blocked, AlsExplicit):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), our own."""


class BlockAlsImplicit(Blocked, AlsImplicit):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008), our own."""


class Sgd(Section):
    """Biased matrix factorisation by distributed stochastic gradient descent (DSGD)."""

    rank: int = Field(32, ge=1)
    """Number of factors."""
    epochs: int = Field(60, ge=1)
    """Most passes over the ratings."""
    learning_rate: float = Field(0.03, gt=0)
    """Step of the first epoch."""
    learning_rate_decay: float = Field(0.95, gt=0, le=1)
    """Factor on the step after each epoch."""
    regularization: float = Field(0.06, ge=0)
    """L2 penalty of factors, a rating."""
    bias_regularization: float = Field(0.05, ge=0)
    """L2 penalty of biases, a rating."""
    initial_scale: float = Field(0.1, gt=0)
    """About the norm of a user's or item's factors before the first epoch."""
    bounded: bool = False
    """Whether predictions pass a sigmoid onto the rating scale."""
    patience: int = Field(6, ge=0)
    """Epochs without a better validation RMSE before training stops; 0: never stops early. The
    factors of the best epoch are kept either way. Biases settle before factors take off: fewer
    than 5 may stop on that plateau."""
    min_improvement: float = Field(1e-4, ge=0)
    """The least fall of validation RMSE that counts as better."""
    blocks: Blocks = "auto"
    """Number of user blocks, which is the number of parallel tasks of a stratum; there are twice
    as many item blocks."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the blocks; the model is the same to the bit. spark: a stage for
    each stratum, on any cluster. ring: from task to task, as fast as the arithmetic; needs a slot
    for each block at the same time, no dynamic allocation, and executors that reach each other.
    auto: the ring where the slots are there. A single block needs none."""
    checkpoint_interval: int = Field(5, ge=1)
    """Epochs between checkpoints of the factors; under the root, removed afterwards. The ring
    leaves out those that would be less than a minute apart."""


class Biases(Section):
    """Mean + user bias + item bias, regularised, solved exactly."""

    user_regularization: float = Field(5.0, ge=0)
    """Pseudo-ratings that pull a user's bias to 0."""
    item_regularization: float = Field(5.0, ge=0)
    """Pseudo-ratings that pull an item's bias to 0."""


class Train(Section):
    """Which models are fitted."""

    models: Many[ModelName] = ("popularity", "biases", "als_explicit", "als_implicit", "sgd")
    """The models, in the order of their fits; at least one."""
    fallback_for: Many[ModelName] = ("als_explicit", "als_implicit")
    """Models whose failure does not end the run: `sgd` takes their place."""

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if not self.models or len(set(self.models)) != len(self.models):
            raise ValueError("models must be at least one, each once")
        return self


class Evaluate(Section):
    """How models are judged."""

    ks: Many[int] = (5, 10, 20)
    """Lengths at which lists are judged."""
    relevance_threshold: float = 4.0
    """The lowest rating that counts as relevant."""
    metric: str = "ndcg@10"
    """What `publish.model = auto` chooses by, on validation: `name@k`, or `rmse` or `mae`."""

    @model_validator(mode="after")
    def _consistent(self) -> Evaluate:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) != len(self.ks):
            raise ValueError("ks must be distinct numbers from 1")
        name, _, k = self.metric.partition("@")
        ranking = {"precision", "recall", "ndcg", "map", "mrr", "hit_rate"}
        if name in ranking and k.isdecimal() and int(k) in self.ks:
            return self
        if self.metric in {"rmse", "mae"}:
            return self
        raise ValueError(f"metric must be rmse, mae or one of {sorted(ranking)} at one of ks")


class Recommend(Section):
    """The lists of all users."""

    n: int = Field(10, ge=1, le=1000)
    """Places a user."""
    refit: bool = True
    """Whether the chosen model is fitted again on all ratings before it recommends."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size of the item factors above which top-N sends them to the workers in blocks of at most as
    much, one after the other; the lists are the same."""


class Publish(Section):
    """What other systems read."""

    model: Literal["auto"] | ModelName = "auto"
    """The model whose lists are published; auto: the best by `evaluate.metric` on validation."""
    files: int = Field(0, ge=0)
    """Parquet files of the export; 0: from the number of rows."""
    keep_versions: int = Field(3, ge=2)
    """Published versions kept, the current one included."""


class Settings(Section):
    """Every setting of recpipe."""

    seed: int = Field(42, ge=0)
    """Seed of every random choice of a run."""
    session: Session = Session()
    storage: Storage = Storage()
    ingest: Ingest = Ingest()
    split: Split = Split()
    train: Train = Train()
    als: Als = Als()
    als_explicit: AlsExplicit = AlsExplicit()
    als_implicit: AlsImplicit = AlsImplicit()
    nmf: Nmf = Nmf()
    block_als: BlockAls = BlockAls()
    block_als_implicit: BlockAlsImplicit = BlockAlsImplicit()
    sgd: Sgd = Sgd()
    biases: Biases = Biases()
    evaluate: Evaluate = Evaluate()
    recommend: Recommend = Recommend()
    publish: Publish = Publish()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        chosen = self.publish.model
        if chosen == "auto" and not set(self.train.models) - {"mean", "random"}:
            raise ValueError("publish.model = auto never chooses mean or random: fit another model")
        if chosen not in {"auto", *self.train.models}:
            raise ValueError(f"publish.model = {chosen} is none of train.models")
        return self

    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of all settings that shape a result."""
        shaping = self.model_dump(mode="json", exclude={"session"})
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def load(
    config: Path | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from the file, the environment, `key=value` overrides and flags, in that order.

    Args:
        config: a TOML file.
        base: what comes before the file, in place of the defaults: the settings of a run.
        overrides: `section.key=value`, the value as TOML or a bare word.
        given: `section.key` to a value that needs no parsing, from flags of their own.
        environment: in place of the process's own.

    Raises:
        UsageError: for a file that cannot be read, an unknown key or an invalid value.
    """
    tree: dict[str, Any] = copy.deepcopy(dict(base or {}))
    if config is not None:
        try:
            _merge(tree, tomllib.loads(config.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{config}: {error}", hint="give a TOML file") from error
    for name, text in sorted((environment if environment is not None else os.environ).items()):
        if name.startswith(ENV_PREFIX):
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            _put(tree, keys, _value(text), source=name)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override}: no '='", hint="write --set section.key=value")
        keys, value = key.strip().split("."), _value(text.strip())
        if keys[:2] == ["session", "conf"] and len(keys) > len(("session", "conf")):
            # Spark's own names have dots in them, and its values are text.
            keys, value = ["session", "conf", ".".join(keys[2:])], text.strip()
        _put(tree, keys, value, source=f"--set {key.strip()}")
    for key, value in (given or {}).items():
        _put(tree, key.split("."), value, source=key)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(
            f"setting {where}: {what}" if where else f"settings: {what}",
            hint="conf/base.toml explains every one",
        ) from error


def _merge(tree: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _put(tree: dict[str, Any], keys: Sequence[str], value: Any, *, source: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise UsageError(f"{source}: {key} is not a section", hint="see conf/base.toml")
    tree[keys[-1]] = value


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string, and words with commas between are a list of them."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        parts = [part.strip() for part in text.split(",")]
        return [_value(part) for part in parts] if len(parts) > 1 else text


def as_toml() -> str:
    """Every setting with its default and explanation: the text of conf/base.toml."""
    lines = [
        "# Every setting of recpipe, once, with its default. Written by `make conf` from",
        "# recpipe/settings.py. A file given by --config needs only what it changes.",
    ]
    defaults = Settings()
    sections = [(n, v) for n, v in defaults if isinstance(v, Section)]
    for name, value in defaults:
        if not isinstance(value, Section):
            lines += ["", *_explained(Settings, name, value)]
    for name, section in sections:
        lines += ["", f"# {_first_line(type(section))}", f"[{name}]"]
        for key, value in section:
            lines += _explained(type(section), key, value)
    return "\n".join(lines) + "\n"


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _explained(section: type[Section], key: str, value: object) -> list[str]:
    text = section.model_fields[key].description or ""
    comment = [f"# {line.strip()}" for line in text.strip().splitlines()]
    # TOML has no null: what is unset stands as a comment.
    return [*comment, f"# {key} =" if value is None else f"{key} = {_toml(value)}"]


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return json.dumps(value)


if __name__ == "__main__":
    import sys

    sys.stdout.write(as_toml())
