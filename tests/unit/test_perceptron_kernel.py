from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from recpipe.kernels.perceptron import Layers, network_scores

RANK = 5


def parts(widths: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """W' and bias of each layer after the first, then w and b, flat."""
    found = []
    for wide, narrow in pairwise(widths):
        found += [rng.normal(size=wide * narrow), rng.normal(size=narrow)]
    last = rng.normal(size=widths[-1] if widths else 0)
    return [each.astype(np.float32) for each in (*found, last, rng.normal(size=1))]


def expected(users: np.ndarray, items: np.ndarray, given: list[np.ndarray]) -> np.ndarray:
    """The formula of the module, in float64."""
    *layers, last, bias = (each.astype(np.float64) for each in given)
    p, q = users.astype(np.float64), items.astype(np.float64)
    x = np.maximum(p[:, None, RANK:] + q[None, :, RANK:], 0)
    for weights, own in zip(layers[::2], layers[1::2], strict=True):
        x = np.maximum(x @ weights.reshape(x.shape[2], len(own)) + own, 0)
    return np.asarray(p[:, :RANK] @ q[:, :RANK].T + x @ last + bias)


@pytest.mark.parametrize("widths", [(), (7,), (9, 4), (8, 16, 3)])
def test_scores_are_those_of_the_formula(widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    width = RANK + (widths[0] if widths else 0)
    users, items = (rng.normal(size=(n, width)).astype(np.float32) for n in (6, 35))
    given = parts(widths, rng)
    found = network_scores(users, items, Layers.of(given))
    np.testing.assert_allclose(found, expected(users, items, given), rtol=1e-4, atol=1e-4)
    # To the bit, whoever else is asked for, and wherever the items begin.
    some = network_scores(users[2:4], items[5:30].copy(), Layers.of(given))
    assert some.tobytes() == found[2:4, 5:30].tobytes()


def test_weights_that_do_not_fit_the_layers_are_refused() -> None:
    given = parts((8, 4), np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"widths \[8, 4\] do not have 39 weights"):
        Layers.of([given[0], given[1], given[2][1:], given[3]])
