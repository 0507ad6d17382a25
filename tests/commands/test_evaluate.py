"""Finished weights tested again, and checkpoints that must be refused."""

import json
import pickle

import pytest
import torch

from .folders_of_faces import OTHER_NAMES, drawn_faces, write_folder

TEST = {"PrivateTest": "."}


@pytest.fixture
def faces(small_run, cache_dir):
    return drawn_faces(small_run, cache_dir)


def runs_dir(finished):
    return f"runs_dir={finished.parents[1]}"


def table(out, metric):
    return next(line.split()[1:] for line in out.splitlines() if line.startswith(metric))


def changed_checkpoint(finished, path, **changes):
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["fer_ablate"] |= changes
    torch.save(checkpoint, path)
    return path


def test_the_same_test_gives_the_same_scores(typed, finished):
    stored = json.loads((finished / "result.json").read_text())["splits"]
    printed = typed("evaluate", f"run={finished.name.rpartition('-')[2][:6]}", runs_dir(finished))
    assert printed.code == 0, printed.err
    assert table(printed.out, "acc") == [f"{stored[name]['metrics']['acc']:.4f}" for name in ("val", "test", "public", "private")]
    kept = json.loads(next((finished / "evaluations").iterdir()).read_text())
    assert kept["splits"]["test"]["confusion"] == stored["test"]["confusion"]


@pytest.mark.long
def test_swapped_roles_swap_val_and_test(typed, finished):
    official = table(typed("evaluate", f"run={finished}").out, "loss")
    swapped = typed("evaluate", f"run={finished}", "data.roles=swapped").out
    assert table(swapped, "loss") == [official[1], official[0], *official[2:]]
    assert "70 of 70 test images were val in training and chose the best epoch" in swapped


def test_a_run_of_other_hardware_is_tested(typed, finished, tmp_path):
    stored = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)["fer_ablate"]["config"]
    elsewhere = stored.replace("accelerator: cpu", "accelerator: gpu").replace("devices: 1", "devices: 64")
    assert elsewhere != stored
    path = changed_checkpoint(finished, tmp_path / "far.ckpt", config=elsewhere)
    assert typed("evaluate", f"ckpt={path}").code == 0


def test_mirrored_views_change_the_scores(typed, finished):
    plain = typed("evaluate", f"run={finished}")
    flipped = typed("evaluate", f"run={finished}", "evaluation.tta=flip")
    assert flipped.code == 0
    assert table(plain.out, "loss") != table(flipped.out, "loss")


def evaluated(typed, finished, *words):
    """What is kept of an evaluation, and what was printed."""
    printed = typed("evaluate", f"run={finished}", *words)
    assert printed.code == 0, printed.err
    return json.loads(max((finished / "evaluations").iterdir()).read_text()), printed.out


def stored(finished, split="test"):
    return json.loads((finished / "result.json").read_text())["splits"][split]


@pytest.mark.long
def test_renamed_and_reordered_folders_score_the_same(typed, finished, faces, tmp_path):
    splits = {"Training": "Train", "PublicTest": "validation", "PrivateTest": "TEST"}
    folder = write_folder(faces, tmp_path / "renamed", splits)
    kept, out = evaluated(typed, finished, "data=folder", f"data.path={folder}")
    for split in ("val", "test"):
        assert kept["splits"][split]["confusion"] == stored(finished, split)["confusion"]
        assert kept["splits"][split]["metrics"] == pytest.approx(stored(finished, split)["metrics"])
    assert kept["data"]["trained_on"] is False
    assert kept["data"]["path"] == str(folder)
    assert "These are other images than the network was trained on; they are read as 48x48 gray, as those were." in out


@pytest.mark.slow
def test_a_folder_without_splits_is_tested_whole(typed, finished, faces, tmp_path):
    folder = write_folder(faces, tmp_path / "seen", {"Training": "."})
    kept, out = evaluated(typed, finished, "data=folder", f"data.path={folder}")
    assert {split: scores["n"] for split, scores in kept["splits"].items()} == {"test": 140}
    assert (kept["protocol"]["roles"], kept["data"]["tested"]) == ("all images", "all images")
    assert "The set has no test split: all of it is tested (140 images)." in out
    assert "The network was trained on the very pixels of 140 of 140 test images" in out


