"""Runs as they are told to a server that keeps track of experiments."""

from recpipe.tracking.mlflow import check_available, log_run

__all__ = ["check_available", "log_run"]
