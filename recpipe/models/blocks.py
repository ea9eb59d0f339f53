"""How many blocks the ratings of a fit are cut into."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Blocks = Literal["auto", "cores"] | Annotated[int, Field(ge=1)]
"""auto: from the number of ratings and the rank, never from the machine, so that a model does not
depend on where it was fitted. cores: from the session's parallelism, for speed. Or a number."""
