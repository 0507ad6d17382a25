"""Several networks on several data sets, as a person types it."""

import csv
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fer_ablate.commands.across import Column, _name

from .folders_of_faces import OTHER_NAMES, drawn_faces, write_folder

DRAWN = ("data=synthetic", "data.synthetic.train=140", "data.synthetic.val=70", "data.synthetic.test=70")


@pytest.fixture
def faces(small_run, cache_dir):
    return drawn_faces(small_run, cache_dir)


@pytest.fixture
def flat(faces, tmp_path):
    """The test images of the network's own data, without splits and under other names."""
    return write_folder(faces, tmp_path / "flat", {"PrivateTest": "."})


@pytest.fixture
def other(finished, tmp_path):
    """A second network: the first one with its outputs in another order and under another name, and without one of them."""
    path = tmp_path / "other.ckpt"
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    classes = json.loads(checkpoint["fer_ablate"]["classes"])
    order = [5, 4, 3, 2, 1, 0]  # neutral, the seventh, is not among them
    for name, values in checkpoint["state_dict"].items():
        if values.ndim and len(values) == len(classes):
            checkpoint["state_dict"][name] = values[order]
    checkpoint["fer_ablate"]["classes"] = json.dumps([OTHER_NAMES[classes[old]] for old in order])
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def across(typed, tmp_path):
    """Run the command; its cells by network and data, and what it printed."""

    def run(*words):
        printed = typed("across", *words, f"output={tmp_path / 'table'}")
        assert printed.code == 0, printed.err
        cells = json.loads((tmp_path / "table" / "across.json").read_text())["cells"]
        return {(cell["network"], cell["data"]): cell for cell in cells}, printed.out

    return run


