"""Several processes that share a run, and processes that are killed."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_ablate.errors import UserError
from fer_ablate.training.processes import end_with_parent, launch, rank
from fer_ablate.training.run import fit

from .small_runs import kept_weights, same

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
RANK_ZERO_FAILS_LATER = """
import os, sys, time
if os.environ["LOCAL_RANK"] == "1":
    sys.exit(3)
time.sleep(60)
"""
THE_OTHERS_HANG = """
import os, time
if os.environ["LOCAL_RANK"] != "0":
    time.sleep(60)
"""
ORPHAN = """
import sys, time
from pathlib import Path
from fer_ablate.training.processes import follow_parent, rank
follow_parent()
while True:
    Path(sys.argv[1], str(rank())).write_text(str(time.time()))
    time.sleep(0.1)
"""
FOREIGN = {
    "SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "study", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "1",
    "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "1", "SLURM_NODELIST": "node[1-4]", "RANK": "3", "LOCAL_RANK": "1",
    "GROUP_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "other",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip
"""Variables of SLURM and torchrun in the environment of a run that they did not start."""

SWEEP = """
import sys, time
from pathlib import Path
from joblib import Parallel, delayed
from fer_ablate.training.processes import end_with_parent

def work(name):
    end_with_parent()
    while True:
        Path(sys.argv[1], name).write_text(str(time.time()))
        time.sleep(0.1)

if __name__ == "__main__":
    Parallel(n_jobs=2)(delayed(work)(name) for name in ("first", "second"))
