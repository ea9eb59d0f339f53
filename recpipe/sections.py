"""What every section of the settings is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")
Many = Annotated[
    tuple[T, ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, str | int | float) else given),
]
"""Several values; a single one, as `--set evaluate.ks=5` gives, is a list of one."""


class Section(BaseModel):
    """What every section keeps: frozen, no unknown key, a docstring on each field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`section.key` and value of settings as a manifest has them, in their order."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield prefix + key, ", ".join(map(str, value))
        else:
            yield prefix + key, "" if value is None else str(value)
