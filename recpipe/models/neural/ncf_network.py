"""The networks of neural collaborative filtering (He et al. 2017) in PyTorch.

With factors p, q of user and item for a product, and others r, s for a perceptron,

    score = h . (p * q) + w . phi_L(... phi_1([r, s])) + b,   phi_l(x) = relu(W_l x + b_l)

Generalised matrix factorisation (GMF) is the first product, the multilayer perceptron (MLP) the
second, and neural matrix factorisation (NeuMF) has both. The probability of a liking is
1 / (1 + exp(-score)).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from recpipe.models.neural.ncf_shape import NcfShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float32]

_DEVIATION = 0.05
"""Standard deviation of the first factors. The paper has 0.01, with which a perceptron of rectified
units hardly moves for many epochs."""


class Ncf(nn.Module):
    """The network; users and items are given by their places.

    Args:
        users: how many this process has.
        items: how many there are.
        shape: of it.
    """

    local = frozenset({"product_users.weight", "perceptron_users.weight"})
    """See `recpipe.models.neural.training`."""

    def __init__(self, users: int, items: int, shape: NcfShape) -> None:
        super().__init__()
        self.shape = shape
        if shape.rank:
            self.product_users = _factors(users, shape.rank)
            self.product_items = _factors(items, shape.rank)
        if shape.layers:
            self.perceptron_users = _factors(users, shape.width)
            self.perceptron_items = _factors(items, shape.width)
        widths = (2 * shape.width, *shape.layers) if shape.layers else ()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(shape.dropout)
        self.out = nn.Linear(shape.rank + (shape.layers[-1] if shape.layers else 0), 1)

    @classmethod
    def of_parts(cls, product: Ncf, perceptron: Ncf, dropout: float) -> Ncf:
        """Both in one, as far as each has learned: the scores are the means of theirs."""
        rank, (_, width, layers, _) = product.shape.rank, perceptron.shape
        users, items = product.product_users, product.product_items
        found = cls(
            users.num_embeddings, items.num_embeddings, NcfShape(rank, width, layers, dropout)
        )
        own = {
            name: value
            for part in (product, perceptron)
            for name, value in part.state_dict().items()
            if not name.startswith("out.")
        }
        found.load_state_dict(own, strict=False)
        with torch.no_grad():
            found.out.weight[:, :rank] = product.out.weight / 2
            found.out.weight[:, rank:] = perceptron.out.weight / 2
            found.out.bias[:] = (product.out.bias + perceptron.out.bias) / 2
        return found

    def embedded(self, users: Tensor, items: Tensor) -> list[Tensor]:
        """(n, k) each: p, q, r and s, as far as the network has them."""
        found = []
        if self.shape.rank:
            found += [self.product_users(users), self.product_items(items)]
        if self.shape.layers:
            found += [self.perceptron_users(users), self.perceptron_items(items)]
        return found

    def scores(self, embedded: list[Tensor]) -> Tensor:
        """(n,) of what `embedded` found."""
        parts = []
        if self.shape.rank:
            parts.append(embedded[0] * embedded[1])
        if self.shape.layers:
            x = torch.cat(embedded[-2:], dim=1)
            for layer in self.layers:
                x = self.dropout(torch.relu(layer(x)))
            parts.append(x)
        return self.out(torch.cat(parts, dim=1))[:, 0]

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(n,) the score of each pair."""
        return self.scores(self.embedded(users, items))

    # -- what scores without PyTorch -------------------------------------------------------------

    @torch.no_grad()
    def user_rows(self) -> Floats:
        """(users, rank + first layer) p, and what the first layer makes of r, with its bias."""
        parts = []
        if self.shape.rank:
            parts.append(self.product_users.weight)
        if self.shape.layers:
            first = self.layers[0]
            own = first.weight[:, : self.shape.width]
            parts.append(self.perceptron_users.weight @ own.T + first.bias)
        return _array(torch.cat(parts, dim=1))

    @torch.no_grad()
    def item_rows(self) -> Floats:
        """(items, rank + first layer) h * q, and what the first layer makes of s."""
        parts = []
        if self.shape.rank:
            parts.append(self.product_items.weight * self.out.weight[0, : self.shape.rank])
        if self.shape.layers:
            own = self.layers[0].weight[:, self.shape.width :]
            parts.append(self.perceptron_items.weight @ own.T)
        return _array(torch.cat(parts, dim=1))

    @torch.no_grad()
    def layer_rows(self) -> list[Floats]:
        """Flat: of each further layer W' (in, out) and its bias, then w, then b."""
        found = []
        for layer in list(self.layers)[1:]:
            found += [_array(layer.weight.T), _array(layer.bias)]
        return [*found, _array(self.out.weight[0, self.shape.rank :]), _array(self.out.bias)]


def _factors(count: int, width: int) -> nn.Embedding:
    found = nn.Embedding(count, width, sparse=True)
    nn.init.normal_(found.weight, std=_DEVIATION)
    return found


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.detach().cpu().contiguous().numpy()
    return found


__all__ = ["Ncf"]
