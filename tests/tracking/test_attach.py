"""What is attached to MLflow beside a training: ensembles, and files of finished runs."""

import pytest

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.attach import EnsembleRecord, EnsembleSummary, begin_additions, end_additions, record_ensemble
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.study_runs import open_study
from fer_ablate.tracking.recorder import Recorder, upload_pending

from ..finished_runs import make_header, make_result


@pytest.fixture
def tracking(uri, request):
    return TrackingConfig(uri=uri, experiment=request.node.name)


@pytest.fixture
def folder_of_run(tracking, runs_dir):
    """The folder of a finished run that MLflow has."""
    folder = RunFolder(runs_dir / tracking.experiment / "run")
    recorder = Recorder(folder, tracking.uri, str(runs_dir), timeout=5)
    recorder.start(make_header(experiment=tracking.experiment))
    folder.write_config("seed: 3")
    folder.write_result(make_result())
    recorder.finish(make_result(), RunState.finished)
    return folder


def summary(tmp_path, digest="one", acc=0.5):
    file = tmp_path / "ensemble.json"
    file.write_text(digest)
    return EnsembleSummary("ensemble all", {"members": "1 x a; 1 x b"}, {"test/acc": acc}, [file], digest)


@pytest.mark.long
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


def test_files_of_a_killed_process_are_sent_later(folder_of_run, tracking, runs_dir):
    """A process draws the pictures of a run that MLflow has, and is killed before it sends them."""
    assert begin_additions(folder_of_run)
    picture = folder_of_run.path / "curves.png"
    picture.write_bytes(b"drawn")
    assert not begin_additions(folder_of_run)  # the upload takes along what comes after the kill
    assert upload_pending(runs_dir, tracking) == 1
    client = open_store(tracking.uri, tracking.experiment, str(runs_dir), 5).client
    assert "curves.png" in [file.path for file in client.list_artifacts(folder_of_run.header.mlflow_run_id)]


def test_sent_files_leave_nothing_to_upload(folder_of_run, runs_dir):
    assert begin_additions(folder_of_run)
    assert end_additions(folder_of_run, runs_dir, {"": [folder_of_run.config_file]}) == ""
    assert not folder_of_run.pending_file.exists()


def test_runs_without_mlflow_wait_for_no_upload(folder):
    folder.write_header(make_header())
    assert not begin_additions(folder)
    assert not folder.pending_file.exists()
