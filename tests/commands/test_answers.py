"""What a command line may say, and how a wrong one is answered; nothing is trained."""

import pytest

FAULTS = {
    "an unknown key": (["modle=pisa"], "modle: there is no such key or group.\n    Did you mean 'model'?"),
    "a key one level too high": (["lr=0.1"], "Did you mean 'optimizer.lr'?"),
    "an unknown choice of a group": (["optimizer=adm"], "Did you mean 'adam'?"),
    "a value out of bounds beside it": (["optimizer=adm", "model.conv_layers=9"], "Give 0 to 5, or list more in model.stages."),
    "an argument the optimizer does not take": (["optimizer=sgd", "+optimizer.momentun=0.9"], "Did you mean 'momentum'?"),
    "a negative learning rate": (["optimizer.lr=-1"], "optimizer.lr: -1"),
    "a map that shrinks to nothing": (["model=pisa", "model.stages.0.pool_kernel=50"], "pool_kernel 50 on a 48x48 map"),
    "more layers than listed": (["model=pisa", "model.conv_layers=9"], "9, but model.stages lists only 6"),
    "a crop larger than the image": (["evaluation.tta=ten_crop", "evaluation.crop=60"], "crop is larger than the 48x48 images"),
    "ten crops of the whole image": (["evaluation.tta=ten_crop"], "Set evaluation.crop below 48"),
    "a word instead of a number": (["trainer.max_epochs=many"], "trainer.max_epochs: many does not fit"),
    "data that was never named": (["data=fer2013"], "pass data.path=..., or set FER_ABLATE_DATA"),
    "a data path that is not there": (["data=fer2013", "data.path=/nowhere"], "fer2013.csv not found in /nowhere"),
    "several values without -m": (["seed=0,1"], "Add -m for a grid of runs"),
    "no address of a tracking server": (["tracking.uri=runs"], "tracking.uri: 'runs' is not an address"),
    "an unknown flag": (["--fast"], "--fast: no such flag"),
    "a folder of configs that is not there": (["--config-dir", "/nowhere"], "--config-dir /nowhere: there is no such folder"),
    "an unknown verb": (["trian"], "Did you mean 'train'?"),
}


@pytest.mark.parametrize(("words", "answer"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_answered_before_anything_is_written(typed, tmp_path, words, answer):
    printed = typed(*words, f"runs_dir={tmp_path / 'runs'}")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("fer_ablate: ")
    assert answer in printed.err
    assert not (tmp_path / "runs").exists()


def test_all_faults_of_a_grid_come_together(typed):
    printed = typed("-m", "model=pisa,lenet", "optimizer.lr=0.1", "seeed=1", "trainer.batch_size=0")
    assert printed.code == 1
    assert all(answer in printed.err for answer in ("'lenet'", "seeed", "trainer.batch_size: 0 is below 2"))


def test_unreadable_data_is_named(typed, tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "cut.csv.xz").write_bytes(b"\xfd7zXZ\x00\x00\x04")
    (tmp_path / "folder").mkdir()
    given = {"empty.csv": "is empty", "cut.csv.xz": "is damaged or cut short", "folder": "fer2013.csv not found in"}
    for name, answer in given.items():
        printed = typed("data", "data=fer2013", f"data.path={tmp_path / name}")
        assert printed.code == 1
        assert str(tmp_path / name) in printed.err
        assert answer in printed.err
    assert "no images below it" in typed("data", "data=folder", f"data.path={tmp_path / 'folder'}").err


@pytest.mark.parametrize("verb", ["train", "evaluate", "describe", "data", "bench", "sync"])
def test_every_verb_has_help(typed, verb):
    printed = typed(verb, "--help")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith(f"{verb}: ")
    assert "python -m fer_ablate" in printed.out


def test_the_composed_config_is_shown_without_running(typed, tmp_path):
    printed = typed("--cfg", "job", "seed=3", f"runs_dir={tmp_path / 'runs'}")
    assert (printed.code, printed.err) == (0, "")
    assert "seed: 3\n" in printed.out
    assert not (tmp_path / "runs").exists()


def test_describe_counts_the_parameters_of_the_paper(typed):
    printed = typed("describe", "model=pisa", "data=fer2013")  # the images are not needed
    assert printed.code == 0
    assert "1,027,559" in printed.out


def test_data_shows_how_to_drop_flawed_images(typed, small):
    printed = typed("data", *small)
    assert printed.code == 0
    assert "PrivateTest" in printed.out
    assert "data.drop=[duplicates_of_train,conflicts,blank]" in printed.out


@pytest.mark.slow
def test_bench_sets_training_against_the_ceiling(typed, small):
    assert "max_epochs of at least 2" in typed("bench", *small, "trainer.max_epochs=1").err
    assert "on one device" in typed("bench", *small, "trainer.max_epochs=2", "trainer.devices=2", "trainer=cpu").err
    assert "whole epochs" in typed("bench", *small, "trainer.max_epochs=2", "trainer.fast_dev_run=1").err
    printed = typed("bench", *small, "trainer.max_epochs=2")
    assert (printed.code, printed.err.replace("  measuring ...\n", "")) == (0, "")  # a slow machine prints that it is at work
    assert "training / ceiling" in printed.out


def test_a_network_of_ones_own_is_described(typed, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("stages: [{channels: 2}]\nhidden: []\n")
    printed = typed("describe", "--config-dir", str(tmp_path), "model=tiny")
    assert printed.code == 0
    assert "trainable parameters" in printed.out
    assert "tiny" in typed("describe", "--config-dir", str(tmp_path), "model=tny").err
