"""A run in a real MLflow store of files."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from recpipe.errors import MissingError
from recpipe.tracking import check_available, log_run
from recpipe.tracking.settings import Tracking

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: dict[str, Any] = {
    "run_id": "one",
    "status": "finished",
    "chosen": {"verdict": "ease: NDCG@10 0.2000 on 540 users"},
    "settings": {"seed": 42, "evaluate": {"ks": [5, 10]}, "split": {"test_from": None}},
}
ROWS: list[dict[str, Any]] = [
    {"model": "ease", "split": "test", "metric": "ndcg", "k": 10, "value": 0.2, "fold": None},
    {"model": "sgd", "split": "test_common", "metric": "rmse", "k": None, "value": 0.8, "fold": 1},
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # Newer clients ask before they write files in place of a data base.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def test_settings_metrics_and_page_of_a_run_are_logged(store: str, tmp_path: Path) -> None:
    settings = Tracking(mlflow=store, experiment="films")

    first = log_run(settings, MANIFEST, ROWS, "<html>page</html>")
    log_run(settings, MANIFEST, ROWS, "<html>page</html>")

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("films")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2
    data = client.get_run(first).data
    assert data.params == {"seed": "42", "evaluate.ks": "5, 10", "split.test_from": ""}
    assert data.metrics == {"ease/test/ndcg-10": 0.2, "sgd/test_common/rmse": 0.8}
    assert data.tags["recpipe.verdict"] == MANIFEST["chosen"]["verdict"]
    assert client.get_metric_history(first, "sgd/test_common/rmse")[0].step == 1
    page = client.download_artifacts(first, "report.html", str(tmp_path))
    assert open(page).read() == "<html>page</html>"  # noqa: PTH123, SIM115
    assert client.get_run(first).info.status == "FINISHED"


@pytest.mark.parametrize("status", ["refused", "failed", "running"])
def test_a_run_that_did_not_finish_is_failed_in_mlflow(store: str, status: str) -> None:
    logged = log_run(Tracking(mlflow=store), {**MANIFEST, "status": status}, ROWS, "page")
    assert MlflowClient(tracking_uri=store).get_run(logged).info.status == "FAILED"


def test_a_run_that_could_not_be_logged_to_its_end_is_failed_in_mlflow(store: str) -> None:
    nameless = {**ROWS[0], "metric": "no such name: @"}
    with pytest.raises(MlflowException, match="no such name"):
        log_run(Tracking(mlflow=store), MANIFEST, [nameless], "page")
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("recpipe")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_a_server_that_is_not_there_is_given_up_in_seconds() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    before, begun = dict(os.environ), time.monotonic()
    with pytest.raises(MlflowException):
        log_run(Tracking(mlflow=uri), MANIFEST, ROWS, "page")
    assert time.monotonic() - begun < 30
    assert dict(os.environ) == before


def test_who_sets_the_patience_of_the_client_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    begun = time.monotonic()
    with pytest.raises(MlflowException):
        log_run(Tracking(mlflow="http://127.0.0.1:9"), MANIFEST, ROWS, "page")
    assert time.monotonic() - begun < 2
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_without_the_client_a_run_that_is_to_be_logged_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recpipe.tracking.mlflow.find_spec", lambda _name: None)
    check_available(Tracking())
    with pytest.raises(MissingError, match="client is not installed"):
        check_available(Tracking(mlflow="http://localhost:5000"))
