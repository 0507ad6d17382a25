"""`trainer.max_epochs` raised: the command goes on from a finished run whose state was kept, or says why it does not."""

import re
from pathlib import Path

import pytest

from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.training.checkpoints import network_weights, read
from fer_ablate.training.continuing import continued_state

from ..training.small_runs import same

KEPT = ("name=conv4", "trainer.save_last=true")
TIMED = ("seconds", "seconds_per_epoch", "finished_at", "peak_memory_mb")


def runs_of(runs):
    """The runs below a folder by their `trainer.max_epochs`, label and seed."""
    folders = [RunFolder(path.parent) for path in Path(runs).glob("*/*/run.json")]
    return {(one.header.settings["trainer.max_epochs"], one.header.name, one.header.seed): one for one in folders}


def assert_equal(one, other):
    """Two runs are the same, save for names and times."""
    first, second = ({**run.result.to_json(), **dict.fromkeys((*TIMED, "name"))} for run in (one, other))
    assert first == second
    weights = [network_weights(read(run.best_checkpoint)) for run in (one, other)]
    assert same(*weights)
    assert (one.predictions.probabilities == other.predictions.probabilities).all()
    histories = [
        [{name: row[name] for name in row if name not in ("seconds", "time_ms")} for row in run.history] for run in (one, other)
    ]
    assert histories[0] == histories[1]


def epochs_in(printed):
    return re.findall(r" epoch (\d+/\d+)", printed.out)


@pytest.mark.long
def test_more_epochs_continue_a_finished_run(typed, small, tmp_path):
    assert typed(*small, *KEPT, "trainer.max_epochs=1").code == 0
    runs = tmp_path / "runs"
    (first,) = runs_of(runs).values()
    assert first.last_checkpoint.is_file()
    printed = typed(*small, "name=conv4", "trainer.max_epochs=2")
    assert (printed.code, printed.err) == (0, "")
    assert f"continues  from epoch 1 of {first.path.name}" in printed.out
    assert epochs_in(printed) == ["2/2"]
    longer = runs_of(runs)[2, "conv4", 0]
    assert (longer.header.continued_from, longer.header.continued_after) == (first.header.key, 1)
    assert [row["epoch"] for row in longer.history] == [1, 2]
    assert not longer.last_checkpoint.exists()
    # Typed again without the key, a finished run keeps what it was trained to keep.
    assert "nothing to train" in typed(*small, "name=conv4", "trainer.max_epochs=1").out
    assert "nothing to delete" in typed("clean", f"runs_dir={runs}").out
    assert "states" in typed("clean", f"runs_dir={runs}", "what=states", "yes=true").out
    assert not first.last_checkpoint.exists()
    note = "note: Its last.ckpt was not kept when it was trained, so no run with more epochs can continue it."
    assert note in typed(*small, *KEPT, "trainer.max_epochs=1").out


@pytest.mark.long
@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("trainer.save_last=false", "trainer.save_last=true would have let this run continue it"),
        pytest.param("optimizer.lr=0.01", "this one starts anew: optimizer.lr 0.001 -> 0.01", marks=pytest.mark.slow),
        pytest.param("scheduler=onecycle", "this one starts anew: scheduler.", marks=pytest.mark.slow),
    ],
)
def test_a_run_says_why_it_starts_anew(typed, small, finished, word, reason):
    name = RunFolder(finished).header.name
    printed = typed(*small, f"name='{name}'", "trainer.max_epochs=2", word)
    assert f"note: {name} with 1 epoch is finished; {reason}" in printed.out
    assert epochs_in(printed) == ["1/2", "2/2"]


