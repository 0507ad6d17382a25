"""Run folders that travel between machines: what goes at which time, and that it arrives as it was."""

import json

import numpy as np
import pytest

from fer_ablate.execution.run_parcels import (
    pack_ended,
    pack_running,
    pack_unfinished,
    replace_with,
    state_is_due,
    take_up,
    unpack,
)
from fer_ablate.tracking.disk.progress_file import PROGRESS, StepProgress, write_progress
from fer_ablate.tracking.disk.run_folder import RunFolder

from ..finished_runs import epoch_metrics, fill, make_header


@pytest.fixture
def there(tmp_path):
    """A run in training on another machine: two epochs, and the checkpoints of the second."""
    folder = RunFolder(tmp_path / "there" / "run")
    folder.write_header(make_header(attempt="a"))
    for epoch in (1, 2):
        folder.append_epoch(epoch, epoch_metrics(epoch), time_ms=1000 * epoch)
    write_progress(folder.path / PROGRESS, StepProgress(2.5, 2.5, 10.0))
    folder.checkpoints.mkdir()
    folder.best_checkpoint.write_bytes(b"best" * 1000)
    folder.last_checkpoint.write_bytes(b"last" * 3000)
    (folder.path / "run.lock").touch()
    return folder


@pytest.fixture
def here(tmp_path):
    return RunFolder(tmp_path / "here" / "run")


def names(folder):
    return {file.relative_to(folder.path).as_posix() for file in folder.path.rglob("*") if file.is_file()}


def test_epochs_follow_while_a_run_is_trained(there, here):
    first = pack_running(there, {}, state=False)
    unpack(first, here)
    assert names(here) == {"run.json", "metrics.csv", PROGRESS}
    there.append_epoch(3, epoch_metrics(3), time_ms=3000)
    second = pack_running(there, first.stamps, state=False)
    assert set(second.files) == {"metrics.csv"}
    unpack(second, here)
    assert here.history == there.history


def test_both_checkpoints_travel_or_none(there, here):
    unpack(pack_running(there, {}, state=True), here)
    assert here.last_checkpoint.read_bytes() == there.last_checkpoint.read_bytes()
    assert here.best_checkpoint.read_bytes() == there.best_checkpoint.read_bytes()


def test_large_checkpoints_travel_seldom(there):
    assert state_is_due(there, seconds=0.016)  # 16 kB at 1 MB a second
    assert not state_is_due(there, seconds=0.015)


def test_a_finished_run_leaves_its_state_behind(there, here):
    known = pack_running(there, {}, state=True)
    unpack(known, here)
    fill(there)
    (there.path / PROGRESS).unlink()
    (there.path / ".result.json.7.partial").touch()
    rest = pack_ended(there, known.stamps)
    assert "checkpoints/best.ckpt" not in rest.files  # it is there already
    unpack(rest, here)
    assert names(here) == names(there) - {"run.lock", ".result.json.7.partial"}
    assert here.finished
    assert here.result == there.result
    np.testing.assert_array_equal(here.predictions.probabilities, there.predictions.probabilities)


def test_a_state_kept_on_purpose_comes_along(there, here):
    fill(there, "trainer:\n  save_last: true\n")
    unpack(pack_ended(there, {}), here)
    assert here.keeps_state
    there.write_config("trainer:\n  save_last: false\n")
    assert f"checkpoints/{there.last_checkpoint.name}" not in pack_ended(there, {}).files


def test_a_run_that_continues_another_brings_its_state(there, here):
    there.header_file.unlink()  # it has not begun, and has the state of a shorter run already
    take_up(here, pack_unfinished(there))
    assert here.history == there.history
    assert here.last_checkpoint.is_file()


def test_a_failed_run_brings_what_it_resumes_from(there, here):
    there.write_failure(f"Cannot write {there.path}/checkpoints/last.ckpt: the disk is full", "Traceback")
    unpack(pack_ended(there, {}), here)
    assert here.last_checkpoint.is_file()
    assert here.failure.problem == f"Cannot write {here.path}/checkpoints/last.ckpt: the disk is full"
    assert here.log_file.read_text().count(str(here.path)) == 1


def test_what_has_gone_there_goes_here(there, here):
    first = pack_running(there, {}, state=False)
    unpack(first, here)
    (there.path / PROGRESS).unlink()
    unpack(pack_running(there, first.stamps, state=False), here)
    assert not (here.path / PROGRESS).exists()


def test_an_equal_file_keeps_its_time(there, here):
    unpack(pack_running(there, {}, state=False), here)
    before = here.metrics_file.stat().st_mtime_ns
    unpack(pack_running(there, {}, state=False), here)
    assert here.metrics_file.stat().st_mtime_ns == before


def test_another_machine_gets_what_it_goes_on_from(there, here, tmp_path):
    unpack(pack_running(there, {}, state=True), here)
    elsewhere = RunFolder(tmp_path / "elsewhere" / "run")
    elsewhere.path.mkdir(parents=True)
    (elsewhere.path / "left.txt").touch()
    replace_with(pack_unfinished(here), elsewhere)
    assert names(elsewhere) == {"run.json", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert json.loads(elsewhere.header_file.read_text())["attempt"] == "a"


def test_a_run_that_never_began_has_nothing(here):
    assert pack_unfinished(here) is None


def test_a_node_goes_on_from_the_further_state(there, here):
    sent = pack_unfinished(there)
    replace_with(sent, here)
    here.append_epoch(3, epoch_metrics(3), time_ms=3000)  # of which nothing had come back when the sweep was killed
    here.write_failure("killed", "Traceback")
    take_up(here, sent)
    assert len(here.history) == 3
    assert here.failure is None
    there.append_epoch(3, epoch_metrics(3), time_ms=3000)
    there.append_epoch(4, epoch_metrics(4), time_ms=4000)
    take_up(here, pack_unfinished(there))
    assert here.history == there.history
    assert sorted(folder.name for folder in here.path.parent.iterdir()) == ["run"]


def test_the_log_names_the_place_of_the_run(there, here):
    there.write_failure(f"Cannot write {there.path}/checkpoints/last.ckpt: the disk is full", "Traceback")
    take_up(here, pack_unfinished(there))
    assert f"Cannot write {here.path}/checkpoints/last.ckpt" in here.log_file.read_text()


def test_another_attempt_replaces_what_was_left(there, here):
    replace_with(pack_unfinished(there), here)
    here.append_epoch(3, epoch_metrics(3), time_ms=3000)
    there.write_header(make_header(attempt="b"))
    take_up(here, pack_unfinished(there))
    assert here.header.attempt == "b"
    assert len(here.history) == 2


def test_a_run_unknown_to_the_sweep_begins_anew(there):
    take_up(there, None)
    assert not there.path.exists()
