"""Matrix factorisation by distributed stochastic gradient descent."""

from recpipe.models.sgd.model import Sgd

__all__ = ["Sgd"]
