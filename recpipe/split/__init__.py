"""Which ratings a model learns from and which it is evaluated on: strategies, leak checks."""

from recpipe.split.counts import SplitCounts, count_parts
from recpipe.split.leaks import check_no_leak
from recpipe.split.parts import PARTS, TRAIN, VALIDATION, SplitParts
from recpipe.split.splitter import BY_TIME, Outcome, split
from recpipe.split.strategies import first_of_test

__all__ = [
    "BY_TIME",
    "PARTS",
    "TRAIN",
    "VALIDATION",
    "Outcome",
    "SplitCounts",
    "SplitParts",
    "check_no_leak",
    "count_parts",
    "first_of_test",
    "split",
]
