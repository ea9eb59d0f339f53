"""The page about a run that a person opens: one file, verdict first."""

from recpipe.report.items import NEIGHBOURS_AMONG, Item, ItemVectors
from recpipe.report.page import render

__all__ = ["NEIGHBOURS_AMONG", "Item", "ItemVectors", "render"]
