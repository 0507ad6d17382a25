import os
import socket
import time

import pytest
from filelock import FileLock

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.store import Store
from fer_ablate.tracking.recorder import Recorder, build_recorder, pending, upload_pending

from ..finished_runs import epoch_metrics, make_header, make_result

NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


def record(recorder, epochs=(1, 2, 3), result=None, state=RunState.finished):
    recorder.start(make_header())
    for epoch in epochs:
        recorder.epoch(epoch, epoch_metrics(epoch), 1000 * epoch)
    if result is not None:
        recorder.folder.write_result(result)
    recorder.finish(result, state)


def mlflow_run(folder, uri, runs_dir):
    client = open_store(uri, "depth", str(runs_dir), 5).client
    run = client.get_run(folder.header.mlflow_run_id)
    return run, [metric.step for metric in client.get_metric_history(run.info.run_id, "val/acc")]


def test_a_run_is_recorded_on_disk_and_mlflow(folder, uri, runs_dir):
    recorder = Recorder(folder, uri, str(runs_dir), timeout=5)
    record(recorder, result=make_result())
    assert recorder.warning == ""
    assert not folder.pending_file.exists()
    assert (folder.state, len(folder.history)) == (RunState.finished, 3)
    run, steps = mlflow_run(folder, uri, runs_dir)
    assert (run.info.status, steps, run.data.metrics["test/acc"]) == ("FINISHED", [1, 2, 3], 0.75)


def test_a_later_upload_mends_a_dead_server(tmp_path, uri, runs_dir):
    folder = RunFolder(tmp_path / "depth" / "run")
    recorder = Recorder(folder, NOBODY, str(tmp_path), timeout=5)
    began = time.monotonic()
    record(recorder, result=make_result())
    assert time.monotonic() - began < 10
    assert folder.result == make_result()
    assert recorder.warning.startswith(f"MLflow at {NOBODY} failed (it does not answer: Connection refused). ")
    assert [found.path for found in pending(tmp_path)] == [folder.path]
    assert folder.notes == {"MLflow": "MLflow does not have all of this run yet; `python -m fer_ablate sync` brings it."}
    assert "Traceback" in folder.log_file.read_text()
    config = TrackingConfig(uri=uri, experiment="unused")
    # By itself a later run leaves it to the store that it was recorded for.
    assert upload_pending(tmp_path, config, elsewhere=False) == 0
    assert (upload_pending(tmp_path, config), upload_pending(tmp_path, config)) == (1, 0)
    assert folder.notes == {}
    run, steps = mlflow_run(folder, uri, runs_dir)
    assert (run.info.status, steps, run.data.metrics["test/acc"]) == ("FINISHED", [1, 2, 3], 0.75)