RECIPES = {
    "plateau, averaged weights": (
        "scheduler=plateau",
        "scheduler.patience=0",
        "scheduler.threshold=0.5",
        "trainer.ema_decay=0.9",
    ),
    "stopped early": ("optimizer.lr=0", "model.norm=none", "trainer.early_stopping.patience=1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_continued_files_equal_those_of_unbroken_runs(typed, small, tmp_path, recipe):
    words = [*small, *KEPT, *recipe]
    for epochs in (3, 5):
        assert typed(*words, f"trainer.max_epochs={epochs}").code == 0
    assert typed(*words, "trainer.max_epochs=5", f"runs_dir={tmp_path / 'whole'}").code == 0
    continued, whole = (runs_of(tmp_path / name)[5, "conv4", 0] for name in ("runs", "whole"))
    assert continued.header.continued_from
    assert not whole.header.continued_from
    assert_equal(continued, whole)


@pytest.mark.slow
def test_a_study_with_more_epochs_is_continued(typed, typed_small, tmp_path):
    file = tmp_path / "conf" / "study" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    rows = "rows: [{label: all}, {label: less, overrides: [model.conv_layers=4]}, {label: cosine, overrides: [scheduler=cosine]}]"
    words = [word for word in typed_small if word != "tracking=none"]
    file.write_text(f"base: [{', '.join(words)}, trainer.max_epochs=2, trainer.save_last=true]\nseeds: [0, 1]\n{rows}\n")
    runs = tmp_path / "runs"
    study = ("--config-dir", str(file.parents[1]), "study=tiny", f"runs_dir={runs}", "trainer.num_threads=1")
    assert typed("-m", *study).code == 0
    file.write_text(file.read_text().replace("max_epochs=2", "max_epochs=3"))
    planned = typed("plan", *study)
    assert planned.out.count("continues from epoch 2 of ") == 4
    assert "6 runs: 4 missing, 2 stale" in planned.out
    assert "this one starts anew, since scheduler=cosine is stretched over all epochs" in planned.out
    kept = typed("clean", *study, "what=stale,states")
    assert kept.out.count("which is not finished, continues it") == 4
    printed = typed("-m", *study)
    assert printed.code == 0, printed.err
    assert "4 runs from the last epoch of a shorter one" in printed.out
    longer = runs_of(runs)
    assert typed("-m", *study[:-2], f"runs_dir={tmp_path / 'whole'}", study[-1]).code == 0
    for name, whole in runs_of(tmp_path / "whole").items():
        assert bool(longer[name].header.continued_from) == (name[1] != "cosine")
        assert_equal(longer[name], whole)
    header = longer[3, "less", 1].header
    tags = open_store(header.mlflow_uri, header.experiment, str(runs), 60).client.get_run(header.mlflow_run_id).data.tags
    assert (tags["continued_from"], tags["continued_after"]) == (longer[2, "less", 1].header.key, "2")


@pytest.mark.slow
def test_a_damaged_state_is_named_and_not_used(typed, small, tmp_path):
    assert typed(*small, *KEPT, "trainer.max_epochs=1").code == 0
    (first,) = runs_of(tmp_path / "runs").values()
    first.last_checkpoint.write_bytes(b"half")
    printed = typed(*small, *KEPT, "trainer.max_epochs=2")
    assert printed.code == 0, printed.err
    assert "It is trained from its first epoch: the state of" in printed.out
    assert "last.ckpt: truncated" in printed.out
    assert epochs_in(printed) == ["1/2", "2/2"]
    assert not runs_of(tmp_path / "runs")[2, "conv4", 0].header.continued_from


@pytest.mark.slow
def test_an_interrupted_run_remembers_where_it_began(typed, small, tmp_path, monkeypatch):
    from fer_ablate.execution import one_run

    assert typed(*small, *KEPT, "trainer.max_epochs=1").code == 0
    (first,) = runs_of(tmp_path / "runs").values()
    monkeypatch.setattr(one_run, "assess", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    typed(*small, *KEPT, "trainer.max_epochs=2")
    monkeypatch.undo()
    monkeypatch.setenv("FER_ABLATE_CACHE", str(tmp_path))
    longer = runs_of(tmp_path / "runs")[2, "conv4", 0]
    assert continued_state(longer.checkpoints) is None  # it has the state of an epoch of its own
    printed = typed(*small, *KEPT, "trainer.max_epochs=2")
    assert "resumes   after epoch 2" in printed.out
    assert longer.header.continued_from == first.header.key


@pytest.mark.slow
def test_several_processes_continue_together(typed, small, tmp_path):
    words = [*small, *KEPT, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.batch_size=32"]
    assert typed(*words, "trainer.max_epochs=1").code == 0
    assert typed(*words, "trainer.max_epochs=2").code == 0
    assert typed(*words, "trainer.max_epochs=2", f"runs_dir={tmp_path / 'whole'}").code == 0
    longer = runs_of(tmp_path / "runs")[2, "conv4", 0]
    assert longer.header.continued_after == 1
    assert_equal(longer, runs_of(tmp_path / "whole")[2, "conv4", 0])


@pytest.mark.parametrize(("config", "listed"), [("trainer:\n  save_last: true\n", "states"), ("trainer: {}\n", "leftovers")])
def test_states_kept_on_purpose_are_no_leftovers(typed, finished, config, listed):
    folder = RunFolder(finished)
    folder.write_config(config)
    folder.last_checkpoint.write_bytes(b"state")
    for kind in ("states", "leftovers"):
        assert (kind == listed) == (
            "nothing to delete" not in typed("clean", f"runs_dir={finished.parents[1]}", f"what={kind}").out
        )
