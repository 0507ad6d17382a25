"""A run stopped by Ctrl-C in a process of its own, and what may happen to it before it goes on."""

import os
import resource
import shutil
import signal
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fer_ablate.cli.main import main

EPOCHS = "trainer.max_epochs=10"


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, cache_dir, typed_small):
    runs = tmp_path_factory.mktemp("stopped") / "runs"
    words = [*typed_small, EPOCHS, f"runs_dir={runs}", f"data.cache_dir={cache_dir}"]
    process, printed = forked(words, said := tmp_path_factory.mktemp("said") / "stderr")
    with os.fdopen(printed) as lines:
        for line in lines:
            if "epoch 2/10" in line:
                os.kill(process, signal.SIGINT)
                break
    _, status = os.waitpid(process, 0)
    return runs, os.waitstatus_to_exitcode(status), said.read_text()


def forked(words, stderr):
    """Type a command in a copy of this process, which has imported everything; its id, and where its output can be read."""
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a copy of a process that has threads: none of them is needed
        process = os.fork()
    if process:
        os.close(into)
        return process, out
    code = 1
    try:
        os.dup2(into, 1)
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main(words)
        sys.stdout.flush(), sys.stderr.flush()
    finally:
        os._exit(code)


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The folder of the stopped run, alone in a `runs` of its own."""
    shutil.copytree(stopped_once[0], tmp_path / "runs")
    return next((tmp_path / "runs" / "fer_ablate").iterdir())


@contextmanager
def full_disk(size):
    """No file of this process may grow beyond `size` bytes, as on a disk with no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_ctrl_c_ends_with_one_message(stopped_once):
    _, code, answer = stopped_once
    assert code == 130
    assert "Traceback" not in answer
    assert answer.splitlines()[-1] == "fer_ablate: interrupted. Finished epochs are kept; the same command goes on from there."


def test_the_same_command_goes_on_where_it_stopped(typed, small, stopped):
    assert "is not finished" in typed("evaluate", f"run={stopped}").err
    printed = typed(*small, EPOCHS)
    assert (printed.code, printed.err) == (0, "")
    assert "resumes   after epoch" in printed.out
    assert " epoch 1/10" not in printed.out
    assert " epoch 10/10" in printed.out
    assert (stopped / "metrics.csv").read_text().count("\n") == 11  # one header


@pytest.mark.slow
def test_half_written_files_are_cleared_away(typed, small, stopped):
    left = stopped / "checkpoints" / ".last.ckpt.1.partial"
    left.write_bytes(b"half a checkpoint")
    assert typed(*small, EPOCHS).code == 0
    assert not left.exists()


def test_a_full_disk_leaves_the_last_checkpoint_whole(typed, small, stopped):
    last = stopped / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    with full_disk(len(before) // 2):
        printed = typed(*small, EPOCHS)
    assert printed.code == 1
    assert f"Cannot write the checkpoint {last}" in printed.err
    assert "start the same command again: it resumes" in printed.err
    assert last.read_bytes() == before
    assert sorted(file.name for file in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert not (stopped / "result.json").exists()


class _Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_code_in_a_resumed_checkpoint_does_not_run(typed, small, stopped, tmp_path):
    mark = tmp_path / "code ran"
    torch.save({"fer_ablate": _Touches(mark), "state_dict": {}}, stopped / "checkpoints" / "last.ckpt")
    printed = typed(*small, EPOCHS)
    assert printed.code == 1
    assert "last.ckpt: refused" in printed.err
    assert not mark.exists()


def test_a_damaged_checkpoint_is_named(typed, small, stopped):
    last = stopped / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    printed = typed(*small, EPOCHS)
    assert printed.code == 1
    assert f"{last}: truncated" in printed.err
    assert "force=true" in printed.err


def test_a_checkpoint_of_another_run_is_not_resumed(typed, small, stopped):
    last = stopped / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["fer_ablate"]["key"] = "f" * 32
    torch.save(checkpoint, last)
    assert "belongs to another run (key ffffffffff)" in typed(*small, EPOCHS).err
