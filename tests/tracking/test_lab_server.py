"""An MLflow server with users on PostgreSQL, killed while eight processes train one study; see docs/cluster.md."""

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.recorder import Recorder, pending, upload_pending

from ..finished_runs import epoch_metrics, fill, make_header, make_result
from .lab import ADA, EVE, Lab, contents, missing, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

STUDY = """
base: [model=small, model.width=0.25, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=2, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: -2 conv, overrides: [model.conv_layers=4]}
"""

TEMPORARY = (".*.partial", "*.part?*", "*.tmp", "upload.pending", "progress.json")


@pytest.fixture(scope="module")
def lab():
    # Not tmp_path: PostgreSQL's user has to reach it, and the name of a socket may have 107 letters.
    folder = Path(tempfile.mkdtemp(prefix="lab"))
    folder.chmod(0o755)
    server = Lab(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def places(tmp_path):
    """Folder of the runs and the words that begin a study in it."""
    file = tmp_path / "conf" / "study" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return tmp_path


def environment(lab, user):
    """What a user's machine has set: the password in the address, where `:`, `@`, `/` and `?` are quoted."""
    name, password = user
    return {**lab.environment, "MLFLOW_TRACKING_URI": lab.address.replace("//", f"//{name}:{quote(password, safe='')}@")}


def client_of(lab, user, monkeypatch):
    from mlflow import MlflowClient  # slow to import, see contents

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", user[1])
    return MlflowClient(lab.address)


def words(places, name):
    runs = [f"runs_dir={places / name}", f"data.cache_dir={places / 'cache'}", f"tracking.experiment={name}"]
    return ["-m", "--config-dir", str(places / "conf"), "study=tiny", *runs, "hydra/launcher=basic"]


def begin(lab, user, arguments, output):
    """Start a command that prints into a file."""
    with output.open("w") as stream:
        command = [sys.executable, "-m", "fer_ablate", *arguments]
        return subprocess.Popen(command, env=environment(lab, user), stdout=stream, stderr=subprocess.STDOUT)


def typed(lab, user, arguments, output, status=0):
    """A command's output."""
    assert begin(lab, user, arguments, output).wait(1800) == status, output.read_text()
    return output.read_text()


def sync(lab, user, places, name):
    return typed(lab, user, ["sync", f"runs_dir={places / name}", f"tracking.experiment={name}"], places / "sync.txt")


def results(places, name):
    return len(list((places / name / name).glob("*/result.json")))


def recorded(places, name):
    return any('"mlflow_run_id": "' in file.read_text() for file in (places / name / name).glob("*/run.json"))


def test_eight_processes_survive_a_killed_server(lab, places, monkeypatch):
    typed(lab, ADA, words(places, "unbroken"), places / "unbroken.txt")
    output = [places / f"broken-{number}.txt" for number in range(8)]
    processes = [begin(lab, ADA, words(places, "broken"), file) for file in output]
    try:
        until(lambda: recorded(places, "broken"))
        lab.kill()
        lab.start()
        until(lambda: results(places, "broken"))
        lab.kill()
        lab.stop_database("immediate")
        lab.start_database()
        # Runs end while there is no server.
        before = results(places, "broken")
        until(lambda: results(places, "broken") > before or all(process.poll() is not None for process in processes))
        lab.start()
        assert [process.wait(1800) for process in processes] == [0] * 8, output[0].read_text()
    finally:
        for process in processes:
            process.kill()
            process.wait()

    sync(lab, ADA, places, "broken")
    assert "MLflow has every run" in sync(lab, ADA, places, "broken")
    again = typed(lab, ADA, words(places, "broken"), places / "again.txt")
    assert f"{lab.address}/#/compare-runs" in again
    client = client_of(lab, ADA, monkeypatch)
    expected, found = contents(client, "unbroken"), contents(client, "broken")
    assert len(expected) == 7  # the study, two rows, four runs
    assert found.keys() == expected.keys()
    for name, part in expected.items():
        assert found[name] == part
    # Typed once more, nothing is sent twice.
    typed(lab, ADA, words(places, "broken"), places / "again.txt")
    assert contents(client, "broken") == expected

    left = [path for pattern in TEMPORARY for folder in (places, lab.folder / "artifacts") for path in folder.rglob(pattern)]
    assert left == []
    assert with_secret(places, lab.folder / "artifacts") == []
    assert ADA[1] not in lab.sql(*(f"SELECT * FROM {table}" for table in ("params", "tags", "experiment_tags", "runs")))


def with_secret(*folders):
    """Files with the password, as it is written or quoted."""
    secrets = [text.encode() for text in (ADA[1], quote(ADA[1], safe=""))]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if any(secret in file.read_bytes() for secret in secrets)]


