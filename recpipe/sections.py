"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

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
