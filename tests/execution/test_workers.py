"""Runs are spread over the machine: who waits for whom, with which card, and what becomes of a run whose process is killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.execution import workers
from fer_ablate.execution.job import JobResult
from fer_ablate.execution.launching import OnThisMachine
from fer_ablate.execution.sharing import Machine, share
from fer_ablate.execution.workers import Workers
from fer_ablate.tracking.disk.run_state import RunState


class ThreadWorker:
    """Stands for a process; a "run" lasts until all those that may run beside it have begun."""

    made, running, most, meeting, runs_left = [], [], 0, None, 0

    def __init__(self, cards, threads, forked):
        self.cards = cards
        self.made.append(cards)

    def start(self, spec):
        future = Future()
        threading.Thread(target=self._run, args=(spec, future)).start()
        return future

    def _run(self, spec, future):
        self.running.append(self.cards)
        type(self).most = max(self.most, len(self.running))
        assert not self.cards or self.running.count(self.cards) == 1
        self.meeting.wait(timeout=5)
        self.running.remove(self.cards)
        future.set_result(JobResult(RunState.finished, spec.key))

    def end(self):
        pass


@pytest.fixture
def launch(monkeypatch, config_of, tmp_path):
    """Do runs with these settings on a machine; gives the keys in the order of the specs, and in that of the ends."""
    monkeypatch.setattr(workers, "Worker", ThreadWorker)
    monkeypatch.setattr(ThreadWorker, "made", [])
    monkeypatch.setattr(ThreadWorker, "most", 0)

    def run(machine, together, *settings):
        ThreadWorker.meeting = threading.Barrier(together)
        specs = [
            RunSpec(replace(config_of(*words), name=str(number)), str(number), key=str(number))
            for number, words in enumerate(settings)
        ]
        ends = []
        sharing = share([spec.config for spec in specs], machine, {})
        with Workers(sharing, lambda spec, result: ends.append(spec.key)) as pool:
            return [result.key for result in pool.launch(specs)], ends

    return run


def test_each_free_worker_takes_the_next_run(launch):
    results, ends = launch(Machine(cores=2), 2, *[[]] * 6)
    assert results == list("012345")
    assert sorted(ends) == results
    assert (ThreadWorker.made, ThreadWorker.most) == ([(), ()], 2)


def test_each_worker_sees_its_own_card(launch):
    launch(Machine(cores=4, gpus=("4", "7")), 2, *[["trainer.accelerator=auto"]] * 6)
    assert (ThreadWorker.made, ThreadWorker.most) == ([("4",), ("7",)], 2)


def test_a_large_run_waits_for_its_cores(launch):
    launch(Machine(cores=2), 1, [], ["trainer.num_threads=2"], [])
    assert ThreadWorker.most == 1


def test_a_process_killed_while_idle_is_replaced(launch, monkeypatch):
    monkeypatch.setattr(ThreadWorker, "runs_left", 1)
    start = ThreadWorker.start

    def start_once(self, spec):
        self.runs_left -= 1
        if self.runs_left < 0:
            raise TerminatedWorkerError
        return start(self, spec)

    monkeypatch.setattr(ThreadWorker, "start", start_once)
    assert launch(Machine(cores=1), 1, [], [])[0] == list("01")
    assert ThreadWorker.made == [(), ()]


@pytest.mark.parametrize("noticed", [True, False])
def test_work_of_a_killed_process_is_done_here(noticed, config_of):
    class Killed(ThreadWorker):
        def submit(self, function, *arguments):
            if noticed:
                raise TerminatedWorkerError
            future = Future()
            future.set_exception(TerminatedWorkerError())
            return future

    sharing = share([config_of()], Machine(cores=2), {})
    with ExitStack() as stack:
        machine = OnThisMachine(lambda: sharing, stack)
        machine._workers = stack.enter_context(Workers(sharing, lambda *_: None))
        machine._workers._idle.append(Killed((), 1, False))
        assert machine.together([os.getpid, os.getpid]) == [os.getpid()] * 2


STUDY = "-m model=pisa model.width=0.125 trainer=cpu trainer.batch_size=32 trainer.max_epochs=100 data.synthetic.train=140"
SPLITS = "data.synthetic.val=70 data.synthetic.test=70 seed=0,1 tracking=none"


@pytest.fixture
def sweep(tmp_path, cache_dir):
    """Two runs of many epochs under way in processes of their own."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "fer_ablate", *STUDY.split(), *SPLITS.split(), f"runs_dir={runs}"]
    environment = {**os.environ, "FER_ABLATE_CACHE": str(cache_dir), "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while len([file for file in runs.glob("*/*/metrics.csv") if file.read_text().count("\n") > 3]) < 2:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.2)
        yield process, {folder.name.partition("-s")[2][0]: folder for folder in (runs / "fer_ablate").glob("*-s*")}
        process.kill()


@pytest.mark.slow
def test_ctrl_c_ends_all_workers_and_keeps_epochs(sweep):
    process, folders = sweep
    owners = [_owner(folder) for folder in folders.values()]
    process.send_signal(signal.SIGINT)
    _, answer = process.communicate(timeout=60)
    assert process.returncode == 130
    assert answer.strip().endswith("interrupted. Finished epochs are kept; the same command goes on from there.")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in owners)
    assert all((folder / "checkpoints" / "last.ckpt").is_file() for folder in folders.values())


@pytest.mark.slow
def test_a_killed_worker_costs_only_its_run(sweep):
    process, folders = sweep
    os.kill(_owner(folders["0"]), signal.SIGKILL)
    _, answer = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "seed 0: its process ended without a message (SIGKILL(-9), perhaps for lack of memory)" in answer
    assert not (folders["0"] / "result.json").exists()
    assert (folders["1"] / "result.json").is_file()
    assert (folders["1"] / "faces.png").is_file()


def _owner(folder):
    return int(re.search(r"\d+", (folder / "run.owner").read_text())[0])
