"""Python's garbage in Spark's workers, which look through all their objects after every task.

With Numba loaded that takes a tenth of a second of a core, for objects that stay as long as the
process. So what has survived a long look is left out of the next.
"""

from __future__ import annotations

import gc
from time import thread_time
from typing import Any

_LONG = 0.005
"""Seconds of CPU: some hundred thousand objects."""
_OLDEST = 2


def freeze_survivors() -> None:
    """From now on, in this process, objects that survive a long collection are never looked at."""
    if _freeze not in gc.callbacks:
        gc.callbacks.append(_freeze)


_began = [0.0]


def _freeze(phase: str, info: dict[str, Any]) -> None:
    if info["generation"] < _OLDEST:
        return
    if phase == "start":
        _began[0] = thread_time()
    elif thread_time() - _began[0] > _LONG:
        gc.freeze()


__all__ = ["freeze_survivors"]
