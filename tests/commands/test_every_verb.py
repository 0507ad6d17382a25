"""Every kind of images goes through every verb: gray and colour, square and not, with splits and without."""

import numpy as np
import pytest
from PIL import Image

from fer_ablate.tracking.disk.run_folder import RunFolder

CLASSES = ("angry", "happy", "sad")
KINDS = {
    "gray 48x48": ((48, 48), False, True),
    "colour 64x64": ((64, 64), True, True),
    "colour 40x56": ((40, 56), True, True),
    "one level of folders": ((48, 48), False, False),
}
"""Size, whether in colour, whether in splits."""

TINY = ("model=small", "model.width=0.25", "model.head_pool=adaptive_avg", "trainer=cpu", "trainer.batch_size=8")


def write_images(folder, size, colour, split):
    """Noise of another brightness in each class: 8 images of each class in each split, or 24 without splits."""
    draw = np.random.default_rng(0)
    shape = (*size, 3) if colour else size
    for place, number in ({"train": 8, "val": 8, "test": 8} if split else {"": 24}).items():
        for label, name in enumerate(CLASSES):
            for index in range(number):
                path = folder / place / name / f"{index:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 120, shape, dtype=np.uint8) + np.uint8(60 * label)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_kind_go_through_every_verb(typed, tmp_path, kind):
    size, colour, split = KINDS[kind]
    channels = 3 if colour else 1
    write_images(tmp_path / "images", size, colour, split)
    place = f"runs_dir={tmp_path / 'runs'}"
    images = ("data=folder", f"data.path={tmp_path / 'images'}")
    words = (*images, *TINY, "trainer.num_threads=1", "tracking=none", place)
    grid = (*words, "tracking.pictures=false", "trainer.max_epochs=1", "seed=0,1")

    def out(*command):
        printed = typed(*command)
        assert printed.code == 0, printed.err
        return printed.out

    trained = out("train", *words, "trainer.max_epochs=1")
    assert f"{channels}x{size[0]}x{size[1]}: " in trained
    assert ": 72 images." in trained  # how the folder was understood
    (path,) = (file.parent for file in (tmp_path / "runs").rglob("result.json"))
    folder = RunFolder(path)
    assert (folder.result.classes, folder.notes) == (list(CLASSES), {})
    assert len(folder.predictions.rows) == folder.result.splits["val"].n + folder.result.splits["test"].n
    run = (f"run={folder.header.key}", place)

    stored = folder.result.splits["test"].metrics
    assert f"{stored['acc']:.4f}" in out("evaluate", *run)
    assert "72 files" in out("predict", *run, f"source={tmp_path / 'images'}", "detector=none", f"output={tmp_path / 'said'}")
    (table,) = (tmp_path / "said").rglob("predictions.csv")
    assert len(table.read_text().splitlines()) == 1 + 72
    assert f"{folder.result.parameters:,}" in out("describe", *words)
    assert "saliency" in out("explain", *run, "methods=saliency", "images=4")
    assert (path / "explain" / "mean_maps.png").is_file()
    assert "model.onnx" in out("export", *run, "format=onnx")
    assert "1 run, " in out("report", *run)
    assert "images" in out("data", *words, "show=all", "augment=flip")
    assert len(list((tmp_path / "runs" / "data").rglob("*.png"))) == (5 if split else 3)

    swept = out("-m", *grid)
    assert "report.html has it all" in swept
    assert swept.count(": 72 images.") == 1  # once for all runs
    assert "test acc, %" in out("table", *grid)
    assert "2 runs, " in out("report", *grid)
    assert "2 of 2 networks" in out("ensemble", *grid)
    assert "training / ceiling" in out("bench", *words, "trainer.max_epochs=2")
