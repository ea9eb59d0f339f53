"""The options that the stages share, and the session that they open."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from recpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recpipe.publish import ArrowFolder
    from recpipe.settings import Settings
    from recpipe.stages.context import Context
    from recpipe.storage import Folder


_RATING_BYTES = 30
"""Of a rating as text, in the releases of MovieLens."""


def _run_date(_context: click.Context, _option: click.Parameter, value: str | None) -> date | None:
    if value is None:
        return None
    try:
        # ISO 8601 has more ways to write a day.
        if len(value) != len("YYYY-MM-DD") or "W" in value:
            raise click.BadParameter(f"{value!r} is not YYYY-MM-DD")
        # The day after must exist, too.
        return date.fromisoformat(value) + timedelta(days=1) - timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value!r} is not YYYY-MM-DD") from error


def _not_yet(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError("--resume is not there yet; start the run again without it")


def logging_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --verbose and --log-format to a command."""
    command = click.option("--verbose", is_flag=True, help="Debug lines, Spark's log, tracebacks.")(
        command
    )
    return click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
    )(command)


_WHOLE = (
    click.option("--input", "source", metavar="PATH", help="Folder, zip or file of ratings."),
    click.option("--dataset", metavar="NAME", help="A known release; see `recpipe data list`."),
)

_IN_PARTS = (
    click.option(
        "--train", metavar="PATH", help="Ratings that others have split: those to learn from."
    ),
    click.option(
        "--validation",
        metavar="PATH",
        help="With --train: those to choose by. Default: a share of train.",
    ),
    click.option("--test", metavar="PATH", help="With --train: those to evaluate on."),
)

_MODELS = click.option("--models", metavar="A,B,C", help="Models to fit.")
_MODELS_DIR = click.option(
    "--models-dir", metavar="DIR", help="Keep a copy of the fitted models there too."
)

_RUN_DATE = click.option(
    "--run-date", metavar="YYYY-MM-DD", callback=_run_date, help="Default: today, UTC."
)

_OPTIONS = (
    click.option(
        "--root",
        metavar="DIR",
        required=True,
        envvar="RECPIPE_ROOT",
        show_envvar=True,
        help="Where tables, runs and published lists live; any Hadoop file system.",
    ),
    _RUN_DATE,
    click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A TOML file of settings; `recpipe settings` explains each. A later stage of a run"
        " starts from the settings that the run keeps.",
    ),
    _MODELS,
    click.option("--format", "format_", type=click.Choice(["parquet", "delta"])),
    click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="One setting, such as sgd.rank=16; may be given many times.",
    ),
    _MODELS_DIR,
    click.option("--resume", metavar="RUN", callback=_not_yet, expose_value=False, hidden=True),
)


