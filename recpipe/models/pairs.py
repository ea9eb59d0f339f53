"""A user and an item as one long: each column that goes to Arrow costs a conversion a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import Column

    Ints = NDArray[np.int32]

PAIR = "pair"


def pair_of(user: str, item: str) -> Column:
    """PAIR: the int in column `user` above 32 bits, that in `item` below."""
    low = F.col(item).cast("long").bitwiseAND(F.lit(0xFFFFFFFF))
    return F.shiftleft(F.col(user).cast("long"), 32).bitwiseOR(low).alias(PAIR)


def unpaired(pairs: NDArray[np.int64]) -> tuple[Ints, Ints]:
    """(users, items) of pairs."""
    return (pairs >> 32).astype(np.int32), pairs.astype(np.int32)
