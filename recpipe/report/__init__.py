"""The page about a run that a person opens: one file, verdict first."""

from recpipe.report.page import render

__all__ = ["render"]
