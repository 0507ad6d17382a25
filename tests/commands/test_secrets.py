"""A study recorded by a real server whose address holds a password: nothing that is left or printed has it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

SENTINEL = "hunter2-7f3a"
SECONDS = 300


def bytes_with(folder: Path, text: str) -> list[str]:
    """Every file below a folder that holds a text, or is named by it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path) for path in files if text in str(path) or text.encode() in path.read_bytes()]


@pytest.fixture
def server(tmp_path):
    """Port of an MLflow server with a database and artifacts of its own; it takes any user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "server").mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else nine further processes import MLflow
    with (tmp_path / "server.txt").open("w") as said:
        where = {"cwd": tmp_path / "server", "env": environment, "stdout": said, "stderr": said}
        process = subprocess.Popen([*command, *stores], **where, start_new_session=True)
    try:
        for _ in range(SECONDS):
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@pytest.mark.long
def test_addresses_within_values_are_bared(typed, small, tmp_path):
    """Of an address that is part of a value, no word of a command line knows that it is one."""
    address = f"http://me:{SENTINEL}@127.0.0.1:9/"
    file = tmp_path / "conf" / "study" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"base: ['tracking.uri={address}']\nrows: [{{label: a}}]\n")
    words = [*(word for word in small if word != "tracking=none"), "trainer.max_epochs=1"]
    words.append(f"tracking.tags={{store: '{address}'}}")
    assert typed("-m", "--config-dir", str(file.parents[1]), "study=mine", *words, "tracking.timeout=1").code == 0
    assert typed(*words, "seed=5").code == 0  # into a database that answers
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    assert bytes_with(tmp_path / "runs", "127.0.0.1:9/")
    assert bytes_with(tmp_path / "runs", SENTINEL) == []


@pytest.mark.slow
def test_no_byte_of_a_study_has_the_password(server, small_run, cache_dir, tmp_path):
    def typed(*words):
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://me:{SENTINEL}@127.0.0.1:{server}"}
        environment |= {"FER_ABLATE_CACHE": str(cache_dir), "AWS_SECRET_ACCESS_KEY": f"{SENTINEL}-aws"}
        command = [sys.executable, "-m", "fer_ablate", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    words = [*small_run, "trainer.max_epochs=1", "optimizer=adam,sgd"]
    answers = [typed("-m", *words), typed("compare", *words)]
    with_own_address = typed(*small_run, "trainer.max_epochs=1", "seed=5", f"tracking.uri=http://me:{SENTINEL}@127.0.0.1:9")
    answers.append(with_own_address)
    assert [one.returncode for one in answers] == [0, 0, 0], [one.stderr for one in answers]
    assert f"http://127.0.0.1:{server}/#/compare-runs" in answers[1].stdout
    assert "MLflow at http://127.0.0.1:9 failed" in with_own_address.stdout
    assert not [one for one in answers if SENTINEL in one.stdout + one.stderr]
    for name in ("runs", "server"):
        assert bytes_with(tmp_path / name, SENTINEL) == []
    # The server has what was sent, so that the password was used.
    assert (tmp_path / "server" / "artifacts").is_dir()
    pending = [file.parent.name for file in (tmp_path / "runs").glob("*/*/upload.pending")]
    assert len(pending) == 1
    assert "-s5-" in pending[0]
