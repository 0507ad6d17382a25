import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_atomically, write_error
from fer_ablate.tracking.disk.run_state import RunState, mlflow_status

from ..finished_runs import fill, make_header, make_predictions, make_result


def test_a_folder_shows_the_state_of_its_run(folder):
    assert (folder.state, folder.begun) == (RunState.missing, False)
    folder.write_header(make_header())
    assert (folder.state, folder.begun) == (RunState.missing, True)
    folder.write_pruned(4, 0.25, "val/acc")
    assert folder.state is RunState.pruned
    folder.write_failure("No memory.", "Traceback")
    assert folder.state is RunState.failed
    with folder.lock():
        assert folder.state is RunState.running
    folder.write_result(make_result())
    assert folder.state is RunState.finished


@pytest.mark.parametrize(
    ("state", "begun", "status"),
    [
        (RunState.running, True, "RUNNING"),
        (RunState.failed, True, "FAILED"),
        (RunState.finished, True, "FINISHED"),
        (RunState.pruned, True, "KILLED"),
        (RunState.missing, True, "KILLED"),
        (RunState.missing, False, "SCHEDULED"),
    ],
)
def test_every_state_has_a_word_of_mlflow(state, begun, status):
    assert mlflow_status(state, begun) == status


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_read_only_folder_has_a_state(folder):
    folder.write_header(make_header())
    with folder.lock():
        pass
    (folder.path / "run.lock").chmod(0o444)
    assert folder.state is RunState.missing


def test_everything_written_is_read_back_equal(folder):
    fill(folder)
    assert folder.header == make_header()
    assert folder.result == make_result()
    stored = folder.predictions
    for name, expected in vars(make_predictions()).items():
        np.testing.assert_array_equal(getattr(stored, name), expected)
    assert stored.probabilities.dtype == np.float32
    assert not list(folder.path.glob(".*"))  # no partial files stay behind


def test_clearing_leaves_a_new_folder(folder):
    fill(folder)
    folder.checkpoints.mkdir()
    folder.best_checkpoint.write_bytes(b"weights")
    with folder.lock():
        folder.clear()
        assert not folder.begun
        assert folder.in_training
        assert not folder.checkpoints.exists()


