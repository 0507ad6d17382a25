import subprocess
import sys
from dataclasses import replace

import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.mlflow.connection import open_store

from ..finished_runs import epoch_metrics, fill, make_header, make_result


def opened(uri, runs_dir, experiment="depth"):
    return open_store(uri, experiment, str(runs_dir), timeout=5)


def recorded(store, run_id):
    """Everything MLflow knows about a run, in comparable form."""
    run = store.client.get_run(run_id)
    history = {key: store.client.get_metric_history(run_id, key) for key in run.data.metrics}
    steps = {key: [(m.step, m.timestamp, m.value) for m in metrics] for key, metrics in history.items()}
    files = sorted(file.path for file in store.client.list_artifacts(run_id))
    return run.info.status, run.info.end_time, run.data.params, run.data.tags, steps, files, len(run.inputs.dataset_inputs)


def test_a_database_is_made_whole(uri, runs_dir):
    opened(uri, runs_dir)
    assert sorted(file.name for file in runs_dir.glob("*mlflow.db*")) == ["mlflow.db", "mlflow.db.lock"]


def test_an_upload_leaves_a_run_started_meanwhile(folder, uri, runs_dir, monkeypatch):
    store = opened(uri, runs_dir)
    start = store.start_run

    def start_meanwhile(*arguments):
        run_id = start(*arguments)
        folder.write_header(replace(folder.header, attempt="of another process"))
        return run_id

    monkeypatch.setattr(store, "start_run", start_meanwhile)
    run_id = store.upload(fill(folder))
    assert (folder.header.attempt, folder.header.mlflow_run_id) == ("of another process", None)
    assert store.client.get_run(run_id).info.status == "RUNNING"


def test_a_locked_run_keeps_its_header(folder, monkeypatch):
    monkeypatch.setattr("fer_ablate.tracking.disk.run_folder.LOCK_SECONDS", 0.01)
    header = fill(folder).header
    with folder.lock():
        assert not folder.replace_header(header, replace(header, attempt="later"))
    assert folder.header == header


def test_a_second_upload_changes_nothing(folder, uri, runs_dir):
    store = opened(uri, runs_dir)
    run_id = store.upload(fill(folder))
    first = status, ended, params, tags, steps, files, inputs = recorded(store, run_id)
    assert (status, ended, inputs) == ("FINISHED", 1767323105000, 1)
    assert params == {"model.conv_layers": "4", "seed": "3", "model.stages": '[{"channels": 64}]'}
    assert steps["val/acc"] == [(1, 1000, 0.1), (2, 2000, 0.2), (3, 3000, pytest.approx(0.3))]
    assert steps["test/acc"] == steps["public/acc"] == steps["val_kept/acc"] == [(2, 1767323105000, 0.75)]
    assert [steps[f"run/{name}"][0][2] for name in ("parameters", "macs", "seconds", "peak_memory_mb")] == [1234, 5678, 12.5, 512]
    assert files == ["config.yaml", "metrics.csv", "predictions.npz", "result.json", "run.json"]
    assert (tags["changed"], tags["seed"], tags["environment/torch"]) == ("model.conv_layers=4", "3", "2.13.0")
    assert store.upload(folder) == run_id
    assert recorded(store, run_id) == first


def test_curves_and_final_scores_have_different_names(folder, uri, runs_dir):
    fill(folder)
    result = make_result()
    scores = result.splits["test"]
    folder.write_result(replace(result, splits={"train": scores, **result.splits, "test_pooled": scores}))
    store = opened(uri, runs_dir)
    steps = recorded(store, store.upload(folder))[4]
    assert [step for step, _, _ in steps["train/loss"]] == [step for step, _, _ in steps["val/loss"]] == [1, 2, 3]
    finals = [steps[f"{split}/loss"] for split in ("train_kept", "val_kept", "test_pooled")]
    assert finals == [[(2, 1767323105000, 0.5)]] * 3