def lines(tmp_path):
    with (tmp_path / "table" / "table.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_two_networks_on_two_data_sets(across, finished, other, flat, tmp_path):
    cells, out = across(f"run={finished}", f"ckpt={other}", *DRAWN, "title=own", "data=folder", f"data.path={flat}")
    label = json.loads((finished / "run.json").read_text())["name"]
    assert list(cells) == [(label, "own"), ("other", "own"), (label, "flat"), ("other", "flat")]
    before = json.loads((finished / "result.json").read_text())["splits"]["test"]
    for data in ("own", "flat"):
        assert cells[label, data]["test"]["confusion"] == before["confusion"]
    # The reordered network says the same of the classes that it knows.
    neutral = before["per_class"]["neutral"]["support"]
    assert cells["other", "flat"]["read"]["left_out"] == {"neutral": neutral}
    assert cells["other", "flat"]["test"]["n"] == 70 - neutral
    assert cells["other", "flat"]["difference"] is None
    assert "flat: not compared with" in out
    assert "Left out, since the network does not know their classes: images of neutral" in out
    assert [line["trained_on"] for line in lines(tmp_path)] == ["True", "False", "True", "False"]
    for ending in ("md", "tex", "html"):
        assert "flat" in (tmp_path / "table" / f"table.{ending}").read_text()


@pytest.mark.slow
def test_networks_are_compared_on_the_same_images(across, finished, faces, tmp_path, other):
    known = {name: given for name, given in OTHER_NAMES.items() if name != "neutral"}
    folder = write_folder(faces, tmp_path / "six", {"PrivateTest": "test"}, known)
    cells, out = across(f"ckpt={other}", f"run={finished}", "data=folder", f"data.path={folder}")
    difference = next(cell["difference"]["value"] for cell in cells.values() if cell["difference"])
    # Both have the same weights, but only the second may say neutral, which is a mistake here.
    predicted_neutral = sum(row[-1] for row in next(iter(reversed(cells.values())))["test"]["confusion"])
    assert -predicted_neutral / 60 <= difference <= 0
    assert "acc minus that of the first network, points" in out


def test_unknown_classes_leave_an_explained_gap(across, finished, flat, faces, tmp_path):
    pets = write_folder(faces, tmp_path / "pets", {"PrivateTest": "."}, {"happy": "cat", "sad": "dog"})
    cells, out = across(f"run={finished}", "data=folder", f"data.path={flat}", "data=folder", f"data.path={pets}")
    assert {data for _, data in cells} == {"flat"}
    assert [line["acc"] != "" for line in lines(tmp_path)] == [True, False]
    assert "pets: no score of" in out
    assert "share no class" in out


@pytest.mark.slow
def test_words_after_a_data_set_belong_to_it(across, finished, faces, tmp_path):
    folder = write_folder(faces, tmp_path / "both", {"PublicTest": "val", "PrivateTest": "test"})
    words = ("data=folder", f"data.path={folder}")
    cells, _ = across(f"run={finished}", *words, "data.roles=swapped", "title=swapped", *words)
    stored = json.loads((finished / "result.json").read_text())["splits"]
    found = {data: cell["test"]["confusion"] for (_, data), cell in cells.items()}
    assert found == {"swapped": stored["val"]["confusion"], "both": stored["test"]["confusion"]}


@pytest.mark.slow
def test_copies_of_a_run_are_told_apart(across, finished, flat):
    twin = finished.with_name("twin")
    shutil.copytree(finished, twin)
    header = json.loads((twin / "run.json").read_text())
    cells, _ = across(f"run={finished}", f"run={twin}", "data=folder", f"data.path={flat}")
    name = f"{header['name']}, seed {header['seed']} ({header['key'][:10]})"
    assert [network for network, _ in cells] == [f"{name} in {finished}", f"{name} in {twin}"]
    assert next(cell["difference"] for cell in cells.values() if cell["difference"]) == {"value": 0.0, "p": 1.0, "p_holm": 1.0}


@pytest.mark.slow
def test_the_table_is_kept_below_the_runs(typed, finished, flat):
    runs = finished.parents[1]
    words = (f"run={finished}", "data=folder", f"data.path={flat}", f"runs_dir={runs}")
    for _ in range(2):  # the same command fills the same folder
        assert typed("across", *words).code == 0
    (folder,) = (runs / "across").iterdir()
    assert folder.name.startswith("flat-")
    assert typed("across", *words, "name=final").code == 0
    assert (runs / "across" / "final" / "table.md").is_file()


@pytest.mark.parametrize("other", [["data.path={flat}", "evaluation.tta=flip"], ["data.path={twin}"]], ids=" ".join)
def test_other_settings_fill_another_folder(typed, finished, flat, tmp_path, other):
    twin = shutil.copytree(flat, tmp_path / "twin" / flat.name)
    words = (f"run={finished}", f"runs_dir={finished.parents[1]}", "data=folder")
    for settings in ([f"data.path={flat}"], [text.format(flat=flat, twin=twin) for text in other]):
        assert typed("across", *words, *settings).code == 0
    first, second = (finished.parents[1] / "across").iterdir()
    assert first.name.partition("-")[0] == second.name.partition("-")[0] == "flat"


def test_plain_commands_keep_the_folder_name():
    """Of networks and titles alone, as in folders that are there already."""
    network = SimpleNamespace(trained=SimpleNamespace(path=Path("/runs/best.ckpt")))
    found = _name(["fer2013"], {"one": network}, ["runs_dir=x"], [Column(["data=fer2013"])])
    assert found == f"fer2013-{hashlib.sha256(repr(['/runs/best.ckpt']).encode()).hexdigest()[:6]}"


REFUSED = {
    "no data set": ([], "Name the data sets"),
    "a path without its kind": (["data.path=/x"], "data.path= needs its kind before it"),
    "a title before its data set": (["title=x", "data=folder", "data.path=/x"], "a title comes after the data="),
    "paths that are not there, all at once": (
        ["data=folder", "data.path=/nowhere1", "data=folder", "data.path=/nowhere2"],
        "/nowhere2 is not a folder",
    ),
    "an unknown key": (["data=folder", "data.pth=/x"], "Did you mean 'data.path'?"),
}


@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(typed, finished, words, answer):
    printed = typed("across", f"run={finished}", *words)
    assert printed.code == 1
    assert answer in printed.err


def test_a_network_named_twice_is_refused(typed, finished, flat):
    printed = typed("across", f"run={finished}", f"run={finished}", "data=folder", f"data.path={flat}")
    assert "was named several times. Name each network once." in printed.err
