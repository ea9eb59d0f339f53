"""What a table of ratings looks like, before any model sees it."""

from recpipe.describe.description import Description
from recpipe.describe.tables import describe

__all__ = ["Description", "describe"]
