"""The pages that a person opens: one file each, verdict first."""

from recpipe.report.backtest import render_backtest
from recpipe.report.compare import Comparison, RunRecord, render_comparison
from recpipe.report.items import NEIGHBOURS_AMONG, Item, ItemVectors
from recpipe.report.page import render

__all__ = [
    "NEIGHBOURS_AMONG",
    "Comparison",
    "Item",
    "ItemVectors",
    "RunRecord",
    "render",
    "render_backtest",
    "render_comparison",
]
