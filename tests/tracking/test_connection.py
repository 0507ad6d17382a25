import socket
import threading
from dataclasses import replace

import pytest

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.mlflow.connection import prepare_environment, reason, tracking_faults


@pytest.mark.parametrize("uri", ["sqlite:///runs/mlflow.db", "http://host:5000", "postgresql+psycopg2://host/db"])
def test_stores_mlflow_writes_to_are_accepted(uri):
    assert tracking_faults(TrackingConfig(uri=uri, experiment="depth")) == []


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "sqlite"])
def test_a_store_of_plain_files_is_refused(uri):
    (fault,) = tracking_faults(TrackingConfig(uri=uri, experiment="depth"))
    assert fault.key == "tracking.uri"
    assert uri in fault.problem
    assert "sqlite:///runs/mlflow.db" in fault.remedy


def test_all_faults_are_found_at_once():
    faults = tracking_faults(TrackingConfig(uri="mlruns", experiment=" ", timeout=0))
    assert [fault.key for fault in faults] == ["tracking.uri", "tracking.experiment", "tracking.timeout"]
    assert tracking_faults(TrackingConfig(enabled=False, uri="mlruns", experiment="depth", timeout=0)) == []


def test_a_typed_server_overrides_the_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    with composer():
        assert to_config(composed(["name=x"])).tracking.uri == "http://server:5000"
        assert to_config(composed(["name=x", "tracking.uri=sqlite:///a.db"])).tracking.uri == "sqlite:///a.db"
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert to_config(composed(["name=x", "runs_dir=out"])).tracking.uri == "sqlite:///out/mlflow.db"
        assert not to_config(composed(["name=x", "tracking=none"])).tracking.enabled


def requests_without_answer(send):
    """How often a server that hangs up is sent a request, and how that is described."""
    from mlflow import MlflowClient  # slow to import
    from mlflow.exceptions import MlflowException

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def hang_up():
            while True:
                connection, _ = server.accept()
                with connection:
                    taken.append(connection.recv(12))
                if taken[-1] == b"":
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(MlflowException) as raised:
                send(MlflowClient(f"http://127.0.0.1:{server.getsockname()[1]}"))
        finally:
            socket.create_connection(server.getsockname()).close()
            thread.join()
    return len(taken) - 1, reason(raised.value)


def test_what_makes_a_run_is_sent_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    prepare_environment(5)
    from fer_ablate.tracking.mlflow.store import sent_once  # reads the environment as it is imported

    def make(client):
        with sent_once():
            client.create_run("1")

    number, why = requests_without_answer(make)
    assert number == 1
    assert why.startswith("it does not answer: ")
    assert requests_without_answer(lambda client: client.get_run("0" * 32))[0] == 2


def test_system_metrics_need_a_store():
    config = TrackingConfig(uri="sqlite:///x.db", experiment="e", system_metrics=True)
    assert tracking_faults(config) == []
    assert [fault.key for fault in tracking_faults(replace(config, enabled=False))] == ["tracking.system_metrics"]
