"""What a manifest says of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recpipe import __version__
from recpipe.runtime.provenance import code_version


def test_a_checkout_is_named_by_its_commit() -> None:
    if not (Path(__file__).parents[2] / ".git").exists():
        pytest.skip("these sources are no checkout")
    assert re.fullmatch(re.escape(__version__) + r"\+g[0-9a-f]{7,}(\.dirty)?", code_version())
