import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.notes import NOTE
from fer_ablate.tracking.mlflow.study_ids import StudyIdsFile, unsent_studies
from fer_ablate.tracking.mlflow.study_runs import RowDetails, StudySummary, close_study, comparison_address, open_study
from fer_ablate.tracking.recorder import Recorder, upload_pending

from ..cases import cases
from ..finished_runs import fill, make_header, make_result

NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""

LABELS = ["4 layers", "+1 Conv", "-1 Conv"]
MEASURED = StudySummary({label: {"n": 2.0} for label in LABELS}, {})


@pytest.fixture
def tracking(uri, request):
    """Every test has an experiment of its own in the one database."""
    return TrackingConfig(uri=uri, experiment=request.node.name)


@pytest.fixture
def client(tracking, runs_dir):
    return open_store(tracking.uri, tracking.experiment, str(runs_dir), 5).client


def opened(tracking, runs_dir, study="depth", labels=LABELS):
    runs, warning = open_study(tracking, runs_dir, study, labels, {"source": "table 1"})
    assert warning == ""
    return runs


def closed(tracking, runs_dir, summary, study="depth"):
    """Rows of the study once it was sent: label -> run."""
    assert close_study(tracking, runs_dir, study, summary) == ""
    return StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri).read().rows


def recorded(folder, tracking, runs_dir, parent=None, name="4 layers", key="0" * 32):
    """A run as training leaves it, in its folder and in MLflow."""
    recorder = Recorder(folder, tracking.uri, str(runs_dir), timeout=5)
    header = make_header(name=name, experiment=tracking.experiment, parent_run_id=parent, key=key)
    recorder.start(header)
    folder.write_result(make_result())
    recorder.finish(make_result(), RunState.finished)
    assert recorder.warning == ""
    return folder


