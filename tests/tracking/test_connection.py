import pytest

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.mlflow.connection import tracking_faults


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
    assert tracking_faults(TrackingConfig(enabled=False, uri="mlruns", experiment="", timeout=0)) == []


def test_a_typed_server_overrides_the_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    with composer():
        assert to_config(composed(["name=x"])).tracking.uri == "http://server:5000"
        assert to_config(composed(["name=x", "tracking.uri=sqlite:///a.db"])).tracking.uri == "sqlite:///a.db"
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert to_config(composed(["name=x", "runs_dir=out"])).tracking.uri == "sqlite:///out/mlflow.db"
        assert not to_config(composed(["name=x", "tracking=none"])).tracking.enabled
