import csv
import io
import struct
import time
from pathlib import Path

import pytest

from fer_ablate.cli.main import main
from fer_ablate.config.choices import Tracker
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking import other_trackers
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import tracking_faults
from fer_ablate.tracking.recorder import build_recorder

from ..finished_runs import epoch_metrics, make_header, make_result

NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


def recorder_of(folder, *kinds):
    return build_recorder(TrackingConfig(enabled=False, uri=NOBODY, experiment="depth", also=list(kinds)), "runs", folder)


def record(folder, *kinds, epochs=(1, 2, 3), result=None):
    """Record a part of a run; returns what went wrong."""
    recorder = recorder_of(folder, *kinds)
    folder.write_config("seed: 3\nmodel: {conv_layers: 4}\ndata: {path: /faces}\n")
    recorder.start(make_header())
    for epoch in epochs:
        recorder.epoch(epoch, epoch_metrics(epoch), 1000 * epoch)
    if result is not None:
        folder.write_result(result)
    recorder.finish(result, RunState.finished if result is not None else RunState.missing)
    return recorder.warnings


def lines(folder):
    return list(csv.DictReader(io.StringIO((folder.path / "csv" / "metrics.csv").read_text())))


def events(folder):
    accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulation.EventAccumulator(str(folder.path / "tensorboard"))
    read.Reload()
    return read


def test_csv_has_each_epoch_of_resumed_runs_once(folder):
    assert record(folder, Tracker.csv) == []
    assert record(folder, Tracker.csv, Tracker.csv, epochs=(3, 4), result=make_result()) == []
    *epochs, tested = lines(folder)
    assert [(line["step"], line["epoch/seconds"]) for line in epochs] == [(str(epoch), "4.0") for epoch in (1, 2, 3, 4)]
    assert [float(line["val/acc"]) for line in epochs] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert (tested["step"], tested["test/acc"], tested["val_kept/acc"], tested["val/acc"]) == ("2", "0.75", "0.75", "")
    assert "model.conv_layers: 4" in (folder.path / "csv" / "hparams.yaml").read_text()


@pytest.mark.slow  # the import of TensorBoard
def test_tensorboard_reads_a_resumed_run(folder):
    pytest.importorskip("tensorboard")
    assert record(folder, Tracker.tensorboard) == []
    assert record(folder, Tracker.tensorboard, epochs=(3, 4), result=make_result()) == []
    read = events(folder)
    found = [(event.step, event.wall_time, event.value) for event in read.Scalars("val/acc")]
    assert found == [(epoch, float(epoch), pytest.approx(0.1 * epoch)) for epoch in (1, 2, 3, 4)]
    assert [(event.step, event.value) for event in read.Scalars("test/acc")] == [(2, 0.75)]
    (start,) = [part for tag, part in read.summary_metadata.items() if tag.endswith("session_start_info")]
    assert b"model.conv_layers" in start.plugin_data.content


@pytest.mark.slow  # the import of Weights & Biases
def test_wandb_keeps_an_offline_run(folder, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert record(folder, Tracker.wandb) == []
    assert (folder.path / "wandb" / "last_epoch.txt").read_text() == "3"
    assert record(folder, Tracker.wandb, epochs=(3, 4), result=make_result()) == []
    assert (folder.path / "wandb" / "last_epoch.txt").read_text() == "4"
    parts = sorted((folder.path / "wandb").glob(f"offline-run-*-{folder.header.attempt}/*.wandb"))
    assert [_epochs(part) for part in parts] == [[1, 2, 3], [4]]


def _epochs(file):
    """The epochs in a file of an offline run: after 7 bytes, records with 4 bytes of checksum, 2 of length and 1 of kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, found = file.read_bytes()[7:], []
    while data:
        length, kind = struct.unpack_from("<HB", data, 4)
        assert kind == 1, "a whole record"
        record, data = Record.FromString(data[7 : 7 + length]), data[7 + length :]
        found += [int(item.value_json) for item in record.history.item if "trainer/global_step" in (item.key, *item.nested_key)]
    return found


def test_a_tracker_that_fails_ends_no_run(folder, monkeypatch):
    monkeypatch.setattr(other_trackers, "EPOCHS_SECONDS", 0)
    recorder = recorder_of(folder, Tracker.csv)
    recorder.start(make_header())
    recorder.epoch(1, epoch_metrics(1), 1000)
    table = folder.path / "csv" / "metrics.csv"
    deadline = time.monotonic() + 60
    while not table.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    table.unlink()
    table.symlink_to("/dev/full")
    recorder.epoch(2, epoch_metrics(2), 2000)
    folder.write_result(make_result())
    recorder.finish(make_result(), RunState.finished)
    (warning,) = recorder.warnings
    assert warning == f"The CSV table failed ([Errno 28] No space left on device). The run is complete in {folder.path}."
    assert folder.notes == {"The CSV table": warning}
    assert "Traceback" in folder.log_file.read_text()
    assert len(folder.history) == 2


def test_no_tracker_gets_a_secret(folder, monkeypatch):
    monkeypatch.setenv("STORE_TOKEN", "Ab3!Ab3!secret")
    recorder = recorder_of(folder, Tracker.csv)
    folder.write_config("data: {path: /faces?token=Ab3!Ab3!secret}\n")
    recorder.start(make_header())
    recorder.finish(None, RunState.missing)
    assert (folder.path / "csv" / "hparams.yaml").read_text() == "data.path: /faces?token=***\n"


def test_missing_packages_are_faults(monkeypatch):
    monkeypatch.setattr(other_trackers, "find_spec", lambda name: None)
    config = TrackingConfig(enabled=False, uri=NOBODY, experiment="depth", also=[*Tracker])
    assert [(fault.key, fault.problem, fault.remedy) for fault in tracking_faults(config)] == [
        ("tracking.also", f"needs {name}.", f"Install it: pip install 'fer-ablate[{name}]'.") for name in ("tensorboard", "wandb")
    ]


def test_a_tracker_named_twice_is_a_fault():
    for enabled in (True, False):
        (fault,) = tracking_faults(TrackingConfig(enabled=enabled, uri=NOBODY, experiment=".."))
        assert fault.key == "tracking.experiment"
    (fault,) = tracking_faults(TrackingConfig(enabled=False, uri=NOBODY, experiment="depth", also=[Tracker.csv, Tracker.csv]))
    assert (fault.problem, fault.remedy) == ("csv is named 2 times.", "Name each once: tracking.also=[csv].")


def test_an_unknown_tracker_lists_the_known_ones(small_run, capsys):
    assert main([*small_run, "tracking.also=[tensorbord]"]) == 1
    assert "'tensorbord', expected one of [tensorboard, csv, wandb]" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "ray"])
def test_runs_of_a_sweep_are_recorded(launcher, small_run, tmp_path, cache_dir, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_ABLATE_CACHE", str(cache_dir))
    words = ["trainer.max_epochs=1,2", "trainer.num_threads=1", "tracking=none", "tracking.pictures=false"]
    code = main(["-m", *small_run, *words, f"hydra/launcher={launcher}", "tracking.also=[csv,tensorboard]"])
    assert code == 0, capsys.readouterr()
    runs = [RunFolder(run) for run in sorted(Path("runs/fer_ablate").glob("*-s0-*"))]
    assert sorted(len(lines(run)) for run in runs) == [2, 3]
    assert sorted(len(events(run).Scalars("val/acc")) for run in runs) == [1, 2]
