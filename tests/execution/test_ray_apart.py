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
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORDS = ["model=small", "data=synthetic", "data.synthetic.train=140", "data.synthetic.val=35", "data.synthetic.test=35"]
SIZE = [*WORDS, "trainer.batch_size=35", "trainer.num_threads=1", "tracking=none", "tracking.pictures=false"]
SECONDS = 300

PATIENCE = {
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_health_check_failure_threshold": "10",
    "RAY_worker_niceness": "0",
}
"""Settings of Ray's own for machines on which a process needs a minute to start, see docs/ray.md."""

STARTS = 4
"""How often a raylet is started: the 15 seconds that it waits for the ports of its agents are in no setting."""


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
            **PATIENCE,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "FER_ABLATE_CACHE": str(self.cache),
        }
        self.address = ""

    def start(self, *words: str, before: str = "") -> subprocess.Popen:
        """Start a raylet; `before` is done first in its mount namespace."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
        hidden = ["unshare", "-m", "bash", "-c", f'{before}; exec "$@"', "bash"] if before else []
        for _ in range(STARTS):
            log = self.place / f"ray-{len(self.started)}.log"
            process = self._started([*hidden, *ray, "--object-store-memory=200000000"], log)
            if process.poll() is None:
                return process
        pytest.skip(f"Ray did not start here in {STARTS} tries: {log.read_text()[-300:]}")

    def _started(self, command: list[str], log: Path) -> subprocess.Popen:
        """A process once it says that Ray runs, or has ended."""
        with log.open("w") as out:
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, process_group=0)
        self.started.append(process)
        wait_until(lambda: process.poll() is not None or "runtime started" in log.read_text(), 180)
        return process

    def head(self, cpus: int) -> None:
        folder = f"/tmp/ray-{self.port}"  # short, since paths of sockets may have 107 letters
        dashboard = "--include-dashboard=false"
        self.start("--head", f"--port={self.port}", f"--num-cpus={cpus}", f"--temp-dir={folder}", dashboard)
        self.address = (Path(folder) / "ray_current_cluster").read_text().strip()

    def apart(self, more: str = "true", cpus: int = 1) -> subprocess.Popen:
        hide = "; ".join(f"mount -t tmpfs tmpfs {folder}" for folder in (self.runs, self.cache))
        return self.start(f"--address={self.address}", f"--num-cpus={cpus}", before=f"{hide}; {more}")

    def without_room_for_ray(self) -> None:
        """A node apart on which Ray's own folder has become full."""
        ray, kept = f"/tmp/ray-{self.port}", self.place / "kept"
        own = f"cp -a {ray} {kept}; mount -t tmpfs -o size=60m tmpfs {ray}; cp -a {kept}/. {ray}"
        node = self.apart(own)
        fill = f"head -c 100M /dev/zero > {ray}/fill"
        subprocess.run(["nsenter", "-t", str(node.pid), "-m", "bash", "-c", fill], stderr=subprocess.DEVNULL, timeout=SECONDS)

    def command(self, *words: str) -> list[str]:
        place = [f"runs_dir={self.runs}", f"data.cache_dir={self.cache}"]
        return [sys.executable, "-m", "fer_ablate", "-m", *SIZE, *place, *words]

    def sweep(self, *words: str) -> subprocess.Popen:
        ray = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={self.address}"]
        with (self.place / "out.txt").open("w") as out:
            # A shell that starts tests in the background lets them ignore Ctrl-C, and their processes too.
            command = ["env", "--default-signal=INT", *self.command(*words, *ray)]
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    @property
    def printed(self) -> str:
        return (self.place / "out.txt").read_text()

    def end(self) -> None:
        for process in reversed(self.started):
            end_group(process)
        shutil.rmtree(f"/tmp/ray-{self.port}", ignore_errors=True)


