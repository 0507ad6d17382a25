"""A study on a real Slurm of one node, which the test starts from Debian's packages `slurm-wlm` and `munge`."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=30
KillWait=5
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""

STUDY = """
base: [model=small, model.width=0.25, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=40, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: -2 conv, overrides: [model.conv_layers=4]}
"""


def missing():
    """Why there can be no cluster here; empty if there can."""
    lacks = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacks:
        return f"needs Debian's slurm-wlm and munge: {', '.join(lacks)} not found"
    if os.geteuid() != 0:
        return "only root may start munge and Slurm"
    return "" if find_spec("submitit") else "submitit comes with the extra slurm"


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition, seconds=600.0):
    """Wait for a condition, and return what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def cluster():
    """The environment of a cluster that runs while the tests do."""
    # Not tmp_path: the name of a socket may have 107 letters.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    folder.chmod(0o755)
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, ctld=free_port(), slurmd=free_port()))
    key = folder / "munge" / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    munge = [f"--{name}={folder}/munge/munge{end}" for name, end in (("socket", ".socket"), ("key-file", ".key"))]
    munge += [
        f"--{name}={folder}/munge/munged.{end}" for name, end in (("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))
    ]
    commands = (["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"], ["slurmd", "-D"])
    daemons = []
    try:
        for command in commands:
            daemons.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(1)
        until(
            lambda: "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True).stdout
        )
        yield environment
        subprocess.run(["scancel", f"--user={os.getuid()}"], env=environment, check=False)
        time.sleep(2)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(cluster, tmp_path):
    """Type the study; gives the process and the file that it prints to."""
    file = tmp_path / "conf" / "study" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    words = ["-m", "--config-dir", str(tmp_path / "conf"), "study=tiny", f"runs_dir={tmp_path / 'runs'}", "tracking=none"]
    words += [f"data.cache_dir={tmp_path / 'cache'}", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"]
    words += ["hydra.launcher.mem_gb=2"]

    started = []

    def type_it(name, *more):
        printed = tmp_path / name
        with printed.open("w") as stream:
            command = [sys.executable, "-m", "fer_ablate", *words, *more]
            started.append(subprocess.Popen(command, env=cluster, stdout=stream, stderr=subprocess.STDOUT))
        return started[-1], printed

    yield type_it
    for process in started:
        process.kill()
        process.wait()


def squeue(cluster, state):
    done = subprocess.run(
        ["squeue", "-h", "-r", "-t", state, "-o", "%i"], env=cluster, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def submissions(tmp_path):
    return len(list((tmp_path / "runs" / "multirun" / ".submitit").rglob("*_submitted.pkl")))


def test_nothing_is_lost_or_queued_twice(cluster, study, tmp_path):
    first, _ = study("first.txt")
    waiting = until(lambda: found if len(found := squeue(cluster, "PENDING")) == 3 else None)
    subprocess.run(["scancel", waiting[0]], env=cluster, check=True)
    until(lambda: submissions(tmp_path) == 4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert squeue(cluster, "PENDING") == waiting[1:]

    # The three jobs that are left are taken up; only the cancelled one is queued again, and the first of them cancelled at once.
    second, printed = study("second.txt")
    until(lambda: submissions(tmp_path) == 5)
    taken = re.search(r"takes up +(\d) jobs?", printed.read_text())
    running = until(lambda: squeue(cluster, "RUNNING"))
    subprocess.run(["scancel", running[0]], env=cluster, check=True)
    assert second.wait(1200) == 1
    text = printed.read_text()
    assert taken is not None
    assert int(taken[1]) >= 2  # one may have ended meanwhile
    assert "3 of 4 runs done, 1 failed" in text or "2 of 3 runs done, 1 failed" in text
    assert re.search(rf"job {running[0]} ended as CANCELLED without a result", text)

    third, printed = study("third.txt")
    assert third.wait(1200) == 0, printed.read_text()
    assert submissions(tmp_path) == 6
    assert len(list((tmp_path / "runs" / "tiny").rglob("result.json"))) == 4
    assert not list((tmp_path / "runs" / "multirun" / "jobs").iterdir())


def test_ctrl_c_leaves_the_jobs_and_says_so(cluster, study, tmp_path):
    driver, printed = study("interrupted.txt", "study.rows=[all]")
    until(lambda: "submitted  2 jobs" in printed.read_text())
    driver.send_signal(signal.SIGINT)
    assert driver.wait(600) == 130
    text = printed.read_text()
    cancel = re.search(r"cancel +(scancel .+)", text)
    assert "go on without this command" in text
    assert cancel is not None
    assert len(squeue(cluster, "PENDING,RUNNING")) == 2
    subprocess.run(cancel[1], shell=True, env=cluster, check=True)
    until(lambda: not squeue(cluster, "PENDING,RUNNING,COMPLETING"))


def test_refused_jobs_are_one_clear_message(study):
    driver, printed = study("refused.txt", "hydra.launcher.partition=nosuch")
    assert driver.wait(600) == 1
    assert "Slurm refused the job: sbatch: error: invalid partition specified: nosuch" in printed.read_text()
