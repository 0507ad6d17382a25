"""What `init_from` may name."""

import shutil

import pytest
import torch

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.lookup import resolve_start
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training.checkpoints import file_start

from ..finished_runs import fill, make_header


@pytest.fixture
def finished(tmp_path):
    """A finished run below `runs`, with weights."""
    folder = fill(RunFolder(tmp_path / "runs" / "depth" / "four"))
    folder.checkpoints.mkdir()
    torch.save({"state_dict": {"network.a": torch.ones(2)}, "fer_ablate": {"format": "1"}}, folder.best_checkpoint)
    return folder


@pytest.mark.parametrize("name", ["0123456789", "four", "folder"])
def test_a_run_is_known_by_its_key(name, finished, tmp_path):
    start = resolve_start(str(finished.path) if name == "folder" else name, tmp_path / "runs")
    assert (start.path, start.identity) == (finished.best_checkpoint, "0123456789abcdef")


def test_a_file_is_known_by_its_weights(finished, tmp_path):
    moved = shutil.copy(finished.best_checkpoint, tmp_path / "moved.ckpt")
    start = resolve_start(str(moved), tmp_path / "runs")
    assert (start.path, start.identity) == (moved, file_start(finished.best_checkpoint).identity)


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    RunFolder(tmp_path / "runs" / "depth" / "four").write_header(make_header())
    with pytest.raises(UserError, match=r"init_from=0123: run 0123456789 in .*four is not finished. Finish it"):
        resolve_start("0123", tmp_path / "runs")


def test_a_run_without_its_weights_is_refused(finished, tmp_path):
    finished.best_checkpoint.unlink()
    with pytest.raises(UserError, match=r"has lost best.ckpt. Train it again with force=true"):
        resolve_start("four", tmp_path / "runs")


def test_an_unknown_start_lists_the_runs(finished, tmp_path):
    with pytest.raises(UserError, match=r"init_from=gone.ckpt is neither a checkpoint file nor a run. (.*\n)+.*0123456789"):
        resolve_start("gone.ckpt", tmp_path / "runs")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(UserError, match=r"notes.txt"):
        resolve_start(str(tmp_path / "notes.txt"), tmp_path / "runs")


def test_a_long_label_is_no_file(tmp_path, finished):
    with pytest.raises(UserError, match="neither a checkpoint file nor a run"):
        resolve_start("x" * 300, tmp_path / "runs")
