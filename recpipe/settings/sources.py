"""Where settings come from, merged into one tree that remembers who gave what."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENV_PREFIX = "RECPIPE__"
_OF_SPARK = ["session", "conf"]
"""The one section whose keys are not ours."""


class Sources:
    """Settings as they are given, later ones in place of earlier ones, before they are checked.

    Args:
        base: what comes first, such as the settings of a run.

    Attributes:
        tree: sections by their names, with values by their keys.
    """

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.tree: dict[str, Any] = copy.deepcopy(dict(base))
        self._base = base
        self._given: dict[tuple[str, ...], str] = {}

    def add_file(self, path: Path) -> None:
        """Take over what a TOML file says.

        Raises:
            UsageError: if it cannot be read or is not TOML.
        """
        hint = "give a TOML file; `recpipe settings` prints one with every setting"
        try:
            # Editors on Windows begin a file with a byte order mark, which TOML does not know.
            given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UsageError(f"{path}: {_reason(error)}", hint=hint) from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: not UTF-8 text", hint=hint) from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: not TOML: {error}", hint=hint) from error
        self._merge(self.tree, given, (), source=str(path))

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Take over the variables `RECPIPE__SECTION__KEY`."""
        for name, text in sorted(environment.items()):
            if name.startswith(ENV_PREFIX):
                keys = name.removeprefix(ENV_PREFIX).lower().split("__")
                self.put(keys, parsed(text), source=name)

    def add_override(self, override: str) -> None:
        """Take over one `section.key=value`.

        Raises:
            UsageError: if it has no `=` or no name before it.
        """
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override}: no '='", hint="write --set section.key=value")
        keys, value = [part.strip() for part in key.split(".")], parsed(text.strip())
        if keys[:2] == _OF_SPARK and len(keys) > len(_OF_SPARK):
            # Spark's own names have dots in them, and its values are text.
            keys, value = [*_OF_SPARK, ".".join(keys[2:])], text.strip()
        if not all(keys):
            raise UsageError(
                f"--set {override}: no whole name before '='", hint="write --set section.key=value"
            )
        self.put(keys, value, source="")

    def put(self, keys: Sequence[str], value: Any, *, source: str) -> None:
        """Set one value.

        Args:
            keys: the section and the key in it.
            value: of it.
            source: who gives it; empty for the command line, whose words stand before the person.

        Raises:
            UsageError: if something that is no section would be one.
        """
        tree = self.tree
        for key in keys[:-1]:
            tree = tree.setdefault(key, {})
            if not isinstance(tree, dict):
                raise UsageError(
                    f"{source or '--set ' + '.'.join(keys)}: {key} is not a section",
                    hint="`recpipe settings` lists every section",
                )
        tree[keys[-1]] = value
        self._given[tuple(keys)] = source

    def giver(self, path: Sequence[str | int]) -> str:
        """Who gave the setting at a path, or something in it; empty for the command line."""
        keys = tuple(str(part) for part in path)
        for given, source in self._given.items():
            shorter = min(len(given), len(keys))
            if given[:shorter] == keys[:shorter]:
                return source
        try:
            _at(self._base, keys)
        except LookupError:
            return ""
        return "the settings of the run" if keys else ""

    def value(self, path: Sequence[str | int]) -> Any:
        """What stands at a path of the tree.

        Raises:
            LookupError: if nothing does.
        """
        return _at(self.tree, path)

    def _merge(
        self, tree: dict[str, Any], change: Mapping[str, Any], path: tuple[str, ...], *, source: str
    ) -> None:
        for key, value in change.items():
            if isinstance(value, dict) and isinstance(tree.get(key, {}), dict):
                self._merge(tree.setdefault(key, {}), value, (*path, key), source=source)
            else:
                tree[key] = value
                self._given[*path, key] = source


def _at(tree: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        if isinstance(tree, Mapping):
            tree = tree[str(part)]
        elif isinstance(tree, list | tuple) and isinstance(part, int):
            tree = tree[part]
        else:
            raise KeyError(part)
    return tree


def parsed(text: str) -> Any:
    """A TOML value; a bare word is a string, and words with commas between are a list of them."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        parts = [part.strip() for part in text.split(",")]
        return [parsed(part) for part in parts] if len(parts) > 1 else text


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
