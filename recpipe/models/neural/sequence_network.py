"""The network of `transformer.py` by PyTorch, and what its fit minimises.

After the items s_1 .. s_t of a user the next one is s_t+1. The loss of a position is the
cross-entropy of that item among others,

    - log( exp(h_t . E[s_t+1]) / sum over j of exp(h_t . E[j]) ),

where j are all items, or s_t+1 and items drawn at random, which all positions of a batch share.
This was the loss of BERT4Rec; with it SASRec is the better of the two (Klenitskiy and Vasilev
2023). Kang and McAuley (2018) have a binary loss with one negative item for each position, which is
worse.

References:
    Anton Klenitskiy, Alexey Vasilev. Turning Dross Into Gold Loss: is BERT4Rec really better than
    SASRec? RecSys 2023.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as f

from recpipe.models.neural.transformer import EPSILON, ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from recpipe.models.neural.transformer import Shape


class SequenceNetwork(nn.Module):
    """The network and its loss.

    Args:
        shape: of the network.
        weights: with which it begins, as `Shape.sizes` has them.
        dropout: the share of numbers that are 0 in a step of training, of embeddings and in each
            layer.
        sparse: whether a step moves only the embeddings of items that occur in it; else it moves
            all, since Adam's moments of the others are not 0.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Mapping[str, NDArray[np.float32]],
        *,
        dropout: float = 0.0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        self.items = nn.Embedding.from_pretrained(tensors.pop(ITEMS), freeze=False, sparse=sparse)
        self.rest = nn.ParameterDict(tensors)

    def states(self, items: Tensor) -> Tensor:
        """(rows, n, rank) h_t of every position; meaningless where there is no item.

        Time and memory grow with rows x n x rank x (rank + n).

        Args:
            items: (rows, n) int64, n up to `max_length`, as `transformer.padded` has them.
        """
        shape, weights = self.shape, self.rest
        rows, n = items.shape
        x = self.items(items.clamp(min=0)) * math.sqrt(shape.rank)
        x = self._dropped(x + weights["positions"][:n].flip(0))
        # A position without an item sees itself: a softmax over nothing would be NaN.
        sees = torch.ones(n, n, dtype=torch.bool, device=items.device).tril()
        itself = torch.eye(n, dtype=torch.bool, device=items.device)
        sees = (sees & (items >= 0)[:, None, :] | itself)[:, None]
        dropout = self.dropout if self.training else 0.0
        for layer in range(shape.layers):
            own = {
                name.removeprefix(f"{layer}_"): weights[name]
                for name in weights
                if name.startswith(f"{layer}_")
            }
            y = self._norm(x, f"{layer}_attention_") @ own["seen"] + own["seen_shift"]
            y = y.view(rows, n, 3, shape.heads, shape.rank // shape.heads)
            queries, keys, values = y.permute(2, 0, 3, 1, 4).unbind()
            y = f.scaled_dot_product_attention(queries, keys, values, sees, dropout)
            y = y.transpose(1, 2).reshape(rows, n, shape.rank)
            x = x + self._dropped(y @ own["mixed"] + own["mixed_shift"])
            y = self._norm(x, f"{layer}_forward_") @ own["inner"] + own["inner_shift"]
            y = self._dropped(f.relu(y)) @ own["outer"] + own["outer_shift"]
            x = x + self._dropped(y)
        return self._norm(x, "")

    def loss(self, items: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The sum of the losses of all positions that have an item and a next one.

        Beside `states` time and memory grow with positions x (items or negatives).

        Args:
            items: (rows, n + 1) int64, as `transformer.padded` has them; n is up to `max_length`.
            negatives: (k,) int64 items drawn at random; None for all items. One that is the next
                item of a position is no negative of that position.
        """
        before, after = items[:, :-1], items[:, 1:]
        there = before >= 0
        state, target = self.states(before)[there], after[there]
        if negatives is None:
            return f.cross_entropy(state @ self.items.weight.T, target, reduction="sum")
        right = (state * self.items(target)).sum(1, keepdim=True)
        others = state @ self.items(negatives).T
        others = others.masked_fill(negatives[None, :] == target[:, None], -math.inf)
        scores = torch.cat([right, others], dim=1)
        return f.cross_entropy(scores, torch.zeros_like(target), reduction="sum")

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """As `Shape.sizes` has them."""
        found = {ITEMS: self.items.weight, **self.rest}
        return {name: value.detach().cpu().numpy() for name, value in found.items()}

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scale, shift = self.rest[f"{name}scale"], self.rest[f"{name}shift"]
        return f.layer_norm(x, (self.shape.rank,), scale, shift, EPSILON)

    def _dropped(self, x: Tensor) -> Tensor:
        return f.dropout(x, self.dropout, self.training)


__all__ = ["SequenceNetwork"]
