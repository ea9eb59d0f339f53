"""The sizes of a network of neural collaborative filtering. No PyTorch."""

from __future__ import annotations

from typing import NamedTuple


class NcfShape(NamedTuple):
    """The sizes of a network: p, q, r and s are the factors of `ncf_network`.

    Args:
        rank: length of p and q; 0 for no product.
        width: length of r and s.
        layers: widths of the hidden layers; empty for no perceptron.
        dropout: share of the outputs of a layer that a step leaves out.
    """

    rank: int
    width: int = 0
    layers: tuple[int, ...] = ()
    dropout: float = 0.0


__all__ = ["NcfShape"]