def test_nobody_waits_for_a_silent_server(folder, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        recorder = Recorder(folder, f"http://127.0.0.1:{mute.getsockname()[1]}", str(tmp_path), timeout=1)
        began = time.monotonic()
        record(recorder, result=make_result())
        assert time.monotonic() - began < 3
    assert "did not take everything within 1 seconds" in recorder.warning
    assert folder.pending_file.is_file()


def test_a_failed_and_resumed_run_is_one_run(folder, uri, runs_dir):
    record(Recorder(folder, uri, str(runs_dir), 5), epochs=(1, 2), state=RunState.failed)
    first, _ = mlflow_run(folder, uri, runs_dir)
    assert first.info.status == "FAILED"
    record(Recorder(folder, uri, str(runs_dir), 5), epochs=(2, 3), result=make_result())
    second, steps = mlflow_run(folder, uri, runs_dir)
    assert second.info.run_id == first.info.run_id
    assert (second.info.status, steps) == ("FINISHED", [1, 2, 3])
    assert folder.header.started_at == make_header().started_at


def test_an_early_end_is_told_until_the_restart(folder, uri, runs_dir):
    recorder = Recorder(folder, uri, str(runs_dir), 5)
    recorder.start(make_header())
    folder.write_pruned(2, 0.25, "val/acc")
    folder.write_failure("No memory.", "Traceback")
    recorder.finish(None, RunState.pruned)
    run, _ = mlflow_run(folder, uri, runs_dir)
    assert (run.info.status, run.data.tags["pruned"], run.data.tags["failure"]) == ("KILLED", "epoch 2", "No memory.")
    again = Recorder(folder, uri, str(runs_dir), 5)
    again.start(make_header())
    assert (folder.failure, folder.pruned) == (None, None)
    folder.write_result(make_result())
    again.finish(make_result(), RunState.finished)
    run, _ = mlflow_run(folder, uri, runs_dir)
    assert {"pruned", "failure"}.isdisjoint(run.data.tags)


def test_resuming_uploads_the_epochs_of_an_outage(folder, uri, runs_dir):
    record(Recorder(folder, NOBODY, str(runs_dir), 5), epochs=(1, 2), state=RunState.missing)
    record(Recorder(folder, uri, str(runs_dir), 5), epochs=(3,), result=make_result())
    assert mlflow_run(folder, uri, runs_dir)[1] == [1, 2, 3]


@pytest.mark.parametrize(("failed", "status"), [(False, "KILLED"), (True, "FAILED")], ids=["interrupted", "failed"])
def test_an_unfinished_run_is_uploaded_as_it_ended(tmp_path, uri, runs_dir, failed, status):
    folder = RunFolder(tmp_path / "run")
    folder.write_header(make_header())
    folder.append_epoch(1, epoch_metrics(1), 1000)
    folder.pending_file.write_text("RUNNING")
    if failed:
        folder.write_failure("No memory.", "Traceback")
    assert upload_pending(tmp_path, TrackingConfig(uri=uri, experiment="unused")) == 1
    run, steps = mlflow_run(folder, uri, runs_dir)
    assert (run.info.status, run.info.end_time, steps) == (status, 1000, [1])


def test_a_run_in_training_is_not_pending(folder, tmp_path):
    folder.write_header(make_header())
    folder.pending_file.write_text("RUNNING")
    with folder.lock():
        assert pending(tmp_path) == []
    assert len(pending(tmp_path)) == 1


def test_a_run_resumed_while_uploaded_stays_pending(folder, tmp_path, uri, monkeypatch):
    upload = Store.upload

    def upload_meanwhile(*arguments):
        upload(*arguments)
        folder.pending_file.write_text("RUNNING")  # as `Recorder.start` of another process does

    monkeypatch.setattr(Store, "upload", upload_meanwhile)
    folder.write_header(make_header())
    folder.pending_file.write_text("KILLED")
    os.utime(folder.pending_file, (0, 0))
    upload_pending(tmp_path, TrackingConfig(uri=uri, experiment="unused"))
    assert folder.pending_file.is_file()


def test_uploads_leave_work_to_one_under_way(folder, tmp_path, uri):
    folder.write_header(make_header())
    folder.pending_file.write_text("KILLED")
    with FileLock(tmp_path / "upload.lock"):
        assert upload_pending(tmp_path, TrackingConfig(uri=uri, experiment="unused")) == 0
    assert folder.pending_file.exists()


def test_a_damaged_folder_does_not_stop_uploads(tmp_path, uri):
    for name in ("damaged", "whole"):
        folder = RunFolder(tmp_path / name)
        folder.write_header(make_header())
        folder.pending_file.write_text("KILLED")
    (tmp_path / "damaged" / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"wait for the next upload:\n.*damaged/run\.json is damaged"):
        upload_pending(tmp_path, TrackingConfig(uri=uri, experiment="unused"))
    assert [found.path.name for found in pending(tmp_path)] == ["damaged"]


def test_without_tracking_only_the_folder_is_written(folder, tmp_path):
    config = TrackingConfig(enabled=False, uri=NOBODY, experiment="depth")
    record(build_recorder(config, str(tmp_path), folder), result=make_result())
    assert folder.finished
    assert pending(tmp_path) == []