def test_dataset_and_artifacts_are_where_they_belong(folder, uri, runs_dir):
    store = opened(uri, runs_dir, "study/table1")
    fill(folder).sheets.mkdir()
    (folder.sheets / "classes.png").write_bytes(b"a contact sheet")
    run = store.client.get_run(store.upload(folder))
    (sheet,) = store.client.list_artifacts(run.info.run_id, "contact_sheets")
    assert sheet.path == "contact_sheets/classes.png"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("synthetic", "d" * 36)
    assert run.info.artifact_uri.startswith((runs_dir / "artifacts" / "study_table1").as_uri())
    assert run.info.run_name == "4 layers"
    assert run.info.start_time == 1767323045000


def test_a_resumed_run_continues_its_mlflow_run(folder, uri, runs_dir):
    store = opened(uri, runs_dir)
    header = make_header()
    header.mlflow_run_id = store.start_run(header, "trainer: {devices: 1}")
    folder.append_epoch(1, epoch_metrics(1), 1000)
    store.catch_up(header.mlflow_run_id, folder)
    store.client.set_terminated(header.mlflow_run_id, "KILLED")
    assert store.start_run(header, "trainer: {devices: 2}") == header.mlflow_run_id
    assert store.client.get_run(header.mlflow_run_id).info.status == "RUNNING"
    for epoch in (1, 2):
        folder.append_epoch(epoch, epoch_metrics(epoch), 5000 + epoch)
    assert store.catch_up(header.mlflow_run_id, folder) == {1, 2}
    assert [step for step, _, _ in recorded(store, header.mlflow_run_id)[4]["val/loss"]] == [1, 2]


def test_a_long_history_is_caught_up_whole(folder, uri, runs_dir):
    store = opened(uri, runs_dir)
    rows = "".join(f"{epoch},{epoch},1,0.1,0.5,0.5\n" for epoch in range(1, 401))
    folder.path.mkdir()
    folder.metrics_file.write_text("epoch,time_ms,seconds,lr,val/acc,val/loss\n" + rows)
    run_id = store.start_run(make_header(), "")
    assert store.catch_up(run_id, folder) == set(range(1, 401))
    for name in ("epoch/seconds", "val/loss"):
        assert [metric.step for metric in store.client.get_metric_history(run_id, name)] == list(range(1, 401))


def test_an_unknown_or_deleted_run_is_created_again(uri, runs_dir):
    store = opened(uri, runs_dir)
    header = make_header()
    header.mlflow_run_id = "0" * 32
    first = store.start_run(header, "")
    store.client.delete_run(first)
    header.mlflow_run_id = first
    assert len({first, store.start_run(header, ""), "0" * 32}) == 3


def test_a_config_beyond_mlflows_limits_is_recorded(folder, uri, runs_dir):
    leaves = "".join(f"key{i}: {i}\n" for i in range(250)) + f"long: {'x' * 9000}\n"
    store = opened(uri, runs_dir)
    params = store.client.get_run(store.upload(fill(folder, leaves))).data.params
    assert len(params) == 252  # and model.conv_layers, which was changed
    assert len(params["long"]) == 6000


def test_a_deleted_experiment_is_named_with_remedy(uri, runs_dir):
    store = opened(uri, runs_dir, "gone")
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match=r"'gone' was deleted in sqlite.*tracking\.experiment="):
        opened(uri, runs_dir, "gone")


def test_a_run_without_stored_id_is_found_again(uri, runs_dir):
    store, header = opened(uri, runs_dir), make_header(attempt="one")
    first = store.start_run(header, "")
    assert store.start_run(header, "") == first  # the header was never written with the id
    assert store.start_run(replace(header, attempt="two"), "") != first  # trained anew
    assert store.start_run(header, "", copy=True) != first


@pytest.mark.slow
def test_processes_share_one_new_database_quietly(tmp_path):
    code = "import sys; from fer_ablate.tracking.mlflow.connection import open_store\n"
    code += "print(open_store(sys.argv[1], 'depth', sys.argv[2], 5).experiment_id)"
    command = [sys.executable, "-W", "default", "-c", code, f"sqlite:///{tmp_path}/new/mlflow.db", str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert outputs == [("1\n", "")] * 3
