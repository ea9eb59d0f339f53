"""What needs PyTorch is skipped, in words, where the optional extra `neural` is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from recpipe.models.registry import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterable

HAS_TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: make neural")


def named(names: Iterable[str]) -> list[Any]:
    """Models as parameters of a test, those that are fitted by PyTorch marked so."""
    return [
        pytest.param(name, marks=needs_torch) if SPECS[name].extra is not None else name
        for name in names
    ]


def fittable() -> list[str]:
    """The models that can be fitted here."""
    return [name for name, spec in SPECS.items() if spec.extra is None or HAS_TORCH]