def test_clearing_takes_the_result_first(folder, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    fill(folder)
    monkeypatch.setattr(Path, "glob", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.clear()
    assert not folder.finished


@pytest.mark.parametrize("text", ['{"key": "1"', '{"key": "1"}', "[]", '{"splits": 3}'])
@pytest.mark.parametrize("name", ["header", "result"])
def test_a_damaged_file_is_named_with_remedy(folder, name, text):
    file = getattr(folder, f"{name}_file")
    folder.path.mkdir()
    file.write_text(text)
    with pytest.raises(UserError, match=rf"{file.name} is damaged or of another version .* force=true"):
        getattr(folder, name)


def test_a_missing_file_is_named(folder):
    with pytest.raises(UserError, match=r"Cannot read .*result\.json: No such file"):
        _ = folder.result


def test_damaged_predictions_are_named(folder):
    fill(folder)
    folder.predictions_file.write_bytes(folder.predictions_file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"Cannot read .*predictions\.npz"):
        _ = folder.predictions


def test_likeliest_classes_are_read_without_the_probabilities(folder):
    fill(folder)
    found = folder.read_predicted()
    stored = make_predictions()
    for name in ("rows", "usage", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(stored, name))
    np.testing.assert_array_equal(found.predicted, stored.probabilities.argmax(axis=1))
    assert found.predicted.dtype == np.uint8


def test_earlier_files_give_classes_by_their_probabilities(folder):
    stored = make_predictions()
    folder.path.mkdir()
    np.savez_compressed(
        folder.predictions_file, **{name: getattr(stored, name) for name in ("rows", "usage", "labels", "probabilities")}
    )
    found = folder.read_predicted()
    assert found.predicted.tolist() == stored.probabilities.argmax(axis=1).tolist()
    assert found.splits == folder.predictions.splits == {}


def test_which_images_form_which_split_comes_back(folder):
    splits = {"val": np.array([True, False]), "test": np.array([False, True]), "private": np.array([True, True])}
    folder.write_predictions(replace(make_predictions(), splits=splits))
    for found in (folder.predictions.splits, folder.read_predicted().splits):
        assert {name: inside.tolist() for name, inside in found.items()} == {
            name: inside.tolist() for name, inside in splits.items()
        }


def test_the_short_reader_names_damaged_predictions(folder):
    fill(folder)
    folder.predictions_file.write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"Cannot read .*predictions\.npz"):
        folder.read_predicted()


def test_a_failure_is_kept_until_the_result(folder):
    assert folder.failure is None
    folder.write_header(make_header())
    folder.write_failure("The loss became nan.\nLower optimizer.lr.", "Traceback 1")
    folder.write_failure("No memory.", "Traceback 2")
    assert (folder.failure.problem, folder.failure.log) == ("No memory.", folder.log_file)
    text = folder.log_file.read_text()
    assert text.index("The loss became nan.") < text.index("Traceback 1") < text.index("No memory.") < text.index("Traceback 2")
    assert folder.state is RunState.failed
    folder.write_result(make_result())
    assert folder.failure is None
    assert folder.log_file.is_file()


def test_a_missing_picture_is_noted_until_made(folder):
    fill(folder)
    assert folder.notes == {}
    problem = folder.attempt("faces.png", lambda: [][0])
    assert problem == f"faces.png could not be made: list index out of range. The traceback is in {folder.log_file}."
    assert folder.notes == {"faces.png": problem}
    assert folder.finished
    assert "IndexError" in folder.log_file.read_text()
    assert folder.attempt("curves.png", lambda: None) == ""
    assert folder.attempt("faces.png", lambda: None) == ""
    assert folder.notes == {}
    assert not folder.notes_file.exists()


def test_ctrl_c_interrupts_the_pictures_of_a_run(folder):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(folder).attempt("faces.png", interrupted)
    assert folder.notes == {}


def test_damaged_notes_do_not_hide_the_result(folder):
    fill(folder).notes_file.write_text("{")
    assert "notes.json is damaged" in folder.notes["notes.json"]
    folder.attempt("faces.png", lambda: [][0])
    assert list(folder.notes) == ["faces.png"]


def test_a_pruned_trial_tells_its_last_epoch(folder):
    assert folder.pruned is None
    folder.write_pruned(4, 0.25, "val/acc")
    assert (folder.pruned.epoch, folder.pruned.value, folder.pruned.metric) == (4, 0.25, "val/acc")
    folder.remove_failure_files()
    assert folder.pruned is None


def test_headers_are_read_with_and_without_settings(folder):
    header = make_header()
    header.settings, header.parent_run_id = {"model.width": 1.0, "data.drop": []}, "ab" * 16
    folder.write_header(header)
    assert folder.header == header
    earlier = {name: value for name, value in vars(make_header()).items() if name not in ("settings", "parent_run_id")}
    folder.header_file.write_text(json.dumps(earlier))
    assert folder.header == make_header()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "result.json"
    file.write_text("old")

    def fill_disk(stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"Cannot write .*result\.json: the disk is full\. .* runs_dir="):
        write_atomically(file, fill_disk)
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("result.json", "old")]


@pytest.mark.parametrize(("code", "reason"), [(errno.EROFS, "read-only"), (errno.EACCES, "denied"), (errno.EIO, "error")])
def test_errors_of_the_disk_are_said_in_words(tmp_path, code, reason):
    assert reason in str(write_error(tmp_path, OSError(code, os.strerror(code))))


@pytest.mark.slow
def test_two_processes_never_train_the_same_run(folder):
    code = "import sys; from pathlib import Path; from fer_ablate.tracking.disk.run_folder import RunFolder\n"
    code += "with RunFolder(Path(sys.argv[1])).lock(): print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        assert folder.in_training
        with pytest.raises(UserError, match=rf"is being trained by process {other.pid} on \S+\."), folder.lock():
            pass
        other.stdin.close()
    assert not folder.in_training
    with folder.lock():
        assert folder.in_training


def test_the_lock_of_a_killed_process_is_free(folder):
    code = "import os, sys; from pathlib import Path; from fer_ablate.tracking.disk.run_folder import RunFolder\n"
    code += "with RunFolder(Path(sys.argv[1])).lock(): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, folder.path], check=False).returncode == -9
    with folder.lock():
        assert folder.in_training
