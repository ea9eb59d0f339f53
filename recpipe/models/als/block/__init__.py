"""Alternating least squares of our own, explicit and implicit: `model.BlockAls`.

Nothing is imported here, so that a Python worker loads what its task runs and no more.
"""