def test_a_late_answer_makes_one_run(lab, tmp_path, monkeypatch):
    client = client_of(lab, ADA, monkeypatch)
    store = open_store(lab.address, "late", str(tmp_path), 5)
    folder = RunFolder(tmp_path / "late" / "run")
    # What a backup or a busy disk does: runs are made only after the client has given up.
    statements = ["BEGIN", "LOCK TABLE runs IN EXCLUSIVE MODE", "SELECT pg_sleep(20)", "COMMIT"]
    place = ["-h", "127.0.0.1", "-p", str(lab.database_port), "-U", "postgres", "mlflow"]
    slow = subprocess.Popen(["psql", *place, *(word for one in statements for word in ("-c", one))], stdout=subprocess.DEVNULL)
    until(lambda: "ExclusiveLock" in lab.sql("SELECT mode FROM pg_locks JOIN pg_class ON oid = relation WHERE relname = 'runs'"))
    recorder = Recorder(folder, lab.address, str(tmp_path), 5)
    recorder.start(replace(make_header(), experiment="late"))
    recorder.epoch(1, epoch_metrics(1), 1000)
    folder.write_result(make_result())
    recorder.finish(make_result(), RunState.finished)
    assert recorder.warning
    assert slow.wait(120) == 0
    tracking = TrackingConfig(uri=lab.address, experiment="late", timeout=5)
    time.sleep(5)
    assert upload_pending(tmp_path, tracking) == 1
    (run,) = client.search_runs([store.experiment_id])
    assert (run.info.run_id, run.info.status) == (folder.header.mlflow_run_id, "FINISHED")


def test_a_run_of_another_store_is_brought(lab, tmp_path, monkeypatch):
    client = client_of(lab, ADA, monkeypatch)
    folder = RunFolder(tmp_path / "moved" / "run")
    fill(folder)
    # To somebody who is no administrator, the server denies a run that it does not have.
    folder.write_header(replace(folder.header, experiment="moved", mlflow_run_id="0" * 32, mlflow_uri="sqlite:///mlflow.db"))
    folder.pending_file.write_text("FINISHED")
    assert upload_pending(tmp_path, TrackingConfig(uri=lab.address, experiment="moved", timeout=60)) == 1
    (run,) = client.search_runs([client.get_experiment_by_name("moved").experiment_id])
    assert folder.header.mlflow_run_id == run.info.run_id


@pytest.mark.parametrize(
    ("user", "message"),
    [((ADA[0], "Sloe-and-Damson-7"), "it does not know this user with this password"), (EVE, "this user may not do that there")],
    ids=["wrong password", "may only read"],
)
def test_a_refused_user_loses_nothing(lab, places, user, message, monkeypatch):
    name = f"refused-{user[0]}"
    client_of(lab, ADA, monkeypatch).create_experiment(name)
    text = typed(lab, user, [*words(places, name), "study.rows=[all]", "seed=0"], places / "first.txt")
    assert message in text
    assert "Traceback" not in text
    assert results(places, name) == len(pending(places / name)) == 1
    refused = ["sync", f"runs_dir={places / name}", f"tracking.experiment={name}"]
    text = typed(lab, user, refused, places / "refused.txt", status=1)
    assert text.count(message) == 1
    assert "Traceback" not in text
    assert "1 run brought" in sync(lab, ADA, places, name)
    assert pending(places / name) == []


def test_who_may_write_is_decided_by_the_server(lab, tmp_path, monkeypatch):
    client_of(lab, ADA, monkeypatch).create_experiment("closed")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", EVE[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", EVE[1])
    for experiment in ("closed", "own"):
        folder = RunFolder(tmp_path / experiment / "run")
        fill(folder)
        folder.write_header(replace(folder.header, experiment=experiment, mlflow_run_id=None, mlflow_uri=None))
        folder.pending_file.write_text("FINISHED")
    tracking = TrackingConfig(uri=lab.address, experiment="own", timeout=60)
    with pytest.raises(ValueError, match="'closed'"):
        upload_pending(tmp_path, tracking)
    # The experiment that she may not change does not keep back her own.
    assert [folder.header.experiment for folder in pending(tmp_path)] == ["closed"]
