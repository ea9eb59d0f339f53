"""Which ratings a model learns from and which it is evaluated on: strategies, leak checks."""

from recpipe.split.counts import SplitCounts, count_parts
from recpipe.split.leaks import check_no_leak
from recpipe.split.parts import PARTS, SplitParts
from recpipe.split.splitter import Outcome, split

__all__ = ["PARTS", "Outcome", "SplitCounts", "SplitParts", "check_no_leak", "count_parts", "split"]
