"""The section `tracking`."""

from __future__ import annotations

from recpipe.sections import Section


class Tracking(Section):
    """Where else runs are recorded, beside their folders."""

    mlflow: str = ""
    """URI of an MLflow tracking server or store; `report`, with which a run ends, then logs the run
    there: settings, metrics and page. Empty: nowhere."""
    experiment: str = "recpipe"
    """The MLflow experiment; made where it is not there."""
