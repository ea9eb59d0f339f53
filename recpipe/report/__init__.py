"""The pages that a person opens: one file each, verdict first."""

from recpipe.report.backtest import render_backtest
from recpipe.report.compare import Comparison, RunRecord, render_comparison
from recpipe.report.items import NEIGHBOURS_AMONG, Item, ItemVectors
from recpipe.report.page import render
from recpipe.report.plots.style import prepare

__all__ = [
    "NEIGHBOURS_AMONG",
    "Comparison",
    "Item",
    "ItemVectors",
    "RunRecord",
    "prepare",
    "render",
    "render_backtest",
    "render_comparison",
]
