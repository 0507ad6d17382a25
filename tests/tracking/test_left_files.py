"""What a killed process leaves half written is removed by the next one, and what another process is writing is not."""

import os
import subprocess
import sys
import time

import pytest

from fer_ablate.tracking.disk.files import is_left, partial_file, sweep, write_text, writer_name

HOST = writer_name().rpartition(".")[0]


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_first_write_sweeps_the_folder(tmp_path, gone):
    mine, dead = tmp_path / f".a.json.{HOST}.{os.getppid()}.partial", tmp_path / f".b.json.{HOST}.{gone}.partial"
    elsewhere, old = tmp_path / f".c.json.elsewhere.{gone}.partial", tmp_path / ".d.json.elsewhere.1.partial"
    for file in (mine, dead, elsewhere, old):
        file.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    write_text(tmp_path / "e.json", "{}")
    assert sorted(os.listdir(tmp_path)) == sorted([mine.name, elsewhere.name, "e.json"])


def test_files_of_the_future_are_not_old(tmp_path):
    """A clock that is set back makes every file one of the future."""
    file = tmp_path / ".a.json.elsewhere.1.partial"
    file.touch()
    os.utime(file, (time.time() + 90000,) * 2)
    sweep(tmp_path)
    assert file.exists()


def test_a_process_that_writes_is_not_gone(tmp_path, gone):
    assert not is_left(partial_file(tmp_path / "a.json").name.removesuffix(".partial"))
    assert is_left(f"specs-0123abcd.{HOST}.{gone}")
    assert not is_left(f"specs-0123abcd.elsewhere.{gone}")
    assert not is_left("specs-0123abcd")


def test_half_checkpoints_go_with_the_next_lock(folder):
    half = folder.checkpoints / ".best.ckpt.1.partial"
    half.parent.mkdir(parents=True)
    half.touch()
    with folder.lock():
        assert not half.exists()


def test_no_half_file_goes_to_mlflow(folder):
    for name in (".run.json.x.1.partial", ".confusion.png.x.1.partial", "contact_sheets/.a.png.x.1.partial"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).touch()
    assert folder.artifacts == []
