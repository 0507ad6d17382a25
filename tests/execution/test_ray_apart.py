"""A study on two Ray nodes, the second of which sees neither runs nor images of the first: in a mount namespace of its own.

Real raylets on this machine. A file system that is empty on the second node lies over the folders of the sweep (`unshare -m`).
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORDS = ["model=small", "data=synthetic", "data.synthetic.train=140", "data.synthetic.val=35", "data.synthetic.test=35"]
SIZE = [*WORDS, "trainer.batch_size=35", "trainer.num_threads=1", "tracking=none", "tracking.pictures=false"]
SECONDS = 300


def _may_unshare() -> bool:
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, seconds=SECONDS):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.2)


class Cluster:
    """Raylets on this machine, with a port, a folder and a token of their own; a node apart sees nothing of `place`."""

    def __init__(self, place: Path) -> None:
        self.place, self.port, self.started = place, free_port(), []
        self.runs, self.cache = place / "runs", place / "cache"
        for folder in (self.runs, self.cache):
            folder.mkdir()
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "FER_ABLATE_CACHE": str(self.cache),
        }
        self.address = ""

    def start(self, *words: str, before: str = "") -> subprocess.Popen:
        """Start a raylet; `before` is done first in its mount namespace."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
        hidden = ["unshare", "-m", "bash", "-c", f'{before}; exec "$@"', "bash"] if before else []
        log = (self.place / f"ray-{len(self.started)}.log").open("w")
        process = subprocess.Popen(
            [*hidden, *ray, "--object-store-memory=200000000"],
            env=self.environment,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        self.started.append(process)
        wait_until(lambda: process.poll() is not None or "runtime started" in Path(log.name).read_text(), 120)
        if process.poll() is not None:
            pytest.skip(f"Ray did not start here: {Path(log.name).read_text()[-300:]}")
        return process

    def head(self, cpus: int) -> None:
        folder = f"/tmp/ray-{self.port}"  # short, since paths of sockets may have 107 letters
        dashboard = "--include-dashboard=false"
        self.start("--head", f"--port={self.port}", f"--num-cpus={cpus}", f"--temp-dir={folder}", dashboard)
        self.address = (Path(folder) / "ray_current_cluster").read_text().strip()

    def apart(self, more: str = "true", cpus: int = 1) -> subprocess.Popen:
        hide = "; ".join(f"mount -t tmpfs tmpfs {folder}" for folder in (self.runs, self.cache))
        return self.start(f"--address={self.address}", f"--num-cpus={cpus}", before=f"{hide}; {more}")

    def command(self, *words: str) -> list[str]:
        place = [f"runs_dir={self.runs}", f"data.cache_dir={self.cache}"]
        return [sys.executable, "-m", "fer_ablate", "-m", *SIZE, *place, *words]

    def sweep(self, *words: str) -> subprocess.Popen:
        ray = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={self.address}"]
        out = (self.place / "out.txt").open("w")
        return subprocess.Popen(self.command(*words, *ray), env=self.environment, stdout=out, stderr=subprocess.STDOUT)

    @property
    def printed(self) -> str:
        return (self.place / "out.txt").read_text()

    def end(self) -> None:
        for process in reversed(self.started):
            end_group(process)
        shutil.rmtree(f"/tmp/ray-{self.port}", ignore_errors=True)


def children(pid: int) -> list[int]:
    """The process and all that it started, by the kernel's list."""
    tasks = Path(f"/proc/{pid}/task")
    below = [int(one) for task in tasks.glob("*/children") for one in task.read_text().split()]
    return [pid, *(one for child in below for one in children(child))]


def end_group(process: subprocess.Popen) -> None:
    """Kill a raylet with all that it started."""
    for pid in children(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def results(runs: Path):
    """Key and epochs of each finished run -> the scores of all its splits."""
    found = [json.loads(file.read_text()) for file in sorted(runs.glob("*/*/result.json"))]
    return {(run["key"], run["epochs"]): {name: split["metrics"] for name, split in run["splits"].items()} for run in found}


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("ray", reason="comes with the extra ray")
    if not _may_unshare():
        pytest.skip("a mount namespace (unshare -m) is not allowed here")
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end()


def basic(cluster, tmp_path, *words):
    """Results of the same runs one after another in one process."""
    runs = tmp_path / "basic"
    command = [*cluster.command(*words), f"runs_dir={runs}", "hydra/launcher=basic"]
    subprocess.run(command, check=True, env=cluster.environment, capture_output=True, timeout=SECONDS)
    return results(runs)


def trained_by_worker(cluster):
    """Ids of the processes that train just now."""
    pids = [pid for raylet in cluster.started for pid in children(raylet.pid)]
    return [pid for pid in pids if b"ray::call" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_killed_workers_and_nodes_lose_no_run(cluster, tmp_path):
    words = ["seed=0,1", "trainer.max_epochs=60"]
    cluster.head(cpus=0)
    first = cluster.apart()
    sweep = cluster.sweep(*words)
    wait_until(lambda: list(cluster.runs.glob("*/*/checkpoints/last.ckpt")))
    for pid in trained_by_worker(cluster):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "its process is gone" in cluster.printed)
    wait_until(lambda: list(cluster.runs.glob("*/*/progress.json")))
    end_group(first)
    cluster.apart()
    assert sweep.wait(SECONDS) == 0, cluster.printed
    assert results(cluster.runs) == basic(cluster, tmp_path, *words)
    assert not list(cluster.runs.glob("*/*/checkpoints/last.ckpt"))


def test_a_node_without_the_package_gets_no_runs(cluster):
    package = Path(__file__).parents[2] / "src" / "fer_ablate"
    cluster.head(cpus=1)
    cluster.apart(f"mount -t tmpfs tmpfs {package}", cpus=4)
    sweep = cluster.sweep("seed=0,1,2", "trainer.max_epochs=1")
    assert sweep.wait(SECONDS) == 0, cluster.printed
    assert cluster.printed.count("is given no runs: fer_ablate cannot be imported there") == 1
    assert len(results(cluster.runs)) == 3
