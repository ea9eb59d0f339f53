"""Matrix factorisation by distributed stochastic gradient descent: `model.Sgd`.

Nothing is imported here, so that a Python worker loads what its task runs and no more.
"""
