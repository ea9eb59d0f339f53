"""What the neural models need that recpipe does not bring along."""

from __future__ import annotations

from recpipe.models.spec import Extra

TORCH = Extra("neural", "torch", "PyTorch")
"""Of fits alone: what is fitted is scored, saved and published without it."""
