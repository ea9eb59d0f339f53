"""Alternating least squares of our own, explicit and implicit, over packed blocks."""

from recpipe.models.block_als.fold_in import fold_in
from recpipe.models.block_als.model import BlockAls, BlockAlsImplicit

__all__ = ["BlockAls", "BlockAlsImplicit", "fold_in"]
