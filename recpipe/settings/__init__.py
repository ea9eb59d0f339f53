"""TOML, environment and flags become one frozen, validated object.

The sections are defined by the packages that read them and assembled here. Later sources win: the
defaults (printed with their explanations by `recpipe settings`), the file given by `--config`,
environment variables `RECPIPE__SECTION__KEY`, then `--set section.key=value`. A key that does not
exist is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, create_model, model_validator

from recpipe.errors import UsageError, did_you_mean
from recpipe.evaluation.settings import Evaluate
from recpipe.ingest.settings import Ingest
from recpipe.models.registry import SPECS, components_of, no_weights
from recpipe.models.settings import Train
from recpipe.publish.settings import Publish
from recpipe.recommend.settings import Recommend, Rules
from recpipe.sections import Section
from recpipe.settings import reference
from recpipe.settings.refusal import refusal
from recpipe.settings.sources import Sources
from recpipe.spark.settings import Session
from recpipe.split.settings import Filter, Split
from recpipe.storage.settings import Storage
from recpipe.tracking.settings import Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class _Settings(Section):
    """Every setting of recpipe but the sections of the models."""

    seed: int = Field(42, ge=0)
    """Seed of every random choice of a run."""
    session: Session = Session()
    storage: Storage = Storage()
    ingest: Ingest = Ingest()
    filter: Filter = Filter()
    split: Split = Split()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    recommend: Recommend = Recommend()
    rules: Rules = Rules()
    publish: Publish = Publish()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _consistent(self) -> _Settings:
        named = [
            ("train.models", self.train.models),
            ("train.fallback_for", self.train.fallback_for),
            ("publish.prefer", self.publish.prefer),
        ]
        for setting, models in named:
            for name in models:
                if name not in SPECS:
                    near = did_you_mean(name, SPECS) or f"the models are {', '.join(SPECS)}"
                    raise ValueError(f"{setting}: there is no model {name!r}; {near}")
        if refused := no_weights(self.train.models, self.train):
            raise ValueError(refused)
        chosen = self.publish.model
        if chosen == "auto" and not any(SPECS[name].selectable for name in self.train.models):
            never = " or ".join(name for name, spec in SPECS.items() if not spec.selectable)
            raise ValueError(f"publish.model = auto never chooses {never}: fit another model")
        for name in self.train.models:
            needed = components_of(name, dict(self), self.train.models)
            if missing := [other for other in needed if other not in self.train.models]:
                raise ValueError(f"{name} needs {missing[0]}, which is none of train.models")
        if chosen not in {"auto", *self.train.models}:
            near = did_you_mean(chosen, SPECS) if chosen not in SPECS else "add it there"
            raise ValueError(
                f"publish.model = {chosen} is none of train.models" + (f"; {near}" if near else "")
            )
        return self

    def section(self, name: str) -> Section:
        """The section of that name."""
        value = getattr(self, name)
        assert isinstance(value, Section)  # noqa: S101 - names come from specs
        return value

    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of all settings that shape a result."""
        shaping = self.model_dump(mode="json", exclude={"session", "tracking"})
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


if TYPE_CHECKING:
    Settings = _Settings
else:
    _of_models = {n: kind for spec in SPECS.values() for n, kind in spec.sections.items()}
    Settings = create_model(
        "Settings",
        __base__=_Settings,
        __doc__="Every setting of recpipe.",
        **{name: (kind, kind()) for name, kind in _of_models.items()},
    )


def load(
    config: Path | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    complete: bool = True,
) -> Settings:
    """Settings from the file, the environment, `key=value` overrides and flags, in that order.

    Args:
        config: a TOML file.
        base: what comes before the file, in place of the defaults: the settings of a run.
        overrides: `section.key=value`, the value as TOML or a bare word.
        given: `section.key` to a value that needs no parsing, from flags of their own.
        environment: in place of the process's own.
        complete: False where the settings of a run come before these and are not known yet. Where
            these contradict a default, that is then no error: the sections `session` and `storage`
            are taken alone.

    Raises:
        UsageError: for a file that cannot be read, an unknown key or an invalid value. It names
            the source, the setting and the value, and a known name that is near to a wrong one.
    """
    sources = Sources(base or {})
    if config is not None:
        sources.add_file(config)
    sources.add_environment(os.environ if environment is None else environment)
    for override in overrides:
        sources.add_override(override)
    for key, value in (given or {}).items():
        sources.put(key.split("."), value, source="")
    try:
        return Settings.model_validate(sources.tree)
    except ValidationError as error:
        # What is wrong with a single setting has its name, and not only that of its section.
        if complete or any(len(found["loc"]) > 1 for found in error.errors()):
            raise refusal(error, Settings, sources) from error
    tree = {name: sources.tree[name] for name in ("session", "storage") if name in sources.tree}
    return Settings.model_validate(tree)


def as_toml(section: str | None = None) -> str:
    """Every setting, or one section of them, with default and explanation, as TOML.

    The text of all of them is that of conf/base.toml.

    Raises:
        UsageError: if there is no such section.
    """
    defaults = Settings()
    if section is None:
        return reference.whole(defaults)
    names = [name for name, value in defaults if isinstance(value, Section)]
    if section not in names:
        near = did_you_mean(section, names)
        raise UsageError(
            f"there is no section {section!r}" + (f"; {near}" if near else ""),
            hint=f"the sections are {', '.join(names)}",
        )
    return reference.section(section, defaults.section(section))
