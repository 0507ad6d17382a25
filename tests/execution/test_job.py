"""What becomes of a run whose training fails, or whose process does not answer."""

import os
import time

import pytest

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.errors import UserError
from fer_ablate.execution import one_run
from fer_ablate.execution.job import do_job, result_on_disk, times_before
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import finish_run, make_header

KEY = make_header().key


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def make_older(folder):
    """Let all files be of an earlier attempt, since the times of files written one after another may be equal."""
    past = time.time() - 60
    for file in folder.path.iterdir():
        os.utime(file, (past, past))


def test_a_failure_before_the_start_is_kept(folder, config_of, monkeypatch):
    def fail(spec):
        raise UserError("This node lacks the images.")

    monkeypatch.setattr(one_run, "train", fail)
    folder.write_header(make_header())
    folder.write_failure("No memory.", "Traceback")
    make_older(folder)
    result = do_job(RunSpec(config_of(), "all", key=KEY, folder=str(folder.path), quiet=True), own_process=False)
    assert (result.problem, folder.failure.problem) == ("This node lacks the images.",) * 2


def test_a_failure_within_the_run_is_kept(folder, config_of, monkeypatch):
    def fail(spec):
        folder.write_failure("The loss became nan.", "Traceback")
        raise UserError("Process 1 of 2 failed.")

    monkeypatch.setattr(one_run, "train", fail)
    result = do_job(RunSpec(config_of(), "all", key=KEY, folder=str(folder.path), quiet=True), own_process=False)
    assert result.problem == "The loss became nan."


@pytest.mark.parametrize(("anew", "state"), [(False, RunState.finished), (True, RunState.missing)])
def test_an_earlier_result_is_none_trained_anew(folder, anew, state):
    finish_run(folder)
    make_older(folder)
    before = times_before(folder, anew)
    assert result_on_disk(folder, KEY, "SIGKILL", before).state is state
    finish_run(folder)
    assert result_on_disk(folder, KEY, "SIGKILL", before).state is RunState.finished


def test_an_earlier_failure_is_not_told_again(folder):
    folder.write_header(make_header())
    folder.write_failure("No memory.", "Traceback")
    make_older(folder)
    before = times_before(folder, anew=False)
    found = result_on_disk(folder, KEY, "SIGKILL", before)
    assert (found.state, found.problem) == (RunState.missing, "")
    folder.write_failure("No memory again.", "Traceback")
    assert result_on_disk(folder, KEY, "SIGKILL", before).problem == "No memory again."


def test_a_run_that_began_tells_its_end(folder):
    before = times_before(folder, anew=True)
    folder.write_header(make_header())
    assert "its process ended without a message (SIGKILL)" in result_on_disk(folder, KEY, "SIGKILL", before).problem
