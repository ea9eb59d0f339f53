"""Which ratings a run knows, learns from and is evaluated on: filters, strategies, checks."""

from recpipe.split.counts import SplitCounts, count_parts
from recpipe.split.filters import Filtered, filtered
from recpipe.split.leaks import check_no_leak
from recpipe.split.parts import PARTS, TRAIN, VALIDATION, SplitParts
from recpipe.split.splitter import BY_TIME, Outcome, follows_parts, split
from recpipe.split.strategies import first_of_test

__all__ = [
    "BY_TIME",
    "PARTS",
    "TRAIN",
    "VALIDATION",
    "Filtered",
    "Outcome",
    "SplitCounts",
    "SplitParts",
    "check_no_leak",
    "count_parts",
    "filtered",
    "first_of_test",
    "follows_parts",
    "split",
]
