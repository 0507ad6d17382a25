"""Runs as jobs of a cluster: what the queue's words mean, which jobs are taken up, and what a job that is started again does."""

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.errors import UserError
from fer_ablate.execution import submitted_jobs as module
from fer_ablate.execution import submitted_run
from fer_ablate.execution.job import JobResult
from fer_ablate.execution.job_queue import LocalQueue, QueuedJob, QueueSilentError, SlurmQueue, how_it_ended, packed, read_squeue
from fer_ablate.execution.job_records import JobRecord
from fer_ablate.execution.run_progress import JobNote, RunProgress, WatchedRun, with_job
from fer_ablate.execution.submitted_jobs import SubmittedJobs
from fer_ablate.execution.submitted_run import SubmittedRun
from fer_ablate.tracking.disk.files import changed_at, write_json
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import epoch_metrics, finish_run, make_header

# Printed by Slurm 22.05.8: one job cancelled, one preparing to end, two running, two waiting.
SQUEUE = """2_0|CANCELLED|None|vm|fer_ablate
2_3|PENDING|Resources||fer_ablate
2_4|PENDING|ReqNodeNotAvail, UnavailableNodes:vm||fer_ablate
2_2|RUNNING|None|vm|fer_ablate
14|COMPLETING|NonZeroExitCode|vm|of|another
2_1|RUNNING|None|vm|fer_ablate
"""


def test_lines_of_squeue_are_read():
    found = read_squeue(SQUEUE)
    assert {job: one.in_words for job, one in found.items()} == {
        "2_0": "ended as CANCELLED",
        "2_3": "queued (Resources)",
        "2_4": "queued (ReqNodeNotAvail, UnavailableNodes:vm)",
        "2_2": "running on vm",
        "14": "ending on vm",
        "2_1": "running on vm",
    }
    assert [job for job, one in found.items() if one.ended] == ["2_0"]
    assert found["14"].name == "of|another"


@pytest.mark.parametrize(
    ("queued", "accounted", "words"),
    [
        (QueuedJob("CANCELLED"), "", "ended as CANCELLED without"),
        (
            QueuedJob("TIMEOUT", "TimeLimit"),
            "",
            "TIMEOUT (TimeLimit) without a result; give it more time: hydra.launcher.timeout_min",
        ),
        (None, "CANCELLED by 1000", "ended as CANCELLED by 1000"),
        (None, "OUT_OF_MEMORY", "more memory: hydra.launcher.mem_gb"),
        (None, "", "no longer in the queue"),
    ],
)
def test_the_end_of_a_job_is_explained(queued, accounted, words):
    assert words in how_it_ended("7", queued, accounted)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["7"], "scancel 7"),
        (["7_0", "7_1", "7_2", "8"], "scancel '7_[0-2]' 8"),
        (["7_3", "7_1", "9_4"], "scancel '7_[1,3]' 9_4"),
    ],
)
def test_scancel_names_elements_of_arrays_together(ids, words):
    assert SlurmQueue().cancelling(ids) == words


def test_ids_are_packed():
    assert packed(["7_10", "7_9", "7_2"]) == ["'7_[2,9-10]'"]


def test_only_living_processes_of_submitit_count():
    assert LocalQueue().jobs([str(os.getpid()), "999999999"]) == {}