"""
LAUNCHER = """
import sys
from fer_ablate.training.processes import launch
launch([sys.executable, "-c", sys.argv[1], sys.argv[2]], 2)
"""


def wait_until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_failing_process_ends_the_others():
    began = time.monotonic()
    with pytest.raises(UserError, match=r"Process 1 of 2 ended with code 3.*resumes"):
        launch([sys.executable, "-c", RANK_ZERO_FAILS_LATER], 2)
    assert time.monotonic() - began < 30


def test_the_first_process_ends_the_run():
    began = time.monotonic()
    launch([sys.executable, "-c", THE_OTHERS_HANG], 2)
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_processes_whose_launcher_was_killed_end_as_well(tmp_path):
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, ORPHAN, str(tmp_path)])
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    launcher.kill()
    launcher.wait()
    wait_until(lambda: silent(tmp_path), 10)


def silent(folder):
    """Whether no process writes to the folder any more."""
    before = [file.read_text() for file in sorted(folder.iterdir())]
    time.sleep(0.5)
    return before == [file.read_text() for file in sorted(folder.iterdir())]


@pytest.mark.slow
def test_workers_of_a_killed_sweep_end(tmp_path):
    pytest.importorskip("joblib")
    script, folder = tmp_path / "sweep.py", tmp_path / "output"
    script.write_text(SWEEP)
    folder.mkdir()
    main = subprocess.Popen([sys.executable, str(script), str(folder)], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    main.kill()
    main.wait()
    wait_until(lambda: silent(folder), 10)


def test_a_process_without_parent_goes_on(tmp_path):
    end_with_parent()
    assert "parent" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def small(cache_dir):
    """Overrides of a small run whose result does not depend on how many processes share a batch."""
    return [
        f"data.cache_dir={cache_dir}", "data.synthetic.train=140", "data.synthetic.val=70", "data.synthetic.test=71",
        "model=pisa", "model.width=0.125", "model.norm=none", "model.dropout=0", "trainer.batch_size=32", "trainer.max_epochs=2",
        "trainer.keep=last", "trainer.precision=fp32", "trainer.num_threads=1",
    ]  # fmt: skip


@pytest.fixture
def command(tmp_path, small):
    """The command line of a small run, whose results are written to a folder of the given name."""

    def build(folder, *overrides):
        return [sys.executable, "-m", "fer_ablate", f"runs_dir={tmp_path / folder}", "tracking=none", *small, *overrides]

    return build


def run_folder(runs_dir):
    (result,) = runs_dir.rglob("result.json")
    return result.parent


def history(folder):
    with (folder / "metrics.csv").open() as stream:
        return [
            {name: cell for name, cell in row.items() if name not in ("seconds", "time_ms")} for row in csv.DictReader(stream)
        ]


@pytest.mark.slow
def test_a_run_killed_twice_equals_an_unbroken_one(command, tmp_path):
    recipe = (
        "trainer=cpu",
        "model.norm=batch",
        "trainer.max_epochs=40",
        "trainer.keep=best",
        "augment=vggnet",
        "scheduler=onecycle",
        "model.dropout=0.3",
    )
    subprocess.run(command("unbroken", *recipe), check=True, capture_output=True)
    draw, killed = random.Random(), tmp_path / "killed"
    for part in (1, 2):
        process = subprocess.Popen(command("killed", *recipe), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target = draw.randint(1, 12) + 15 * (part - 1)

        def epochs():
            return max((len(history(file.parent)) for file in killed.rglob("metrics.csv")), default=0)

        wait_until(lambda target=target: epochs() >= target)
        time.sleep(draw.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not list(killed.rglob("result.json"))
    subprocess.run(command("killed", *recipe), check=True, capture_output=True)
    first, second = run_folder(tmp_path / "unbroken"), run_folder(killed)
    assert same(kept_weights(first / "checkpoints"), kept_weights(second / "checkpoints"))
    assert history(first) == history(second)
    scores = [json.loads((folder / "result.json").read_text())["splits"] for folder in (first, second)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_two_processes_train_the_weights_that_one_does(small, tmp_path):
    script = str(Path(__file__).with_name("shared_run.py"))
    launch([sys.executable, script, str(tmp_path / "one"), "trainer=cpu", *small], 1)
    launch([sys.executable, script, str(tmp_path / "two"), *TWO, *small], 2)
    first, second = kept_weights(tmp_path / "one"), kept_weights(tmp_path / "two")
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_what_other_launchers_leave_behind_does_not_matter(config_of, task_of, small, tmp_path, monkeypatch):
    script = str(Path(__file__).with_name("shared_run.py"))
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    assert rank() == 0
    fit(prepared := task_of(config_of(*small), "one"))
    launch([sys.executable, script, str(tmp_path / "two"), *TWO, *small], 2)
    first, second = kept_weights(prepared.checkpoint_dir), kept_weights(tmp_path / "two")
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-4)


def test_training_needs_no_srun_where_slurm_is(config_of, task_of, tmp_path, monkeypatch):
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("srun") == str(srun)
    fit(task_of(config_of("trainer.fast_dev_run=1")))  # a warning of Lightning's would be an error here


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [("trainer=cpu",), TWO], ids=["one process", "two processes"])
def test_a_run_inside_a_job_of_slurm(overrides, command, tmp_path):
    alone = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(command("runs", *overrides), env={**alone, **FOREIGN}, check=True, capture_output=True, timeout=120)
    assert json.loads((run_folder(tmp_path / "runs") / "result.json").read_text())["epochs"] == 2


@pytest.mark.slow
def test_two_processes_get_the_result_of_one(command, tmp_path):
    pooled = "evaluation.pool_epochs=true"
    subprocess.run(command("one", "trainer=cpu", pooled), check=True, capture_output=True)
    two = command("two", *TWO, pooled)
    subprocess.run(two, check=True, capture_output=True)
    one, shared = run_folder(tmp_path / "one"), run_folder(tmp_path / "two")
    alone, together = (json.loads((folder / "result.json").read_text())["splits"] for folder in (one, shared))
    counts = {"train": 140, "val": 70, "test": 71, "public": 70, "private": 71, "train_pooled": 280, "test_pooled": 142}
    assert {name: part["n"] for name, part in together.items()} == counts
    # What all processes count together is what one of them counts alone, but for a near tie here and there.
    difference = np.abs(np.subtract(together["train"]["confusion"], alone["train"]["confusion"]))
    assert difference.sum() <= 2
    assert together["test"]["metrics"]["loss"] == pytest.approx(alone["test"]["metrics"]["loss"], abs=1e-4)
    for one_epoch, shared_epoch in zip(history(one), history(shared), strict=True):
        assert float(one_epoch["val/loss"]) == pytest.approx(float(shared_epoch["val/loss"]), abs=1e-4)

    again = subprocess.run(two, check=True, capture_output=True, text=True, timeout=120)
    assert "nothing to train" in again.stdout


@pytest.mark.slow
def test_two_processes_that_fail_say_why(command):
    failed = subprocess.run(command("two", *TWO, "optimizer.lr=1e30"), capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    assert "Lower optimizer.lr" in failed.stderr
    assert "of 2 ended with code 1" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_process_that_loses_the_other_says_so(command, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command("two", *TWO, "trainer.max_epochs=2000"), stdout=stream, stderr=stream)
        wait_until(lambda: "epoch 1/2000" in log.read_text())
        _, second = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(second), signal.SIGKILL)
        assert process.wait(60) == 1
    output = log.read_text()
    assert "Process 1 of 2 ended with signal SIGKILL" in output
    assert "Traceback" not in output
