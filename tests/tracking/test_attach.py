"""Ensembles in MLflow."""

import pytest

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.mlflow.attach import EnsembleRecord, EnsembleSummary, record_ensemble
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.study_runs import open_study


@pytest.fixture
def tracking(uri, request):
    return TrackingConfig(uri=uri, experiment=request.node.name)


def summary(tmp_path, digest="one", acc=0.5):
    file = tmp_path / "ensemble.json"
    file.write_text(digest)
    return EnsembleSummary("ensemble all", {"members": "1 x a; 1 x b"}, {"test/acc": acc}, [file], digest)


def test_an_ensemble_is_one_run_below_its_study(tracking, runs_dir, tmp_path):
    study, _ = open_study(tracking, runs_dir, "depth", ["4 layers"], {})
    first, warning = record_ensemble(tracking, runs_dir, "depth", EnsembleRecord(), summary(tmp_path))
    assert warning == ""
    assert record_ensemble(tracking, runs_dir, "depth", first, summary(tmp_path)) == (first, "")
    client = open_store(tracking.uri, tracking.experiment, str(runs_dir), 5).client
    run = client.get_run(first.run)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "ensemble all")
    assert run.data.tags["mlflow.parentRunId"] == study.parent_id
    assert run.data.tags["kind"] == "ensemble"
    assert run.data.metrics == {"test/acc": 0.5}
    assert len(client.get_metric_history(first.run, "test/acc")) == 1  # told once
    assert [file.path for file in client.list_artifacts(first.run, "ensemble")] == ["ensemble/ensemble.json"]

    second, _ = record_ensemble(tracking, runs_dir, "depth", first, summary(tmp_path, "two", 0.75))
    assert second.run == first.run
    assert client.get_run(first.run).data.metrics == {"test/acc": 0.75}


def test_a_run_deleted_in_mlflow_is_made_anew(tracking, runs_dir, tmp_path):
    first, _ = record_ensemble(tracking, runs_dir, "no study", EnsembleRecord(), summary(tmp_path))
    client = open_store(tracking.uri, tracking.experiment, str(runs_dir), 5).client
    client.delete_run(first.run)
    second, _ = record_ensemble(tracking, runs_dir, "no study", first, summary(tmp_path))
    assert second.run != first.run
    assert client.get_run(second.run).data.metrics == {"test/acc": 0.5}


def test_a_dead_server_is_a_warning(tracking, runs_dir, tmp_path):
    nowhere = TrackingConfig(uri="http://127.0.0.1:9", experiment=tracking.experiment, timeout=1)
    recorded, warning = record_ensemble(nowhere, runs_dir, "depth", EnsembleRecord(), summary(tmp_path))
    assert recorded == EnsembleRecord()
    assert warning.startswith("MLflow at http://127.0.0.1:9 failed")
    assert "the same command brings it later" in warning