def children(pid: int) -> list[int]:
    """The process and all that it started, by the kernel's list."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [one for child in task.read_text().split() for one in children(int(child))]
    return found


def end_group(started: subprocess.Popen) -> None:
    """Kill a raylet with all that it started."""
    if started.poll() is None:
        for pid in children(started.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.wait()


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


def kill_training(cluster):
    """Kill the processes that train just now."""
    for pid in [pid for raylet in cluster.started if raylet.poll() is None for pid in children(raylet.pid)]:
        with suppress(OSError):
            if b"ray::call" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def test_killed_workers_and_nodes_lose_no_run(cluster, tmp_path):
    words = ["seed=0,1", "trainer.max_epochs=40"]
    cluster.head(cpus=0)
    first = cluster.apart()
    sweep = cluster.sweep(*words)
    wait_until(lambda: list(cluster.runs.glob("*/*/checkpoints/last.ckpt")))
    kill_training(cluster)
    wait_until(lambda: "its process is gone" in cluster.printed)
    wait_until(lambda: list(cluster.runs.glob("*/*/progress.json")))
    end_group(first)
    cluster.apart()
    assert sweep.wait(SECONDS) == 0, cluster.printed
    assert results(cluster.runs) == basic(cluster, tmp_path, *words)
    assert not list(cluster.runs.glob("*/*/checkpoints/last.ckpt"))


def test_an_interrupted_run_goes_on_elsewhere(cluster, tmp_path):
    words = ["seed=0", "trainer.max_epochs=40"]
    cluster.head(cpus=0)
    first = cluster.apart()
    sweep = cluster.sweep(*words)
    wait_until(lambda: list(cluster.runs.glob("*/*/checkpoints/last.ckpt")))
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(SECONDS) == 130, cluster.printed
    assert not [file for name in ("run.owner", "progress.json") for file in cluster.runs.glob(f"*/*/{name}")]
    end_group(first)
    cluster.apart()
    assert cluster.sweep(*words).wait(SECONDS) == 0, cluster.printed
    assert "resumes after epoch" in cluster.printed
    assert results(cluster.runs) == basic(cluster, tmp_path, *words)


def test_a_longer_run_is_continued_on_a_node(cluster, tmp_path):
    cluster.head(cpus=0)
    cluster.apart()
    for epochs in (2, 4):
        words = ["seed=0", "trainer.save_last=true", f"trainer.max_epochs={epochs}"]
        assert cluster.sweep(*words).wait(SECONDS) == 0, cluster.printed
        assert len(list(cluster.runs.glob("*/*/checkpoints/last.ckpt"))) == epochs // 2
    longer = [file.read_text() for file in cluster.runs.glob("*/*/run.json") if "continued_from" in file.read_text()]
    assert len(longer) == 1
    assert basic(cluster, tmp_path, *words).items() < results(cluster.runs).items()


def test_nodes_that_cannot_work_get_no_runs(cluster, tmp_path):
    package = Path(__file__).parents[2] / "src" / "fer_ablate"
    other = shutil.copytree(package, tmp_path / "other", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "labels.py").open("a") as code:
        code.write("\nOTHER = 1\n")
    cluster.head(cpus=0)
    cluster.apart(f"mount -t tmpfs tmpfs {package}")
    cluster.apart(f"mount --bind {other} {package}")
    cluster.apart(f"mount -t tmpfs -o size=100m tmpfs {cluster.cache}")
    cluster.without_room_for_ray()
    words = ["seed=0,1", "trainer.max_epochs=1"]
    assert cluster.sweep(*words).wait(SECONDS) == 1, cluster.printed
    assert cluster.printed.count("no node of the Ray cluster can train it") == 2
    assert cluster.printed.count("is given no runs: its processes end before they answer") == 1
    cluster.apart()
    assert cluster.sweep(*words).wait(SECONDS) == 0, cluster.printed
    for reason in ("fer_ablate cannot be imported there", "its fer_ablate is another version", "105 MB are free"):
        assert cluster.printed.count(reason) == 1, reason
    assert len(results(cluster.runs)) == 2


def test_ray_does_not_show_typed_passwords():
    pytest.importorskip("ray", reason="comes with the extra ray")
    code = (
        "import ray; from fer_ablate.execution.ray_cluster import connect; "
        "connect({'num_cpus': 1}); print(ray._private.state.jobs())"
    )
    command = [sys.executable, "-c", code, "tracking.uri=http://me:c2VjcmV0@example.org"]
    printed = subprocess.run(command, env={**os.environ, **PATIENCE}, check=True, capture_output=True, text=True, timeout=SECONDS)
    assert "tracking.uri=http://example.org" in printed.stdout
    assert "c2VjcmV0" not in printed.stdout + printed.stderr
