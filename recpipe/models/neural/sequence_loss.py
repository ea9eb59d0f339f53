"""The network of `transformer.py` by PyTorch, and what its fit minimises.

After the items s_1 .. s_t of a user the next one is s_t+1. Of all items that it could have been,
the loss of a position is the cross-entropy of the one that it was,

    - log( exp(h_t . E[s_t+1]) / sum over j of exp(h_t . E[j]) ),

where j are all items, or s_t+1 and items drawn at random, which all positions of a batch share.
With it SASRec is better than BERT4Rec, whose loss it was (Klenitskiy and Vasilev 2023); Kang and
McAuley (2018) had one negative item a position, each with a loss of its own, and are worse.

References:
    Anton Klenitskiy, Alexey Vasilev. Turning Dross Into Gold Loss: is BERT4Rec really better than
    SASRec? RecSys 2023.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recpipe.models.neural.transformer import EPSILON, ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from recpipe.models.neural.transformer import Shape

    Weights = Mapping[str, Tensor]


def states(weights: Weights, shape: Shape, items: Tensor, *, dropout: float = 0.0) -> Tensor:
    """(rows, n, rank) h_t of every position; of no use where there is no item.

    Time and memory grow with rows x n x rank x (rank + n).

    Args:
        weights: as `Shape.sizes` has them.
        shape: of the network.
        items: (rows, n) int64, n up to `max_length`, as `transformer.padded` has them.
        dropout: the share of numbers that are 0 in this call, of embeddings and in each layer.
    """
    import torch
    from torch.nn import functional as f

    def norm(x: Tensor, name: str) -> Tensor:
        scale, shift = weights[f"{name}scale"], weights[f"{name}shift"]
        return f.layer_norm(x, (shape.rank,), scale, shift, EPSILON)

    rows, n = items.shape
    there = items >= 0
    x = f.embedding(items.clamp(min=0), weights[ITEMS]) * math.sqrt(shape.rank)
    x = f.dropout(x + weights["positions"][:n].flip(0), dropout)
    # A position without an item sees itself, so that no sum of shares is 0.
    sees = torch.ones(n, n, dtype=torch.bool).tril() & there[:, None, :]
    sees = (sees | torch.eye(n, dtype=torch.bool))[:, None]
    for layer in range(shape.layers):
        own = {
            name.partition(".")[2]: weights[name] for name in weights if name.startswith(f"{layer}.")
        }
        y = norm(x, f"{layer}.attention_") @ own["seen"] + own["seen_shift"]
        heads = y.view(rows, n, 3, shape.heads, shape.rank // shape.heads).permute(2, 0, 3, 1, 4)
        y = f.scaled_dot_product_attention(*heads, attn_mask=sees, dropout_p=dropout)
        y = y.transpose(1, 2).reshape(rows, n, shape.rank) @ own["mixed"] + own["mixed_shift"]
        x = x + f.dropout(y, dropout)
        y = norm(x, f"{layer}.forward_") @ own["inner"] + own["inner_shift"]
        y = f.dropout(f.relu(y), dropout) @ own["outer"] + own["outer_shift"]
        x = x + f.dropout(y, dropout)
    return norm(x, "")


def next_item_loss(
    weights: Weights,
    shape: Shape,
    items: Tensor,
    negatives: Tensor | None = None,
    *,
    dropout: float = 0.0,
) -> Tensor:
    """The sum of the losses of all positions that have an item and a next one.

    Beside `states` time and memory grow with positions x (items or negatives).

    Args:
        weights: see `states`.
        shape: see `states`.
        items: (rows, n + 1) int64, as `transformer.padded` has them; n is up to `max_length`.
        negatives: (k,) int64 items drawn at random; None for all items. One that is the next item
            of a position does not count there.
        dropout: see `states`.
    """
    import torch
    from torch.nn import functional as f

    before, after = items[:, :-1], items[:, 1:]
    there = before >= 0
    state = states(weights, shape, before, dropout=dropout)[there]
    target = after[there]
    if negatives is None:
        return f.cross_entropy(state @ weights[ITEMS].T, target, reduction="sum")
    right = (state * f.embedding(target, weights[ITEMS])).sum(1, keepdim=True)
    others = state @ f.embedding(negatives, weights[ITEMS]).T
    others = others.masked_fill(negatives[None, :] == target[:, None], -math.inf)
    scores = torch.cat([right, others], dim=1)
    return f.cross_entropy(scores, torch.zeros_like(target), reduction="sum")


__all__ = ["next_item_loss", "states"]