def test_a_narrow_terminal_hides_no_job(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    with subprocess.Popen([sys.executable, "-c", "input()", "0" * 200, "submitit.local"], stdin=subprocess.PIPE) as process:
        found = LocalQueue().jobs([str(process.pid)])
        process.kill()
    assert list(found) == [str(process.pid)]


def test_slurm_without_commands_is_silent(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QueueSilentError, match="squeue: No such file"):
        SlurmQueue().jobs(["1"])
    assert SlurmQueue().ending("1") == ""


@pytest.fixture(scope="module")
def config():
    with composer():
        return to_config(composed(["model=small", "tracking=none"]))


@pytest.fixture
def spec(config, tmp_path):
    return RunSpec(config, "all", key="k" * 32, folder=str(tmp_path / "runs" / "all"), place="1/1")


class Queue:
    """A queue with the jobs that a test puts into it, which may be silent for a while."""

    name = "Slurm"

    def __init__(self, **known):
        self.known, self.silent = known, 0

    def jobs(self, ids):
        if self.silent:
            self.silent -= 1
            raise QueueSilentError("Unable to contact slurm controller (connect failure)")
        return {job: self.known[job] for job in ids if job in self.known}

    def ending(self, job):
        return ""

    def cancelling(self, ids):
        return SlurmQueue().cancelling(ids)


@pytest.fixture
def submitted(spec, tmp_path, monkeypatch):
    """The job of a run that an earlier command submitted; a function that makes a later command with a queue."""
    pytest.importorskip("submitit", reason="comes with the extra slurm")
    for name in ("QUEUE_SECONDS", "RESULT_SECONDS", "GRACE_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    record = JobRecord("local", "17_0", "fer_ablate", str(tmp_path / ".submitit" / "%j"))
    write_json(tmp_path / "jobs" / f"{spec.key}.json", asdict(record))

    def build(queue):
        settings = {"cluster": "local", "submitit_folder": record.folder, "name": "fer_ablate"}
        jobs = SubmittedJobs(settings, tmp_path)
        jobs._queue = queue
        return jobs

    return build


def leave_result(tmp_path, outcome):
    """What submitit writes when a job has returned."""
    from submitit.core.utils import cloudpickle_dump

    file = tmp_path / ".submitit" / "17_0" / "17_0_0_result.pkl"
    file.parent.mkdir(parents=True)
    cloudpickle_dump(outcome, file)


def test_a_queued_job_is_taken_up(submitted, spec, tmp_path, capsys):
    queue = Queue(**{"17_0": QueuedJob("PENDING", "Priority", "fer_ablate")})
    queue.silent = 2  # it is waited for: to submit meanwhile would queue the run twice
    jobs = submitted(queue)
    leave_result(tmp_path, ("success", JobResult(RunState.finished, spec.key)))
    assert jobs.launch([spec]) == [JobResult(RunState.finished, spec.key)]
    assert "takes up  1 job of an earlier command: 17_0" in capsys.readouterr().out
    assert not list((tmp_path / "jobs").iterdir())


def test_a_cancelled_job_is_one_failed_run(submitted, spec, tmp_path):
    queue = Queue(**{"17_0": QueuedJob("RUNNING", "", "fer_ablate", "vm")})
    jobs = submitted(queue)
    jobs._take_up([spec])
    queue.known["17_0"] = QueuedJob("CANCELLED", "", "fer_ablate", "vm")
    (result,) = jobs.launch([spec])
    assert (result.state, result.problem) == (RunState.failed, "job 17_0 ended as CANCELLED without a result")
    assert jobs.note(tmp_path / "runs" / "all") == JobNote("", result.problem)


def test_a_job_that_vanished_may_have_finished(submitted, spec):
    queue = Queue(**{"17_0": QueuedJob("RUNNING", "", "fer_ablate", "vm")})
    jobs = submitted(queue)
    jobs._take_up([spec])
    queue.known.clear()
    folder = RunFolder(jobs._open[spec.key].record and Path(spec.folder))
    folder.write_header(make_header())
    finish_run(folder)
    assert jobs.launch([spec])[0].state is RunState.finished


def test_an_error_outside_the_run_is_named(submitted, spec, tmp_path):
    jobs = submitted(Queue(**{"17_0": QueuedJob("RUNNING", "", "fer_ablate", "vm")}))
    leave_result(tmp_path, ("error", "Traceback\n  line\nModuleNotFoundError: No module named 'fer_ablate'\n"))
    (result,) = jobs.launch([spec])
    assert result.problem == "job 17_0: ModuleNotFoundError: No module named 'fer_ablate'"


def test_jobs_that_go_on_are_named(submitted, spec, capsys):
    jobs = submitted(Queue(**{"17_0": QueuedJob("PENDING", "Priority", "fer_ablate")}))
    jobs.show_left()
    assert capsys.readouterr().out == ""
    jobs._take_up([spec])
    jobs.show_left()
    printed = capsys.readouterr().out
    assert "1 job (1 queued, 0 running) go on without this command: 17_0" in printed
    assert "scancel 17_0" in printed


def test_a_foreign_job_is_none_of_ours(submitted, spec):
    jobs = submitted(Queue(**{"17_0": QueuedJob("RUNNING", "", "simulation", "vm")}))
    jobs._take_up([spec])
    assert not jobs._open


def test_starts_without_an_epoch_end_at_last(spec, tmp_path):
    pytest.importorskip("submitit", reason="comes with the extra slurm")
    run = SubmittedRun(spec, tmp_path)
    run = run.checkpoint().function
    RunFolder(Path(spec.folder)).append_epoch(1, epoch_metrics(1), 1000)
    run = run.checkpoint().function
    assert run.idle == 0
    run.begun_with = 1
    run = run.checkpoint().function
    run.begun_with = 1
    run = run.checkpoint().function
    run.begun_with = 1
    with pytest.raises(UserError, match=r"3 starts in a row .* hydra\.launcher\.timeout_min"):
        run.checkpoint()


def test_a_job_started_again_does_not_begin_anew(spec, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(submitted_run, "do_job", lambda spec, own_process: seen.append(spec.config.force))
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path(spec.folder))
    folder.write_header(make_header())
    forced = replace(spec, config=replace(spec.config, force=True))
    run = SubmittedRun(forced, tmp_path, changed_at(folder.header_file))
    run()
    os.utime(folder.header_file, (time.time() + 5,) * 2)  # its own start has written it anew
    run()
    assert seen == [True, False]


def test_jobs_show_only_while_folders_are_silent(tmp_path):
    run = WatchedRun("[1/1] all, seed 0", "all", RunFolder(tmp_path), 10, "val/acc", True)
    waits, runs = RunProgress(run, RunState.missing), RunProgress(run, RunState.running)
    assert with_job(waits, None) == waits
    assert with_job(waits, JobNote("queued, job 1")).queued == "queued, job 1"
    assert with_job(waits, JobNote("", "job 1 ended")).state is RunState.failed
    assert with_job(runs, JobNote("queued, job 1")) == runs
