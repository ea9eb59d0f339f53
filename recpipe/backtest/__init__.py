"""The same settings fitted at several instants: how models do over time, and how lists change."""

from recpipe.backtest.pooling import pooled_rows
from recpipe.backtest.stability import list_stability
from recpipe.backtest.windows import Window, Windows, windows_of

__all__ = ["Window", "Windows", "list_stability", "pooled_rows", "windows_of"]
