"""A run in MLflow: its settings as parameters, its metrics, its page and its verdict."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from recpipe.errors import MissingError
from recpipe.sections import flat
from recpipe.storage.runs import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

    from recpipe.tracking.settings import Tracking

_MAX_BATCH = 100
"""Parameters of a request, as MLflow allows."""

_MAX_METRICS = 1000
_MAX_VALUE = 6000
"""Characters of a parameter."""

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""How often and how many seconds the client tries: by its own defaults a server that is not there
would hold the session of Spark for minutes."""


def check_available(settings: Tracking) -> None:
    """Raise MissingError if runs are to be logged to MLflow, and its client is not installed."""
    if settings.mlflow and find_spec("mlflow") is None:
        raise MissingError(
            "tracking.mlflow is set, and MLflow's client is not installed",
            hint='pip install "recpipe[mlflow]"; for a driver on a cluster,'
            " recpipe pack --extra mlflow",
        )


def log_run(
    settings: Tracking,
    manifest: Mapping[str, Any],
    metrics: Iterable[Mapping[str, Any]],
    page: str,
) -> str:
    """Log a run; returns the id that MLflow gives it. Logged again it is another run there.

    Metrics are called `<model>/<part>/<metric>`, with `-<k>` for metrics of lists, such as
    `ease/test/ndcg-10`: MLflow allows no `@`. With folds each is a step.

    There it is FINISHED where the run is, and FAILED where a check has refused it, it has failed,
    it is not at its end, or not all of it could be logged.

    Args:
        settings: where.
        manifest: of the run.
        metrics: the rows of metrics.json.
        page: report.html.

    Raises:
        Exception: of MLflow, such as where the server cannot be reached.
    """
    # Only whoever wants it has it installed.
    from mlflow import MlflowClient

    with _patient():
        client = MlflowClient(tracking_uri=settings.mlflow)
        logged = _begun(client, settings.experiment, manifest)
        try:
            _fill(client, logged, manifest, metrics, page)
        except BaseException:
            # Else it would be RUNNING there for ever. What is wrong is said by the first error.
            with suppress(Exception):
                client.set_terminated(logged.run_id, "FAILED")
            raise
        finished = manifest.get("status") == FINISHED
        client.set_terminated(logged.run_id, "FINISHED" if finished else "FAILED")
        return str(logged.run_id)


def _begun(client: MlflowClient, experiment: str, manifest: Mapping[str, Any]) -> RunInfo:
    """A run of the experiment, which is made where it is not there yet."""
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    run_id = str(manifest.get("run_id", ""))
    tags = {
        "recpipe.run_id": run_id,
        "recpipe.status": str(manifest.get("status", "")),
        "recpipe.code_version": str(manifest.get("code_version", "")),
        "recpipe.verdict": str((manifest.get("chosen") or {}).get("verdict", "")),
    }
    return client.create_run(place, run_name=run_id, tags=tags).info


def _fill(
    client: MlflowClient,
    logged: RunInfo,
    manifest: Mapping[str, Any],
    metrics: Iterable[Mapping[str, Any]],
    page: str,
) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(k, v[:_MAX_VALUE]) for k, v in flat(manifest.get("settings") or {})]
    for some in _batches(params, _MAX_BATCH):
        client.log_batch(logged.run_id, params=some)
    values = [
        Metric(name_of(row), row["value"], logged.start_time, row.get("fold") or 0)
        for row in metrics
    ]
    for some in _batches(values, _MAX_METRICS):
        client.log_batch(logged.run_id, metrics=some)
    client.log_text(logged.run_id, page, "report.html")


@contextmanager
def _patient() -> Iterator[None]:
    """While the `with` lasts, the client is as patient as the environment says, or else we."""
    own = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def name_of(row: Mapping[str, Any]) -> str:
    """The name in MLflow of a row of metrics.json."""
    k = row.get("k")
    return f"{row['model']}/{row['split']}/{row['metric']}" + ("" if k is None else f"-{k}")


def _batches(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
