"""Whole runs on other images, labels and losses than the defaults."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.compose import composed, composer, to_config

real = pytest.mark.skipif("FER_ABLATE_DATA" not in os.environ, reason="FER_ABLATE_DATA names no FER2013")


@pytest.fixture
def pictures(tmp_path):
    """48 train and 12 test pictures of 32x32 pixels, each mostly of the colour of its class."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for channel, name in enumerate(("blue", "green", "red")):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                pixels[..., channel] += 50 * (channel + 1)  # the classes differ in brightness as well
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_folder_of_pictures_trains_end_to_end(channels, pictures, config_of, run):
    source = ("data=folder", f"data.path={pictures}", "data.val_fraction=0.25", f"model.in_channels={channels}")
    quick = ("trainer.max_epochs=4", "trainer.batch_size=12", "trainer.keep=last", "optimizer.lr=0.02", "model.width=0.25")
    # The drawn faces' keys of `config_of` mean nothing here, and do no harm.
    trained, rows = run(config_of(*source, *quick, "model.dropout=0"))
    assert trained.result.classes == ["blue", "green", "red"]
    assert {name: part.n for name, part in trained.result.splits.items()} == {"train": 36, "val": 12, "test": 12}
    assert rows[4]["train/loss"] < rows[1]["train/loss"]


@pytest.mark.long
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("loss=focal",), id="focal", marks=pytest.mark.slow),
        pytest.param(("loss.label_smoothing=0.1",), id="smoothed labels"),
        pytest.param(("loss.class_weight=balanced",), id="balanced class weights", marks=pytest.mark.slow),
        pytest.param(("loss=focal", "loss.class_weight=balanced", "trainer.ema_decay=0.9"), id="all with averaged weights"),
        pytest.param(("data.roles=combined", "trainer.keep=last"), id="val trained on as well"),
        pytest.param(("data.roles=holdout", "data.train_fraction=0.5"), id="val held out of half of train"),
    ],
)
def test_an_epoch_goes_through(overrides, config_of, run):
    trained, rows = run(config_of(*overrides))
    assert all(math.isfinite(value) for value in rows[1].values())
    assert trained.result.splits["private"].n == 70


@real
@pytest.mark.parametrize(
    "labels",
    [
        pytest.param("majority", marks=pytest.mark.slow),
        pytest.param("probability", marks=pytest.mark.slow),
        pytest.param("cross_entropy", marks=pytest.mark.slow),
    ],
)
def test_the_votes_of_ferplus_train(labels, run):
    data = ["data=ferplus", f"data.path={Path(os.environ['FER_ABLATE_DATA']).resolve()}", f"data.labels={labels}"]
    loss = ["loss=soft_target"] if labels == "cross_entropy" else ["loss=cross_entropy"]
    few = [
        "data.train_fraction=0.004",
        "trainer.max_epochs=1",
        "trainer.limit_val_batches=1.0",
        "model=pisa",
        "model.width=0.125",
    ]
    with composer():
        config = to_config(composed([*data, *loss, *few, "trainer=cpu", "trainer.precision=fp32", "evaluation.crop=null"]))
    trained, rows = run(config)
    assert math.isfinite(rows[1]["train/loss"])
    assert trained.result.splits["test"].n > 3000
