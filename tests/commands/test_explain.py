"""Where a finished network looks: files beside the run, numbers in MLflow, and what is refused."""

import json

import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

FAST = ("methods=gradcam,saliency", "images=2", "per_class=2")


@pytest.mark.long
def test_it_writes_pictures_and_numbers_beside_the_run(typed, finished):
    printed = typed("explain", f"run={finished}", *FAST, "pairs=1")
    assert printed.code == 0
    folder = finished / "explain"
    found = json.loads((folder / "explain.json").read_text())
    assert {file.name for file in folder.iterdir()} == set(found["files"])
    assert {"confusions_gradcam.png", "confusions_saliency.png", "mean_maps.png", "regions.png"} < set(found["files"])
    for file in folder.glob("*.png"):
        with Image.open(file) as picture:
            assert picture.size[0] == 1210  # 11 inches
    assert "Grad-CAM: % of the weight" in printed.out
    assert "taken for" in printed.out
    regions = pd.read_csv(folder / "regions.csv").dropna(subset="share")
    sums = regions.groupby(["method", "class"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    counts = json.loads((finished / "result.json").read_text())["splits"]["test"]["confusion"]
    first = found["confusions"][0]["directions"][0]
    classes = list(found["right"])
    assert first["images"] == counts[classes.index(first["truth"])][classes.index(first["prediction"])]


@pytest.mark.slow
def test_a_second_time_replaces_only_own_files(typed, finished, tmp_path):
    output = tmp_path / "seen"
    output.mkdir()
    (output / "explain.json").write_text(json.dumps({"files": ["confusions_gradcam.png", "../out.png"]}))
    for name in ("seen/confusions_gradcam.png", "seen/right_mine.png", "out.png"):
        (tmp_path / name).touch()
    checkpoint = finished / "checkpoints" / "best.ckpt"
    assert typed("explain", f"ckpt={checkpoint}", "methods=saliency", "images=1", "per_class=1", f"output={output}").code == 0
    names = {file.name for file in output.iterdir()}
    assert "confusions_gradcam.png" not in names
    assert {"confusions_saliency.png", "right_mine.png"} < names
    assert (tmp_path / "out.png").exists()
    assert not (finished / "explain").exists()


@pytest.mark.slow
def test_mlflow_has_them_too(typed, small, tmp_path):
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    words = [word for word in small if word != "tracking=none"]
    assert typed(*words, "trainer.max_epochs=1", f"tracking.uri={uri}").code == 0
    folder = next((tmp_path / "runs" / "fer_ablate").iterdir())
    assert typed("explain", f"run={folder}", *FAST, f"runs_dir={tmp_path / 'runs'}").code == 0
    client = MlflowClient(uri)
    run = client.get_run(json.loads((folder / "run.json").read_text())["mlflow_run_id"])
    assert 0 <= run.data.metrics["explain/saliency/mouth"] <= 1
    assert "explain/saliency/sanity" in run.data.metrics
    assert "explain/regions.png" in {file.path for file in client.list_artifacts(run.info.run_id, "explain")}


@pytest.mark.slow
def test_without_convolutions_other_methods_explain(typed, small, tmp_path):
    assert typed(*small, "trainer.max_epochs=1", "model.conv_layers=0").code == 0
    folder = next((tmp_path / "runs" / "fer_ablate").iterdir())
    printed = typed("explain", f"run={folder}", "images=1", "per_class=1")
    assert printed.code == 0, printed.err
    assert "left out: methods=gradcam: this network has no convolution" in printed.out
    names = {file.name for file in (folder / "explain").glob("confusions_*.png")}
    assert names == {f"confusions_{name}.png" for name in ("saliency", "integrated_gradients", "occlusion")}
    assert typed("explain", f"run={folder}", "methods=gradcam").code == 1


REFUSED = {
    "an unknown method": (["methods=gradcam,salency"], "methods: there is no 'salency'.\n    Did you mean 'saliency'?"),
    "no faces": (["per_class=0"], "per_class: '0' is not a whole number from 1 to 24"),
    "a number in words": (["images=many"], "images: 'many' is not a whole number"),
    "an unknown split": (["split=tset"], "split=tset: the images have no such split. Did you mean 'test'?"),
    "a word that is not there": (["method=gradcam"], "Did you mean 'methods'?"),
    "averaging over views": (["evaluation.tta=flip"], "evaluation.tta: was settled when the run was trained"),
    "the same word twice": (["pairs=1", "pairs=2"], "pairs: was given 2 times"),
}


@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(typed, finished, words, answer):
    printed = typed("explain", f"run={finished}", *words)
    assert printed.code == 1
    assert answer in printed.err
    assert not list(finished.glob("explain/*"))


def test_images_of_other_classes_are_refused(typed, finished, tmp_path):
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "animals" / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("L", (48, 48), 100 + number).save(folder / f"{number}.png")
    printed = typed("explain", f"run={finished}", "data=folder", f"data.path={tmp_path / 'animals'}")
    assert printed.code == 1
    assert "the data has cat, dog" in printed.err


def test_a_file_where_a_folder_belongs(typed, finished, tmp_path):
    (tmp_path / "taken").touch()
    assert "Name another folder by output=" in typed("explain", f"run={finished}", f"output={tmp_path / 'taken'}").err


def test_help_shows_how(typed):
    assert "per_class=" in typed("explain", "--help").out