def test_classes_of_one_side_only_are_reported(typed, finished, faces, tmp_path):
    names = {**OTHER_NAMES, "sad": "bored"}
    del names["happy"]
    folder = write_folder(faces, tmp_path / "bored", TEST, names)
    kept, out = evaluated(typed, finished, "data=folder", f"data.path={folder}")
    count = stored(finished)["per_class"]["sad"]["support"]
    assert (kept["data"]["left_out"], kept["data"]["missing"]) == ({"bored": count}, ["happy", "sad"])
    assert f"images of bored ({count:.0f})." in out
    assert "No tested image is of happy, sad" in out
    # Outputs for happy and sad stay, as mistakes.
    gone = [faces.classes.index(name) for name in ("happy", "sad")]
    before, after = stored(finished)["confusion"], kept["splits"]["test"]["confusion"]
    assert after == [[0] * 7 if row in gone else counts for row, counts in enumerate(before)]


def test_data_of_other_classes_are_refused(typed, finished, faces, tmp_path):
    folder = write_folder(faces, tmp_path / "pets", TEST, {"happy": "cat", "sad": "dog"})
    printed = typed("evaluate", f"run={finished}", "data=folder", f"data.path={folder}")
    assert printed.code == 1
    assert "share no class" in printed.err
    assert "knows angry, disgust" in printed.err
    assert "the data has cat, dog" in printed.err


def test_merged_names_are_matched(typed, finished, faces, tmp_path):
    folder = write_folder(faces, tmp_path / "pets", TEST, {"happy": "cat", "sad": "dog"})
    merge = "data.merge={happiness: [cat], Sad: [dog]}"
    kept, _ = evaluated(typed, finished, "data=folder", f"data.path={folder}", merge)
    before = stored(finished)["confusion"]
    known = [faces.classes.index(name) for name in ("happy", "sad")]
    assert kept["splits"]["test"]["confusion"] == [counts if row in known else [0] * 7 for row, counts in enumerate(before)]


@pytest.mark.long
def test_other_sizes_and_colours_are_converted(typed, finished, faces, tmp_path):
    folder = write_folder(faces, tmp_path / "large", TEST, change=lambda image: image.resize((96, 96)).convert("RGB"))
    kept, out = evaluated(typed, finished, "data=folder", f"data.path={folder}")
    assert (kept["data"]["size"], kept["data"]["channels"]) == ([48, 48], 1)
    assert "70 of 70 images were brought to 48x48" in out
    assert kept["splits"]["test"]["metrics"]["acc"] == pytest.approx(stored(finished)["metrics"]["acc"], abs=0.2)


def test_several_networks_are_for_another_verb(typed, finished):
    assert "`across run=... run=... data=...` tests several" in typed("evaluate", f"run={finished}", f"run={finished}").err


@pytest.fixture
def merged_run(typed, small, faces, tmp_path):
    """A network of two joined classes, trained on a folder without splits, of which a part was drawn as test."""
    folder = write_folder(faces, tmp_path / "all", {"Training": "."})
    merge = "data.merge={positive: [happy, surprise], negative: [angry, fear, sad]}"
    words = ("data=folder", f"data.path={folder}", merge, "trainer.max_epochs=1")
    assert typed(*[word for word in small if not word.startswith("data.synthetic")], *words).code == 0
    return next((tmp_path / "runs" / "fer_ablate").iterdir()), folder


@pytest.mark.slow
def test_the_training_data_keep_their_drawn_test_role(typed, merged_run):
    run, folder = merged_run
    kept, out = evaluated(typed, run, "data=folder", f"data.path={folder}")
    assert kept["data"]["trained_on"] is True
    assert kept["splits"]["test"]["confusion"] == stored(run)["confusion"]
    assert "very pixels" not in out
    assert "The network was trained on" in typed("evaluate", f"run={run}", "data.split_seed=1").out


@pytest.mark.slow
def test_joined_classes_are_tested_on_single_ones(typed, merged_run, faces, tmp_path):
    run, _ = merged_run
    names = {name: given for name, given in OTHER_NAMES.items() if name != "fear"}
    folder = write_folder(faces, tmp_path / "single", TEST, names)
    for words in (["data=folder"], []):  # the second keeps the other keys of the training
        kept, _ = evaluated(typed, run, *words, f"data.path={folder}")
        assert kept["data"]["classes"] == {
            "angry": "negative",
            "happy": "positive",
            "sad": "negative",
            "surprise": "positive",
        }
        assert set(kept["data"]["left_out"]) == {"disgust", "neutral"}
        supports = kept["splits"]["test"]["per_class"]
        assert (supports["positive"]["support"], supports["negative"]["support"]) == (
            (faces.labels[faces.split_rows("PrivateTest")][:, None] == [3, 5]).sum(),
            (faces.labels[faces.split_rows("PrivateTest")][:, None] == [0, 4]).sum(),
        )


