"""The Python API on a miniature of the quickstart study, and the snippets of docs/python.md on the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import fer_ablate
from fer_ablate import plots
from fer_ablate.cli.main import main
from fer_ablate.config.compose import from_yaml
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder

from .snippets import blocks

SNIPPETS = blocks("docs/python.md", "python")

TINY = (
    "data.synthetic.train=140",
    "data.synthetic.val=70",
    "data.synthetic.test=70",
    "trainer=cpu",
    "trainer.batch_size=32",
    "trainer.max_epochs=1",
    "trainer.num_threads=1",
    "model.width=0.25",
    "tracking=none",
    "tracking.pictures=false",
)
ROWS = "study.rows=[small,-4 Conv]"


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache_dir):
    """A folder in which two rows of the study were trained."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["fer_ablate"])
        patch.setenv("FER_ABLATE_CACHE", str(cache_dir))
        assert main(["-m", "study=quickstart", *TINY, ROWS, "seed=0"]) == 0
    Image.new("L", (64, 64), 128).save(folder / "photo.jpg")
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch, cache_dir):
    monkeypatch.chdir(place)
    monkeypatch.setenv("FER_ABLATE_CACHE", str(cache_dir))


@pytest.fixture(scope="module")
def study(place, cache_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_ABLATE_CACHE", str(cache_dir))
        return fer_ablate.look_up("quickstart", *TINY, "seed=0", runs_dir=place / "runs")


@pytest.fixture
def runs(study):
    return fer_ablate.results(study)


@pytest.mark.long
def test_results_are_those_of_the_run_folders(runs, capsys):
    assert list(runs["row"]) == ["small", "-4 Conv"]
    assert not runs["stale"].any()
    for line in runs.to_dict("records"):
        result = RunFolder(Path(line["path"])).result
        assert line["key"] == result.key
        assert line["test/acc"] == result.splits["test"].metrics["acc"]
        assert line["parameters"] == result.parameters
    assert capsys.readouterr().out == ""


def test_the_table_is_the_judged_one(study, runs):
    table = fer_ablate.table(study)
    tested = table[table["column"] == "test/acc"].set_index("row")
    measured = runs.set_index("row")["test/acc"]
    assert tested.loc["-4 Conv", "mean"] == pytest.approx(measured["-4 Conv"])
    assert tested.loc["-4 Conv", "difference"] == pytest.approx(measured["-4 Conv"] - measured["small"])
    assert tested.loc["-1 Conv", "n"] == 0
    assert "these two networks" in tested.loc["-4 Conv", "verdict"]


def test_a_study_shows_the_state_of_its_runs(study):
    assert repr(study) == "Study(quickstart, 5 runs: 3 missing, 2 finished)"
    with pytest.raises(UserError, match="was looked up already"):
        fer_ablate.results(study, "seed=1")


def test_nothing_finished_is_an_empty_frame(tmp_path):
    nothing = fer_ablate.results("quickstart", *TINY, runs_dir=tmp_path / "my runs")
    assert list(nothing.columns) == ["study", "row", "seed", "key"]
    assert nothing.empty


def test_a_loaded_network_says_what_its_run_stored(runs):
    folder = RunFolder(Path(runs["path"].iloc[0]))
    network = fer_ablate.load(folder.path)
    assert network.classes == tuple(folder.result.classes)
    images = load_faces(from_yaml(folder.config_yaml).data).faces
    stored = folder.predictions
    np.testing.assert_allclose(network.probabilities(images[stored.rows[:5]]), stored.probabilities[:5], atol=5e-3)  # bf16


def test_several_networks_are_averaged(runs):
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    one, other, both = (
        fer_ablate.load(*paths).probabilities(faces) for paths in (runs["path"][:1], runs["path"][1:], runs["path"])
    )
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)


WRONG = {
    "an unknown run": (lambda: fer_ablate.load("nosuch"), "fits run=nosuch"),
    "no name": (lambda: fer_ablate.load(), "Name a run"),
    "unknown views": (lambda: fer_ablate.load("quickstart/small", tta="flop"), "Did you mean 'flip'"),
    "an unknown device": (lambda: fer_ablate.load("quickstart/small", device="cup"), r"trainer\.accelerator: 'cup'"),
    "a missing file": (lambda: fer_ablate.load("gone.ckpt"), "gone.ckpt"),
    "an unknown split": (lambda: plots.confusion("quickstart/small", split="tset"), "Did you mean 'test'"),
    "a folder that is not there": (
        lambda: fer_ablate.table("quickstart", config_dir="/nowhere"),
        "/nowhere: there is no such folder",
    ),
    "an unknown method": (lambda: plots.heat_maps("quickstart/small", method="gradcan"), "Did you mean 'gradcam'"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_what_is_missing_is_reported(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_an_unknown_column_is_refused(study):
    with pytest.raises(UserError, match="is not a column of quickstart"):
        plots.accuracy(study, column="test/f1")


def test_faces_of_balanced_tests_are_shown(tmp_path):
    """Their rows are behind those of the images that were read."""
    balance = ("data.balance.kind=copies", "data.balance.copies=1", "data.balance.steps=[{op:flip,p:1}]")
    assert main([*TINY, *balance, "data=synthetic", "model=small", f"runs_dir={tmp_path}"]) == 0
    (run,) = tmp_path.glob("fer_ablate/*")
    assert RunFolder(run).predictions.rows.max() >= 280
    assert isinstance(plots.faces(run), Figure)


def test_a_picture_is_shown_by_a_notebook():
    picture = plots.confusion("quickstart/small")
    assert isinstance(picture, Figure)
    assert picture._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_snippets_of_the_document_run(capsys):
    words = ", ".join(map(repr, (*TINY, "seed=0")))
    names: dict[str, object] = {}
    assert len(SNIPPETS) >= 7
    for snippet in SNIPPETS:
        # The study of the document made small: what was typed to train it goes after its name.
        exec(snippet.replace('("quickstart"', f'("quickstart", {words}'), names)
    assert "Did you mean 'quickstart'?" in capsys.readouterr().out
    assert Path("differences.png").is_file()


def test_the_package_itself_is_imported_at_once():
    code = "import sys, fer_ablate; print(sorted({'torch', 'pandas', 'matplotlib', 'hydra'} & set(sys.modules)), dir(fer_ablate))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.startswith("[] ")
    assert {"effects", "load", "plots", "results", "table"} <= set(fer_ablate.__all__)
    assert "'results'" in printed
    with pytest.raises(AttributeError, match="no attribute 'resluts'"):
        _ = fer_ablate.resluts