def stage_options(
    *, source: bool, run_id: str, parts: bool = True, models: bool = True, run_date: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What adds the options of a stage to its command.

    Args:
        source: whether the stage reads raw files.
        run_id: what `--help` says of `--run-id`.
        parts: whether these may be split already.
        models: whether it fits the models of `train.models`, and may keep them.
        run_date: whether it stands for a day of its own.
    """
    left_out = [*(() if models else (_MODELS, _MODELS_DIR)), *(() if run_date else (_RUN_DATE,))]
    options = [option for option in _OPTIONS if option not in left_out]
    options.append(click.option("--run-id", metavar="ID", help=run_id))
    if source:
        options[:0] = (*_WHOLE, *(_IN_PARTS if parts else ()))

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return logging_options(command)

    return add


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a stage is given on the command line; None for options that it does not have."""

    root: str
    verbose: bool
    log_format: Literal["text", "json"]
    run_date: date | None = None
    config: Path | None = None
    models: str | None = None
    format_: str | None = None
    overrides: tuple[str, ...] = ()
    models_dir: str | None = None
    run_id: str | None = None
    source: str | None = None
    dataset: str | None = None
    metric: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None

    @property
    def parts(self) -> dict[str, str]:
        """The path of each part, train first; empty where ratings do not come in parts."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: path for part, path in named.items() if path is not None}

    def check_source(self) -> None:
        """Raise click.UsageError if the options name two sources, or only some of the parts."""
        whole = {"--input": self.source, "--dataset": self.dataset}
        named = [option for option, value in whole.items() if value is not None]
        named += [f"--{part}" for part in self.parts][:1]
        if len(named) > 1:
            raise click.UsageError(f"{named[0]} and {named[1]} exclude each other")
        if self.parts and (self.train is None or self.test is None):
            raise click.UsageError("ratings in parts need both --train and --test")

    def check_strategy(self, settings: Settings) -> None:
        """Raise UsageError if the settings split by another rule than the source is given by."""
        split = settings.split
        instants = [name for name in ("test_from", "test_until") if getattr(split, name)]
        if self.parts and (split.strategy not in {"auto", "given"} or instants):
            rule = f"split.{instants[0]}" if instants else f"split.strategy {split.strategy}"
            raise UsageError(
                f"--train and --test say what the parts are, and so does {rule}",
                hint="leave it out, or give all ratings by --input",
            )
        if self.parts and settings.filter.is_set:
            raise UsageError(
                "--train and --test say what the parts are, and [filter] would change them",
                hint="leave the filter out, or give all ratings by --input",
            )
        if split.strategy == "given" and (self.source or self.dataset):
            raise UsageError(
                "split.strategy given needs ratings that came in parts",
                hint="give --train and --test in place of --input or --dataset",
            )

    def settings(self, base: Mapping[str, Any] | None = None, *, complete: bool = True) -> Settings:
        """Settings from all sources, on top of those of a run where there is one.

        Args:
            base: the settings of the run.
            complete: False where there is a run whose settings are not known yet: see `load`.
        """
        from recpipe.settings import load

        given: dict[str, Any] = {}
        if self.models is not None:
            given["train.models"] = tuple(filter(None, re.split(r"[,\s]+", self.models)))
        if self.metric is not None:
            given["evaluate.metric"] = self.metric
        if self.format_ is not None:
            given["storage.format"] = self.format_
        base = base or format_at(self.root)
        return load(
            self.config, base=base, overrides=self.overrides, given=given, complete=complete
        )


def fresh_id(context: Context) -> str:
    """The id of a new run, where none is given."""
    return f"{context.run_date.isoformat()}T{datetime.now(UTC):%H%M%S}Z"


def format_at(root: str) -> dict[str, Any]:
    """The setting that tables keep the format which they have under a root."""
    from recpipe.storage import local_format

    found = local_format(root)
    return {"storage": {"format": found}} if found else {}


@contextmanager
def readable_root(root: str, name: str, *, verbose: bool) -> Iterator[Folder | ArrowFolder]:
    """A root to be read, by the quickest way to its files: pyarrow, or else a session of Spark.

    Args:
        root: as of the command.
        name: of the command.
        verbose: whether Spark's own log is shown.
    """
    from recpipe.publish import arrow_root

    folder = arrow_root(root)
    if folder is not None:
        yield folder
        return
    from recpipe.settings import load
    from recpipe.spark.session import spark_session
    from recpipe.storage import Folder

    settings = load(base=format_at(root))
    # A few rows of any table: over in seconds, whatever lies under the root.
    delta = settings.storage.format == "delta"
    with spark_session(
        settings.session, name=f"recpipe {name}", delta=delta, verbose=verbose, input_bytes=0
    ) as spark:
        yield Folder(spark, root)


def _input_bytes(options: Options) -> int | None:
    """About how many bytes of text a stage begins with: the source, or the tables that are there.

    None where that is not known, such as on a store.
    """
    from recpipe.datasets.catalogue import release
    from recpipe.runtime.input_size import text_bytes
    from recpipe.spark.configuration import SMALL_BYTES
    from recpipe.storage.paths import absolute, local_path

    if options.dataset is not None:
        return release(options.dataset).ratings * _RATING_BYTES
    total = 0
    for source in options.parts.values() or [options.source or f"{options.root}/tables"]:
        place = local_path(absolute(source))
        size = None if place is None else text_bytes(place, enough=SMALL_BYTES)
        if size is None:
            return None
        total += size
    return total


@contextmanager
def session(
    options: Options, name: str, *, goes_on: bool = False, fits: bool = False
) -> Iterator[Context]:
    """Logging, settings, source and session, in the order in which each can fail cheapest.

    Args:
        options: of the command.
        name: of the command.
        goes_on: whether it goes on with a run, whose settings come before those that are given.
        fits: whether it fits the models of `train.models`.
    """
    from recpipe.models.registry import check_extras
    from recpipe.runtime import logs, progress
    from recpipe.storage.runs import local_settings
    from recpipe.tracking import check_available

    options.check_source()
    logs.logging_setup(verbose=options.verbose, log_format=options.log_format)
    before = local_settings(options.root, options.run_id) if goes_on else None
    settings = options.settings(before, complete=before is not None or not goes_on)
    check_available(settings.tracking)
    if fits:
        check_extras(settings.train.models)
    options.check_strategy(settings)

    from recpipe.spark.session import spark_session
    from recpipe.stages.context import Context
    from recpipe.storage import Folder

    shown = progress.Progress()
    with ExitStack() as stack:
        # With --verbose Spark's own log is what shows that it starts.
        with nullcontext() if options.verbose else shown.waiting("starting Spark"):
            spark = stack.enter_context(
                spark_session(
                    settings.session,
                    name=f"recpipe {name}",
                    delta=settings.storage.format == "delta",
                    verbose=options.verbose,
                    input_bytes=_input_bytes(options),
                )
            )
        shown.attach(spark)
        yield Context(
            root=Folder(spark, options.root, format=settings.storage.format),
            settings=settings,
            run_date=options.run_date or datetime.now(UTC).date(),
            progress=shown,
            models_dir=Folder(spark, options.models_dir) if options.models_dir else None,
        )
