"""TOML, environment and flags become one frozen, validated object.

The sections are defined by the packages that read them and assembled here. Later sources win: the
defaults (printed, explained, as conf/base.toml), the file given by `--config`, environment
variables `RECPIPE__SECTION__KEY`, then `--set section.key=value`. A key that does not exist is
refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, create_model, model_validator

from recpipe.errors import UsageError
from recpipe.evaluation.settings import Evaluate
from recpipe.ingest.settings import Ingest
from recpipe.models.registry import SPECS
from recpipe.models.settings import Train
from recpipe.publish.settings import Publish
from recpipe.recommend.settings import Recommend
from recpipe.sections import Section
from recpipe.spark.settings import Session
from recpipe.split.settings import Split
from recpipe.storage.settings import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENV_PREFIX = "RECPIPE__"


class _Settings(Section):
    """Every setting of recpipe but the sections of the models."""

    seed: int = Field(42, ge=0)
    """Seed of every random choice of a run."""
    session: Session = Session()
    storage: Storage = Storage()
    ingest: Ingest = Ingest()
    split: Split = Split()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    recommend: Recommend = Recommend()
    publish: Publish = Publish()

    @model_validator(mode="after")
    def _consistent(self) -> _Settings:
        named = [
            ("train.models", self.train.models),
            ("train.fallback_for", self.train.fallback_for),
        ]
        for setting, models in named:
            for name in models:
                if name not in SPECS:
                    known = ", ".join(SPECS)
                    raise ValueError(
                        f"{setting}: there is no model {name!r}; the models are {known}"
                    )
        chosen = self.publish.model
        if chosen == "auto" and not any(SPECS[name].selectable for name in self.train.models):
            never = " or ".join(name for name, spec in SPECS.items() if not spec.selectable)
            raise ValueError(f"publish.model = auto never chooses {never}: fit another model")
        if chosen not in {"auto", *self.train.models}:
            raise ValueError(f"publish.model = {chosen} is none of train.models")
        return self

    def section(self, name: str) -> Section:
        """The section of that name."""
        value = getattr(self, name)
        assert isinstance(value, Section)  # noqa: S101 - names come from specs
        return value

    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of all settings that shape a result."""
        shaping = self.model_dump(mode="json", exclude={"session"})
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
    if isinstance(value, Section):
        set_ones = [f"{key} = {_toml(part)}" for key, part in value if part is not None]
        return f"{{{', '.join(set_ones)}}}"
    return json.dumps(value)


if __name__ == "__main__":
    import sys

    sys.stdout.write(as_toml())