REFUSED = {
    "what was settled by training": (["optimizer.lr=0.1"], "optimizer.lr: was settled when the run was trained"),
    "an unknown key": (["evaluation.tt=flip"], "Did you mean 'evaluation.tta'?"),
    "several values": (["evaluation.tta=flip,none"], "evaluation.tta: flip,none is several values"),
    "crops the network cannot take": (["evaluation.tta=ten_crop", "evaluation.crop=4"], "shrink to nothing"),
    "crops larger than the image": (["evaluation.crop=60"], "crop is larger than the 48x48 images"),
    "draws from data that were not trained on": (
        ["data.synthetic.seed=9", "data.folds=5", "data.fold=1"],
        "data.folds, data.fold: nothing is drawn from data that the network was not trained on",
    ),
    "data that is not there": (["data=folder", "data.path=/nowhere"], "/nowhere is not a folder"),
}


def test_an_onnx_file_is_for_predict(typed, tmp_path):
    printed = typed("evaluate", f"ckpt={tmp_path / 'model.onnx'}")
    assert (printed.code, "which `predict` alone can use" in printed.err) == (1, True)


@pytest.mark.long
@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_change_is_refused(typed, finished, words, answer):
    printed = typed("evaluate", f"run={finished}", *words)
    assert printed.code == 1
    assert answer in printed.err


def test_an_unknown_run_is_answered_with_known_ones(typed, finished, tmp_path):
    assert finished.name in typed("evaluate", "run=nosuch", runs_dir(finished)).err
    assert "There are no runs in" in typed("evaluate", "run=nosuch", f"runs_dir={tmp_path / 'none'}").err
    assert "Did you mean 'run'?" in typed("evaluate", "rnu=ab12").err
    assert "Give either run=<id> or ckpt=<file>" in typed("evaluate", "evaluation.tta=flip").err


def test_a_damaged_run_does_not_hide_the_others(typed, finished):
    damaged = finished.with_name("damaged")
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    key = finished.name.rpartition("-")[2]
    assert typed("evaluate", f"run={key}", runs_dir(finished)).code == 0
    assert f"{damaged / 'run.json'} is damaged" in typed("evaluate", "run=nosuch", runs_dir(finished)).err


def test_an_unfinished_run_is_not_evaluated(typed, finished):
    (finished / "result.json").unlink()
    assert "is not finished. Start its command again" in typed("evaluate", f"run={finished}").err


def test_a_truncated_checkpoint_is_named(typed, finished, tmp_path):
    whole = (finished / "checkpoints" / "best.ckpt").read_bytes()
    for size in (0, 10, 5000):
        (tmp_path / "cut.ckpt").write_bytes(whole[:size])
        printed = typed("evaluate", f"ckpt={tmp_path / 'cut.ckpt'}")
        assert printed.code == 1
        assert str(tmp_path / "cut.ckpt") in printed.err
        assert "truncated" in printed.err or "damaged" in printed.err


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save], ids=["pickle", "torch"])
def test_code_in_a_checkpoint_does_not_run(typed, tmp_path, save):
    save(Code(tmp_path / "it ran"), tmp_path / "evil.ckpt")
    printed = typed("evaluate", f"ckpt={tmp_path / 'evil.ckpt'}")
    assert printed.code == 1
    assert "refused, because it holds Python objects" in printed.err
    assert not (tmp_path / "it ran").exists()


def test_a_checkpoint_of_something_else_is_refused(typed, finished, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "not one of fer_ablate" in typed("evaluate", f"ckpt={tmp_path / 'other.ckpt'}").err
    config = (finished / "config.yaml").read_text()
    wider = changed_checkpoint(finished, tmp_path / "wider.ckpt", config=config.replace("width: 0.25", "width: 0.5"))
    assert "belong to another network" in typed("evaluate", f"ckpt={wider}").err
    later = changed_checkpoint(finished, tmp_path / "later.ckpt", config=config + "invented: 1\n")
    assert "its config does not fit this version" in typed("evaluate", f"ckpt={later}").err
