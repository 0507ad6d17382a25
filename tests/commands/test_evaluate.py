"""Finished weights tested again, and checkpoints that must be refused."""

import json
import pickle

import pytest
import torch


def runs_dir(finished):
    return f"runs_dir={finished.parents[1]}"


def table(out, metric):
    return next(line.split()[1:] for line in out.splitlines() if line.startswith(metric))


def changed_checkpoint(finished, path, **changes):
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["fer_ablate"] |= changes
    torch.save(checkpoint, path)
    return path


def test_the_same_again_gives_the_same_and_is_kept(typed, finished):
    stored = json.loads((finished / "result.json").read_text())["splits"]
    printed = typed("evaluate", f"run={finished.name.rpartition('-')[2][:6]}", runs_dir(finished))
    assert (printed.code, printed.err) == (0, "")
    assert table(printed.out, "acc") == [f"{stored[name]['metrics']['acc']:.4f}" for name in ("val", "test", "public", "private")]
    kept = json.loads(next((finished / "evaluations").iterdir()).read_text())
    assert kept["splits"]["test"]["confusion"] == stored["test"]["confusion"]


def test_swapped_roles_swap_val_and_test(typed, finished):
    official = table(typed("evaluate", f"run={finished}").out, "loss")
    swapped = table(typed("evaluate", f"run={finished}", "data.roles=swapped").out, "loss")
    assert swapped == [official[1], official[0], *official[2:]]


def test_a_run_trained_on_other_hardware_is_tested_on_this(typed, finished, tmp_path):
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


REFUSED = {
    "what was settled by training": (["optimizer.lr=0.1"], "optimizer.lr: was settled when the run was trained"),
    "an unknown key": (["evaluation.tt=flip"], "Did you mean 'evaluation.tta'?"),
    "several values": (["evaluation.tta=flip,none"], "evaluation.tta: flip,none is several values"),
    "crops the network cannot take": (["evaluation.tta=ten_crop", "evaluation.crop=40"], "trained on 48x48 images"),
    "crops larger than the image": (["evaluation.crop=60"], "crop is larger than the 48x48 images"),
    "data that is not there": (["data=folder", "data.path=/nowhere"], "/nowhere is not a folder"),
}


@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_change_is_refused(typed, finished, words, answer):
    printed = typed("evaluate", f"run={finished}", *words)
    assert printed.code == 1
    assert answer in printed.err


def test_a_run_that_does_not_exist_is_answered_with_those_that_do(typed, finished, tmp_path):
    assert finished.name in typed("evaluate", "run=nosuch", runs_dir(finished)).err
    assert "There are no runs in" in typed("evaluate", "run=nosuch", f"runs_dir={tmp_path / 'none'}").err
    assert "Give either run=<id> or ckpt=<file>" in typed("evaluate", "rnu=ab12").err


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
def test_code_in_a_checkpoint_is_refused_and_does_not_run(typed, tmp_path, save):
    save(Code(tmp_path / "it ran"), tmp_path / "evil.ckpt")
    printed = typed("evaluate", f"ckpt={tmp_path / 'evil.ckpt'}")
    assert printed.code == 1
    assert "refused, because it holds Python objects" in printed.err
    assert not (tmp_path / "it ran").exists()


def test_a_checkpoint_of_something_else_is_refused(typed, finished, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "not one of fer_ablate" in typed("evaluate", f"ckpt={tmp_path / 'other.ckpt'}").err
    config = (finished / "config.yaml").read_text()
    wider = changed_checkpoint(finished, tmp_path / "wider.ckpt", config=config.replace("width: 0.125", "width: 0.25"))
    assert "belong to another network" in typed("evaluate", f"ckpt={wider}").err
    later = changed_checkpoint(finished, tmp_path / "later.ckpt", config=config + "invented: 1\n")
    assert "its config is not one of this version" in typed("evaluate", f"ckpt={later}").err