def below(client, run_id):
    """Names of the runs shown directly below one."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'")
    return sorted(run.info.run_name for run in found)


def test_a_study_is_shown_above_its_rows(tracking, runs_dir, client):
    runs = opened(tracking, runs_dir)
    parent = client.get_run(runs.parent_id)
    assert (parent.info.run_name, parent.info.status) == ("depth", "RUNNING")
    assert (parent.data.tags["kind"], parent.data.tags["source"]) == ("study", "table 1")
    assert set(runs.row_ids.values()) == {runs.parent_id}  # until their rows are made, new runs are shown below the study
    rows = closed(tracking, runs_dir, MEASURED)
    assert below(client, runs.parent_id) == sorted(LABELS)
    assert opened(tracking, runs_dir).row_ids == rows
    row = client.get_run(rows["+1 Conv"])
    assert (row.data.tags["kind"], row.info.status) == ("row", "RUNNING")


@pytest.mark.slow
def test_a_restarted_study_keeps_its_runs(tracking, runs_dir, client):
    first = closed(tracking, runs_dir, StudySummary({label: {"n": 2.0} for label in LABELS[:2]}, {}))
    parent = opened(tracking, runs_dir).parent_id
    again = closed(tracking, runs_dir, MEASURED)
    assert {label: again[label] for label in LABELS[:2]} == first
    assert opened(tracking, runs_dir).parent_id == parent
    assert below(client, parent) == sorted(LABELS)


def test_runs_deleted_in_mlflow_are_made_anew(tracking, runs_dir, client):
    parent, first = opened(tracking, runs_dir).parent_id, closed(tracking, runs_dir, MEASURED)
    client.delete_run(parent)
    client.delete_run(first["+1 Conv"])
    made = opened(tracking, runs_dir).parent_id
    again = closed(tracking, runs_dir, MEASURED)
    assert made != parent
    assert again["4 layers"] == first["4 layers"]
    assert again["+1 Conv"] != first["+1 Conv"]
    assert below(client, made) == sorted(LABELS)
    assert client.get_run(made).data.metrics["plus 1 Conv/n"] == 2.0


@pytest.mark.slow
def test_two_processes_make_one_parent(tracking, runs_dir, client):
    code = "import sys; from pathlib import Path\nfrom fer_ablate.config.schema import TrackingConfig\n"
    code += "from fer_ablate.tracking.mlflow.study_runs import open_study\n"
    code += "tracking = TrackingConfig(uri=sys.argv[1], experiment=sys.argv[2])\n"
    code += "runs, warning = open_study(tracking, Path(sys.argv[3]), 'depth', ['a', 'b'], {})\n"
    code += "print(warning, runs.parent_id, sorted(runs.row_ids.items()))"
    command = [sys.executable, "-c", code, tracking.uri, tracking.experiment, str(runs_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        threads = [threading.Thread(target=opened, args=(tracking, runs_dir, "depth", ["a", "b"])) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        printed = other.stdout.read()
    runs = opened(tracking, runs_dir, labels=["a", "b"])
    assert printed == f" {runs.parent_id} {sorted(runs.row_ids.items())}\n"
    assert len(client.search_runs([client.get_run(runs.parent_id).info.experiment_id])) == 1


def test_studies_of_one_experiment_have_own_parents(tracking, runs_dir, client):
    one, other = (opened(tracking, runs_dir, study) for study in ("a/b", "a_b"))
    assert one.parent_id != other.parent_id
    assert opened(tracking, runs_dir, "a/b").parent_id == one.parent_id


def test_closing_brings_scores_table_and_runs(tracking, runs_dir, client, tmp_path):
    runs = opened(tracking, runs_dir)
    trained = recorded(RunFolder(tmp_path / "x" / "run"), tracking, runs_dir, parent=runs.parent_id)
    (tmp_path / "table.md").write_text("| row |")
    scores = {"test/acc/mean": 0.75, "test/acc/sd": float("nan"), "test/acc/n": 1.0}
    rows = {"4 layers": scores, "+1 Conv": {"test/acc/mean": 0.5}, "-1 Conv": {"test/acc/mean": 0.25}}
    summary = StudySummary(rows, {"4 layers": [trained]}, [tmp_path / "table.md"], RunState.failed, {}, ["+1 Conv"])
    made = closed(tracking, runs_dir, summary)
    parent = client.get_run(runs.parent_id)
    assert parent.info.status == "FAILED"
    assert parent.data.metrics == {
        "4 layers/test/acc/mean": 0.75,
        "4 layers/test/acc/n": 1.0,
        "plus 1 Conv/test/acc/mean": 0.5,
        "-1 Conv/test/acc/mean": 0.25,
    }
    assert [file.path for file in client.list_artifacts(runs.parent_id, "study")] == ["study/table.md"]
    row = client.get_run(made["4 layers"])
    assert (row.info.status, row.data.metrics) == ("FINISHED", {"test/acc/mean": 0.75, "test/acc/n": 1.0})
    assert client.get_run(made["+1 Conv"]).info.status == "FAILED"
    assert below(client, made["4 layers"]) == ["4 layers"]


def test_an_unchanged_study_is_not_told_again(tracking, runs_dir, uri, tmp_path):
    opened(tracking, runs_dir)
    trained = recorded(RunFolder(tmp_path / "x" / "run"), tracking, runs_dir)
    summary = StudySummary({"4 layers": {"test/acc/mean": 0.75}}, {"4 layers": [trained]})
    assert close_study(tracking, runs_dir, "depth", summary) == ""
    database = runs_dir / "mlflow.db"
    before = database.stat().st_mtime_ns
    began = time.process_time()  # a busy machine does not count
    assert close_study(tracking, runs_dir, "depth", summary) == ""
    assert time.process_time() - began < 0.05
    assert database.stat().st_mtime_ns == before
    changed = replace(summary, rows={"4 layers": {"test/acc/mean": 0.8}})
    assert close_study(tracking, runs_dir, "depth", changed) == ""
    assert database.stat().st_mtime_ns > before


def test_an_unchanged_study_is_shown_as_ended(tracking, runs_dir, client):
    summary = StudySummary({"4 layers": {"n": 1.0}}, {})
    closed(tracking, runs_dir, summary)
    runs = opened(tracking, runs_dir)
    assert close_study(tracking, runs_dir, "depth", summary) == ""
    assert client.get_run(runs.parent_id).info.status == "FINISHED"
    row = opened(tracking, runs_dir).row_ids["4 layers"]
    assert len(client.get_metric_history(row, "n")) == 1


def test_an_existing_run_moves_below_its_row(tracking, runs_dir, client, folder):
    trained = recorded(folder, tracking, runs_dir)
    opened(tracking, runs_dir)
    rows = closed(tracking, runs_dir, StudySummary({}, {"4 layers": [trained]}))
    assert below(client, rows["4 layers"]) == ["4 layers"]
    assert client.get_run(trained.header.mlflow_run_id).data.tags["mlflow.parentRunId"] == rows["4 layers"]


@pytest.mark.parametrize("known", cases({"recorded_elsewhere": True, "never_recorded": False}, slow=...))
def test_a_foreign_run_is_copied_once(tracking, runs_dir, client, folder, known):
    elsewhere = replace(tracking, experiment="elsewhere")
    trained = recorded(folder, elsewhere, runs_dir) if known else fill(folder)
    runs = opened(tracking, runs_dir)
    for number in (1.0, 2.0):
        rows = closed(tracking, runs_dir, StudySummary({"4 layers": {"n": number}}, {"4 layers": [trained]}))
    experiment = client.get_run(runs.parent_id).info.experiment_id
    (copy,) = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{rows['4 layers']}'")
    assert copy.data.tags["copied_from"] == (trained.header.mlflow_run_id if known else trained.header.key)
    assert (copy.info.status, copy.data.metrics["test/acc"]) == ("FINISHED", 0.75)
    assert trained.header.parent_run_id is None


@pytest.mark.long
def test_a_shared_run_is_shown_below_each(tracking, runs_dir, client, folder):
    trained = recorded(folder, tracking, runs_dir)
    summary = StudySummary({}, {label: [trained] for label in LABELS})
    for study in ("depth", "width", "depth"):
        opened(tracking, runs_dir, study)
        rows = closed(tracking, runs_dir, summary, study)
        assert [len(below(client, run_id)) for run_id in rows.values()] == [1, 1, 1]


def test_runs_of_no_row_lie_below_the_study(tracking, runs_dir, client, folder):
    runs = opened(tracking, runs_dir, "search", labels=[])
    trained = recorded(folder, tracking, runs_dir, name="trial 7")
    assert close_study(tracking, runs_dir, "search", StudySummary({"": {"best": 0.75}}, {"": [trained]})) == ""
    assert below(client, runs.parent_id) == ["trial 7"]
    assert client.get_run(runs.parent_id).data.metrics == {"best": 0.75}


def test_one_damaged_run_does_not_hide_others(tracking, runs_dir, client, tmp_path):
    whole = recorded(RunFolder(tmp_path / "whole"), tracking, runs_dir)
    damaged = RunFolder(tmp_path / "damaged")
    damaged.path.mkdir()
    damaged.header_file.write_text("{")
    summary = StudySummary({}, {"4 layers": [damaged, whole]})
    assert "damaged/run.json is damaged" in close_study(tracking, runs_dir, "depth", summary)
    assert below(client, opened(tracking, runs_dir).row_ids["4 layers"]) == ["4 layers"]


def recorded_for_nobody(tracking, runs_dir):
    """Folder of a finished run whose store did not answer."""
    away = Recorder(RunFolder(runs_dir / "x" / "run"), NOBODY, str(runs_dir), timeout=1)
    away.start(make_header(name="+1 Conv", experiment=tracking.experiment))
    away.folder.write_result(make_result())
    away.finish(make_result(), RunState.finished)
    return away.folder


def test_a_run_uploaded_later_comes_below_its_row(tracking, client, tmp_path):
    opened(tracking, tmp_path)
    away = recorded_for_nobody(tracking, tmp_path)
    away.pending_file.write_text(tracking.uri)  # stands for this store being away at that time
    summary = StudySummary({}, {"+1 Conv": [away]})
    rows = closed(tracking, tmp_path, summary)
    assert below(client, rows["+1 Conv"]) == []  # no copy of what is still to come
    assert upload_pending(tmp_path, tracking) == 1
    assert below(client, rows["+1 Conv"]) == ["+1 Conv"]
    assert closed(tracking, tmp_path, summary) == rows
    assert below(client, rows["+1 Conv"]) == ["+1 Conv"]


def test_a_run_awaited_elsewhere_is_shown_as_copy(tracking, client, tmp_path):
    opened(tracking, tmp_path)
    away = recorded_for_nobody(tracking, tmp_path)
    rows = closed(tracking, tmp_path, StudySummary({}, {"+1 Conv": [away]}))
    assert below(client, rows["+1 Conv"]) == ["+1 Conv"]
    assert away.waits_for(NOBODY)
    assert upload_pending(tmp_path, tracking) == 1  # a person brings it here all the same
    assert closed(tracking, tmp_path, StudySummary({}, {"+1 Conv": [away]})) == rows
    assert below(client, rows["+1 Conv"]) == ["+1 Conv"]


def test_runs_are_recorded_without_a_lost_parent(tracking, runs_dir, client, folder):
    trained = recorded(folder, tracking, runs_dir, parent="0" * 32)
    assert "mlflow.parentRunId" not in client.get_run(trained.header.mlflow_run_id).data.tags


def test_an_absent_store_is_updated_later(tracking, runs_dir, client, tmp_path):
    away = replace(tracking, uri=NOBODY, timeout=1)
    began = time.monotonic()
    runs, warning = open_study(away, tmp_path, "depth", LABELS, {})
    assert runs is None
    assert warning.startswith(f"MLflow at {NOBODY} does not show the study depth")
    summary = StudySummary({"4 layers": {"n": 1.0}}, {})
    assert "The next start of the study brings it." in close_study(away, tmp_path, "depth", summary)
    assert time.monotonic() - began < 20
    assert close_study(tracking, tmp_path, "depth", summary) == ""
    assert unsent_studies(tmp_path, tracking.uri) == []
    assert below(client, opened(tracking, tmp_path).parent_id) == ["4 layers"]
    assert unsent_studies(tmp_path, tracking.uri) == ["depth"]


@pytest.mark.long
def test_nobody_waits_for_a_silent_server(tracking, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # of the first store of a process; here that was another test's
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = replace(tracking, uri=f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=1)
        began = time.monotonic()
        runs, warning = open_study(silent, tmp_path, "depth", LABELS, {})
        assert time.monotonic() - began < 5
    assert (runs, "does not show the study" in warning) == (None, True)


def test_without_tracking_nothing_is_made(tracking, tmp_path):
    off = replace(tracking, enabled=False)
    assert open_study(off, tmp_path, "depth", LABELS, {}) == (None, "")
    assert close_study(off, tmp_path, "depth", StudySummary({}, {})) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_memory_is_named_with_remedy(tracking, tmp_path):
    file = tmp_path / tracking.experiment / "depth.study.json"
    file.parent.mkdir()
    file.write_text("{")
    runs, warning = open_study(tracking, tmp_path, "depth", LABELS, {})
    assert runs is None
    assert "depth.study.json is damaged" in warning
    assert "Remove it" in warning


@pytest.mark.slow
def test_threads_send_a_closed_study_once(tracking, runs_dir, client):
    opened(tracking, runs_dir)
    summary = StudySummary({"4 layers": {"n": 1.0}}, {})
    threads = [threading.Thread(target=close_study, args=(tracking, runs_dir, "depth", summary)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = opened(tracking, runs_dir).row_ids["4 layers"]
    assert len(client.get_metric_history(row, "n")) == 1


STARTED, ENDED = 1767323045000, 1767323105000
"""Times of a run of `finished_runs`, in milliseconds."""


def printed(value="4", folders=(), key="0" * 32):
    """A study of one row whose document prints a number."""
    details = RowDetails({"model.conv_layers": value}, {"agrees/test/acc": "yes"}, STARTED, ENDED, {key: {"gap/test/acc": 0.05}})
    return StudySummary(
        {"4 layers": {"test/acc/mean": 0.75, "published/test/acc": 0.7}},
        {"4 layers": list(folders)},
        details={"4 layers": details},
        description="| row | test acc |",
    )


def test_rows_carry_settings_times_and_published_numbers(tracking, runs_dir, client, folder):
    trained = recorded(folder, tracking, runs_dir, parent=opened(tracking, runs_dir).parent_id)
    row = client.get_run(closed(tracking, runs_dir, printed(folders=[trained]))["4 layers"])
    assert (row.info.start_time, row.info.end_time) == (STARTED, ENDED)
    assert row.data.params == {"model.conv_layers": "4"}
    assert (row.data.metrics["published/test/acc"], row.data.tags["agrees/test/acc"]) == (0.7, "yes")
    run = client.get_run(trained.header.mlflow_run_id).data
    assert (run.metrics["gap/test/acc"], run.tags["agrees/test/acc"]) == (0.05, "yes")


def test_a_row_with_other_settings_is_new(tracking, runs_dir, client):
    old = closed(tracking, runs_dir, printed("4"))["4 layers"]
    new = closed(tracking, runs_dir, printed("5"))["4 layers"]
    assert client.get_run(new).data.params == {"model.conv_layers": "5"}
    earlier = client.get_run(old)
    assert (earlier.info.run_name, earlier.data.tags["kind"]) == ("4 layers (earlier settings)", "earlier row")
    assert new in comparison_address(tracking, runs_dir, "depth", ["4 layers"])
    assert old not in comparison_address(tracking, runs_dir, "depth", ["4 layers"])


def test_interrupted_runs_move_below_their_row(tracking, runs_dir, client, folder):
    runs = opened(tracking, runs_dir)
    recorder = Recorder(folder, tracking.uri, str(runs_dir), timeout=5)
    recorder.start(make_header(name="+1 Conv", experiment=tracking.experiment, parent_run_id=runs.parent_id))
    recorder.finish(None, RunState.missing)
    rows = closed(tracking, runs_dir, StudySummary({"+1 Conv": {}}, {"+1 Conv": []}, state=RunState.missing))
    assert below(client, rows["+1 Conv"]) == ["+1 Conv"]
    assert client.get_run(rows["+1 Conv"]).info.start_time == STARTED


def test_the_description_links_to_the_comparison(tracking, runs_dir, client):
    rows = closed(tracking, runs_dir, printed())
    run = client.get_run(opened(tracking, runs_dir).parent_id)
    address = comparison_address(tracking, runs_dir, "depth", ["not run", "4 layers"])
    asked = parse_qs(urlsplit(urlsplit(address).fragment).query)
    assert [json.loads(asked[name][0]) for name in ("runs", "experiments")] == [[rows["4 layers"]], [run.info.experiment_id]]
    for note in (run.data.tags[NOTE], client.get_experiment(run.info.experiment_id).tags[NOTE]):
        assert "| row | test acc |" in note
        assert address.removeprefix("http://127.0.0.1:5000/") in note


def test_a_server_has_its_own_address(tracking, runs_dir):
    closed(tracking, runs_dir, printed())
    ids = StudyIdsFile(runs_dir, tracking.experiment, "depth", tracking.uri).read()
    server = replace(tracking, uri="https://me:secret@example.org/mlflow/")
    StudyIdsFile(runs_dir, tracking.experiment, "depth", server.uri).write(ids)
    assert comparison_address(server, runs_dir, "depth", LABELS).startswith(
        "https://example.org/mlflow/#/compare-runs?runs=%5B%22"
    )


class Killed(BaseException):
    """Nothing that runs catches it, as nothing catches a kill."""


@pytest.mark.long
@pytest.mark.parametrize("writes", cases({"before the study's id": 1, "before a row's": 2, "before the next row's": 3}))
def test_kills_before_ids_are_written_double_nothing(tracking, runs_dir, client, monkeypatch, writes):
    write, count = StudyIdsFile.write, 0

    def killed_at(file, ids):
        nonlocal count
        count += 1
        if count > writes:
            raise Killed
        write(file, ids)

    monkeypatch.setattr(StudyIdsFile, "write", killed_at)
    with pytest.raises(Killed):
        close_study(tracking, runs_dir, "depth", MEASURED)
    monkeypatch.undo()
    rows = closed(tracking, runs_dir, MEASURED)
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    shown = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in shown) == sorted(["depth", *LABELS])
    assert set(rows.values()) < {run.info.run_id for run in shown}
